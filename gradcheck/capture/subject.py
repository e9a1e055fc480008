"""What is under test: a function of a framework, with the inputs that it was given."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from gradcheck.capture.program import Line, Program
from gradcheck.model.model import RESERVED


class Ran(NamedTuple):
    """What a function returned, and its gradients; `None` where the framework gives none."""

    outputs: tuple[NDArray[Any], ...]
    gradients: Mapping[str, NDArray[Any] | None]


@dataclass(frozen=True)
class Captured:
    """A recorded function.

    Parameters
    ----------
    program
        What it computed.
    branches
        Whether control flow may depend on data, so that it holds for this sample alone.
    random
        Where the backward pass drew random numbers that the forward pass had not drawn.
    """

    program: Program
    branches: bool = False
    random: tuple[Line | None, ...] = ()


class Subject(Protocol):
    """A function of a framework.

    Attributes
    ----------
    given
        Values of what is differentiated, float64, by name.
    dtype
        The format in which they were given.
    names
        Of the function's arguments.
    """

    framework: str
    names: list[str]
    given: dict[str, NDArray[Any]]
    dtype: str

    def outputs(self, arrays: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], ...]:
        """Call the function; return its outputs that can be differentiated."""

    def run(
        self, arrays: Mapping[str, NDArray[Any]], cotangents: Sequence[NDArray[Any]] | None
    ) -> Ran:
        """Differentiate in the arrays' format; with cotangents of ones if none are given."""

    def capture(
        self, arrays: Mapping[str, NDArray[Any]], cotangents: Sequence[NDArray[Any]]
    ) -> Captured:
        """Record what is computed, forward and backward."""

    def is_kernel(self, operation: str) -> bool:
        """Tell whether an operation without a rule is one that nobody can look into."""

    def forward_alone(self) -> Subject:
        """Return a function that does the forward pass; its derivative is the framework's."""


def flat_name(names: Sequence[str], path: Sequence[Any]) -> str:
    """Name a leaf of the arguments by its path: `x`, `params.w`, `layers.0`."""
    first, *rest = (
        getattr(key, "idx", getattr(key, "key", getattr(key, "name", key))) for key in path
    )
    return ".".join([names[first], *map(str, rest)])


def usable_name(name: str, taken: Collection[str]) -> str:
    """Change a name that no column or attribute can have."""
    parts = [part if part.isdigit() else _identifier(part) for part in name.split(".")]
    name = ".".join(parts)
    name = f"layers.{name}" if name[0].isdigit() else name
    while name in RESERVED or name in taken or any(one.startswith(f"{name}.") for one in taken):
        name += "_"
    return name


def _identifier(part: str) -> str:
    kept = "".join(letter if letter.isalnum() else "_" for letter in part)
    return kept if kept.isidentifier() else f"_{kept}"
