"""What a model is: a definition, and the two passes that somebody wrote by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from gradcheck.errors import RequestError
from gradcheck.model.domains import Domain
from gradcheck.suggestions import nearest

RESERVED = frozenset(
    {"sample", "adapter", "dtype", "gradient", "verdict", "value", "reference", "bound", "ulps"}
    | {"culprit", "truth", "element", "message", "bar", "low", "high"}
)
"""Columns beside which inputs and parameters are tabulated."""

Shapes = Mapping[str, tuple[int, ...]]
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


@dataclass(frozen=True)
class Model:
    """A scalar function of named inputs and parameters, stated twice, and its backward pass.

    `loss` and `forward` are two independent statements of the same function. Neither they nor
    `backward` know what kind of number they run on: `xp` is the namespace of the arrays
    (array-API convention).

    Parameters
    ----------
    name
        What the command line and the tables call it.
    inputs, parameters
        The shape of each for one sample, `()` for a scalar; or nested lists and dicts of shapes.
        Kept by flat names, such as `layers.0.W`.
    loss
        `loss(xp, v)` returns the loss of one sample, a scalar: the definition, which the adapters
        differentiate.
    forward
        `forward(xp, v, t)` writes every quantity on the trace `t`, in order, `t.loss` last.
    backward
        `backward(xp, v, t, d)` writes `d.q`, the adjoint ∂loss/∂q, for every quantity of the
        trace and then for every parameter.
    batched
        Whether all of these are written for arrays with a leading sample axis instead, and return
        losses of shape `(n,)`.
    sampling
        What an input or parameter is drawn from, by name, unless from the request's distribution;
        a name of several leaves holds for all of them.
    expressions
        What the adapters of a framework differentiate in place of `loss`, by the framework's name.
    closed_forms
        Gradients that were also derived as one formula: parameter → `formula(xp, v)`.
    example
        A point worth looking at: a number or an array for each input and parameter.

    Raises
    ------
    RequestError
        If something of this is missing, or a name or a shape cannot be used.
    """

    name: str
    inputs: Mapping[str, Tree]
    parameters: Mapping[str, Tree]
    loss: Callable[[Any, Any], Any] = None  # type: ignore[assignment]
    forward: Callable[[Any, Any, Any], None] = None  # type: ignore[assignment]
    backward: Callable[[Any, Any, Any, Any], None] = None  # type: ignore[assignment]
    batched: bool = False
    sampling: Mapping[str, Domain] = field(default_factory=dict)
    expressions: Mapping[str, Callable[[Any, Any], Any]] = field(default_factory=dict)
    closed_forms: Mapping[str, Callable[[Any, Any], Any]] = field(default_factory=dict)
    example: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name or set(self.name) & set("/\\\n"):
            raise RequestError("model", f"{self.name!r} is no name for a model: it names a folder")
        for part, signature in SIGNATURES.items():
            if not callable(getattr(self, part)):
                what = "definition" if part == "loss" else f"{part} pass"
                raise RequestError("model", f"{self.name} has no {what}: give {part}={signature}")
        for part in ("inputs", "parameters"):
            if not isinstance(getattr(self, part), Mapping):
                raise RequestError(
                    "model",
                    f"the {part} of {self.name} are {getattr(self, part)!r}; give a dict "
                    f"from names to shapes",
                )
            flat = flatten(getattr(self, part))
            shapes = {
                name: tuple(map(int, shape)) if isinstance(shape, tuple) else shape
                for name, shape in flat.items()
            }
            object.__setattr__(self, part, shapes)
        if not self.parameters:
            raise RequestError(
                "model", f"{self.name} has no parameters, so no gradients to compare"
            )
        names = [*self.inputs, *self.parameters]
        for name in names:
            if sum(belongs(other, name) for other in names) > 1:
                raise RequestError(
                    "model",
                    f"{name} stands for two inputs or parameters of {self.name}; rename one",
                )
        for name, shape in self.leaves.items():
            if name in RESERVED or not all(map(_is_key, name.split("."))) or name[0].isdigit():
                raise RequestError(
                    "model",
                    f"{self.name} calls an input or parameter {name!r}, which is no "
                    f"identifier or the name of a column; rename it",
                )
            if not (isinstance(shape, tuple) and all(size > 0 for size in shape)):
                raise RequestError(
                    "model",
                    f"the shape of {name} in {self.name} is {shape!r}; give a tuple of "
                    f"positive whole numbers, such as () or (3,)",
                )
        for name, domain in self.sampling.items():
            if not any(belongs(leaf, name) for leaf in self.leaves):
                raise RequestError(
                    "model",
                    f"{self.name} declares how to sample {name!r}, which is no input or "
                    f"parameter of it",
                )
            if not isinstance(domain, Domain):
                raise RequestError(
                    "model",
                    f"{self.name} samples {name} from {domain!r}; give one of "
                    f"gradcheck.sampling, such as sampling.positive()",
                )
            if domain.needs_axis and any(
                not shape for leaf, shape in self.leaves.items() if belongs(leaf, name)
            ):
                raise RequestError(
                    "model", f"{name} of {self.name} is a single number; {domain!r} is for arrays"
                )
            if domain.is_discrete and any(belongs(leaf, name) for leaf in self.parameters):
                raise RequestError(
                    "model",
                    f"{name} is a parameter of {self.name} and sampled from integers, by "
                    f"which nothing can be differentiated; make it an input",
                )

        for name in self.closed_forms:
            if name not in self.parameters:
                raise RequestError(
                    "model",
                    f"{self.name} gives a closed form for {name!r}, which is no parameter"
                    f"{nearest(name, self.parameters)}",
                )

    @property
    def leaves(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the inputs, then of the parameters: all that a sample consists of."""
        return {**self.inputs, **self.parameters}

    def domain(self, leaf: str) -> Domain | None:
        """Return what a leaf is drawn from, if that is declared."""
        names = [name for name in self.sampling if belongs(leaf, name)]
        return self.sampling[max(names, key=len)] if names else None


SIGNATURES = {
    "loss": "loss, a function loss(xp, v) that returns the loss",
    "forward": "forward, a function forward(xp, v, t) that writes the trace",
    "backward": "backward, a function backward(xp, v, t, d) that writes the adjoints",
}


def label(name: str, position: Iterable[int]) -> str:
    """Name an element of an array; a scalar goes by its own name."""
    inside = ",".join(map(str, position))
    return f"{name}[{inside}]" if inside else name


def belongs(leaf: str, name: str) -> bool:
    """Tell whether a leaf is of that name, or below it."""
    return leaf == name or leaf.startswith(f"{name}.")


def _is_key(part: str) -> bool:
    return part.isidentifier() or part.isdigit()


def run_passes(model: Model, xp: Any, values: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """Run both hand-written passes on whatever numbers `values` holds.

    Returns
    -------
    v, t, d
        The values, the trace and the adjoints, as blackboards.
    """
    v, t, d = Given(values), Blackboard(), Blackboard()
    model.forward(xp, v, t)
    model.backward(xp, v, t, d)
    return v, t, d
