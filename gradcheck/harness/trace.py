"""One point in full: every quantity and every adjoint, from the reference and every adapter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gradcheck.adapters import Adapter, choose_adapters
from gradcheck.arithmetic.ball import Ball, Rounding
from gradcheck.engine.model import Model
from gradcheck.engine.taps import tap_name, weight_name, with_readings, with_taps
from gradcheck.errors import RequestError
from gradcheck.harness.reference import Passes
from gradcheck.harness.request import Request
from gradcheck.harness.tables import label


@dataclass(frozen=True)
class Trace:
    """The forward and the backward table.

    Each has a row for every element of every quantity and the columns `quantity`, `reference`,
    `bound` (how far an honest evaluation may be off) and one for each adapter, NaN where it has
    nothing to say.
    """

    forward: pd.DataFrame
    backward: pd.DataFrame


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
    t, d = passes.t, passes.d
    shapes = {name: t[name].mid.shape[1:] for name in t}
    inner = {name: shape for name, shape in shapes.items() if name != "loss"}

    zeros = {tap_name(name): np.zeros((1, *shape), dtype) for name, shape in inner.items()}
    ones = {weight_name(name): np.ones((1, *shape), dtype) for name, shape in shapes.items()}
    tapped, read = with_taps(model, inner), with_readings(model, shapes)
    adjoints, readings = {}, {}
    for name, adapter in adapters.items():
        adjoints[name] = _gradients(adapter, tapped, {**values, **zeros}, dtype)
        readings[name] = _gradients(adapter, read, {**values, **ones}, dtype)
    return Trace(
        forward=_table({name: t[name] for name in t}, readings, weight_name),
        backward=_table(
            {name: d[name] for name in d},
            adjoints,
            lambda name: name if name in model.parameters else tap_name(name),
        ),
    )


def _check_point(model: Model, point: Mapping[str, float]) -> None:
    for name in point:
        if name not in model.leaves:
            raise RequestError(
                f"--at: {model.name} has no {name!r}; it has: {', '.join(model.leaves)}"
            )
    missing = [name for name in model.leaves if name not in point]
    if missing:
        raise RequestError(f"--at: no value for {', '.join(missing)}")


def _gradients(
    adapter: Adapter, model: Model, values: dict[str, NDArray[Any]], dtype: np.dtype[Any]
) -> Mapping[str, Any]:
    if not adapter.gradients(model):
        return {}
    with np.errstate(all="ignore"):
        return adapter.prepare(model, dtype)(values)


def _table(balls: dict[str, Ball], columns: dict[str, Mapping[str, Any]], key: Any) -> pd.DataFrame:
    rows = []
    for name, ball in balls.items():
        for position in np.ndindex(ball.mid.shape[1:]):
            element = (0, *position)
            row = {
                "quantity": label(name, position),
                "reference": float(ball.mid[element]),
                "bound": float(np.broadcast_to(ball.rad, ball.mid.shape)[element]),
            }
            for adapter, gradients in columns.items():
                found = gradients.get(key(name))
                row[adapter] = np.nan if found is None else float(np.asarray(found)[element])
            rows.append(row)
    return pd.DataFrame(rows)
