"""What an honest evaluation may do, beside the operations that it is written with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from gradcheck.errors import RequestError
from gradcheck.suggestions import nearest

CHOICES: Mapping[str, tuple[str, ...]] = {
    "intermediates": ("any", "float32"),
    "accumulator": ("float32", "storage"),
    "order": ("any", "pairwise"),
    "tf32": ("no", "yes"),
}
"""What each field may be, the default first."""


@dataclass(frozen=True)
class Recipe:
    """What an honest evaluation may do.

    The first two concern formats of 16 bits, whose operations compute in float32.

    Parameters
    ----------
    intermediates
        `any`: each result is rounded to the format, or kept in float32 where operations are fused.
        `float32`: all are kept, and the gradients alone rounded.
    accumulator
        In which sums and products of matrices are added up: `float32`, or `storage`, the format
        itself.
    order
        In which they are: `any`, so that n terms take n − 1 roundoffs at worst; or `pairwise`, as
        a tree, so that they take log₂ n.
    tf32
        Whether the factors of products of matrices may be rounded to TF32, of 11 bits: `yes`, `no`.

    Raises
    ------
    RequestError
        For anything else.
    """

    intermediates: str = "any"
    accumulator: str = "float32"
    order: str = "any"
    tf32: str = "no"

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            given = getattr(self, name)
            if given not in choices:
                raise RequestError("recipe", f"{name} is {' or '.join(choices)}, not {given!r}")

    def __str__(self) -> str:
        """Return what differs from the default, as it is asked for."""
        default = Recipe()
        return ",".join(
            f"{one.name}={getattr(self, one.name)}"
            for one in fields(self)
            if getattr(self, one.name) != getattr(default, one.name)
        )

    def told(self, dtype: str, working: str) -> str:
        """Say in words what an evaluation in a format may do that computes in the other."""
        narrow = working != dtype
        held = "rounded or kept" if self.intermediates == "any" else "kept"
        adding = dtype if self.accumulator == "storage" else working
        return (
            f"{dtype}: computes in {working}"
            + (f", results {held}" if narrow else "")
            + f"; sums in {adding}, {'in any order' if self.order == 'any' else 'pairwise'}"
            + f"; {'TF32 for products of matrices' if self.tf32 == 'yes' else 'no TF32'}"
        )


def recipe_of(given: Any) -> Recipe:
    """Return a recipe as it is, or made of `tf32=yes,…`, or of a mapping from field to choice.

    Raises
    ------
    RequestError
        Naming the field that there is none of, or what it cannot be.
    """
    if isinstance(given, Recipe):
        return given
    if isinstance(given, str):
        parts = (part.partition("=") for part in given.split(",") if part.strip())
        given = {name.strip(): choice.strip() for name, _, choice in parts}
    if not isinstance(given, Mapping):
        raise RequestError("recipe", f"expected text such as 'tf32=yes', got {given!r}")
    for name in given:
        if name not in CHOICES:
            raise RequestError("recipe", f"there is no {name!r}{nearest(str(name), list(CHOICES))}")
    return Recipe(**given)
