"""What a comparison of one gradient with its reference amounts to."""

from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.judge.measures import ulp_of
from gradcheck.judge.reference import Reference

Floats = NDArray[np.float64]
Codes = NDArray[np.int8]
Positions = NDArray[np.int64]

FEW = 0.125
"""Up to which share of values that differ it is cheaper to pick them out than to measure all."""


class Verdict(IntEnum):
    """The outcomes; their names are those of the columns and cells of the tables."""

    AGREE = 0
    DISAGREE = 1
    UNINFORMATIVE = 2
    OVERFLOW = 3
    KINK = 4
    ERROR = 5
    NAN = 6

    @property
    def label(self) -> str:
        """The verdict in lower case, as the tables have it."""
        return self.name.lower()


LABELS = tuple(verdict.label for verdict in Verdict)


@dataclass(frozen=True)
class Comparison:
    """The verdicts on an adapter's values of one gradient, element by element.

    Parameters
    ----------
    reference
        What the values were compared with.
    value
        The adapter's, widened to float64.
    verdict
        Codes of `Verdict`.
    counts
        How often each verdict was given, int64.
    differing
        Positions, in the flattened arrays, of the values that are not the reference's to the last
        bit, if they are few and every value agrees; else `None`.
    """

    reference: Reference
    value: Floats
    verdict: Codes
    counts: NDArray[np.int64]
    differing: Positions | None = None

    @cached_property
    def distance(self) -> Floats:
        """`abs(value − reference)`; `inf` where the value is not a number."""
        return _distance(self.value, self.reference.value)

    @property
    def ulps(self) -> Floats:
        """The distance in units of the reference's last place."""
        return _ulps(self.distance, self.reference.ulp)

    @property
    def ratio(self) -> Floats:
        """The distance as a fraction of the bound; 0 where both are 0."""
        return _ratio(self.distance, self.reference.bound)

    def measured(self, position: int) -> tuple[float, float]:
        """Return ulps and ratio at one position in the flattened arrays."""
        value, expected, bound = (
            array.reshape(-1)[position : position + 1]
            for array in (self.value, self.reference.value, self.reference.bound)
        )
        distance = _distance(value, expected)
        ulps = _ulps(distance, ulp_of(expected, self.reference.rounding))
        return ulps.item(), _ratio(distance, bound).item()


def _distance(value: Floats, expected: Floats) -> Floats:
    with np.errstate(invalid="ignore", over="ignore"):
        distance = value - expected
    np.abs(distance, out=distance)
    if distance.size and np.isnan(distance.max()):
        distance[np.isnan(distance)] = np.inf
    return distance


def _ulps(distance: Floats, ulp: Floats) -> Floats:
    with np.errstate(invalid="ignore", over="ignore"):
        return distance / ulp


def _ratio(distance: Floats, bound: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = distance / bound
    if ratio.size and np.isnan(ratio.max()):
        ratio[distance == 0] = 0
    return ratio


def compare(value: NDArray[Any], reference: Reference) -> Comparison:
    """Judge an adapter's values against the reference's."""
    verdict = np.zeros(value.shape, np.int8)
    counts = np.zeros(len(Verdict), np.int64)
    counts[Verdict.AGREE] = verdict.size
    differing = _few_differing(value, reference) if reference.is_certain else None
    value = value.astype(np.float64, copy=False)
    comparison = Comparison(reference, value, verdict, counts, differing)
    if differing is not None:
        expected, bound = (a.reshape(-1)[differing] for a in (reference.value, reference.bound))
        if (_distance(value.reshape(-1)[differing], expected) <= bound).all():
            return comparison
    distance = comparison.distance
    within = distance <= reference.bound
    if reference.is_certain and within.all():
        return comparison
    nan = np.isnan(value) | np.isnan(reference.value)
    verdict[~reference.informative] = Verdict.UNINFORMATIVE
    verdict[~within] = Verdict.DISAGREE
    verdict[~within & ~np.isfinite(value) & reference.overflow_risk] = Verdict.OVERFLOW
    verdict[reference.bound == np.inf] = Verdict.OVERFLOW
    if reference.kink is not None and reference.reach is not None:
        with np.errstate(invalid="ignore"):
            honest = np.abs(value - reference.center) <= reference.reach
        honest |= ~np.isfinite(value) & reference.overflow_risk
        settled = np.where(honest, Verdict.KINK, Verdict.DISAGREE)
        settled = np.where(np.isfinite(reference.reach), settled, Verdict.UNINFORMATIVE)
        verdict[reference.kink] = settled[reference.kink]
    verdict[nan] = Verdict.NAN
    if reference.definition is not None:
        reference.definition.look(_samples_in(nan))
        verdict[reference.definition.undefined[: len(verdict)]] = Verdict.UNINFORMATIVE
    counts = np.bincount(verdict.ravel(), minlength=len(Verdict))
    return Comparison(reference, value, verdict, counts)


def _few_differing(value: NDArray[Any], reference: Reference) -> Positions | None:
    """Name the values that are not the reference's to the last bit, if they are few.

    Reference values are float64, which next to none in a coarser format is equal to.
    """
    if value.dtype != np.float64:
        return None
    differs = value != reference.value
    few = np.count_nonzero(differs) <= FEW * differs.size
    return np.flatnonzero(differs) if few else None


def excuse_overflows(comparison: Comparison) -> Comparison:
    """Judge extreme samples, of which it is no news that something overflows.

    That may be to a NaN, of inf − inf, or in the definition alone: where its own bar has no end, no
    derivative of it is worth anything.
    """
    verdict, reference = comparison.verdict.copy(), comparison.reference
    nan = verdict == Verdict.NAN
    verdict[nan & (reference.overflow_risk | ~(reference.bound < np.inf))] = Verdict.OVERFLOW
    fails = (verdict == Verdict.DISAGREE) | (verdict == Verdict.NAN)
    if reference.definition is not None and fails.any():
        reference.definition.look(_samples_in(fails))
        reach = np.abs(reference.definition.mid) + reference.definition.rad
        unbounded = ~(reach < np.inf)[: len(verdict)]
        verdict[fails & unbounded.reshape((-1,) + (1,) * (verdict.ndim - 1))] = Verdict.OVERFLOW
    counts = np.bincount(verdict.ravel(), minlength=len(Verdict)).astype(np.int64)
    return replace(comparison, verdict=verdict, counts=counts)


def _samples_in(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Name the samples with an element in a mask of shape `(n, *shape)`."""
    return np.flatnonzero(mask.reshape(len(mask), -1).any(axis=1))
