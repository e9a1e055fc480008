"""Named quantities, of nested lists and dicts: what the passes read and write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from gradcheck.errors import RequestError
from gradcheck.suggestions import nearest

Tree = Any
"""A leaf, or lists and dicts of trees: a pytree."""


def flatten(tree: Tree, name: str = "") -> dict[str, Any]:
    """Name every leaf of nested lists and dicts by its path: `layers.0.W`.

    A tuple of whole numbers is a leaf: a shape.
    """
    if isinstance(tree, Family):
        return {f"{name}.{key}": leaf for key, leaf in tree.leaves()}
    if isinstance(tree, Mapping):
        items = list(tree.items())
    elif isinstance(tree, list) or (isinstance(tree, tuple) and not _is_shape(tree)):
        items = list(enumerate(tree))
    else:
        return {name: tree}
    found: dict[str, Any] = {}
    for key, branch in items:
        for path, leaf in flatten(branch, f"{name}.{key}" if name else str(key)).items():
            if path in found:
                raise RequestError("model", f"two things are called {path}; rename one")
            found[path] = leaf
    return found


def _is_shape(tree: tuple[Any, ...]) -> bool:
    return all(hasattr(size, "__index__") and not isinstance(size, bool) for size in tree)


class Blackboard:
    """Named quantities in the order in which they were written: values, a trace, or adjoints.

    `board.q` is a quantity, or what nested lists and dicts of them were written under that name;
    `board.q[k] = …` writes one of several. All go by flat names: `q.0`, `layers.0.W`.
    """

    def __init__(self, values: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        vars(self)["_values"] = {**(values or {}), **named}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._found(name)

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        if isinstance(value, Family) and not len(value):
            value._refuse()
        for path, leaf in flatten(value, name).items():
            self._write(path, leaf)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def _write(self, name: str, value: Any) -> None:
        self._values[name] = value

    def _found(self, name: str) -> Any:
        return self._values[name] if name in self._values else Family(self, name)


class Family:
    """The quantities of a board whose names begin alike: a list or a dict, by what they are called.

    One that is empty is a name that nothing was written under yet.
    """

    def __init__(self, board: Blackboard, name: str) -> None:
        self._board, self._name = board, name

    def leaves(self) -> list[tuple[str, Any]]:
        """Return paths below the family's name, and what they lead to."""
        start = f"{self._name}."
        return [
            (name[len(start) :], self._board._found(name))
            for name in self._board
            if name.startswith(start)
        ]

    def keys(self) -> list[Any]:
        """Return the keys of a dict or the indices of a list."""
        start = f"{self._name}."
        heads = dict.fromkeys(
            name[len(start) :].partition(".")[0] for name in self._board if name.startswith(start)
        )
        if heads and all(head.isdigit() for head in heads):
            return sorted(map(int, heads))
        return list(heads)

    def values(self) -> list[Any]:
        """Return what the keys lead to."""
        return [self[key] for key in self.keys()]

    def items(self) -> list[tuple[Any, Any]]:
        """Return keys and what they lead to."""
        return [(key, self[key]) for key in self.keys()]

    def append(self, value: Any) -> None:
        """Write one more."""
        self[len(self)] = value

    def __len__(self) -> int:
        return len(self.keys())

    def __iter__(self) -> Iterator[Any]:
        keys = self.keys()
        return iter(self.values() if keys and isinstance(keys[0], int) else keys)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return self.values()[key]
        if isinstance(key, int) and key < 0:
            key += len(self)
        return self._board._found(f"{self._name}.{key}")

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(key, int) and key < 0:
            key += len(self)
        self._board[f"{self._name}.{key}"] = value

    def __getattr__(self, name: str) -> Any:
        hint = f"; write [{name!r}]" if name in map(str, self.keys()) else ""
        self._refuse(hint=hint)

    def _refuse(self, *_: Any, hint: str = "", **__: Any) -> NoReturn:
        what = "is a list or a dict, no array" if len(self) else "was not written before"
        raise AttributeError(f"{self._name} {what}{hint}")

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __matmul__ = _refuse
    __rmatmul__ = __truediv__ = __rtruediv__ = __pow__ = __rpow__ = __neg__ = __abs__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = _refuse
    __bool__ = __float__ = __array__ = __array_ufunc__ = __array_function__ = _refuse
    __hash__ = None  # type: ignore[assignment]


class Given(Blackboard):
    """The inputs and parameters: a board that holds all that it will ever hold."""

    def __setitem__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{name} is an input or a parameter, or none; write to t or to d")

    def _found(self, name: str) -> Any:
        found = super()._found(name)
        if isinstance(found, Family) and not len(found):
            raise AttributeError(
                f"there is no input or parameter {name}{nearest(name, self._values)}"
            )
        return found
