"""JAX's control flow, followed: loops are unrolled, and of branches one is taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck.capture.jax_constants import Known, Value
from gradcheck.errors import RequestError

if TYPE_CHECKING:
    from gradcheck.capture.jax_recorder import Recorder

LONGEST = 100_000
"""Steps, after which a loop is taken for endless."""


def _cond(recorder: Recorder, equation: Any, operands: list[Value]) -> Sequence[Value]:
    branches = equation.params["branches"]
    which = int(np.clip(recorder.decided(operands[0]), 0, len(branches) - 1))
    return recorder.run(branches[which], operands[1:])


def _while(recorder: Recorder, equation: Any, operands: list[Value]) -> Sequence[Value]:
    params, rest = equation.params, iter(operands)
    tested = list(islice(rest, params["cond_nconsts"]))
    used = list(islice(rest, params["body_nconsts"]))
    carried: Sequence[Value] = list(rest)

    def chosen(goes_on: Value, new: Value, old: Value) -> Value:
        return recorder.emit(equation, "while", _chosen, [goes_on, new, old], {}, 1)[0]

    while True:
        (goes_on,) = recorder.run(params["cond_jaxpr"], [*tested, *carried])
        answers = np.asarray(recorder.decided(goes_on))
        if not answers.any():
            return carried
        before, carried = carried, recorder.run(params["body_jaxpr"], [*used, *carried])
        if answers.ndim and not answers.all():  # a loop of each element, under vmap
            pairs = zip(carried, before, strict=True)
            carried = [new if new is old else chosen(goes_on, new, old) for new, old in pairs]
        if len(recorder.steps) > LONGEST:
            raise RequestError("function", f"a loop takes more than {LONGEST} operations")


def _chosen(goes_on: Any, new: Any, old: Any) -> Any:
    """Keep what a loop that has ended left."""
    shape = np.shape(goes_on)
    return np.where(np.reshape(goes_on, shape + (1,) * (np.ndim(new) - len(shape))), new, old)


def _scan(recorder: Recorder, equation: Any, operands: list[Value]) -> Sequence[Value]:
    params, rest = equation.params, iter(operands)
    used = list(islice(rest, params["num_consts"]))
    carried = list(islice(rest, params["num_carry"]))
    columns, length = list(rest), params["length"]
    rows: list[list[Value]] = []

    def part(column: Value, i: int) -> Value:
        if isinstance(column, Known):
            return Known(column.value[i])
        return recorder.emit(equation, "scan", _part, [column], {"index": i}, 1)[0]

    def whole(column: Sequence[Value], aval: Any) -> Value:
        if not column:
            return Known(np.zeros(aval.shape, aval.dtype))
        if all(isinstance(one, Known) for one in column):
            return Known(np.stack([one.value for one in column if isinstance(one, Known)]))
        return recorder.emit(equation, "scan", _stacked, column, {}, 1)[0]

    order = range(length)
    for i in reversed(order) if params["reverse"] else order:
        results = recorder.run(
            params["jaxpr"], [*used, *carried, *(part(column, i) for column in columns)]
        )
        carried = list(results[: params["num_carry"]])
        rows.append(list(results[params["num_carry"] :]))
    rows = rows[::-1] if params["reverse"] else rows
    avals = [one.aval for one in equation.outvars[params["num_carry"] :]]
    stacked = [whole([row[k] for row in rows], aval) for k, aval in enumerate(avals)]
    return [*carried, *stacked]


def _part(column: Any, *, index: int) -> Any:
    return column[index]


def _stacked(*rows: Any) -> Any:
    return np.stack(rows)


def _linear_solve(recorder: Recorder, equation: Any, operands: list[Value]) -> Sequence[Value]:
    """Follow how it is solved, whatever it solves."""
    lengths, rest = equation.params["const_lengths"], iter(operands)
    consts = {name: list(islice(rest, getattr(lengths, name))) for name in lengths._fields}
    return recorder.run(equation.params["jaxprs"].solve, [*consts["solve"], *rest])


CONTROL: Mapping[str, Callable[[Recorder, Any, list[Value]], Sequence[Value]]] = {
    "cond": _cond,
    "while": _while,
    "scan": _scan,
    "custom_linear_solve": _linear_solve,
}
"""Primitives that decide what is computed."""
