"""Models derived from a model, whose gradients are its intermediate values and adjoints.

Whoever can differentiate a loss with respect to parameters can differentiate these, and so reveal
what it makes of every line of the forward pass:

- *taps*: every quantity q is written on the trace as q + tap_q. At tap_q = 0 the gradient with
  respect to tap_q is the adjoint ∂loss/∂q.
- *readings*: the loss is Σ weight_q·q. The gradient with respect to weight_q is q itself.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gradcheck.model.board import Blackboard
from gradcheck.model.model import Model, Shapes


class _TappedTrace(Blackboard):
    """A trace that adds a tap to every quantity that has one."""

    def __init__(self, taps: Mapping[str, Any]) -> None:
        super().__init__()
        vars(self)["_taps"] = taps

    def _write(self, name: str, value: Any) -> None:
        super()._write(name, value + self._taps[name] if name in self._taps else value)


def tap_name(quantity: str) -> str:
    """Name the parameter that is added to a quantity."""
    return f"tap_{quantity}"


def weight_name(quantity: str) -> str:
    """Name the parameter that a quantity is multiplied with."""
    return f"weight_{quantity}"


def with_taps(model: Model, quantities: Shapes) -> Model:
    """Make the given quantities of the trace parameters, besides the model's own."""

    def loss(xp: Any, v: Any) -> Any:
        t = _TappedTrace({name: v[tap_name(name)] for name in quantities})
        model.forward(xp, v, t)
        return t.loss

    taps = {tap_name(name): shape for name, shape in quantities.items()}
    return replace(model, loss=loss, parameters={**model.parameters, **taps}, expressions={})


def with_readings(model: Model, quantities: Shapes) -> Model:
    """Make the quantities of the trace the only gradients."""

    def loss(xp: Any, v: Any) -> Any:
        t = Blackboard()
        model.forward(xp, v, t)
        total: Any = 0
        for name, shape in quantities.items():
            product = v[weight_name(name)] * t[name]
            axes = tuple(range(-len(shape), 0))
            total = total + (xp.sum(product, axis=axes) if shape else product)
        return total

    weights = {weight_name(name): shape for name, shape in quantities.items()}
    return replace(
        model, loss=loss, inputs=model.leaves, parameters=weights, closed_forms={}, expressions={}
    )
