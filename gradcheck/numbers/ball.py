"""Balls: arrays of value ± bound, on which unchanged NumPy code computes its own rounding error.

A ball holds a float64 midpoint, computed by NumPy as if the ball were not there, and a radius.
It contains the exact result, and whatever an honest evaluation in the format under judgement may
have arrived at: one whose arithmetic is correctly rounded, or fused, or not rounded at all; whose
library functions err by at most a stated number of ulps; and which flushes subnormal results to
zero or keeps them. The midpoint is such an evaluation too, so the radius bounds the distance of two
that may both err: two errors add, in every operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.numbers import functions  # noqa: F401 - what all numbers know
from gradcheck.numbers.array import (
    KNOWN,
    Batched,
    Choices,
    Function,
    NoRuleError,
    Storage,
    refused,
)
from gradcheck.numbers.rounding import RADIUS_INFLATION, Rounding
from gradcheck.numbers.rules import EXACT, RULES, Floats, contract

__all__ = ["EXACT", "Ball", "Choices", "NoRuleError", "Rounding", "as_ball"]

KNOWN.update(RULES)
KINKED = frozenset({np.absolute, np.maximum, np.minimum})


class Ball(Batched):
    """An array of balls, one `Rounding` for all.

    Parameters
    ----------
    mid, rad
        Midpoints and radii (≥ 0, `inf` where nothing is known), float64; `rad` has the shape of
        `mid` or is `EXACT`. Midpoints may also be integers, which are exact.
    rounding
        The format whose honest evaluations the ball contains.
    hidden
        How many leading axes are those of the samples, and not shown to the code that runs.
    choices
        How open comparisons are answered, and where they are noted.
    """

    __slots__ = ("_circular", "mid", "rad", "rounding")

    def __init__(
        self,
        mid: Floats,
        rad: Floats,
        rounding: Rounding,
        hidden: int = 0,
        choices: Choices | None = None,
    ) -> None:
        self.mid, self.rad, self.rounding = mid, rad, rounding
        self.begin(hidden, choices)
        self._circular: tuple[Floats, Floats] | None = None

    @classmethod
    def from_value(
        cls, value: Any, rounding: Rounding, hidden: int = 0, choices: Choices | None = None
    ) -> Ball:
        """Return the ball of a number that every evaluation is given.

        It is exact if the format holds the number; else it covers the number's rounding to the
        format, or the flushing of a subnormal. Integers and truth values stay what they are.
        """
        given = np.asarray(value)
        if given.dtype.kind in "iub" and given.ndim >= hidden:
            return cls(given, EXACT, rounding, hidden, choices)
        mid = given.astype(np.float64, copy=False)
        magnitude = np.abs(mid)
        with np.errstate(over="ignore", invalid="ignore"):
            rounded = mid.astype(rounding.dtype, copy=False)
            rad = EXACT if rounded is mid or (mid == rounded).all() else np.abs(mid - rounded)
            if (
                mid.size
                and not rounding.smallest_normal <= magnitude.min() <= magnitude.max() < np.inf
                and (magnitude[mid != 0] < rounding.smallest_normal).any() | ~np.isfinite(mid).all()
            ):
                rad = np.where(magnitude < rounding.smallest_normal, magnitude, rad)
                rad = np.where(np.isnan(mid), np.inf, np.where(np.isinf(mid), 0.0, rad))
        return cls(mid, rad, rounding, hidden, choices)

    @property
    def sin_cos(self) -> tuple[Floats, Floats]:
        """Sine and cosine of the midpoints: each is the other's slope, so both are computed."""
        if self._circular is None:
            self._circular = np.sin(self.mid), np.cos(self.mid)
        return self._circular

    @property
    def magnitude(self) -> Floats:
        """A bound on all finite numbers in the ball, NaN or infinite where there is none."""
        reach: Floats = np.abs(self.mid)
        if self.rad is not EXACT:
            reach = (reach + self.rad) * RADIUS_INFLATION
            if np.isinf(self.mid).any():  # the −∞ of a mask is exact
                reach = np.where(np.isinf(self.mid) & (self.rad == 0), 0.0, reach)
        return reach

    @property
    def left_open(self) -> NDArray[np.bool_]:
        """Of the answer to a comparison, where it is open."""
        return np.broadcast_to(self.rad > 0, self.mid.shape)

    @property
    def parts(self) -> tuple[Storage, ...]:
        """Midpoints, and radii unless all are zero."""
        return (self.mid,) if self.rad is EXACT else (self.mid, self.rad)

    def whole(self) -> tuple[Storage, ...]:
        """Midpoints and radii."""
        return self.mid, np.broadcast_to(self.rad, self.mid.shape)

    def with_parts(self, parts: Sequence[Storage], hidden: int | None = None) -> Ball:
        """Return balls of other midpoints and radii."""
        mid, rad = (*parts, EXACT)[:2]
        hidden = self.hidden if hidden is None else hidden
        return Ball(mid, rad, self.rounding, hidden, self.choices)

    def constant(self, value: Any) -> Ball:
        """Return what every evaluation is given."""
        if isinstance(value, Batched):
            raise TypeError(f"{type(value).__name__} and Ball meet; use one kind of number")
        if isinstance(value, list | tuple):
            value = np.stack([self.lifted(item) for item in value])
            return value  # type: ignore[no-any-return]
        return Ball.from_value(value, self.rounding, 0, self.choices)

    def elementwise(self, ufunc: np.ufunc, operands: Sequence[Ball]) -> Ball:
        """Apply the ufunc by its rule."""
        if ufunc not in RULES:
            raise refused(ufunc.__name__)
        balls = [as_ball(operand, self.rounding) for operand in operands]
        if ufunc in KINKED:
            self._note_kink(operands)
        return self._result(*RULES[ufunc](*balls, rounding=self.rounding), operands)

    def _note_kink(self, operands: Sequence[Ball]) -> None:
        """Keep what is compared by an absolute value, a maximum or a minimum."""
        hidden = max(operand.hidden for operand in operands)
        choices = next(o.choices for o in operands if o.hidden == hidden)
        if choices.arguments is not None:
            first = operands[0]
            lead, slack = first.mid, np.broadcast_to(first.rad, first.mid.shape)
            for second in operands[1:]:
                lead, slack = lead - second.mid, slack + second.rad
            choices.arguments.append((lead, slack))

    def contract(self, function: Function, operands: Sequence[Ball], terms: int) -> Ball:
        """Enclose a sum of products."""
        balls = [as_ball(operand, self.rounding) for operand in operands]
        return self._result(*contract(function, balls, terms, self.rounding), operands)

    def _result(self, mid: Floats, rad: Floats, operands: Sequence[Ball]) -> Ball:
        hidden = max(operand.hidden for operand in operands)
        choices = next((o.choices for o in operands if o.hidden == hidden), self.choices)
        return Ball(mid, rad, self.rounding, hidden, choices)

    def compared(
        self,
        ufunc: np.ufunc,
        a: Ball,
        b: Ball,
        closed: Any,
        extremum: tuple[int, ...] | None,
    ) -> Ball:
        """Compare; what is open lies between 0 and 1.

        An exact tie of numbers is open too, for that is where a kink is; one of integers is not.
        """
        result = np.asarray(ufunc(a.mid, b.mid), dtype=np.float64)
        lead = a.mid.astype(np.float64, copy=False) - b.mid.astype(np.float64, copy=False)
        choices = self._result(result, EXACT, (a, b)).choices
        slack = (a.rad + b.rad) * RADIUS_INFLATION
        exact = a.rad is EXACT and b.rad is EXACT
        if ufunc in (np.equal, np.not_equal) and exact and extremum is None:
            closed = True
        if closed is not True and extremum is None and choices.arguments is not None:
            choices.arguments.append((lead, slack))
        left_open = ~(np.abs(lead) > slack) & ~np.asarray(closed)
        if extremum is not None:
            only = left_open.sum(extremum, keepdims=True) == 1
            result = np.where(left_open & only, ufunc(0, 0), result)
            left_open &= ~only
        if not left_open.any():
            return self._result(result, EXACT, (a, b))
        choices.note(left_open)
        if not choices.both:
            return self._result(result, EXACT, (a, b))
        half = np.where(left_open, 0.5, 0.0)
        return self._result(np.where(left_open, 0.5, result), half, (a, b))

    def choose(self, condition: Ball, a: Ball, b: Ball) -> Ball:
        """Take either; where the condition is open, the smallest ball that contains both."""
        is_open = (np.abs(condition.mid - 0.5) <= condition.rad) & (condition.rad > 0)
        holds = condition.mid > 0.5
        mid = np.where(holds, a.mid, b.mid)
        rad: Floats = EXACT
        if a.rad is not EXACT or b.rad is not EXACT:
            rad = np.where(holds, a.rad, b.rad)
        is_open = np.broadcast_to(is_open, mid.shape)
        if is_open.any():
            low = np.minimum(a.mid - a.rad, b.mid - b.rad)
            high = np.maximum(a.mid + a.rad, b.mid + b.rad)
            mid = np.where(is_open, low / 2 + high / 2, mid)
            rad = np.where(is_open, (high - low) / 2 * RADIUS_INFLATION, rad)
        return self._result(mid, rad, (condition, a, b))

    def __repr__(self) -> str:
        return f"Ball({self.mid!r} ± {self.rad!r}, {self.rounding.dtype})"


def as_ball(value: Any, rounding: Rounding) -> Ball:
    """Return a ball, a number or an array of numbers as a ball of floating-point numbers."""
    if not isinstance(value, Ball):
        return Ball.from_value(value, rounding)
    if value.rounding != rounding:
        raise TypeError(
            f"balls of two formats meet: {value.rounding} and {rounding}; use one for all leaves"
        )
    return value.with_parts([value.mid.astype(np.float64)]) if value.is_discrete else value
