"""Gathering elements by tables of places, and adding elements up where they are scattered to.

Places are plain integers, the same for all samples, so that each sum is one sum and not a chain.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.numbers.array import Batched

Places = NDArray[np.int64]


def is_plain(x: Any) -> bool:
    """Tell whether these are integers or truth values that are the same for all samples."""
    return not isinstance(x, Batched)


def with_zero(x: Any) -> Any:
    """Append a zero to the last axis."""
    return np.concatenate([x, np.zeros_like(x, shape=(*np.shape(x)[:-1], 1))], axis=-1)


def taken(x: Any, places: Places, valid: NDArray[np.bool_]) -> Any:
    """Return elements of the last axis, and zeros where a place is not valid."""
    if valid.all():
        return x[..., places]
    return with_zero(x)[..., np.where(valid, places, np.shape(x)[-1])]


def gathered_sums(values: Any, places: Places, size: int) -> Any:
    """Add up what belongs to the same place.

    Parameters
    ----------
    values, places
        What is added, shape `(…, n)`, and where to, shape `(n,)`.
    size
        How many places there are.

    Returns
    -------
    Any
        The sums, shape `(…, size)`; zero where nothing is added.
    """
    count = np.bincount(places, minlength=size)
    most = max(1, int(count.max(initial=0)))
    order = np.argsort(places, kind="stable")
    rank = np.arange(len(places)) - np.repeat(np.cumsum(count) - count, count)
    table = np.full((size, most), -1)
    table[places[order], rank] = order
    found = taken(values, table, table >= 0)
    return found[..., 0] if most == 1 else np.sum(found, axis=-1)


def added(x: Any, places: Places, values: Any) -> Any:
    """Return an array with values added to its elements, several to one if it occurs again.

    Parameters
    ----------
    places, values
        Where in the flattened array, of any shape; values are broadcast to it.
    """
    shape, size = np.shape(x), int(np.prod(np.shape(x)))
    values = np.reshape(np.broadcast_to(values, places.shape), (-1,))
    terms = np.concatenate([np.reshape(x, (-1,)), values])
    sums = gathered_sums(terms, np.concatenate([np.arange(size), places.reshape(-1)]), size)
    return np.reshape(sums, shape)


def numbered(shape: Any) -> Places:
    """Return the place of each element of an array in the flattened array."""
    return np.arange(int(np.prod(shape))).reshape(shape)


def lanes(x: Any, dim: int, index: Any) -> tuple[Any, ...]:
    """Return an index of all axes: the given one along `dim`, else each its own place."""
    ndim = np.ndim(index)
    grid = np.ogrid[tuple(slice(0, n) for n in np.shape(index))]
    return tuple(index if axis == dim % ndim else grid[axis] for axis in range(ndim))
