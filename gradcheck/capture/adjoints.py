"""Adjoints of a forward pass, by differences in extended precision, to tell which lines are right.

What a backward pass computes on its way is often an adjoint of some value of the forward pass.
Where it is the true one, the fault comes later. Nothing is claimed of this: it ranks lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.capture.program import begin, proceed
from gradcheck.capture.trials import Sample, Trials, yielded

STEP = 2.0**-10
"""Of differences, which are extrapolated twice: their error is about its fourth power."""
LARGEST = 200
"""Elements of a value whose adjoint is computed."""
ALIKE = 1e-8
"""How near an adjoint must be, as a share of its largest element,"""
FAR = 1e-6
"""where the gradients' errors are so large a share at least."""


def adjoints(trials: Trials, sample: Sample) -> Iterator[NDArray[Any]]:
    """Yield the adjoints of the values of the forward pass, as far as they can be had."""
    program = sample.program
    if trials.writes:
        return
    leaves = {name: np.asarray(leaf, np.longdouble) for name, leaf in sample.leaves.items()}
    values = begin(program, leaves)
    try:
        proceed(program.forward, values)
    except Exception:  # a function that knows float64 alone
        return
    for at, step in enumerate(program.forward):
        number = step.results[0]
        if len(step.results) != 1 or number is None:
            continue
        value = values[number]
        kind = getattr(getattr(value, "dtype", None), "kind", "")
        if kind == "f" and 0 < np.size(value) <= LARGEST:
            with suppress(Exception):  # what extended precision cannot follow has no adjoint
                yield _adjoint(sample, values, at, number)


def _adjoint(sample: Sample, values: Mapping[int, Any], at: int, number: int) -> NDArray[Any]:
    program = sample.program
    later, changed = [], {number}
    for step in program.forward[at + 1 :]:
        if changed & set(step.operands):
            later.append(step)
            changed |= {one for one in step.results if one is not None}
    cotangents = [
        np.asarray(sample.leaves[f"cotangent.{i}"], np.longdouble)
        for i in range(len(program.outputs))
    ]

    def loss(moved: Any) -> Any:
        run = dict(values)
        run[number] = moved
        for step in later:
            run |= yielded(step, run)
        return sum(
            np.sum(run[output] * cotangent)
            for output, cotangent in zip(program.outputs, cotangents, strict=True)
        )

    value = np.asarray(values[number])
    found = np.empty(value.size)
    for i in range(value.size):
        size = np.longdouble(STEP) * (abs(value.flat[i]) or 1)
        slopes = []
        for step_size in (size, size / 2):
            ahead, behind = value.copy(), value.copy()
            ahead.flat[i] += step_size
            behind.flat[i] -= step_size
            slopes.append((loss(ahead) - loss(behind)) / (2 * step_size))
        found[i] = (4 * slopes[1] - slopes[0]) / 3
    return found.reshape(value.shape)


def known_right(trials: Trials, sample: Sample) -> set[int]:
    """Return the operations behind true adjoints, and those that repeat the forward pass."""
    program, split = sample.program, len(sample.program.forward)
    errors = [
        np.abs(sample.values[program.gradients[name]] - sample.truth[name]).max(initial=0)  # type: ignore[index]
        / (np.abs(sample.truth[name]).max(initial=0) or 1.0)
        for name in trials.wrong
        if np.shape(sample.values[program.gradients[name]]) == sample.truth[name].shape  # type: ignore[index]
    ]
    if min(errors, default=1.0) < FAR:
        return set()
    true: dict[tuple[int, ...], list[NDArray[Any]]] = {}
    for adjoint in adjoints(trials, sample):
        if adjoint.any() and adjoint.size > 1:
            true.setdefault(adjoint.shape, []).append(adjoint)
    wrong = {program.gradients[name] for name in trials.wrong}
    right: list[int] = []
    for step in trials.steps[split:]:
        number = step.results[0]
        value = sample.values.get(number) if number is not None else None
        if (
            number not in wrong
            and isinstance(value, np.ndarray)
            and any(
                np.abs(value - one).max() <= ALIKE * np.abs(one).max()
                for one in true.get(value.shape, ())
            )
        ):
            right.append(number)  # type: ignore[arg-type]
    return trials.behind(right)


def repeated(trials: Trials, sample: Sample) -> set[int]:
    """Return the operations of the backward pass that repeat one of the forward pass."""
    split = len(sample.program.forward)

    def key(at: int) -> Any:
        number = trials.steps[at].results[0]
        value = np.asarray(sample.values.get(number))  # type: ignore[arg-type]
        if value.dtype.kind not in "fb" or value.size < 2:
            return None
        return value.shape, value.dtype.kind, value.tobytes()

    seen = {key(at) for at in range(split)} - {None}
    return {at for at in range(split, len(trials.steps)) if key(at) in seen}
