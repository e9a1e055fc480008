"""Which results are one quantity: what the same operands yield twice is the same.

A number that is compared with itself is equal, however wide its error bar. So every array has a
`Quantity`, one for all samples, which says by what operation it was computed from which others.
Two that say the same are one object (value numbering), so that the usual question is answered by
`is`; where they differ, as two views of one array do, `identical` looks at their elements.

References
----------
J. Cocke and J. T. Schwartz, *Programming Languages and Their Compilers*, NYU 1970, on value
numbering.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from hashlib import blake2b
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]
"""Positions in a flattened array, −1 for a zero that is none of it; shape `(n or 1, *shape)`."""

DEPTH = 8
"""How many operations back two results are followed whose elements may be the same."""
LARGEST_CONSTANT = 4096
"""Bytes of a constant array that is compared by what it holds."""


class Quantity:
    """What an array of one shape holds, in all samples.

    Parameters
    ----------
    shape
        One sample's.
    operation
        What was done, options included; `None` for what is given, or moved.
    sources
        To what it was done.
    elementwise
        Whether each element depends on the sources' elements at its own place only.
    places
        Of what is only moved from its one source, from where; computed when it is asked for.
    """

    __slots__ = ("_places", "elementwise", "operation", "shape", "sources")

    def __init__(
        self,
        shape: tuple[int, ...],
        operation: Hashable = None,
        sources: Sequence[Quantity] = (),
        elementwise: bool = False,
        places: Callable[[], Places] | None = None,
    ) -> None:
        self.shape, self.operation, self.sources = shape, operation, tuple(sources)
        self.elementwise, self._places = elementwise, places

    @property
    def origin(self) -> Quantity:
        """What its elements are moved from."""
        source = self
        while source._places is not None:
            (source,) = source.sources
        return source

    def traced(self, places: Places) -> tuple[Quantity, Places]:
        """Follow elements back to where they were computed."""
        source = self
        while source._places is not None:
            places = _taken(source._places(), places)
            (source,) = source.sources
        return source, places


class Numbering:
    """The quantities of one evaluation, by how they were computed."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Quantity] = {}

    def computed(
        self,
        operation: Hashable,
        sources: Sequence[Quantity],
        shape: tuple[int, ...],
        *,
        elementwise: bool = False,
        commutes: bool = False,
        places: Callable[[], Places] | None = None,
    ) -> Quantity:
        """Return the quantity that an operation yields, the same one each time."""
        ids = map(id, sources)
        key = (operation, *(sorted(ids) if commutes else ids))
        found = self._known.get(key)
        if found is None:  # it keeps its sources, so that none can take another's id
            found = self._known[key] = Quantity(shape, operation, sources, elementwise, places)
        return found

    def constant(self, value: NDArray[Any], kind: str = "") -> Quantity:
        """Return the quantity, in a format, of an array that does not depend on anything."""
        if value.nbytes > LARGEST_CONSTANT or value.dtype.hasobject:
            return Quantity(value.shape)
        return self.computed(
            (value.dtype.char, kind, value.shape, value.tobytes()), (), value.shape
        )


def identical(a: Quantity, b: Quantity, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Tell which elements of two arrays that broadcast are the same quantity.

    Returns
    -------
    numpy.ndarray
        Truth values that broadcast to `(n, *shape)`.
    """
    return np.asarray(_identical(a, _own(a, shape), b, _own(b, shape), DEPTH))


def extremum_axes(x: Quantity, top: Quantity, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return along which axes one array is the other's largest or smallest element.

    `None` if it is not, or if they do not stand beside each other as `x` and an extremum of it that
    keeps its axes do.
    """
    operation = top.origin.operation
    if not (isinstance(operation, tuple) and operation[0] == "extremum" and x.shape == shape):
        return None
    axes: tuple[int, ...] = operation[2]
    source, places = top.traced(_own(top, shape))
    if source.sources[0] is not x:
        return None
    kept = tuple(1 if axis - len(shape) in axes else n for axis, n in enumerate(shape))
    groups = np.broadcast_to(np.arange(prod(kept)).reshape(kept), shape)
    return axes if (places == groups).all() else None


def _own(quantity: Quantity, shape: tuple[int, ...]) -> Places:
    places = np.arange(prod(quantity.shape)).reshape(quantity.shape)
    return np.broadcast_to(places, shape)[None]


def _taken(table: Places, places: Places) -> Places:
    """Look up places in those of one sample, or of each sample."""
    rows = table.reshape(len(table), prod(table.shape[1:]))
    if len(rows) == 1:
        found = rows[0][places]
    else:
        spread = np.broadcast_to(places, (len(rows), *places.shape[1:]))
        flat = spread.reshape(len(rows), prod(places.shape[1:]))
        found = np.take_along_axis(rows, flat, 1).reshape(spread.shape)
    return np.where(places < 0, -1, found)


def _identical(a: Quantity, at: Places, b: Quantity, bt: Places, depth: int) -> Any:
    a, at = a.traced(at)
    b, bt = b.traced(bt)
    if a is b:
        return (at == bt) & (at >= 0)
    if not (a.elementwise and a.operation == b.operation and len(a.sources) == len(b.sources)):
        return False
    same: Any = depth > 0
    for one, other in dict.fromkeys(zip(a.sources, b.sources, strict=True)):
        if not np.any(same):
            break
        spread = [
            _taken(_own(source, whole.shape), places)
            for source, whole, places in ((one, a, at), (other, b, bt))
        ]
        same = same & _identical(one, spread[0], other, spread[1], depth - 1)
    return same


def digest(value: Any) -> Hashable:
    """Return what tells an index, or the options of a function, from another."""
    if isinstance(value, np.ndarray):
        if value.nbytes <= LARGEST_CONSTANT:
            return value.dtype.char, value.shape, value.tobytes()
        return value.dtype.char, value.shape, blake2b(value.tobytes()).digest()
    if isinstance(value, list | tuple):
        return tuple(map(digest, value))
    return repr(value)
