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
LANES = 64
"""Samples are evaluated by so many, that none is among the last few of a vectorised loop."""
Indices = NDArray[np.int64]


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

    def read(rows: Indices) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return how far samples are from their kinks, and whether they are there."""
        whole = np.resize(rows, -(-len(rows) // LANES) * LANES)
        some = {name: array[whole] for name, array in values.items()}
        of_each = np.arange(len(rows)), kink[rows]
        lead, slack = (part[of_each] for part in _compared(model, some, rounding))
        return lead, np.abs(lead) <= slack

    lead, there = read(samples)
    for attempt in range(ATTEMPTS):
        rows = samples[~there]
        if not len(rows):
            break
        # A stride that is coprime to most counts, so that neighbours try different numbers.
        chosen = ((start + rows) * 7919 + attempt * 104_729) % len(movable)
        before = _numbers(values, movable, rows, chosen)
        step = np.maximum(np.abs(before), 1) * STRIDES[attempt % len(STRIDES)]
        here, height, arrived = before.copy(), lead[rows], np.zeros(len(rows), bool)
        moving = np.arange(len(rows))
        for _ in range(STEPS + 1):
            _write(values, movable, rows[moving], chosen[moving], (here + step)[moving], rounding)
            ahead, arrived[moving] = read(rows[moving])
            reached = _numbers(values, movable, rows[moving], chosen[moving])  # rounded
            with np.errstate(all="ignore"):
                slope = (ahead - height[moving]) / (reached - here[moving])
                step[moving] = -ahead / slope
            here[moving], height[moving] = reached, ahead
            moving = moving[np.isfinite(step[moving]) & (step[moving] != 0) & ~arrived[moving]]
            if not len(moving):
                break
        failed = ~arrived
        _write(values, movable, rows[failed], chosen[failed], before[failed], rounding)
        lead[rows[arrived]] = height[arrived]
        there[rows] = arrived
    return values


def _may_move(model: Model, leaf: str) -> bool:
    domain = model.domain(leaf)
    return domain is None or domain.is_unbounded


def _numbers(values: Values, movable: Any, rows: Indices, chosen: Indices) -> NDArray[np.float64]:
    """Return one number of each of some samples."""
    places = (movable[which] for which in chosen)
    return np.array(
        [
            values[name].reshape(len(values[name]), -1)[row, place]
            for row, (name, place) in zip(rows, places, strict=True)
        ]
    )


def _write(
    values: Values,
    movable: Any,
    rows: Indices,
    chosen: Indices,
    numbers: NDArray[np.float64],
    rounding: Rounding,
) -> None:
    """Set one number of each of some samples, in the format under judgement."""
    with np.errstate(over="ignore"):
        rounded = numbers.astype(rounding.dtype).astype(np.float64)
    for row, which, number in zip(rows, chosen, rounded, strict=True):
        if np.isfinite(number):
            name, place = movable[which]
            values[name].reshape(len(values[name]), -1)[row, place] = number


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
