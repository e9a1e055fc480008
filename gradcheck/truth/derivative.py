"""Arb's real balls in object arrays, on which unchanged NumPy code yields rigorous enclosures.

Power series over these balls differentiate: with one number replaced by x + ε, the coefficient of ε
in the loss is its derivative. No rule of differentiation is ours, and none is a framework's.

References
----------
F. Johansson, *Arb: efficient arbitrary-precision midpoint-radius interval arithmetic*, IEEE
Transactions on Computers 66 (2017).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import ceil, log2
from typing import Any

import flint
import numpy as np
from numpy.typing import NDArray

from gradcheck.errors import is_interrupt, told
from gradcheck.model.board import Given
from gradcheck.model.model import Model, each_sample, run_passes
from gradcheck.numbers.arb import Reals, Side
from gradcheck.numbers.array import NoRuleError
from gradcheck.numbers.rounding import Rounding
from gradcheck.truth.enclosures import Enclosures, decimal, precision

Direction = Mapping[str, NDArray[np.float64]]
"""How fast each element of some parameters moves, arrays of their shapes."""

PRECISIONS = (128, 256, 512, 1024, 2048, 4096)
"""Bits, tried in turn until an enclosure is narrow."""
NARROW = 2.0**-20
"""An enclosure's width as a fraction of the bar that it is held against."""


class UnsupportedOperationError(TypeError):
    """Arb cannot follow a model's function.

    Parameters
    ----------
    operation
        What it lacks, such as `numpy.cbrt`; or what the function raised.
    """

    def __init__(self, operation: str) -> None:
        super().__init__(f"Arb cannot follow {operation}")
        self.operation = operation


@dataclass(frozen=True)
class Slope:
    """A derivative of a model's definition, enclosed from the left and from the right.

    Parameters
    ----------
    left, right
        Enclosures of the one-sided derivatives, not finite where nothing is known.
    tie
        Whether something is compared with its exact equal here, so that ε decides.
    undefined
        Whether the definition provably has no derivative here.
    """

    left: flint.arb
    right: flint.arb
    tie: bool = False
    undefined: bool = False

    @property
    def enclosure(self) -> flint.arb:
        """A ball around both sides."""
        return self.left if self.left is self.right else self.left.union(self.right)

    @property
    def is_known(self) -> bool:
        """Whether the enclosures tell anything."""
        return bool(self.left.is_finite() and self.right.is_finite())

    @property
    def two_sided(self) -> bool:
        """Whether the one-sided derivatives provably differ."""
        return not self.left.overlaps(self.right)

    def excludes(self, value: float, bar: float) -> bool:
        """Tell whether a value is provably more than `bar` outside of what lies between the sides.

        A ball around both would not do: Arb keeps a radius to 30 bits.
        """
        if not np.isfinite(value):
            return True
        with precision(PRECISIONS[0]):
            low, high = flint.arb(value) - flint.arb(bar), flint.arb(value) + flint.arb(bar)
            sides = self.left, self.right
            return all(high < side for side in sides) or all(low > side for side in sides)

    def __str__(self) -> str:
        """Write the derivative in decimal, or both if the sides differ."""
        if not self.two_sided:
            return decimal(self.enclosure)
        sides = sorted((self.left, self.right), key=lambda side: float(side.mid()))
        return " to ".join(map(decimal, sides))


class Point:
    """One sample of a model, exact in Arb: converted once for all directions and precisions.

    Parameters
    ----------
    values
        Inputs and parameters as the model's functions take them, see `each_sample`; taken as exact.
    dtype
        The format under judgement, for code that asks for it.
    """

    def __init__(self, model: Model, values: Mapping[str, Any], dtype: Any = np.float64) -> None:
        self.model, self._values, self.dtype = model, values, dtype
        self._leaves = {
            name: Reals.from_value(array).values
            for name, array in ((name, np.asarray(value)) for name, value in values.items())
        }

    @property
    def size(self) -> int:
        """How many numbers the passes hold here: the work of one evaluation, roughly."""
        boards: Any = (self._values,)
        with (
            np.errstate(all="ignore"),
            suppress(UnsupportedOperationError, ValueError, ArithmeticError),
        ):
            boards = called(run_passes, self.model, np, self._values)
        return sum(np.size(board[name]) for board in boards for name in board)

    def slope(self, direction: Direction, bits: int) -> Slope:
        """Differentiate the definition along a direction, in power series of `bits` bits.

        Raises
        ------
        UnsupportedOperationError
            If the definition cannot be followed.
        """
        with precision(bits):
            left, ties, undefined = self._one_sided(direction, -1)
            if not ties:
                return Slope(left, left, False, undefined)
            right, _, undefined_too = self._one_sided(direction, 1)
            return Slope(left, right, True, undefined or undefined_too)

    def _one_sided(self, direction: Direction, sign: int) -> tuple[flint.arb, int, bool]:
        """Return the coefficient of ε in the loss, ε being of that sign.

        And how many comparisons ε decided, and whether it is provably undefined.
        """
        side = Side(sign, self.dtype)
        leaves = self._numbers(side)
        for name, speeds in direction.items():
            leaves[name] = leaves[name].moving(speeds)
        try:
            loss = called(self.model.loss, np, Given(leaves))
        except (ValueError, ArithmeticError):
            return flint.arb("nan"), side.ties, False  # too wide, or undefined
        if np.size(loss) != 1:
            raise UnsupportedOperationError(f"a loss of shape {np.shape(loss)}")
        if not isinstance(loss, Reals) or loss.is_discrete:
            return flint.arb(0), 0, False
        number = loss.reals.item()
        return number.slope, side.ties, number.undefined

    def _numbers(self, side: Side) -> dict[str, Reals]:
        return {name: Reals(array, side) for name, array in self._leaves.items()}

    def gradients(self, bits: int, loose: bool = False) -> dict[str, Enclosures]:
        """Run the hand-written passes in balls of `bits` bits; maybe with loose constants.

        The result encloses what the passes say, rounding apart; it cannot tell whether they are
        right. What is not finite is not known.

        Returns
        -------
        dict
            Gradients by parameter, each of the parameter's shape.

        Raises
        ------
        UnsupportedOperationError
            If the passes cannot be followed.
        """
        found = {}
        with precision(bits):
            _, _, d = called(
                run_passes, self.model, np, self._numbers(Side(dtype=self.dtype, loose=loose))
            )
            for name, shape in self.model.parameters.items():
                balls = _balls(d[name])
                found[name] = np.broadcast_to(balls, (1, *shape))[0, ...]
        return found


def _balls(value: Any) -> Enclosures:
    reals = value if isinstance(value, Reals) else Reals.from_value(value)
    return reals.cast(float).values


def called(function: Any, *args: Any) -> Any:
    """Call a model's function; whatever it may raise is its own fault, or Arb's limit.

    Raises
    ------
    ValueError, ArithmeticError
        If an enclosure is too wide, or something is undefined.
    UnsupportedOperationError
        For every other reason, that the function ends the process among them.
    """
    try:
        return function(*args)
    except (ValueError, ArithmeticError):
        raise
    except NoRuleError as error:
        raise UnsupportedOperationError(error.operation or str(error)) from error
    except AttributeError as error:
        lacking = f"numpy.{error.name}" if error.obj is np else str(error)
        raise UnsupportedOperationError(lacking) from error
    except BaseException as error:
        if is_interrupt(error):
            raise
        raise UnsupportedOperationError(told(error)) from error


def enclose_gradients(
    model: Model, values: Mapping[str, Any], bits: int = 256
) -> dict[str, Enclosures]:
    """Run the hand-written passes in `bits`-bit ball arithmetic.

    Parameters
    ----------
    values
        Inputs and parameters, each of shape `(n, *shape)`, taken as exact.

    Returns
    -------
    dict
        Gradients by parameter, each of shape `(n, *shape)`; see `Point.gradients`.
    """
    found = [Point(model, sample).gradients(bits) for sample in each_sample(model, values)]
    return {name: np.stack([one[name] for one in found]) for name in model.parameters}


def along(model: Model, name: str, element: tuple[int, ...]) -> Direction:
    """Return the direction of one number: where in which parameter, `()` for a scalar."""
    weights = np.zeros(model.parameters[name])
    weights[element] = 1.0
    return {name: weights}


def enclose_derivative(
    model: Model, values: Mapping[str, Any], name: str, element: tuple[int, ...], bits: int
) -> Enclosures:
    """Differentiate the model's definition with respect to one number, rigorously.

    Parameters
    ----------
    values
        Inputs and parameters, each of shape `(n, *shape)`, taken as exact.
    name, element
        Which parameter, and where in its array; `()` for a scalar.

    Returns
    -------
    numpy.ndarray
        Enclosures of the derivative, shape `(n,)`; on a kink, of both one-sided derivatives.

    Raises
    ------
    UnsupportedOperationError
        If the definition cannot be followed in power series.
    """
    direction = along(model, name, element)
    slopes = [Point(model, one).slope(direction, bits) for one in each_sample(model, values)]
    found = np.empty(len(slopes), dtype=object)
    found[:] = [slope.enclosure for slope in slopes]
    return found


def narrow_slope(point: Point, direction: Direction, width: float) -> Slope:
    """Enclose a derivative until it is far narrower than `width`, or gets no narrower."""
    before = np.inf
    for bits in PRECISIONS:
        slope = point.slope(direction, bits)
        radius = float(slope.enclosure.rad())
        if radius <= NARROW * width or radius > before / 2:
            break  # on a tie of sides that differ it cannot be narrow
        before = radius
    return slope


def working_bits(rounding: Rounding) -> int:
    """Return a precision in which every operation errs as much as two honest ones may.

    An enclosure at this precision is as wide as honest evaluations of the definition may be apart,
    whoever computes them: an error bar that owes nothing to the hand-written passes.
    """
    bits = -round(log2(rounding.unit_roundoff))
    return bits - ceil(log2(4 * rounding.library_ulps))
