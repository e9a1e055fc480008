"""Where a NaN is born: the passes once more, on plain numbers whose every result is looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.errors import guarded
from gradcheck.judge.mistakes import line_of
from gradcheck.model.model import Model, run_passes
from gradcheck.numbers.array import Function
from gradcheck.numbers.plain import Plain


class _NaNBornError(Exception):
    """An operation returned the first NaN; the message says which."""


class _Watched(Plain):
    """Plain numbers that stop at the first operation that makes a NaN of numbers.

    A constant of the code that is one counts as made where it is used.
    """

    __slots__ = ("is_constant",)

    def __init__(self, array: NDArray[Any], hidden: int, is_constant: bool = False) -> None:
        super().__init__(array, hidden)
        self.is_constant = is_constant

    def with_parts(self, parts: Sequence[NDArray[Any]], hidden: int | None = None) -> _Watched:
        hidden = self.hidden if hidden is None else hidden
        return _Watched(parts[0], hidden, self.is_constant)

    def constant(self, value: Any) -> _Watched:
        constant = super().constant(value)
        return _Watched(constant.array, constant.hidden, is_constant=True)

    def elementwise(self, ufunc: np.ufunc, operands: Sequence[Plain]) -> _Watched:
        return _watched(ufunc, super().elementwise(ufunc, operands), operands)

    def contract(self, function: Function, operands: Sequence[Plain], terms: int) -> _Watched:
        return _watched(function, super().contract(function, operands, terms), operands)

    def choose(self, condition: Plain, a: Plain, b: Plain) -> _Watched:
        return _watched(np.where, super().choose(condition, a, b), (condition, a, b))

    def _result(self, array: NDArray[Any], operands: Sequence[Plain]) -> _Watched:
        return _Watched(array, max(operand.hidden for operand in operands))


def _watched(function: Function, result: Plain, operands: Sequence[Plain]) -> _Watched:
    known = [operand for operand in operands if not getattr(operand, "is_constant", False)]
    born = _is_nan(result.array)
    if born.any() and not any(_is_nan(operand.array).any() for operand in known):
        place = tuple(np.argwhere(born)[0])
        raise _NaNBornError(_in_words(function, operands, born.shape, place))
    return _Watched(result.array, result.hidden)


def _in_words(
    function: Function, operands: Sequence[Plain], shape: tuple[int, ...], place: tuple[int, ...]
) -> str:
    """Write a call with the numbers that made the NaN; without, if it takes whole arrays."""
    try:
        numbers = [np.broadcast_to(operand.array, shape)[place].item() for operand in operands]
    except ValueError:
        return function.__name__
    return f"{function.__name__}({', '.join(f'{number:g}' for number in numbers)})"


def _is_nan(array: NDArray[Any]) -> NDArray[np.bool_]:
    return np.isnan(array) if array.dtype.kind == "f" else np.zeros(array.shape, bool)


def birth_of_nan(model: Model, sample: Mapping[str, NDArray[Any]], dtype: str) -> str:
    """Say in which line and operation of the passes the first NaN arises; empty if none does.

    Parameters
    ----------
    sample
        One sample, of shape `(1, *shape)`.
    """
    hidden = 0 if model.batched else 1
    leaves = {
        name: _Watched(array if array.dtype.kind == "i" else array.astype(dtype), hidden)
        for name, array in sample.items()
    }
    try:
        with guarded(), np.errstate(all="ignore"):
            run_passes(model, np, leaves)
    except _NaNBornError as born:
        where = line_of(model, born)
        return f"NaN is born {f'at {where[0]}:{where[1]}: ' if where else 'in '}{born}"
    except Exception:  # it has been said what the passes raise
        return ""
    return ""
