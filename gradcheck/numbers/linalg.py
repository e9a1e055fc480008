"""Linear algebra by its textbook elimination, on the numbers themselves.

Rows are exchanged for the pivot whose midpoint is largest: any order of pivots is a valid
elimination, so that to choose one leaves nothing open.

References
----------
G. H. Golub and C. F. Van Loan, *Matrix Computations*, 4th edition 2013, sections 3.4 and 4.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradcheck.numbers.array import Batched, Function, NoRuleError
from gradcheck.numbers.products import axes_of, sum_along


def _eliminated(a: Any, b: Any) -> tuple[list[Any], Any]:
    """Return the rows of an upper triangular system, and the sign of the order of pivots.

    Each row begins on the diagonal.

    Parameters
    ----------
    a, b
        Matrices, shape `(…, m, m)`, and right-hand sides, shape `(…, m, k)`.
    """
    rest: Any = np.concatenate([a, b], axis=-1)
    rows: list[Any] = []
    sign: Any = 1
    for _ in range(a.shape[-1]):
        pivot = np.argmax(rest[..., 0].heights, axis=-1)  # of each sample and matrix
        count = rest.shape[-2]
        order = np.broadcast_to(np.arange(count), (*pivot.shape, count)).copy()
        np.put_along_axis(order, pivot[..., None], 0, -1)
        order[..., 0] = pivot
        rest = _reordered(rest, order)
        sign = sign * np.where(pivot == 0, 1, -1)
        top, below = rest[..., :1, :], rest[..., 1:, :]
        rows.append(top[..., 0, :])
        rest = below[..., 1:] - below[..., :1] / _divisor(top[..., :1]) * top[..., 1:]
    lead = rest.parts[0].shape[: rest.hidden]
    signs = np.broadcast_to(sign, (*lead, *np.shape(sign)[np.ndim(sign) - a.ndim + 2 :]))
    return rows, rest.with_parts([signs])


def _divisor(pivot: Any) -> Any:
    """Return 1 for a pivot that is exactly zero, as all below it are then."""
    zero = (pivot.heights == 0) & ~pivot.left_open
    if not zero.any():
        return pivot
    lead = pivot.parts[0].shape[: pivot.hidden]
    mask = pivot.with_parts([np.broadcast_to(zero, (*lead, *pivot.shape))])
    return np.where(mask, 1.0, pivot)


def _reordered(x: Any, order: Any) -> Any:
    """Exchange rows, in an order of each sample and matrix; shape `(n, …, m)` or `(…, m)`."""
    order = order if x.hidden else order[None]
    *outer, count, columns = x.shape
    matrix = np.arange(int(np.prod(outer))).reshape(*outer, 1, 1)
    places = (matrix * count + order[..., None]) * columns + np.arange(columns)
    return x.fetched(places)


def _solve(a: Any, b: Any) -> Any:
    """Solve a·x = b; a single axis of `b` is a vector."""
    like: Any = max((o for o in (a, b) if isinstance(o, Batched)), key=lambda o: o.hidden)
    a, b = like.lifted(a), like.lifted(b)
    _check_square("solve", a)
    right = b[..., None] if b.ndim == 1 else b
    outer = np.broadcast_shapes(a.shape[:-2], right.shape[:-2])
    a, right = (np.broadcast_to(one, (*outer, *one.shape[-2:])) for one in (a, right))
    rows, _ = _eliminated(a, right)
    count = a.shape[-1]
    solved: Any = None
    for k, row in reversed(list(enumerate(rows))):
        known = row[..., None, count - k :]
        if solved is not None:
            known = known - np.matmul(row[..., None, 1 : count - k], solved)
        found = known / row[..., None, :1]
        solved = found if solved is None else np.concatenate([found, solved], axis=-2)
    return solved[..., 0] if b.ndim == 1 else solved


def _inv(a: Any) -> Any:
    _check_square("inv", a)
    return _solve(a, np.broadcast_to(np.eye(a.shape[-1]), a.shape))


def _pivots(a: Any) -> tuple[Any, Any]:
    rows, sign = _eliminated(a, a[..., :0])
    return np.stack([row[..., 0] for row in rows], axis=-1), sign


def _det(a: Any) -> Any:
    _check_square("det", a)
    pivots, sign = _pivots(a)
    return np.prod(pivots, axis=-1) * sign


def _slogdet(a: Any) -> Any:
    _check_square("slogdet", a)
    pivots, sign = _pivots(a)
    logarithm = np.sum(np.log(np.absolute(pivots)), axis=-1)
    return _SlogdetResult(np.prod(np.sign(pivots), axis=-1) * sign, logarithm)


_SlogdetResult: Any = type(np.linalg.slogdet(np.eye(1)))
"""The pair of `sign` and `logabsdet`, by these names."""


def _cholesky(a: Any, *, upper: bool = False) -> Any:
    """Return the triangular factor of a positive definite matrix, one column after the other."""
    _check_square("cholesky", a)
    rest = np.swapaxes(a, -1, -2) if upper else a
    count, columns = a.shape[-1], []
    for k in range(count):
        root = np.sqrt(rest[..., :1, :1])
        column = np.concatenate([root, rest[..., 1:, :1] / root], axis=-2)
        below = column[..., 1:, :]
        rest = rest[..., 1:, 1:] - below * np.swapaxes(below, -1, -2)
        columns.append(np.pad(column, [(0, 0)] * (a.ndim - 2) + [(k, 0), (0, 0)]))
    factor = np.concatenate(columns, axis=-1)
    return np.swapaxes(factor, -1, -2) if upper else factor


def _check_square(name: str, a: Any) -> None:
    if len(np.shape(a)) < 2 or np.shape(a)[-1] != np.shape(a)[-2]:
        raise np.linalg.LinAlgError(f"{name}: the shape {np.shape(a)} is not that of a square")


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    axes = axes_of(x, axis)
    if ord not in (None, 2, "fro") or (ord == 2 and len(axes) > 1):
        raise NoRuleError(
            f"balls have no rule for numpy.linalg.norm with ord={ord!r}", "numpy.linalg.norm"
        )
    return np.sqrt(sum_along(x * x, axis, keepdims))


FUNCTIONS: Mapping[Function, Function] = {
    np.linalg.solve: _solve,
    np.linalg.inv: _inv,
    np.linalg.det: _det,
    np.linalg.slogdet: _slogdet,
    np.linalg.cholesky: _cholesky,
    np.linalg.norm: _norm,
    np.linalg.vector_norm: lambda x, *, axis=None, keepdims=False: _norm(
        x if axis is not None else np.ravel(x), None, axis, keepdims
    ),
}
"""The functions of this module, by what they stand for."""
