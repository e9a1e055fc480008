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

from gradcheck.numbers.array import Batched, Choices, Function, NoRuleError, Storage
from gradcheck.numbers.comparisons import Comparison
from gradcheck.numbers.dispatch import Number, refused
from gradcheck.numbers.elementary import elementary
from gradcheck.numbers.enclosure import EXACT, Floats, contract, enclose, is_undefined
from gradcheck.numbers.formats import WHOLE, finest, fitted
from gradcheck.numbers.rounding import RADIUS_INFLATION, TF32, Rounding

__all__ = ["EXACT", "Ball", "Choices", "NoRuleError", "Rounding", "as_ball"]


class Ball(Number):
    """An array of balls, one `Rounding` for all.

    Where arrays of two formats meet, the finer one rounds.

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
        if rad is not EXACT and rad.shape != mid.shape:
            rad = np.broadcast_to(rad, mid.shape)
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
        if _holds(rounding, mid, magnitude):
            return cls(mid, EXACT, rounding, hidden, choices)
        with np.errstate(over="ignore", invalid="ignore"):
            rounded = mid.astype(rounding.dtype, copy=False)
            rad = EXACT if rounded is mid or (mid == rounded).all() else np.abs(mid - rounded)
            if (
                mid.size
                and not rounding.smallest_normal <= magnitude.min() <= magnitude.max() < np.inf
                and (magnitude[mid != 0] < rounding.smallest_normal).any() | ~np.isfinite(mid).all()
            ):
                rad = np.where(magnitude < rounding.flushed, magnitude, rad)
                rad = np.where(np.isnan(mid), np.inf, np.where(np.isinf(mid), 0.0, rad))
        return cls(mid, rad, rounding, hidden, choices)

    @property
    def sin_cos(self) -> tuple[Floats, Floats]:
        """Sine and cosine of the midpoints: each is the other's slope, so both are computed."""
        if self._circular is None:
            self._circular = np.sin(self.mid), np.cos(self.mid)
        return self._circular

    @property
    def undefined(self) -> NDArray[np.bool_]:
        """Where these are NaN for every number that the operands may be, whatever the roundings.

        A NaN that came of what is not known, an overflow before all, has an infinite radius.
        """
        return np.asarray(is_undefined(self))

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
    def largest_magnitude(self) -> float:
        """A bound on all magnitudes, NaN where nothing is known of one."""
        if not self.mid.size:
            return 0.0
        reach = max(abs(float(self.mid.min())), abs(float(self.mid.max())))
        return (reach + float(self.rad.max())) * RADIUS_INFLATION

    @property
    def left_open(self) -> NDArray[np.bool_]:
        """Of the answer to a comparison, where it is open."""
        return np.broadcast_to(self.rad > 0, self.mid.shape)

    @property
    def parts(self) -> tuple[Storage, ...]:
        """Midpoints, and radii unless all are zero."""
        return (self.mid,) if self.rad is EXACT else (self.mid, self.rad)

    @property
    def stored(self) -> np.dtype[Any]:
        """The midpoints' type."""
        return self.mid.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """One sample's."""
        return self.mid.shape[self.hidden :]

    @property
    def ndim(self) -> int:
        """Number of axes of one sample."""
        return self.mid.ndim - self.hidden

    def whole(self) -> tuple[Storage, ...]:
        """Midpoints and radii."""
        return self.mid, np.broadcast_to(self.rad, self.mid.shape)

    def with_parts(self, parts: Sequence[Storage], hidden: int | None = None) -> Ball:
        """Return balls of other midpoints and radii."""
        mid, rad = (*parts, EXACT)[:2]
        hidden = self.hidden if hidden is None else hidden
        return Ball(mid, rad, self.rounding, hidden, self.choices)

    def take_over(self, parts: Sequence[Storage]) -> None:
        """Hold other midpoints and radii."""
        self.mid, self.rad = (*parts, EXACT)[:2]
        self._circular = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """The format under judgement, unless these are integers or truth values."""
        return self.stored if self.is_discrete else self.rounding.dtype

    @property
    def format(self) -> np.dtype[Any]:
        """The format in which these numbers are rounded."""
        return self.rounding.dtype

    @property
    def largest_integer(self) -> float:
        """Up to which the format has all integers."""
        return 1 / self.rounding.stored.unit_roundoff

    def pin(self, where: NDArray[np.bool_]) -> None:
        """Take midpoints for exact."""
        if self.rad is not EXACT and where.any():
            self.rad = np.where(where, 0.0, self.rad)

    def cancel(self, operand: Ball) -> None:
        """Take this for an operand that was subtracted from itself."""
        certain = np.isfinite(operand.mid) & np.isfinite(operand.rad)
        self.pin(np.broadcast_to(certain, self.mid.shape))
        self.settled = np.broadcast_to(certain, self.mid.shape)

    def constant(self, value: Any) -> Ball:
        """Return what every evaluation is given."""
        if isinstance(value, Batched):
            raise TypeError(f"{type(value).__name__} and Ball meet; use one kind of number")
        if isinstance(value, list | tuple):
            value = np.stack([self.lifted(item) for item in value])
            return value  # type: ignore[no-any-return]
        return Ball.from_value(value, self.rounding.of_numbers, 0, self.choices)

    def elementwise(self, ufunc: np.ufunc, operands: Sequence[Ball]) -> Ball:
        """Apply the ufunc by its rule."""
        record = elementary(ufunc)
        if record is None:
            raise refused(f"numpy.{ufunc.__name__}")
        rounding = finest(operands, whole=ufunc in WHOLE)
        balls = [as_ball(operand, rounding) for operand in operands]
        return self._result(*record.enclose(balls, rounding), operands, rounding)

    def record(self, operands: Sequence[Ball], known: Comparison) -> None:
        """Let the choices take notice of what a function with a kink compares."""
        a, b = operands
        lead, slack = np.asarray(a.mid - b.mid), (a.rad + b.rad) * RADIUS_INFLATION
        lead = np.where(known.equal(~(np.abs(lead) > slack)), np.inf, lead)
        self.choices.record(lead, slack)

    def contract(self, function: Function, operands: Sequence[Ball], terms: int) -> Ball:
        """Enclose a sum of products."""
        rounding = finest(operands, whole=True)
        balls = [as_ball(operand, rounding) for operand in operands]
        if rounding.factors_in_tf32 and len(balls) == 2:
            balls = [ball.in_tf32() for ball in balls]
        mid, rad = contract(function, balls, terms, rounding)
        undefined = [np.isnan(ball.mid) & (ball.rad == 0) for ball in balls]
        if any(one.any() for one in undefined):  # with such a term a sum is undefined too
            ones = [np.ones(ball.mid.shape) for ball in balls]
            for i, one in enumerate(undefined):
                touched = function(*ones[:i], one.astype(float), *ones[i + 1 :])
                rad = np.where(np.asarray(touched) > 0, 0.0, rad)
        return self._result(mid, rad, operands, rounding)

    def in_tf32(self) -> Ball:
        """Add the rounding of a factor of a product of matrices."""
        reach = np.abs(self.mid) + self.rad
        rad = self.rad + TF32 * reach * RADIUS_INFLATION
        rad = rad + np.where((reach < self.rounding.flushed) & (reach > 0), reach, 0.0)
        return self._result(self.mid, rad, (self,), self.rounding)

    def _result(
        self, mid: Floats, rad: Floats, operands: Sequence[Ball], rounding: Rounding
    ) -> Ball:
        hidden = max(operand.hidden for operand in operands)
        choices = next((o.choices for o in operands if o.hidden == hidden), self.choices)
        return Ball(mid, rad, rounding, hidden, choices)

    def in_format(self, dtype: np.dtype[Any]) -> Ball:
        """Add the rounding to a coarser format; what every evaluation is given has but one."""
        rounding = self.rounding.in_format(dtype)
        if self.is_discrete or not rounding.is_coarser_than(self.rounding):
            return self._result(self.mid, self.rad, (self,), rounding)
        given = Ball.from_value(self.mid.astype(np.float64), rounding, self.hidden, self.choices)
        rad = given.rad
        if self.rad is not EXACT:
            rad = np.where(self.rad == 0, rad, self._rounded_to(rounding.stored))
        if np.isnan(self.mid).any():
            rad = np.where(np.isnan(self.mid), self.rad, rad)
        return self._result(given.mid, rad, (self,), rounding)

    def _rounded_to(self, rounding: Rounding) -> Floats:
        """Return the radius with one rounding more."""
        error = rounding.cast_error
        return enclose(self.mid, self.rad, error, lambda: self.rad == 0, rounding, (self,))[1]

    def written_down(self) -> Ball:
        """Add the rounding of what was held in another format."""
        rounding = self.rounding.stored
        if self.is_discrete or rounding is self.rounding:
            return self
        return self._result(self.mid, self._rounded_to(rounding), (self,), rounding)

    def promoted(self, operands: Sequence[Any]) -> Ball:
        """Take on the finest format of the numbers of which this is made."""
        self.rounding = finest(operands, whole=True)
        return self

    def admitted(self, value: Any) -> Ball:
        """Return what is to be written, in the format of what holds it."""
        return fitted(super().admitted(value), self)

    def compared(self, ufunc: np.ufunc, a: Ball, b: Ball, known: Comparison) -> Ball:
        """Compare; what is open lies between 0 and 1.

        An exact tie of numbers is open too, for that is where a kink is; one of integers is not.
        """
        answer = np.asarray(ufunc(a.mid, b.mid), dtype=np.float64)
        rounding = finest((a, b)).of_answers
        result = self._result(answer, EXACT, (a, b), rounding)
        exact = a.rad is EXACT and b.rad is EXACT and known.axes is None
        if known.of_integers or (exact and ufunc in (np.equal, np.not_equal)):
            return result
        lead = a.mid.astype(np.float64, copy=False) - b.mid.astype(np.float64, copy=False)
        slack = (a.rad + b.rad) * RADIUS_INFLATION
        left_open = ~(np.abs(lead) > slack)
        equal: Any = False
        if left_open.any():
            equal = known.equal(left_open)
            left_open &= ~equal
            result.mid = np.where(equal, ufunc(0.0, 0.0), answer)
        if result.choices.records and known.axes is None:
            result.choices.record(np.where(equal, np.inf, lead), slack)
        result.choices.note(left_open)
        if result.choices.both and left_open.any():
            half = np.where(left_open, 0.5, 0.0)
            return self._result(np.where(left_open, 0.5, result.mid), half, (a, b), rounding)
        return result

    def classified(self, ufunc: np.ufunc) -> Ball:
        """Answer `isfinite`, `isinf` or `isnan`, which is open where nothing is known."""
        answer = np.asarray(ufunc(self.mid), dtype=np.float64)
        left_open = np.broadcast_to(~(self.rad < np.inf), answer.shape)
        self.choices.note(left_open)
        rounding = self.rounding.of_answers
        if not (self.choices.both and left_open.any()):
            return self._result(answer, EXACT, (self,), rounding)
        half = np.where(left_open, 0.5, 0.0)
        return self._result(np.where(left_open, 0.5, answer), half, (self,), rounding)

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
            alike = (a.mid == b.mid) | (np.isnan(a.mid) & np.isnan(b.mid))
            is_open = is_open & ~(alike & (a.rad == b.rad))
            mid = np.where(is_open, low / 2 + high / 2, mid)
            half = (high - low) / 2 * RADIUS_INFLATION
            rad = np.where(is_open, np.where(np.isnan(half), np.inf, half), rad)
        return self._result(mid, rad, (condition, a, b), finest((a, b), whole=True))

    def __repr__(self) -> str:
        return f"Ball({self.mid!r} ± {self.rad!r}, {self.rounding.dtype})"


def _holds(rounding: Rounding, mid: Floats, magnitude: Floats) -> bool:
    """Tell quickly whether a format has all of these numbers, none of them a zero or subnormal."""
    if not mid.size:
        return True
    if not rounding.smallest_normal <= magnitude.min() <= magnitude.max() <= rounding.largest:
        return False
    bits_beyond = int(rounding.unit_roundoff * 2**53) - 1  # of a float64's, those that it lacks
    return not (bits_beyond and np.bitwise_or.reduce(mid.view(np.int64), None) & bits_beyond)


def as_ball(value: Any, rounding: Rounding) -> Ball:
    """Return a ball, a number or an array of numbers as a ball of floating-point numbers.

    A ball keeps its format.
    """
    if not isinstance(value, Ball):
        return Ball.from_value(value, rounding)
    return value.with_parts([value.mid.astype(np.float64)]) if value.is_discrete else value
