"""One point in full: every quantity and every adjoint, from the reference and every adapter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gradcheck.adapters import Adapter, choose_adapters
from gradcheck.errors import RequestError, guarded
from gradcheck.harness.block import describe
from gradcheck.harness.check import check_model
from gradcheck.harness.request import Request
from gradcheck.harness.samples import draw_sample
from gradcheck.judge.evaluation import Evaluation
from gradcheck.judge.reference import Passes, is_informative, stochastic_passes
from gradcheck.model.board import flatten
from gradcheck.model.model import Model, label
from gradcheck.model.taps import tap_name, weight_name, with_readings, with_taps
from gradcheck.truth.derivative import UnsupportedOperationError, enclose_derivative
from gradcheck.truth.enclosures import decimal

TRUTH_BITS = 256
WORK = 10**6
"""Derivatives times numbers in a sample that are spent on a table of truths: some 10 seconds."""
UNKNOWN = "unknown"
MOST_ROWS = 400
"""Of a table; of arrays with more elements, evenly spaced ones are shown."""


@dataclass(frozen=True)
class Trace:
    """The forward and the backward table, in one dtype.

    Each has a row for every element of every quantity and the columns `quantity`, `reference`,
    `bound` (how far an honest evaluation may be off), `truth` (from the referee, in decimal;
    `unknown` where it has none, empty where it was not asked) and one for each adapter. `silent`
    holds for each table the rows in which an adapter has nothing to say, which is NaN there;
    `judged` are the adapters that are held to the bound.
    """

    dtype: str
    forward: pd.DataFrame
    backward: pd.DataFrame
    judged: tuple[str, ...]
    silent: Mapping[str, pd.DataFrame]

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables by what they show."""
        return {"forward": self.forward, "backward": self.backward}

    def beyond(self, direction: str, party: str) -> NDArray[np.bool_]:
        """Tell in which rows an adapter is not within the bound of the reference, if that has one.

        Where the bound is not finite, the reference may honestly be anything.
        """
        table, silent = self.tables[direction], self.silent[direction][party]
        distance = (table[party] - table["reference"]).abs()
        beyond = np.isfinite(table["bound"]) & ~(distance <= table["bound"]) & ~silent
        return np.asarray(beyond) if party in self.judged else np.zeros(len(table), bool)

    def lost(self, direction: str) -> NDArray[np.bool_]:
        """Tell in which rows the reference is NaN although the truth is known."""
        table = self.tables[direction]
        return np.asarray(table["reference"].isna() & ~table["truth"].isin(["", UNKNOWN]))

    @property
    def agrees(self) -> bool:
        """Whether every adapter that is judged is within every bound, and no value is lost."""
        return not any(
            self.lost(direction).any()
            or any(self.beyond(direction, party).any() for party in self.judged)
            for direction in self.tables
        )

    def __str__(self) -> str:
        """Write what the command line prints of it."""
        from gradcheck.reports.trace import trace_as_text

        return trace_as_text(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Show itself in IPython's terminal, as printed."""
        printer.text(str(self))

    def _repr_html_(self) -> str:
        """Show itself in a notebook."""
        from gradcheck.reports.notebook import trace_as_html

        return trace_as_html(self)


Progress = Callable[[float], None]
"""Is told the fraction done."""


def _ignored(fraction: float) -> None:
    """Tell nobody."""


def trace_point(
    model: Model, point: Mapping[str, Any], request: Request, progress: Progress = _ignored
) -> Trace:
    """Evaluate the model at one point in the first of the requested dtypes.

    Parameters
    ----------
    point
        A number or an array for every input and parameter; all elements of an array get the same
        number. `W[0,1]` is a single element. What is not given is zero if the model has no example.
    progress
        Is told the fraction done.

    Raises
    ------
    RequestError
        If the point misses a name or has one too many, or an adapter cannot be had.
    """
    return _trace(model, _point_values(model, point), request, progress)


def trace_sample(
    model: Model, request: Request, index: int, progress: Progress = _ignored
) -> Trace:
    """Evaluate the model on a sample of a sweep.

    Raises
    ------
    RequestError
        If an adapter cannot be had, or the model is not as it should be.
    """
    sample = draw_sample(model, request, request.dtypes[0], index).values
    return _trace(model, sample, request, progress)


def trace_values(
    model: Model,
    request: Request,
    sample: Mapping[str, NDArray[Any]],
    progress: Progress = _ignored,
) -> Trace:
    """Evaluate the model on one sample, arrays of shape `(1, *shape)`.

    Raises
    ------
    RequestError
        If an adapter cannot be had, or the model is not as it should be.
    """
    return _trace(model, sample, request, progress)


def _trace(
    model: Model, widened: Mapping[str, NDArray[Any]], request: Request, progress: Progress
) -> Trace:
    dtype = np.dtype(request.dtypes[0])
    adapters = choose_adapters(request.adapters, model, request.dtypes[:1])
    values = {
        name: array if array.dtype.kind == "i" else array.astype(dtype)
        for name, array in widened.items()
    }
    widened = {
        name: array if array.dtype.kind == "i" else array.astype(np.float64)
        for name, array in values.items()
    }
    check_model(model, widened)
    rounding = request.rounding(dtype)
    with np.errstate(all="ignore"):
        passes = Passes(model, widened, rounding)
        scattered = (
            stochastic_passes(model, widened, rounding) if request.bars != "ball" else passes
        )
        shapes = {name: passes.t[name].shape[1 if model.batched else 0 :] for name in passes.t}
        inner = {name: shape for name, shape in shapes.items() if name != "loss"}
        zeros = {tap_name(name): np.zeros((1, *shape), dtype) for name, shape in inner.items()}
        ones = {weight_name(name): np.ones((1, *shape), dtype) for name, shape in shapes.items()}
        forward, silent_forward = _table(
            model,
            with_readings(model, shapes),
            {**values, **ones},
            with_bars(passes, scattered, "t"),
            weight_name,
            adapters,
            lambda fraction: progress(fraction / 2),
        )
        backward, silent_backward = _table(
            model,
            with_taps(model, inner),
            {**values, **zeros},
            with_bars(passes, scattered, "d"),
            lambda name: name if name in model.parameters else tap_name(name),
            adapters,
            lambda fraction: progress((1 + fraction) / 2),
        )
    return Trace(
        dtype=dtype.name,
        forward=forward,
        backward=backward,
        judged=tuple(name for name, adapter in adapters.items() if adapter.judged),
        silent={"forward": silent_forward, "backward": silent_backward},
    )


Pairs = Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
"""Values and bars of one sample, by quantity."""


def with_bars(passes: Evaluation, scattered: Evaluation, board: str) -> Pairs:
    """Take the ball's bar where it is informative, and else the stochastic one if that is."""
    found = {}
    for name in getattr(passes, board):
        value, bar = _one_sample(passes, board, name)
        other, wider = _one_sample(scattered, board, name)
        if other.shape == value.shape:
            better = ~is_informative(value, bar) & is_informative(other, wider)
            value, bar = np.where(better, other, value), np.where(better, wider, bar)
        found[name] = value, bar
    return found


def _one_sample(evaluation: Evaluation, board: str, name: str) -> tuple[Any, Any]:
    """Return value and bar; on a kink, the value that was chosen and all that are honest."""
    number = getattr(evaluation, board)[name]
    mid = np.asarray(number.mid, dtype=np.float64)
    mid, rad = (
        part[0] if mid.ndim else part for part in (mid, np.broadcast_to(number.rad, mid.shape))
    )
    rad = np.where(np.isnan(mid), np.inf, rad)
    if evaluation.decided is not None:
        chosen, _ = _one_sample(evaluation.decided, board, name)
        return chosen, np.maximum(np.abs(mid + rad - chosen), np.abs(mid - rad - chosen))
    return mid, rad


def _table(
    model: Model,
    derived: Model,
    values: Mapping[str, NDArray[Any]],
    pairs: Pairs,
    parameter: Callable[[str], str],
    adapters: Mapping[str, Adapter],
    progress: Progress,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tabulate values and bars next to the derived model's gradients by parameters so named.

    The second table tells which adapter has nothing to say in which row.
    """
    dtype = next(values[name].dtype for name in derived.parameters)
    own = {name: values[name] for name in model.leaves}
    numbers = sum(prod(shape) for shape in model.leaves.values())
    each = max(1, MOST_ROWS // len(pairs))
    shown = [
        (name, tuple(map(int, np.unravel_index(place, value.shape))))
        for name, (value, _) in pairs.items()
        for place in np.unique(np.linspace(0, value.size - 1, min(each, value.size)).astype(int))
    ]
    affordable = numbers * min(MOST_ROWS, sum(value.size for value, _ in pairs.values())) <= WORK
    work = len(adapters) + len(shown)
    gradients: dict[str, Mapping[str, Any]] = {}
    for name, adapter in adapters.items():
        # The model's own parameters through its definition, the rest through its forward pass.
        gradients[name] = {
            **_gradients(adapter, derived, values, dtype, of_definition=False),
            **_gradients(adapter, model, own, dtype, of_definition=True),
        }
        progress(len(gradients) / work)
    rows = []
    for name, element in shown:
        key, (value, bar) = parameter(name), pairs[name]
        row: dict[str, Any] = {
            "quantity": label(name, element),
            "reference": float(value[element]),
            "bound": float(bar[element]),
            "truth": _truth(model, own, key, element) if affordable else "",
        }
        if affordable and not row["truth"]:
            row["truth"] = _truth(derived, values, key, element)
        for who, found in gradients.items():
            row[who] = float(np.asarray(found[key])[(0, *element)]) if key in found else np.nan
        rows.append(row)
        progress((len(adapters) + len(rows)) / work)
    silent = [[parameter(name) not in found for found in gradients.values()] for name, _ in shown]
    return pd.DataFrame(rows), pd.DataFrame(silent, columns=list(gradients))


def _truth(
    model: Model, values: Mapping[str, NDArray[Any]], parameter: str, element: tuple[int, ...]
) -> str:
    """Write the true derivative in decimal; empty if the referee cannot follow the model."""
    if parameter not in model.parameters:
        return ""
    try:
        truth = enclose_derivative(model, values, parameter, element, TRUTH_BITS)[0]
    except UnsupportedOperationError:
        return ""
    return decimal(truth) if truth.is_finite() else UNKNOWN


def _point_values(model: Model, point: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Make arrays of one sample of a point."""
    values: dict[str, NDArray[Any]] = {}
    elements: dict[str, float] = {}
    for key, value in point.items():
        name, bracket, _ = key.partition("[")
        leaves = {key: value} if key in model.leaves else flatten(value, key)
        for leaf, number in leaves.items():
            if bracket and name in model.leaves:
                elements[key] = number
            elif leaf in model.leaves:
                values[leaf] = _leaf_values(model, leaf, number)
            else:
                raise RequestError(
                    "at", f"{model.name} has no {leaf!r}; it has: {', '.join(model.leaves)}"
                )
    for key, number in elements.items():
        name, _, position = key.partition("[")
        empty = np.full((1, *model.leaves[name]), np.nan if model.example else 0.0)
        array = values.setdefault(name, empty)
        try:
            array[(0, *map(int, position.rstrip("]").split(",")))] = number
        except (ValueError, IndexError) as error:
            raise RequestError(
                "at", f"{name} has the shape {model.leaves[name]}, so it has no {key}"
            ) from error
    if point and not model.example:
        for name in model.leaves:
            values.setdefault(name, _leaf_values(model, name, 0.0))
    missing = [name for name in model.leaves if name not in values]
    missing += [name for name, array in values.items() if np.isnan(array).any()]
    if missing:
        raise RequestError("at", f"no value for {', '.join(missing)}")
    return values


def _leaf_values(model: Model, name: str, given: Any) -> NDArray[Any]:
    """Make an array of one sample of a number or an array for a leaf."""
    shape, domain = model.leaves[name], model.domain(name)
    numbers = np.asarray(given, dtype=np.float64)
    if not np.isfinite(numbers).all():
        raise RequestError("at", f"expected a finite number for {name}, got {given}")
    try:
        array = np.broadcast_to(numbers, (1, *shape)).copy()
    except ValueError as error:
        raise RequestError(
            "at", f"expected the shape {shape} for {name}, got {numbers.shape}"
        ) from error
    return array.astype(np.int64) if domain is not None and domain.is_discrete else array


def _gradients(
    adapter: Adapter,
    model: Model,
    values: Mapping[str, NDArray[Any]],
    dtype: np.dtype[Any],
    *,
    of_definition: bool,
) -> Mapping[str, Any]:
    """Differentiate; a forward pass may be in NumPy, which no framework need follow."""
    if not adapter.gradients(model):
        return {}
    try:
        with guarded():
            return adapter.prepare(model, dtype)(values)
    except Exception as error:
        if not of_definition:
            return {}
        raise RequestError(
            "adapters", f"{adapter.summary}: {describe(error, model)}; leave it out"
        ) from error
