"""JAX's products of matrices and its factorizations, in NumPy's functions.

References
----------
G. H. Golub and C. F. Van Loan, *Matrix Computations*, 4th edition 2013, sections 3.1, 3.4 and 4.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from string import ascii_letters
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.capture.program import Rule
from gradcheck.numbers.array import Batched

_np: Any = np
"""NumPy, whose functions take more than they are declared to."""


def _dot_general(a: Any, b: Any, *, dimension_numbers: Any, **_: Any) -> Any:
    (left, right), (left_batch, right_batch) = dimension_numbers
    letters = iter(ascii_letters)
    mine = [next(letters) for _ in np.shape(a)]
    other = [next(letters) for _ in np.shape(b)]
    for i, j in zip((*left, *left_batch), (*right, *right_batch), strict=True):
        other[j] = mine[i]
    batch = [mine[i] for i in left_batch]
    free = [
        [one for i, one in enumerate(labels) if i not in {*summed, *batched}]
        for labels, summed, batched in ((mine, left, left_batch), (other, right, right_batch))
    ]
    result = "".join([*batch, *free[0], *free[1]])
    return _np.einsum(f"{''.join(mine)},{''.join(other)}->{result}", a, b)


def _triangular_solve(
    a: Any,
    b: Any,
    *,
    left_side: bool,
    lower: bool,
    transpose_a: bool,
    unit_diagonal: bool,
    **_: Any,
) -> Any:
    if not left_side:  # x·a = b is aᵀ·xᵀ = bᵀ
        solved = _triangular_solve(
            a,
            _np.swapaxes(b, -1, -2),
            left_side=True,
            lower=lower,
            transpose_a=not transpose_a,
            unit_diagonal=unit_diagonal,
        )
        return _np.swapaxes(solved, -1, -2)
    if transpose_a:
        a, lower = _np.swapaxes(a, -1, -2), not lower
    count = a.shape[-1]
    rows: dict[int, Any] = {}
    for i in range(count) if lower else reversed(range(count)):
        row = b[..., i : i + 1, :]
        before = a[..., i : i + 1, slice(0, i) if lower else slice(i + 1, count)]
        if rows:  # all terms of the row in one sum, whose order is left open
            known = _np.concatenate([row, *(rows[j] for j in sorted(rows))], axis=-2)
            factors = _np.concatenate([_np.ones_like(before[..., :1]), -before], axis=-1)
            row = _np.matmul(factors, known)
        # LAPACK may multiply by reciprocals, which rounds twice.
        rows[i] = row if unit_diagonal else row * (1.0 / a[..., i : i + 1, i : i + 1])
    return _np.concatenate([rows[i] for i in range(count)], axis=-2) if rows else b


def _cholesky(a: Any, *, symmetrize_input: bool = False, **_: Any) -> Any:
    return _np.linalg.cholesky((a + _np.swapaxes(a, -1, -2)) / 2 if symmetrize_input else a)


def _heights(x: Any) -> NDArray[Any]:
    return np.asarray(x.heights if isinstance(x, Batched) else np.abs(x))


def _integers(like: Any, values: NDArray[Any]) -> Any:
    """Return integers of each sample as numbers of a kind, the same in every run of it."""
    if not isinstance(like, Batched):
        return values
    runs = like.parts[0].shape[: max(0, like.hidden - 1)]
    return like.with_parts([np.broadcast_to(values, (*runs, *values.shape))])


def _lu(a: Any) -> tuple[Any, Any, Any]:
    """Eliminate with partial pivoting; return both factors in one, the pivots and their order."""
    rows, columns = a.shape[-2:]
    steps = min(rows, columns)
    lead = _heights(a).shape[:-2]
    order = np.broadcast_to(np.arange(rows, dtype=np.int32), (*lead, rows)).copy()
    pivots = np.zeros((*lead, steps), np.int32)
    for k in range(steps):
        pivot = k + np.argmax(_heights(a)[..., k:, k], axis=-1)
        pivots[..., k] = pivot
        swap = np.broadcast_to(np.arange(rows), (*lead, rows)).copy()
        np.put_along_axis(swap, pivot[..., None], k, -1)
        swap[..., k] = pivot
        order = np.take_along_axis(order, swap, -1)
        if (pivot != k).any():
            a = _np.take_along_axis(a, _integers(a, swap[..., None]), -2)
        top, below = a[..., : k + 1, :], a[..., k + 1 :, :]
        factor = below[..., k : k + 1] / _divisor(a[..., k : k + 1, k : k + 1])
        rest = below[..., k + 1 :] - factor * a[..., k : k + 1, k + 1 :]
        a = _np.concatenate(
            [top, _np.concatenate([below[..., :k], factor, rest], axis=-1)], axis=-2
        )
    return a, _integers(a, pivots), _integers(a, order)


def _divisor(pivot: Any) -> Any:
    """Return 1 for a pivot that is exactly zero, as all below it are then."""
    zero = _heights(pivot) == 0
    if isinstance(pivot, Batched):
        zero &= ~pivot.left_open
    if not zero.any():
        return pivot
    return _np.where(_integers(pivot, zero), 1.0, pivot)


def _order_of_pivots(pivots: Any, *, permutation_size: int) -> Any:
    """Exchange one after the other."""
    given = np.asarray(pivots.parts[0] if isinstance(pivots, Batched) else pivots)
    if isinstance(pivots, Batched):
        given = given[(0,) * max(0, pivots.hidden - 1)]
    order = np.broadcast_to(np.arange(permutation_size), (*given.shape[:-1], permutation_size))
    order = order.astype(np.int32)
    for k in range(given.shape[-1]):
        swap = np.broadcast_to(np.arange(permutation_size), order.shape).copy()
        np.put_along_axis(swap, given[..., k : k + 1].astype(np.int64), k, -1)
        swap[..., k] = given[..., k]
        order = np.take_along_axis(order, swap, -1)
    return _integers(pivots, order)


RULES: Mapping[str, Rule] = {
    "dot_general": _dot_general,
    "triangular_solve": _triangular_solve,
    "cholesky": _cholesky,
    "lu": _lu,
    "lu_pivots_to_permutation": _order_of_pivots,
}
