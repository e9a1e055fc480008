"""On how many samples each gradient was judged: to have looked at nothing shows nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gradcheck.adapters import HAND_WRITTEN
from gradcheck.judge.tally import Key, Tally
from gradcheck.judge.verdict import LABELS, Verdict

LEAST_JUDGED = 0.1
"""Share of the samples on which a gradient must be judged for a sweep to have shown something.

A wrong formula shows on nearly every sample that is judged, so that a few would find it. Where more
than nine in ten tell nothing, though, the samples do not fit the model, and a fault in a region
of theirs was not looked for.
"""


@dataclass(frozen=True)
class Shortfall:
    """A gradient that was judged on too few samples, and what the others were instead.

    `reason` is a verdict's label, or `undefined` where the definition is.
    """

    gradient: str
    dtype: str
    judged: int
    samples: int
    reason: str


def is_evidence(key: Key, tally: Tally) -> bool:
    """Tell whether an agreement says something: it is judged, and independent.

    That the hand-written passes agree with themselves confirms no formula.
    """
    return tally.judged and key[0] != HAND_WRITTEN


def _told(tally: Tally) -> float:
    """Return the share of comparisons of which something is told."""
    silent = tally.counts[[Verdict.UNINFORMATIVE, Verdict.OVERFLOW]].sum()
    total = max(tally.counts.sum(), 1)
    return float((total - silent) / total)


def find_shortfalls(
    tallies: Mapping[Key, Tally], undefined: Mapping[str, int]
) -> tuple[Shortfall, ...]:
    """Find the gradients that no adapter was judged by on the share `LEAST_JUDGED`.

    Of the samples, an element at least being judged there; and of all elements.

    Parameters
    ----------
    tallies
        By adapter, dtype and gradient.
    undefined
        By dtype, on how many samples the definition is undefined.
    """
    groups: dict[tuple[str, str], list[Tally]] = {}
    for key, tally in tallies.items():
        if is_evidence(key, tally):
            groups.setdefault((key[2], key[1]), []).append(tally)
    found = []
    for (gradient, dtype), group in groups.items():
        best = max(group, key=lambda tally: tally.judged_samples / tally.samples)
        if min(best.judged_samples / best.samples, _told(best)) >= LEAST_JUDGED:
            continue
        counts = sum(tally.counts for tally in group)
        silent = [*range(Verdict.UNINFORMATIVE, len(Verdict))]
        reason = LABELS[max(silent, key=lambda verdict: int(np.asarray(counts)[verdict]))]
        if reason == Verdict.UNINFORMATIVE.label and 2 * undefined[dtype] >= best.samples:
            reason = "undefined"
        if reason not in (Verdict.ERROR.label, Verdict.NAN.label):  # these fail by themselves
            found.append(Shortfall(gradient, dtype, best.judged_samples, best.samples, reason))
    return tuple(found)
