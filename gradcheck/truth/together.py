"""Samples whose gradients are proved all at once, by one derivative each in a random direction.

See `identity` for the idea. Here it is asked of many samples in one evaluation, and only what can
be told so: what is left is looked at sample by sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import flint
import numpy as np
from numpy.typing import NDArray

from gradcheck.model.model import Model
from gradcheck.numbers.dual import each
from gradcheck.numbers.rounding import Rounding
from gradcheck.truth.derivative import PRECISIONS
from gradcheck.truth.enclosures import Enclosures, precision
from gradcheck.truth.points import Points

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

BLUR = 2.0**-44
"""How far apart, as a share of Σ abs(uₖgₖ), the rounding of a few constants may put the two."""
BLUR_RECORDED = {"float64": BLUR, "float32": 2.0**-33}
"""The same of a recorded function, whose constants may be given to the digits of its format."""
FEWEST_DIGITS = 2.0**40
"""How much larger a number is than its radius, to be weighted by its size."""
AT_ONCE = 2**14
"""Inputs and parameters of the samples that are evaluated at once."""
UNSETTLED, OPEN = -1, -2
"""In place of a count: it takes a look at the sample alone; or the precision may be too low."""

_radii = each(flint.arb.rad)
_is_near = each(lambda apart, bound: bool(abs(apart) <= bound), 2)
_is_far = each(lambda apart, bound: bool(abs(apart) > bound), 2)
_is_within = each(lambda value, ball, bound: bool(abs(ball - value) <= bound), 3)


def blur_of(model: Model, rounding: Rounding) -> float:
    """Return what rounded constants of a model explain."""
    return BLUR_RECORDED[rounding.working.dtype.name] if model.recorded else BLUR


def in_floats(balls: Enclosures) -> tuple[Floats, Floats]:
    """Return midpoints, to within a unit in the last place, and radii that are no smaller."""
    radii = np.asarray(_radii(balls), float)
    with np.errstate(all="ignore"):
        above = np.nextafter(radii, np.inf)
    return np.asarray(balls, float), np.where(radii > 0, above, 0.0)


def scaled(random: Floats, middles: Floats, radii: Floats) -> Floats:
    """Scale random numbers by powers of two, so that their products with all balls are of one size.

    What is known to few digits has a smaller one, lest it hide what is wrong elsewhere.
    """
    with np.errstate(all="ignore"):
        sizes = np.maximum(np.abs(middles), radii * FEWEST_DIGITS)
        weights: Floats = np.ldexp(random, np.clip(-np.frexp(sizes)[1], -900, 900))
    return weights


def are_within(value: Floats, formula: Enclosures, bound: Floats) -> Mask:
    """Tell which floats are within their bounds of what a formula yields, for certain.

    Where floats do not tell, with two units in the last place for each of their own roundings,
    Arb's numbers do.
    """
    with np.errstate(all="ignore"):
        middles, radii = in_floats(formula)
        apart = np.abs(value - middles) + radii
        slack = 2 * np.spacing(np.abs(middles)) + 4 * np.spacing(apart)
        within = np.asarray(apart + slack <= bound)
    close = np.flatnonzero(~within)
    exactly = (part.ravel()[close] for part in (value, formula, bound))
    within.ravel()[close] = np.asarray(_is_within(*exactly), bool)
    return within


@dataclass(frozen=True)
class Gradients:
    """The gradients of some samples one after the other, in arrays of shape `(n, m)`.

    Parameters
    ----------
    shapes
        Which gradients, in this order, and their shapes.
    random
        By which each moves in the random direction.
    kink
        Where a kink may be met.
    value, bound, ulp
        Of the reference.
    """

    shapes: Mapping[str, tuple[int, ...]]
    random: Floats
    kink: Mask
    value: Floats
    bound: Floats
    ulp: Floats

    @property
    def columns(self) -> tuple[Any, ...]:
        """All of this, in order."""
        return self.shapes, self.random, self.kink, self.value, self.bound, self.ulp

    def rows(self, chosen: Any) -> Gradients:
        """Return those of some samples, or of one."""
        shapes, *arrays = self.columns
        return Gradients(shapes, *(array[chosen] for array in arrays))


def prove_together(
    model: Model, values: Mapping[str, NDArray[Any]], rounding: Rounding, gradients: Gradients
) -> NDArray[np.int64]:
    """Count the gradients of each sample that are proved right, off any kink.

    Returns
    -------
    numpy.ndarray
        Of shape `(n,)`, negative where something of a sample is not settled.
    """
    counts = np.full(len(gradients.value), OPEN)
    at_once = max(1, AT_ONCE // sum(array[0].size for array in values.values()))
    for bits in PRECISIONS[::2]:
        left = np.flatnonzero(counts == OPEN)
        for start in range(0, len(left), at_once):
            rows = left[start : start + at_once]
            some = {name: array[rows] for name, array in values.items()}
            points = Points(model, some, rounding.dtype)
            counts[rows] = _count(points, gradients.rows(rows), bits, blur_of(model, rounding))
    return counts


def _count(points: Points, gradients: Gradients, bits: int, blur: float) -> NDArray[np.int64]:
    """Count the gradients that are proved at a precision: `OPEN` where it may be too low."""
    samples = points.samples
    counts = np.full(samples, UNSETTLED)
    found, known = points.gradients(bits)
    if not known.any():
        return counts
    formula = np.concatenate([found[name].reshape(samples, -1) for name in gradients.shapes], 1)
    middles, radii = in_floats(formula)
    known = known & (np.isfinite(middles) & np.isfinite(radii)).all(1) & ~gradients.kink.any(1)
    weights = np.zeros(formula.shape)
    weights[known] = scaled(gradients.random[known], middles[known], radii[known])
    slopes, differentiable = points.slopes(_direction(weights, gradients.shapes), bits)
    known &= differentiable
    if not known.any():
        return counts
    formula, some = formula[known], gradients.rows(known)
    with precision(bits), np.errstate(all="ignore"):
        allowed = np.abs(weights[known] * middles[known]).sum(1) * blur
        apart = slopes[known] - (weights[known] * formula).sum(1)
        holds, fails = (np.asarray(one(apart, allowed), bool) for one in (_is_near, _is_far))
        right = ~(some.bound < np.inf) | are_within(some.value, formula, some.bound)
    informative = (2 * some.bound <= np.abs(some.value)) & (some.bound < np.inf)
    proved = np.where(right.all(1), informative.sum(1), UNSETTLED)
    counts[known] = np.where(holds, proved, np.where(fails, UNSETTLED, OPEN))
    return counts


def _direction(weights: Floats, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Floats]:
    ends = np.cumsum([prod(shape) for shape in shapes.values()])
    parts = np.split(weights, ends[:-1], axis=1)
    return {
        name: part.reshape(-1, *shape)
        for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }
