"""The floating-point format under judgement, and how far honest operations may err in it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import ml_dtypes
import numpy as np

from gradcheck.numbers.recipe import Recipe

finfo: Any = ml_dtypes.finfo
"""What `numpy.finfo` tells, of formats of 16 bits as well."""
WORKING = np.dtype(np.float32)
"""In which numbers of 16 bits are computed with: functions are evaluated, and sums added up."""
TF32 = 2.0**-11
"""Unit roundoff of TF32, to which the factors of a product of matrices may be rounded."""
REFERENCE = 2.0**-30
"""Bounds what a float64 midpoint errs, as a share of what an evaluation in 16 bits does."""
RADIUS_INFLATION = 1 + 2.0**-47
"""Covers the rounding of a radius itself: up to 64 float64 operations on positive numbers."""


@dataclass(frozen=True)
class Rounding:
    """The floating-point format under judgement, and how far library functions may err in it.

    Parameters
    ----------
    dtype
        `float64`, `float32`, `float16` or `bfloat16`. In the last two an operation computes in
        float32, a sum too, and rounds what it arrives at once; or, where operations are fused, not.
    ulps
        Allowance for a library function (sin, exp, …), in ulps of its exact result, in the format
        in which it computes.
    recipe
        What else an honest evaluation may do.
    weak
        Whether the numbers are answers to comparisons, or count them, and take the format of what
        they meet.
    """

    dtype: np.dtype[Any]
    ulps: float = 4.0
    recipe: Recipe = field(default_factory=Recipe)
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
        return self.of_numbers if dtype == self.dtype else Rounding(dtype, self.ulps, self.recipe)

    @cached_property
    def held(self) -> np.dtype[Any]:
        """The format in which results are held between operations: a recipe may keep them wide."""
        narrow = self.dtype.itemsize < WORKING.itemsize
        return WORKING if narrow and self.recipe.intermediates == "float32" else self.dtype

    @cached_property
    def stored(self) -> Rounding:
        """The same of numbers that are rounded to the format itself, as inputs and gradients."""
        if self.held == self.dtype:
            return self
        return replace(self, recipe=replace(self.recipe, intermediates="any"))

    def is_coarser_than(self, other: Rounding) -> bool:
        """Whether a cast from the other's format rounds."""
        return self.stored.unit_roundoff > other.stored.unit_roundoff

    @cached_property
    def factors_in_tf32(self) -> bool:
        """Whether the factors of a product of matrices may be rounded to TF32.

        After a rounding to 16 bits that changes nothing, and the one covers the other.
        """
        return self.recipe.tf32 == "yes" and self.held == WORKING

    @cached_property
    def unit_roundoff(self) -> float:
        """Half an ulp of 1: the relative error of correct rounding (u)."""
        return float(finfo(self.held).eps) / 2

    @cached_property
    def is_narrow(self) -> bool:
        """Whether operations compute in float32, and round each result to 16 bits."""
        return self.held.itemsize < WORKING.itemsize

    @cached_property
    def working(self) -> Rounding:
        """The same of the format in which it computes."""
        return self.in_format(WORKING) if self.stored.is_narrow else self

    @cached_property
    def library_ulps(self) -> float:
        """Allowance for a library function, in ulps of this format."""
        return self.rounded_once(self.ulps)

    def rounded_once(self, ulps: float) -> float:
        """Return by how many ulps a result errs that errs by so many where it is computed."""
        share = self.working.unit_roundoff / self.unit_roundoff
        return 0.5 + ulps * share if self.is_narrow else ulps

    @cached_property
    def smallest_normal(self) -> float:
        """The smallest positive normal number."""
        return float(finfo(self.held).smallest_normal)

    @cached_property
    def flushed(self) -> float:
        """Below which magnitude numbers may be flushed to zero: where they are computed with."""
        return self.working.smallest_normal

    @cached_property
    def subnormal_error(self) -> float:
        """Half the distance of subnormal numbers."""
        return self.unit_roundoff * self.smallest_normal

    @cached_property
    def underflow_error(self) -> float:
        """By how much a result below `smallest_normal` may err, beyond its roundoffs."""
        return max(self.flushed, self.subnormal_error)

    def sum_underflow_error(self, terms: int) -> float:
        """Return the same of two sums of so many products."""
        return 4 * terms * self.flushed + 2 * self.subnormal_error

    @cached_property
    def largest(self) -> float:
        """The largest finite number."""
        return float(finfo(self.held).max)

    @cached_property
    def arithmetic_error(self) -> float:
        """Relative distance of two correctly rounded results (2u, and second-order terms)."""
        return self.two_errors(1.0)

    @cached_property
    def library_error(self) -> float:
        """Relative distance of two library functions' results; an ulp of y is at most 2u·|y|."""
        return self.two_errors(2 * self.library_ulps)

    @cached_property
    def cast_error(self) -> float:
        """Relative distance of a number and what it is stored as."""
        roundoff = self.stored.unit_roundoff
        return roundoff * (1 + roundoff) * RADIUS_INFLATION

    def additions(self, terms: int) -> int:
        """Return how many additions a term of a sum goes through at most."""
        return (terms - 1).bit_length() if self.recipe.order == "pairwise" else terms - 1

    def sum_error(self, roundoffs: float) -> float:
        """Return the distance of two sums, relative to Σ abs(…), after so many operations each."""
        if not roundoffs:
            return self.two_errors(0.0)
        if self.recipe.accumulator == "storage":
            return self.two_errors(roundoffs * self.stored.unit_roundoff / self.unit_roundoff)
        return self.two_errors(2 * self.rounded_once(roundoffs / 2))

    def two_errors(self, roundoffs: float) -> float:
        """Return the relative distance of two results that each err by so many roundoffs.

        A midpoint is computed in float64: beside 16 bits it is as good as exact.
        """
        parties = 1 + REFERENCE if self.is_narrow else 2
        error = parties * roundoffs * self.unit_roundoff
        return error * (1 + error) * RADIUS_INFLATION


@dataclass(frozen=True)
class Accuracy:
    """How many ulps of the exact result one evaluation of a function may err.

    Parameters
    ----------
    float64, float32
        At least, in each format; what computes in another is rounded once more.
    known
        Whether that is all, whatever `Rounding.ulps` allows to library functions.
    """

    float64: float = 0.0
    float32: float = 0.0
    known: bool = False

    def __call__(self, rounding: Rounding, *_: Any) -> float:
        """Return the number of ulps."""
        least: float = getattr(self, rounding.working.dtype.name)
        if self.known:  # an operation that is rounded correctly is so by way of float32 as well
            return least
        return rounding.rounded_once(max(least, rounding.ulps))
