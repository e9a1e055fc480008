"""The floating-point format under judgement, and how far honest operations may err in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

RADIUS_INFLATION = 1 + 2.0**-47
"""Covers the rounding of a radius itself: up to 64 float64 operations on positive numbers."""

ALLOWANCE: Mapping[str, Mapping[str, float]] = {
    "tanh": {"float64": 9, "float32": 6},  # JAX: 6.92 near ±20; 4.32 near 4
    "expm1": {"float64": 6, "float32": 7},  # JAX: 4.22 near 0.2; 5.53 near 0.002
    "arctan": {"float32": 7},  # JAX, small arrays: 5.33
    "sinh": {"float64": 8, "float32": 8},  # JAX: 6.21 near 0.5, and |x| ulps besides
    "cosh": {"float64": 8, "float32": 8},
    "sqrt": {"float64": 1, "float32": 1},  # PyTorch: 0.524 and 0.744; not correctly rounded
}
"""By function and dtype, how many ulps it may err: those for which it is not `Rounding.ulps`.

Each is 1.25 times the worst that was found in NumPy, PyTorch or JAX, rounded up
(`scripts/library.py`, results/library), and stands beside its source. All others stayed below 3.2.
"""
NEARLY_ROUNDED = frozenset({"sqrt"})
"""Functions that are better than `Rounding.ulps`, whatever that is."""
LOG1P_DIP = -0.4143, -0.34, 161.0
"""JAX's float64 log1p errs by up to 128 ulps just above −0.41421, and by 2.3 at −0.35."""


@dataclass(frozen=True)
class Rounding:
    """The floating-point format under judgement, and how far library functions may err in it.

    Parameters
    ----------
    dtype
        `float32` or `float64`.
    ulps
        Allowance for a library function (sin, exp, …), in ulps of its exact result.
    """

    dtype: np.dtype[Any]
    ulps: float = 4.0

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

    def allowance(self, function: str) -> float:
        """Return how many ulps a library function may err."""
        listed = ALLOWANCE.get(function, {}).get(self.dtype.name)
        if listed is None:
            return self.ulps
        return listed if function in NEARLY_ROUNDED else max(listed, self.ulps)

    def error_of(self, function: str) -> float:
        """Return the relative distance of two results of a library function."""
        return self.two_errors(2 * self.allowance(function))

    def two_errors(self, roundoffs: float) -> float:
        """Return the relative distance of two results that each err by so many roundoffs."""
        error = 2 * roundoffs * self.unit_roundoff
        return error * (1 + error) * RADIUS_INFLATION
