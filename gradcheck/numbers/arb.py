"""Arrays of real numbers enclosed by Arb, each with its derivative in one direction.

Values and slopes are arrays of their own, so that arithmetic goes array by array in Arb; of many
samples at once, if their axis is hidden, so that what an operation costs is paid once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cmp_to_key, partial
from typing import Any

import flint
import numpy as np
from numpy.typing import NDArray

from gradcheck.numbers.array import Function, NoRuleError, Storage
from gradcheck.numbers.comparisons import Comparison
from gradcheck.numbers.dispatch import FORMATS, Number
from gradcheck.numbers.dual import ARITHMETIC, any_of, each, is_finite, is_nan
from gradcheck.numbers.elementary import elementary
from gradcheck.numbers.errors import UndecidedError
from gradcheck.numbers.ingredients import Irrational
from gradcheck.numbers.real import (
    ZERO,
    Real,
    Side,
    applied,
    as_array,
    is_infinite,
    real_of,
    series_of,
)
from gradcheck.numbers.record import Elementary

__all__ = ["Real", "Reals", "Side", "UndecidedError", "series_of"]

Flags = NDArray[np.bool_]

ROUNDED_CONSTANT = {"float64": 2.0**-50, "float32": 2.0**-21}
"""Relative error of a constant that its mantissa shows to be rounded, by a few operations."""


arbs = each(lambda one: one if isinstance(one, flint.arb) else flint.arb(series_of(one)))
arbs_of_floats = each(flint.arb)


class Reals(Number):
    """An array of real numbers, each a value and a coefficient of ε; of one sample, or of many.

    Parameters
    ----------
    values
        Enclosures, as an array of `flint.arb`; or integers or truth values.
    side
        On which side of a kink they are; shared by all that meet.
    slopes
        The coefficients of ε, an array of `flint.arb`; `None` if nothing depends on ε.
    moves
        Where something depends on ε; a slope of zero alone does not prove that it does not.
    undefined
        Where there provably is no such number, see `Real`.
    hidden
        How many leading axes are those of the samples.
    """

    __slots__ = ("moves", "slopes", "undefined", "values")

    choices: Side
    slopes: Any
    moves: Any
    undefined: Any

    def __init__(
        self,
        values: Storage,
        side: Side | None = None,
        slopes: Storage | None = None,
        moves: Flags | None = None,
        undefined: Flags | None = None,
        hidden: int = 0,
    ) -> None:
        self.begin(hidden, side or Side())
        if values.dtype in FORMATS:
            values = values.astype(np.float64)
        self.values = arbs_of_floats(values) if values.dtype.kind == "f" else values
        self.slopes, self.moves, self.undefined = slopes, moves, undefined

    @classmethod
    def from_value(cls, value: Any, side: Side | None = None) -> Reals:
        """Take floats for exact reals; integers stay what they are."""
        return cls(np.asarray(value), side)

    @classmethod
    def of(cls, numbers: Storage, side: Side | None = None, hidden: int = 0) -> Reals:
        """Take an array of `Real` numbers, or of integers or truth values."""
        if not numbers.dtype.hasobject:
            return cls(numbers, side, hidden=hidden)
        reals = [real_of(number) for number in numbers.ravel()]
        parts = (
            [real.constant for real in reals],
            [ZERO if real.fixed else real.slope for real in reals],
        )
        values, slopes = (_filled(part, numbers.shape) for part in parts)
        moves = np.reshape([not real.fixed for real in reals], numbers.shape)
        undefined = np.reshape([real.undefined for real in reals], numbers.shape)
        return cls(values, side, hidden=hidden).joined(values, slopes, moves, undefined)

    def moving(self, speeds: NDArray[np.float64]) -> Reals:
        """Return x + ε·speed of constants."""
        slopes = arbs_of_floats(np.broadcast_to(speeds, self.values.shape))
        return self.joined(self.values, slopes, np.asarray(speeds != 0), None)

    def still(self) -> Reals:
        """Return the values, without slopes."""
        return Reals(self.values, self.choices, hidden=self.hidden)

    @property
    def reals(self) -> NDArray[np.object_]:
        """The numbers one by one, an array of `Real`."""
        values, slopes, moves, undefined = self.whole()
        held = zip(
            *(part.ravel().tolist() for part in (values, slopes, moves, undefined)), strict=True
        )
        numbers = [Real(v, s if m else None, u) for v, s, m, u in held]
        return _filled(numbers, values.shape)

    @property
    def parts(self) -> tuple[Storage, ...]:
        """The values, and the rest if something depends on ε or is undefined."""
        if self.slopes is None:
            return (self.values,)
        return self.values, self.slopes, self.moves, self.undefined

    def whole(self) -> tuple[Storage, ...]:
        """Return all four."""
        if self.slopes is not None:
            return arbs(self.values), self.slopes, self.moves, self.undefined
        shape = self.values.shape
        nowhere = np.zeros(shape, bool)
        return arbs(self.values), _filled([ZERO] * self.values.size, shape), nowhere, nowhere

    def with_parts(self, parts: Sequence[Storage], hidden: int | None = None) -> Reals:
        """Return other numbers; zeros that padding put among them are numbers too."""
        held: Any = (*map(np.asarray, parts), None, None, None)
        values, slopes, moves, undefined = held[:4]
        if values.dtype.hasobject:
            values = arbs(values)
        if slopes is not None:
            slopes, moves, undefined = arbs(slopes), moves.astype(bool), undefined.astype(bool)
        hidden = self.hidden if hidden is None else hidden
        return Reals(values, self.choices, slopes, moves, undefined, hidden)

    def take_over(self, parts: Sequence[Storage]) -> None:
        """Hold other numbers."""
        self.values, self.slopes, self.moves, self.undefined = (*parts, None, None, None)[:4]

    def joined(self, values: Storage, slopes: Any, moves: Any, undefined: Any) -> Reals:
        """Return numbers of this side; what does not move has a slope of zero."""
        if (moves is None or not moves.any()) and (undefined is None or not undefined.any()):
            return Reals(values, self.choices, hidden=self.hidden)
        moves, undefined, slopes = (
            _spread(default if part is None else part, values.shape)
            for part, default in ((moves, False), (undefined, False), (slopes, ZERO))
        )
        if not moves.all():
            slopes = np.where(moves, slopes, as_array(ZERO))
        return Reals(values, self.choices, slopes, moves, undefined, self.hidden)

    @property
    def dtype(self) -> np.dtype[Any]:
        """What stands for real numbers, or that of integers and truth values."""
        return self.stored if self.is_discrete else self.choices.dtype

    @property
    def is_mask(self) -> bool:
        """Whether it holds truth values."""
        return self.stored.kind == "b"

    @property
    def decisive(self) -> Storage:
        """What an `if` looks at."""
        return self.values if self.is_discrete else self.reals

    @property
    def heights(self) -> Storage:
        """Magnitudes by which pivots are chosen."""
        height = each(lambda one: float(abs(one).upper()))
        return np.asarray(height(arbs(self.values)), dtype=float)

    def order(self, axis: int) -> NDArray[np.int64]:
        """Return from where the sorted elements come along an axis."""
        key = cmp_to_key(self.choices.compare)

        def lane(numbers: Any) -> list[int]:
            return sorted(range(len(numbers)), key=lambda i: key(numbers[i]))

        numbers = np.moveaxis(self.reals, axis, -1)
        found = np.empty(numbers.shape, np.int64)
        tied = np.zeros(numbers.shape[:-1], bool)
        for index in np.ndindex(tied.shape):
            ties = self.choices.ties
            found[index] = lane(numbers[index])
            tied[index] = self.choices.ties > ties
        self.choices.note(tied)
        return np.moveaxis(found, -1, axis)

    def constant(self, value: Any) -> Reals:
        """Return constants."""
        if isinstance(value, list | tuple):
            return np.stack([self.lifted(item) for item in value])  # type: ignore[return-value]
        if isinstance(value, Real):
            return Reals.of(as_array(value), self.choices)
        array = as_array(value.exact()) if isinstance(value, Irrational) else np.asarray(value)
        return Reals(array, self.choices)

    def admitted(self, value: Any) -> Reals:
        """Return what is to be written; integers as real numbers, unless this holds integers."""
        new = super().admitted(value)
        return new.cast(float) if new.is_discrete and not self.is_discrete else new

    def literal(self, value: float) -> Any:
        """Return a number that a program spells out; a loose one with what rounding took away."""
        error = constant_error(value, self.choices.dtype) if self.choices.loose else 0.0
        return self.lifted(Real(flint.arb(value, error))) if error else value

    def cast(self, dtype: Any) -> Reals:
        """Return the same numbers, for no format rounds them; of integers the real ones."""
        if not self.is_discrete:
            return self.copy()
        return Reals(arbs(self.values), self.choices, hidden=self.hidden)

    def in_format(self, dtype: np.dtype[Any]) -> Reals:
        """Return the same numbers."""
        return self.cast(dtype)

    def elementwise(self, ufunc: np.ufunc, operands: Sequence[Reals]) -> Reals:
        """Apply to each number; what compares, by the side of ε."""
        if ufunc in (np.absolute, np.maximum, np.minimum):
            a, b = operands if ufunc.nin == 2 else (operands[0], -operands[0])
            first = np.less if ufunc is np.minimum else np.greater
            chosen: Reals = np.where(first(a, b), a, b)  # type: ignore[assignment]
            return chosen
        record, name = elementary(ufunc), f"numpy.{ufunc.__name__}"
        if record is None:
            raise NoRuleError(f"Arb has no rule for {name}", name)
        own = ARITHMETIC.get(ufunc)
        result = None if own is None else own(*operands)
        if result is None:
            result = self._applied(record, operands)
        result.hidden = self.hidden
        return result

    def _applied(self, record: Elementary, operands: Sequence[Reals]) -> Reals:
        """Apply a function, see `applied`; of one operand, the whole array at once."""
        if len(operands) > 1:
            call = each(partial(applied, record), len(operands))
            return Reals.of(call(*(operand.reals for operand in operands)), self.choices)
        (x,) = operands
        assert record.arb is not None  # noqa: S101 - what has none is arithmetic
        values = each(record.arb)(x.exact)
        undefined, unknown = x.undefined, np.asarray(is_nan(values), bool)
        if unknown.any():
            outside = each(lambda one: bool(record.is_outside([one], [one])))(x.exact)
            undefined = any_of((undefined, unknown & np.asarray(outside, bool)))
        moves = x.moves
        if moves is not None:
            moves = moves & ~np.asarray(each(is_infinite)(x.exact), bool)
        if moves is None or not moves.any():
            return self.joined(values, None, None, undefined)
        y, fixed = (Reals(one, self.choices, hidden=x.hidden) for one in (values, x.exact))
        (slope,) = record.partials(y, fixed)
        return self.joined(values, self.lifted(slope).exact * x.slopes, moves, undefined)

    @property
    def exact(self) -> Any:
        """The values as Arb's numbers."""
        return arbs(self.values) if self.is_discrete else self.values

    def contract(self, function: Function, operands: Sequence[Reals], terms: int) -> Reals:
        """Add up products: of values, and of each operand's slopes with the others' values."""
        values: list[Any] = [operand.exact for operand in operands]
        known = all(np.asarray(is_finite(one), bool).all() for one in values)
        if not known or any(
            operand.undefined is not None and operand.undefined.any() for operand in operands
        ):
            sums = as_array(function(*(one.reals for one in operands)))
            return Reals.of(sums, self.choices, self.hidden)
        total: Any = as_array(function(*values))
        slopes: Any = None
        moves: Any = np.zeros((), bool)
        for i, operand in enumerate(operands):
            if operand.moves is None or not operand.moves.any():
                continue
            term = as_array(function(*values[:i], operand.slopes, *values[i + 1 :]))
            slopes = term if slopes is None else slopes + term
            ones = [np.ones(one.shape) for one in values]
            moving = operand.moves.astype(float)
            moves = moves | (np.asarray(function(*ones[:i], moving, *ones[i + 1 :])) > 0)
        return self.joined(arbs(total), slopes, None if slopes is None else moves, None)

    def cancel(self, operand: Reals) -> None:
        """Take this for an operand that was subtracted from itself."""
        finite = np.broadcast_to(np.asarray(is_finite(operand.exact), bool), self.values.shape)
        values, slopes, moves, undefined = self.whole()
        zeros = np.where(finite, as_array(ZERO), values)
        self.take_over(self.joined(zeros, slopes, moves & ~finite, undefined & ~finite).parts)

    def compared(self, ufunc: np.ufunc, a: Reals, b: Reals, known: Comparison) -> Reals:
        """Compare; of many samples those where ε or nothing decides are noted as open.

        Raises
        ------
        UndecidedError
            Where neither the enclosures nor what is known of them decides, of a single sample.
        """
        if not (a.stored.hasobject or b.stored.hasobject):
            answers = np.asarray(ufunc(a.values, b.values))
            return Reals(answers, self.choices, hidden=self.hidden)
        signs, undecided, tied = self._signs(a, b)
        if undecided.any():
            undecided = undecided & ~known.equal(undecided)
        if undecided.any() and self.choices.samples == 1:
            raise UndecidedError
        self.choices.note(undecided | tied)
        return Reals(np.asarray(ufunc(signs, 0)), self.choices, hidden=self.hidden)

    def _signs(self, a: Reals, b: Reals) -> tuple[NDArray[np.float64], Flags, Flags]:
        """Return how the numbers stand to each other, −1, 0 or 1.

        And where that is open, and where ε decides.
        """
        left, right = np.broadcast_arrays(a.exact, b.exact)
        larger, smaller = (
            np.asarray(each(order, 2)(left, right), bool)
            for order in (lambda x, y: x > y, lambda x, y: x < y)
        )
        signs = np.asarray(larger.astype(float) - smaller)
        undecided, tied = (np.zeros(left.shape, bool) for _ in range(2))
        close = np.flatnonzero(~(larger | smaller))
        if len(close):
            numbers = [
                np.broadcast_to(one.reals, left.shape).reshape(-1)[close].tolist() for one in (a, b)
            ]
            for place, one, other in zip(close.tolist(), *numbers, strict=True):
                ties = self.choices.ties
                try:
                    signs.flat[place] = self.choices.compare(one, other)
                except UndecidedError:
                    undecided.flat[place] = True
                tied.flat[place] = self.choices.ties > ties
        return signs, undecided, tied

    def classified(self, ufunc: np.ufunc) -> Reals:
        """Answer `isfinite`, `isinf` or `isnan`.

        Raises
        ------
        UndecidedError
            If an enclosure is not finite and no infinity either, so that nothing is known.
        """

        def answer(value: flint.arb) -> bool:
            if value.is_finite():
                return ufunc is np.isfinite
            if not np.isinf(float(value.mid())) or value.rad() != 0:
                raise UndecidedError
            return ufunc is np.isinf

        answers = np.asarray(each(answer)(self.exact), dtype=bool)
        return Reals(answers, self.choices, hidden=self.hidden)

    def choose(self, condition: Reals, a: Reals, b: Reals) -> Reals:
        """Take `a` where the condition holds; of truth values and integers, as they are."""
        if condition.stored.kind == "b":
            holds = condition.values
        else:
            different: Any = np.not_equal(condition, 0)
            holds = different.values
        hidden = max(one.hidden for one in (condition, a, b))
        if a.is_discrete and b.is_discrete:
            return Reals(np.where(holds, a.values, b.values), self.choices, hidden=hidden)
        if a.slopes is None and b.slopes is None:
            return Reals(np.where(holds, a.exact, b.exact), self.choices, hidden=hidden)
        parts = (np.where(holds, *pair) for pair in zip(a.whole(), b.whole(), strict=True))
        result = self.joined(*parts)
        result.hidden = hidden
        return result


def _spread(part: Any, shape: tuple[int, ...]) -> Any:
    part = as_array(part)
    return part if part.shape == shape else np.broadcast_to(part, shape)


def _filled(items: Sequence[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Make an array of objects."""
    array = np.empty(len(items), object)
    array[:] = items
    return array.reshape(shape)


def constant_error(value: float, dtype: np.dtype[Any]) -> float:
    """Bound how far a number is from what it may be a rounding of, after a few operations.

    Zero if its mantissa is short: it is meant as it stands.
    """
    if not np.isfinite(value) or value.is_integer() or float(np.float16(value)) == value:
        return 0.0
    if float(np.float32(value)) != value:
        return abs(value) * ROUNDED_CONSTANT["float64"]
    return abs(value) * ROUNDED_CONSTANT["float32"] if dtype == np.float32 else 0.0
