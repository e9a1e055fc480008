"""What a wrong adjoint holds, in words: what is tried with which arrays, on all samples at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.diagnosis.explanation import constant_ratio, explain, matches, symbol
from gradcheck.diagnosis.recording import Nodes, Recording
from gradcheck.diagnosis.search import as_floats
from gradcheck.model.model import Model
from gradcheck.numbers.ball import Ball
from gradcheck.numbers.rounding import Rounding

FLOAT64 = Rounding(np.dtype(np.float64))
EACH = 64
"""Elements of an array that are looked at, on every sample."""
QUANTITIES, READS = 48, 12
"""Most quantities of which an explanation may be made; and of which all pairs may be terms."""

Balls = dict[str, Ball]


@dataclass(frozen=True)
class Elements:
    """Some elements of an array, on every sample: where they are, and what they should be."""

    index: tuple[NDArray[np.int64], ...]
    truth: Ball

    def of(self, ball: Ball) -> Ball:
        """Take these elements of another array of that shape."""
        mid, rad = ball.whole()
        return Ball(mid[self.index], rad[self.index], ball.rounding)


class Explainer:
    """All values and adjoints on all samples, the sample axis first.

    Parameters
    ----------
    first
        Elements of gradients that are looked at first, by parameter.
    """

    def __init__(
        self, model: Model, recordings: Sequence[Recording], first: Mapping[str, Sequence[int]]
    ) -> None:
        self.model, self.samples = model, len(recordings)
        self.v, self.t, self.d, truth = (
            self._stacked([getattr(one, part) for one in recordings])
            for part in ("v", "t", "d", "truth")
        )
        self.shapes = {name: ball.mid.shape[1:] for name, ball in truth.items()}
        self.elements = {
            name: self._elements(name, truth[name], first.get(name, ()))
            for name in self.d
            if name in truth
        }

    def _stacked(self, boards: Sequence[Mapping[str, Nodes]]) -> Balls:
        """Join what all samples have in the same shape."""
        found = {}
        for name in boards[0]:
            arrays = [board[name] for board in boards if name in board]
            if self.model.batched:
                arrays = [a.reshape(a.shape[1:]) if a.shape[:1] == (1,) else a for a in arrays]
            if len(arrays) == len(boards) and len({array.shape for array in arrays}) == 1:
                mids, rads = zip(*map(as_floats, arrays), strict=True)
                found[name] = Ball(np.stack(mids), np.stack(rads), FLOAT64)
        return found

    def _elements(self, name: str, truth: Ball, first: Sequence[int]) -> Elements:
        shape = self.shapes[name]
        chosen = _spread(prod(shape), EACH, first)
        rows = np.repeat(np.arange(self.samples), len(chosen))
        inner = np.unravel_index(np.tile(chosen, self.samples), shape) if shape else ()
        index = (rows, *(axis.astype(np.int64) for axis in inner))
        mid, rad = truth.whole()
        return Elements(index, Ball(mid[index], rad[index], FLOAT64))

    def explain(self, name: str, reads: Sequence[str]) -> str:
        """Say what an adjoint holds; empty if nothing simple matches.

        Parameters
        ----------
        reads
            What the wrong lines read: `t.h1`, `d.f2`.
        """
        if name not in self.elements:
            return ""
        elements = self.elements[name]
        reads = reads[:READS]
        quantities = _nearest(self._restricted(name, elements), reads)
        with np.errstate(all="ignore"):
            words = explain(
                elements.of(self._held(name)),
                elements.truth,
                quantities,
                reads,
                self._moved(name, elements),
            ) or self._product(name, elements, reads)
            return self._in_words(name, words)

    def _held(self, name: str) -> Ball:
        """Return what the pass wrote, in the shape of what it is the adjoint of if it fits."""
        ball = self.d[name]
        shape = self.samples, *self.shapes[name]
        try:
            return _mapped(ball, lambda part: np.broadcast_to(part, shape))
        except ValueError:  # another shape altogether: nothing is known of any element
            return Ball(np.full(shape, np.nan), np.zeros(shape), FLOAT64)

    def _restricted(self, name: str, elements: Elements) -> dict[str, Ball]:
        """Take, of every right quantity that fits, the values that belong to these elements."""
        shape = self.shapes[name]
        found = {}
        for letter, board in (("v", self.v), ("t", self.t)):
            for other in board:
                if (ball := _fitted(board[other], shape, elements)) is not None:
                    found[f"{letter}.{other}"] = ball
        for other, known in self.elements.items():
            if other == name:
                break  # what is written later, the line cannot hold
            if self.shapes[other] == shape:
                found[f"d.{other}"] = known.truth
            elif (ball := _fitted(self.d[other], shape, elements)) is not None:
                found[f"d.{other}"] = ball
        return found

    def _moved(self, name: str, elements: Elements) -> dict[str, Ball]:
        """Move what the line wrote about: transposed, or summed over an axis too many."""
        ball, shape = self.d[name], self.shapes[name]
        moved = {}
        if len(shape) > 1 and ball.mid.shape[1:] == shape and shape[-1] == shape[-2]:
            moved["is the transpose of what it should be"] = elements.of(
                _mapped(ball, lambda part: part.swapaxes(-1, -2))
            )
        for axis in range(1, ball.mid.ndim):
            for keepdims in (False, True):
                summed = np.sum(ball, axis=axis, keepdims=keepdims)
                if summed.mid.shape[1:] == shape and ball.mid.shape[1:] != shape:
                    moved[f"lacks the sum over axis {axis - 1}"] = elements.of(summed)
        return moved

    def _product(self, name: str, elements: Elements, reads: Sequence[str]) -> str:
        """Find the matrix product that the line holds, and the one that belongs there."""
        wrong = elements.of(self._held(name))
        held, right = [], []
        for words, product in _products(self._arrays(reads), self.shapes[name]):
            if ratio := constant_ratio(wrong, elements.of(product)):
                held.append((words, ratio))
        if not held:
            return ""
        also = [*reads, *(f"v.{leaf}" for leaf in self.v)]
        for words, product in _products(self._arrays(also), self.shapes[name]):
            if ratio := constant_ratio(elements.truth, elements.of(product)):
                right.append((words, ratio))
        for words, (low, high) in held:
            for other, (lowest, highest) in right:
                if low <= highest and lowest <= high:
                    return f"has {words} where {other} belongs"
            if low <= 1 <= high:
                return f"holds {words}"
        return ""

    def _arrays(self, reads: Sequence[str]) -> dict[str, Ball]:
        """Return the vectors and matrices that a line reads, the sample axis hidden."""
        boards = {"v": self.v, "t": self.t, "d": self.d}
        found = {}
        for read in reads:
            letter, _, other = read.partition(".")
            if other not in boards[letter]:
                continue
            ball = boards[letter][other]
            if 1 <= ball.ndim - 1 <= 2 and len(ball.mid) == self.samples:
                found[symbol(read)] = Ball(ball.mid, ball.rad, FLOAT64, hidden=1)
        return found

    def _in_words(self, name: str, held: str) -> str:
        """Make a sentence; if the right value of a gradient has another name as well, say it."""
        found = self.d[name].mid.shape[1:]
        if found not in (self.shapes[name], ()) and not held:
            return f"{name} has the shape {found}, what it is the adjoint of {self.shapes[name]}"
        if not held:
            return ""
        same = [
            other
            for other, elements in self.elements.items()
            if other not in self.model.parameters
            and self.shapes[other] == self.shapes[name]
            and matches(elements.truth, self.elements[name].truth)
        ]
        right = ""
        if name in self.model.parameters and same:
            right = f"; the true value is {symbol('d.' + same[0])}"
        return f"{name} {held} on all {self.samples} samples{right}"


def _nearest(quantities: Balls, reads: Sequence[str]) -> Balls:
    """Keep what a line reads and what was written shortly before, for all pairs are tried."""
    if len(quantities) <= QUANTITIES:
        return quantities
    kept = [name for name in reads if name in quantities]
    kept += [name for name in reversed(quantities) if name not in kept]
    return {name: quantities[name] for name in kept[:QUANTITIES]}


def _mapped(ball: Ball, function: Callable[[NDArray[Any]], NDArray[Any]]) -> Ball:
    """Move midpoints and radii in the same way."""
    mid, rad = ball.whole()
    return Ball(function(mid), function(rad), FLOAT64)


def _products(arrays: Mapping[str, Ball], shape: tuple[int, ...]) -> Iterator[tuple[str, Ball]]:
    """Multiply matrices and vectors, transposed or not, in every way that has the given shape."""
    matrices_first = sorted(arrays.items(), key=lambda item: -item[1].ndim)
    forms = {
        (f"({name})" if mark and "/" in name else name) + mark: ball.T if mark else ball
        for name, ball in matrices_first
        for mark in ("", "ᵀ")
        if not mark or ball.ndim > 1
    }
    for (one, a), (other, b) in permutations(forms.items(), 2):
        if a.shape[-1] == b.shape[0] and (*a.shape[:-1], *b.shape[1:]) == shape:
            product = a @ b
            yield f"{one} @ {other}", Ball(product.mid, product.rad, FLOAT64)


def _spread(size: int, count: int, first: Sequence[int]) -> NDArray[np.int64]:
    """Choose elements: some that are asked for, the ends, and others evenly between."""
    if size <= count:
        return np.arange(size)
    asked = list(dict.fromkeys(first))[: count // 2]
    even = np.linspace(0, size - 1, count - len(asked)).round().astype(np.int64)
    return np.unique(np.array([*asked, *even], dtype=np.int64))


def _fitted(ball: Ball, shape: tuple[int, ...], elements: Elements) -> Ball | None:
    """Take the values that go with elements of an array of that shape, as broadcasting would.

    A vector may also go with the rows of a matrix, as in an outer product.
    """
    inner = ball.mid.shape[1:]
    rows, *axes = elements.index
    if len(inner) == 1 and len(shape) == 2 and inner[0] == shape[0] != shape[1]:
        axes = [axes[0]]
    elif len(inner) > len(shape) or any(
        own not in (1, full) for own, full in zip(inner[::-1], shape[::-1], strict=False)
    ):
        return None
    else:
        axes = [
            axis if own > 1 else np.zeros_like(axis)
            for own, axis in zip(inner, axes[len(axes) - len(inner) :], strict=True)
        ]
    index = (rows if len(ball.mid) > 1 else np.zeros_like(rows), *axes)
    return _mapped(ball, lambda part: part[index])
