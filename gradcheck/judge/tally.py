"""What a sweep remembers of its comparisons: counts, a histogram and the worst cases.

A tally's size does not grow with the number of samples. Merging is associative and commutative, so
that it does not matter how a sweep is cut into blocks, nor in which order they are done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from gradcheck.judge.measures import (
    BUCKETS,
    FIRST_BUCKET,
    ULPS_SHIFT,
    UNMEASURED,
    histogram_of,
    measure,
)
from gradcheck.judge.thinning import NO_POINTS, Floats, Thinning, joined, thinned
from gradcheck.judge.verdict import LABELS, Comparison, Verdict

Counts = NDArray[np.int64]
Key = tuple[str, str, str]
"""Adapter, dtype, gradient."""

KINKS_KEPT = 3
"""Cases on kinks, the widest, from which one sees what a framework chooses there."""
NANS_KEPT = 3
"""Cases that are not a number, the first ones."""


@dataclass(frozen=True)
class Case:
    """One comparison, kept as evidence.

    `element` is the position in the gradient's flattened array, 0 for a scalar; `ratio` is the
    distance over the bound; `message` says what went wrong where the verdict is `error`; `bar` is
    the kind of bar that judged; on a kink, honest values lie between `low` and `high`.
    """

    sample: int
    element: int
    verdict: str
    value: float
    reference: float
    bound: float
    ulps: float
    ratio: float
    message: str = ""
    bar: str = "ball"
    low: float = np.nan
    high: float = np.nan

    @property
    def place(self) -> tuple[int, int]:
        """Where it was met: no two cases of a tally share it."""
        return self.sample, self.element

    @property
    def openness(self) -> float:
        """How far the values on a kink are apart, relative to their size."""
        width, size = self.high - self.low, abs(self.high + self.low)
        return width / (size + width) if np.isfinite(width) and width > 0 else 0.0


@dataclass(frozen=True)
class Tally:
    """The comparisons of one adapter, dtype and gradient.

    Parameters
    ----------
    keep
        How many disagreements to keep, the worst first (most ulps; the earliest of equals).
    judged
        Whether the adapter is held to the bound. If not, no verdicts are counted.
    counts
        By `Verdict`, int64.
    histogram
        Of the ulps of what agrees or disagrees, in logarithmic buckets, int64.
    max_ulps, max_ratio
        Largest distance, in ulps and as a fraction of the bound; NaN if nothing was compared.
    worst
        The comparison with the largest ratio (with most ulps, if not judged).
    disagreements, kinks, errors, nans
        Cases kept.
    stochastic
        How many comparisons a stochastic bar judged.
    samples, judged_samples, disagreeing_samples
        How many samples there were; on how many of them an element at least was judged: it agrees
        or disagrees, or is on a kink where kinks were asked for; on how many one disagrees.
    points
        Error and bound of evenly spaced samples, see `thinned`.
    """

    keep: int
    judged: bool = True
    counts: Counts = field(default_factory=lambda: np.zeros(len(Verdict), np.int64))
    histogram: Counts = field(default_factory=lambda: np.zeros(BUCKETS, np.int64))
    compared: int = 0
    max_ulps: float = np.nan
    max_ratio: float = np.nan
    worst: Case | None = None
    disagreements: tuple[Case, ...] = ()
    kinks: tuple[Case, ...] = ()
    errors: tuple[Case, ...] = ()
    nans: tuple[Case, ...] = ()
    stochastic: int = 0
    samples: int = 0
    judged_samples: int = 0
    disagreeing_samples: int = 0
    points: Floats = field(default_factory=lambda: NO_POINTS)

    @property
    def cases(self) -> tuple[Case, ...]:
        """All that are kept."""
        worst = () if self.worst is None else (self.worst,)
        return (*self.errors, *self.nans, *self.disagreements, *self.kinks, *worst)

    def merge(self, other: Tally) -> Tally:
        """Combine with the tally of other samples; of equally bad cases the first one counts."""
        worst = [case for case in (self.worst, other.worst) if case is not None]
        return replace(
            self,
            counts=self.counts + other.counts,
            histogram=self.histogram + other.histogram,
            compared=self.compared + other.compared,
            max_ulps=float(np.fmax(self.max_ulps, other.max_ulps)),
            max_ratio=float(np.fmax(self.max_ratio, other.max_ratio)),
            worst=min(worst, key=lambda case: (-self._badness(case), *case.place), default=None),
            disagreements=_first(
                self.keep, self.disagreements + other.disagreements, lambda case: -case.ulps
            ),
            kinks=_first(KINKS_KEPT, self.kinks + other.kinks, lambda case: -case.openness),
            errors=_first(1, self.errors + other.errors),
            nans=_first(NANS_KEPT, self.nans + other.nans),
            stochastic=self.stochastic + other.stochastic,
            samples=self.samples + other.samples,
            judged_samples=self.judged_samples + other.judged_samples,
            disagreeing_samples=self.disagreeing_samples + other.disagreeing_samples,
            points=joined(self.points, other.points),
        )

    def convict(self, cases: Sequence[Case]) -> Tally:
        """Count cases that seemed to agree, or told nothing, as disagreements."""
        worst = max(cases, key=lambda case: case.ulps)
        convicted = self.disagreeing_samples + len({case.sample for case in cases})
        disagreeing = min(self.samples, convicted)
        return replace(
            self,
            counts=self._moved(len(cases), Verdict.DISAGREE),
            max_ulps=float(np.fmax(self.max_ulps, worst.ulps)),
            max_ratio=float(np.fmax(self.max_ratio, worst.ratio)),
            worst=worst,
            disagreements=_first(self.keep, (*self.disagreements, *cases), lambda case: -case.ulps),
            judged_samples=max(self.judged_samples, disagreeing),
            disagreeing_samples=disagreeing,
        )

    def doubt(self, count: int) -> Tally:
        """Count so many comparisons that seemed to agree as uninformative."""
        return replace(self, counts=self._moved(count, Verdict.UNINFORMATIVE))

    def _moved(self, count: int, verdict: Verdict) -> Counts:
        counts = self.counts.copy()
        for before in (Verdict.AGREE, Verdict.UNINFORMATIVE, Verdict.KINK, Verdict.OVERFLOW):
            moved = min(count, int(counts[before])) if before is not verdict else 0
            counts[before] -= moved
            counts[verdict] += moved
            count -= moved
        return counts

    def _badness(self, case: Case) -> float:
        return case.ratio if self.judged else case.ulps

    def quantile(self, fraction: float) -> float:
        """Return the quantile of the ulps, the lower edge of its bucket; NaN if there are none."""
        total = int(self.histogram.sum())
        if total == 0:
            return float("nan")
        rank = max(1, int(np.ceil(fraction * total)))
        bucket = int(np.searchsorted(np.cumsum(self.histogram), rank))
        if bucket == 0:
            return 0.0
        edge = np.array((bucket + FIRST_BUCKET) << ULPS_SHIFT).view(np.float64)
        return min(float(edge), self.max_ulps)


def tally_comparison(
    comparison: Comparison,
    start: int,
    keep: int,
    judged: bool = True,
    on_kinks: bool = False,
    chosen: Thinning | None = None,
) -> Tally:
    """Reduce the comparisons of the samples from `start` on.

    `on_kinks` tells whether the samples were placed on kinks, where that verdict says something;
    `chosen` which of them give a point, if the adapter is held to the bound.
    """
    tally = _tally(comparison, start, keep, judged, on_kinks)
    if chosen is None or not judged:
        return tally
    return replace(tally, points=thinned(comparison, start, chosen))


def _tally(comparison: Comparison, start: int, keep: int, judged: bool, on_kinks: bool) -> Tally:
    verdict, reference, counts = comparison.verdict, comparison.reference, comparison.counts
    size = verdict.size // len(verdict)
    if judged and counts[Verdict.AGREE] == verdict.size and reference.stochastic is None:
        return _tally_agreement(comparison, start, keep)
    ulps, ratio = comparison.ulps, comparison.ratio
    if not judged:
        counts = np.zeros_like(counts)
        unmeasured = (verdict == Verdict.OVERFLOW) | ~(comparison.distance < np.inf)
        ulps[unmeasured] = ratio[unmeasured] = UNMEASURED
    elif counts[Verdict.AGREE] + counts[Verdict.DISAGREE] < verdict.size:
        unmeasured = verdict >= Verdict.UNINFORMATIVE
        ulps[unmeasured] = ratio[unmeasured] = UNMEASURED
    kinks: Counts = np.zeros(0, np.int64)
    stochastic = 0
    center, reach = reference.center, reference.reach
    if judged and center is not None and reach is not None:
        kinks = np.flatnonzero(verdict == Verdict.KINK)
        with np.errstate(invalid="ignore"):
            sizes = np.abs(center.flat[kinks]) + reach.flat[kinks]
            share = np.nan_to_num(reach.flat[kinks] / sizes)
        kinks = kinks[np.argsort(-share, kind="stable")[:KINKS_KEPT]]
    if judged and reference.stochastic is not None:
        stochastic = int(np.count_nonzero(reference.stochastic))

    def case(position: int) -> Case:
        return case_at(comparison, position, start, judged)

    nans: Counts = np.zeros(0, np.int64)
    if counts[Verdict.NAN]:
        nans = np.flatnonzero(verdict == Verdict.NAN)[:NANS_KEPT]
    disagreeing = worst_first = np.zeros(0, np.int64)
    if counts[Verdict.DISAGREE]:
        disagreeing = np.flatnonzero(verdict == Verdict.DISAGREE)
        worst_first = disagreeing[np.argsort(-ulps.flat[disagreeing], kind="stable")[:keep]]
    tally = Tally(
        keep,
        judged,
        counts,
        compared=verdict.size,
        kinks=tuple(map(case, kinks.tolist())),
        nans=tuple(map(case, nans.tolist())),
        stochastic=stochastic,
        samples=len(verdict),
        judged_samples=_count_judged(verdict, on_kinks) if judged else 0,
        disagreeing_samples=len(np.unique(disagreeing // size)),
    )
    position = int(np.argmax(ratio if judged else ulps))
    if ulps.flat[position] == UNMEASURED:
        return tally
    return replace(
        tally,
        histogram=histogram_of(ulps.ravel()),
        max_ulps=float(ulps.max()),
        max_ratio=float(ratio.flat[position]) if judged else np.nan,
        worst=case(position),
        disagreements=tuple(map(case, worst_first.tolist())),
    )


def _tally_agreement(comparison: Comparison, start: int, keep: int) -> Tally:
    """Reduce comparisons that all agree."""
    size, reference, rows = comparison.verdict.size, comparison.reference, comparison.differing
    expected, bound = reference.value.reshape(-1), reference.bound.reshape(-1)
    if rows is None:
        found = measure(comparison.distance.reshape(-1), expected, bound, reference.rounding)
    else:
        distance = np.abs(comparison.value.reshape(-1)[rows] - expected[rows])
        found = measure(distance, expected[rows], bound[rows], reference.rounding)
        found.histogram[0] += size - len(rows)
        found.position = int(rows[found.position]) if found.max_ratio else 0
    return Tally(
        keep,
        counts=comparison.counts,
        histogram=found.histogram,
        compared=size,
        max_ulps=found.max_ulps,
        max_ratio=found.max_ratio,
        worst=case_at(comparison, found.position, start),
        samples=len(comparison.verdict),
        judged_samples=len(comparison.verdict),
    )


def case_at(comparison: Comparison, position: int, start: int, judged: bool = True) -> Case:
    """Keep one comparison, by its position in the flattened arrays."""
    reference, verdict = comparison.reference, comparison.verdict
    sample, element = divmod(position, verdict.size // len(verdict))
    center, reach, low, high = reference.center, reference.reach, np.nan, np.nan
    on_a_kink = reference.kink is not None and reference.kink.flat[position]
    if on_a_kink and center is not None and reach is not None:
        middle, half = float(center.flat[position]), float(reach.flat[position])
        low, high = middle - half, middle + half
    by_chance = reference.stochastic is not None and reference.stochastic.flat[position]
    ulps, ratio = comparison.measured(position)
    return Case(
        sample=start + sample,
        element=element,
        verdict=LABELS[verdict.flat[position]] if judged else "",
        value=float(comparison.value.flat[position]),
        reference=float(reference.value.flat[position]),
        bound=float(reference.bound.flat[position]),
        ulps=ulps,
        ratio=ratio,
        bar="stochastic" if by_chance else "ball",
        low=low,
        high=high,
    )


def _count_judged(verdict: NDArray[np.int8], on_kinks: bool) -> int:
    """Count the samples on which an element was judged."""
    judged = verdict <= Verdict.DISAGREE
    if on_kinks:
        judged |= verdict == Verdict.KINK
    return int(np.count_nonzero(judged.reshape(len(verdict), -1).any(axis=1)))


def tally_error(
    message: str, size: int, count: int, start: int, keep: int, judged: bool = True
) -> Tally:
    """Count every element of `count` samples as an error."""
    nan = float("nan")
    case = Case(start, 0, Verdict.ERROR.label, nan, nan, nan, nan, nan, message)
    counts = np.zeros(len(Verdict), np.int64)
    counts[Verdict.ERROR] = size * count
    return Tally(keep, judged, counts, compared=size * count, errors=(case,), samples=count)


def _first(
    count: int, cases: Sequence[Case], rank: Callable[[Case], float] = lambda case: 0.0
) -> tuple[Case, ...]:
    """Return the first cases by rank, and by place where they are of one rank."""
    return tuple(sorted(cases, key=lambda case: (rank(case), *case.place))[:count])
