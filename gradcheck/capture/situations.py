"""What the situations of the calling contract share: a plain call, and how far another may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from gradcheck.capture.subject import Ran, Subject
from gradcheck.numbers.rounding import finfo

Arrays = Mapping[str, NDArray[Any]]
Gradients = Mapping[str, NDArray[np.float64] | None]
NOT_DEFINED = "not defined"
"""The verdict on what a function does not offer; that is no failure."""
MOST_SUBSETS = 4
"""Inputs of which every subset is tried; of more only the single ones and all but one."""


SLACK = 2.0**10
"""How many of the plain call's bars what is computed otherwise may be off, if none can be told."""


class Point(NamedTuple):
    """One situation: what became of it, and why.

    The verdict is `agree`, `disagree`, `error` or `not defined`.
    """

    situation: str
    verdict: str
    message: str = ""


class Told(NamedTuple):
    """What a situation has to say where nothing is wrong."""

    verdict: str
    message: str


class Bars(NamedTuple):
    """How far two honest evaluations may be apart."""

    gradients: Arrays
    outputs: Sequence[NDArray[np.float64]]


class BarsOf(Protocol):
    """Tells the bars."""

    def __call__(
        self, cotangents: Sequence[Any], arrays: Arrays | None = None, subject: Any = None
    ) -> Bars:
        """Return the bars for these inputs of this function; those under judgement by default."""


@dataclass(frozen=True)
class Scene:
    """A function, and what it gave in a plain call.

    Parameters
    ----------
    arrays, cotangents
        Of one sample, in the format under judgement.
    plain
        What the plain call returned.
    """

    subject: Any
    arrays: Arrays
    cotangents: Sequence[NDArray[Any]]
    plain: Ran
    bars_of: BarsOf

    @cached_property
    def expected(self) -> Gradients:
        """The gradients of the plain call."""
        return wide(self.plain.gradients)

    @cached_property
    def bars(self) -> Bars:
        """How far every other call may be from the plain one."""
        return self.bars_of(self.cotangents)

    def apart(self, found: Gradients) -> str:
        """Say which gradient is not within its bar of the plain call's; empty if none."""
        return apart(found, self.expected, lambda: self.bars.gradients)

    @property
    def unit(self) -> float:
        """The unit roundoff of the coarsest format among inputs and outputs."""
        arrays = (*self.arrays.values(), *self.plain.outputs)
        return max(float(finfo(one.dtype).eps) for one in arrays) / 2

    def own_bars(self, function: Any, arrays: Arrays, cotangents: Sequence[Any]) -> Bars | None:
        """Return the bars of another function; `None` if they cannot be told."""
        try:
            return self.bars_of(cotangents, arrays, function)
        except Exception:  # an operation without a rule, or what cannot be recorded
            return None

    def differs(self, other: Ran) -> str:
        """Say what is not within its bar of what the plain call returned; empty if nothing."""
        return outputs_apart(
            other.outputs, self.plain.outputs, lambda: self.bars.outputs
        ) or self.apart(wide(other.gradients))


Situation = Callable[[Scene], str | Told | None]
"""Says what is wrong; empty if nothing is, and `None` if it does not apply."""


Run = Callable[[Any, Arrays, Sequence[Any]], Ran]
"""Differentiates a function."""


def run(function: Subject, arrays: Arrays, cotangents: Sequence[Any]) -> Ran:
    """Differentiate a function as its framework does."""
    return function.run(arrays, cotangents)


def wide(gradients: Mapping[str, NDArray[Any] | None]) -> Gradients:
    """Return gradients in float64."""
    return {
        name: None if one is None else one.astype(np.float64) for name, one in gradients.items()
    }


def subsets(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the subsets of inputs that are tried, less the empty one and the whole."""
    from itertools import combinations

    count = len(names)
    sizes = range(1, count) if count <= MOST_SUBSETS else (1, count - 1)
    return [some for size in sizes for some in combinations(names, size)]


def off(
    found: NDArray[np.float64], expected: NDArray[np.float64], bar: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Tell which elements are farther away than the bar; what is no number is so as well.

    Nothing is expected where the plain call is infinite or undefined, or has no bar.
    """
    with np.errstate(all="ignore"):
        near = np.abs(found - expected) <= bar
    return np.asarray(np.isfinite(expected) & np.isfinite(bar) & ~near)


def apart(found: Gradients, expected: Gradients, bars: Callable[[], Arrays]) -> str:
    """Say which gradient is not within its bar; empty if none. Bars are asked for if needed."""
    for name, gradient in found.items():
        other = expected[name]
        if (gradient is None) != (other is None):
            return f"the gradient of {name} is None in one call and not in the other"
        if gradient is None or other is None:
            continue
        distance = _distance(gradient, other, lambda name=name: bars()[name])  # type: ignore[misc]
        if distance:
            return f"the gradient of {name} {distance}"
    return ""


def outputs_apart(
    found: Sequence[NDArray[Any]],
    expected: Sequence[NDArray[Any]],
    bars: Callable[[], Sequence[NDArray[np.float64]]],
) -> str:
    """Say which output is not within its bar; empty if none."""
    for i, (one, other) in enumerate(zip(found, expected, strict=True)):
        distance = _distance(
            one.astype(np.float64),
            other.astype(np.float64),
            lambda i=i: bars()[i],  # type: ignore[misc]
        )
        if distance:
            return f"output {i} {distance}"
    return ""


def _distance(
    found: NDArray[np.float64],
    expected: NDArray[np.float64],
    bar: Callable[[], NDArray[np.float64]],
) -> str:
    if found.shape != expected.shape:
        return f"has the shape {found.shape}, not {expected.shape}"
    if np.array_equal(found, expected, equal_nan=True):
        return ""
    far = off(found, expected, bar())
    with np.errstate(all="ignore"):
        return f"differs by {np.max(np.abs(found - expected)[far]):.3g}" if far.any() else ""


def within_slack(problem: str) -> Told:
    """Say that a problem may be one of rounding."""
    return Told("agree", f"{problem}: no bar can be told, but it is within {SLACK:,.0f} others")


def nonzero(scene: Scene, found: Mapping[str, NDArray[Any] | None]) -> str:
    """Say which gradient is not zero where the plain call's is finite; empty if none."""
    for name, gradient in found.items():
        expected = scene.expected[name]
        if gradient is None or expected is None:
            continue
        if (np.isfinite(expected) & (gradient != 0)).any():
            return f"the gradient of {name} is not zero"
    return ""


def first_line(error: BaseException) -> str:
    """Return the first line of what an exception says."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
