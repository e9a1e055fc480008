"""JAX's primitives that reduce and accumulate along axes, in NumPy's functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradcheck.capture.program import Rule
from gradcheck.numbers.array import Batched

_np: Any = np
"""NumPy, whose functions take more than they are declared to."""


def _along(function: Any) -> Rule:
    def rule(x: Any, *, axes: Any, **_: Any) -> Any:
        return function(x, axis=tuple(axes)) if axes else x

    return rule


def _count(x: Any, *, axes: Any, **_: Any) -> Any:
    """Add up integers, which stay integers."""
    if not isinstance(x, Batched):
        return np.sum(x, axis=tuple(axes))
    if not x.is_discrete:
        return _np.sum(x, axis=tuple(axes))
    return x.with_parts([x.parts[0].sum(axis=tuple(axis - x.ndim for axis in axes))])


def _place(function: Any) -> Rule:
    def rule(x: Any, *, axes: Any, **_: Any) -> Any:
        (axis,) = axes
        return function(x, axis=axis)

    return rule


def _accumulated(function: Any) -> Rule:
    """Return the rule of what goes on along an axis."""

    def rule(x: Any, *, axis: int, reverse: bool = False) -> Any:
        x = _np.flip(x, axis) if reverse else x
        rows = [
            _np.take(x, [i], axis=axis)  # a part of length one
            for i in range(x.shape[axis])
        ]
        if not rows:
            return x
        for i in range(1, len(rows)):
            rows[i] = function(rows[i - 1], rows[i])
        result = _np.concatenate(rows, axis=axis)
        return _np.flip(result, axis) if reverse else result

    return rule


def _counted(x: Any, *, axis: int, reverse: bool = False) -> Any:
    """Add up integers along an axis; the sums stay integers."""
    if not isinstance(x, Batched) or not x.is_discrete:
        return _cumsum(x, axis=axis, reverse=reverse)
    values, axis = x.parts[0].astype(np.int64), axis - x.ndim
    if reverse:
        return x.with_parts([np.flip(np.cumsum(np.flip(values, axis), axis), axis)])
    return x.with_parts([np.cumsum(values, axis)])


def _cumsum(x: Any, *, axis: int, reverse: bool = False) -> Any:
    if not reverse:
        return _np.cumsum(x, axis=axis)
    return _np.flip(_np.cumsum(_np.flip(x, axis), axis=axis), axis)


RULES: Mapping[str, Rule] = {
    "reduce_sum": _along(_np.sum),
    "reduce_sum.int": _count,
    "reduce_prod": _along(_np.prod),
    "reduce_max": _along(_np.max),
    "reduce_min": _along(_np.min),
    "reduce_or": _along(_np.any),
    "reduce_and": _along(_np.all),
    "argmax": _place(_np.argmax),
    "argmin": _place(_np.argmin),
    "cumsum": _cumsum,
    "cumsum.int": _counted,
    "cumprod": _accumulated(lambda a, b: a * b),
    "cummax": _accumulated(_np.maximum),
    "cummin": _accumulated(_np.minimum),
    "cumlogsumexp": _accumulated(_np.logaddexp),
}
