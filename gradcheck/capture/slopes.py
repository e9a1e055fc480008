"""How the gradients depend on what one operation yields, where they do so linearly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradcheck.capture.trials import Sample, Trials


@dataclass(frozen=True)
class Slope:
    """How the gradients depend on what an operation yields, where that is linear.

    Parameters
    ----------
    value
        What it yields, a vector.
    matrix
        From changes of it to changes of the gradients.
    needed
        By how much the gradients are to change.
    explains
        Whether some change of it makes all gradients right.
    """

    value: NDArray[np.float64]
    shape: tuple[int, ...]
    matrix: NDArray[np.float64]
    needed: NDArray[np.float64]
    explains: bool


LARGEST = 400
"""Elements of what an operation yields up to which its influence is measured one by one."""
RESIDUAL = 1e-7
"""What counts as nothing among gradients measured so, as a share of what is to be explained,"""
NOISE = 1e-13
"""and of gradients of size one."""


def slope_of(trials: Trials, at: int, sample: Sample) -> Slope | None:
    """Measure how the gradients depend on an operation; `None` if not linearly, or it is large."""
    step = trials.steps[at]
    number = step.results[0]
    if len(step.results) != 1 or number is None:
        return None
    value = sample.values[number]
    if not isinstance(value, np.ndarray | np.generic) or np.asarray(value).dtype.kind != "f":
        return None
    value = np.asarray(value)
    if value.size > LARGEST or not value.size:
        return None
    try:
        with np.errstate(all="ignore"):
            return _measured(trials, at, sample, value)
    except Exception:
        return None


def _measured(trials: Trials, at: int, sample: Sample, value: NDArray[np.float64]) -> Slope | None:
    def gradients(changed: NDArray[np.float64]) -> NDArray[np.float64]:
        return trials.stacked(trials.rerun(at, sample, value=changed), sample)

    size = float(np.abs(value).max()) or 1.0
    base = gradients(value)
    columns = []
    for i in range(value.size):
        moved = value.copy()
        moved.flat[i] += size
        columns.append((gradients(moved) - base) / size)
    matrix = np.stack(columns, axis=1)
    probe = np.cos(np.arange(value.size) * 1.7) * size * 0.6
    predicted = base + matrix @ probe
    found = gradients(value + probe.reshape(value.shape))
    scale = np.abs(found).max(initial=1.0)
    if not np.abs(found - predicted).max(initial=0.0) <= RESIDUAL * scale:
        return None
    needed = trials.stacked(sample.truth, sample) - base
    step = np.linalg.lstsq(matrix, needed, rcond=1e-12)[0]
    left = np.abs(matrix @ step - needed).max(initial=0.0)
    noise = NOISE * np.abs(base).max(initial=1.0)
    explains = bool(left <= RESIDUAL * np.abs(needed).max(initial=0.0) + noise)
    return Slope(value.ravel(), value.shape, matrix, needed, explains)
