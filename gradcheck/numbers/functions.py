"""NumPy's elementwise functions and constructors, written with those that every number knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradcheck.numbers.array import Batched, Function, NoRuleError, aligned_operands
from gradcheck.numbers.ingredients import PI
from gradcheck.numbers.products import axes_of, cut


def choose(condition: Any, *cases: Any) -> Any:
    """Take one case where a condition holds, and the other elsewhere."""
    if not cases:
        return np.nonzero(condition)
    if isinstance(condition, Batched) and not condition.is_mask:
        condition = np.not_equal(condition, 0)  # type: ignore[call-overload]
    # Of the operands one that knows the format of the others' constants, and all samples.
    first: Any = max(
        (o for o in (*cases, condition) if isinstance(o, Batched)),
        key=lambda o: (not o.is_discrete, o.hidden),
    )
    lifted = [first.lifted(operand) for operand in (condition, *cases)]
    aligned = aligned_operands(lifted)
    result = first.choose(*aligned)
    decided, *choices = aligned
    if first.tracks and not result.stored.hasobject:
        known = [one.constants for one in choices]
        if any(one is not None for one in known):
            yes, no = (np.zeros((), bool) if one is None else one for one in known)
            settled = np.where(decided.decisive != 0, yes, no) & ~decided.left_open
            result.settled = np.broadcast_to(settled, result.decisive.shape)
    return result.is_result_of("where", lifted, elementwise=True)


def _logical(*cases: Any) -> Any:
    """Say of masks what `where` says; integers have bits, which is another matter."""
    for operand in cases:
        if isinstance(operand, Batched) and not operand.is_mask:
            raise NoRuleError("balls have no rule for bits of integers; &, | and ~ are for masks")
    return choose(*cases)


def _xor(a: Any, b: Any) -> Any:
    return choose(a, choose(b, False, True), b) if isinstance(b, Batched) else _xor(b, a)


def _clip(x: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    low, high = a_min if min is None else min, a_max if max is None else max
    x = x if low is None else np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


def _heaviside(x: Any, at_zero: Any) -> Any:
    return choose(x > 0, 1.0, choose(x < 0, 0.0, at_zero))


def _sign(x: Any) -> Any:
    return choose(x > 0, 1.0, choose(x < 0, -1.0, 0.0))


def _sinc(x: Any) -> Any:
    at_zero = np.equal(x, 0)
    angle = x * PI
    return choose(at_zero, 1.0, np.sin(angle) / choose(at_zero, 1.0, angle))


def _select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    result = default
    for condition, case in reversed(list(zip(condlist, choicelist, strict=True))):
        result = np.where(condition, case, result)
    return result


def _piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kwargs: Any) -> Any:
    values = [one(x, *args, **kwargs) if callable(one) else one for one in funclist]
    default = values.pop() if len(values) > len(condlist) else 0
    result = np.zeros_like(x) + default
    for condition, value in zip(condlist, values, strict=True):  # the last that holds counts
        result = np.where(condition, value, result)
    return result


def _diff(x: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Any:
    (axis,) = axes_of(x, axis)
    ends = [None if one is None else _as_end(x, one, axis) for one in (prepend, append)]
    if any(one is not None for one in ends):
        x = np.concatenate([one for one in (ends[0], x, ends[1]) if one is not None], axis)
    for _ in range(n):
        x = cut(x, axis, slice(1, None)) - cut(x, axis, slice(None, -1))
    return x


def _as_end(x: Any, value: Any, axis: int) -> Any:
    if len(np.shape(value)):
        return value
    shape = tuple(1 if i == x.ndim + axis else size for i, size in enumerate(x.shape))
    return np.broadcast_to(x.lifted(value), shape)


def add_at(x: Any, indices: Any, values: Any) -> None:
    """Add values to elements, several to one if it is indexed several times."""
    _add_one_by_one(np.add, x, indices, values)


def subtract_at(x: Any, indices: Any, values: Any) -> None:
    """Subtract values from elements, several from one if it is indexed several times."""
    _add_one_by_one(np.subtract, x, indices, values)


def _add_one_by_one(ufunc: np.ufunc, x: Any, indices: Any, values: Any) -> None:
    """Change in each round what was not yet changed in it: the order is NumPy's."""
    places = x.places(indices)
    values = np.broadcast_to(x.lifted(values), places.shape[1:])
    rows = places.reshape(len(places), -1)
    values = np.reshape(values, rows.shape[1])
    if len(rows) > 1:
        rounds = [[one] for one in range(rows.shape[1])]
    else:
        seen: dict[int, int] = {}
        rounds = []
        for one, place in enumerate(rows[0].tolist()):
            again = seen[place] = seen.get(place, -1) + 1
            rounds += [[]] * (again == len(rounds))
            rounds[again] = [*rounds[again], one]
    x.check_writeable()
    for some in rounds:
        where = rows[:, some]
        x.scatter(where, ufunc(x.fetched(where), values[some]))


def _copy_to(x: Any, source: Any) -> None:
    x[...] = source


def _fill_diagonal(x: Any, value: Any) -> None:
    if x.ndim != 2:
        raise NoRuleError("balls have no rule for numpy.fill_diagonal unless of matrices")
    diagonal = np.arange(min(x.shape))
    x[diagonal, diagonal] = value


def _filled(value: float) -> Function:
    def like(
        x: Any, dtype: Any = None, order: Any = None, subok: Any = None, shape: Any = None, **_: Any
    ) -> Any:
        return _full_like(x, value, dtype, shape=shape)

    return like


def _full_like(
    x: Any,
    fill_value: Any,
    dtype: Any = None,
    order: Any = None,
    subok: Any = None,
    shape: Any = None,
    **_: Any,
) -> Any:
    """Return an array of one value, of integers if they are asked for or `x` holds some."""
    shape = x.shape if shape is None else shape
    lead = x.parts[0].shape[: x.hidden]
    kind = x.dtype if dtype is None else np.dtype(dtype)
    if isinstance(fill_value, Batched):
        return np.broadcast_to(fill_value, shape).copy()  # type: ignore[call-overload]
    if kind.kind in "iub":
        fill_value = np.asarray(fill_value).astype(kind)
    elif np.asarray(fill_value).dtype.kind in "iub":
        fill_value = np.asarray(fill_value, dtype=float)
    inner = x.lifted(np.broadcast_to(fill_value, shape))
    full = (*lead, *inner.shape)
    result = inner.with_parts([np.broadcast_to(part, full) for part in inner.parts], x.hidden)
    result.settled = inner.settled
    return result


FUNCTIONS: Mapping[Function, Function] = {
    np.where: choose,
    np.select: _select,
    np.piecewise: _piecewise,
    np.clip: _clip,
    np.square: lambda x: x * x,
    np.reciprocal: lambda x: 1.0 / x,
    np.fabs: np.absolute,
    np.heaviside: _heaviside,
    np.sign: _sign,
    np.sinc: _sinc,
    np.diff: _diff,
    np.isfinite: lambda x: x.classified(np.isfinite),
    np.isinf: lambda x: x.classified(np.isinf),
    np.isnan: lambda x: x.classified(np.isnan),
    np.invert: lambda a: _logical(a, False, True),
    np.logical_not: lambda a: choose(a, False, True),
    np.bitwise_and: lambda a, b: _logical(a, b, False),
    np.logical_and: lambda a, b: choose(a, b, False),
    np.bitwise_or: lambda a, b: _logical(a, True, b),
    np.logical_or: lambda a, b: choose(a, True, b),
    np.logical_xor: _xor,
    np.zeros_like: _filled(0.0),
    np.ones_like: _filled(1.0),
    np.empty_like: _filled(0.0),
    np.full_like: _full_like,
    np.copyto: _copy_to,
    np.fill_diagonal: _fill_diagonal,
    np.copy: lambda x, *_, **__: x.copy(),
    np.astype: lambda x, dtype, **_: x.astype(dtype),
    np.real: lambda x: x,
    np.conjugate: lambda x: x,
}
"""The functions of this module, by what they stand for."""
