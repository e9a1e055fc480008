"""The floating-point format under judgement, and how far honest operations may err in it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

RADIUS_INFLATION = 1 + 2.0**-47
"""Covers the rounding of a radius itself: up to 64 float64 operations on positive numbers."""


@dataclass(frozen=True)
class Rounding:
    """The floating-point format under judgement, and how far library functions may err in it.

    Parameters
    ----------
    dtype
        `float32` or `float64`.
    ulps
        Allowance for a library function (sin, exp, …), in ulps of its exact result.
    weak
        Whether the numbers are answers to comparisons, or count them, and take the format of what
        they meet.
    """

    dtype: np.dtype[Any]
    ulps: float = 4.0
    weak: bool = field(default=False, compare=False)

    @cached_property
    def of_answers(self) -> Rounding:
        """The same for answers to comparisons."""
        return self if self.weak else replace(self, weak=True)

    @cached_property
    def of_numbers(self) -> Rounding:
        """The same for numbers."""
        return replace(self, weak=False) if self.weak else self

    def in_format(self, dtype: np.dtype[Any]) -> Rounding:
        """Return the same of another format."""
        return self.of_numbers if dtype == self.dtype else Rounding(dtype, self.ulps)

    @cached_property
    def unit_roundoff(self) -> float:
        """Half an ulp of 1: the relative error of correct rounding (u)."""
        return float(np.finfo(self.dtype).eps) / 2

    @cached_property
    def smallest_normal(self) -> float:
        """The smallest positive normal number."""
        return float(np.finfo(self.dtype).smallest_normal)

    @cached_property
    def largest(self) -> float:
        """The largest finite number."""
        return float(np.finfo(self.dtype).max)

    @cached_property
    def arithmetic_error(self) -> float:
        """Relative distance of two correctly rounded results (2u, and second-order terms)."""
        return self.two_errors(1.0)

    @cached_property
    def library_error(self) -> float:
        """Relative distance of two library functions' results; an ulp of y is at most 2u·|y|."""
        return self.two_errors(2 * self.ulps)

    def two_errors(self, roundoffs: float) -> float:
        """Return the relative distance of two results that each err by so many roundoffs."""
        error = 2 * roundoffs * self.unit_roundoff
        return error * (1 + error) * RADIUS_INFLATION


@dataclass(frozen=True)
class Accuracy:
    """How many ulps of the exact result one evaluation of a function may err.

    Parameters
    ----------
    float64, float32
        At least, in each format.
    known
        Whether that is all, whatever `Rounding.ulps` allows to library functions.
    """

    float64: float = 0.0
    float32: float = 0.0
    known: bool = False

    def __call__(self, rounding: Rounding, *_: Any) -> float:
        """Return the number of ulps."""
        least: float = getattr(self, rounding.dtype.name)
        return least if self.known else max(least, rounding.ulps)
