"""Arithmetic of arrays of Arb's numbers and their slopes, a whole array at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import flint
import numpy as np

from gradcheck.numbers.real import ZERO, as_array

if TYPE_CHECKING:
    from gradcheck.numbers.arb import Reals


def each(function: Callable[..., Any], count: int = 1) -> Callable[..., Any]:
    """Apply a function to every element; a single result is an array as well."""
    call = np.frompyfunc(function, count, 1)
    return lambda *arrays: as_array(call(*arrays))


is_finite = each(flint.arb.is_finite)
is_nan = each(flint.arb.is_nan)
is_zero = each(flint.arb.is_zero)


def any_of(flags: Any) -> Any:
    """Join flags of several operands, `None` where one has none."""
    found: Any = None
    for one in flags:
        found = one if found is None else found if one is None else found | one
    return found


def _slopes_of(operand: Reals, share: Callable[[Any], Any]) -> Any:
    """Return what an operand's slopes add to those of a result; nothing where it is fixed."""
    if operand.moves is None:
        return None
    found = share(operand.slopes)
    if operand.moves.all():
        return found
    return np.where(operand.moves, found, as_array(ZERO))


def _together(one: Any, other: Any) -> Any:
    if one is None or other is None:
        return other if one is None else one
    return one + other


def _sum(a: Reals, b: Reals, sign: int) -> Reals:
    x, y = a.exact, b.exact
    values = as_array(x + y if sign > 0 else x - y)
    its = b.slopes if sign > 0 or b.slopes is None else -b.slopes
    return a.joined(
        values,
        _together(a.slopes, its),
        any_of((a.moves, b.moves)),
        any_of((a.undefined, b.undefined)),
    )


def _product(a: Reals, b: Reals) -> Reals:
    x, y = a.exact, b.exact
    values = as_array(x * y)
    moves = any_of((a.moves, b.moves))
    undefined = any_of((a.undefined, b.undefined))
    if moves is None:
        return a.joined(values, None, None, undefined)
    slopes = _together(_slopes_of(a, lambda s: s * y), _slopes_of(b, lambda s: x * s))
    for one, value, other in ((a, x, y), (b, y, x)):
        if one.moves is not None and one.moves.all():
            continue
        absent = np.asarray(is_zero(value), bool)  # a zero that is fixed lets nothing through
        if one.moves is not None:
            absent = absent & ~one.moves
        if absent.any():
            absent = absent & np.asarray(is_finite(other), bool)
            moves = moves & ~absent
            values = np.where(absent, as_array(ZERO), values)
    return a.joined(values, slopes, moves, undefined)


def _quotient(a: Reals, b: Reals) -> Reals:
    divisor = b.exact
    values = as_array(a.exact / divisor)
    by_zero = np.asarray(is_zero(divisor), bool)
    undefined = any_of((a.undefined, b.undefined, by_zero if by_zero.any() else None))
    slopes = _together(a.slopes, _slopes_of(b, lambda s: -(values * s)))
    if slopes is not None:
        slopes = slopes / divisor
    return a.joined(values, slopes, any_of((a.moves, b.moves)), undefined)


def _negative(a: Reals) -> Reals:
    slopes = None if a.slopes is None else as_array(-a.slopes)
    return a.joined(as_array(-a.exact), slopes, a.moves, a.undefined)


def _power(a: Reals, p: Reals) -> Reals | None:
    """Raise to powers that do not move; `None` where one is no number, or two arrays meet."""
    if p.slopes is not None or p.values.size != 1 or p.values.ndim > a.values.ndim:
        return None
    x, (n,) = a.exact, p.exact.ravel()
    values = each(lambda one: one**n)(x)
    if np.asarray(is_nan(values), bool).any():
        return None
    if a.moves is None:
        return a.joined(values, None, None, a.undefined)
    partials = each(lambda one: n * one ** (n - 1))(x)
    return a.joined(values, partials * a.slopes, a.moves, a.undefined)


ARITHMETIC: Mapping[np.ufunc, Callable[..., Reals | None]] = {
    np.add: lambda a, b: _sum(a, b, 1),
    np.subtract: lambda a, b: _sum(a, b, -1),
    np.multiply: _product,
    np.divide: _quotient,
    np.negative: _negative,
    np.positive: lambda a: a.copy(),
    np.power: _power,
}
"""What Arb has operators for; `None` where a function has to go number by number."""
