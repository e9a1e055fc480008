"""JAX's primitives that sort, in NumPy's functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradcheck.capture.lax_indexing import is_number, spread
from gradcheck.capture.program import Rule

_np: Any = np
"""NumPy, whose functions take more than they are declared to."""


def _sort(*operands: Any, dimension: int, num_keys: int, **_: Any) -> Any:
    order: Any = None
    for key in reversed(operands[:num_keys]):
        key = key if order is None else _taken(key, order, dimension)
        found = _np.argsort(key, axis=dimension, kind="stable")
        order = found if order is None else _taken(order, found, dimension)
    results = tuple(_taken(one, order, dimension) for one in operands)
    return results if len(results) > 1 else results[0]


def _taken(x: Any, order: Any, axis: int) -> Any:
    x = spread(x, [order]) if is_number(order) else x
    return _np.take_along_axis(x, order, axis)


def _top_k(x: Any, *, k: int, axis: int = -1, **_: Any) -> Any:
    order = _np.argsort(-x, axis=axis, kind="stable")
    order = _np.take(order, np.arange(k), axis=axis)
    return _taken(x, order, axis), order


RULES: Mapping[str, Rule] = {
    "sort": _sort,
    "top_k": _top_k,
}
