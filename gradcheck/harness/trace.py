"""One point in full: every quantity and every adjoint, from the reference and every adapter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gradcheck.adapters import Adapter, choose_adapters
from gradcheck.arithmetic.arb import UnsupportedOperationError, decimal, enclose_derivative
from gradcheck.arithmetic.ball import Rounding
from gradcheck.engine.model import Blackboard, Model
from gradcheck.engine.taps import tap_name, weight_name, with_readings, with_taps
from gradcheck.errors import RequestError
from gradcheck.harness.reference import Passes
from gradcheck.harness.request import Request
from gradcheck.harness.tables import label

TRUTH_BITS = 256


@dataclass(frozen=True)
class Trace:
    """The forward and the backward table.

    Each has a row for every element of every quantity and the columns `quantity`, `reference`,
    `bound` (how far an honest evaluation may be off), `truth` (from the referee, in decimal) and
    one for each adapter, NaN where it has nothing to say. `judged` are the adapters that are held
    to the bound.
    """

    forward: pd.DataFrame
    backward: pd.DataFrame
    judged: tuple[str, ...]

    def beyond(self, table: pd.DataFrame, party: str) -> NDArray[np.bool_]:
        """Tell in which rows an adapter is not within the bound of the reference."""
        distance = (table[party] - table["reference"]).abs()
        beyond = np.asarray(table[party].notna() & ~(distance <= table["bound"]))
        return beyond if party in self.judged else np.zeros(len(table), bool)

    @property
    def agrees(self) -> bool:
        """Whether every adapter that is judged is within every bound."""
        return not any(
            self.beyond(table, party).any()
            for table in (self.forward, self.backward)
            for party in self.judged
        )


def trace_point(model: Model, point: Mapping[str, float], request: Request) -> Trace:
    """Evaluate the model at one point in the first of the requested dtypes.

    Parameters
    ----------
    point
        A number for every input and parameter; all elements of an array get the same.

    Raises
    ------
    RequestError
        If the point misses a name or has one too many, or an adapter cannot be had.
    """
    dtype = np.dtype(request.dtypes[0])
    _check_point(model, point)
    adapters = choose_adapters(request.adapters, model)
    values = {
        name: np.full((1, *shape), point[name], dtype) for name, shape in model.leaves.items()
    }
    widened = {name: array.astype(np.float64) for name, array in values.items()}
    passes = Passes(model, widened, Rounding(dtype, request.ulps))
    shapes = {name: passes.t[name].mid.shape[1:] for name in passes.t}
    inner = {name: shape for name, shape in shapes.items() if name != "loss"}
    zeros = {tap_name(name): np.zeros((1, *shape), dtype) for name, shape in inner.items()}
    ones = {weight_name(name): np.ones((1, *shape), dtype) for name, shape in shapes.items()}
    return Trace(
        forward=_table(
            model, with_readings(model, shapes), {**values, **ones}, passes.t, weight_name, adapters
        ),
        backward=_table(
            model,
            with_taps(model, inner),
            {**values, **zeros},
            passes.d,
            lambda name: name if name in model.parameters else tap_name(name),
            adapters,
        ),
        judged=tuple(name for name, adapter in adapters.items() if adapter.judged),
    )


def _table(
    model: Model,
    derived: Model,
    values: Mapping[str, NDArray[Any]],
    balls: Blackboard,
    parameter: Callable[[str], str],
    adapters: Mapping[str, Adapter],
) -> pd.DataFrame:
    """Tabulate balls next to the gradients of the derived model by the parameters of that name."""
    dtype = next(iter(values.values())).dtype
    own = {name: values[name] for name in model.leaves}
    gradients = {
        # The model's own parameters through its definition, the rest through its forward pass.
        name: {
            **_gradients(adapter, derived, values, dtype),
            **_gradients(adapter, model, own, dtype),
        }
        for name, adapter in adapters.items()
    }
    rows = []
    for name in balls:
        ball, key = balls[name], parameter(name)
        rad = np.broadcast_to(ball.rad, ball.mid.shape)
        for element in np.ndindex(ball.mid.shape[1:]):
            position = (0, *element)
            row = {
                "quantity": label(name, element),
                "reference": float(ball.mid[position]),
                "bound": float(rad[position]),
                "truth": _truth(model, own, key, element) or _truth(derived, values, key, element),
            }
            for adapter, found in gradients.items():
                known = key in found
                row[adapter] = float(np.asarray(found[key])[position]) if known else np.nan
            rows.append(row)
    return pd.DataFrame(rows)


def _truth(
    model: Model, values: Mapping[str, NDArray[Any]], parameter: str, element: tuple[int, ...]
) -> str:
    """Write the true derivative in decimal; empty if the referee cannot follow the model."""
    if parameter not in model.parameters:
        return ""
    try:
        return decimal(enclose_derivative(model, values, parameter, element, TRUTH_BITS)[0])
    except UnsupportedOperationError:
        return ""


def _check_point(model: Model, point: Mapping[str, float]) -> None:
    for name in point:
        if name not in model.leaves:
            raise RequestError(
                f"--at: {model.name} has no {name!r}; it has: {', '.join(model.leaves)}"
            )
    for name, number in point.items():
        if not np.isfinite(number):
            raise RequestError(f"--at: expected a finite number for {name}, got {number}")
    missing = [name for name in model.leaves if name not in point]
    if missing:
        raise RequestError(f"--at: no value for {', '.join(missing)}")


def _gradients(
    adapter: Adapter, model: Model, values: Mapping[str, NDArray[Any]], dtype: np.dtype[Any]
) -> Mapping[str, Any]:
    if not adapter.gradients(model):
        return {}
    with np.errstate(all="ignore"):
        try:
            return adapter.prepare(model, dtype)(values)
        except Exception as error:
            raise RequestError(
                f"--adapters: {adapter.summary}: {type(error).__name__}: {error}; leave it out"
            ) from error
