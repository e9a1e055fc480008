import pytest

pytest.importorskip("torch")
pytest.importorskip("expecttest")
operators = pytest.importorskip("studies.operators")


def test_a_right_operator_is_judged_in_both_formats():
    rows = operators.check_operator("sin")
    assert [row["dtype"] for row in rows] == ["float64", "float32"]
    for row in rows:
        assert row["captured"]
        assert row["judged"]
        assert row["agree"] > 0
        assert row["disagree"] == 0
