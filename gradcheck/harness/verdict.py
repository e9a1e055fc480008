"""What a comparison of one gradient with its reference amounts to."""

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.arithmetic.ball import Ball, Rounding

Floats = NDArray[np.float64]
Codes = NDArray[np.int8]


class Verdict(IntEnum):
    """The six outcomes; their names are those of the columns and cells of the tables."""

    AGREE = 0
    DISAGREE = 1
    UNINFORMATIVE = 2
    OVERFLOW = 3
    KINK = 4
    ERROR = 5

    @property
    def label(self) -> str:
        """The verdict in lower case, as the tables have it."""
        return self.name.lower()


LARGEST = float(np.finfo(np.float64).max)
LABELS = tuple(verdict.label for verdict in Verdict)


@dataclass(frozen=True)
class Reference:
    """A gradient's reference values, and how far an honest evaluation may be from them.

    Parameters
    ----------
    value
        The hand-written pass in float64, shape `(n, *shape)`.
    bound
        The largest distance of an honest evaluation, shape of `value`; `inf` where it may overflow.
    overflow_risk
        Where another order of the same multiplications may overflow, broadcasts to `value`.
    rounding
        The format under judgement.
    """

    value: Floats
    bound: Floats
    overflow_risk: NDArray[np.bool_]
    rounding: Rounding

    @cached_property
    def within(self) -> Codes:
        """The verdict on any value within the bound, which at its worst leaves no certain bit."""
        codes = np.full(self.value.shape, Verdict.AGREE, np.int8)
        certain = 2 * self.bound <= np.abs(self.value)
        if not certain.all():
            codes[~certain] = Verdict.UNINFORMATIVE
            codes[self.bound == np.inf] = Verdict.OVERFLOW
        return codes

    @cached_property
    def counts_within(self) -> NDArray[np.int64]:
        """How often each verdict is given if every value is within the bound."""
        return np.bincount(self.within.ravel(), minlength=len(Verdict))

    @cached_property
    def per_ulp(self) -> Floats:
        """One over the unit in the last place of the reference, in the format under judgement."""
        exponent_bits = np.int64(0x7FF0_0000_0000_0000)
        power_of_two = (self.value.view(np.int64) & exponent_bits).view(np.float64)
        ulp = np.maximum(power_of_two, self.rounding.smallest_normal)
        ulp *= 2 * self.rounding.unit_roundoff
        return np.minimum(1 / ulp, LARGEST)

    @cached_property
    def per_bound(self) -> Floats:
        """One over the bound, finite so that a distance of zero is no part of it."""
        with np.errstate(divide="ignore", over="ignore"):
            return np.minimum(1 / self.bound, LARGEST)


def reference_of(
    adjoint: Ball,
    largest: Floats,
    normal_range: tuple[float, float],
    shape: tuple[int, ...],
    count: int,
) -> Reference:
    """Turn the first `count` samples of a ball into a reference.

    The ball encloses every evaluation of the products in the order in which the hand-written pass
    takes them. Another order may pass through the underflow or the overflow range where this one
    does not. A partial product that is flushed is off by less than the smallest normal number, and
    what it is multiplied with later is no larger than the sample's largest quantity: that much is
    added to the radius. And where a product of two quantities may pass the largest number, a
    value that is not finite is excused.

    Parameters
    ----------
    adjoint
        The gradient as a ball.
    largest
        Per sample, a bound on every quantity of the trace and on every adjoint, shape `(n,)`.
    normal_range
        Between which magnitudes the evaluation keeps the format's full precision.
    shape
        `(n, *shape)` of the gradient.
    """
    rounding = adjoint.rounding
    smallest_held, largest_held = normal_range
    largest = np.broadcast_to(largest, shape[:1])[:count].reshape((-1,) + (1,) * (len(shape) - 1))
    value = np.ascontiguousarray(np.broadcast_to(adjoint.mid, shape)[:count])
    rad = np.broadcast_to(adjoint.rad, shape)[:count]
    with np.errstate(over="ignore"):
        bound = rad + smallest_held * np.maximum(largest, 1)
    if not rad.all():
        bound[rad == 0] = 0  # an exact zero, in whichever order
    beyond = ~(largest <= largest_held)
    if beyond.any():
        bound[np.broadcast_to(beyond, value.shape)] = np.inf
    return Reference(value, bound, ~(largest <= np.sqrt(rounding.largest)), rounding)


@dataclass(frozen=True)
class Comparison:
    """The verdicts on an adapter's values of one gradient, element by element.

    Parameters
    ----------
    reference
        What the values were compared with.
    value
        The adapter's, widened to float64.
    distance
        `abs(value − reference)`; `inf` where the value is not a number.
    verdict
        Codes of `Verdict`.
    counts
        How often each verdict was given, int64.
    """

    reference: Reference
    value: Floats
    distance: Floats
    verdict: Codes
    counts: NDArray[np.int64]


def compare(value: NDArray[Any], reference: Reference) -> Comparison:
    """Judge an adapter's values against the reference's."""
    value = value.astype(np.float64, copy=False)
    with np.errstate(invalid="ignore", over="ignore"):
        distance = value - reference.value
        np.abs(distance, out=distance)
        within = distance <= reference.bound
    verdict, counts = reference.within, reference.counts_within
    if not within.all():
        distance[np.isnan(distance)] = np.inf
        outside = np.where(
            reference.overflow_risk & ~np.isfinite(value), Verdict.OVERFLOW, Verdict.DISAGREE
        ).astype(np.int8)
        verdict = np.where(within | (verdict == Verdict.OVERFLOW), verdict, outside)
        counts = np.bincount(verdict.ravel(), minlength=len(Verdict))
    return Comparison(reference, value, distance, verdict, counts)
