"""Samples moved onto kinks: to where a comparison, a maximum or an absolute value has a tie."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.errors import RequestError, guarded
from gradcheck.judge.evaluation import Values
from gradcheck.model.model import Model, run_passes
from gradcheck.numbers.array import OneSampleError
from gradcheck.numbers.ball import Ball
from gradcheck.numbers.choices import RecordedChoices
from gradcheck.numbers.rounding import Rounding

ATTEMPTS = 16
"""Numbers of a sample that are tried, one after the other, until moving one reaches the kink."""
STRIDES = (0.125, -0.125, 2.0, -2.0)
"""First steps, relative to the number, or to 1 if it is smaller."""
STEPS = 3
"""Secant steps to the kink; where what is compared depends linearly on the number, one would do."""


def place_on_kinks(model: Model, values: Values, start: int, rounding: Rounding) -> Values:
    """Change one number of each sample so that something is compared with its equal.

    Sample i is moved onto the kink i modulo the number of kinks, if it can be reached. Numbers with
    a declared range or set stay what they are.

    Parameters
    ----------
    values
        Samples, float64 of shape `(n, *shape)`, exact in the format of `rounding`.
    start
        The number of the first.

    Raises
    ------
    RequestError
        If the model's passes compare nothing.
    """
    movable = [
        (name, place)
        for name, shape in model.leaves.items()
        if _may_move(model, name)
        for place in range(prod(shape))
    ]
    values = {name: array.copy() for name, array in values.items()}
    samples = np.arange(len(next(iter(values.values()))))
    leads, _ = _compared(model, values, rounding)
    if not leads.shape[1]:
        raise RequestError(
            "kinks", f"the passes of {model.name} compare nothing, so they have no kinks"
        )
    if not movable:
        raise RequestError(
            "kinks", f"every number of {model.name} has a declared range, so none can be moved"
        )
    kink = (start + samples) % leads.shape[1]

    def read() -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        leads, slacks = _compared(model, values, rounding)
        lead, slack = leads[samples, kink], slacks[samples, kink]
        return lead, np.abs(lead) <= slack

    lead, there = read()
    for attempt in range(ATTEMPTS):
        # A stride that is coprime to most counts, so that neighbours try different numbers.
        chosen = ((start + samples) * 7919 + attempt * 104_729) % len(movable)
        before = _numbers(values, movable, chosen)
        step = np.maximum(np.abs(before), 1) * STRIDES[attempt % len(STRIDES)]
        here, height = before, lead
        for _ in range(STEPS + 1):
            _write(values, movable, chosen, ~there, here + step, rounding)
            ahead, arrived = read()
            reached = _numbers(values, movable, chosen)  # rounded
            with np.errstate(all="ignore"):
                slope = (ahead - height) / (reached - here)
                onward = -ahead / slope
            here, height = reached, ahead
            step = np.where(np.isfinite(onward) & ~arrived, onward, 0.0)
        new, arrived = read()
        _write(values, movable, chosen, ~there & ~arrived, before, rounding)
        lead = np.where(there | arrived, new, lead)
        there |= arrived
        if there.all():
            break
    return values


def _may_move(model: Model, leaf: str) -> bool:
    domain = model.domain(leaf)
    return domain is None or domain.is_unbounded


def _numbers(values: Values, movable: Any, chosen: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.array(
        [
            values[movable[place][0]][row].flat[movable[place][1]]
            if values[movable[place][0]].ndim > 1
            else values[movable[place][0]][row]
            for row, place in enumerate(chosen)
        ]
    )


def _write(
    values: Values,
    movable: Any,
    chosen: NDArray[np.int64],
    where: NDArray[np.bool_],
    numbers: NDArray[np.float64],
    rounding: Rounding,
) -> None:
    """Set one number of each sample, in the format under judgement."""
    with np.errstate(over="ignore"):
        rounded = numbers.astype(rounding.dtype).astype(np.float64)
    for row in np.flatnonzero(where & np.isfinite(rounded)):
        name, place = movable[chosen[row]]
        values[name].reshape(len(values[name]), -1)[row, place] = rounded[row]


def _compared(
    model: Model, values: Values, rounding: Rounding
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what the passes compare with zero and how far from it is open, shapes `(n, kinks)`."""
    samples = len(next(iter(values.values())))
    choices = RecordedChoices(samples, both=False)
    hidden = 0 if model.batched else 1
    leaves = {
        name: Ball.from_value(array, rounding, hidden, choices) for name, array in values.items()
    }
    try:
        with guarded():
            run_passes(model, np, leaves)
    except OneSampleError as error:
        raise RequestError(
            "kinks",
            f"the passes of {model.name} branch on a value, so that they take one sample "
            f"at a time; use np.where",
        ) from error
    columns = [
        [np.broadcast_to(part, lead.shape).reshape(samples, -1) for part in (lead, slack)]
        for lead, slack in choices.arguments
        if lead.ndim and len(lead) == samples
    ]
    if not columns:
        return np.zeros((samples, 0)), np.zeros((samples, 0))
    leads, slacks = (np.concatenate(parts, axis=1) for parts in zip(*columns, strict=True))
    return leads, slacks
