"""Which branches samples take, and where the definition leaves the range of comfort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradcheck.errors import guarded
from gradcheck.model.board import Given
from gradcheck.model.model import Model, run_passes
from gradcheck.numbers.array import Function, OneSampleError
from gradcheck.numbers.comparisons import Comparison
from gradcheck.numbers.dispatch import KINKED
from gradcheck.numbers.plain import Plain
from gradcheck.numbers.rounding import finfo

Floats = NDArray[np.float64]

MOST_COMPARED = 1024
"""Comparisons of a sample that are looked at, evenly spaced among all of them."""


class Observed(NamedTuple):
    """What was seen of samples.

    Parameters
    ----------
    leads
        By how much the sides of each comparison differ, shape `(n, comparisons)`; NaN on samples
        that do not come to it.
    strained
        Where the square of something in the definition overflows or underflows, as then some
        step of differentiating it may, shape `(n,)`.
    """

    leads: Floats
    strained: NDArray[np.bool_]


class _Notes:
    """What all numbers of a run write down."""

    def __init__(self, samples: int, dtype: np.dtype[Any]) -> None:
        limits = finfo(dtype)
        self.small, self.large = np.sqrt(limits.smallest_normal), np.sqrt(limits.max)
        self.leads: list[NDArray[Any]] = []
        self.strained = np.zeros(samples, bool)

    def note_range(self, ufunc: Any, result: NDArray[Any], operands: Sequence[Plain]) -> None:
        """Take notice of results that are too large or too small, or vanished."""
        size = np.abs(result)
        strained = ~(size <= self.large) | ((size < self.small) & (size > 0))
        if ufunc in (np.exp, np.multiply, np.divide, np.power):
            factors = operands[: 1 + (ufunc is np.multiply)] if ufunc is not np.exp else ()
            vanished = size == 0
            for factor in factors:
                vanished = vanished & (factor.array != 0)
            strained |= vanished
        if strained.ndim and len(strained) == len(self.strained):
            self.strained |= strained.reshape(len(strained), -1).any(axis=1)
        elif strained.any():
            self.strained[:] = True


class _Watched(Plain):
    """Plain numbers that keep by how much the sides of each comparison differ."""

    __slots__ = ("notes",)

    def __init__(self, array: NDArray[Any], hidden: int, notes: _Notes) -> None:
        super().__init__(array, hidden)
        self.notes = notes

    def with_parts(self, parts: Sequence[NDArray[Any]], hidden: int | None = None) -> _Watched:
        return _Watched(parts[0], self.hidden if hidden is None else hidden, self.notes)

    def constant(self, value: Any) -> _Watched:
        constant = super().constant(value)
        return _Watched(constant.array, constant.hidden, self.notes)

    def elementwise(self, ufunc: np.ufunc, operands: Sequence[Plain]) -> _Watched:
        if ufunc in KINKED:
            self._note(operands[0].array, operands[1].array if len(operands) > 1 else 0.0)
        result = self.lifted(super().elementwise(ufunc, operands))
        self.notes.note_range(ufunc, result.array, operands)
        return result

    def contract(self, function: Function, operands: Sequence[Plain], terms: int) -> _Watched:
        result = self.lifted(super().contract(function, operands, terms))
        self.notes.note_range(None, result.array, operands)
        return result

    def compared(self, ufunc: np.ufunc, a: Plain, b: Plain, known: Comparison) -> _Watched:
        self._note(a.array, b.array)
        return self.lifted(super().compared(ufunc, a, b, known))

    def _note(self, one: Any, other: Any) -> None:
        self.notes.leads.append(np.subtract(one, other, dtype=np.float64))

    def _result(self, array: NDArray[Any], operands: Sequence[Plain]) -> _Watched:
        return _Watched(array, max(operand.hidden for operand in operands), self.notes)


def observe(model: Model, values: Mapping[str, NDArray[Any]], dtype: Any) -> Observed:
    """Run the definition and the passes on plain numbers, each as far as it goes.

    Nothing is seen of a recorded function, nor where the code does not run on such numbers.
    """
    samples = len(next(iter(values.values())))
    if model.recorded:
        return Observed(np.zeros((samples, 0)), np.zeros(samples, bool))
    given = {
        name: array if array.dtype.kind in "iub" else array.astype(dtype)
        for name, array in values.items()
    }
    with np.errstate(all="ignore"):
        try:
            leads, strained = _followed(model, given, np.dtype(dtype))
        except OneSampleError:
            ones = [
                _followed(
                    model, {name: a[row : row + 1] for name, a in given.items()}, np.dtype(dtype)
                )
                for row in range(samples)
            ]
            leads = np.full((samples, max(one.leads.shape[1] for one in ones)), np.nan)
            for lead, one in zip(leads, ones, strict=True):
                lead[: one.leads.shape[1]] = one.leads[0]
            strained = np.concatenate([one.strained for one in ones])
    stride = -(-leads.shape[1] // MOST_COMPARED) or 1
    return Observed(leads[:, ::stride], strained)


def _followed(model: Model, values: Mapping[str, NDArray[Any]], dtype: np.dtype[Any]) -> Observed:
    samples, hidden = len(next(iter(values.values()))), 0 if model.batched else 1
    leads: list[NDArray[Any]] = []
    definition, passes = _Notes(samples, dtype), _Notes(samples, dtype)
    for run, notes in (
        (lambda numbers: model.loss(np, Given(numbers)), definition),
        (lambda numbers: run_passes(model, np, numbers), passes),
    ):
        numbers = {name: _Watched(array, hidden, notes) for name, array in values.items()}
        for number in numbers.values():
            number.frozen = True
        try:
            with guarded():
                run(numbers)
        except OneSampleError:
            raise
        except Exception:  # noqa: S110  # the adapters and the reference will say what is wrong
            pass
        leads += notes.leads
    columns = [lead.reshape(samples, -1) for lead in leads if lead.ndim and len(lead) == samples]
    together = np.concatenate(columns, axis=1) if columns else np.zeros((samples, 0))
    return Observed(together, definition.strained)
