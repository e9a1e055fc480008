"""JAX's primitives that move the elements of arrays about, in NumPy's functions.

All of it is done with the places of elements: an array of integers says where each element of the
result comes from, and what lies outside has a place of its own behind the last one.

References
----------
OpenXLA, *Operation semantics*: Gather, Scatter, Pad.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.capture.program import Rule
from gradcheck.numbers.array import Batched
from gradcheck.numbers.errors import NoRuleError

_np: Any = np
"""NumPy, whose functions take more than they are declared to."""

Places = NDArray[np.int64]
CLIP, FILL = "CLIP", "FILL"


# Shapes


def _broadcast_in_dim(x: Any, *, shape: Any, broadcast_dimensions: Any, **_: Any) -> Any:
    sizes = [1] * len(shape)
    for axis, size in zip(broadcast_dimensions, np.shape(x), strict=True):
        sizes[axis] = size
    return _np.broadcast_to(_np.reshape(x, sizes), tuple(shape))


def _reshape(x: Any, *, new_sizes: Any, dimensions: Any = None, **_: Any) -> Any:
    return _np.reshape(x if dimensions is None else _np.transpose(x, dimensions), tuple(new_sizes))


def _slice(x: Any, *, start_indices: Any, limit_indices: Any, strides: Any = None) -> Any:
    steps = strides or [1] * len(start_indices)
    return x[tuple(map(slice, start_indices, limit_indices, steps))]


def _split(x: Any, *, sizes: Any, axis: int) -> Any:
    return tuple(_np.split(x, np.cumsum(sizes)[:-1], axis=axis))


def _unstack(x: Any, *, axis: int) -> Any:
    return tuple(x[(slice(None),) * axis + (i,)] for i in range(x.shape[axis]))


def _concatenate(*arrays: Any, dimension: int) -> Any:
    return _np.concatenate(list(arrays), axis=dimension)


def from_places(x: Any, other: Any, places: Places) -> Any:
    """Return elements of an array, and another number where a place is −1."""
    if not (places < 0).any():
        return _np.ravel(x)[places]
    if not isinstance(x, Batched) and not isinstance(other, Batched):
        other = np.asarray(other, dtype=np.asarray(x).dtype)
    return _np.concatenate([_np.ravel(x), _np.reshape(other, (1,))])[places]


def numbered(shape: Sequence[int]) -> Places:
    """Return the place of each element of an array in the flattened one."""
    return np.arange(prod(shape)).reshape(shape)


def padded(places: Places, padding: Sequence[tuple[int, int, int]]) -> Places:
    """Add −1 around places and between them, or cut them off, along each axis."""
    for axis, (low, high, between) in enumerate(padding):
        size = places.shape[axis]
        spread = size + max(0, size - 1) * between
        index = np.arange(-low, spread + high)
        inside = (index >= 0) & (index < spread) & (index % (between + 1) == 0)
        if not size:
            places = np.full((*places.shape[:axis], len(index), *places.shape[axis + 1 :]), -1)
            continue
        moved = np.take(places, np.where(inside, index // (between + 1), 0), axis=axis)
        shown = inside.reshape([-1 if i == axis else 1 for i in range(places.ndim)])
        places = np.where(shown, moved, -1)
    return places


def _pad(x: Any, value: Any, *, padding_config: Any) -> Any:
    return from_places(x, value, padded(numbered(np.shape(x)), padding_config))


# Indices


def _spread(x: Any, others: Sequence[Any]) -> Any:
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


def _is_number(*operands: Any) -> bool:
    return any(isinstance(one, Batched) for one in operands)


def _limited(start: Any, most: int) -> Any:
    """Keep the start of a window where the window fits."""
    if not _is_number(start):
        return np.clip(start, 0, most)
    start = _np.where(_np.less(start, 0), 0, start)
    return _np.where(_np.greater(start, most), most, start)


def _picked(x: Any, index: Sequence[Any]) -> Any:
    if not index:
        return x
    if _is_number(*index):
        x = _spread(x, index)
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
    result = _spread(x, [update, *index])
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
    if _mode(mode) == CLIP or (not _is_number(where.fits) and np.all(where.fits)):
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
        if _is_number(*where.index):
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
    result = _np.reshape(_spread(x, [updates]), (-1,)).copy()
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
    result = _spread(x, [updates, *where.index])
    index = tuple(where.index)
    if function is _np.sum:
        given = updates if mode == CLIP else _np.where(where.fits, updates, 0.0)
        _np.add.at(result, index, given)
        return result
    if function is not None:
        raise NoRuleError("there is no rule for a scatter to places that depend on data", "scatter")
    result[index] = updates if mode == CLIP else _np.where(where.fits, updates, result[index])
    return result


# Order


def _sort(*operands: Any, dimension: int, num_keys: int, **_: Any) -> Any:
    order: Any = None
    for key in reversed(operands[:num_keys]):
        key = key if order is None else _taken(key, order, dimension)
        found = _np.argsort(key, axis=dimension, kind="stable")
        order = found if order is None else _taken(order, found, dimension)
    results = tuple(_taken(one, order, dimension) for one in operands)
    return results if len(results) > 1 else results[0]


def _taken(x: Any, order: Any, axis: int) -> Any:
    x = _spread(x, [order]) if _is_number(order) else x
    return _np.take_along_axis(x, order, axis)


def _top_k(x: Any, *, k: int, axis: int = -1, **_: Any) -> Any:
    order = _np.argsort(-x, axis=axis, kind="stable")
    order = _np.take(order, np.arange(k), axis=axis)
    return _taken(x, order, axis), order


RULES: Mapping[str, Rule] = {
    "broadcast_in_dim": _broadcast_in_dim,
    "reshape": _reshape,
    "transpose": lambda x, permutation: _np.transpose(x, permutation),
    "squeeze": lambda x, dimensions: _np.squeeze(x, tuple(dimensions)),
    "expand_dims": lambda x, dimensions: _np.expand_dims(x, tuple(dimensions)),
    "slice": _slice,
    "split": _split,
    "stack": lambda *arrays, axis: _np.stack(arrays, axis=axis),
    "unstack": _unstack,
    "concatenate": _concatenate,
    "rev": lambda x, dimensions: _np.flip(x, tuple(dimensions)),
    "tile": lambda x, reps: _np.tile(x, tuple(reps)),
    "pad": _pad,
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
    "sort": _sort,
    "top_k": _top_k,
}
