"""ATen's factorisations of matrices, in the textbooks' algorithms that LAPACK orders by blocks.

Rows are exchanged as LAPACK exchanges them, for the pivot of the largest magnitude, and the signs
of triangular factors are those of its reflections: of others the factors would be others.

References
----------
G. H. Golub and C. F. Van Loan, *Matrix Computations*, 4th edition 2013, sections 3.4 and 5.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradcheck.capture.aten_elementwise import fixed
from gradcheck.capture.aten_linalg import no_error, solve, transposed
from gradcheck.capture.aten_resizing import format_of
from gradcheck.capture.program import Rule
from gradcheck.numbers.array import Batched
from gradcheck.numbers.errors import NoRuleError
from gradcheck.numbers.jumps import plain
from gradcheck.numbers.rounding import finfo

_np: Any = np
"""NumPy, whose functions take more than they are declared to."""

# Elimination


def _exchanged(x: Any, k: int, pivot: Any) -> Any:
    """Exchange a row, from row k on, with the one so many rows below it."""
    row = np.arange(np.shape(x)[-2] - k)
    place = pivot[..., None]
    order = _np.where(_np.equal(row, 0), place, _np.where(_np.equal(row, place), 0, row))
    moved = _np.take_along_axis(x[..., k:, :], order[..., None], axis=-2)
    return _np.concatenate([x[..., :k, :], moved], axis=-2) if k else moved


def _lu(a: Any, *, pivot: bool = True) -> tuple[Any, Any]:
    """Return both factors in one matrix, and with which row each was exchanged, from 1 on."""
    pivots = []
    for k in range(min(np.shape(a)[-2:])):
        column = a[..., k:, k]
        chosen = _np.argmax(column * column, axis=-1)
        chosen = chosen if pivot else chosen * 0
        a = _exchanged(a, k, chosen)
        pivots.append(chosen + (k + 1))
        below = a[..., k + 1 :, k : k + 1] / a[..., k : k + 1, k : k + 1]
        rest = a[..., k + 1 :, k + 1 :] - below * a[..., k : k + 1, k + 1 :]
        lower = _np.concatenate([a[..., k + 1 :, :k], below, rest], axis=-1)
        a = _np.concatenate([a[..., : k + 1, :], lower], axis=-2)
    return a, _np.stack(pivots, axis=-1)


def _permutation(pivots: Any, rows: int, like: Any) -> Any:
    """Return the matrix that exchanges rows, the last exchange first."""
    shape = (*np.shape(like)[:-2], rows, rows)
    result = _np.full_like(like, np.broadcast_to(np.eye(rows), shape), shape=shape)
    for k in reversed(range(np.shape(pivots)[-1])):
        result = _exchanged(result, k, pivots[..., k] - (k + 1))
    return result


def unpacked(factors: Any, pivots: Any, data: bool = True, order: bool = True) -> Any:
    """Return a permutation, a lower and an upper triangular matrix."""
    rows, columns = np.shape(factors)[-2:]
    count = min(rows, columns)
    none = _np.zeros_like(factors, shape=(0,))
    lower = upper = permutation = none
    if data:
        lower = _np.tril(factors[..., :count], -1) + np.eye(rows, count)
        upper = _np.triu(factors[..., :count, :])
    if order:
        permutation = _permutation(pivots, rows, factors)
    return permutation, lower, upper


def _lu_factored(a: Any, *, pivot: bool = True, check_errors: bool = False) -> Any:
    return *_lu(a, pivot=pivot), no_error(a)


def _lu_solve(
    factors: Any, pivots: Any, b: Any, *, left: bool = True, adjoint: bool = False
) -> Any:
    """Solve by factors; where the matrix itself stands for them, it is in the pivots' place."""
    matrix = pivots
    if np.ndim(pivots) != np.ndim(factors):
        permutation, lower, upper = unpacked(factors, pivots)
        matrix = _np.matmul(_np.matmul(permutation, lower), upper)
    return solve(transposed(matrix) if adjoint else matrix, b, left)


# Reflections


def _sign(x: Any) -> Any:
    return _np.where(x < 0, -1.0, 1.0)


def _reflection(x: Any) -> tuple[Any, Any, Any]:
    """Return v, τ and β where (1 − τvvᵀ)x = (β, 0, …), as LAPACK's `larfg` chooses them.

    Parameters
    ----------
    x
        Columns, shape `(…, n, 1)`.
    """
    first, rest = x[..., :1, :], x[..., 1:, :]
    if not np.shape(rest)[-2]:
        return _np.ones_like(x), first * 0.0, first
    square = _np.sum(rest * rest, axis=-2, keepdims=True)
    none = _np.equal(square, 0)
    beta = -_sign(first) * _np.sqrt(first * first + square)
    beta = _np.where(none, first, beta)
    scale = _np.where(none, 1.0, first - beta)
    tau = _np.where(none, 0.0, (beta - first) / _np.where(none, 1.0, beta))
    return _np.concatenate([_np.ones_like(first), rest / scale], axis=-2), tau, beta


def _reflected(x: Any, v: Any, tau: Any, k: int) -> Any:
    """Apply a reflection to rows from row k on."""
    rows = x[..., k:, :]
    rows = rows - v * (tau * _np.matmul(transposed(v), rows))
    return _np.concatenate([x[..., :k, :], rows], axis=-2) if k else rows


def _eye_like(x: Any, rows: int, columns: int) -> Any:
    shape = (*np.shape(x)[:-2], rows, columns)
    return _np.full_like(x, np.broadcast_to(np.eye(rows, columns), shape), shape=shape)


def _qr(a: Any, mode: str = "reduced") -> tuple[Any, Any]:
    rows, columns = np.shape(a)[-2:]
    found = []
    for k in range(min(rows, columns)):
        v, tau, beta = _reflection(a[..., k:, k : k + 1])
        found.append((v, tau))
        right = _reflected(a[..., k + 1 :], v, tau, k)
        column = _np.concatenate([a[..., :k, k : k + 1], beta, 0.0 * a[..., k + 1 :, :1]], axis=-2)
        a = _np.concatenate([a[..., :k], column, right], axis=-1)
    width = min(rows, columns) if mode != "complete" else rows
    upper = _np.triu(a[..., :width, :])
    if mode == "r":
        return _np.zeros_like(a, shape=(0,)), upper
    q = _eye_like(a, rows, width)
    for k, (v, tau) in reversed(list(enumerate(found))):
        q = _reflected(q, v, tau, k)
    return q, upper


def _stored(a: Any, taus: Any) -> list[tuple[Any, Any, int]]:
    """Return the reflections that are stored below a diagonal."""
    found = []
    for k in range(np.shape(taus)[-1]):
        below = a[..., k + 1 :, k : k + 1]
        v = _np.concatenate([0.0 * a[..., k : k + 1, k : k + 1] + 1.0, below], axis=-2)
        found.append((v, taus[..., k : k + 1, None], k))
    return found


def _householder_product(a: Any, taus: Any) -> Any:
    q = _eye_like(a, *np.shape(a)[-2:])
    for reflection in reversed(_stored(a, taus)):
        q = _reflected(q, *reflection)
    return q


def _ormqr(a: Any, taus: Any, other: Any, left: bool = True, transpose: bool = False) -> Any:
    """Multiply by the product of the reflections, or by its transpose, from a side."""
    if not left:
        return transposed(_ormqr(a, taus, transposed(other), True, not transpose))
    reflections = _stored(a, taus)
    for reflection in reflections if transpose else reversed(reflections):
        other = _reflected(other, *reflection)
    return other


# Least squares, of matrices of full rank


def _inverted(a: Any) -> Any:
    """Return the inverse, or the one from the side where there is one."""
    rows, columns = np.shape(a)[-2:]
    if rows == columns:
        return _np.linalg.inv(a)
    if rows < columns:
        return transposed(_inverted(transposed(a)))
    q, upper = _qr(a)
    return _np.linalg.solve(upper, transposed(q))


def _length(a: Any) -> Any:
    """Return the root of the sum of the squares, no less than the largest singular value."""
    length = _np.sqrt(_np.sum(a * a, axis=(-2, -1)))
    return plain(length) if isinstance(length, Batched) else length


def _check_rank(name: str, a: Any, inverse: Any, atol: Any, rtol: Any) -> None:
    """Refuse a matrix of which a singular value may be taken for zero."""
    atol, rtol = (0.0 if one is None else fixed(one) for one in (atol, rtol))
    if atol is None or rtol is None:
        raise NoRuleError(f"there is no rule for {name} with a tolerance that varies", name)
    inverse, length = _length(inverse), _length(a)
    with np.errstate(invalid="ignore", over="ignore"):
        is_full = np.all(inverse * np.maximum(rtol * length, atol) < 1)
    if not (is_full and np.isfinite(inverse).all()):
        raise NoRuleError(f"there is no rule for {name} of a matrix of lower rank", name)


def _rounding_alone(a: Any) -> float:
    return float(finfo(format_of(a)).eps) * int(max(np.shape(a)[-2:]))


def _pinv(
    a: Any, *positional: Any, atol: Any = None, rtol: Any = None, hermitian: bool = False
) -> Any:
    if positional:
        rtol, hermitian = positional[0], positional[1:] == (True,)
    if hermitian:
        a = _np.tril(a) + transposed(_np.tril(a, -1))
    inverse = _inverted(a)
    rtol = _rounding_alone(a) if rtol is None and atol is None else rtol
    _check_rank("aten.linalg_pinv", a, inverse, atol, rtol)
    return inverse


def _lstsq(a: Any, b: Any, rcond: Any = None, *, driver: str | None = None) -> tuple[Any, ...]:
    """Solve; the residuals of more equations than unknowns, but not by `gelsy`, are known too."""
    rows, columns = np.shape(a)[-2:]
    is_vector = np.ndim(b) == np.ndim(a) - 1
    right = b[..., None] if is_vector else b
    inverse = _inverted(a)
    _check_rank(
        "aten.linalg_lstsq", a, inverse, None, _rounding_alone(a) if rcond is None else rcond
    )
    found = _np.matmul(inverse, right)
    residuals = _np.zeros_like(found, shape=(0,))
    if rows > columns and driver != "gelsy":
        left_over = _np.matmul(a, found) - right
        residuals = _np.sum(left_over * left_over, axis=-2)
    rank = np.full(np.shape(a)[:-2], min(rows, columns))
    return found[..., 0] if is_vector else found, residuals, rank, _np.zeros_like(found, shape=(0,))


def _written(rule: Rule) -> Rule:
    """Return the rule whose results may be written to."""

    def factored(*arguments: Any, **options: Any) -> Any:
        found = rule(*arguments, **options)
        return tuple(one.copy() for one in found) if isinstance(found, tuple) else found.copy()

    return factored


RULES: Mapping[str, Rule] = {
    f"aten.{name}": _written(rule)
    for name, rule in dict[str, Rule](
        {
            "linalg_lu_factor_ex": _lu_factored,
            "linalg_lu": lambda a, pivot=True: unpacked(*_lu(a, pivot=pivot)),
            "lu_unpack": unpacked,
            "linalg_lu_solve": _lu_solve,
            "linalg_qr": _qr,
            "linalg_householder_product": _householder_product,
            "ormqr": _ormqr,
            "linalg_pinv": _pinv,
            "linalg_lstsq": _lstsq,
            "_linalg_check_errors": lambda *_, **__: (),
        }
    ).items()
}
"""The rules, by the names of ATen."""
