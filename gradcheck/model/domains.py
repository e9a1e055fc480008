"""What an input or a parameter may be: declared by a model, so that samples make sense for it.

A domain maps standard random numbers to admissible ones; it draws nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.errors import RequestError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Domain:
    """Where numbers come from.

    Parameters
    ----------
    description
        As it was declared.
    base
        The standard distribution that it is made from: a key of the samplers, or empty for the
        one that the request names, times its scale.
    transform
        From standard numbers `(n, *shape)` to admissible ones of that shape, by additions,
        multiplications and comparisons alone, so that they replay anywhere.
    is_discrete
        Whether they are integers.
    is_unbounded
        Whether any other number would do as well.
    needs_axis
        Whether a single number makes no sense.
    nearest
        From any finite numbers to admissible ones near them, each by itself; `None` if numbers
        hang together, so that none can be changed alone.
    """

    description: str
    base: str
    transform: Callable[[Any], Any]
    is_discrete: bool = False
    is_unbounded: bool = False
    needs_axis: bool = False
    nearest: Callable[[Any], Any] | None = None

    def __repr__(self) -> str:
        return f"sampling.{self.description}"


def _are_numbers(*values: Any) -> bool:
    return all(
        isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
        for value in values
    )


def _any_number(x: Any) -> Any:
    return x


def positive() -> Domain:
    """Magnitudes of what would be drawn without this; never zero."""

    def transform(x: Floats) -> Floats:
        return np.where(x == 0, 1.0, np.abs(x))

    return Domain("positive()", "", transform, nearest=transform)


def uniform(low: float, high: float) -> Domain:
    """Numbers from `low` to `high`."""
    if not (_are_numbers(low, high) and low < high and isfinite(high - low)):
        raise RequestError("sampling.uniform", f"expected low < high, got {low!r} and {high!r}")
    return Domain(
        f"uniform({low!r}, {high!r})",
        "uniform",
        lambda x: low + (high - low) * (x + 1) / 2,
        nearest=lambda x: np.clip(x, low, high),
    )


def normal(mean: float = 0.0, std: float = 1.0) -> Domain:
    """Around `mean` with the standard deviation `std`."""
    if not (_are_numbers(mean, std) and std > 0):
        raise RequestError("sampling.normal", f"expected std > 0, got mean {mean!r}, std {std!r}")
    return Domain(
        f"normal({mean!r}, {std!r})",
        "normal",
        lambda x: mean + std * x,
        is_unbounded=True,
        nearest=_any_number,
    )


def scaled(factor: float) -> Domain:
    """Multiply what would be drawn without this by a factor."""
    if not (_are_numbers(factor) and factor > 0):
        raise RequestError("sampling.scaled", f"expected a factor > 0, got {factor!r}")
    return Domain(
        f"scaled({factor!r})", "", lambda x: factor * x, is_unbounded=True, nearest=_any_number
    )


def integers(low: int, high: int) -> Domain:
    """Whole numbers from `low` up to but not including `high`, all equally likely."""
    if not (isinstance(low, int) and isinstance(high, int) and low < high):
        raise RequestError("sampling.integers", f"expected whole low < high, got {low!r}, {high!r}")

    def transform(x: Floats) -> Floats:
        return np.asarray(np.minimum(low + np.floor((high - low) * (x + 1) / 2), high - 1))

    return Domain(
        f"integers({low}, {high})",
        "uniform",
        transform,
        is_discrete=True,
        nearest=lambda x: np.clip(np.rint(x), low, high - 1),
    )


def unit_norm() -> Domain:
    """Vectors of length one along the last axis, in every direction equally likely."""

    def transform(x: Floats) -> Floats:
        return x / np.sqrt((x * x).sum(axis=-1, keepdims=True)) if x.ndim > 1 else np.sign(x)

    return Domain("unit_norm()", "normal", transform)


def one_hot() -> Domain:
    """Zeros and a single 1 along the last axis, everywhere equally likely."""

    def transform(x: Floats) -> Floats:
        return np.asarray(x == x.max(axis=-1, keepdims=True), dtype=np.float64)

    return Domain("one_hot()", "uniform", transform, needs_axis=True)


def near(values: Floats, share: float = 0.125) -> Domain:
    """Numbers like those of an array: each by up to a share of itself larger or smaller.

    Zeros stay zeros, unless there is nothing else; then they are up to the share itself. What is
    infinite stays so.
    """
    finite = np.where(np.isfinite(values), values, 0.0)
    size = finite if np.any(values) else np.ones_like(values)
    reach = share * np.abs(size)
    return Domain(
        f"near(…, {share!r})",
        "uniform",
        lambda x: values + share * x * size,
        nearest=lambda x: np.clip(x, values - reach, values + reach),
    )


def rounded(domain: Domain | None, dtype: Any) -> Domain:
    """Round what would be drawn to a coarser format, in which it stays."""
    transform = domain.transform if domain else _any_number
    nearest = domain.nearest if domain else _any_number

    def round_(x: Any) -> Any:
        return np.asarray(x).astype(dtype).astype(np.float64)

    return Domain(
        domain.description if domain else "normal()",
        domain.base if domain else "",
        lambda x: round_(transform(x)),
        nearest=nearest and (lambda x: round_(nearest(x))),
    )
