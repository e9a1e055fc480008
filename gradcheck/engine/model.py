"""What a model is: a definition, and the two passes that somebody wrote by hand."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from gradcheck.errors import RequestError

RESERVED = frozenset(
    {"sample", "adapter", "dtype", "gradient", "verdict", "value", "reference", "bound", "ulps"}
    | {"culprit", "truth", "element", "message"}
)
"""Columns beside which inputs and parameters are tabulated."""

Shapes = Mapping[str, tuple[int, ...]]


class Blackboard(SimpleNamespace):
    """Named quantities in the order in which they were written: values, a trace, or adjoints."""

    def __iter__(self) -> Any:
        return iter(vars(self))

    def __getitem__(self, name: str) -> Any:
        return vars(self)[name]


@dataclass(frozen=True)
class Model:
    """A scalar function of named inputs and parameters, stated twice, and its backward pass.

    `loss` and `forward` are two independent statements of the same function. Neither they nor
    `backward` know what kind of number they run on: `xp` is the namespace of the arrays
    (array-API convention), and every array has a leading sample axis.

    Parameters
    ----------
    name
        What the command line and the tables call it.
    inputs, parameters
        The shape of each for one sample; `()` for a scalar.
    loss
        `loss(xp, v)` returns the loss, shape `(n,)`: the definition, which the adapters
        differentiate.
    forward
        `forward(xp, v, t)` writes every quantity on the trace `t`, in order, `t.loss` last.
    backward
        `backward(xp, v, t, d)` writes `d.q`, the adjoint ∂loss/∂q, for every quantity of the
        trace and then for every parameter.
    closed_forms
        Gradients that were also derived as one formula: parameter → `formula(xp, v)`.
    example
        A point worth looking at, one number for each input and parameter.
    """

    name: str
    inputs: Shapes
    parameters: Shapes
    loss: Callable[[Any, Any], Any]
    forward: Callable[[Any, Any, Any], None]
    backward: Callable[[Any, Any, Any, Any], None]
    closed_forms: Mapping[str, Callable[[Any, Any], Any]] = field(default_factory=dict)
    example: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name or set(self.name) & set("/\\\n"):
            raise RequestError(f"MODEL: {self.name!r} is no name for a model: it names a folder")
        for name, shape in self.leaves.items():
            if name in RESERVED or not name.isidentifier():
                raise RequestError(
                    f"MODEL: {self.name} calls an input or parameter {name!r}, which is no "
                    f"identifier or the name of a column; rename it"
                )
            if not isinstance(shape, tuple):
                raise RequestError(
                    f"MODEL: the shape of {name} in {self.name} is {shape!r}; give a tuple, such "
                    f"as () or (3,)"
                )

    @property
    def leaves(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the inputs, then of the parameters: all that a sample consists of."""
        return {**self.inputs, **self.parameters}


def run_passes(model: Model, xp: Any, values: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """Run both hand-written passes on whatever numbers `values` holds.

    Returns
    -------
    v, t, d
        The values, the trace and the adjoints, as blackboards.
    """
    v, t, d = Blackboard(**values), Blackboard(), Blackboard()
    model.forward(xp, v, t)
    model.backward(xp, v, t, d)
    return v, t, d
