"""Balls of constants, and the balls of a whole engine, held against Arb."""

import math

import flint
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck.examples.chain import MODEL
from gradcheck.harness.samples import draw_samples
from gradcheck.model.model import run_passes
from gradcheck.numbers import rules
from gradcheck.numbers.ball import EXACT, Ball, Choices
from gradcheck.numbers.elementary import ELEMENTARY
from gradcheck.numbers.rounding import Rounding
from gradcheck.truth.derivative import enclose_gradients
from gradcheck.truth.enclosures import distance, precision

FLOAT32, FLOAT64 = Rounding(np.dtype(np.float32)), Rounding(np.dtype(np.float64))
both_formats = pytest.mark.parametrize("rounding", [FLOAT32, FLOAT64], ids=["float32", "float64"])

SEARCH = settings(max_examples=60, deadline=None, derandomize=True)
EXACT_BITS = 4400  # in which any sum or product of two float64 numbers is exact


# Zeros, constants and formats


@pytest.mark.parametrize(
    "zero",
    [
        lambda x: 0 * x,
        lambda x: x * 0.0,
        lambda x: 0 / x,
        lambda x: x - x,
        lambda x: np.sin(0 * x),
        lambda x: 3 * (x - x) ** 2,
    ],
)
@both_formats
def test_an_exact_zero_stays_exact(zero, rounding):
    result = zero(Ball.from_value(np.array([0.75, -3.0]), rounding))
    assert (result.mid == 0).all()
    assert (result.rad == 0).all()


def test_a_product_that_underflows_is_no_exact_zero():
    tiny = Ball.from_value(np.array([1e-30]), FLOAT32)
    assert (tiny * tiny).rad >= FLOAT32.smallest_normal
    least = Ball.from_value(np.array([1e-200]), FLOAT64)
    assert (least * least).mid == 0
    assert (least * least).rad >= FLOAT64.smallest_normal


@both_formats
@SEARCH
@given(value=st.floats())
def test_a_constant_may_be_kept_rounded_or_flushed(value, rounding):
    ball = Ball.from_value(value, rounding)
    with np.errstate(over="ignore"):
        rounded = float(rounding.dtype.type(value))
    if math.isinf(value):
        assert ball.rad == 0  # the −∞ of a mask is what it is
    elif not math.isfinite(rounded):
        assert ball.rad == np.inf
    else:
        honest = {value, rounded} | ({0.0} if abs(value) < rounding.smallest_normal else set())
        with precision(EXACT_BITS):
            assert all(abs(flint.arb(x) - value) <= float(ball.rad) for x in honest)


def test_a_tenth_is_a_tenth_in_float64_and_a_rounded_tenth_in_float32():
    assert Ball.from_value(0.1, FLOAT64).rad == 0
    assert Ball.from_value(0.1, FLOAT32).rad == abs(0.1 - float(np.float32(0.1)))


WITH_A_TENTH = [lambda x: x + 0.1, lambda x: 0.1 - x, lambda x: 0.1 * x, lambda x: x / 0.1]


def escapes(formula):
    """Say whether NumPy's float32 arithmetic leaves the ball, cancellation included."""
    x = np.append(np.linspace(-4, 4, 1001), [-0.1, 0.1]).astype(np.float32)
    ball = formula(Ball.from_value(x, FLOAT32))
    return (abs(formula(x) - ball.mid) > ball.rad).any()


@pytest.mark.parametrize("formula", WITH_A_TENTH)
def test_float32_arithmetic_with_a_tenth_stays_inside(formula):
    assert not escapes(formula)


@pytest.mark.parametrize("formula", WITH_A_TENTH[:2])
def test_a_tenth_taken_for_exact_is_found(formula, monkeypatch):
    exact = classmethod(lambda cls, value, r, *_: cls(np.asarray(value, np.float64), EXACT, r))
    monkeypatch.setattr(Ball, "from_value", exact)
    assert escapes(formula)


def test_balls_of_two_allowances_refuse_to_mix():
    other = Ball.from_value(1.0, Rounding(np.dtype(np.float32), ulps=2))
    with pytest.raises(TypeError, match="numbers of two allowances meet"):
        Ball.from_value(1.0, FLOAT32) + other


@both_formats
@pytest.mark.parametrize("hidden", [1, 2])
@pytest.mark.parametrize("given", [np.arange(4), np.array([True, False])], ids=["int", "bool"])
def test_integers_and_truth_values_stay_what_they_are(given, hidden, rounding):
    given = given.reshape((1,) * (hidden - 1) + given.shape)
    ball = Ball.from_value(given, rounding, hidden)
    assert ball.mid.dtype == given.dtype
    assert ball.is_discrete
    assert ball.rad is EXACT


def test_integers_of_a_batched_model_stay_integers():
    label = Ball.from_value(np.array([1, 0]), FLOAT64, 0, Choices(2))
    x = Ball.from_value(np.arange(6.0).reshape(2, 3), FLOAT64, 0, Choices(2))
    assert x[np.arange(2), label].mid.tolist() == [1.0, 3.0]


@both_formats
def test_an_integer_is_as_good_as_its_number(rounding):
    label = Ball.from_value(np.array([1, 2]), rounding, 1)
    x = Ball.from_value(np.array([0.5, 0.25]), rounding, 1)
    as_float = Ball.from_value(np.array([1.0, 2.0]), rounding, 1)
    assert (label * x).mid.tolist() == (as_float * x).mid.tolist() == [0.5, 0.5]
    assert (label * x).rad.tolist() == (as_float * x).rad.tolist()


@both_formats
@pytest.mark.parametrize("ufunc", [np.sin, np.sqrt, np.tanh, np.expm1, np.power])
def test_an_allowance_grows_with_the_ulps_asked_for(ufunc, rounding):
    accuracy = ELEMENTARY[ufunc].accuracy
    wide = Rounding(rounding.dtype, ulps=100)
    assert accuracy(wide) == (accuracy(rounding) if ufunc is np.sqrt else 100)
    assert 1 <= accuracy(rounding) < 10


# A whole engine


def outside(values, rounding, bits=2000):
    """Which gradients of `chain` leave their balls: of the truth, and of the dtype's engine."""
    _, _, d = run_passes(MODEL, np, {k: Ball.from_value(x, rounding) for k, x in values.items()})
    with np.errstate(all="ignore"):
        given = {name: x.astype(rounding.dtype) for name, x in values.items()}
        _, _, evaluated = run_passes(MODEL, np, given)
        truth = enclose_gradients(MODEL, values, bits)
        return [
            (name, party)
            for name in MODEL.parameters
            for party, apart in {
                "truth": distance(d[name].mid, truth[name]),
                "engine": np.abs(evaluated[name] - d[name].mid),
            }.items()
            if not ((apart <= d[name].rad) | (d[name].rad == np.inf)).all()
        ]


@both_formats
@pytest.mark.parametrize("scale", [0.5, 6.0])
@settings(SEARCH, max_examples=3)
@given(seed=st.integers(0, 2**64))
def test_balls_of_the_chain_enclose_the_truth_and_the_engine(scale, rounding, seed):
    values = draw_samples(MODEL.leaves, seed, 0, 150, scale=scale, dtype=rounding.dtype)
    assert outside(values, rounding) == []


@pytest.mark.parametrize(("scale", "ulps"), [(0.5, 65), (6.0, 2185)])
def test_the_median_bound_of_the_chain_is_as_narrow_as_measured(scale, ulps):
    values = draw_samples(MODEL.leaves, 0, 0, 5000, scale=scale)
    _, _, d = run_passes(MODEL, np, {k: Ball.from_value(x, FLOAT64) for k, x in values.items()})
    bounds = np.concatenate(
        [d[name].rad / np.spacing(abs(d[name].mid)) for name in MODEL.parameters]
    )
    assert np.median(bounds) < 1.3 * ulps


# Tests of the tests


def scaled_error(factor):
    def enclose(mid, spread, error, zero, rounding, operands=(), honest=rules.enclose):
        return honest(mid, spread, factor * error, zero, rounding, operands)

    return enclose


def no_slope(slope, rad, rounding, honest=rules._circular_spread):
    return honest(0 * slope, rad, rounding)


@pytest.mark.parametrize(("rounding", "party"), [(FLOAT32, "engine"), (FLOAT64, "truth")])
@pytest.mark.parametrize(
    ("place", "faulty"),
    [("enclose", scaled_error(0)), ("_circular_spread", no_slope)],
    ids=["a dropped rounding term", "no slope of sin and cos"],
)
def test_a_planted_fault_shows_in_the_chain(place, faulty, rounding, party, monkeypatch):
    values = draw_samples(MODEL.leaves, 0, 0, 200, dtype=rounding.dtype)
    monkeypatch.setattr(rules, place, faulty)
    assert party in {who for _, who in outside(values, rounding)}


def test_a_masked_score_has_the_weight_zero_for_certain():
    mask = np.array([True, False, True])
    scores = Ball(np.array([[1.0, 2.0, 3.0]]), np.full((1, 3), 1e-9), FLOAT32, hidden=1)
    masked = np.where(mask, scores, -np.inf)
    weights = np.exp(masked - masked.max())
    assert weights.mid[0, 1] == np.broadcast_to(weights.rad, (1, 3))[0, 1] == 0
    assert np.isfinite(weights.sum().rad).all()
    assert (weights.magnitude < 2).all()


@both_formats
@SEARCH
@given(values=st.lists(st.floats(width=32) | st.floats() | st.just(0.1), max_size=3))
def test_numbers_together_are_as_exact_as_each_alone(values, rounding):
    together = Ball.from_value(np.array(values, float), rounding)
    alone = [Ball.from_value(value, rounding).rad for value in values]
    np.testing.assert_array_equal(together.whole()[1], np.array(alone, float))


def test_a_single_bit_beyond_float32_makes_a_number_inexact():
    for bit in range(29):
        exact, inexact = np.array([1.5, 1.5]), np.array([1.5, 1.5])
        inexact.view(np.int64)[1] |= 1 << bit
        assert Ball.from_value(exact, FLOAT32).rad is EXACT
        assert Ball.from_value(inexact, FLOAT32).rad[1] == inexact[1] - 1.5
