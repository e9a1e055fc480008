"""What the records of elementary functions are made of: bounds of slopes, errors, bends."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import flint
import numpy as np

from gradcheck.numbers.record import INFINITY, LINEAR, over
from gradcheck.numbers.rounding import Rounding


class Irrational(float):
    """A constant that Arb knows to any precision.

    Parameters
    ----------
    value
        The nearest float64.
    exact
        Returns an enclosure at the precision of the moment.
    """

    exact: Callable[[], flint.arb]

    def __new__(cls, value: float, exact: Callable[[], flint.arb]) -> Irrational:
        """Make a float that remembers where it comes from."""
        self = super().__new__(cls, value)
        self.exact = exact
        return self


LOG_2 = Irrational(np.log(2.0), flint.arb.const_log2)
LOG_10 = Irrational(np.log(10.0), flint.arb.const_log10)
DEGREE = Irrational(np.pi / 180, lambda: flint.arb.pi() / 180)
ERF_SLOPE = Irrational(2 / np.sqrt(np.pi), lambda: 2 / flint.arb.const_sqrt_pi())
NORMAL_SLOPE = Irrational(1 / np.sqrt(2 * np.pi), lambda: 1 / (2 * flint.arb.pi()).sqrt())
PI = Irrational(np.pi, flint.arb.pi)

UNKNOWN = float("nan")
"""A derivative that is not asked for."""
SOFTLY = 1 + 2.0**-40
"""Covers the slope of a quantile, an exponential of its square."""


def scipy(name: str) -> Any:
    """Return a function of SciPy's, which is imported when it is needed."""
    return getattr(import_module("scipy.special"), name)


# Bounds of slopes on [low, high]; NaN or infinite where there is none


def magnitudes(low: Any, high: Any) -> tuple[Any, Any]:
    """Return the smallest and the largest magnitude."""
    return np.maximum(np.maximum(low, -high), 0), np.maximum(np.abs(low), np.abs(high))


def nearest(low: Any, high: Any) -> Any:
    """Return the smallest magnitude."""
    return magnitudes(low, high)[0]


def farthest(low: Any, high: Any) -> Any:
    """Return the largest magnitude."""
    return magnitudes(low, high)[1]


def larger_end(function: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    """Bound a slope by those at both ends."""
    return lambda low, high: np.maximum(np.abs(function(low)), np.abs(function(high)))


def sech_squared(low: Any, high: Any) -> Any:
    """Bound the slope of tanh; beyond 300 it underflows."""
    return 1 / np.cosh(np.minimum(nearest(low, high), 300.0)) ** 2


def bell(low: Any, high: Any) -> Any:
    """Bound the slope of erf."""
    return ERF_SLOPE * np.exp(-(nearest(low, high) ** 2) * (1 - 2.0**-50))


def arcsin_slope(low: Any, high: Any) -> Any:
    """Bound the slope of arcsin and arccos."""
    far = farthest(low, high)
    return 1 / np.sqrt((1 - far) * (1 + far))


def arctanh_slope(low: Any, high: Any) -> Any:
    """Bound the slope of arctanh."""
    far = farthest(low, high)
    return 1 / ((1 - far) * (1 + far))


# What an evaluation errs besides


def argument_ulps(rounding: Rounding, reach: Any, lows: Any, highs: Any) -> Any:
    """Let the argument of an exponential be rounded: |x| ulps of the result.

    Beyond 1100 every exponential is 0 or infinite.
    """
    return reach * (2 * rounding.unit_roundoff) * np.minimum(farthest(lows[0], highs[0]), 1100)


LOG1P_DIP = -0.4143, -0.34, 161.0
"""JAX's float64 log1p errs by up to 128 ulps just above −0.41421, and by 2.3 at −0.35."""


def log1p_dip(rounding: Rounding, reach: Any, lows: Any, highs: Any) -> Any:
    """Let float64 err more in the dip."""
    if rounding.dtype != np.float64:
        return 0.0
    low, high, ulps = LOG1P_DIP
    in_dip = (highs[0] > low) & (lows[0] < high)
    return np.where(in_dip, reach * (2 * ulps * rounding.unit_roundoff), 0.0)


def arctanh_dip(rounding: Rounding, reach: Any, lows: Any, highs: Any) -> Any:
    """Take JAX's logarithms of 1 + x and 1 − x."""
    near, far = magnitudes(lows[0], highs[0])
    return log1p_dip(rounding, reach, (-far,), (-near,))


def logarithm_ulps(rounding: Rounding, reach: Any, lows: Any, highs: Any) -> Any:
    """JAX's cbrt is an exponential in a loop: up to 11.6 ulps at 2^±100."""
    logarithm = np.maximum(*(np.abs(np.log2(x)) for x in magnitudes(lows[0], highs[0])))
    return reach * (2 * rounding.unit_roundoff) * np.fmin(logarithm, 1074) / 6


def square_ulps(rounding: Rounding, reach: Any, lows: Any, highs: Any) -> Any:
    """Let the exponent x² of erfc be rounded, as in SciPy and JAX: 250 ulps at 18.9."""
    return reach * (2 * rounding.unit_roundoff) * np.maximum(highs[0], 0) ** 2


def cancellation(rounding: Rounding, reach: Any, lows: Any, highs: Any) -> Any:
    """Let the larger operand and a logarithm of at most log 2 cancel."""
    size = farthest(np.maximum(*lows), np.maximum(*highs))
    return 2 * rounding.library_ulps * rounding.unit_roundoff * (size + 2)


def power_ulps(rounding: Rounding, base: Any = 0.0, exponent: Any = 0.0) -> float:
    """Let a power be a library's, or |p| products; a square is one."""
    p = float(np.abs(np.asarray(exponent, np.float64)).max())
    return 0.5 if np.all(exponent == 2) else max(rounding.library_ulps, p / 2)


# Where functions are undefined, and where they bend


def by_zero(lows: Any, highs: Any) -> Any:
    """Tell where a divisor is zero."""
    return (lows[1] == 0) & (highs[1] == 0)


def no_power(lows: Any, highs: Any) -> Any:
    """Broken powers of negative numbers, and negative ones of zero."""
    broken = np.floor(highs[1]) < lows[1]
    zero = (lows[0] == 0) & (highs[0] == 0)
    return ((highs[0] < 0) & broken) | (zero & (highs[1] < 0))


by_size = over(np.abs)
beyond_one = over(lambda x: np.maximum(np.abs(x), 1))
inside_one = over(lambda x: 1 - np.abs(x))


def both(wide: Any, mids: Any) -> Any:
    """Let a product bend where both factors are wide."""
    return (wide[0] > LINEAR * np.abs(mids[0])) & (wide[1] > LINEAR * np.abs(mids[1]))


def around_origin(wide: Any, mids: Any) -> Any:
    """Let a length or an angle bend near the origin."""
    return np.hypot(*wide) > LINEAR * np.hypot(*mids)


def never(wide: Any, mids: Any) -> Any:
    """Let a linear function never bend."""
    return False


def larger(a: Any, b: Any) -> Any:
    """Return 1 where the first is no smaller, else 0."""
    return np.where(a >= b, 1.0, 0.0)


# Enclosures of what Arb does not have by itself; at infinities their limits


def arb_cbrt(x: flint.arb) -> flint.arb:
    """Keep the sign out of the root."""
    if x.is_zero():
        return x
    return -((-x).root(3)) if x < 0 else x.root(3)


def arb_logaddexp(a: flint.arb, b: flint.arb) -> flint.arb:
    """Keep the exponential from 0 to 1, however wide the distance; an infinity is a limit."""
    if a == -INFINITY or b == -INFINITY:
        return b if a == -INFINITY else a
    lead = a - b
    smaller = (-lead.abs_lower()).exp().union((-lead.abs_upper()).exp())
    return a.max(b) + smaller.log1p()


def arb_expit(x: flint.arb) -> flint.arb:
    """Keep the exponential below 1 where the sign is known."""
    small = x.exp() if x < 0 else (-x).exp()
    return (small if x < 0 else 1) / (1 + small)


def arb_log_expit(x: flint.arb) -> flint.arb:
    """Keep the exponential below 1 where the sign is known."""
    return x - x.exp().log1p() if x < 0 else -((-x).exp().log1p())
