"""Numbers in dispute, and what the definition and the formula say about them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import flint
import numpy as np

from gradcheck.numbers.dual import is_finite
from gradcheck.truth.derivative import (
    NARROW,
    PRECISIONS,
    Slope,
    along,
    narrow_slope,
    working_bits,
)
from gradcheck.truth.points import Points
from gradcheck.truth.together import AT_ONCE
from gradcheck.truth.witness import Witness


class Matter:
    """One number in dispute.

    Parameters
    ----------
    gradient, element
        Which parameter's, and where in its flattened array.
    width
        Than which an enclosure of it should be far narrower.
    """

    def __init__(self, witness: Witness, gradient: str, element: int, width: float) -> None:
        shape = witness.model.parameters[gradient]
        position = tuple(map(int, np.unravel_index(element, shape)))
        self.witness, self.width = witness, width
        self.direction = along(witness.model, gradient, position)
        self._place = gradient, position

    @cached_property
    def slope(self) -> Slope:
        """Its derivative by the definition."""
        return narrow_slope(self.witness.point, self.direction, self.width)

    @cached_property
    def coarse(self) -> Slope:
        """The same with all the rounding that honest evaluations may have."""
        return self.witness.coarse(self.direction)

    @property
    def formula(self) -> flint.arb | None:
        """What the passes say, rounding apart."""
        return self._formula(PRECISIONS[1])

    def _formula(self, bits: int) -> flint.arb | None:
        formula, (gradient, position) = self.witness.formula(bits), self._place
        return None if formula is None else formula[gradient][position]

    def honest_width(self) -> float:
        """Bound how far an honest derivative of the definition as written may be from the truth."""
        return float(self.coarse.enclosure.rad())

    def definition_bar(self, share: float) -> float:
        """Widen the bar of the passes by how much more digits the definition loses than they do.

        Both are run in the same coarse arithmetic; where the definition comes out no wider, its
        derivative is held to the bar of the passes. A width of its own would be some ten times the
        bar of well-conditioned models, as the coarse arithmetic takes every sum for a library
        function.
        """
        coarse = self._formula(working_bits(self.witness.rounding))
        honest = self.honest_width()
        passes = float(coarse.rad()) if coarse is not None else 0.0
        if passes == np.inf:  # too deep a model for plain intervals, which tell nothing then
            return share
        return share * max(1.0, honest / passes) if passes else max(share, honest)


def look_at(matters: Sequence[Matter]) -> None:
    """Evaluate together, format by format, what can be told of many; the rest when asked for."""
    by_format: defaultdict[str, list[Matter]] = defaultdict(list)
    for matter in matters:
        by_format[matter.witness.rounding.dtype.name].append(matter)
    for some in by_format.values():
        first = some[0].witness
        coarse = working_bits(first.rounding)
        for part in _parts(len(some), first):
            chosen = some[part]
            points = _points([matter.witness for matter in chosen])
            _note_slopes(points, chosen, PRECISIONS[0], "slope")
            _note_slopes(points, chosen, coarse, "coarse")
        witnesses = list({id(matter.witness): matter.witness for matter in some}.values())
        for part in _parts(len(witnesses), first):
            points = _points(witnesses[part])
            for bits in (PRECISIONS[1], coarse):
                _note_formulas(points, witnesses[part], bits)


def _note_slopes(points: Points, matters: Sequence[Matter], bits: int, which: str) -> None:
    """Note derivatives at a precision, unless a higher one is asked for."""
    model = matters[0].witness.model
    moved = dict.fromkeys(name for matter in matters for name in matter.direction)
    direction = {name: np.zeros((len(matters), *model.parameters[name])) for name in moved}
    for row, matter in enumerate(matters):
        for name, weights in matter.direction.items():
            direction[name][row] = weights
    found, known = points.slopes(direction, bits)
    known = known & np.asarray(is_finite(found), bool) if known.any() else known
    for row in np.flatnonzero(known).tolist():
        slope, wanted = found[row], NARROW * matters[row].width
        if which == "coarse" or float(slope.rad()) <= wanted:
            vars(matters[row])[which] = Slope(slope, slope)


def _note_formulas(points: Points, witnesses: Sequence[Witness], bits: int) -> None:
    found, known = points.gradients(bits)
    for row in np.flatnonzero(known).tolist():
        one = {name: balls[row : row + 1][0, ...] for name, balls in found.items()}
        witnesses[row].formulas[bits, False] = one


def _parts(count: int, witness: Witness) -> Iterator[slice]:
    """Split so many samples into as many as are evaluated at once."""
    at_once = max(1, AT_ONCE // sum(array.size for array in witness.values.values()))
    return (slice(start, start + at_once) for start in range(0, count, at_once))


def _points(witnesses: Sequence[Witness]) -> Points:
    first = witnesses[0]
    values: Mapping[str, Any] = {
        name: np.concatenate([witness.values[name] for witness in witnesses])
        for name in first.values
    }
    return Points(first.model, values, first.rounding.dtype)
