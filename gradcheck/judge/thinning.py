"""A few points of many comparisons, for a picture: error against bound.

Which samples they are of follows from the request alone, so that it does not matter how a sweep is
cut. One sample gives one point at most: the gradients of an adapter take turns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradcheck.judge.verdict import Comparison, Verdict

Floats = NDArray[np.float64]

POINTS = 128
"""At most, of one adapter and dtype."""
COLUMNS = ("sample", "element", "verdict", "error", "bound", "reference")
"""Of a point; all of them are exact as float64."""
NO_POINTS: Floats = np.empty((0, len(COLUMNS)))


@dataclass(frozen=True)
class Thinning:
    """Which samples give a point: every `step`-th, from `first` on."""

    first: int
    step: int

    def rows(self, start: int, count: int) -> NDArray[np.int64]:
        """Return the positions of these samples among `count` from `start` on."""
        before = max(0, -((self.first - start) // self.step))
        return np.arange(self.first + before * self.step - start, count, self.step)


def thinning(samples: int, turn: int, turns: int) -> Thinning:
    """Let the gradient whose turn it is have its share of evenly spaced samples."""
    stride = -(-samples // POINTS)
    return Thinning(stride * turn, stride * turns)


def thinned(comparison: Comparison, start: int, chosen: Thinning) -> Floats:
    """Return of each chosen sample the element that is worst relative to its bound.

    Returns
    -------
    numpy.ndarray
        A row per point, with `COLUMNS`. A sample without an element that is finite and agrees,
        disagrees or is uninformative has none.
    """
    verdict, reference = comparison.verdict, comparison.reference
    rows = chosen.rows(start, len(verdict))
    if not len(rows):
        return NO_POINTS
    code, value, expected, bound = (
        array.reshape(len(verdict), -1)[rows]
        for array in (verdict, comparison.value, reference.value, reference.bound)
    )
    with np.errstate(all="ignore"):
        error = np.abs(value - expected)
        ratio = np.where(error == 0, 0.0, error / bound)
    usable = (code <= Verdict.UNINFORMATIVE) & np.isfinite(error) & np.isfinite(bound)
    worst = np.where(usable, ratio, -1.0).argmax(axis=1)
    at = np.arange(len(rows)), worst
    points = [start + rows, worst, code[at], error[at], bound[at], expected[at]]
    found: Floats = np.column_stack(points)[usable[at]].astype(np.float64)
    return found


def joined(one: Floats, other: Floats) -> Floats:
    """Combine the points of different samples, in order of sample."""
    both = np.concatenate([one, other])
    return both[np.argsort(both[:, 0], kind="stable")]
