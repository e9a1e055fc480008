"""All gradients of a sample checked at once, by a derivative in a random direction.

The definition must have the derivative Σ uₖgₖ along a direction u, where the gₖ are what the
formulas written by hand yield in exact arithmetic. If they are wrong, by eₖ, that holds only if
Σ uₖeₖ vanishes, which has probability 0; and as each uₖ is scaled so that uₖgₖ is near 1, an error
of a share δ of its gradient is hidden by the rounding of constants, `BLUR` of the sum, with a
probability of about n·BLUR/δ for n numbers. The floats of the reference are then held against the
enclosures of the formulas. Where the identity fails, the direction is halved until the numbers that
are wrong are alone, unless the derivatives of all numbers could be had together, and each of those
is ruled on by its own derivative; so is what stands on a kink, and what Arb cannot enclose by the
formula.

References
----------
R. Freivalds, *Probabilistic machines can use less running time*, IFIP Congress 1977, for the idea.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

import flint
import numpy as np
from numpy.typing import NDArray

from gradcheck.judge.tally import Case
from gradcheck.judge.verdict import Verdict
from gradcheck.truth.derivative import PRECISIONS, Direction, working_bits
from gradcheck.truth.enclosures import Enclosures, precision
from gradcheck.truth.matter import Matter
from gradcheck.truth.together import are_within, blur_of, in_floats, scaled
from gradcheck.truth.witness import Witness

Indices = NDArray[np.int64]

FEW = 4
"""Numbers that are ruled on one by one sooner than halved again: often all of them are wrong."""


class Audited:
    """One sample, its gradients one after the other in flat arrays of shape `(m,)`.

    Attributes
    ----------
    holds, fails
        Whether the identity holds of all that can be checked at once, or provably fails.
    proved, refuted
        Places of gradients that are right, and true derivatives of those that are wrong.
    loose
        Whether formulas are taken with loose constants, for they do not hold with those as spelled.
    told
        Places whose formula was found right, but whose bound tells nothing.
    looked_at
        Whether the derivatives of single numbers are known, see `look_at`.
    """

    def __init__(
        self,
        witness: Witness,
        shapes: Mapping[str, tuple[int, ...]],
        random: NDArray[np.float64],
        kink: NDArray[np.bool_],
        value: NDArray[np.float64],
        bound: NDArray[np.float64],
        ulp: NDArray[np.float64],
    ) -> None:
        self.witness, self.shapes, self.random = witness, shapes, random
        self.kink, self.value, self.bound, self.ulp = kink, value, bound, ulp
        self.blur = blur_of(witness.model, witness.rounding)
        self.ends = np.cumsum([prod(shape) for shape in shapes.values()])
        self.holds = self.fails = self.loose = False
        self.proved: set[int] = set()
        self.told: set[int] = set()
        self.refuted: dict[int, float] = {}
        self.together: Indices = np.zeros(0, np.int64)
        self.alone: list[int] = []
        self._matters: dict[int, Matter] = {}
        self.looked_at = False

    def check(self) -> None:
        """Check the identity of all gradients whose formula is enclosed, off the kinks."""
        formula, count = self._formula(PRECISIONS[0]), self.value.size
        apart = self.kink & self.witness.is_open if self.kink.any() else self.kink
        known = np.zeros(count, bool)
        if formula is not None:
            known = np.array([ball.is_finite() for ball in formula], bool)
        self.together = np.flatnonzero(known & ~apart)
        self.alone = np.flatnonzero(~known | apart).tolist()
        if not len(self.together):
            return
        self.holds, self.fails = self._identity(self.together)
        if self.fails and self.witness.model.recorded:
            self.loose = True
            self.holds, self.fails = self._identity(self.together)
        if self.holds:
            self._compare(self.together)

    def _compare(self, places: Indices) -> None:
        """Hold the floats against the formulas, which are right."""
        formula = self._formula(PRECISIONS[0])
        if formula is None:
            return
        with precision(PRECISIONS[0]):
            right = are_within(self.value[places], formula[places], self.bound[places])
        for place, is_right in zip(places.tolist(), right.tolist(), strict=True):
            if not self.bound[place] < np.inf:
                self.told.add(place)
            elif is_right:
                self._count_right(place)
            else:
                self.alone.append(place)

    def _count_right(self, place: int) -> None:
        informative = 2 * self.bound[place] <= abs(self.value[place])
        (self.proved if informative else self.told).add(place)

    def _formula(self, bits: int) -> Enclosures | None:
        found = self.witness.formula(bits, self.loose)
        if found is None:
            return None
        return np.concatenate([found[name].reshape(-1) for name in self.shapes])

    def _direction(self, weights: NDArray[np.float64]) -> Direction:
        parts = zip(self.shapes.items(), np.split(weights, self.ends[:-1]), strict=True)
        return {name: part.reshape(shape) for (name, shape), part in parts if part.any()}

    def _weights(self, places: Indices, formula: Enclosures) -> NDArray[np.float64]:
        weights = np.zeros(self.value.size)
        weights[places] = scaled(self.random[places], *in_floats(formula[places]))
        return weights

    def _identity(self, places: Indices) -> tuple[bool, bool]:
        """Tell whether the derivative along a direction is that of the formulas, and if not.

        Neither, if it is not known.
        """
        for bits in PRECISIONS[::2]:
            formula = self._formula(bits)
            if formula is None:
                return False, False
            weights = self._weights(places, formula)
            slope = self.witness.point.slope(self._direction(weights), bits)
            with precision(bits):
                terms = weights[places] * formula[places]
                middles = [ball.mid() for ball in terms]
                apart = abs(slope.enclosure - sum(middles, flint.arb(0)))
                allowed = sum(map(abs, middles), flint.arb(0)) * self.blur
                allowed += sum((ball.rad() for ball in terms), flint.arb(0))
                if apart <= allowed:
                    return True, False
                if apart > allowed:
                    # Where inputs move off a tie of a recorded function, it may jump.
                    jumps = slope.tie and self.witness.model.recorded
                    return False, slope.is_known and not jumps
            if slope.two_sided:
                break
        return False, False

    def rule(self) -> Iterator[bool]:
        """Rule on single numbers; every step is an evaluation or a few, unless they were looked at.

        Then there is nothing to be gained by halves.
        """
        if not self.holds and len(self.together):
            few = len(self.together) if self.looked_at else FEW
            yield from self._halve(self.together, few, known_to_fail=True)
        for place in self.alone:
            yield self._rule_on(place)

    def _halve(self, places: Indices, few: int, known_to_fail: bool = False) -> Iterator[bool]:
        """Find the numbers for which the identity does not hold; few of them one by one."""
        if len(places) <= few:
            for place in places.tolist():
                yield self._rule_on(place)
            return
        if not known_to_fail:
            holds, _ = self._identity(places)
            yield True
            if holds:
                self._compare(places)
                return
        middle = len(places) // 2
        yield from self._halve(places[:middle], few)
        yield from self._halve(places[middle:], few)

    def _place(self, place: int) -> tuple[str, int]:
        """Return which gradient, and where in its flattened array."""
        which = int(np.searchsorted(self.ends, place, side="right"))
        name = list(self.shapes)[which]
        return name, place - int(self.ends[which]) + prod(self.shapes[name])

    @property
    def left(self) -> list[str]:
        """Of every number that was not ruled on alone, which gradient's it is."""
        ruled = {*self.proved, *self.told, *self.refuted}
        return [self._place(place)[0] for place in range(self.value.size) if place not in ruled]

    def matter(self, place: int) -> Matter:
        """Return one number, of which all that is found out is kept."""
        if place not in self._matters:
            bound = float(self.bound[place])
            self._matters[place] = Matter(self.witness, *self._place(place), bound)
        return self._matters[place]

    def _rule_on(self, place: int) -> bool:
        """Hold one number against its own derivative.

        On a tie of the definition whatever lies between its one-sided derivatives is right. Near
        one, on a kink of the passes, nothing is proved.
        """
        value, bound = float(self.value[place]), float(self.bound[place])
        matter = self.matter(place)
        slope = matter.slope
        if not slope.is_known or (self.kink[place] and not slope.tie and self.witness.is_open):
            return True
        formula = self._formula(PRECISIONS[1])
        exact = None if formula is None else formula[place]
        truth = slope.enclosure
        honest = self._honest(matter, formula)
        with precision(PRECISIONS[0]):
            known = exact is not None and exact.is_finite()
            wrong = known and bool(honest.is_finite() and abs(exact - truth) > honest)
            wrong |= bound < np.inf and slope.excludes(value, bound)
            wrong |= not known and np.isnan(value) and not self.witness.passes_leave_range
            inside = bound < np.inf and bool(abs(flint.arb(value) - truth) <= bound)
        if wrong:
            self.refuted[place] = float(truth)
        elif inside:
            self._count_right(place)
        elif slope.two_sided or (known and honest.is_finite()):
            self.told.add(place)
        return True

    def _honest(self, matter: Matter, formula: Any) -> flint.arb:
        """Return how far a formula may be from the truth in exact arithmetic.

        By the rounding of constants if it is a function's own; else as far as an honest derivative
        of the definition as written. Where a bar is infinite or too wide, that still shows.
        """
        if self.witness.model.recorded and formula is not None:
            return max(map(abs, formula), key=float) * self.blur
        honest, truth = matter.coarse.enclosure.rad(), matter.slope.enclosure
        with precision(PRECISIONS[0]):
            return honest + abs(truth) * 2.0 ** -working_bits(self.witness.rounding)

    def case(self, number: int, place: int, truth: float) -> tuple[str, Case]:
        """Return the gradient and the case of one that is wrong."""
        gradient, element = self._place(place)
        value, bound = float(self.value[place]), float(self.bound[place])
        ulps = abs(truth - value) / float(self.ulp[place])
        return gradient, Case(
            number, element, Verdict.DISAGREE.label, truth, value, bound, ulps, np.inf
        )
