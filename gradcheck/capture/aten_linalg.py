"""ATen's matrix products, attention and linear algebra, in NumPy's functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradcheck.capture.program import Rule
from gradcheck.numbers.softmax import softmax

_np: Any = np
"""NumPy, whose functions take more than they are declared to."""


def _scaled(x: Any, factor: Any) -> Any:
    return x if factor == 1 else x * factor


def _product_added(bias: Any, a: Any, b: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    product = _scaled(_np.matmul(a, b), alpha)
    return product if beta == 0 else _scaled(bias, beta) + product


def _outer_added(bias: Any, a: Any, b: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    product = _scaled(a[:, None] * b[None, :], alpha)
    return product if beta == 0 else _scaled(bias, beta) + product


def _products_summed(bias: Any, a: Any, b: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    product = _scaled(_np.einsum("bij,bjk->ik", a, b), alpha)
    return product if beta == 0 else _scaled(bias, beta) + product


def transposed(a: Any) -> Any:
    """Exchange the last two axes."""
    return _np.swapaxes(a, -1, -2)


# Attention


def _scores(q: Any, k: Any, causal: bool, mask: Any, scale: Any) -> Any:
    scale = 1 / _np.sqrt(float(q.shape[-1])) if scale is None else scale
    scores = _np.matmul(q, transposed(k)) * scale
    if mask is not None:
        scores = scores + mask
    if causal:
        future = np.triu(np.ones((q.shape[-2], k.shape[-2]), bool), 1)
        scores = _np.where(future, -np.inf, scores)
    return scores


def _weights(scores: Any) -> tuple[Any, Any]:
    """Return the softmax along the last axis, and the logarithm of its denominator."""
    top = _np.max(scores, axis=-1, keepdims=True)
    powers = _np.exp(scores - top)
    total = _np.sum(powers, axis=-1, keepdims=True)
    return softmax(scores, -1), _np.squeeze(_np.log(total) + top, -1)


def _attention(
    q: Any,
    k: Any,
    v: Any,
    dropout: float = 0.0,
    causal: bool = False,
    *,
    attn_mask: Any = None,
    scale: Any = None,
) -> tuple[Any, Any]:
    weights, logsumexp = _weights(_scores(q, k, causal, attn_mask, scale))
    return _np.matmul(weights, v), logsumexp


def _attention_backward(
    g: Any,
    q: Any,
    k: Any,
    v: Any,
    out: Any,
    logsumexp: Any,
    dropout: float,
    causal: bool,
    *,
    attn_mask: Any = None,
    scale: Any = None,
) -> tuple[Any, Any, Any]:
    weights, _ = _weights(_scores(q, k, causal, attn_mask, scale))
    d_weights = _np.matmul(g, transposed(v))
    inner = _np.sum(g * out, axis=-1, keepdims=True)
    factor = 1 / _np.sqrt(float(q.shape[-1])) if scale is None else scale
    d_scores = weights * (d_weights - inner) * factor
    return (
        _np.matmul(d_scores, k),
        _np.matmul(transposed(d_scores), q),
        _np.matmul(transposed(weights), g),
    )


# Linear algebra


def no_error(x: Any) -> Any:
    """Return the report of a factorisation that has succeeded."""
    return np.zeros(np.shape(x)[:-2], np.int32)


def solve(a: Any, b: Any, left: bool = True) -> Any:
    """Solve AX = B; of vectors as many as there are matrices, or XA = B."""
    vector = b.ndim == 1 or (b.ndim == a.ndim - 1 and b.shape == a.shape[:-1])
    b = b[..., None] if vector else b
    if left:
        found = _np.linalg.solve(a, b)
    else:
        found = transposed(_np.linalg.solve(transposed(a), transposed(b)))
    return found[..., 0] if vector else found


def _solve_ex(
    a: Any, b: Any, *, left: bool = True, check_errors: bool = False
) -> tuple[Any, Any, Any, Any]:
    return solve(a, b, left), *factored(a), no_error(a)


def factored(a: Any) -> tuple[Any, Any]:
    """Return what stands for the factors of a matrix where it is solved again.

    Nothing else may look at them: in the place of the exchanges of rows is the matrix itself, and
    the factors say that none of the pivots is zero.
    """
    return _np.ones_like(a), a


def _triangle(a: Any, upper: bool, unit: bool) -> Any:
    part = _np.triu(a, 1 if unit else 0) if upper else _np.tril(a, -1 if unit else 0)
    return part + np.eye(a.shape[-1]) if unit else part


def _solve_triangular(
    a: Any, b: Any, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Any:
    return solve(_triangle(a, upper, unitriangular), b, left)


def _triangular_solve(
    b: Any, a: Any, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> tuple[Any, Any]:
    a = _triangle(a, upper, unitriangular)
    return solve(transposed(a) if transpose else a, b), a


def _cholesky(a: Any, upper: bool = False) -> Any:
    lower = _np.linalg.cholesky(
        _np.tril(a) + transposed(_np.tril(a, -1))
        if not upper
        else (_np.triu(a) + transposed(_np.triu(a, 1)))
    )
    return transposed(lower) if upper else lower


def _cholesky_ex(a: Any, *, upper: bool = False, check_errors: bool = False) -> tuple[Any, Any]:
    return _cholesky(a, upper), no_error(a)


def _cholesky_solve(b: Any, factor: Any, upper: bool = False) -> Any:
    lower = transposed(_np.triu(factor)) if upper else _np.tril(factor)
    return solve(_np.matmul(lower, transposed(lower)), b)


def _cholesky_inverse(factor: Any, upper: bool = False) -> Any:
    lower = transposed(_np.triu(factor)) if upper else _np.tril(factor)
    return _np.linalg.inv(_np.matmul(lower, transposed(lower)))


def _det(a: Any) -> tuple[Any, ...]:
    return _np.linalg.det(a), *factored(a)


def _slogdet(a: Any) -> tuple[Any, ...]:
    return *_np.linalg.slogdet(a), *factored(a)


def _cross(a: Any, b: Any, *, dim: int = -1) -> Any:
    a, b = _np.moveaxis(a, dim, -1), _np.moveaxis(b, dim, -1)
    (a0, a1, a2), (b0, b1, b2) = ([x[..., i] for i in range(3)] for x in (a, b))
    found = _np.stack([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], axis=-1)
    return _np.moveaxis(found, -1, dim)


RULES: Mapping[str, Rule] = {
    f"aten.{name}": rule
    for name, rule in {
        "mm": _np.matmul,
        "bmm": _np.matmul,
        "mv": _np.matmul,
        "dot": _np.matmul,
        "vdot": _np.matmul,
        "addmm": _product_added,
        "addmv": _product_added,
        "baddbmm": _product_added,
        "addbmm": _products_summed,
        "addr": _outer_added,
        "outer": lambda a, b: a[:, None] * b[None, :],
        "trace": _np.trace,
        "linalg_cross": _cross,
        "_scaled_dot_product_flash_attention_for_cpu": _attention,
        "_scaled_dot_product_flash_attention_for_cpu_backward": _attention_backward,
        "_linalg_solve_ex": _solve_ex,
        "linalg_solve_triangular": _solve_triangular,
        "triangular_solve": _triangular_solve,
        "linalg_inv_ex": lambda a, check_errors=False: (_np.linalg.inv(a), no_error(a)),
        "linalg_cholesky_ex": _cholesky_ex,
        "cholesky": _cholesky,
        "cholesky_solve": _cholesky_solve,
        "cholesky_inverse": _cholesky_inverse,
        "_linalg_det": _det,
        "_linalg_slogdet": _slogdet,
        "_linalg_det.default of rows": lambda a: _det(transposed(a)),
        "_linalg_slogdet.default of rows": lambda a: _slogdet(transposed(a)),
    }.items()
}
