"""Samples as rows of numbers, and what may be done to one of them to make another.

The numbers that matter to a floating-point program are few: zero, one, powers of two from the
smallest subnormal to the largest number, the ends of a range, and each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from math import ceil, prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradcheck.harness.samples import draw_words
from gradcheck.model.model import Model
from gradcheck.numbers.rounding import finfo

Floats = NDArray[np.float64]
Target = NDArray[np.int64]

KINK, EDGE, BRANCH = "kink", "edge", "branch"
"""What a move leads to: ties, the ends of a format, and what no sample has done."""


class Space:
    """The samples of a model in one format, each as a row of all its numbers.

    Attributes
    ----------
    width
        How many numbers a sample has.
    groups
        The positions of each leaf whose numbers can be changed one by one.
    rigid
        The positions of each other leaf.
    """

    def __init__(self, model: Model, dtype: str) -> None:
        self.model, self.dtype = model, np.dtype(dtype)
        sizes = [prod(shape) for shape in model.leaves.values()]
        ends = np.cumsum([0, *sizes])
        self.width = sum(sizes)
        self._parts = dict(zip(model.leaves, pairwise(ends.tolist()), strict=True))
        self.groups: list[Target] = []
        self.rigid: list[Target] = []
        for name, (first, last) in self._parts.items():
            domain = model.domain(name)
            moves = domain is None or domain.nearest is not None
            (self.groups if moves else self.rigid).append(np.arange(first, last))

    def rows(self, values: Mapping[str, NDArray[Any]]) -> Floats:
        """Return samples as rows."""
        return np.concatenate(
            [values[name].reshape(len(values[name]), -1) for name in self._parts], axis=1
        ).astype(np.float64)

    def values(self, rows: Floats) -> dict[str, NDArray[Any]]:
        """Return the samples nearest to some rows: in their domains, and exact in the format."""
        values: dict[str, NDArray[Any]] = {}
        largest = float(finfo(self.dtype).max)
        for name, (first, last) in self._parts.items():
            numbers = rows[:, first:last].reshape(len(rows), *self.model.leaves[name])
            domain = self.model.domain(name)
            if domain is None or domain.nearest is not None:
                numbers = self._rounded(np.clip(np.nan_to_num(numbers), -largest, largest))
            if domain is not None and domain.nearest is not None:
                numbers = self._rounded(domain.nearest(numbers))
            is_discrete = domain is not None and domain.is_discrete
            values[name] = numbers.astype(np.int64 if is_discrete else np.float64)
        return values

    def _rounded(self, numbers: Floats) -> Floats:
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(numbers).astype(self.dtype).astype(np.float64)

    @cached_property
    def ends(self) -> tuple[Floats, Floats]:
        """The smallest and the largest number at each position."""
        limits = finfo(self.dtype)
        tried = [-float(limits.max), float(limits.smallest_subnormal), float(limits.max)]
        rows = self.rows(self.values(np.repeat(np.array(tried)[:, None], self.width, axis=1)))
        return rows.min(axis=0), rows.max(axis=0)


class Move(NamedTuple):
    """A change of a row, and what it leads to."""

    goal: str
    change: Callable[[Floats, Target, float], None]
    target: Target
    amount: float

    def applied(self, row: Floats) -> Floats:
        """Return the row changed."""
        row = row.copy()
        with np.errstate(all="ignore"):
            self.change(row, self.target, self.amount)
        return row


def _set(row: Floats, target: Target, amount: float) -> None:
    row[target] = amount


def _scale(row: Floats, target: Target, amount: float) -> None:
    row[target] *= amount


def _sign(row: Floats, target: Target, amount: float) -> None:
    row[target] = np.copysign(row[target], amount)


def _round(row: Floats, target: Target, amount: float) -> None:
    row[target] = np.rint(row[target]) + amount


def _tie(row: Floats, target: Target, amount: float) -> None:
    """Let one number be another, or a multiple of it."""
    row[target[0]] = row[target[1]] * amount


def _roll(row: Floats, target: Target, amount: float) -> None:
    row[target] = np.roll(row[target], int(amount))


def powers(dtype: np.dtype[Any]) -> list[float]:
    """Return powers of two from the smallest number of a format to the largest, dense about 1."""
    limits = finfo(dtype)
    smallest, normal, largest, digits = (
        limits.minexp - limits.nmant, limits.minexp, limits.maxexp - 1, limits.nmant,
    )  # fmt: skip
    exponents = {
        *range(-10, 11), *range(-5 * digits // 2, 5 * digits // 2 + 1, digits // 2),
        smallest, normal, normal + 1, normal + digits, normal * 3 // 4, normal // 2,
        largest // 2 - 1, largest // 2, largest // 2 + 1, largest * 3 // 4, largest - 1, largest,
    }  # fmt: skip
    return [float(np.ldexp(1.0, one)) for one in sorted(exponents) if smallest <= one <= largest]


def all_moves(space: Space, most: int) -> list[Move]:
    """List what can be done to a sample, at most about `most` moves.

    Of a model of many numbers not every one is moved alone.
    """
    sizes = powers(space.dtype)
    near = (1.0, -1.0, 1 + 2 * float(finfo(space.dtype).eps), 1 + 2.0**-20, 1 + 2.0**-10)
    single = [np.array([place]) for group in space.groups for place in group]
    per_place = 2 * len(sizes)
    single = single[:: ceil(len(single) * per_place / max(most // 2, 1)) or 1]
    together = [group for group in space.groups if len(group) > 1]
    if len(space.groups) > 1:
        together.append(np.concatenate(space.groups))
    together = together[:: ceil(len(together) * per_place / max(most // 4, 1)) or 1]
    low, high = space.ends
    moves: list[Move] = []
    for target in (*single, *together):
        ends = float(low[target].max()), float(high[target].min())
        if ends[1] - ends[0] <= most // 4:  # a label, or what can be listed like one
            listed = np.arange(ends[0], ends[1] + 1)
            moves += [Move(BRANCH, _set, target, one) for one in listed.tolist()]
        inside = [sign * one for one in sizes for sign in (1, -1) if ends[0] <= sign * one]
        moves += [Move(EDGE, _set, target, one) for one in inside if one <= ends[1]]
        moves += [Move(EDGE, _set, target, one) for one in ends]
        if np.isfinite(ends[1] - ends[0]):
            steps = [2.0**-k * (ends[1] - ends[0]) for k in range(1, 53, 3)]
            moves += [Move(EDGE, _set, target, ends[0] + one) for one in steps]
            moves += [Move(EDGE, _set, target, ends[1] - one) for one in steps]
        moves += [Move(KINK, _set, target, one) for one in (0.0, 3.0, 5.0, 7.0)]
        moves += [Move(KINK, _round, target, one) for one in (0.0, 0.5)]
        moves += [Move(BRANCH, _sign, target, one) for one in (1.0, -1.0)]
    for target in together:
        moves += [Move(EDGE, _scale, target, one) for one in sizes]
    pairs = [
        np.concatenate([one, other])
        for k in range(1, len(single))
        for one, other in zip(single, single[k:], strict=False)
    ]
    pairs = pairs[:: ceil(len(pairs) * len(near) / max(most // 4, 1)) or 1]
    moves += [Move(KINK, _tie, pair, one) for pair in pairs for one in near]
    for target in space.rigid:
        shifts = range(1, min(len(target), most // 4))
        moves += [Move(BRANCH, _roll, target, float(one)) for one in shifts]
    return moves


class Dice:
    """Random choices that replay anywhere: a stream of a seed's words."""

    def __init__(self, seed: int, stream: int) -> None:
        self._words = self._drawn(seed, stream)

    @staticmethod
    def _drawn(seed: int, stream: int, at_once: int = 4096) -> Iterator[int]:
        start = 0
        while True:
            yield from draw_words(seed, stream, start, at_once).tolist()
            start += at_once

    def below(self, count: int) -> int:
        """Return a number from 0 up to but not including `count`."""
        return next(self._words) % count

    def one_of(self, items: Sequence[Any]) -> Any:
        """Return one of some items."""
        return items[self.below(len(items))]

    def fraction(self) -> float:
        """Return a number in [0, 1)."""
        return (next(self._words) >> 11) * 2.0**-53

    def shuffled(self, items: Sequence[Any]) -> list[Any]:
        """Return the items in random order."""
        keys = [next(self._words) for _ in items]
        return [items[place] for place in np.argsort(np.array(keys, np.uint64), kind="stable")]
