"""Numbers of two floating-point formats in one program.

A cast to a coarser format rounds, one to a finer format does not, and an operation on both is
rounded in the finer one, as in NumPy. Integers, truth values, constants and the answers to
comparisons take the format of the numbers that they meet; so an array of constants has to be cast
if it is to have another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from gradcheck.numbers.dispatch import FORMATS, Number
from gradcheck.numbers.jumps import plain
from gradcheck.numbers.rounding import Rounding

Held = TypeVar("Held", bound=Number)

WHOLE: frozenset[np.ufunc] = frozenset(
    {
        np.add, np.subtract, np.multiply, np.negative, np.positive, np.absolute,
        np.maximum, np.minimum,
    }
)  # fmt: skip
"""Functions that make whole numbers of truth values and whole numbers."""


def cast(x: Any, dtype: Any) -> Any:
    """Return numbers of any kind, or an array, in another format.

    Parameters
    ----------
    dtype
        Of floating-point numbers, integers or truth values. Where it is open which integer is meant
        the samples are marked as those whose index depended on a comparison.

    Raises
    ------
    NoRuleError
        Naming a format whose roundings are not known.
    """
    kind = np.dtype(dtype)
    if not isinstance(x, Number):
        return np.asarray(x).astype(kind)
    if kind.kind == "f" or kind in FORMATS:
        return x.cast(kind)
    if kind.kind == "b":
        return x.copy() if x.stored.kind == "b" else np.not_equal(x, 0)
    if x.is_discrete:
        return x.with_parts([x.parts[0].astype(kind)])
    is_open = not x.stored.hasobject and x.left_open.any() and x.is_mask
    return x.copy() if is_open else _whole(x, kind)


def _whole(x: Any, kind: np.dtype[Any]) -> Any:
    """Drop the fractions."""
    values = plain(x)
    known = np.isfinite(values)
    towards_zero: Any = np.trunc(x)
    # What is exact has an integer of its own, though it is on a tie.
    x.choices.branch(np.asarray(towards_zero.left_open & x.left_open | ~known))
    integers = np.where(known, values, 0).astype(kind)
    return x.with_parts([np.broadcast_to(integers, x.parts[0].shape)])


def finest(numbers: Sequence[Any], *, whole: bool = False) -> Rounding:
    """Return in which format an operation on several numbers is rounded.

    Parameters
    ----------
    whole
        Whether it makes whole numbers of whole numbers, which have no format yet.
    """
    first: Rounding = numbers[0].rounding
    if not first.weak and all(one.rounding is first for one in numbers):
        return first
    formats = [one.rounding for one in numbers if not (one.rounding.weak or one.is_discrete)]
    if not formats:
        return first.of_answers if whole else first.of_numbers
    found: Rounding = min(formats, key=lambda one: one.unit_roundoff)
    for one in formats:
        if one.ulps != found.ulps:
            raise TypeError(
                f"numbers of two allowances meet: {one.ulps} and {found.ulps} ulps of a library "
                "function; use one for all leaves"
            )
    return found


def fitted(value: Held, target: Held) -> Held:
    """Return what an array holds of numbers that are written to it: rounded to its format."""
    if value.is_discrete or target.is_discrete or value.dtype == target.dtype:
        return value
    return value.cast(target.dtype)
