"""The deep network: its size, its known output, its gradients by two frameworks."""

import numpy as np
import pytest

from gradcheck import load_model
from gradcheck.adapters import all_adapters
from gradcheck.model.board import Blackboard
from gradcheck.model.model import run_passes
from gradcheck.numbers.plain import Plain

NETWORK = load_model("network")


def example(model):
    """Read the example by flat names, one sample of it."""
    found = {}
    for leaf in model.leaves:
        name, _, k = leaf.partition(".")
        branch = model.example[name]
        found[leaf] = np.array([branch[int(k)] if k else branch], float)
    return found


def passes(model, values):
    numbers = {name: Plain(array, 1) for name, array in values.items()}
    _, t, d = run_passes(model, np, numbers)
    return {name: t[name].array for name in t}, {name: d[name].array for name in d}


def test_the_network_has_187_parameters():
    assert sum(np.prod(shape, dtype=int) for shape in NETWORK.parameters.values()) == 187
    assert len(NETWORK.parameters) == 12
    assert NETWORK.parameters["Omega.0"] == (6, 1)
    assert NETWORK.parameters["Omega.5"] == (1, 6)


def test_the_output_at_the_example_is_the_books():
    t, _ = passes(NETWORK, example(NETWORK))
    assert round(float(t["f.5"][0, 0]), 3) == 1.907
    assert float(example(NETWORK)["x"][0, 0]) == 1.2


def test_the_trace_holds_every_layer_and_the_adjoints_come_in_reverse():
    t, d = passes(NETWORK, example(NETWORK))
    hidden = [name for k in range(1, 6) for name in (f"h.{k}", f"f.{k}")]
    assert list(t) == ["f.0", *hidden, "loss"]
    assert [name for name in d if name in t] == ["f.5", *list(t)[-3::-1]]
    assert set(NETWORK.parameters) <= set(d)


def test_the_definition_is_the_trace():
    values = example(NETWORK)
    t, _ = passes(NETWORK, values)
    one = Blackboard({name: array[0] for name, array in values.items()})
    assert NETWORK.loss(np, one) == pytest.approx(t["loss"][0], rel=1e-14)


@pytest.mark.parametrize("name", ["torch", "jax", "complex-step"])
def test_a_framework_gives_the_same_gradients_at_the_example(name):
    adapter = all_adapters()[name]
    if not adapter.installed:
        pytest.skip(f"{adapter.framework} is not installed")
    values = example(NETWORK)
    _, d = passes(NETWORK, values)
    found = adapter.prepare(NETWORK, np.dtype(np.float64))(values)
    assert any(np.any(d[name]) for name in NETWORK.parameters)
    for parameter in NETWORK.parameters:
        np.testing.assert_allclose(
            np.asarray(found[parameter]), d[parameter], rtol=1e-12, atol=1e-13
        )


def test_the_variance_of_the_weights_keeps_the_size_of_the_values():
    model = load_model("network", {"depth": 3, "width": 8})
    assert "1.41421" in repr(model.domain("Omega.0"))  # the root of 2 over the number of inputs
    assert repr(model.domain("Omega.1")) == repr(model.domain("Omega.2")) == "sampling.scaled(0.5)"
    assert model.domain("beta.0") is None
