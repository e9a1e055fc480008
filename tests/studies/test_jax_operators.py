"""The study of JAX's functions: rows of those that are judged, reasons for those that are not."""

import pytest

pytest.importorskip("jax")

from studies.jax_operators import check_jax_operator, function_names


def test_every_public_function_has_a_name():
    names = function_names()
    assert len(names) == len(set(names)) > 400
    assert {"jax.numpy.sin", "jax.nn.relu", "jax.scipy.special.erf", "jax.numpy.linalg.inv"} <= {
        *names
    }


@pytest.mark.parametrize("name", ["jax.numpy.sin", "jax.numpy.linalg.norm"])
def test_a_function_is_judged_in_both_formats(name):
    rows = check_jax_operator(name)
    assert [row["dtype"] for row in rows] == ["float64", "float32"]
    for row in rows:
        assert row["judged"]
        assert row["captured"]
        assert row["agree"] > 0
        assert row["disagree"] == 0


def test_what_has_no_rule_is_refused_by_name():
    (row, _) = check_jax_operator("jax.numpy.linalg.eigh")
    assert row["inputs"] > 0
    assert not row["judged"]
    assert row["refused"] == "eigh"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("jax.numpy.argmax", "no output is an array of floats"),
        ("jax.numpy.zeros_like", "does not depend"),
        ("jax.numpy.nextafter", "Differentiation rule"),
        ("jax.numpy.save", "writes"),
        ("jax.nn.tanh", "the same function as jax.numpy.tanh"),
    ],
)
def test_what_is_left_out_says_why(name, reason):
    (row,) = check_jax_operator(name)
    assert not row["dtype"]
    assert row["message"].startswith("left out: ")
    assert reason in row["message"]
