"""NumPy's functions, written with those that every kind of number knows itself."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from gradcheck.numbers.array import (
    FUNCTIONS,
    KNOWN,
    REDUCTIONS,
    Batched,
    Function,
    NoRuleError,
    Storage,
    aligned_operands,
    insert_axes,
)


def _first(*operands: Any) -> Batched:
    return next(operand for operand in operands if isinstance(operand, Batched))


def _contracted(function: Function, operands: Sequence[Any], terms: int) -> Any:
    first = max((o for o in operands if isinstance(o, Batched)), key=lambda o: o.hidden)
    return first.contract(function, [first.lifted(operand) for operand in operands], terms)


def _axes(x: Batched, axis: Any) -> tuple[int, ...]:
    """Return axes of the storage, by negative numbers."""
    if axis is None:
        return tuple(range(-x.ndim, 0))
    axes = axis if isinstance(axis, tuple | list) else (axis,)
    for one in axes:
        if not -x.ndim <= one < x.ndim:
            raise np.exceptions.AxisError(one, x.ndim)
    return tuple(one - x.ndim if one >= 0 else one for one in axes)


def _count(x: Batched, axes: tuple[int, ...]) -> int:
    return prod(x.shape[axis] for axis in axes)


def _sum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    axes = _axes(x, axis)
    if not axes:
        return x.copy()
    return _contracted(lambda a: a.sum(axes, keepdims=keepdims), [x], _count(x, axes))


def _mean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return _sum(x, axis, keepdims) / _count(x, _axes(x, axis))


def _var(x: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
    deviation = x - _mean(x, axis, keepdims=True)
    return _sum(deviation * deviation, axis, keepdims) / (_count(x, _axes(x, axis)) - ddof)


def _std(x: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
    return np.sqrt(_var(x, axis, ddof, keepdims))


def _extremum(ufunc: np.ufunc, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Return the largest or the smallest along axes, by halves."""
    axes = _axes(x, axis)
    result = x
    for one in axes:
        while result.shape[one] > 1:
            count = result.shape[one]
            low, high = (
                _cut(result, one, slice(start, start + (count + 1) // 2))
                for start in (0, count // 2)
            )
            result = ufunc(low, high)
    if not keepdims:
        result = np.squeeze(result, axes)
    result = result.copy()
    result.extremum_of = x.parts[0], axes
    return result


def _cut(x: Any, axis: int, part: slice) -> Any:
    return x[(slice(None),) * (x.ndim + axis) + (part,)]


def _matmul(a: Any, b: Any) -> Any:
    """Multiply matrices, or a matrix and a vector."""
    first = _first(a, b)
    a, b = (operand if isinstance(operand, Batched) else np.asarray(operand) for operand in (a, b))
    if not (a.ndim and b.ndim):
        raise ValueError("matmul: a number without axes; use * for it")
    terms = a.shape[-1]
    if b.shape[-2 if b.ndim > 1 else -1] != terms:
        raise ValueError(f"matmul: shapes {a.shape} and {b.shape} do not match")
    left, right = a.ndim == 1, b.ndim == 1
    ndim = max(a.ndim + left, b.ndim + right)
    hidden = [getattr(operand, "hidden", 0) for operand in (a, b)]

    def product(x: Storage, y: Storage) -> Storage:
        x = x[..., None, :] if left else x
        y = y[..., :, None] if right else y
        z = np.matmul(insert_axes(x, hidden[0], ndim), insert_axes(y, hidden[1], ndim))
        z = z[..., 0] if right else z
        if left:
            z = z[..., 0] if right else z[..., 0, :]
        return np.asarray(z)

    return _contracted(product, [first.lifted(a), first.lifted(b)], terms)


def _dot(a: Any, b: Any) -> Any:
    shapes = [np.shape(operand) for operand in (a, b)]
    if () in shapes:
        return a * b
    if max(map(len, shapes)) > 2:
        raise NoRuleError("balls have no rule for numpy.dot of more than two axes; use matmul")
    return _matmul(a, b)


def _einsum(subscripts: Any, *operands: Any, optimize: Any = False) -> Any:
    if not isinstance(subscripts, str) or "..." in subscripts:
        raise NoRuleError("balls have no rule for numpy.einsum without plain letters, as 'ij,j->i'")
    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    labels = inputs.split(",")
    if not arrow:
        letters = inputs.replace(",", "")
        output = "".join(sorted(one for one in set(letters) if letters.count(one) == 1))
    sizes: dict[str, int] = {}
    for label, operand in zip(labels, operands, strict=True):
        if len(label) != len(np.shape(operand)):
            raise ValueError(f"einsum: {label!r} does not fit the shape {np.shape(operand)}")
        sizes |= dict(zip(label, np.shape(operand), strict=True))
    if not any(isinstance(operand, Batched) for operand in operands):
        return np.einsum(subscripts, *operands)
    if len(operands) > 2:  # two at a time
        later = "".join(labels[2:]) + output
        kept = "".join(dict.fromkeys(one for one in labels[0] + labels[1] if one in later))
        product = _einsum(f"{labels[0]},{labels[1]}->{kept}", *operands[:2])
        return _einsum(f"{','.join([kept, *labels[2:]])}->{output}", product, *operands[2:])
    terms = prod(size for letter, size in sizes.items() if letter not in output)
    first = _first(*operands)
    lifted = [first.lifted(operand) for operand in operands]
    prefixed = ",".join(
        ("..." if operand.hidden else "") + label
        for operand, label in zip(lifted, labels, strict=True)
    )
    ellipsis = "..." if any(operand.hidden for operand in lifted) else ""
    full = f"{prefixed}->{ellipsis}{output}"
    return _contracted(lambda *arrays: np.einsum(full, *arrays), lifted, terms)


def _outer(a: Any, b: Any) -> Any:
    return np.ravel(a)[:, None] * np.ravel(b)[None, :]


def _inner(a: Any, b: Any) -> Any:
    if len(np.shape(a)) != 1 or len(np.shape(b)) != 1:
        raise NoRuleError("balls have no rule for numpy.inner unless of vectors; use einsum")
    return _matmul(a, b)


def _tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    dims = len(np.shape(a)), len(np.shape(b))
    if isinstance(axes, int):
        axes = list(range(dims[0] - axes, dims[0])), list(range(axes))
    pairs = [[one] if isinstance(one, int) else list(one) for one in axes]
    letters = "abcdefghijklmnopqrstuvwxyz"
    left, right = list(letters[: dims[0]]), list(letters[dims[0] : sum(dims)])
    for i, j in zip(*pairs, strict=True):
        right[j] = left[i]
    kept = [x for x in left if x not in right] + [x for x in right if x not in left]
    return _einsum(f"{''.join(left)},{''.join(right)}->{''.join(kept)}", a, b)


def _trace(x: Any) -> Any:
    return _einsum("ii->", x)


def _cumsum(x: Any, axis: Any = None) -> Any:
    if axis is None:
        x, axis = np.ravel(x), -1
    (axis,) = _axes(x, axis)
    triangle = np.tri(x.shape[axis])
    moved = np.moveaxis(x, axis, -1)
    return np.moveaxis(_matmul(triangle, moved[..., None])[..., 0], -1, axis)


def _prod(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    result = x
    for one in _axes(x, axis):
        total = _cut(result, one, slice(0, 1))
        for i in range(1, result.shape[one]):
            total = total * _cut(result, one, slice(i, i + 1))
        result = total
    return result if keepdims else np.squeeze(result, _axes(x, axis))


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    axes = _axes(x, axis)
    if ord not in (None, 2, "fro") or (ord == 2 and len(axes) > 1):
        raise NoRuleError(f"balls have no rule for numpy.linalg.norm with ord={ord!r}")
    return np.sqrt(_sum(x * x, axis, keepdims))


def _argmax(x: Any, axis: Any = None, *, keepdims: bool = False, least: bool = False) -> Any:
    """Return where the largest element is; a tie, or what rounding makes one, is a branch."""
    if axis is None:
        x, axis = np.ravel(x), -1
    (axis,) = _axes(x, axis)
    top = _extremum(np.minimum if least else np.maximum, x, axis, keepdims=True)
    x.choices.branch((x == top).left_open)
    places = np.asarray((np.argmin if least else np.argmax)(x.decisive, axis=axis))
    places = np.expand_dims(places, axis) if keepdims else places
    lead = x.parts[0].shape[: x.hidden]
    shape = (*lead, *places.shape[places.ndim - x.ndim + (0 if keepdims else 1) :])
    return x.with_parts([np.broadcast_to(places, shape)])


def _take(x: Any, indices: Any, axis: Any = None, **options: Any) -> Any:
    """Take elements; by numbers that differ from sample to sample as an index does."""
    if isinstance(indices, Batched):
        x = np.ravel(x) if axis is None else x
        if axis not in (None, 0):
            x = np.moveaxis(x, axis, 0)
        return np.moveaxis(x[indices], 0, axis) if axis not in (None, 0) else x[indices]
    return x.rearranged(np.take, (x, indices, axis), options)


def _clip(x: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    low, high = a_min if min is None else min, a_max if max is None else max
    x = x if low is None else np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


def _where(condition: Any, *cases: Any) -> Any:
    if len(cases) != 2:
        raise NoRuleError("balls have no rule for numpy.where unless with both cases")
    if isinstance(condition, Batched) and not condition.is_mask:
        condition = condition != 0
    # Of the operands one that knows the format of the others' constants, and all samples.
    first = max(
        (o for o in (*cases, condition) if isinstance(o, Batched)),
        key=lambda o: (not o.is_discrete, o.hidden),
    )
    aligned = aligned_operands([first.lifted(operand) for operand in (condition, *cases)])
    result = first.choose(*aligned)
    decided, *choices = aligned
    if not result.dtype.hasobject and any(choice.settled is not None for choice in choices):
        never = np.zeros((), bool)
        one, other = (never if c.settled is None else c.settled for c in choices)
        result.settled = np.where(decided.decisive != 0, one, other) & ~decided.left_open
    return result


def _logical(*cases: Any) -> Any:
    """Say of masks what `where` says; integers have bits, which is another matter."""
    for operand in cases:
        if isinstance(operand, Batched) and not operand.is_mask:
            raise NoRuleError("balls have no rule for bits of integers; &, | and ~ are for masks")
    return _where(*cases)


def _logaddexp(a: Any, b: Any) -> Any:
    return np.maximum(a, b) + np.log1p(np.exp(-abs(a - b)))


def _heaviside(x: Any, at_zero: Any) -> Any:
    return _where(x > 0, 1.0, _where(x < 0, 0.0, at_zero))


def _sign(x: Any) -> Any:
    return _where(x > 0, 1.0, _where(x < 0, -1.0, 0.0))


def _filled(value: float) -> Function:
    def like(x: Any, dtype: Any = None, shape: Any = None, **_: Any) -> Any:
        return _full_like(x, value, shape=shape)

    return like


def _full_like(x: Any, fill_value: Any, dtype: Any = None, shape: Any = None, **_: Any) -> Any:
    shape = x.shape if shape is None else shape
    lead = x.parts[0].shape[: x.hidden]
    inner = x.constant(np.broadcast_to(fill_value, shape))
    return inner._mapped(lambda part: np.broadcast_to(part, (*lead, *np.shape(part))), x.hidden)


FUNCTIONS |= {
    np.matmul: _matmul,
    np.vecdot: _inner,
    np.sum: _sum,
    np.mean: _mean,
    np.var: _var,
    np.std: _std,
    np.max: lambda x, *a, **k: _extremum(np.maximum, x, *a, **k),
    np.min: lambda x, *a, **k: _extremum(np.minimum, x, *a, **k),
    np.prod: _prod,
    np.argmax: _argmax,
    np.argmin: lambda x, *a, **k: _argmax(x, *a, least=True, **k),
    np.take: _take,
    np.cumulative_sum: lambda x, *, axis=None: _cumsum(x, axis),
    np.linalg.vector_norm: lambda x, *, axis=None, keepdims=False: _norm(
        x if axis is not None else np.ravel(x), None, axis, keepdims
    ),
    np.astype: lambda x, dtype, **_: x.astype(dtype),
    np.cumsum: _cumsum,
    np.dot: _dot,
    np.vdot: lambda a, b: _matmul(np.ravel(a), np.ravel(b)),
    np.inner: _inner,
    np.outer: _outer,
    np.einsum: _einsum,
    np.tensordot: _tensordot,
    np.trace: _trace,
    np.linalg.norm: _norm,
    np.clip: _clip,
    np.where: _where,
    np.square: lambda x: x * x,
    np.reciprocal: lambda x: 1.0 / x,
    np.fabs: np.absolute,
    np.logaddexp: _logaddexp,
    np.hypot: lambda a, b: np.sqrt(a * a + b * b),
    np.heaviside: _heaviside,
    np.sign: _sign,
    np.invert: lambda a: _logical(a, False, True),
    np.logical_not: lambda a: _where(a, False, True),
    np.bitwise_and: lambda a, b: _logical(a, b, False),
    np.logical_and: lambda a, b: _where(a, b, False),
    np.bitwise_or: lambda a, b: _logical(a, True, b),
    np.logical_or: lambda a, b: _where(a, True, b),
    np.zeros_like: _filled(0.0),
    np.ones_like: _filled(1.0),
    np.empty_like: _filled(0.0),
    np.full_like: _full_like,
    np.copy: lambda x, *_, **__: x.copy(),
    np.real: lambda x: x,
}
REDUCTIONS |= {
    np.add: _sum,
    np.multiply: _prod,
    np.maximum: FUNCTIONS[np.max],
    np.minimum: FUNCTIONS[np.min],
}
KNOWN.update(FUNCTIONS)
