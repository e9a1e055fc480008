"""Functions that jump, on every kind of number."""

import numpy as np
import pytest

from gradcheck.numbers.arb import Reals
from gradcheck.numbers.ball import Ball, Rounding
from gradcheck.numbers.choices import Choices
from gradcheck.numbers.errors import NoRuleError
from gradcheck.truth.enclosures import precision

ROUNDING = Rounding(np.dtype(np.float64))
POINTS = np.array([[-2.5, -1.25, -0.6875, 0.25, 1.75, 3.5]])
FUNCTIONS = [np.floor, np.ceil, np.trunc, lambda x: np.rint(x + 0.1)]
PAIRS = [np.remainder, np.fmod]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_jump_is_decided_where_no_bar_holds_one(function):
    choices = Choices(1)
    found = function(Ball.from_value(POINTS, ROUNDING, 1, choices))
    assert found.mid.tolist() == function(POINTS).tolist()
    assert not found.whole()[1].any()
    assert not choices.open.any()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_jump_within_a_bar_is_open(function):
    choices = Choices(1)
    near = np.array([[1.0]]) if function is not FUNCTIONS[3] else np.array([[1.4]])
    found = function(Ball(near, np.array([[0.01]]), ROUNDING, 1, choices))
    low, high = sorted(function(near + side).item() for side in (-0.01, 0.01))
    assert choices.open.all()
    assert found.mid - found.rad <= low < high <= found.mid + found.rad


@pytest.mark.parametrize("function", PAIRS)
def test_a_remainder_encloses_the_exact_one(function):
    a, b = Ball.from_value(POINTS, ROUNDING, 1), Ball.from_value(POINTS[:, ::-1], ROUNDING, 1)
    found = function(a, b)
    assert (np.abs(function(POINTS, POINTS[:, ::-1]) - found.mid) <= found.rad).all()
    assert (found.rad < 1e-14).all()


def test_arb_knows_the_whole_number_below():
    with precision(64):
        found = np.floor(Reals.from_value(POINTS[0]))
    assert [float(one) for one in found.values] == np.floor(POINTS[0]).tolist()


def test_powers_that_vary_are_enclosed():
    base, exponent = np.abs(POINTS), POINTS[:, ::-1]
    found = Ball.from_value(base, ROUNDING, 1) ** Ball.from_value(exponent, ROUNDING, 1)
    exact = base.astype(np.longdouble) ** exponent
    assert (np.abs(exact - found.mid) <= found.rad).all()
    assert (found.rad <= 1e-13 * np.abs(found.mid)).all()


POWERS = np.array([0, 1, 2, 3, -1, 2])


@pytest.mark.parametrize("exponent", [POWERS, POWERS.astype(float)], ids=["integers", "floats"])
def test_given_powers_are_taken_one_by_one_of_any_numbers(exponent):
    found = Ball.from_value(POINTS, ROUNDING, 1) ** exponent
    exact = POINTS.astype(np.longdouble) ** exponent
    assert (np.abs(exact - found.mid) <= found.rad).all()
    assert (found.rad <= 1e-14 * np.abs(found.mid)).all()
    integers = Ball.from_value(POWERS[None], ROUNDING, 1)
    assert (np.power(Ball.from_value(POINTS, ROUNDING, 1), integers).mid == found.mid).all()
    with precision(64):
        reals = Reals.from_value(POINTS[0]) ** exponent
    assert [float(one.constant) for one in reals.reals] == pytest.approx(found.mid[0].tolist())


@pytest.mark.parametrize(
    "function",
    [
        np.fix,
        np.round,
        lambda x: np.round(x, 1),
        lambda x: np.round(x, -1),
        np.signbit,
        lambda x: np.copysign(np.exp(x), x),
        lambda x: np.float_power(np.abs(x), 1.5),
        np.sinc,
    ],
)
@pytest.mark.parametrize("hidden", ["ball", "reals"])
def test_what_is_written_with_jumps_encloses_numpys(function, hidden):
    x = np.append(POINTS + 0.03125, [[0.0]] if function is np.sinc else [[4.28125]], axis=1)
    expected = function(x).astype(float)
    if hidden == "reals":
        with precision(64):
            found = function(Reals.from_value(x[0])).reals
        values = [float(getattr(one, "constant", one)) for one in found]
        assert values == pytest.approx(expected[0].tolist(), rel=1e-14, abs=1e-15)
    else:
        found = function(Ball.from_value(x, ROUNDING, 1, Choices(1)))
        assert (np.abs(expected - found.mid) <= found.whole()[1]).all()
        assert (found.whole()[1] <= 1e-13 * (1 + np.abs(expected))).all()


def test_a_float_power_is_one_in_double_precision():
    single = Ball.from_value(np.float32([[1.5, 3.0]]), Rounding(np.dtype(np.float32)), 1)
    found = np.float_power(single, 1.5)
    assert found.dtype == np.float64
    assert (found.rad <= 1e-14).all()


def test_powers_that_vary_of_negative_numbers_are_refused():
    base = Ball.from_value(POINTS, ROUNDING, 1)
    with pytest.raises(NoRuleError, match="not positive"):
        base**base
