"""How far values are from their references: a histogram in ulps, and the largest distances.

An ulp is a power of two, so that a distance in ulps has the distance's own digits: the bucket of a
distance follows from the difference of two exponents, without a division.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradcheck.numbers.rounding import Rounding

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

ULPS_BITS = 6
"""Buckets per binade, as a power of two: whole ulps up to 128 are exact, more to 1.6 %."""
ULPS_SHIFT = 52 - ULPS_BITS  # a float64 has 52 bits below its exponent
FIRST_BUCKET = int(np.array(2.0**-10).view(np.int64)) >> ULPS_SHIFT
BUCKETS = 74 << ULPS_BITS  # from 2⁻¹⁰ to 2⁶⁴ ulps; the ends take what is beyond

UNMEASURED = -1.0
"""Stands for the ulps of what neither agrees nor disagrees."""

EXPONENT = np.int64(0x7FF0_0000_0000_0000)
"""The bits of a float64 that are its exponent; alone they are a power of two."""
ONE = int(np.array(1.0).view(np.int64))
SMALLEST_BY_BITS = 2.0**-900
"""References from here on are so large that no distance from one that matters is subnormal."""
PART = 2**14
"""Numbers measured at once, which with what is made of them fit a core's cache."""


@dataclass
class Measures:
    """Of distances that agree.

    Parameters
    ----------
    histogram
        Of the ulps, int64.
    max_ulps, max_ratio
        The largest distance, in ulps and as a fraction of its bound.
    position
        Where that fraction is largest, the first of equals.
    """

    histogram: Counts
    max_ulps: float = 0.0
    max_ratio: float = 0.0
    position: int = 0


def measure(distance: Floats, reference: Floats, bound: Floats, rounding: Rounding) -> Measures:
    """Measure distances within their bounds, which are positive where anything is; all `(n,)`."""
    found = Measures(np.zeros(BUCKETS, np.int64))
    for start in range(0, len(distance), PART):
        part = slice(start, start + PART)
        with np.errstate(invalid="ignore", over="ignore"):
            ratio = distance[part] / bound[part]
        place = int(ratio.argmax())
        if np.isnan(ratio[place]):  # an exact zero
            ratio[distance[part] == 0] = 0
            place = int(ratio.argmax())
        if ratio[place] > found.max_ratio:
            found.max_ratio, found.position = float(ratio[place]), start + place
        histogram, max_ulps = _by_bits(distance[part], reference[part], rounding)
        found.histogram += histogram
        found.max_ulps = max(found.max_ulps, max_ulps)
    return found


def _by_bits(distance: Floats, reference: Floats, rounding: Rounding) -> tuple[Counts, float]:
    """Return histogram and maximum of the ulps."""
    rounding = rounding.stored
    power_of_two = reference.view(np.int64) & EXPONENT
    smallest = np.array(max(rounding.smallest_normal, SMALLEST_BY_BITS)).view(np.int64)
    if power_of_two.min() < smallest:
        ulps = distance / ulp_of(reference, rounding)
        return histogram_of(ulps), float(ulps.max())
    bits = distance.view(np.int64) - power_of_two
    ulp_of_one = np.array(2 * rounding.unit_roundoff).view(np.int64)
    offset = int(2 * ONE - ulp_of_one)  # of a zero these are the bits of less than 2⁻⁷¹
    max_ulps = float(np.array(int(bits.max()) + offset).view(np.float64))
    bits += offset
    return _count(bits), max_ulps if max_ulps >= 2.0**-70 else 0.0


def ulp_of(value: Floats, rounding: Rounding) -> Floats:
    """Return one unit in the last place of a format."""
    rounding = rounding.stored
    power_of_two = (value.view(np.int64) & EXPONENT).view(np.float64)
    ulp = np.maximum(power_of_two, rounding.smallest_normal)
    ulp *= 2 * rounding.unit_roundoff
    return ulp


def histogram_of(ulps: Floats) -> Counts:
    """Count by bucket; what was not measured is left out."""
    counts = _count(ulps.view(np.int64).copy())
    counts[0] -= np.count_nonzero(ulps == UNMEASURED)  # the sign bit puts them before the first
    return counts


def _count(bits: NDArray[np.int64]) -> Counts:
    """Count, by bucket, numbers of which these are the bits."""
    bits -= FIRST_BUCKET << ULPS_SHIFT
    bits >>= ULPS_SHIFT
    np.maximum(bits, 0, out=bits)
    if bits.max(initial=0) >= BUCKETS:
        np.minimum(bits, BUCKETS - 1, out=bits)
    return np.bincount(bits, minlength=BUCKETS)
