"""What a comparison of one gradient with its reference amounts to."""

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.judge.reference import Reference

Floats = NDArray[np.float64]
Codes = NDArray[np.int8]


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

    @property
    def ulps(self) -> Floats:
        """The distance in units of the reference's last place."""
        with np.errstate(invalid="ignore", over="ignore"):
            return self.distance / self.reference.ulp

    @property
    def ratio(self) -> Floats:
        """The distance as a fraction of the bound; 0 where both are 0."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            ratio = self.distance / self.reference.bound
        if not self.reference.bound.all():
            ratio[self.distance == 0] = 0
        return ratio


def compare(value: NDArray[Any], reference: Reference) -> Comparison:
    """Judge an adapter's values against the reference's."""
    value = value.astype(np.float64, copy=False)
    with np.errstate(invalid="ignore", over="ignore"):
        distance = value - reference.value
        np.abs(distance, out=distance)
        within = distance <= reference.bound
    verdict = np.zeros(value.shape, np.int8)
    counts = np.zeros(len(Verdict), np.int64)
    if (
        reference.kink is None
        and not reference.undefined
        and within.all()
        and reference.informative.all()
    ):
        counts[Verdict.AGREE] = verdict.size
        return Comparison(reference, value, distance, verdict, counts)
    nan = np.isnan(value) | np.isnan(reference.value)
    distance[np.isnan(distance)] = np.inf
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
    counts += np.bincount(verdict.ravel(), minlength=len(Verdict))
    return Comparison(reference, value, distance, verdict, counts)


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
