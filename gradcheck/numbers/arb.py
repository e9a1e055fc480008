"""Real numbers enclosed by Arb, with the comparisons and functions that NumPy code asks of them.

On a kink, where something compares equal, ε itself decides the comparison: taken for positive it
yields the derivative from the right, for negative from the left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cmp_to_key, partial
from typing import Any

import flint
import numpy as np
from numpy.typing import NDArray

from gradcheck.numbers.array import Choices, Function, NoRuleError, Storage
from gradcheck.numbers.comparisons import Comparison
from gradcheck.numbers.dispatch import Number
from gradcheck.numbers.elementary import ELEMENTARY, elementary
from gradcheck.numbers.errors import UndecidedError
from gradcheck.numbers.ingredients import Irrational
from gradcheck.numbers.record import Elementary

__all__ = ["Real", "Reals", "Side", "UndecidedError", "series_of"]

ZERO = flint.arb(0)


class Side(Choices):
    """On which side of a kink an evaluation of one sample is.

    Parameters
    ----------
    sign
        The sign of ε, 1 or −1.
    dtype
        The format under judgement, for code that asks for it.

    Attributes
    ----------
    ties
        How many comparisons ε has decided.
    """

    def __init__(self, sign: int = 1, dtype: Any = np.float64) -> None:
        super().__init__(1)
        self.sign, self.ties, self.dtype = sign, 0, np.dtype(dtype)

    def of(self, number: Real) -> int:
        """Compare with zero."""
        if number.constant.is_zero() and not number.slope.is_zero():
            answer = self.sign * Real(number.slope).sign()
            self.ties += 1
            return answer
        return number.sign()

    def compare(self, a: Real, b: Real) -> int:
        """Compare two numbers: −1, 0 or 1."""
        return 0 if a is b or _both_infinite(a, b) else self.of(a - b)


class Real:
    """A number enclosed by Arb and its derivative, with the comparisons that NumPy code makes.

    Parameters
    ----------
    constant
        The value, a `flint.arb`; or an `arb_series` of value and slope. NaN where it is not known.
    slope
        The coefficient of ε; `None` if the number does not depend on ε.
    undefined
        Whether there is no such number, by proof: the logarithm or the root of a negative number,
        a quotient by an exact zero, or what is computed of one of these.
    """

    __slots__ = ("_slope", "constant", "undefined")

    def __init__(self, constant: Any, slope: Any = None, undefined: bool = False) -> None:
        if isinstance(constant, flint.arb_series):
            constant, slope = constant[0], constant[1]
        self.constant = constant
        self._slope = slope
        self.undefined = undefined

    @property
    def slope(self) -> flint.arb:
        """The coefficient of ε; of what is not known it is not known either."""
        if self.constant.is_nan():
            return self.constant
        return ZERO if self._slope is None else self._slope

    @property
    def series(self) -> Any:
        """Both as an `arb_series`; the value alone of what is fixed."""
        return self.constant if self.fixed else flint.arb_series([self.constant, self.slope])

    @property
    def fixed(self) -> bool:
        """Whether it does not depend on ε, for certain; a slope of zero proves less."""
        return self._slope is None

    def sign(self) -> int:
        """Compare with zero; where that is the constant, ε is taken for positive."""
        number = self.slope if self.constant.is_zero() else self.constant
        if number.is_zero():
            return 0
        if number.contains(0):
            raise UndecidedError
        return 1 if number > 0 else -1

    def _sum(self, other: Any, sign: int) -> Real:
        other = _real(other)
        mine, its = self._slope, other._slope
        if its is not None:
            its = its if sign > 0 else -its
            mine = its if mine is None else mine + its
        a, b = self.constant, other.constant
        return Real(a + b if sign > 0 else a - b, mine, self.undefined or other.undefined)

    def __add__(self, other: Any) -> Real:
        return self._sum(other, 1)

    def __sub__(self, other: Any) -> Real:
        return self._sum(other, -1)

    def __rsub__(self, other: Any) -> Real:
        return _real(other)._sum(self, -1)

    def __mul__(self, other: Any) -> Real:
        other = _real(other)
        a, b, mine, its = self.constant, other.constant, self._slope, other._slope
        undefined = self.undefined or other.undefined
        if mine is None and its is None:
            return Real(a * b, None, undefined)
        for slope, factor, moving in ((mine, a, b), (its, b, a)):
            if slope is None and factor.is_zero() and moving.is_finite():
                return Real(ZERO, None, undefined)
        slope = None if mine is None else mine * b
        if its is not None:
            slope = a * its if slope is None else slope + a * its
        return Real(a * b, slope, undefined)

    def __truediv__(self, other: Any) -> Real:
        other = _real(other)
        mine, its, divisor = self._slope, other._slope, other.constant
        value = self.constant / divisor
        if its is not None:
            its = -value * its
            mine = its if mine is None else mine + its
        undefined = self.undefined or other.undefined or bool(divisor.is_zero())
        return Real(value, None if mine is None else mine / divisor, undefined)

    def __rtruediv__(self, other: Any) -> Real:
        return _real(other) / self

    def __pow__(self, other: Any) -> Real:
        return applied(ELEMENTARY[np.power], self, other)

    def __rpow__(self, other: Any) -> Real:
        return applied(ELEMENTARY[np.power], other, self)

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> Real:
        return Real(-self.constant, None if self.fixed else -self._slope, self.undefined)

    def __pos__(self) -> Real:
        return self

    def __abs__(self) -> Real:
        return -self if self.sign() < 0 else self

    def _compare(self, other: Any) -> int:
        return 0 if self is other or _both_infinite(self, _real(other)) else (self - other).sign()

    def __lt__(self, other: Any) -> bool:
        return self._compare(other) < 0

    def __le__(self, other: Any) -> bool:
        return self._compare(other) <= 0

    def __gt__(self, other: Any) -> bool:
        return self._compare(other) > 0

    def __ge__(self, other: Any) -> bool:
        return self._compare(other) >= 0

    def __eq__(self, other: Any) -> bool:
        return self._compare(other) == 0

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return self.sign() != 0

    def square(self) -> Real:
        """x²."""
        return self * self

    def reciprocal(self) -> Real:
        """1/x."""
        return 1 / self

    def conjugate(self) -> Real:
        """Return itself."""
        return self

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *operands: Any) -> Any:
        """Apply a function without making an array of one number."""
        record = elementary(ufunc)
        plain = method == "__call__" and not any(isinstance(one, np.ndarray) for one in operands)
        if not plain or record is None or record.arb is None:
            boxed = [_array(one) if isinstance(one, Real) else one for one in operands]
            return getattr(ufunc, method)(*boxed)
        return applied(record, *operands)

    def __getattr__(self, name: str) -> Any:
        """Find the rest, sin, exp, log, sqrt, …, among the records."""
        record = BY_NAME.get(name)
        if record is None:
            raise AttributeError(f"'Real' object has no attribute {name!r}")
        return lambda *others: applied(record, self, *others)


BY_NAME = {ufunc.__name__: record for ufunc, record in ELEMENTARY.items() if record.arb}
"""What NumPy asks the elements of an array for."""


def applied(record: Elementary, *operands: Any) -> Real:
    """Apply a function: its value by Arb's own, its slope by the chain rule.

    At an exact infinity nothing moves. What is fixed needs no slope: the root of a zero that is
    fixed is one too, while that of a zero that moves has no slope, or higher terms decide.
    """
    reals = [_real(operand) for operand in operands]
    values = [real.constant for real in reals]
    undefined = any(real.undefined for real in reals)
    assert record.arb is not None  # noqa: S101 - what has none has an operator of its own
    value = record.arb(*values)
    if value.is_nan():
        undefined = undefined or bool(record.is_outside(values, values))
    infinite = len(values) == 1 and _is_infinite(values[0])
    if infinite or all(real.fixed for real in reals):
        return Real(value, None, undefined)
    partials = record.partials(Real(value), *map(Real, values))
    slope = ZERO
    for real, one in zip(reals, partials, strict=True):
        if not real.fixed:
            slope = slope + _real(one).constant * real.slope
    return Real(value, slope, undefined)


def _is_infinite(value: flint.arb) -> bool:
    return not value.is_finite() and value.is_exact() and not value.is_nan()


def series_of(value: Any) -> Any:
    """Return what Arb computes with."""
    if isinstance(value, Real):
        return value.series
    return value.item() if isinstance(value, np.generic | np.ndarray) else value


def _real(value: Any) -> Real:
    if isinstance(value, Real):
        return value
    return Real(value.exact() if isinstance(value, Irrational) else flint.arb(series_of(value)))


_EACH_REAL = np.frompyfunc(_real, 1, 1)


def _both_infinite(a: Real, b: Real) -> bool:
    """Tell whether both are the same infinity, though their difference is not 0."""
    if a.constant.is_finite() or b.constant.is_finite():
        return False
    return float(a.constant) == float(b.constant)


class Reals(Number):
    """An array of one sample's real numbers.

    Parameters
    ----------
    array
        `Real` numbers, as an array of objects; or integers or truth values.
    side
        On which side of a kink they are; shared by all that meet.
    """

    __slots__ = ("array",)

    choices: Side

    def __init__(self, array: Storage, side: Side | None = None) -> None:
        self.array = array
        self.begin(0, side or Side())

    @classmethod
    def from_value(cls, value: Any, side: Side | None = None) -> Reals:
        """Take floats for exact reals; integers stay what they are."""
        array = np.asarray(value)
        return cls(array if array.dtype.kind in "iub" else _reals(array), side)

    @property
    def parts(self) -> tuple[Storage, ...]:
        """The numbers."""
        return (self.array,)

    def whole(self) -> tuple[Storage, ...]:
        """Return the numbers."""
        return (self.array,)

    def with_parts(self, parts: Sequence[Storage], hidden: int | None = None) -> Reals:
        """Return other numbers."""
        return Reals(np.asarray(parts[0]), self.choices)

    def take_over(self, parts: Sequence[Storage]) -> None:
        """Hold other numbers."""
        (self.array,) = parts

    @property
    def dtype(self) -> np.dtype[Any]:
        """What stands for real numbers, or that of integers and truth values."""
        return self.stored if self.is_discrete else self.choices.dtype

    @property
    def heights(self) -> Storage:
        """Magnitudes by which pivots are chosen."""
        height = np.frompyfunc(lambda real: float(abs(real.constant).upper()), 1, 1)
        return np.asarray(height(_reals(self.array)), dtype=float)

    def order(self, axis: int) -> NDArray[np.int64]:
        """Return from where the sorted elements come along an axis."""
        key = cmp_to_key(self.choices.compare)

        def lane(numbers: Any) -> list[int]:
            return sorted(range(len(numbers)), key=lambda i: key(numbers[i]))

        numbers = np.moveaxis(_reals(self.array), axis, -1)
        found = np.empty(numbers.shape, np.int64)
        for index in np.ndindex(numbers.shape[:-1]):
            found[index] = lane(numbers[index])
        return np.moveaxis(found, -1, axis)

    def constant(self, value: Any) -> Reals:
        """Return constants."""
        if isinstance(value, list | tuple):
            return np.stack([self.lifted(item) for item in value])  # type: ignore[return-value]
        array = _array(_real(value)) if isinstance(value, Irrational) else np.asarray(value)
        return Reals(array, self.choices)

    def cast(self, dtype: Any) -> Reals:
        """Return the same numbers, for no format rounds them; of integers the real ones."""
        return Reals(_reals(self.array), self.choices) if self.is_discrete else self.copy()

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
        numbers = [_reals(operand.array) for operand in operands]
        if record.arb is not None:
            ufunc = np.frompyfunc(partial(applied, record), len(numbers), 1)
        return Reals(_array(ufunc(*numbers)), self.choices)

    def contract(self, function: Function, operands: Sequence[Reals], terms: int) -> Reals:
        """Add up products: of values, and of each operand's slopes with the others' values."""
        held: list[Any] = [_reals(operand.array) for operand in operands]
        if not all(one.constant.is_finite() and not one.undefined for a in held for one in a.flat):
            return Reals(_reals(_array(function(*held))), self.choices)
        values = [_parts_of(array, lambda one: one.constant) for array in held]
        total: Any = _array(function(*values))
        slope: Any = None
        moves: Any = np.zeros((), bool)
        for i, array in enumerate(held):
            moving = np.reshape([0.0 if one.fixed else 1.0 for one in array.flat], array.shape)
            if moving.any():
                slopes = _parts_of(array, lambda one: one.slope)
                term = _array(function(*values[:i], slopes, *values[i + 1 :]))
                slope = term if slope is None else slope + term
                ones = [np.ones(other.shape) for other in held]
                moves = moves | (np.asarray(function(*ones[:i], moving, *ones[i + 1 :])) > 0)
        if slope is None:
            return Reals(_array(np.frompyfunc(Real, 1, 1)(total)), self.choices)
        slope = np.where(moves, slope, None)
        return Reals(_array(np.frompyfunc(Real, 2, 1)(total, slope)), self.choices)

    def cancel(self, operand: Reals) -> None:
        """Take this for an operand that was subtracted from itself."""
        zero = np.frompyfunc(lambda a, d: Real(flint.arb(0)) if a.constant.is_finite() else d, 2, 1)
        self.array = _array(zero(_reals(operand.array), self.array))

    def compared(self, ufunc: np.ufunc, a: Reals, b: Reals, known: Comparison) -> Reals:
        """Compare.

        Raises
        ------
        UndecidedError
            Where neither the enclosures nor what is known of them decides.
        """
        if not (a.stored.hasobject or b.stored.hasobject):
            return Reals(np.asarray(ufunc(a.array, b.array)), self.choices)
        left: Any
        right: Any
        left, right = np.broadcast_arrays(_reals(a.array), _reals(b.array))
        signs = np.zeros(left.shape)
        undecided = np.zeros(left.shape, bool)
        for index in np.ndindex(left.shape):
            try:
                signs[index] = self.choices.compare(left[index], right[index])
            except UndecidedError:
                undecided[index] = True
        if undecided.any() and not (known.equal(undecided) == undecided).all():
            raise UndecidedError
        return Reals(np.asarray(ufunc(signs, 0)), self.choices)

    def classified(self, ufunc: np.ufunc) -> Reals:
        """Answer `isfinite`, `isinf` or `isnan`.

        Raises
        ------
        UndecidedError
            If an enclosure is not finite and no infinity either, so that nothing is known.
        """

        def answer(number: Real) -> bool:
            constant = number.constant
            if constant.is_finite():
                return ufunc is np.isfinite
            if not np.isinf(float(constant.mid())) or constant.rad() != 0:
                raise UndecidedError
            return ufunc is np.isinf

        answers = np.frompyfunc(answer, 1, 1)(_reals(self.array))
        return Reals(np.asarray(answers, dtype=bool), self.choices)

    def choose(self, condition: Reals, a: Reals, b: Reals) -> Reals:
        """Take `a` where the condition holds; of truth values and integers, as they are."""
        if condition.stored.kind == "b":
            holds = condition.array
        else:
            different: Any = np.not_equal(condition, 0)
            holds = different.array
        cases = [a.array, b.array]
        if any(case.dtype.hasobject for case in cases):
            cases = [_reals(case) for case in cases]
        return Reals(np.where(holds.astype(bool), *cases), self.choices)


def _array(result: Any) -> NDArray[np.object_]:
    """Keep a single number an array."""
    if isinstance(result, np.ndarray):
        return result
    array = np.empty((), dtype=object)
    array[()] = result
    return array


def _reals(array: Storage) -> NDArray[np.object_]:
    return _array(_EACH_REAL(array))


def _parts_of(array: NDArray[Any], part: Callable[[Real], Any]) -> NDArray[Any]:
    """Take one part of every number."""
    parts = np.empty(array.size, object)
    parts[:] = [part(one) for one in array.flat]
    return parts.reshape(array.shape)
