"""Indices, writing, views, and what else only moves the numbers of an array about.

All of it is done to an array of positions, as NumPy does it, and the numbers are fetched from
there. A view remembers them: what is written to it is written to the array that it is a view of,
and that array shows what is written to it in all its views.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any, Self
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from gradcheck.numbers.array import Batched, Function, NoRuleError, Storage, insert_axes
from gradcheck.numbers.errors import InPlaceError
from gradcheck.numbers.identity import Places, digest

PADDING = ("constant", "edge", "wrap", "reflect", "symmetric")
"""Ways of padding that do no more than move numbers, or add zeros."""
ADDING_ZEROS = frozenset({np.tril, np.triu, np.pad, np.diag})
"""Functions that put zeros where there are no numbers."""


class Indexed(Batched):
    """An array per sample that can be indexed and written to as NumPy's can."""

    __slots__ = ("_origin", "_views")

    def begin(self, hidden: int, choices: Any) -> None:
        """Set what all kinds have."""
        super().begin(hidden, choices)
        self._origin: tuple[Indexed, Function] | None = None
        self._views: WeakValueDictionary[int, Indexed] | None = None

    def __iter__(self) -> Iterator[Self]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        indices = index if isinstance(index, tuple) else (index,)
        if any(isinstance(i, Batched) for i in indices):
            return self.fetched(self.places(index))
        if not all(i is None or i is Ellipsis or isinstance(i, int | slice) for i in indices):
            return self.fetched(np.asarray(_numbered(self.shape)[indices])[None])

        def move(array: Storage) -> Storage:
            return np.asarray(array[indices])

        result = self.moved(lambda part, lead: part[(slice(None),) * lead + indices])
        if result.ndim or Ellipsis in indices:  # else a number, which is no view
            self._show_in(result, move)
        shape = self.shape  # all that is kept of this array
        return result.is_result_of(
            ("moved", digest(indices)), [self], places=lambda: move(_numbered(shape))[None]
        )

    def places(self, index: Any) -> Places:
        """Return where an index points, by integers that may differ from sample to sample."""
        indices = _unmasked(index if isinstance(index, tuple) else (index,))
        if not any(isinstance(i, Batched) for i in indices):
            return np.asarray(_numbered(self.shape)[indices])[None]
        ndim = max(np.ndim(i) for i in indices if not isinstance(i, slice))
        plain = []
        for i in indices:
            if isinstance(i, Batched):
                if not i.is_discrete or i.stored.kind == "b" or i.hidden != self.hidden:
                    raise NoRuleError(
                        "an index must be integers; for a mask use numpy.where, or x[mask] = …"
                    )
                # Integers are the same in every run of what is evaluated several times.
                run = i.parts[0][(0,) * max(0, self.hidden - 1)]
                i = insert_axes(run, min(1, self.hidden), ndim)
            elif isinstance(i, slice) or i is None or i is Ellipsis:
                raise NoRuleError("an index of integers per sample cannot stand beside a slice")
            plain.append(i)
        places = np.asarray(_numbered(self.shape)[tuple(plain)])
        return places if self.hidden else places[None]

    def fetched(self, places: Places) -> Self:
        """Return the elements at places of the flattened array."""
        inner = places.shape[1:]
        rows = places.reshape(len(places), prod(inner))

        def fetch(part: Storage, lead: int) -> Storage:
            outer = part.shape[:lead]
            flat = part.reshape(*outer, self.size)
            if len(rows) == 1:
                return np.asarray(flat[..., places[0]])
            spread = np.broadcast_to(rows, (*outer, rows.shape[-1]))
            return np.take_along_axis(flat, spread, -1).reshape(*outer, *inner)

        found = self.moved(fetch)
        return found.is_result_of(("fetched", digest(places)), [self], places=lambda: places)

    def rearranged(self, function: Function, args: Any, kwargs: Any) -> Any:
        """Apply a function that only moves the numbers of its first argument, or adds zeros."""
        rest = args[1:]
        if any(isinstance(a, Batched) for a in (*rest, *kwargs.values())):
            raise NoRuleError(f"balls have no rule for numpy.{function.__name__} by such numbers")
        if function is np.pad and (rest[1:] or [kwargs.get("mode", "constant")])[0] not in PADDING:
            raise NoRuleError(f"balls have no rule for numpy.pad unless by {', '.join(PADDING)}")
        if kwargs.get("constant_values", 0) != 0:
            raise NoRuleError("balls have no rule for numpy.pad by anything but zero")

        def one(which: int | None) -> Any:
            def move(array: Storage) -> Storage:
                found = function(array, *rest, **kwargs)
                return np.asarray(found if which is None else found[which])

            options = digest([function.__name__, which, rest, sorted(kwargs.items())])
            return self._rearranged(move, options, function in ADDING_ZEROS)

        sample = function(_numbered(self.shape), *rest, **kwargs)
        if isinstance(sample, list | tuple):
            return type(sample)(map(one, range(len(sample))))
        return one(None)

    def _rearranged(self, move: Function, options: Any, adds_zeros: bool) -> Self:
        shape = self.shape  # all that is kept of this array

        def places() -> Places:
            numbered = _numbered(shape)
            return np.asarray(move(numbered + 1) - 1 if adds_zeros else move(numbered))[None]

        def moved(part: Storage, lead: int) -> Storage:
            if not lead:
                return np.asarray(move(part))
            found = np.asarray(part.reshape(*part.shape[:lead], self.size)[..., where])
            if adds_zeros:
                found[..., where < 0] = 0
            return found

        where = places()[0] if self.hidden or adds_zeros else np.zeros(())
        result = self.moved(moved)
        if adds_zeros and (where < 0).any():
            result.settled = result.spread_settled() | (where < 0)
        if not adds_zeros and self._is_view(move):
            self._show_in(result, move)
        return result.is_result_of(("moved", options), [self], places=places)

    def _is_view(self, move: Function) -> bool:
        """Let NumPy say whether what is moved like this is a view or a copy."""
        root, path = self._origin or (self, _unmoved)
        numbered = _numbered(root.shape)
        return np.may_share_memory(move(path(numbered)), numbered)

    # Writing

    def __setitem__(self, index: Any, value: Any) -> None:
        self.check_writeable()
        missing = self.ndim - index.ndim if isinstance(index, Batched) else 0
        is_mask = isinstance(index, Batched) and index.stored.kind not in "iu"
        if is_mask and np.ndim(value) <= missing:
            mask = index[(..., *(None,) * missing)] if missing > 0 else index
            chosen: Any = np.where(mask, self.admitted(value), self)  # type: ignore[call-overload]
            self.become(chosen)
        else:  # values that go one by one to where a mask holds take one sample
            self.scatter(self.places(index), value)

    def scatter(self, places: Places, value: Any) -> None:
        """Write to places of the flattened array."""
        new = self.admitted(value)
        inner = places.shape[1:]
        rows = places.reshape(len(places), prod(inner))

        def place(mine: Storage, lead: int, other: Storage, other_lead: int) -> Storage:
            outer = mine.shape[:lead]
            flat = np.array(mine, dtype=np.result_type(mine, other)).reshape(*outer, self.size)
            while other.ndim - other_lead > len(inner) and other.shape[other_lead] == 1:
                other = other.reshape(other.shape[:other_lead] + other.shape[other_lead + 1 :])
            given = np.broadcast_to(insert_axes(other, other_lead, len(inner)), (*outer, *inner))
            given = given.reshape(*outer, rows.shape[-1])
            if len(rows) == 1:
                flat[..., rows[0]] = given
            else:
                np.put_along_axis(flat, np.broadcast_to(rows, given.shape), given, -1)
            return flat.reshape(mine.shape)

        changed = self.with_parts(
            [
                place(mine, self.hidden, other, new.hidden)
                for mine, other in zip(self.whole(), new.whole(), strict=True)
            ]
        )
        if self.settled is not None or new.settled is not None:
            mine, other = self.spread_settled(), new.spread_settled()
            changed.settled = place(mine, mine.ndim - self.ndim, other, other.ndim - new.ndim)
        self.become(changed)

    def admitted(self, value: Any) -> Self:
        """Return what is to be written, if this array can hold it."""
        new = self.lifted(value)
        if new.hidden > self.hidden:
            raise NoRuleError("numbers of several samples cannot be written to a constant")
        if self.is_discrete and not new.is_discrete:
            if new.settled is None or not (new.settled & (new.decisive % 1 == 0)).all():
                raise NoRuleError(
                    "an array of integers would lose the fractions of what is written to it; start "
                    "from numpy.zeros_like(…, dtype=float)"
                )
            new = new.with_parts([new.parts[0].astype(self.stored)])
        return new

    def check_writeable(self) -> None:
        """Refuse to change what was given.

        Raises
        ------
        InPlaceError
            If this is an input or a parameter, or a view of one.
        """
        if self.frozen:
            raise InPlaceError(
                "an input, a parameter or a cotangent is changed in place; work on a copy of it"
            )

    def become(self, other: Self) -> None:
        """Take the numbers of another of this shape, here and in all views of the same array."""
        self.check_writeable()
        if self._origin is not None:
            root, path = self._origin
            places = path(_numbered(root.shape))
            if places.ndim and not places.flags.writeable:
                raise ValueError("assignment destination is read-only")
            root.scatter(places[None], other)
            return
        self.take_over(other.parts)
        self.hidden, self.settled, self._quantity = other.hidden, other.settled, None
        for view in list((self._views or {}).values()):
            view._look_again()

    def _look_again(self) -> None:
        if self._origin is not None:
            root, path = self._origin
            found = root.fetched(path(_numbered(root.shape))[None])
            self.take_over(found.parts)
            self.settled, self._quantity = found.settled, found._quantity

    def _show_in(self, view: Indexed, move: Function) -> None:
        """Let a view follow this array, and this array the view."""
        root, path = self._origin or (self, _unmoved)
        if root.frozen:
            view.frozen = True
            return
        view._origin = root, lambda places: move(path(places))
        if root._views is None:
            root._views = WeakValueDictionary()
        root._views[id(view)] = view


def _unmoved(places: Storage) -> Storage:
    return places


def _numbered(shape: tuple[int, ...]) -> NDArray[np.int64]:
    return np.arange(prod(shape)).reshape(shape)


def _unmasked(indices: tuple[Any, ...]) -> tuple[Any, ...]:
    """Replace masks, which only one sample can be indexed with, by the integers where they hold."""
    found: list[Any] = []
    for i in indices:
        is_mask = isinstance(i, Batched) and i.stored.kind not in "iu" and i.is_mask
        found += np.nonzero(i.decided()) if is_mask else [i]
    return tuple(found)
