"""Extrema and orders. Which element is where is decided by comparisons.

An order that is open, because error bars meet, is a branch: it decides what is computed later, and
not all that may be computed is followed. Constants that tie, and a number and itself, leave none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradcheck.numbers.array import Batched, Function
from gradcheck.numbers.products import axes_of, cut


def _extremum(ufunc: np.ufunc, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Return the largest or the smallest along axes, by halves."""
    axes = axes_of(x, axis)
    result = x
    for one in axes:
        if not x.shape[one]:
            raise ValueError(f"{ufunc.__name__} of no numbers")
        while result.shape[one] > 1:
            count = result.shape[one]
            low, high = (
                cut(result, one, slice(start, start + (count + 1) // 2))
                for start in (0, count // 2)
            )
            result = ufunc(low, high)
    result = (result if keepdims else np.squeeze(result, axes)).copy()
    return result.is_result_of(("extremum", ufunc.__name__, axes, keepdims), [x])


def _any(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return _extremum(np.logical_or, x if x.is_mask else x != 0, axis, keepdims)


def _all(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return _extremum(np.logical_and, x if x.is_mask else x != 0, axis, keepdims)


def _one_axis(x: Any, axis: Any) -> tuple[Any, int]:
    if axis is None:
        return np.ravel(x), -1
    return x, axes_of(x, axis)[0]


def _argmax(x: Any, axis: Any = None, *, keepdims: bool = False, least: bool = False) -> Any:
    """Return where the largest element is; a tie, or what rounding makes one, is a branch."""
    x, axis = _one_axis(x, axis)
    top = _extremum(np.minimum if least else np.maximum, x, axis, keepdims=True)
    x.choices.branch((x == top).left_open)
    order = (x if least else -x).order(axis)
    places = np.take(order, 0, axis=axis)
    places = np.expand_dims(places, axis) if keepdims else places
    return _per_sample(x, places, x.ndim if keepdims else x.ndim - 1)


def _per_sample(x: Any, places: Any, ndim: int) -> Any:
    """Return integers of each sample as numbers of the kind of `x`."""
    lead = x.parts[0].shape[: x.hidden]
    return x.with_parts([np.broadcast_to(places, (*lead, *places.shape[places.ndim - ndim :]))])


def _argsort(x: Any, axis: Any = -1, kind: Any = None, *, stable: Any = None) -> Any:
    """Return from where the sorted elements come."""
    x, axis = _one_axis(x, axis)
    order = _per_sample(x, x.order(axis), x.ndim)
    arranged = take_along(x, order, axis)
    low, high = cut(arranged, axis, slice(None, -1)), cut(arranged, axis, slice(1, None))
    x.choices.branch((low < high).left_open)
    return order


def _sort(x: Any, axis: Any = -1, kind: Any = None, *, stable: Any = None) -> Any:
    x, axis = _one_axis(x, axis)
    return take_along(x, _argsort(x, axis), axis)


def take_along(x: Any, indices: Any, axis: Any = -1) -> Any:
    """Take elements along an axis, by integers that may differ from sample to sample."""
    return x[_along(x, indices, axis)]


def _along(x: Any, indices: Any, axis: int) -> tuple[Any, ...]:
    """Return an index of all axes, one of which is given."""
    ndim = len(np.shape(x))
    axis %= ndim
    return tuple(
        indices
        if one == axis
        else np.arange(np.shape(x)[one]).reshape([-1 if i == one else 1 for i in range(ndim)])
        for one in range(ndim)
    )


def _put_along(x: Any, indices: Any, values: Any, axis: int) -> None:
    x[_along(x, indices, axis)] = values


def _take(x: Any, indices: Any, axis: Any = None, **options: Any) -> Any:
    """Take elements; by numbers that differ from sample to sample as an index does."""
    if isinstance(indices, Batched):
        x = np.ravel(x) if axis is None else x
        if axis not in (None, 0):
            x = np.moveaxis(x, axis, 0)
        return np.moveaxis(x[indices], 0, axis) if axis not in (None, 0) else x[indices]
    return x.rearranged(np.take, (x, indices, axis), options)


def _nonzero(x: Any) -> tuple[Any, ...]:
    return np.nonzero((x if x.is_mask else x != 0).decided())


def _count_nonzero(x: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    return np.sum(x if x.is_mask else x != 0, axis=axis, keepdims=keepdims)


def _ptp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return _extremum(np.maximum, x, axis, keepdims) - _extremum(np.minimum, x, axis, keepdims)


FUNCTIONS: Mapping[Function, Function] = {
    np.max: lambda x, axis=None, keepdims=False: _extremum(np.maximum, x, axis, keepdims),
    np.min: lambda x, axis=None, keepdims=False: _extremum(np.minimum, x, axis, keepdims),
    np.ptp: _ptp,
    np.any: _any,
    np.all: _all,
    np.argmax: _argmax,
    np.argmin: lambda x, axis=None, *, keepdims=False: _argmax(
        x, axis, keepdims=keepdims, least=True
    ),
    np.argsort: _argsort,
    np.argpartition: lambda x, kth, axis=-1: _argsort(x, axis),
    np.sort: _sort,
    np.partition: lambda x, kth, axis=-1: _sort(x, axis),
    np.take: _take,
    np.take_along_axis: take_along,
    np.put_along_axis: _put_along,
    np.nonzero: _nonzero,
    np.flatnonzero: lambda x: _nonzero(np.ravel(x))[0],
    np.count_nonzero: _count_nonzero,
}
"""The functions of this module, by what they stand for."""
