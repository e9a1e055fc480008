"""Which line is wrong, and what it holds instead of what it should."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import permutations
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.adapters import normal_range
from gradcheck.adapters.steps import evaluate
from gradcheck.diagnosis.explanation import constant_ratio, explain, matches, symbol
from gradcheck.judge.evaluation import Evaluation, Values
from gradcheck.judge.reference import Passes, is_informative, stochastic_passes
from gradcheck.model.lines import Line, record_lines
from gradcheck.model.model import Blackboard, Given, Model, label
from gradcheck.model.taps import tap_name, with_taps
from gradcheck.numbers.ball import Ball
from gradcheck.numbers.plain import Plain
from gradcheck.numbers.rounding import Rounding
from gradcheck.truth.derivative import (
    UnsupportedOperationError,
    distance_above,
    losses_differ,
    narrow_derivative,
    rows,
)

CLEARLY = 8.0
"""A counterexample's error in multiples of its bar, unless no sample fails that clearly."""
PLAIN_NUMBERS = (0.0, 1.0, 2.0, -1.0, 3.0, 0.5, -2.0)
SIMPLIFIED = 40
"""Most numbers of a sample that are made plain one after the other."""
MENDED = 2.0**-30
"""Relative difference of two losses that counts as none, when a forward line is mended."""
WORK = 10**6
"""Derivatives times numbers in a sample that are spent on a diagnosis: some 10 seconds."""
SAMPLES, FEWEST_SAMPLES = 12, 3
"""Of a model with arrays, whose elements are so many more cases."""

FLOAT64 = Rounding(np.dtype(np.float64))


@dataclass(frozen=True)
class Finding:
    """One wrong line.

    Parameters
    ----------
    part
        `forward` or `backward`.
    quantity
        What the line writes: `t.f1`, `d.beta1`.
    line
        Where it stands.
    explanation
        What it holds, and what it should, in words; empty if no simple change matched.
    wrong, samples
        On how many of how many samples the quantity is provably wrong.
    counterexample
        A sample of plain numbers on which it still is, by the labels of its elements; empty for a
        forward line, or if a sample has too many numbers.
    clearest
        The number of the sample that shows it best.
    """

    part: str
    quantity: str
    line: Line
    explanation: str
    wrong: int
    samples: int
    counterexample: Mapping[str, float] = field(default_factory=dict)
    clearest: int = 0


def diagnose(
    model: Model,
    values: Values,
    disputed: Mapping[str, Sequence[int]] | None = None,
    samples: Sequence[int] | None = None,
) -> tuple[Finding, ...]:
    """Name the wrong lines, in the order of the pass; those that only inherit are left out.

    An adjoint is wrong if its bar does not meet the enclosure of the true one on some sample. A
    line is to blame if what it writes is wrong while every adjoint that it reads is right. The
    backward pass is judged only if the forward pass agrees with the definition.

    Parameters
    ----------
    values
        Samples, float64 of shape `(n, *shape)`.
    disputed
        Elements of gradients that are known to be disputed, by parameter; they are looked at first.
        Given, other parameters' gradients are taken for right.
    samples
        What the samples are numbered; from 0 on, unless given.
    """
    passes = Passes(model, values, FLOAT64)
    with suppress(TypeError, AttributeError):  # a definition that balls cannot follow
        if passes.misstatement(passes.samples):
            return tuple(_wrong_forward_line(model, values, passes))
    try:
        if losses_differ(model, {name: array[:FEWEST_SAMPLES] for name, array in values.items()}):
            return tuple(_wrong_forward_line(model, values, passes))
        with np.errstate(all="ignore"):
            found = _Backward(model, values, passes, disputed).findings()
    except UnsupportedOperationError:  # Arb can follow the definition, but not the forward pass
        return ()
    if samples is None:
        return tuple(found)
    return tuple(replace(finding, clearest=samples[finding.clearest]) for finding in found)


@dataclass(frozen=True)
class Elements:
    """Some elements of an array, on every sample: where they are, and what they should be."""

    index: tuple[NDArray[np.int64], ...]
    truth: Ball

    def of(self, ball: Ball) -> Ball:
        """Take these elements of another array of that shape."""
        mid, rad = ball.whole()
        return Ball(mid[self.index], rad[self.index], ball.rounding)


class _Backward:
    """The search for the wrong lines of a backward pass."""

    def __init__(
        self,
        model: Model,
        values: Values,
        passes: Passes,
        disputed: Mapping[str, Sequence[int]] | None,
    ) -> None:
        self.model, self.disputed = model, disputed
        evaluation: Evaluation = passes
        if not _tells(passes, disputed or model.parameters):
            evaluation = stochastic_passes(model, values, FLOAT64)
        # On the second sample, which is a disputed one if there are any: a pass may have branches.
        samples = list(rows(model, {name: array[:2] for name, array in values.items()}))
        _, lines = record_lines(model, samples[-1])
        self.t, self.d = _balls(evaluation.t), _balls(evaluation.d)
        self.v = _balls(evaluation.v)
        self.shapes = {name: self.t[name].mid.shape[1:] for name in self.t if name != "loss"}
        self.shapes |= dict(model.parameters)
        self.lines = {
            name: line
            for name, line in lines.items()
            if name in self.shapes
            and not (disputed and name in model.parameters and name not in disputed)
        }
        self.samples = len(self.d[next(iter(self.lines))].mid)
        numbers = sum(prod(shape) for shape in model.leaves.values())
        affordable = WORK // (numbers * max(1, len(self.lines)))
        if any(self.shapes.values()):
            self.samples = min(self.samples, max(FEWEST_SAMPLES, min(SAMPLES, affordable // 4)))
        self.each = max(2, affordable // self.samples)
        self.values = {name: array[: self.samples] for name, array in values.items()}
        for board in (self.v, self.t, self.d):
            for name in board:
                if len(board[name].mid) > 1:
                    board[name] = board[name][: self.samples]
        self.costly = affordable < FEWEST_SAMPLES

    def findings(self) -> list[Finding]:
        """Look at the lines in their order; where that is costly, no further than the first."""
        found: list[Finding] = []
        self.elements: dict[str, Elements] = {}
        wrong: dict[str, NDArray[np.bool_]] = {}
        for name, line in self.lines.items():
            self.elements[name] = self._true_elements(name)
            wrong[name] = self._is_wrong(name)
            if not wrong[name].any():
                continue
            read = _adjoints_read(name, self.lines)
            if any(wrong[other].any() for other in read if other in wrong):
                continue
            if any(set(finding.line.through) & set(line.through) for finding in found):
                continue  # it may be the same fault
            found.append(self._finding(name, line, wrong[name]))
            if self.costly:
                break
        return found

    def _true_elements(self, name: str) -> Elements:
        """Enclose some elements of a true adjoint by tapping the forward pass."""
        shape = self.shapes[name]
        chosen = _spread(prod(shape), self.each, (self.disputed or {}).get(name, ()))
        rows = np.repeat(np.arange(self.samples), len(chosen))
        inner = np.unravel_index(np.tile(chosen, self.samples), shape) if shape else ()
        index = (rows, *(axis.astype(np.int64) for axis in inner))
        held = self._held(name)
        widths = np.broadcast_to(held.rad, held.mid.shape)[index]
        truth = true_adjoint(self.model, self.values, name, shape, index, widths)
        return Elements(index, truth)

    def _held(self, name: str) -> Ball:
        """Return what the pass wrote, in the shape of what it is the adjoint of if it fits."""
        ball: Ball = self.d[name]
        shape = len(ball.mid), *self.shapes[name]
        if ball.mid.shape == shape:
            return ball
        try:
            return _mapped(ball, lambda part: np.broadcast_to(part, shape))
        except ValueError:  # another shape altogether: nothing is known of any element
            return Ball(np.full(shape, np.nan), np.zeros(shape), FLOAT64)

    def _is_wrong(self, name: str) -> NDArray[np.bool_]:
        """Tell which elements are not what they should be."""
        elements = self.elements[name]
        held = elements.of(self._held(name))
        if np.isnan(held.mid).all():
            return np.ones(held.mid.shape, bool)
        return np.asarray(np.abs(held.mid - elements.truth.mid) > held.rad + elements.truth.rad)

    def _finding(self, name: str, line: Line, wrong: NDArray[np.bool_]) -> Finding:
        elements, ball = self.elements[name], self._held(name)
        quantities = self._restricted(name, elements)
        reads = sorted(line.reads)
        held = explain(
            elements.of(ball), elements.truth, quantities, reads, self._moved(name, elements)
        ) or self._product(name, elements, reads)
        rows = elements.index[0]
        count = len(set(rows[wrong].tolist()))
        with np.errstate(all="ignore"):
            mine = elements.of(ball)
            ratio = np.abs(mine.mid - elements.truth.mid) / (mine.rad + elements.truth.rad)
        clearest = int(np.argmax(np.nan_to_num(ratio, posinf=0.0)))
        element = tuple(int(axis[clearest]) for axis in elements.index[1:])
        return Finding(
            "backward",
            f"d.{name}",
            line,
            self._in_words(name, held),
            count,
            self.samples,
            self._simplest_counterexample(
                name, element, int(rows[clearest]), float(ratio[clearest])
            ),
            int(rows[clearest]),
        )

    def _restricted(self, name: str, elements: Elements) -> dict[str, Ball]:
        """Take, of every right quantity that fits, the values that belong to these elements."""
        shape = self.shapes[name]
        boards = [("v", self.v), ("t", self.t)]
        found = {}
        for letter, board in boards:
            for other in board:
                if (ball := _fitted(board[other], shape, elements)) is not None:
                    found[f"{letter}.{other}"] = ball
        for other, known in self.elements.items():
            if self.shapes[other] == shape:
                found[f"d.{other}"] = known.truth if known is not elements else elements.truth
            elif (ball := _fitted(self.d[other], shape, elements)) is not None:
                found[f"d.{other}"] = ball  # right, for the wrong lines come after it
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

    def _simplest_counterexample(
        self, name: str, element: tuple[int, ...], row: int, clarity: float
    ) -> dict[str, float]:
        """Make the numbers of the clearest failure plain, one by one, while it still fails."""
        model = self.model
        numbers = sum(prod(shape) for shape in model.leaves.values())
        if numbers > SIMPLIFIED or self.d[name].mid.shape[1:] != self.shapes[name]:
            return {}
        needed = min(CLEARLY, clarity / 2)
        sample = {leaf: np.array(array[row : row + 1]) for leaf, array in self.values.items()}
        index = tuple(np.array([i]) for i in (0, *element))

        def fails() -> bool:
            ball = _balls(Passes(model, sample, FLOAT64).d)[name]
            mid, rad = (part[index] for part in ball.whole())
            truth = true_adjoint(model, sample, name, self.shapes[name], index, rad)
            distance = np.abs(mid - truth.mid)
            return bool(np.isfinite(distance) and distance > needed * (rad + truth.rad))

        for leaf, array in sample.items():
            if model.domain(leaf) is not None:
                continue
            for position in np.ndindex(array.shape):
                number = float(array[position])
                rounded = (round(number, digits) for digits in range(4))
                for plain in (*PLAIN_NUMBERS, *rounded, number):
                    array[position] = plain
                    if plain == number or fails():
                        break
        return {
            label(leaf, position[1:]): array[position].item()
            for leaf, array in sample.items()
            for position in np.ndindex(array.shape)
        }


def _mapped(ball: Ball, function: Callable[[NDArray[Any]], NDArray[Any]]) -> Ball:
    """Move midpoints and radii in the same way."""
    mid, rad = ball.whole()
    return Ball(function(mid), function(rad), FLOAT64)


def _balls(board: Blackboard) -> Blackboard:
    """Return what a board holds as balls of which no axis is hidden."""
    return Blackboard(
        {
            name: Ball(np.asarray(board[name].mid, dtype=np.float64), board[name].rad, FLOAT64)
            for name in board
        }
    )


def _tells(passes: Passes, names: Iterable[str]) -> bool:
    """Tell whether most balls of these gradients are informative."""
    found = [passes.bars(name, normal_range(FLOAT64.dtype)) for name in names]
    told = sum(int(is_informative(bars.value, bars.bound).sum()) for bars in found)
    return told >= sum(bars.value.size for bars in found) / 2


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


def true_adjoint(
    model: Model,
    values: Values,
    name: str,
    shape: tuple[int, ...],
    index: tuple[NDArray[np.int64], ...],
    widths: NDArray[np.float64],
) -> Ball:
    """Enclose elements of the true adjoint of a quantity of the trace, or of a parameter.

    Parameters
    ----------
    index
        Samples and positions, an array for each axis of `(n, *shape)`.
    widths
        Bars in comparison with which the enclosures shall be narrow, one for each element.
    """
    parameter = name
    if name not in model.parameters:
        model, parameter = with_taps(model, {name: shape}), tap_name(name)
        values = {**values, parameter: np.zeros((len(next(iter(values.values()))), *shape))}
    mids, rads = [], []
    for width, row, *element in zip(
        widths.tolist(), *(axis.tolist() for axis in index), strict=True
    ):
        sample = {leaf: array[row : row + 1] for leaf, array in values.items()}
        derivative = narrow_derivative(model, sample, parameter, tuple(element), width)[0]
        mids.append(float(derivative))
        rads.append(distance_above(mids[-1], derivative))
    return Ball(np.array(mids), np.array(rads), FLOAT64)


def _adjoints_read(name: str, lines: Mapping[str, Line]) -> set[str]:
    """Name the adjoints that a line reads, itself or through what else was written to `d`."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        line = lines.get(waiting.pop())
        new = {read[2:] for read in line.reads if read.startswith("d.")} - found if line else set()
        found |= new
        waiting += new
    return found - {name}


def _wrong_forward_line(model: Model, values: Values, passes: Passes) -> list[Finding]:
    """Name the first line which, given a value that the definition computes, mends the loss."""
    lines, _ = record_lines(model)
    target, computed = _definition_steps(model, values)
    shapes = {name: passes.t[name].mid.shape[1:] for name in lines if name != "loss"}
    tapped = with_taps(model, shapes)
    zeros = {tap_name(name): np.zeros((passes.samples, *shapes[name])) for name in shapes}
    differs = int(np.count_nonzero(~_close(passes.t["loss"].mid, target)))
    earlier = list(values.values())
    unseen: list[str] = []
    for name in shapes:
        held = passes.t[name].mid
        copied = _among(held, earlier)
        earlier.append(held)
        if not copied and _among(held, computed):
            continue  # the definition computes it too
        before = "".join(
            f"; the definition does not compute {other} (line {lines[other].number}), and the "
            f"fault may be there"
            for other in unseen
        )
        unseen.append(name)
        for value in computed:
            if value.shape != held.shape or _close(value, held).all():
                continue
            with np.errstate(all="ignore"):
                changed = {**values, **zeros, tap_name(name): value - held}
                mended = evaluate(tapped, tapped.loss, changed)
            if _close(mended, target).all():
                words = (
                    f"{name} is not what the definition computes; with that value in its place "
                    f"the pass agrees with the definition on all {passes.samples} samples{before}"
                )
                return [
                    Finding("forward", f"t.{name}", lines[name], words, differs, passes.samples)
                ]
    if all(_among(passes.t[name].mid, computed) for name in shapes):
        words = "loss differs from the definition, though all that it is computed from is right"
        return [Finding("forward", "t.loss", lines["loss"], words, differs, passes.samples)]
    return []


def _among(value: NDArray[Any], others: Iterable[NDArray[Any]]) -> bool:
    return any(other.shape == value.shape and _close(other, value).all() for other in others)


def _close(a: Any, b: Any) -> NDArray[np.bool_]:
    """Compare values of which a difference by rounding alone is not in question here."""
    close = np.abs(a - b) <= MENDED * np.maximum(np.abs(a), np.abs(b))
    return np.asarray(close | ~np.isfinite(a) | ~np.isfinite(b))


class _Noting(Plain):
    """Plain numbers of which every result computed from them is noted in a list that they share."""

    __slots__ = ("noted",)

    def __init__(self, array: NDArray[Any], hidden: int, noted: list[NDArray[Any]]) -> None:
        super().__init__(array, hidden)
        self.noted = noted

    def _result(self, array: NDArray[Any], operands: Sequence[Plain]) -> _Noting:
        self.noted.append(array)
        return _Noting(array, max(operand.hidden for operand in operands), self.noted)

    def with_parts(self, parts: Sequence[NDArray[Any]], hidden: int | None = None) -> _Noting:
        return _Noting(parts[0], self.hidden if hidden is None else hidden, self.noted)

    def constant(self, value: Any) -> _Noting:
        return _Noting(super().constant(value).array, 0, self.noted)


def _definition_steps(model: Model, values: Values) -> tuple[NDArray[Any], list[NDArray[Any]]]:
    """Return the definition's loss, and the result of every operation on the way to it."""
    noted: list[NDArray[Any]] = []
    hidden = 0 if model.batched else 1
    leaves = {name: _Noting(array, hidden, noted) for name, array in values.items()}
    with np.errstate(all="ignore"):
        loss = model.loss(np, Given(leaves))
    return np.asarray(loss.array if isinstance(loss, Plain) else loss), noted
