"""What the situations of the calling contract share: a plain call, and how far another may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
Gradients = Mapping[str, NDArray[np.float64] | None]
NOT_DEFINED = "not defined"
"""The verdict on what a function does not offer; that is no failure."""


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


class BarsOf(Protocol):
    """Tells how far two honest evaluations of each gradient may be apart, by name."""

    def __call__(
        self, cotangents: Sequence[Any], arrays: Arrays | None = None, subject: Any = None
    ) -> Arrays:
        """Return the bars for these inputs of this function; those under judgement by default."""


@dataclass(frozen=True)
class Scene:
    """A function, and what it gave in a plain call.

    Parameters
    ----------
    arrays, cotangents
        Of one sample, in the format under judgement.
    expected
        The gradients of the plain call.
    """

    subject: Any
    arrays: Arrays
    cotangents: Sequence[NDArray[Any]]
    expected: Gradients
    bars_of: BarsOf

    @cached_property
    def bars(self) -> Arrays:
        """How far every other call may be from the plain one."""
        return self.bars_of(self.cotangents)

    def apart(self, found: Gradients) -> str:
        """Say which gradient is not within its bar of the plain call's; empty if none."""
        return apart(found, self.expected, self.bars)


Situation = Callable[[Scene], str | Told | None]
"""Says what is wrong; empty if nothing is, and `None` if it does not apply."""


def off(
    found: NDArray[np.float64], expected: NDArray[np.float64], bar: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Tell which elements are farther away than the bar; what is no number is so as well.

    Nothing is expected where the plain call is infinite or undefined, or has no bar.
    """
    with np.errstate(all="ignore"):
        near = np.abs(found - expected) <= bar
    return np.asarray(np.isfinite(expected) & np.isfinite(bar) & ~near)


def apart(found: Gradients, expected: Gradients, bars: Arrays) -> str:
    """Say which gradient is not within its bar; empty if none."""
    for name, gradient in found.items():
        other = expected[name]
        if (gradient is None) != (other is None):
            return f"the gradient of {name} is None in one call and not in the other"
        if gradient is None or other is None:
            continue
        far = off(gradient, other, bars[name])
        if far.any():
            with np.errstate(all="ignore"):
                distance = np.max(np.abs(gradient - other)[far])
            return f"the gradient of {name} differs by {distance:.3g}"
    return ""


def nonzero(scene: Scene, found: Mapping[str, NDArray[Any] | None]) -> str:
    """Say which gradient is not zero where the plain call's is finite; empty if none."""
    for name, gradient in found.items():
        expected = scene.expected[name]
        if gradient is None or expected is None:
            continue
        if (np.isfinite(expected) & (gradient != 0)).any():
            return f"the gradient of {name} is not zero"
    return ""
