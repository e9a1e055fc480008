"""JAX's primitives that move the elements of arrays about, in NumPy's functions.

All of it is done with the places of elements: an array of integers says where each element of the
result comes from, and what lies outside has a place of its own behind the last one.

References
----------
OpenXLA, *Operation semantics*: Pad.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.capture.program import Rule
from gradcheck.numbers.array import Batched

_np: Any = np
"""NumPy, whose functions take more than they are declared to."""

Places = NDArray[np.int64]


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
}
