"""How far a result may be from the one computed: the lemma behind the rules of balls.

One lemma serves every operation. Let the exact results over the operands' balls stay within
`spread` of the exact result at the midpoints. Then they reach |midpoint| + spread at most, either
evaluation errs by at most k·u of that, where u is the format's unit roundoff and k = 1 for
arithmetic, and a result in the subnormal range by the format's underflow error η besides, which is
less than the smallest normal number:

    radius = spread + 2·k·u·(|midpoint| + spread) + 2·η.

An exact zero stays exact. Where the reach passes the largest finite number the radius is infinite:
an honest evaluation may overflow there.

A result that is NaN for every number that the operands may be has the radius 0: it is undefined
for certain. One that is NaN for any other reason, an overflow before all, has an infinite radius.

References
----------
N. J. Higham, *Accuracy and Stability of Numerical Algorithms*, SIAM 2002, sections 3.1 (sums of
products) and 3.3 (running error analysis). J. van der Hoeven, *Ball arithmetic*, 2009.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gradcheck.numbers.rounding import RADIUS_INFLATION, Rounding

Floats = NDArray[np.float64]
Pair = tuple[Floats, Floats]
"""Midpoints and radii."""


class Operand(Protocol):
    """What a rule needs to know of a ball."""

    @property
    def mid(self) -> Floats:
        """Midpoints."""

    @property
    def rad(self) -> Floats:
        """Radii."""

    @property
    def sin_cos(self) -> Pair:
        """Sine and cosine of the midpoints."""


SMALLEST = float(np.finfo(np.float64).smallest_subnormal)

EXACT = np.zeros(())
"""The radius of balls that are all exact; operations recognise it and save the work."""


def enclose(
    mid: Any,
    spread: Any,
    error: float,
    zero: Any,
    rounding: Rounding,
    operands: Sequence[Operand] = (),
) -> Pair:
    """Apply the lemma of the module's docstring.

    `zero()` tells where a midpoint of zero is the exact result, not an underflow. An infinity of
    `operands` that is exact, as the −∞ of a mask is, makes the result one.
    """
    rad = np.asarray(np.abs(mid))
    rad *= error
    if spread is not EXACT:
        rad += spread
        rad *= (1 + error) * RADIUS_INFLATION
    # The rest concerns results near the ends of the exponent range. Most blocks have none.
    underflow = rounding.underflow_error * 2.0**60  # above it, RADIUS_INFLATION covers the flush
    overflow = rounding.largest * error / 4  # below it, the reach is below largest/2
    if rad.size and not (rad.min() >= underflow and rad.max() <= overflow):
        rad += (rad < underflow) * (2 * rounding.underflow_error)
        rad[(mid == 0) & zero()] = 0
        reach = np.abs(mid) + spread
        rad[~(reach <= rounding.largest / (1 + 2 * error))] = np.inf
        if operands and np.isinf(mid).any():
            rad[np.isinf(mid) & _infinite(*operands)] = 0
    return np.asarray(mid), rad


def _infinite(*operands: Operand) -> Any:
    """Tell where one operand is an exact infinity, and the others finite."""
    infinite = [np.isinf(operand.mid) & (operand.rad == 0) for operand in operands]
    finite = [np.isfinite(operand.mid) & (operand.rad < np.inf) for operand in operands]
    known = np.logical_and.reduce(np.broadcast_arrays(*map(np.logical_or, infinite, finite)))
    return known & np.logical_or.reduce(np.broadcast_arrays(*infinite))


def contract(
    function: Callable[..., Any], operands: Sequence[Operand], terms: int, rounding: Rounding
) -> Pair:
    """Enclose a sum of `terms` products of one or two factors, added in any order, fused or not.

    `function` is linear in each operand. With |a| + rad in place of every operand it bounds the sum
    of the magnitudes of all that is added, and each addition and each multiplication errs by a
    roundoff of that at most.
    """
    mids = [operand.mid for operand in operands]
    sizes = [np.abs(mid) for mid in mids]
    reaches = [
        size if operand.rad is EXACT else size + operand.rad
        for size, operand in zip(sizes, operands, strict=True)
    ]
    roundoffs = rounding.additions(terms) + len(operands) - 1
    inflation = 1 + (terms * len(operands) + 64) * 2.0**-52
    error = rounding.sum_error(roundoffs) * inflation
    mid = np.asarray(function(*mids))
    reach = np.asarray(function(*reaches)) * inflation
    rad = np.asarray(error * reach)
    for i, operand in enumerate(operands):
        if operand.rad is not EXACT:
            rad = rad + function(*sizes[:i], operand.rad, *reaches[i + 1 :])
    rad = np.asarray(rad * inflation)
    if rad.size:
        lost = rounding.sum_underflow_error(terms)
        if roundoffs and not rad.min() >= lost * 2.0**60:
            rad += lost
        if not reach.all():  # nothing but zeros is added, unless products underflow
            present = function(*((size != 0).astype(np.float64) for size in reaches))
            rad[np.asarray(present) == 0] = 0
        rad[~(reach <= rounding.largest / (1 + 2 * error)) | np.isnan(rad)] = np.inf
        if np.isnan(mid).any():
            undefined = [
                np.asarray(is_undefined(operand), dtype=np.float64) for operand in operands
            ]
            ones = [np.ones(size.shape) for size in sizes]
            for i, one in enumerate(undefined):
                broken = function(*ones[:i], np.broadcast_to(one, sizes[i].shape), *ones[i + 1 :])
                rad[np.asarray(broken) > 0] = 0
    return mid, rad


def is_undefined(a: Operand) -> Any:
    """Tell where no number is meant, whatever the roundings."""
    return np.isnan(a.mid) & (a.rad == 0)
