"""Special functions: their derivatives, and those that are written with others."""

import flint
import numpy as np
import pytest

from gradcheck.numbers.arb import Real, Reals
from gradcheck.numbers.ball import Ball, Rounding
from gradcheck.numbers.choices import Choices
from gradcheck.numbers.stochastic import Noise, Stochastic
from gradcheck.truth.enclosures import precision

special = pytest.importorskip("scipy.special")

FLOAT64 = Rounding(np.dtype(np.float64))
POINTS = {
    **dict.fromkeys(["gammaln", "psi"], (0.3, 1.4616, 2.5, 30.0)),
    **dict.fromkeys(["i0", "i1", "i0e", "i1e"], (-3.0, -0.25, 0.5, 20.0)),
    **dict.fromkeys(["ndtri", "logit"], (0.01, 0.4, 0.875)),
    "erfinv": (-0.9, -0.1, 0.5, 0.99),
    "ndtr": (-5.0, -0.5, 2.0),
}
FUNCTIONS = {name: getattr(special, name) for name in POINTS} | {
    "trigamma": lambda x: special.zeta(2.0, x)
}
POINTS["trigamma"] = (0.3, 2.5, 30.0)


def apply_to(function, x: flint.arb, slope: flint.arb | None = None) -> Real:
    array = np.empty(1, object)
    array[0] = Real(x, slope)
    return function(Reals.of(array)).reals[0]


@pytest.mark.parametrize(("name", "x"), [(name, x) for name in POINTS for x in POINTS[name]])
def test_arb_knows_the_derivative(name, x):
    function, step = FUNCTIONS[name], flint.arb(2) ** -60
    with precision(300):
        ahead, behind = (apply_to(function, x + sign * step).constant for sign in (1, -1))
        quotient = (ahead - behind) / (2 * step)
        slope = apply_to(function, flint.arb(x), flint.arb(1)).slope
        assert float(abs(slope - quotient)) <= 1e-28 * float(abs(quotient)) + 1e-28
        assert float(slope.rad()) < 1e-60


@pytest.mark.parametrize("name", POINTS)
def test_numbers_that_err_at_random_stay_near_scipys(name):
    x = np.array([POINTS[name]])
    numbers = Stochastic.from_value(x, FLOAT64, Noise(0, 0), 1, Choices(1))
    found = FUNCTIONS[name](numbers)
    assert (found.mid == FUNCTIONS[name](x)).all()
    assert (found.rad > 0).all()
    assert (found.rad <= 1e-6 * (abs(found.mid) + 1)).all()


def test_of_gammas_functions_on_the_left_of_zero_arb_alone_knows_something():
    x = np.array([-0.5, -2.25])
    for name in ("gammaln", "psi", "trigamma"):
        assert np.isinf(FUNCTIONS[name](Ball.from_value(x, FLOAT64)).rad).all()
    with precision(100):
        for one in x.tolist():
            found = apply_to(special.gammaln, flint.arb(one)).constant
            assert abs(float(found) - special.gammaln(one)) < 1e-14


def test_a_scaled_bessel_function_has_no_slope_where_it_has_a_kink():
    with precision(100):
        assert apply_to(special.i0e, flint.arb(0), flint.arb(1)).slope.is_nan()
        slope = apply_to(special.i1e, flint.arb(0), flint.arb(1)).slope
        assert slope.contains(0.5)


COMPOSED = {
    "xlogy": (special.xlogy, ([0.0, 0.5, 2.0], [0.0, 3.0, 0.25])),
    "xlog1py": (special.xlog1py, ([0.0, 0.5, 2.0], [-1.0, 3.0, 0.25])),
    "entr": (special.entr, ([0.5, 2.0, -1.0],)),  # at 0 it has a kink
}


@pytest.mark.parametrize("name", COMPOSED)
def test_what_is_written_with_others_encloses_scipys(name):
    function, operands = COMPOSED[name]
    arrays = [np.array([operand]) for operand in operands]
    expected = function(*arrays)
    found = function(*(Ball.from_value(array, FLOAT64, 1, Choices(1)) for array in arrays))
    finite = np.isfinite(expected)
    assert (abs(found.mid[finite] - expected[finite]) <= found.whole()[1][finite]).all()
    assert (found.whole()[1][finite] <= 1e-13).all()
    assert (found.mid[~finite] == expected[~finite]).all()
    with precision(100):
        reals = function(*(Reals.from_value(array[0]) for array in arrays))
    assert [float(one.constant) for one in reals.reals] == pytest.approx(expected[0].tolist())
