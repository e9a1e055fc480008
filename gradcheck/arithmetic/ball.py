"""Balls: arrays of value ± bound, on which unchanged NumPy code computes its own rounding error.

A ball holds a float64 midpoint, computed by NumPy as if the ball were not there, and a radius.
It contains the exact result, and whatever an honest evaluation in the format under judgement may
have arrived at: one whose arithmetic is correctly rounded, or fused, or not rounded at all; whose
library functions err by at most a stated number of ulps; and which flushes subnormal results to
zero or keeps them. The midpoint is such an evaluation too, so the radius bounds the distance of two
that may both err: two errors add, in every operation.

One lemma serves every operation. Let the exact results over the operands' balls stay within
`spread` of the exact result at the midpoints. Then they reach |midpoint| + spread at most, either
evaluation errs by at most k·u of that, where u is the format's unit roundoff and k = 1 for
arithmetic, and a result in the subnormal range by less than the smallest normal number besides:

    radius = spread + 2·k·u·(|midpoint| + spread) + 2·smallest normal.

An exact zero stays exact. Where the reach passes the largest finite number the radius is infinite:
an honest evaluation may overflow there.

References
----------
N. J. Higham, *Accuracy and Stability of Numerical Algorithms*, SIAM 2002, section 3.3 (running
error analysis). J. van der Hoeven, *Ball arithmetic*, 2009.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RADIUS_INFLATION = 1 + 2.0**-47
"""Covers the rounding of the radius itself: up to 64 float64 operations on positive numbers."""

SMALLEST = float(np.finfo(np.float64).smallest_subnormal)

EXACT = np.zeros(())
"""The radius of balls that are all exact; operations recognise it and save the work."""


class NoRuleError(TypeError):
    """Balls cannot follow a NumPy function; the message names it."""


@dataclass(frozen=True)
class Rounding:
    """The floating-point format under judgement, and how far library functions may err in it.

    Parameters
    ----------
    dtype
        `float32` or `float64`.
    ulps
        Allowance for a library function (sin, exp, …), in ulps of its exact result.
    """

    dtype: np.dtype[Any]
    ulps: float = 4.0

    @cached_property
    def unit_roundoff(self) -> float:
        """Half an ulp of 1: the relative error of correct rounding (u)."""
        return float(np.finfo(self.dtype).eps) / 2

    @cached_property
    def smallest_normal(self) -> float:
        """The smallest positive normal number."""
        return float(np.finfo(self.dtype).smallest_normal)

    @cached_property
    def largest(self) -> float:
        """The largest finite number."""
        return float(np.finfo(self.dtype).max)

    @cached_property
    def arithmetic_error(self) -> float:
        """Relative distance of two correctly rounded results (2u, and second-order terms)."""
        return self._two_errors(1.0)

    @cached_property
    def library_error(self) -> float:
        """Relative distance of two library functions' results; an ulp of y is at most 2u·|y|."""
        return self._two_errors(2 * self.ulps)

    def _two_errors(self, roundoffs: float) -> float:
        error = 2 * roundoffs * self.unit_roundoff
        return error * (1 + error) * RADIUS_INFLATION


class Ball(np.lib.mixins.NDArrayOperatorsMixin):
    """An array of balls, one `Rounding` for all.

    Parameters
    ----------
    mid, rad
        Midpoints and radii (≥ 0, `inf` where nothing is known), float64; `rad` has the shape of
        `mid` or is `EXACT`.
    rounding
        The format whose honest evaluations the ball contains.
    """

    __slots__ = ("_circular", "mid", "rad", "rounding")

    def __init__(self, mid: Floats, rad: Floats, rounding: Rounding) -> None:
        self.mid, self.rad, self.rounding = mid, rad, rounding
        self._circular: tuple[Floats, Floats] | None = None

    @classmethod
    def from_value(cls, value: Any, rounding: Rounding) -> Ball:
        """Return the ball of a number that every evaluation is given.

        It is exact if the format holds the number; else it covers the number's rounding to the
        format, or the flushing of a subnormal.
        """
        mid = np.asarray(value, dtype=np.float64)
        magnitude = np.abs(mid)
        with np.errstate(over="ignore", invalid="ignore"):
            rounded = mid.astype(rounding.dtype, copy=False)
            rad = EXACT if rounded is mid or (mid == rounded).all() else np.abs(mid - rounded)
            if (
                mid.size
                and not rounding.smallest_normal <= magnitude.min() <= magnitude.max() < np.inf
            ):
                rad = np.where(magnitude < rounding.smallest_normal, magnitude, rad)
                rad = np.where(magnitude < np.inf, rad, np.inf)
        return cls(mid, rad, rounding)

    @property
    def sin_cos(self) -> tuple[Floats, Floats]:
        """Sine and cosine of the midpoints: each is the other's slope, so both are computed."""
        if self._circular is None:
            self._circular = np.sin(self.mid), np.cos(self.mid)
        return self._circular

    @property
    def magnitude(self) -> Floats:
        """A bound on everything in the ball, NaN or infinite where there is none."""
        reach: Floats = np.abs(self.mid)
        if self.rad is not EXACT:
            reach = (reach + self.rad) * RADIUS_INFLATION
        return reach

    def __repr__(self) -> str:
        return f"Ball({self.mid!r} ± {self.rad!r}, {self.rounding.dtype})"

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *operands: Any, **options: Any) -> Ball:
        """Apply a NumPy function by its rule; one that has no rule is refused by name."""
        rule = RULES.get(ufunc)
        if rule is None or method != "__call__" or options:
            call = ufunc.__name__ + ("" if method == "__call__" else f".{method}")
            given = f" with {', '.join(options)}" if options else ""
            known = ", ".join(sorted(known.__name__ for known in RULES))
            raise NoRuleError(f"balls have no rule for numpy.{call}{given}; they have: {known}")
        with np.errstate(all="ignore"):
            return rule(*(as_ball(a, self.rounding) for a in operands), rounding=self.rounding)

    def __array_function__(
        self, function: Callable[..., Any], types: Any, args: Any, kwargs: Any
    ) -> Any:
        """Refuse by name whatever is not elementwise."""
        raise NoRuleError(f"balls have no rule for numpy.{function.__name__}")


def as_ball(value: Any, rounding: Rounding) -> Ball:
    """Return a ball, a number or an array of numbers as a ball."""
    if not isinstance(value, Ball):
        return Ball.from_value(value, rounding)
    if value.rounding != rounding:
        raise TypeError(
            f"balls of two formats meet: {value.rounding} and {rounding}; use one for all leaves"
        )
    return value


def _enclose(mid: Any, spread: Any, error: float, zero: Any, rounding: Rounding) -> Ball:
    """Apply the lemma of the module's docstring.

    `zero()` tells where a midpoint of zero is the exact result, not an underflow.
    """
    rad = np.asarray(np.abs(mid))
    rad *= error
    if spread is not EXACT:
        rad += spread
        rad *= (1 + error) * RADIUS_INFLATION
    # The rest concerns results near the ends of the exponent range. Most blocks have none.
    underflow = rounding.smallest_normal * 2.0**60  # above it, RADIUS_INFLATION covers the flush
    overflow = rounding.largest * error / 4  # below it, the reach is below largest/2
    if rad.size and not (rad.min() >= underflow and rad.max() <= overflow):
        rad += (rad < underflow) * (2 * rounding.smallest_normal)
        rad[(mid == 0) & zero()] = 0
        reach = np.abs(mid) + spread
        rad[~(reach <= rounding.largest / (1 + 2 * error))] = np.inf
    return Ball(np.asarray(mid), rad, rounding)


def _is_zero(a: Ball) -> Any:
    return (a.mid == 0) & (a.rad == 0)


def _sum_spread(a: Ball, b: Ball) -> Floats:
    if a.rad is EXACT or b.rad is EXACT:
        return b.rad if a.rad is EXACT else a.rad
    return a.rad + b.rad


def _product_spread(a: Ball, b: Ball) -> Floats:
    """Bound |a'·b' − a·b| ≤ |a|·rad b + |b|·rad a + rad a·rad b."""
    if a.rad is EXACT:
        return EXACT if b.rad is EXACT else np.abs(a.mid) * b.rad
    spread = np.abs(b.mid)
    if b.rad is EXACT:
        return spread * a.rad
    spread = (spread + b.rad) * a.rad
    spread += np.abs(a.mid) * b.rad
    return spread


def _add(a: Ball, b: Ball, rounding: Rounding) -> Ball:
    spread = _sum_spread(a, b)
    return _enclose(a.mid + b.mid, spread, rounding.arithmetic_error, lambda: spread == 0, rounding)


def _subtract(a: Ball, b: Ball, rounding: Rounding) -> Ball:
    spread = _sum_spread(a, b)
    return _enclose(a.mid - b.mid, spread, rounding.arithmetic_error, lambda: spread == 0, rounding)


def _multiply(a: Ball, b: Ball, rounding: Rounding) -> Ball:
    return _enclose(
        a.mid * b.mid,
        _product_spread(a, b),
        rounding.arithmetic_error,
        lambda: _is_zero(a) | _is_zero(b),
        rounding,
    )


def _divide(a: Ball, b: Ball, rounding: Rounding) -> Ball:
    """Bound |a'/b' − a/b| ≤ (rad a + |a/b|·rad b)/|b'|."""
    quotient = a.mid / b.mid
    # The exact quotient of the midpoints may be half an ulp, or half a subnormal, larger; and
    # ratios may lose bits to underflow that a large factor would show.
    reach = np.abs(quotient) * RADIUS_INFLATION + SMALLEST
    nearest = np.abs(b.mid) * (1 - 2.0**-52) - b.rad  # a lower bound on |b'|
    spread = np.where(
        nearest > 0, a.rad / nearest + SMALLEST + reach * (b.rad / nearest + SMALLEST), np.inf
    )
    return _enclose(quotient, spread, rounding.arithmetic_error, lambda: _is_zero(a), rounding)


def _negative(a: Ball, rounding: Rounding) -> Ball:
    return Ball(-a.mid, a.rad, rounding)


def _positive(a: Ball, rounding: Rounding) -> Ball:
    return a


def _power(a: Ball, exponent: Ball, rounding: Rounding) -> Ball:
    """a², which every library computes as a product."""
    if exponent.mid.ndim or exponent.mid != 2 or exponent.rad is not EXACT:
        raise NoRuleError(f"balls can be squared, not raised to the power {exponent.mid}")
    return _multiply(a, a, rounding)


def _square(a: Ball, rounding: Rounding) -> Ball:
    return _multiply(a, a, rounding)


def _sin(a: Ball, rounding: Rounding) -> Ball:
    sine, cosine = a.sin_cos
    spread = _circular_spread(cosine, a.rad, rounding)
    return _enclose(sine, spread, rounding.library_error, lambda: _is_zero(a), rounding)


def _cos(a: Ball, rounding: Rounding) -> Ball:
    sine, cosine = a.sin_cos
    spread = _circular_spread(sine, a.rad, rounding)
    return _enclose(cosine, spread, rounding.library_error, lambda: False, rounding)


def _circular_spread(slope: Floats, rad: Floats, rounding: Rounding) -> Floats:
    """Bound |sin(m + e) − sin m| ≤ min(|cos m|·|e| + e²/2, 2), and the same for the cosine.

    An infinite radius stays infinite, for the sine of an overflow is NaN.
    """
    if rad is EXACT:
        return EXACT
    spread = np.asarray(np.abs(slope))
    spread += rounding.library_error  # of the slope itself, whose magnitude is 1 at most
    spread += rad / 2
    spread *= rad
    np.minimum(spread, 2, out=spread)
    if rad.size and not rad.max() < np.inf:
        spread[~(rad < np.inf)] = np.inf
    return spread


def _exp(a: Ball, rounding: Rounding) -> Ball:
    """Bound |e^(m + e) − eᵐ| ≤ eᵐ·(e^rad − 1)."""
    value = np.exp(a.mid)
    if a.rad is EXACT:
        spread = EXACT
    else:
        # The exact exponential of the midpoint may exceed NumPy's by its library error.
        reach = value * (1 + rounding.library_error) + np.finfo(np.float64).smallest_normal
        spread = reach * _expm1_bound(a.rad)
    return _enclose(value, spread, rounding.library_error, lambda: False, rounding)


def _expm1_bound(r: Floats) -> Floats:
    """Upper bound on eʳ − 1 for r ≥ 0: r + r² up to 1, where (eʳ − 1 − r)/r² ≤ e − 2 < 0.72."""
    bound = r + r * r
    if r.size and not r.max() <= 1:
        bound = np.where(r <= 1, bound, np.expm1(r) * RADIUS_INFLATION)
    return np.asarray(bound)


RULES: dict[np.ufunc, Callable[..., Ball]] = {
    np.add: _add,
    np.subtract: _subtract,
    np.multiply: _multiply,
    np.divide: _divide,
    np.negative: _negative,
    np.positive: _positive,
    np.square: _square,
    np.power: _power,
    np.sin: _sin,
    np.cos: _cos,
    np.exp: _exp,
}
"""The functions that balls know, each with the rule that encloses its result."""
