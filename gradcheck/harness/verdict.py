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


LABELS = tuple(verdict.label for verdict in Verdict)


@dataclass(frozen=True)
class Reference:
    """A gradient's reference values, how far an honest evaluation may be from them, and why.

    Parameters
    ----------
    value
        The hand-written pass in float64, shape `(n, *shape)`.
    bound
        The largest distance of an honest evaluation; `inf` where it may overflow.
    overflow_risk
        Where another order of the same multiplications may overflow, shape of `value`.
    rounding
        The format under judgement.
    """

    value: Floats
    bound: Floats
    overflow_risk: NDArray[np.bool_]
    rounding: Rounding

    def first(self, count: int) -> "Reference":
        """Return the reference of the first `count` samples."""
        return Reference(
            self.value[:count], self.bound[:count], self.overflow_risk[:count], self.rounding
        )

    @cached_property
    def within(self) -> Codes:
        """The verdict on any value within the bound, which at its worst leaves no certain bit."""
        certain = self.bound <= np.abs(self.value) / 2
        codes = np.where(certain, np.int8(Verdict.AGREE), np.int8(Verdict.UNINFORMATIVE))
        codes[self.bound == np.inf] = Verdict.OVERFLOW
        return codes

    @cached_property
    def ulp(self) -> Floats:
        """One unit in the last place of the reference, in the format under judgement."""
        exponent_bits = np.int64(0x7FF0_0000_0000_0000)
        power_of_two = (self.value.view(np.int64) & exponent_bits).view(np.float64)
        return np.maximum(power_of_two, self.rounding.smallest_normal) * (
            2 * self.rounding.unit_roundoff
        )


def reference_of(
    adjoint: Ball, largest: Floats, underflow: float, shape: tuple[int, ...]
) -> Reference:
    """Turn a ball into a reference.

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
    underflow
        The smallest number that the evaluation holds with full precision, in gradients' units.
    shape
        `(n, *shape)` of the gradient.
    """
    rounding = adjoint.rounding
    largest = largest.reshape((-1,) + (1,) * (len(shape) - 1))
    value = np.broadcast_to(adjoint.mid, shape)
    rad = np.broadcast_to(adjoint.rad, shape)
    with np.errstate(over="ignore", invalid="ignore"):
        bound = np.where(rad > 0, rad + underflow * np.maximum(largest, 1), 0.0)
    risk = np.broadcast_to(~(largest <= np.sqrt(rounding.largest)), shape)
    return Reference(np.ascontiguousarray(value), bound, risk, rounding)


@dataclass(frozen=True)
class Comparison:
    """The verdicts on an adapter's values of one gradient, element by element.

    Parameters
    ----------
    verdict
        Codes of `Verdict`.
    value
        The adapter's, widened to float64.
    distance
        `abs(value − reference)`; `inf` where the value is not a number.
    """

    verdict: Codes
    value: Floats
    distance: Floats


def compare(value: NDArray[Any], reference: Reference) -> Comparison:
    """Judge an adapter's values against the reference's."""
    value = value.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.abs(value - reference.value)
        within = distance <= reference.bound
    verdict = reference.within
    if not within.all():
        distance[np.isnan(distance)] = np.inf
        outside = np.where(
            reference.overflow_risk & ~np.isfinite(value), Verdict.OVERFLOW, Verdict.DISAGREE
        ).astype(np.int8)
        verdict = np.where(within | (verdict == Verdict.OVERFLOW), verdict, outside)
    return Comparison(verdict, value, distance)
