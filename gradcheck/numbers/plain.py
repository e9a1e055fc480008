"""Plain numbers, real or complex, of all samples at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradcheck.numbers.array import Function, Storage
from gradcheck.numbers.comparisons import Comparison
from gradcheck.numbers.dispatch import Number, refused
from gradcheck.numbers.elementary import elementary


class Plain(Number):
    """An array per sample, without bounds.

    Parameters
    ----------
    array
        The numbers, shape `(n, …)`.
    hidden
        Whether the sample axis is hidden: 1 or 0.
    """

    __slots__ = ("array",)
    tracks = False

    def __init__(self, array: Storage, hidden: int) -> None:
        self.array = array
        self.begin(hidden, None)

    @property
    def parts(self) -> tuple[Storage, ...]:
        """The numbers."""
        return (self.array,)

    def whole(self) -> tuple[Storage, ...]:
        """Return the numbers."""
        return (self.array,)

    def with_parts(self, parts: Sequence[Storage], hidden: int | None = None) -> Plain:
        """Return other numbers."""
        return Plain(parts[0], self.hidden if hidden is None else hidden)

    def take_over(self, parts: Sequence[Storage]) -> None:
        """Hold other numbers."""
        (self.array,) = parts

    @property
    def decisive(self) -> Storage:
        """The real parts."""
        return self.array.real

    def constant(self, value: Any) -> Plain:
        """Return a constant, in the precision that the other numbers have."""
        if isinstance(value, list | tuple):
            return np.stack([self.lifted(item) for item in value])  # type: ignore[return-value]
        array = np.asarray(value)
        if array.dtype.kind == "f" and self.dtype.kind in "fc":
            array = array.astype(self.array.real.dtype)
        return self.with_parts([array], 0)

    @property
    def format(self) -> np.dtype[Any] | None:
        """That of real numbers; not of those that differentiate, or have bits to spare."""
        spares = self.array.dtype.kind == "c" or self.array.dtype.itemsize > 8
        return None if spares else self.array.dtype

    def in_format(self, dtype: np.dtype[Any]) -> Plain:
        """Round real numbers."""
        return self.copy() if self.format is None else self.with_parts([self.array.astype(dtype)])

    def still(self) -> Plain:
        """Return the real parts."""
        return self.with_parts([self.array.real.astype(self.array.dtype)])

    def elementwise(self, ufunc: np.ufunc, operands: Sequence[Plain]) -> Plain:
        """Apply to the numbers; a magnitude is what is analytic on either side of zero."""
        values = self._of_one_precision(operands)
        if ufunc is np.absolute and values[0].dtype.kind == "c":
            return self._result(np.where(values[0].real < 0, -values[0], values[0]), operands)
        if values[0].dtype.kind == "c" and not any(kind.startswith("D") for kind in ufunc.types):
            return self._result(_analytic(ufunc, values), operands)
        return self._result(np.asarray(ufunc(*values)), operands)

    @staticmethod
    def _of_one_precision(operands: Sequence[Plain]) -> list[Storage]:
        """Let integers and truth values take part in the precision of the others."""
        values = [operand.array for operand in operands]
        floats = [value.real for value in values if value.dtype.kind in "fc"]
        kind = np.result_type(*floats) if floats else np.dtype(np.int64)
        return [value.astype(kind) if value.dtype.kind in "ib" else value for value in values]

    def contract(self, function: Function, operands: Sequence[Plain], terms: int) -> Plain:
        """Apply to the numbers."""
        return self._result(np.asarray(function(*self._of_one_precision(operands))), operands)

    def compared(self, ufunc: np.ufunc, a: Plain, b: Plain, known: Comparison) -> Plain:
        """Compare the real parts."""
        return self._result(np.asarray(ufunc(a.array.real, b.array.real)), (a, b))

    def classified(self, ufunc: np.ufunc) -> Plain:
        """Answer `isfinite`, `isinf` or `isnan`."""
        return self._result(np.asarray(ufunc(self.array)), (self,))

    def choose(self, condition: Plain, a: Plain, b: Plain) -> Plain:
        """Take `a` where the condition is not zero."""
        chosen = np.where(condition.array.real != 0, a.array, b.array)
        return self._result(chosen, (condition, a, b))

    def _result(self, array: Storage, operands: Sequence[Plain]) -> Plain:
        return self.with_parts([array], max(operand.hidden for operand in operands))


def _analytic(ufunc: np.ufunc, values: Sequence[Storage]) -> Storage:
    """Continue a function that NumPy has of real numbers alone, to first order."""
    record = elementary(ufunc)
    if record is None:
        raise refused(ufunc.__name__)
    reals = [value.real for value in values]
    result = np.asarray(ufunc(*reals))
    partials = record.partials(result, *reals)
    slope = sum(one * value.imag for one, value in zip(partials, values, strict=True))
    return np.asarray(result + 1j * slope)
