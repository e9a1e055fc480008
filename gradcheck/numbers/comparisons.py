"""What is known of two operands beside their values: where they are equal, whatever rounding does.

A comparison is open where error bars meet. Three things close it: both are constants; both are the
same quantity; or one is the largest element of the other, and only one element comes in question.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.numbers.array import Batched, Storage
from gradcheck.numbers.identity import extremum_axes, identical


class Comparison:
    """Two operands that are compared.

    Parameters
    ----------
    operands
        Both, as they were given.
    aligned
        Both, with as many axes.

    Attributes
    ----------
    of_integers
        Whether no rounding can touch either.
    axes
        Along which one is the other's largest or smallest element, or `None`.
    """

    def __init__(self, operands: Sequence[Batched], aligned: Sequence[Batched]) -> None:
        self._operands, self._aligned = operands, aligned
        self._shape = np.broadcast_shapes(*(operand.shape for operand in operands))
        self._hidden = max(operand.hidden for operand in operands)
        self.of_integers = all(operand.is_discrete for operand in operands)
        self.axes = None
        if all(operand.tracks for operand in operands):
            a, b = (operand.quantity for operand in operands)
            self.axes = extremum_axes(a, b, self._shape) or extremum_axes(b, a, self._shape)

    def equal(self, left_open: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Tell of what is open, shape `(n, *shape)`, where both are equal for certain."""
        found = np.zeros(left_open.shape, bool)
        if self.axes is not None:
            found |= left_open.sum(self.axes, keepdims=True) == 1
        a, b = self._aligned
        if not (a.stored.hasobject or b.stored.hasobject):
            known = [np.zeros((), bool) if o.constants is None else o.constants for o in (a, b)]
            if not (a.is_discrete or b.is_discrete or a.dtype == b.dtype):
                known = [np.zeros((), bool)] * 2  # of 0.1 there is one in each format
            infinite = np.isinf(a.decisive) & ~(a.left_open | b.left_open)  # as those of a mask are
            found |= ((known[0] & known[1]) | infinite) & (a.decisive == b.decisive)
        if a.tracks and b.tracks:
            one, other = self._operands
            same = identical(one.quantity, other.quantity, self._shape)
            found |= same if self._hidden or not same.ndim else same[0]
        return found & left_open


def settle(ufunc: np.ufunc, operands: Sequence[Batched], result: Batched) -> None:
    """Note where an elementwise result is a constant, and where it is an exact integer.

    It is one if all operands are and it is exact; if one was surely chosen; or if it is a product
    with zero. What it depends on has no part in it there, so that to compare it with its equal is
    no kink.
    """
    if result.stored.hasobject:
        return
    known = [operand.constants for operand in operands]
    if all(one is None for one in known):
        return
    found: Any = None
    if all(one is not None for one in known):
        found = np.logical_and.reduce(np.broadcast_arrays(*known))  # type: ignore[arg-type]
        if found.any() and ufunc in (np.add, np.subtract, np.multiply, np.negative):
            result.pin(found & exact_integers(*operands, result))
        if ufunc not in (np.maximum, np.minimum, np.negative, np.absolute):
            found = found & ~result.left_open
    for one, chosen, other in zip(known, operands, operands[::-1], strict=True):
        if one is None:
            continue
        if ufunc in (np.maximum, np.minimum):
            taken = (result.decisive == chosen.decisive) & (other.decisive != chosen.decisive)
        elif ufunc is np.multiply:
            taken = chosen.decisive == 0
        else:
            continue
        if np.any(one & taken):
            settled = one & taken & ~result.left_open
            found = settled if found is None else found | settled
    if found is not None:
        result.settled = found if found.ndim == 0 else np.broadcast_to(found, result.decisive.shape)


def settle_sum(function: Callable[..., Any], operands: Sequence[Batched], result: Batched) -> None:
    """Note where a sum of products is a constant, and where it is an exact integer."""
    if result.stored.hasobject or any(operand.constants is None for operand in operands):
        return
    runs = result.parts[0].ndim - result.decisive.ndim  # which the function expects, where hidden

    def summed(arrays: Sequence[Storage]) -> NDArray[Any]:
        shown = [
            a[(None,) * runs] if o.hidden else a for a, o in zip(arrays, operands, strict=True)
        ]
        return np.asarray(function(*shown)).reshape(result.decisive.shape)

    ones = [np.ones(operand.decisive.shape) for operand in operands]
    other: Any = 0
    for i, operand in enumerate(operands):
        exact = operand.constants & (operand.decisive % 1 == 0) & ~operand.left_open
        other = other + summed([*ones[:i], 1.0 - exact, *ones[i + 1 :]])
    size = summed([np.abs(operand.decisive).astype(float) for operand in operands])
    result.settled = np.asarray((other == 0) & (size <= result.largest_integer))
    result.pin(result.settled)


def exact_integers(*numbers: Batched) -> Any:
    """Tell where all of these are integers that every evaluation has exactly."""
    found: Any = True
    for one in numbers[:-1]:
        found = found & (one.decisive % 1 == 0) & ~one.left_open
    return found & (np.abs(numbers[-1].decisive) <= numbers[-1].largest_integer)
