"""JAX's primitives that take and put elements by their places, in NumPy's functions.

References
----------
OpenXLA, *Operation semantics*: DynamicSlice, Gather, Scatter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gradcheck.capture.lax_arrays import Places, numbered
from gradcheck.capture.program import Rule
from gradcheck.numbers.array import Batched
from gradcheck.numbers.errors import NoRuleError

_np: Any = np
"""NumPy, whose functions take more than they are declared to."""

CLIP, FILL = "CLIP", "FILL"


def spread(x: Any, others: Sequence[Any]) -> Any:
    """Return a copy that may be written to, with all the samples of other operands."""
    numbers = [one for one in (x, *others) if isinstance(one, Batched)]
    if not numbers:
        return np.array(x)
    like: Any = max(numbers, key=lambda one: one.hidden)
    if not isinstance(x, Batched):
        return _np.full_like(like, x, dtype=np.asarray(x).dtype, shape=np.shape(x))
    if x.hidden == like.hidden:
        return x.copy()
    everywhere = _np.full_like(like, True, dtype=bool, shape=x.shape)
    return _np.where(everywhere, x, x)


def is_number(*operands: Any) -> bool:
    """Tell whether one of these depends on an input."""
    return any(isinstance(one, Batched) for one in operands)


def _limited(start: Any, most: int) -> Any:
    """Keep the start of a window where the window fits."""
    if not is_number(start):
        return np.clip(start, 0, most)
    start = _np.where(_np.less(start, 0), 0, start)
    return _np.where(_np.greater(start, most), most, start)


def _picked(x: Any, index: Sequence[Any]) -> Any:
    if not index:
        return x
    if is_number(*index):
        x = spread(x, index)
    return x[tuple(index)]


def _window(starts: Sequence[Any], shape: Sequence[int], sizes: Sequence[int]) -> list[Any]:
    """Return the index of a window whose starts are numbers."""
    axes = len(shape)
    return [
        _limited(start, full - size)
        + np.arange(size).reshape([-1 if i == axis else 1 for i in range(axes)])
        for axis, (start, full, size) in enumerate(zip(starts, shape, sizes, strict=True))
    ]


def _dynamic_slice(x: Any, *starts: Any, slice_sizes: Any) -> Any:
    return _picked(x, _window(starts, np.shape(x), slice_sizes))


def _dynamic_update_slice(x: Any, update: Any, *starts: Any) -> Any:
    index = _window(starts, np.shape(x), np.shape(update))
    result = spread(x, [update, *index])
    result[tuple(index) or ...] = update
    return result


class Located:
    """Where the windows of a gather or a scatter lie in the operand.

    Parameters
    ----------
    shape
        The operand's.
    indices
        Integers, the last axis for the axes of the operand.
    sizes
        A window's, along each axis of the operand.
    window_axes
        Those of the result, or of the updates, that are the window's.
    dropped, mapped, batched, index_batched
        Axes of the operand that a window lacks; that the indices are for; and those along which
        operand and indices are a batch.
    """

    def __init__(
        self,
        shape: Sequence[int],
        indices: Any,
        sizes: Sequence[int],
        window_axes: Sequence[int],
        dropped: Sequence[int],
        mapped: Sequence[int],
        batched: Sequence[int],
        index_batched: Sequence[int],
    ) -> None:
        outer = np.shape(indices)[:-1]
        ndim = len(outer) + len(window_axes)
        batch_axes = [axis for axis in range(ndim) if axis not in window_axes]
        inner = [axis for axis in range(len(shape)) if axis not in (*dropped, *batched)]
        along = dict(zip(inner, window_axes, strict=True))

        def placed(array: Any, axes: Sequence[int]) -> Any:
            full = [1] * ndim
            for axis, size in zip(axes, np.shape(array), strict=True):
                full[axis] = size
            return _np.reshape(array, full)

        self.index: list[Any] = []
        self.fits: Any = True
        for axis, full in enumerate(shape):
            start: Any = np.zeros([1] * ndim, np.int64)
            if axis in mapped:
                start = placed(indices[..., list(mapped).index(axis)], batch_axes)
                most = full - sizes[axis]
                inside = _np.logical_and(_np.greater_equal(start, 0), _np.less_equal(start, most))
                self.fits = _np.logical_and(self.fits, inside)
                start = _limited(start, most)
            elif axis in batched:
                own = index_batched[list(batched).index(axis)]
                start = placed(np.arange(full), [batch_axes[own]])
            if axis in along:
                start = start + placed(np.arange(sizes[axis]), [along[axis]])
            self.index.append(start)


def _mode(mode: Any) -> str:
    name = str(mode).upper()
    return CLIP if "CLIP" in name or "PROMISE" in name else FILL


def _gather(
    x: Any,
    indices: Any,
    *,
    dimension_numbers: Any,
    slice_sizes: Any,
    mode: Any = None,
    fill_value: Any = None,
    **_: Any,
) -> Any:
    of = dimension_numbers
    where = Located(
        np.shape(x),
        indices,
        slice_sizes,
        of.offset_dims,
        of.collapsed_slice_dims,
        of.start_index_map,
        of.operand_batching_dims,
        of.start_indices_batching_dims,
    )
    found = _picked(x, where.index)
    if _mode(mode) == CLIP or (not is_number(where.fits) and np.all(where.fits)):
        return found
    if fill_value is None:
        kind = found.dtype
        fill_value = {"f": np.nan, "b": True, "u": np.iinfo("u8").max}.get(kind.kind)
        fill_value = np.iinfo(kind).min if kind.kind == "i" else fill_value
    return _np.where(where.fits, found, fill_value)


def _scatter(function: Any = None, neutral: Any = None) -> Rule:
    """Return the rule of a scatter that combines by a function; the last one counts without."""

    def rule(
        x: Any, indices: Any, updates: Any, *, dimension_numbers: Any, mode: Any = None, **_: Any
    ) -> Any:
        of = dimension_numbers
        inner = [
            axis
            for axis in range(np.ndim(x))
            if axis not in (*of.inserted_window_dims, *of.operand_batching_dims)
        ]
        sizes = [1] * np.ndim(x)
        for axis, own in zip(inner, of.update_window_dims, strict=True):
            sizes[axis] = np.shape(updates)[own]
        where = Located(
            np.shape(x),
            indices,
            sizes,
            of.update_window_dims,
            of.inserted_window_dims,
            of.scatter_dims_to_operand_dims,
            of.operand_batching_dims,
            of.scatter_indices_batching_dims,
        )
        if is_number(*where.index):
            return _scattered_by_numbers(x, where, updates, function, _mode(mode))
        full = np.shape(updates)
        places: Any = numbered(np.shape(x))
        places = places[tuple(where.index)] if where.index else places
        places = np.broadcast_to(places, full).ravel()
        kept = np.flatnonzero(
            np.broadcast_to(True if _mode(mode) == CLIP else where.fits, full).ravel()
        )
        given = _np.ravel(updates)[kept]
        return combined(x, places[kept], given, function, neutral)

    return rule


def combined(x: Any, places: Places, updates: Any, function: Any, neutral: Any = None) -> Any:
    """Combine elements with all updates of their places at once: in which order is left open.

    Parameters
    ----------
    places, updates
        Shape `(n,)`; places are those of the flattened array.
    function
        Reduces along an axis; `None` for the last update of a place.
    neutral
        What leaves its result as it is; `None` if the element itself does.
    """
    if not len(places):
        return x
    result = _np.reshape(spread(x, [updates]), (-1,)).copy()
    if function is None:
        last = dict(zip(places.tolist(), range(len(places)), strict=True))
        result[np.array(list(last))] = updates[np.array(list(last.values()))]
        return _np.reshape(result, np.shape(x))
    touched, rows, counts = np.unique(places, return_inverse=True, return_counts=True)
    order = np.argsort(rows, kind="stable")
    column = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
    size = result.shape[0]
    spare = size + len(places)
    table = np.full((len(touched), 1 + counts.max()), spare)
    table[:] = touched[:, None] if neutral is None else spare
    table[:, 0] = touched
    table[rows[order], 1 + column] = size + order
    terms = [result, updates]
    if neutral is not None:
        terms.append(np.full(1, neutral, dtype=getattr(result, "dtype", None)))
    result[touched] = function(_np.concatenate(terms)[table], axis=-1)
    return _np.reshape(result, np.shape(x))


def _scattered_by_numbers(x: Any, where: Located, updates: Any, function: Any, mode: str) -> Any:
    result = spread(x, [updates, *where.index])
    index = tuple(where.index)
    if function is _np.sum:
        given = updates if mode == CLIP else _np.where(where.fits, updates, 0.0)
        _np.add.at(result, index, given)
        return result
    if function is not None:
        raise NoRuleError("there is no rule for a scatter to places that depend on data", "scatter")
    result[index] = updates if mode == CLIP else _np.where(where.fits, updates, result[index])
    return result


RULES: Mapping[str, Rule] = {
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
    "gather": _gather,
    "scatter": _scatter(),
    "scatter-add": _scatter(_np.sum, 0),
    "scatter_add": _scatter(_np.sum, 0),
    "scatter-mul": _scatter(_np.prod, 1),
    "scatter_mul": _scatter(_np.prod, 1),
    "scatter-min": _scatter(_np.min),
    "scatter_min": _scatter(_np.min),
    "scatter-max": _scatter(_np.max),
    "scatter_max": _scatter(_np.max),
}
