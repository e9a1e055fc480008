"""Which branches samples take: all that a model compares, in its definition and its passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.errors import guarded
from gradcheck.model.board import Given
from gradcheck.model.model import Model, run_passes
from gradcheck.numbers.array import OneSampleError
from gradcheck.numbers.comparisons import Comparison
from gradcheck.numbers.dispatch import KINKED
from gradcheck.numbers.plain import Plain

Floats = NDArray[np.float64]

MOST_COMPARED = 1024
"""Comparisons of a sample that are looked at, evenly spaced among all of them."""


class _Watched(Plain):
    """Plain numbers that keep by how much the sides of each comparison differ."""

    __slots__ = ("leads",)

    def __init__(self, array: NDArray[Any], hidden: int, leads: list[NDArray[Any]]) -> None:
        super().__init__(array, hidden)
        self.leads = leads

    def with_parts(self, parts: Sequence[NDArray[Any]], hidden: int | None = None) -> _Watched:
        return _Watched(parts[0], self.hidden if hidden is None else hidden, self.leads)

    def constant(self, value: Any) -> _Watched:
        constant = super().constant(value)
        return _Watched(constant.array, constant.hidden, self.leads)

    def elementwise(self, ufunc: np.ufunc, operands: Sequence[Plain]) -> Plain:
        if ufunc in KINKED:
            self._note(operands[0].array, operands[1].array if len(operands) > 1 else 0.0)
        return super().elementwise(ufunc, operands)

    def compared(self, ufunc: np.ufunc, a: Plain, b: Plain, known: Comparison) -> Plain:
        self._note(a.array, b.array)
        return super().compared(ufunc, a, b, known)

    def _note(self, one: Any, other: Any) -> None:
        self.leads.append(np.subtract(one, other, dtype=np.float64))

    def _result(self, array: NDArray[Any], operands: Sequence[Plain]) -> _Watched:
        return _Watched(array, max(operand.hidden for operand in operands), self.leads)


def compared(model: Model, values: Mapping[str, NDArray[Any]], dtype: Any) -> Floats:
    """Return by how much the sides of each comparison differ, shape `(n, comparisons)`.

    A comparison that only some samples come to is NaN on the others. What a model compares is
    unknown, and nothing, where its code does not run on plain numbers.
    """
    samples = len(next(iter(values.values())))
    given = {
        name: array if array.dtype.kind in "iub" else array.astype(dtype)
        for name, array in values.items()
    }
    with np.errstate(all="ignore"):
        try:
            leads = _followed(model, given)
        except OneSampleError:
            ones = [{name: a[row : row + 1] for name, a in given.items()} for row in range(samples)]
            leads = _stacked([_followed(model, one)[0] for one in ones])
    stride = -(-leads.shape[1] // MOST_COMPARED) or 1
    return leads[:, ::stride]


def _followed(model: Model, values: Mapping[str, NDArray[Any]]) -> Floats:
    """Run the definition and the passes, each as far as it goes."""
    samples, hidden = len(next(iter(values.values()))), 0 if model.batched else 1
    leads: list[NDArray[Any]] = []
    numbers = {name: _Watched(array, hidden, leads) for name, array in values.items()}
    for number in numbers.values():
        number.frozen = True
    for run in (lambda: model.loss(np, Given(numbers)), lambda: run_passes(model, np, numbers)):
        try:
            with guarded():
                run()
        except OneSampleError:
            raise
        except Exception:  # noqa: S112  # the adapters and the reference will say what is wrong
            continue
    columns = [
        lead.reshape(samples, -1) for lead in leads if lead.ndim and len(lead) == samples
    ]
    return np.concatenate(columns, axis=1) if columns else np.zeros((samples, 0))


def _stacked(rows: Sequence[Floats]) -> Floats:
    leads = np.full((len(rows), max(map(len, rows))), np.nan)
    for lead, row in zip(leads, rows, strict=True):
        lead[: len(row)] = row
    return leads
