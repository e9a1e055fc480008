"""ATen's operations that order elements, or accumulate them along an axis."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gradcheck.capture.program import Rule
from gradcheck.numbers.formats import cast
from gradcheck.numbers.products import axes_of


def _part(x: Any, axis: int, part: Any) -> Any:
    """Return a part along an axis."""
    (axis,) = axes_of(x, axis)
    return x[(..., part, *(slice(None),) * (-1 - axis))]


def _order(x: Any, dim: int, descending: bool) -> Any:
    return np.argsort(-x if descending else x, axis=dim, kind="stable")


def _sorted(x: Any, dim: int = -1, descending: bool = False) -> tuple[Any, Any]:
    if not np.ndim(x):
        return x.copy(), np.argmax(x)
    order = _order(x, dim, descending)
    return np.take_along_axis(x, order, axis=dim), order


def _stably_sorted(
    x: Any, *, stable: bool | None = None, dim: int = -1, descending: bool = False
) -> tuple[Any, Any]:
    return _sorted(x, dim, descending)


def _topk(
    x: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> tuple[Any, Any]:
    order = _part(_order(x, dim, largest), dim, slice(0, k))
    return np.take_along_axis(x, order, axis=dim), order


def _kth(x: Any, k: int, dim: int = -1, keepdim: bool = False) -> tuple[Any, Any]:
    part = slice(k - 1, k) if keepdim else k - 1
    values, order = _sorted(x, dim)
    return _part(values, dim, part), _part(order, dim, part)


def _median(x: Any) -> Any:
    """Return the lower one of the two in the middle."""
    return _kth(np.ravel(x), (int(np.prod(np.shape(x))) + 1) // 2)[0]


def _median_along(x: Any, dim: int, keepdim: bool = False) -> tuple[Any, Any]:
    return _kth(x, (np.shape(x)[dim] + 1) // 2, dim, keepdim)


def _nanmedian_along(x: Any, dim: int, keepdim: bool = False) -> tuple[Any, Any]:
    """Return the median of what are numbers; the others come last, and alone if there are none."""
    if not np.ndim(x):
        return x.copy(), np.zeros((), int)
    count = np.sum(np.where(np.isnan(x), 0.0, 1.0), axis=dim, keepdims=True)
    order = _order(np.where(np.isnan(x), np.inf, x), dim, descending=False)
    behind = 2.0 * np.cumsum(np.ones(np.shape(x)), axis=dim) - count  # 0 or 1 in the middle
    middle = np.logical_or(np.equal(behind, 0), np.equal(behind, 1))
    place = cast(np.sum(np.where(middle, order, 0), axis=dim, keepdims=True), "int64")
    value = np.take_along_axis(x, place, axis=dim)
    if keepdim:
        return value, place
    return np.squeeze(value, dim), np.squeeze(place, dim)


def _mode(x: Any, dim: int = -1, keepdim: bool = False) -> tuple[Any, Any]:
    """Return the number that occurs most often, the smallest one of several; its last place."""
    if not np.ndim(x):
        return x.copy(), np.zeros((), int)
    values, order = _sorted(np.moveaxis(x, dim, -1))
    alike = np.equal(values[..., :, None], values[..., None, :])
    count = np.sum(np.where(alike, 1.0, 0.0), axis=-1)
    first = np.argmax(count, axis=-1, keepdims=True)
    last = cast(first + np.take_along_axis(count, first, axis=-1) - 1.0, "int64")
    place = np.take_along_axis(order, last, axis=-1)
    value = np.take_along_axis(values, last, axis=-1)
    if keepdim:
        return np.moveaxis(value, -1, dim), np.moveaxis(place, -1, dim)
    return value[..., 0], place[..., 0]


def _accumulated(function: Callable[[Any, Any], Any]) -> Rule:
    """Return the rule that applies a function of what was found so far and the next element."""

    def accumulate(x: Any, dim: int, **_: Any) -> Any:
        if not np.ndim(x) or not np.shape(x)[dim]:
            return x.copy()
        found = [_part(x, dim, 0)]
        for i in range(1, np.shape(x)[dim]):
            found.append(function(found[-1], _part(x, dim, i)))
        return np.stack(found, axis=dim)

    return accumulate


def _cumulative_extremum(find: Callable[..., Any]) -> Rule:
    """Return the rule of the extreme of the first elements, and of where the last of them is."""

    def extremum(x: Any, dim: int) -> tuple[Any, Any]:
        places = [
            i - find(np.flip(_part(x, dim, slice(0, i + 1)), dim), axis=dim)
            for i in range(np.shape(x)[dim])
        ]
        order = np.stack(places, axis=dim)
        return np.take_along_axis(x, order, axis=dim), order

    return extremum


def _cumsum(x: Any, dim: int, **_: Any) -> Any:
    return np.cumsum(x, axis=dim) if np.ndim(x) else x.copy()


RULES: Mapping[str, Rule] = {
    "aten.sort.default": _sorted,
    "aten.sort.stable": _stably_sorted,
    "aten.argsort.default": _order,
    "aten.topk": _topk,
    "aten.kthvalue": _kth,
    "aten.median.default": _median,
    "aten.median.dim": _median_along,
    "aten.nanmedian.default": lambda x: _nanmedian_along(np.ravel(x), 0)[0],
    "aten.nanmedian.dim": _nanmedian_along,
    "aten.mode": _mode,
    "aten.cumsum": _cumsum,
    "aten.cumprod": _accumulated(np.multiply),
    "aten.logcumsumexp": _accumulated(np.logaddexp),
    "aten.cummax": _cumulative_extremum(np.argmax),
    "aten.cummin": _cumulative_extremum(np.argmin),
}
"""The rules, by the names of ATen."""
