"""The record of an elementwise function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradcheck.numbers.enclosure import Floats, Operand, Pair, is_undefined
from gradcheck.numbers.rounding import Accuracy, Rounding

Rule = Callable[..., Pair]
Bends = Callable[[Sequence[Floats], Sequence[Floats]], Any]

INFINITY = float("inf")
LINEAR = 0.5
"""How wide a stochastic bar may be, relative to the length over which a function bends."""

EXACTLY = Accuracy(known=True)
ROUNDED = Accuracy(0.5, 0.5, known=True)
"""Correctly rounded, as IEEE 754 demands of arithmetic."""
ANY_LIBRARY = Accuracy()


def over(length: Callable[..., Any]) -> Bends:
    """Let a function bend where the bar of its argument exceeds a part of some length."""
    return lambda wide, mids: wide[0] > LINEAR * length(mids[0])


def no_error(rounding: Rounding, reach: Any, *ends: Any) -> Any:
    """Err by no more than the stated ulps of the result."""
    return 0.0


@dataclass(frozen=True, kw_only=True)
class Elementary:
    """All that is known of an elementwise function.

    Parameters
    ----------
    ufunc
        Evaluates it.
    partials
        `partials(y, *operands)` returns the derivative of the result `y` with respect to every
        operand, of any kind of number.
    arb
        Encloses it on `flint.arb` numbers; `None` where an operator of theirs does.
    rule
        Encloses it on balls.
    accuracy
        By how many ulps one evaluation errs.
    also
        `also(rounding, reach, lows, highs)` bounds what one evaluation errs besides, where the
        result is `reach` at most and the operands are between `lows` and `highs`.
    slope
        `slope(low, high)` bounds the magnitude of the derivative between two numbers, itself
        computed to 16 ulps; NaN if there is none.
    extremes
        `extremes(low, high)` returns where between two numbers it is smallest and largest: at
        the ends if it is monotone. `None` if that is not so simple.
    domain
        Outside of these numbers it is undefined.
    undefined
        The same of several operands: `undefined(lows, highs)`.
    range
        Between which numbers its results lie.
    zero
        Where it is exactly zero.
    bends
        `bends(wide, mids)` tells where it is far from linear over the bars of its operands.
    """

    ufunc: np.ufunc
    partials: Callable[..., tuple[Any, ...]]
    rule: Rule
    arb: Callable[..., Any] | None = None
    accuracy: Callable[..., float] = ANY_LIBRARY
    also: Callable[..., Any] = no_error
    slope: Callable[[Floats, Floats], Floats] | None = None
    extremes: Callable[[Any, Any], tuple[Any, Any]] | None = lambda low, high: (low, high)
    domain: tuple[float, float] = (-INFINITY, INFINITY)
    undefined: Callable[[Sequence[Any], Sequence[Any]], Any] | None = None
    range: tuple[float, float] = (-INFINITY, INFINITY)
    zero: float | None = None
    bends: Bends = lambda wide, mids: wide[0] > LINEAR

    def enclose(self, operands: Sequence[Operand], rounding: Rounding) -> Pair:
        """Return midpoints and radii of the result; the radius of what is no number is 0."""
        mid, rad = self.rule(self, *operands, rounding=rounding)
        if mid.size and np.isnan(mid.min()):
            no_number = np.where(self._proved_undefined(operands), 0.0, np.inf)
            rad = np.where(np.isnan(mid), no_number, rad)
        return mid, rad

    def _proved_undefined(self, operands: Sequence[Operand]) -> Any:
        """Tell where a NaN is one for every number of the operands."""
        exact = np.logical_and.reduce(
            np.broadcast_arrays(*((a.rad == 0) & ~np.isnan(a.mid) for a in operands))
        )
        passed_on = np.logical_or.reduce(np.broadcast_arrays(*map(is_undefined, operands)))
        lows, highs = ([a.mid + sign * a.rad for a in operands] for sign in (-1, 1))
        return exact | passed_on | self.is_outside(lows, highs)

    def is_outside(self, lows: Sequence[Any], highs: Sequence[Any]) -> Any:
        """Tell where operands between these numbers leave the function undefined for certain.

        Sums that are rounded to nearest leave a domain only if the exact ones do.
        """
        if self.undefined is not None:
            return self.undefined(lows, highs)
        low, high = self.domain
        return (highs[0] < low) | (lows[0] > high)
