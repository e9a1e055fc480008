"""A real number enclosed by Arb, with the comparisons and functions that NumPy code asks of it.

On a kink, where something compares equal, ε itself decides the comparison: taken for positive it
yields the derivative from the right, for negative from the left.
"""

from __future__ import annotations

from typing import Any

import flint
import numpy as np

from gradcheck.numbers.choices import Choices
from gradcheck.numbers.elementary import ELEMENTARY, elementary
from gradcheck.numbers.errors import UndecidedError
from gradcheck.numbers.ingredients import Irrational
from gradcheck.numbers.record import Elementary

ZERO = flint.arb(0)


class Side(Choices):
    """On which side of a kink an evaluation is; of many samples none is on one.

    Parameters
    ----------
    sign
        The sign of ε, 1 or −1.
    dtype
        The format under judgement, for code that asks for it.
    loose
        Whether constants that look rounded stand for all that they may be roundings of.
    samples
        How many are evaluated at once; of many those are noted in `open` where ε, or nothing,
        decides a comparison, and what is computed of these means nothing.

    Attributes
    ----------
    ties
        How many comparisons ε has decided.
    """

    def __init__(
        self, sign: int = 1, dtype: Any = np.float64, loose: bool = False, samples: int = 1
    ) -> None:
        super().__init__(samples)
        self.sign, self.ties, self.dtype, self.loose = sign, 0, np.dtype(dtype), loose

    def of(self, number: Real) -> int:
        """Compare with zero."""
        if number.constant.is_zero() and not number.slope.is_zero():
            answer = self.sign * Real(number.slope).sign()
            self.ties += 1
            return answer
        return number.sign()

    def compare(self, a: Real, b: Real) -> int:
        """Compare two numbers: −1, 0 or 1."""
        return 0 if a.is_known_to_be(b) or both_infinite(a, b) else self.of(a - b)


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
        other = real_of(other)
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
        return real_of(other)._sum(self, -1)

    def __mul__(self, other: Any) -> Real:
        other = real_of(other)
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
        other = real_of(other)
        mine, its, divisor = self._slope, other._slope, other.constant
        value = self.constant / divisor
        if its is not None:
            its = -value * its
            mine = its if mine is None else mine + its
        undefined = self.undefined or other.undefined or bool(divisor.is_zero())
        return Real(value, None if mine is None else mine / divisor, undefined)

    def __rtruediv__(self, other: Any) -> Real:
        return real_of(other) / self

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
        other = real_of(other)
        same = self.is_known_to_be(other) or both_infinite(self, other)
        return 0 if same else (self - other).sign()

    def is_known_to_be(self, other: Real) -> bool:
        """Tell whether it is the very same number, which an enclosure alone never shows."""
        return self.constant is other.constant and self._slope is other._slope

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
            boxed = [as_array(one) if isinstance(one, Real) else one for one in operands]
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
    reals = [real_of(operand) for operand in operands]
    values = [real.constant for real in reals]
    undefined = any(real.undefined for real in reals)
    assert record.arb is not None  # noqa: S101 - what has none has an operator of its own
    value = record.arb(*values)
    if value.is_nan():
        undefined = undefined or bool(record.is_outside(values, values))
    infinite = len(values) == 1 and is_infinite(values[0])
    if infinite or all(real.fixed for real in reals):
        return Real(value, None, undefined)
    partials = record.partials(Real(value), *map(Real, values))
    slope = ZERO
    for real, one in zip(reals, partials, strict=True):
        if not real.fixed:
            slope = slope + real_of(one).constant * real.slope
    return Real(value, slope, undefined)


def is_infinite(value: flint.arb) -> bool:
    """Tell whether it is an infinity, exactly."""
    return not value.is_finite() and value.is_exact() and not value.is_nan()


def series_of(value: Any) -> Any:
    """Return what Arb computes with."""
    if isinstance(value, Real):
        return value.series
    return value.item() if isinstance(value, np.generic | np.ndarray) else value


def real_of(value: Any) -> Real:
    """Return what it is, or a number that does not depend on ε."""
    if isinstance(value, Real):
        return value
    return Real(value.exact() if isinstance(value, Irrational) else flint.arb(series_of(value)))


def both_infinite(a: Real, b: Real) -> bool:
    """Tell whether both are the same infinity, though their difference is not 0."""
    if a.constant.is_finite() or b.constant.is_finite():
        return False
    return float(a.constant) == float(b.constant)


def as_array(result: Any) -> Any:
    """Keep a single number an array."""
    if isinstance(result, np.ndarray):
        return result
    array = np.empty((), dtype=object)
    array[()] = result
    return array
