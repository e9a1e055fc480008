"""Sums, sums of products, and what joins arrays."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from math import prod
from string import ascii_letters
from typing import Any

import numpy as np

from gradcheck.numbers.array import (
    Batched,
    Function,
    NoRuleError,
    Storage,
    insert_axes,
    joined,
)
from gradcheck.numbers.comparisons import settle_sum


def contracted(function: Function, operands: Sequence[Any], terms: int, key: Hashable) -> Any:
    """Apply a multilinear function, which `key` tells from others, to storage arrays."""
    first: Any = max((o for o in operands if isinstance(o, Batched)), key=lambda o: o.hidden)
    lifted = [first.lifted(operand) for operand in operands]
    result = first.contract(function, lifted, terms)
    if first.tracks:
        settle_sum(function, lifted, result)
    return result.is_result_of(key, lifted)


def axes_of(x: Any, axis: Any) -> tuple[int, ...]:
    """Return axes of the storage, by negative numbers."""
    if axis is None:
        return tuple(range(-x.ndim, 0))
    axes = axis if isinstance(axis, tuple | list) else (axis,)
    for one in axes:
        if not -x.ndim <= one < x.ndim:
            raise np.exceptions.AxisError(one, x.ndim)
    return tuple(one - x.ndim if one >= 0 else one for one in axes)


def cut(x: Any, axis: int, part: slice) -> Any:
    """Return a part of an array along an axis that is given by a negative number."""
    return x[(slice(None),) * (x.ndim + axis) + (part,)]


def _count(x: Any, axes: tuple[int, ...]) -> int:
    return prod(x.shape[axis] for axis in axes)


def sum_along(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Add up along axes."""
    axes = axes_of(x, axis)
    if not axes:
        return x.copy()
    key = "sum", axes, keepdims
    return contracted(lambda a: a.sum(axes, keepdims=keepdims), [x], _count(x, axes), key)


def product_along(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Multiply along axes."""
    result = x
    for one in axes_of(x, axis):
        if not result.shape[one]:
            shape = list(result.shape)
            shape[one] = 1
            result = np.ones_like(x, shape=shape)
            continue
        total = cut(result, one, slice(0, 1))
        for i in range(1, result.shape[one]):
            total = total * cut(result, one, slice(i, i + 1))
        result = total
    return result if keepdims else np.squeeze(result, axes_of(x, axis))


def _mean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return sum_along(x, axis, keepdims) / _count(x, axes_of(x, axis))


def _var(x: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
    deviation = x - _mean(x, axis, keepdims=True)
    return sum_along(deviation * deviation, axis, keepdims) / (_count(x, axes_of(x, axis)) - ddof)


def _std(x: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
    return np.sqrt(_var(x, axis, ddof, keepdims))


def _matmul(a: Any, b: Any) -> Any:
    """Multiply matrices, or a matrix and a vector."""
    first: Any = a if isinstance(a, Batched) else b
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

    return contracted(product, [first.lifted(a), first.lifted(b)], terms, "matmul")


def _dot(a: Any, b: Any) -> Any:
    shapes = [np.shape(operand) for operand in (a, b)]
    if () in shapes:
        return a * b
    if max(map(len, shapes)) > 2:
        raise NoRuleError("balls have no rule for numpy.dot of more than two axes; use matmul")
    return _matmul(a, b)


def einsum(subscripts: Any, *operands: Any, optimize: Any = False) -> Any:
    """Add up products, as the letters say."""
    if not isinstance(subscripts, str):
        raise NoRuleError("balls have no rule for numpy.einsum without letters, as 'ij,j->i'")
    labels, output = _spelled(subscripts.replace(" ", ""), [len(np.shape(o)) for o in operands])
    sizes: dict[str, int] = {}
    for label, operand in zip(labels, operands, strict=True):
        if len(label) != len(np.shape(operand)):
            raise ValueError(f"einsum: {label!r} does not fit the shape {np.shape(operand)}")
        for letter, size in zip(label, np.shape(operand), strict=True):
            sizes[letter] = max(size, sizes.get(letter, size))
    if not any(isinstance(operand, Batched) for operand in operands):
        return np.einsum(subscripts, *operands)
    if len(operands) > 2:  # two at a time
        later = "".join(labels[2:]) + output
        kept = "".join(dict.fromkeys(one for one in labels[0] + labels[1] if one in later))
        product = einsum(f"{labels[0]},{labels[1]}->{kept}", *operands[:2])
        return einsum(f"{','.join([kept, *labels[2:]])}->{output}", product, *operands[2:])
    terms = prod(size for letter, size in sizes.items() if letter not in output)
    first: Any = max((o for o in operands if isinstance(o, Batched)), key=lambda o: o.hidden)
    lifted = [first.lifted(operand) for operand in operands]
    prefixed = ",".join(
        ("..." if operand.hidden else "") + label
        for operand, label in zip(lifted, labels, strict=True)
    )
    ellipsis = "..." if any(operand.hidden for operand in lifted) else ""
    full = f"{prefixed}->{ellipsis}{output}"
    return contracted(lambda *arrays: np.einsum(full, *arrays), lifted, terms, ("einsum", full))


def _spelled(subscripts: str, dims: Sequence[int]) -> tuple[list[str], str]:
    """Return the letters of each operand and of the result, some in place of an ellipsis."""
    inputs, arrow, output = subscripts.partition("->")
    free = [letter for letter in ascii_letters if letter not in subscripts]
    labels, longest = [], ""
    for label, ndim in zip(inputs.split(","), dims, strict=True):
        missing = ndim - len(label.replace("...", "")) if "..." in label else 0
        letters = "".join(free[26 - missing : 26])
        longest = max(longest, letters, key=len)
        labels.append(label.replace("...", letters))
    if not arrow:
        joint = inputs.replace(",", "").replace("...", "")
        output = "..." + "".join(sorted(one for one in set(joint) if joint.count(one) == 1))
    return labels, output.replace("...", longest)


def _outer(a: Any, b: Any) -> Any:
    return np.ravel(a)[:, None] * np.ravel(b)[None, :]


def _inner(a: Any, b: Any) -> Any:
    if len(np.shape(a)) != 1 or len(np.shape(b)) != 1:
        raise NoRuleError("balls have no rule for numpy.inner unless of vectors; use einsum")
    return _matmul(a, b)


def _vecdot(a: Any, b: Any, axis: int = -1) -> Any:
    return sum_along(a * b, axis)


def _tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    dims = len(np.shape(a)), len(np.shape(b))
    if isinstance(axes, int):
        axes = list(range(dims[0] - axes, dims[0])), list(range(axes))
    pairs = [[one] if isinstance(one, int) else list(one) for one in axes]
    left, right = list(ascii_letters[: dims[0]]), list(ascii_letters[dims[0] : sum(dims)])
    for i, j in zip(*pairs, strict=True):
        right[j] = left[i]
    kept = [x for x in left if x not in right] + [x for x in right if x not in left]
    return einsum(f"{''.join(left)},{''.join(right)}->{''.join(kept)}", a, b)


def _trace(x: Any) -> Any:
    return einsum("ii->", x)


def _cumsum(x: Any, axis: Any = None) -> Any:
    if axis is None:
        x, axis = np.ravel(x), -1
    (axis,) = axes_of(x, axis)
    triangle = np.tri(x.shape[axis])
    moved = np.moveaxis(x, axis, -1)
    return np.moveaxis(_matmul(triangle, moved[..., None])[..., 0], -1, axis)


def _kron(a: Any, b: Any) -> Any:
    ndim = max(len(np.shape(a)), len(np.shape(b)))
    shapes = [(1,) * (ndim - len(np.shape(one))) + np.shape(one) for one in (a, b)]
    left, right = (np.reshape(one, shape) for one, shape in zip((a, b), shapes, strict=True))
    for axis in range(ndim):
        left, right = np.expand_dims(left, 2 * axis + 1), np.expand_dims(right, 2 * axis)
    return np.reshape(left * right, [m * n for m, n in zip(*shapes, strict=True)])


def _cross(a: Any, b: Any, axis: int = -1) -> Any:
    if np.shape(a)[axis] != 3 or np.shape(b)[axis] != 3:
        raise NoRuleError("balls have no rule for numpy.cross unless of three components")
    a, b = np.moveaxis(a, axis, -1), np.moveaxis(b, axis, -1)
    one, other = [1, 2, 0], [2, 0, 1]
    product = a[..., one] * b[..., other] - a[..., other] * b[..., one]
    return np.moveaxis(product, -1, axis)


def _convolve(a: Any, v: Any, mode: str = "full") -> Any:
    """Multiply the shorter operand by the matrix of the longer one's shifted copies."""
    a, v = np.ravel(a), np.ravel(v)
    if len(v) > len(a):
        a, v = v, a
    padded = np.pad(a, len(v) - 1)
    windows = np.arange(len(a) + len(v) - 1)[:, None] + np.arange(len(v))
    full = _matmul(padded[windows], v[::-1])
    if mode == "full":
        return full
    skipped = len(v) - 1 if mode == "valid" else (len(v) - 1) // 2
    return full[skipped : skipped + (len(a) - len(v) + 1 if mode == "valid" else len(a))]


def _correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    if mode == "same" and len(v) > len(a):
        raise NoRuleError("balls have no rule for numpy.correlate with a longer second operand")
    result = _convolve(a, v[::-1], mode)
    return result[::-1] if mode == "valid" and len(v) > len(a) else result


def join(function: Function, like: Any, arrays: Any, *rest: Any, **options: Any) -> Any:
    """Put several arrays into one."""
    operands = [like.lifted(item) for item in arrays]
    starts = np.cumsum([0, *(operand.size for operand in operands)])
    places = [
        (start + np.arange(operand.size)).reshape(operand.shape)
        for start, operand in zip(starts, operands, strict=False)
    ]
    return joined(operands, function(places, *rest, **options))


FUNCTIONS: Mapping[Function, Function] = {
    np.matmul: _matmul,
    np.linalg.matmul: _matmul,
    np.vecdot: _vecdot,
    np.linalg.vecdot: _vecdot,
    np.sum: sum_along,
    np.mean: _mean,
    np.var: _var,
    np.std: _std,
    np.prod: product_along,
    np.cumsum: _cumsum,
    np.cumulative_sum: lambda x, *, axis=None: _cumsum(x, axis),
    np.dot: _dot,
    np.vdot: lambda a, b: _matmul(np.ravel(a), np.ravel(b)),
    np.inner: _inner,
    np.outer: _outer,
    np.linalg.outer: _outer,
    np.einsum: einsum,
    np.tensordot: _tensordot,
    np.linalg.tensordot: lambda a, b, *, axes=2: _tensordot(a, b, axes),
    np.trace: _trace,
    np.kron: _kron,
    np.cross: _cross,
    np.convolve: _convolve,
    np.correlate: _correlate,
}
"""The functions of this module, by what they stand for."""
