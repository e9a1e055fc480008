"""Real numbers enclosed by Arb, with the comparisons and functions that NumPy code asks of them.

On a kink, where something compares equal, ε itself decides the comparison: taken for positive it
yields the derivative from the right, for negative from the left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import flint
import numpy as np
from numpy.typing import NDArray

from gradcheck.numbers import functions  # noqa: F401 - what all numbers know
from gradcheck.numbers.array import Batched, Choices, Function, NoRuleError, Storage


class UndecidedError(ArithmeticError):
    """At this precision an enclosure contains the number that it is compared with."""


class Real:
    """An Arb ball or a power series of two terms, with the comparisons that NumPy code makes."""

    __slots__ = ("series",)

    side: ClassVar[int] = 1
    """The sign of ε."""
    ties: ClassVar[int] = 0
    """How many comparisons ε has decided."""

    def __init__(self, series: Any) -> None:
        self.series = series

    @property
    def constant(self) -> flint.arb:
        """The value."""
        return self.series[0] if isinstance(self.series, flint.arb_series) else self.series

    @property
    def slope(self) -> flint.arb:
        """The coefficient of ε."""
        return self.series[1] if isinstance(self.series, flint.arb_series) else flint.arb(0)

    def sign(self) -> int:
        """Compare with zero."""
        number, side = self.constant, 1
        if number.is_zero() and not self.slope.is_zero():
            Real.ties += 1
            number, side = self.slope, Real.side
        if number.is_zero():
            return 0
        if number.contains(0):
            raise UndecidedError
        return side if number > 0 else -side

    def __add__(self, other: Any) -> Real:
        return Real(self.series + series_of(other))

    def __sub__(self, other: Any) -> Real:
        return Real(self.series - series_of(other))

    def __rsub__(self, other: Any) -> Real:
        return Real(series_of(other) - self.series)

    def __mul__(self, other: Any) -> Real:
        return Real(self.series * series_of(other))

    def __truediv__(self, other: Any) -> Real:
        return Real(self.series / series_of(other))

    def __rtruediv__(self, other: Any) -> Real:
        return Real(series_of(other) / self.series)

    def __pow__(self, other: Any) -> Real:
        return Real(self.series ** series_of(other))

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> Real:
        return Real(-self.series)

    def __pos__(self) -> Real:
        return self

    def __abs__(self) -> Real:
        return -self if self.sign() < 0 else self

    def _compare(self, other: Any) -> int:
        if self is other:
            return 0
        if not self.constant.is_finite():  # −∞ is equal to −∞, though their difference is not 0
            constant = _real(other).constant
            if not constant.is_finite() and float(constant) == float(self.constant):
                return 0
        difference: Real = self - other
        return difference.sign()

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
        """X."""
        return self

    def exp(self) -> Real:
        """eˣ, which is 0 at −∞ whatever ε."""
        if not self.constant.is_finite() and self.constant < 0:
            return Real(flint.arb(0))
        return Real(self.series.exp())

    def expm1(self) -> Real:
        """eˣ − 1."""
        return Real(self.series.exp() - 1)

    def log1p(self) -> Real:
        """log(1 + x)."""
        return Real((self.series + 1).log())

    def log2(self) -> Real:
        """Log x/log 2."""
        return Real(self.series.log() / flint.arb.const_log2())

    def exp2(self) -> Real:
        """2ˣ."""
        return Real((self.series * flint.arb.const_log2()).exp())

    def sinh(self) -> Real:
        """(eˣ − e⁻ˣ)/2."""
        return Real((self.series.exp() - (-self.series).exp()) / 2)

    def cosh(self) -> Real:
        """(eˣ + e⁻ˣ)/2."""
        return Real((self.series.exp() + (-self.series).exp()) / 2)

    def tanh(self) -> Real:
        """1 − 2/(e²ˣ + 1), or its negative at −x, so that the exponential stays below 1."""
        x = -self.series if self.constant > 0 else self.series
        exponential = (2 * x).exp()
        value = (exponential - 1) / (exponential + 1)
        return Real(-value if self.constant > 0 else value)

    def __getattr__(self, name: str) -> Any:
        """Find the rest, sin, cos, exp, log, sqrt, …, in Arb."""
        if name.startswith("_") or not hasattr(flint.arb_series, ARB_NAMES.get(name, name)):
            raise AttributeError(f"'Real' object has no attribute {name!r}")
        own = getattr(self.series, ARB_NAMES.get(name, name))
        return lambda: Real(own())


ARB_NAMES = {"arctan": "atan", "arcsin": "asin", "arccos": "acos"}
"""NumPy's names of functions, by Arb's."""


def series_of(value: Any) -> Any:
    """Return what Arb computes with."""
    if isinstance(value, Real):
        return value.series
    return value.item() if isinstance(value, np.generic) else value


def _real(value: Any) -> Real:
    return value if isinstance(value, Real) else Real(flint.arb(series_of(value)))


DIRECT = frozenset({np.add, np.subtract, np.multiply, np.power, np.negative})
DIRECT |= frozenset({np.sin, np.cos, np.exp, np.log, np.sqrt, np.tanh})
"""What `Real` has as an operator or a method, of the same meaning."""
NO_CHOICES = Choices(0)
"""Arb decides every comparison, or gives up."""
_EACH_REAL = np.frompyfunc(_real, 1, 1)


class Reals(Batched):
    """An array of one sample's real numbers.

    Parameters
    ----------
    array
        `Real` numbers, as an array of objects; or integers or truth values.
    """

    __slots__ = ("array",)

    def __init__(self, array: Storage) -> None:
        self.array = array
        self.begin(0, NO_CHOICES)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *operands: Any, **options: Any) -> Any:
        """Leave the commonest functions of real numbers to NumPy's loop over objects.

        Of these there is nothing to note and nothing to align, which would take ten times as long.
        """
        if ufunc not in DIRECT or method != "__call__" or options:
            return super().__array_ufunc__(ufunc, method, *operands, **options)
        given = [operand.array if type(operand) is Reals else operand for operand in operands]
        for x in given:
            if not (x.dtype.kind == "O" if type(x) is np.ndarray else type(x) in (int, float)):
                return super().__array_ufunc__(ufunc, method, *operands)
        try:
            return self.with_parts((_array(ufunc(*given)),))
        except (TypeError, AttributeError):  # integers among the objects, as in an empty sum
            return super().__array_ufunc__(ufunc, method, *operands)

    @classmethod
    def from_value(cls, value: Any) -> Reals:
        """Take floats for exact reals; integers stay what they are."""
        array = np.asarray(value)
        return cls(array if array.dtype.kind in "iub" else _reals(array))

    @property
    def parts(self) -> tuple[Storage, ...]:
        """The numbers."""
        return (self.array,)

    def whole(self) -> tuple[Storage, ...]:
        """Return the numbers."""
        return (self.array,)

    def with_parts(self, parts: Sequence[Storage], hidden: int | None = None) -> Reals:
        """Return other numbers."""
        return Reals(_array(parts[0]))

    def constant(self, value: Any) -> Reals:
        """Return constants."""
        if isinstance(value, list | tuple):
            return np.stack([self.lifted(item) for item in value])  # type: ignore[return-value]
        return Reals(np.asarray(value))

    def elementwise(self, ufunc: np.ufunc, operands: Sequence[Reals]) -> Reals:
        """Apply to each number, by the method of that name."""
        try:
            return Reals(_array(ufunc(*(_reals(operand.array) for operand in operands))))
        except (TypeError, AttributeError) as error:
            operation = f"numpy.{ufunc.__name__}"
            raise NoRuleError(f"Arb has no rule for {operation}", operation) from error

    def contract(self, function: Function, operands: Sequence[Reals], terms: int) -> Reals:
        """Add up products."""
        return Reals(_array(function(*(_reals(operand.array) for operand in operands))))

    def compared(
        self,
        ufunc: np.ufunc,
        a: Reals,
        b: Reals,
        closed: Any,
        extremum: tuple[int, ...] | None,
    ) -> Reals:
        """Compare."""
        if closed is True:
            return Reals(np.asarray(ufunc(a.array, b.array)))
        return Reals(np.asarray(ufunc(_reals(a.array), _reals(b.array)), dtype=bool))

    def choose(self, condition: Reals, a: Reals, b: Reals) -> Reals:
        """Take `a` where the condition holds; of truth values and integers, as they are."""
        holds = condition.array if condition.dtype.kind == "b" else condition.array != 0
        cases = [a.array, b.array]
        if any(case.dtype.hasobject for case in cases):
            cases = [_reals(case) for case in cases]
        return Reals(np.where(holds.astype(bool), *cases))


def _array(result: Any) -> NDArray[np.object_]:
    """Keep a single number an array."""
    if isinstance(result, np.ndarray | np.generic):
        return np.asarray(result)
    array = np.empty((), dtype=object)
    array[()] = result
    return array


def _reals(array: Storage) -> NDArray[np.object_]:
    return _array(_EACH_REAL(array))
