"""What a model is: a definition, and the two passes that somebody wrote by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

from gradcheck.errors import RequestError, echoed
from gradcheck.model.board import Blackboard, Given, Tree, flatten
from gradcheck.model.domains import Domain
from gradcheck.suggestions import nearest

RESERVED = frozenset(
    {"sample", "adapter", "dtype", "gradient", "verdict", "value", "reference", "bound", "ulps"}
    | {"culprit", "truth", "element", "message", "bar", "low", "high", "nan"}
)
"""Columns beside which inputs and parameters are tabulated."""

MOST_NUMBERS = 2**27
"""In a sample, 1 GiB of it; the passes keep several times as much."""

Shapes = Mapping[str, tuple[int, ...]]


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
    given
        Values of inputs and parameters on sample 0, where they are not to be drawn.
    adapters
        By name, what is compared with the passes in place of the registered adapters.
    recorded
        Whether the backward pass was recorded, so that it is wrong if its formula is, by however
        little; else it may be as far from the truth as honest roundings of the definition.

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
    given: Mapping[str, Any] = field(default_factory=dict)
    adapters: Mapping[str, Any] = field(default_factory=dict)
    recorded: bool = False

    def casts(self, dtype: str) -> list[str]:
        """Say where numbers change their format, as far as is known: where passes are recorded."""
        return []

    @property
    def own(self) -> str:
        """The adapter whose own backward pass is the reference; empty if it is another's."""
        return ""

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
        check_size(self.name, sum(map(prod, self.leaves.values())))
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


def check_size(name: str, numbers: int) -> None:
    """Refuse a model of which one sample would not fit into memory, before anything is tried."""
    if numbers > MOST_NUMBERS:
        raise RequestError(
            "model",
            f"{name} has {echoed(numbers)} inputs and parameters, more than {MOST_NUMBERS:,}; give "
            f"smaller shapes",
        )


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


def each_sample(model: Model, values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Split values into samples, as the model's functions take them, one at a time.

    The sample axis has length one if the model is batched, and is left out if it is not.
    """
    for row in range(len(next(iter(values.values())))):
        yield {
            name: array[row : row + 1] if model.batched else array[row]
            for name, array in values.items()
        }
