"""ATen's sums, extrema and norms, and what is made of them, in NumPy's functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradcheck.capture.aten_elementwise import truth
from gradcheck.capture.program import Rule
from gradcheck.numbers.softmax import softmax

_np: Any = np
"""NumPy, whose functions take more than they are declared to."""


def _axes(dim: Any) -> Any:
    if dim is None or dim == [] or dim == ():
        return None
    return tuple(dim) if isinstance(dim, list | tuple) else dim


def _as_float(x: Any) -> Any:
    return _np.where(x, 1.0, 0.0) if getattr(x, "stored", _np.dtype(float)).kind == "b" else x


def _sum(x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    return _np.sum(_as_float(x), axis=_axes(dim), keepdims=keepdim)


def _mean(x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    return _np.mean(x, axis=_axes(dim), keepdims=keepdim)


def _correction(dim: Any, unbiased: Any, correction: Any) -> tuple[Any, float]:
    """Read the overloads of variances: some have `unbiased` in the place of `dim`."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if correction is not None:
        return dim, correction
    return dim, 1 if unbiased is None or unbiased else 0


def _var(
    x: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None
) -> Any:
    dim, ddof = _correction(dim, unbiased, correction)
    return _np.var(x, axis=_axes(dim), ddof=ddof, keepdims=keepdim)


def _std(x: Any, *arguments: Any, **options: Any) -> Any:
    return _np.sqrt(_var(x, *arguments, **options))


def _var_mean(
    x: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None
) -> tuple[Any, Any]:
    variance = _var(x, dim, unbiased, keepdim, correction=correction)
    dim, _ = _correction(dim, unbiased, correction)
    return variance, _mean(x, dim, keepdim)


def _std_mean(x: Any, *arguments: Any, **options: Any) -> tuple[Any, Any]:
    variance, mean = _var_mean(x, *arguments, **options)
    return _np.sqrt(variance), mean


def _extremum(extreme: Any, where: Any) -> Rule:
    def rule(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
        if dim is None:
            return extreme(x)
        if not x.ndim:
            return x, np.zeros((), np.int64)
        place = where(x, axis=dim, keepdims=True)
        value = extreme(x, axis=dim, keepdims=True)
        if keepdim:
            return value, place
        return _np.squeeze(value, dim), _np.squeeze(place, dim)

    return rule


def _along(function: Any) -> Rule:
    def rule(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
        return function(x, axis=_axes(dim), keepdims=keepdim)

    return rule


def vector_norm(
    x: Any, order: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Any:
    """Return (Σ|x|^order)^(1/order), and what that tends to or counts at its ends."""
    axes, size = _axes(dim), _np.absolute(x)
    if order == float("inf"):
        return _np.max(size, axis=axes, keepdims=keepdim)
    if order == -float("inf"):
        return _np.min(size, axis=axes, keepdims=keepdim)
    if order == 0:
        return _np.sum(_np.where(_np.equal(x, 0), 0.0, 1.0), axis=axes, keepdims=keepdim)
    if order == 1:
        return _np.sum(size, axis=axes, keepdims=keepdim)
    if order == 2:
        return _np.sqrt(_np.sum(x * x, axis=axes, keepdims=keepdim))
    return _np.sum(size**order, axis=axes, keepdims=keepdim) ** (1.0 / order)


def _norm(x: Any, p: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    return vector_norm(x, 2 if p is None else p, dim, keepdim)


def _logsumexp(x: Any, dim: Any, keepdim: bool = False) -> Any:
    axes = _axes(dim)
    top = _np.max(x, axis=axes, keepdims=True)
    top = _np.where(_np.isinf(top), 0.0, top)
    total = _np.log(_np.sum(_np.exp(x - top), axis=axes, keepdims=True)) + top
    return total if keepdim else _np.squeeze(total, axes if axes is not None else None)


def _softmax(x: Any, dim: Any, half_to_float: bool = False) -> Any:
    if not x.ndim:
        return _np.ones_like(x)
    return softmax(x, dim)


def _log_softmax(x: Any, dim: Any, half_to_float: bool = False) -> Any:
    if not x.ndim:
        return _np.zeros_like(x)
    shifted = x - _np.max(x, axis=dim, keepdims=True)
    return shifted - _np.log(_np.sum(_np.exp(shifted), axis=dim, keepdims=True))


def _softmax_backward(g: Any, y: Any, dim: Any, dtype: Any = None) -> Any:
    if not y.ndim:
        return _np.zeros_like(y)
    return y * (g - _np.sum(g * y, axis=dim, keepdims=True))


def _log_softmax_backward(g: Any, y: Any, dim: Any, dtype: Any = None) -> Any:
    if not y.ndim:
        return _np.zeros_like(y)
    return g - _np.exp(y) * _np.sum(g, axis=dim, keepdims=True)


def _argument(where: Any) -> Rule:
    def rule(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
        return where(x, axis=dim, keepdims=keepdim)

    return rule


def _prod(x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    return _np.prod(x, axis=_axes(dim), keepdims=keepdim)


RULES: Mapping[str, Rule] = {
    f"aten.{name}": rule
    for name, rule in {
        "sum": _sum,
        "mean": _mean,
        "var": _var,
        "std": _std,
        "var_mean": _var_mean,
        "std_mean": _std_mean,
        "amax": _along(_np.max),
        "amin": _along(_np.min),
        "max": _extremum(_np.max, _np.argmax),
        "min": _extremum(_np.min, _np.argmin),
        "max.other": _np.maximum,
        "min.other": _np.minimum,
        "argmax": _argument(_np.argmax),
        "argmin": _argument(_np.argmin),
        "any": _along(lambda x, **options: _np.any(truth(x), **options)),
        "all": _along(lambda x, **options: _np.all(truth(x), **options)),
        "prod": _prod,
        "linalg_vector_norm": vector_norm,
        "norm": _norm,
        "logsumexp": _logsumexp,
        "_softmax": _softmax,
        "_log_softmax": _log_softmax,
        "_softmax_backward_data": _softmax_backward,
        "_log_softmax_backward_data": _log_softmax_backward,
    }.items()
}
