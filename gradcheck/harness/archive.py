"""What a search has come nearest to, by goal: the samples from which it goes on."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from gradcheck.harness.moves import BRANCH, EDGE, KINK, Dice
from gradcheck.judge.tally import Key
from gradcheck.judge.verdict import Comparison, Verdict

Floats = NDArray[np.float64]

RATIO = "ratio"
GOALS = (RATIO, KINK, EDGE, BRANCH)
"""The largest distance as a fraction of its bound; ties; the ends of what can be judged; branches
that no sample has taken."""

NOVEL_KEPT = 64
"""Samples of new branches from which a search goes on, the latest ones."""
BESIDE = (0.0, 2.0**-48, 2.0**-36, 2.0**-24, 2.0**-16, 2.0**-8, 2.0**-4)
"""How far from a kink, as a fraction of the way there, samples are placed."""


class Archive:
    """The best samples that were seen, by goal.

    Attributes
    ----------
    patterns
        The combinations of branches that were seen.
    """

    def __init__(self) -> None:
        self.patterns: set[bytes] = set()
        self.best: dict[str, dict[Hashable, tuple[float, Floats]]] = {goal: {} for goal in GOALS}
        self._sides: dict[int, dict[int, tuple[float, Floats]]] = {}
        self._novel: list[Floats] = []

    def learn_branches(self, rows: Floats, leads: Floats) -> int:
        """Take notice of what samples compare; return how many take a new branch."""
        if not leads.shape[1]:
            return 0
        signs = np.where(np.isnan(leads), 2, np.sign(leads)).astype(np.int8)
        before = len(self.patterns)
        for row, pattern in zip(rows, signs, strict=True):
            if (taken := pattern.tobytes()) not in self.patterns:
                self.patterns.add(taken)
                self._novel.append(row)
        del self._novel[:-NOVEL_KEPT]
        for side in (-1, 1):
            distance = np.where(signs == side, np.abs(leads), np.inf)
            nearest = np.argmin(distance, axis=0)
            for column, row in enumerate(nearest.tolist()):
                lead = float(leads[row, column])
                sides = self._sides.setdefault(column, {})
                if distance[row, column] < abs(sides.get(side, (np.inf,))[0]):
                    sides[side] = lead, rows[row]
        return len(self.patterns) - before

    def learn(self, rows: Floats, key: Key, comparison: Comparison) -> None:
        """Take notice of what was judged of one gradient of samples."""
        adapter, _, gradient = key
        judged = comparison.verdict <= Verdict.DISAGREE
        self._keep(RATIO, (adapter, gradient), rows, np.where(judged, comparison.ratio, -np.inf))
        size = np.abs(comparison.reference.value)
        agrees = (comparison.verdict == Verdict.AGREE) & (size > 0)
        self._keep(EDGE, (gradient, "large"), rows, np.where(agrees, size, -np.inf))
        self._keep(EDGE, (gradient, "small"), rows, np.where(agrees, -size, -np.inf))

    def _keep(self, goal: str, name: Hashable, rows: Floats, score: Floats) -> None:
        """Keep the sample with the highest score, if there is none as high."""
        of_samples = score.reshape(len(score), -1).max(axis=1)
        row = int(np.argmax(of_samples))
        best = float(of_samples[row])
        if best > self.best[goal].get(name, (-np.inf,))[0]:
            self.best[goal][name] = best, rows[row]

    def parents(self, goal: str) -> Sequence[Floats]:
        """Return the samples that have come nearest to a goal."""
        if goal == BRANCH:
            lonely = [row for sides in self._sides.values() for _, row in sides.values()]
            return [*self._novel, *lonely[:NOVEL_KEPT]]
        if goal == KINK:
            return [row for sides in self._sides.values() for _, row in sides.values()]
        return [row for _, row in self.best[goal].values()]

    def beside_a_kink(self, dice: Dice) -> Floats | None:
        """Return a row near one where a comparison of which both sides were seen has a tie.

        On the line through a sample on either side, a secant step and a little beyond or short.
        """
        both = [sides for sides in self._sides.values() if len(sides) > 1]
        if not both:
            return None
        sides = dice.one_of(both)
        (below, one), (above, other) = sides[-1], sides[1]
        with np.errstate(all="ignore"):
            share = below / (below - above) * (1 + dice.one_of((-1, 1)) * dice.one_of(BESIDE))
            row: Floats = one + share * (other - one)
        return row
