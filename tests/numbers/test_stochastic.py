"""Stochastic arithmetic: its quantiles, its scatter, and what it promises about honest results."""

import math

import flint
import numpy as np
import pytest

from gradcheck.numbers.array import Choices
from gradcheck.numbers.ball import Ball
from gradcheck.numbers.elementary import ELEMENTARY
from gradcheck.numbers.rounding import Rounding
from gradcheck.numbers.stochastic import ALPHA, QUANTILES, RUNS, Noise, Stochastic

FLOAT32 = Rounding(np.dtype(np.float32))
U = FLOAT32.unit_roundoff


def numbers(values, seed=0, stream=0, both=True):
    values = np.asarray(values, dtype=np.float64)
    choices = Choices(len(values), both)
    return Stochastic.from_value(values, FLOAT32, Noise(seed, stream), 1, choices)


def scatter(number):
    """Return σ̂ per element: half the bar of two evaluations, so to speak."""
    return number.rad / (math.sqrt(2) * QUANTILES[RUNS])


@pytest.mark.parametrize("runs", QUANTILES)
def test_the_quantile_has_the_probability_that_is_stated(runs):
    """P(|T| > t) is the incomplete beta function I_x(ν/2, 1/2) at x = ν/(ν + t²)."""
    degrees = flint.arb(runs)
    x = degrees / (degrees + flint.arb(QUANTILES[runs]) ** 2)
    tail = x.beta_lower(degrees / 2, flint.arb(1) / 2, regularized=True)
    assert float(tail) == pytest.approx(ALPHA, rel=1e-9)


def test_the_same_seed_yields_the_same_noise_and_another_does_not():
    def bar(seed, stream):
        x = numbers(np.linspace(1, 2, 12).reshape(3, 4), seed, stream)
        return (np.exp(x) @ np.ones(4)).rad.tolist()

    assert bar(1, 2) == bar(1, 2)
    assert bar(1, 2) != bar(1, 3)
    assert bar(1, 2) != bar(2, 2)


def test_noise_is_even():
    bits = Noise(0, 0).bits((1000, 100))
    assert abs(bits.mean() - 0.5) < 0.01
    assert not (bits[0] == bits[1]).all()
    assert Noise(0, 0).bits(()).shape == ()
    assert Noise(0, 0).bits((0, 3)).shape == (0, 3)


@pytest.mark.parametrize(
    ("ufunc", "roundoffs"),
    [
        (np.add, 1),
        (np.multiply, 1),
        (np.divide, 1),
        (np.maximum, 0),
        (np.tanh, 12),
        (np.sqrt, 2),
        (np.sin, 8),
    ],
)
def test_an_operation_scatters_by_its_roundoffs(ufunc, roundoffs):
    x = numbers(np.random.default_rng(0).uniform(0.5, 1, (50, 2)))
    result = ufunc(x[:, None], x[:, None]) if ufunc.nin == 2 else ufunc(x)
    size = U * abs(result.mid)
    found = np.sqrt(np.mean((scatter(result) / size) ** 2))
    assert found == pytest.approx(roundoffs, rel=0.1)


def test_squares_and_magnitudes_round_as_products_do():
    x = numbers(np.full((1, 200), 3.0))
    assert np.sqrt(np.mean(scatter(x**2) ** 2)) == pytest.approx(9 * U, rel=0.1)
    cube = 27 * U * 2 * ELEMENTARY[np.power].accuracy(FLOAT32)
    assert np.sqrt(np.mean(scatter(x**3) ** 2)) == pytest.approx(cube, rel=0.1)
    assert not scatter(abs(-x)).any()


@pytest.mark.parametrize("terms", [3, 10, 100, 1000])
@pytest.mark.parametrize("kind", ["sum", "positive sum", "dot"])
def test_a_sum_scatters_as_one_of_float32_does(kind, terms):
    """Within a factor: the roundings of float32 are u/√3 at most on average, and often less."""
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 300, terms)).astype(np.float32)
    a = abs(a) if kind == "positive sum" else a
    products = a * b if kind == "dot" else a
    evaluated = np.cumsum(products, axis=1, dtype=np.float32)[:, -1].astype(float)
    a64, b64 = a.astype(float), b.astype(float)
    truth = (a64 * b64 if kind == "dot" else a64).sum(axis=1)
    error = np.sqrt(np.mean((evaluated - truth) ** 2))
    result = numbers(a64) @ numbers(b64) if kind == "dot" else np.sum(numbers(a64))
    estimate = np.sqrt(np.mean(scatter(result) ** 2))
    assert error <= estimate <= 6 * error


EXPRESSIONS = {
    "polynomial": lambda x, y: x * x * y - 3 * x * y + y * y - 2,
    "cancellation": lambda x, y: (x + y) - x,
    "difference of squares": lambda x, y: (x * x - y * y) / (x - y),
    "wave": lambda x, y: np.sin(x * y) + np.cos(x) * np.exp(-y * y),
    "normalised": lambda x, y: x / np.sqrt(x * x + y * y + 1),
    "saturated": lambda x, y: np.tanh(8 * x) * y - np.tanh(8 * x),
    "rectified": lambda x, y: np.maximum(x * y, 0) - np.maximum(-x, y),
}


def beyond(call, altered=0.0, samples=2000):
    """Count the honest float32 evaluations beyond the bar; `altered` is a relative fault."""
    x, y = np.random.default_rng(0).normal(size=(2, samples)).astype(np.float32)
    with np.errstate(all="ignore"):
        result = call(numbers(x), numbers(y, 0, 1))
        evaluated = call(x, y).astype(np.float64) * (1 + altered)
    assert evaluated.dtype == np.float64
    return int((abs(evaluated - result.mid) > result.rad).sum())


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_honest_evaluation_is_within_its_bar(name):
    assert beyond(EXPRESSIONS[name]) == 0


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_a_planted_fault_is_beyond_it(name):
    assert beyond(EXPRESSIONS[name], altered=1e-3) > 1000 * (name != "rectified")


def test_a_forgotten_error_shows(monkeypatch):
    def exact(self, result, _, operands, rounding):
        return self._result(result, operands, rounding)

    monkeypatch.setattr(Stochastic, "_perturbed", exact)
    assert beyond(EXPRESSIONS["wave"]) > 1000


@pytest.mark.parametrize("constant", [0.1, 0.7, 1 / 3])
def test_a_constant_that_the_format_rounds_is_uncertain(constant):
    x = (constant + np.random.default_rng(0).normal(size=500) * 1e-4).astype(np.float32)
    result = numbers(x) - constant
    evaluated = (x - np.float32(constant)).astype(np.float64)
    assert (abs(evaluated - result.mid) <= result.rad).all()


def test_an_underflow_may_be_flushed():
    tiny = numbers([[1e-30]])
    assert (tiny * tiny).rad >= 1e-60
    assert (numbers([[0.0]]) * tiny).rad == 0


def test_what_overflows_in_some_run_has_no_bound():
    with np.errstate(all="ignore"):
        assert np.exp(numbers([[800.0]])).rad == np.inf


def test_an_open_comparison_is_answered_at_random():
    x = numbers(np.ones((2, 200)))
    result = (x * 3 - 3) * x > 0
    assert x.choices.open.all()
    assert 0.4 < result.runs[1:].mean() < 0.6
    decided = numbers(np.ones((2, 200)), both=False)
    result = (decided * 3 - 3) * decided > 0
    assert (result.runs == 0).all()
    assert decided.choices.open.all()


def test_an_extremum_equals_itself_in_every_run():
    x = numbers([[1.0, 3.0, 2.0], [5.0, 4.0, 4.5]]) * 1.5
    result = x == x.max(axis=-1, keepdims=True)
    assert (result.runs == [[0, 1, 0], [1, 0, 0]]).all()
    assert not x.choices.open.any()


def test_einsum_may_transpose_an_input():
    x = numbers(np.arange(6.0).reshape(1, 2, 3))
    assert np.einsum("ij->ji", x).mid.tolist() == np.swapaxes(x.mid, 1, 2).tolist()


def test_every_rule_of_balls_is_stochastic_too():
    for ufunc in ELEMENTARY:
        x = numbers([[1.5 if ufunc is np.arccosh else 0.5]])
        operands = [x, 2] if ufunc is np.power else [x] * ufunc.nin
        assert np.isfinite(ufunc(*operands).rad).all()


BENT = {
    "a sine through a period": lambda x: np.sin(x * 1e7),
    "an exponential of a wide argument": lambda x: np.exp((x + 1e7) - 1e7),
    "a quotient by what may be zero": lambda x: 1 / ((x + 1e7) - 1e7),
    "a product of two unknowns": lambda x: ((x + 1e7) - 1e7) * ((x + 2e7) - 2e7),
    "a sum of such products": lambda x: ((x + 1e7) - 1e7)[None] @ ((x + 2e7) - 2e7)[:, None],
}


@pytest.mark.parametrize("name", BENT)
def test_where_a_function_bends_over_the_bar_nothing_is_known(name):
    x = numbers(np.full((1, 1), 0.7))
    with np.errstate(all="ignore"):
        bent = BENT[name](x)
    assert np.isinf(bent.rad).all()


def test_a_linear_function_of_an_unknown_keeps_its_bar():
    x = numbers(np.full((1, 1), 0.7))
    assert np.isfinite((3 * ((x + 1e7) - 1e7) + x).rad).all()


@pytest.mark.parametrize(
    "function",
    [
        lambda x: np.sqrt(np.sum(x * x)),
        lambda x: np.sqrt(x @ x),
        lambda x: np.sum(x * 1e20 - 1e20 * x * 1.5) / 1e20,
    ],
    ids=["sum of squares", "product", "difference"],
)
def test_nothing_is_known_where_something_overflows_on_the_way(function):
    small, large = (function(numbers([[size, size]])) for size in (1e15, 1.5e19))
    assert small.rad < np.inf
    assert large.mid < FLOAT32.largest
    assert large.rad == np.inf


def test_partial_sums_that_overflow_are_no_zero():
    found = np.sum(numbers([[3e38, -3e38, 3e38, -3e38]]))
    assert found.mid == 0
    assert found.rad == np.inf


def test_products_that_underflow_are_no_exact_zero():
    tiny = numbers([[1e-30, -1e-30]])
    assert (tiny @ numbers([[1e-20, 1e-20]])).rad >= FLOAT32.smallest_normal
    in_float64 = numbers([[1e-200, 1e-200]])
    assert (in_float64 @ in_float64).mid == 0
    assert (in_float64 @ in_float64).rad >= FLOAT32.smallest_normal
    assert (numbers([[0.0, 1.0]]) @ numbers([[1.0, 0.0]])).rad == 0


def test_the_infinity_of_a_mask_is_no_overflow():
    masked = numbers([[1.0, -np.inf]])
    assert np.sum(np.exp(masked)).rad < np.inf


NARROW = [Rounding(np.dtype(name)) for name in ("float16", "bfloat16")]


@pytest.mark.parametrize("rounding", NARROW, ids=lambda rounding: rounding.dtype.name)
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5])
def test_numbers_of_16_bits_err_by_half_a_spacing_in_the_root_mean_square(rounding, share):
    spacing = 2 * rounding.unit_roundoff
    values = 1 + spacing * (np.arange(1, 61) + share)[None]
    x = Stochastic.from_value(values, rounding, Noise(0, 0), 1, Choices(1))
    runs = (x * 1.0).runs
    perturbed, grid = runs[1:], runs[1:] / spacing
    assert (grid == np.rint(grid)).all()
    error = np.sqrt(((perturbed - values) ** 2).mean()) / spacing
    assert error == pytest.approx(0.5, rel=0.03)
    assert abs((perturbed - values).mean()) < 0.02 * spacing
    assert (runs[0] == values).all()


def test_an_operation_in_16_bits_on_equal_numbers_rounds_alike():
    x = Stochastic.from_value(np.full((1, 400), 0.3), NARROW[1], Noise(0, 0), 1, Choices(1))
    products = x * 0.7
    assert (products.runs == products.runs[..., :1]).all()
    alone = Stochastic.from_value(np.full((1, 1), 0.3), NARROW[1], Noise(0, 0), 1, Choices(1)) * 0.7
    assert np.sum(products).rad > 300 * alone.rad[0, 0]


def test_zeros_and_infinities_of_16_bits_stay():
    x = Stochastic.from_value(np.array([[0.0, 3.0]]), NARROW[0], Noise(0, 0), 1, Choices(1))
    assert (np.where(x > 1, -np.inf, x * 0.1).runs == [0.0, -np.inf]).all()


def test_float16_keeps_subnormal_numbers_and_float32_may_flush_them():
    for name, kept in (("float16", True), ("bfloat16", False), ("float32", False)):
        rounding = Rounding(np.dtype(name))
        tiny = rounding.smallest_normal / 3
        for x in (
            Ball.from_value(np.array([[tiny]]), rounding, 1),
            Stochastic.from_value(np.array([[tiny]]), rounding, Noise(0, 0), 1, Choices(1)),
        ):
            assert ((x * 0.7).rad[0, 0] < tiny / 20) == kept
            assert (np.sum(x * np.ones(3) @ np.ones(3)).rad.max() < tiny / 20) == kept
