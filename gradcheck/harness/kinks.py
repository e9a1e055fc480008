"""Samples moved onto kinks: to where a comparison, a maximum or an absolute value has a tie."""

from __future__ import annotations

from collections.abc import Iterator
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

AT_ONCE = range(1), range(1, 4), range(4, 10), range(10, 16)
"""Numbers of a sample that are tried at once; the first one counts that reaches the kink."""
STRIDES = (0.125, -0.125, 2.0, -2.0)
"""First steps, relative to the number, or to 1 if it is smaller."""
STEPS = 3
"""Secant steps to the kink; where what is compared depends linearly on the number, one would do."""
LANES = 64
"""Samples are evaluated by so many, that none is among the last few of a vectorised loop."""

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]


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
    movable = _Movable(model)
    values = {name: array.copy() for name, array in values.items()}
    samples = np.arange(len(next(iter(values.values()))))
    leads, _ = _compared(model, values, rounding)
    if not leads.shape[1]:
        raise RequestError(
            "kinks", f"the passes of {model.name} compare nothing, so they have no kinks"
        )
    if not len(movable):
        raise RequestError(
            "kinks", f"every number of {model.name} has a declared range, so none can be moved"
        )
    kink = (start + samples) % leads.shape[1]

    def read(tried: Values, numbers: Indices, rows: Indices) -> tuple[Floats, Flags]:
        """Return how far some of what is tried is from its kink, and whether it is there."""
        whole = np.resize(numbers, -(-len(numbers) // LANES) * LANES)
        some = {name: array[whole] for name, array in tried.items()}
        of_each = np.arange(len(numbers)), kink[rows]
        lead, slack = (part[of_each] for part in _compared(model, some, rounding))
        return lead, np.abs(lead) <= slack

    lead, there = read(values, samples, samples)
    for attempts in AT_ONCE:
        left = samples[~there]
        if not len(left):
            break
        rows, attempt = np.tile(left, len(attempts)), np.repeat(attempts, len(left))
        tried = {name: array[rows] for name, array in values.items()}
        # A stride that is coprime to most counts, so that neighbours try different numbers.
        chosen = ((start + rows) * 7919 + attempt * 104_729) % len(movable)
        moving, arrived = np.arange(len(rows)), np.zeros(len(rows), bool)
        here, height = movable.read(tried, moving, chosen), lead[rows]
        step = np.maximum(np.abs(here), 1) * np.array(STRIDES)[attempt % len(STRIDES)]
        for _ in range(STEPS + 1):
            movable.write(tried, moving, chosen[moving], (here + step)[moving], rounding)
            ahead, arrived[moving] = read(tried, moving, rows[moving])
            reached = movable.read(tried, moving, chosen[moving])  # rounded
            with np.errstate(all="ignore"):
                slope = (ahead - height[moving]) / (reached - here[moving])
                step[moving] = -ahead / slope
            here[moving], height[moving] = reached, ahead
            moving = moving[np.isfinite(step[moving]) & (step[moving] != 0) & ~arrived[moving]]
            if not len(moving):
                break
        by_attempt = arrived.reshape(len(attempts), len(left))
        found = np.flatnonzero(by_attempt.any(axis=0))
        first = by_attempt.argmax(axis=0)[found] * len(left) + found
        for name, array in tried.items():
            values[name][left[found]] = array[first]
        there[left[found]] = True
    return values


class _Movable:
    """The numbers of a sample that may be moved, one after the other."""

    def __init__(self, model: Model) -> None:
        sizes = {name: prod(s) for name, s in model.leaves.items() if _may_move(model, name)}
        self._leaf = np.repeat(np.arange(len(sizes)), list(sizes.values()))
        self._place = np.concatenate([np.arange(size) for size in (0, *sizes.values())])
        self._names = list(sizes)

    def __len__(self) -> int:
        return len(self._leaf)

    def read(self, values: Values, rows: Indices, chosen: Indices) -> Floats:
        """Return one number of each of some samples."""
        found = np.empty(len(rows))
        for array, which in self._parts(values, chosen):
            found[which] = array[rows[which], self._place[chosen[which]]]
        return found

    def write(
        self, values: Values, rows: Indices, chosen: Indices, numbers: Floats, rounding: Rounding
    ) -> None:
        """Set one number of each of some samples, in the format under judgement."""
        with np.errstate(over="ignore"):
            rounded = numbers.astype(rounding.dtype).astype(np.float64)
        for array, which in self._parts(values, chosen):
            which = which[np.isfinite(rounded[which])]
            array[rows[which], self._place[chosen[which]]] = rounded[which]

    def _parts(self, values: Values, chosen: Indices) -> Iterator[tuple[Any, Indices]]:
        """Yield each leaf, flattened, and for which of the samples it was chosen."""
        leaf = self._leaf[chosen]
        for i, name in enumerate(self._names):
            yield values[name].reshape(len(values[name]), -1), np.flatnonzero(leaf == i)


def _may_move(model: Model, leaf: str) -> bool:
    domain = model.domain(leaf)
    return domain is None or domain.is_unbounded


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
