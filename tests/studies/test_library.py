"""Errors are measured in ulps of the exact result; every function agrees with its truth."""

import numpy as np
import pytest
from studies.library import HALF, MODES, Function, measure_library
from studies.library_functions import FUNCTIONS

NUMPY = {key: MODES[key] for key in MODES if key[0] == "numpy"}


def between(low, high):
    return {"span": lambda words: low + (high - low) * (words * 2.0**-64)}


def measure(expression, truth, ranges, points=100, modes=None):
    functions = {"planted": Function(expression, truth, ranges)}
    return measure_library(functions, points, modes=NUMPY if modes is None else modes)


@pytest.mark.parametrize("ulps", [-3, 0, 1, 500])
def test_a_function_off_by_whole_ulps_is_measured_as_that(ulps):
    table = measure(lambda xp, x: x + ulps * xp.spacing(x), lambda x: x, between(1.0, 9.0))
    assert len(table) == 2 * len(NUMPY)
    assert set(table["worst_ulps"]) == {abs(ulps)}
    assert set(table["points"]) == {100}


def test_an_ulp_below_a_power_of_two_is_that_of_the_lower_binade():
    table = measure(lambda xp, x: x, lambda x: x - x * 2.0**-80, between(1.0, 1.0))
    exact = {"float64": 2.0**-80 / 2.0**-53, "float32": 2.0**-80 / 2.0**-24}
    for dtype, ulps in exact.items():
        assert table.loc[table["dtype"] == dtype, "worst_ulps"].to_numpy() == pytest.approx(ulps)


def test_a_result_that_is_missed_altogether_is_infinitely_wrong():
    for missed in (np.nan, np.inf):
        table = measure(
            lambda xp, x, m=missed: xp.where(x > 8, m, x), lambda x: x, between(1.0, 9.0)
        )
        assert np.isinf(table["worst_ulps"]).all()
        assert all(float(at) > 8 for at in table["at"])


def test_results_that_are_no_normal_numbers_do_not_count():
    table = measure(lambda xp, x: 0 * x, lambda x: x.log(), between(-1.0, 0.0))
    assert table.empty
    table = measure(lambda xp, x: 0 * x, lambda x: 2.0**-1074 * x, between(1.0, 2.0))
    assert table.empty


def test_the_same_seed_finds_the_same():
    expression, truth = (lambda xp, x: xp.exp(x)), (lambda x: x.exp())
    first, again = (measure(expression, truth, between(-5.0, 5.0)) for _ in range(2))
    assert first.equals(again)


@pytest.fixture(scope="module")
def table():
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    modes = {key: MODES[key] for key in MODES if key[1] in ("array", "jit")}
    return measure_library(FUNCTIONS, points=8, modes=modes)


@pytest.mark.parametrize("function", ["sqrt", "reciprocal", "square", "x**2", "x**-1"])
def test_numpy_rounds_some_functions_correctly(table, function):
    found = table[(table["function"] == function) & (table["library"] == "numpy")]
    assert len(found) > 3
    assert found["worst_ulps"].max() <= HALF


def test_every_function_agrees_with_its_truth_in_every_library(table):
    assert set(table["library"]) == {"numpy", "torch", "jax"}
    easiest = table.groupby(["function", "dtype", "library"])["worst_ulps"].min()
    assert easiest.max() < 2


def test_evaluating_in_pieces_or_with_strides_keeps_the_order_of_points():
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    table = measure(lambda xp, x: 2 * x, lambda x: 2 * x, between(-9.0, 9.0), 50, MODES)
    assert set(zip(table["library"], table["mode"], strict=True)) == set(MODES)
    assert (table["worst_ulps"] == 0).all()
