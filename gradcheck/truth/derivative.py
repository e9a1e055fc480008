"""Arb's real balls in object arrays, on which unchanged NumPy code yields rigorous enclosures.

Power series over these balls differentiate: with one number replaced by x + ε, the coefficient of ε
in the loss is its derivative. No rule of differentiation is ours, and none is a framework's.

References
----------
F. Johansson, *Arb: efficient arbitrary-precision midpoint-radius interval arithmetic*, IEEE
Transactions on Computers 66 (2017).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import ceil, log2
from typing import Any

import flint
import numpy as np
from numpy.typing import NDArray

from gradcheck.model.model import Given, Model, run_passes
from gradcheck.numbers.arb import Real, Reals, UndecidedError, series_of
from gradcheck.numbers.rounding import Rounding

Enclosures = NDArray[np.object_]
"""An array of `flint.arb`."""


_SETTINGS = threading.RLock()
DIGITS = 21
"""Significant digits in which a truth is printed."""


class UnsupportedOperationError(TypeError):
    """The definition uses an operation that Arb lacks; the message names it."""


@contextmanager
def precision(bits: int) -> Iterator[None]:
    """Work with `bits` bits and series of two terms in Arb.

    Both settings are global to the process and not thread-safe, so one thread at a time has them.
    """
    with _SETTINGS:
        before = flint.ctx.prec, flint.ctx.cap
        flint.ctx.prec, flint.ctx.cap = bits, 2
        try:
            yield
        finally:
            flint.ctx.prec, flint.ctx.cap = before


def reals(values: Any) -> Enclosures:
    """Convert floats to exact reals, of the same shape."""
    values = np.asarray(values, dtype=np.float64)
    result = np.empty(values.shape, dtype=object)
    result.ravel()[:] = [flint.arb(value) for value in values.ravel().tolist()]
    return result


def _leaves(values: Mapping[str, Any]) -> dict[str, Any]:
    """Convert floats to arrays of `Real`; integers stay integers."""
    return {
        name: array if array.dtype.kind in "iub" else Reals.from_value(array).array
        for name, array in ((name, np.asarray(array)) for name, array in values.items())
    }


def _numbers(row: Mapping[str, Any]) -> dict[str, Reals]:
    return {name: Reals(np.asarray(array)) for name, array in row.items()}


_EACH_BALL = np.frompyfunc(
    lambda real: real.constant if isinstance(real, Real) else flint.arb(series_of(real)), 1, 1
)


def rows(model: Model, values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Split values into samples, as the model's functions take them, one at a time.

    The sample axis has length one if the model is batched, and is left out if it is not.
    """
    for row in range(len(next(iter(values.values())))):
        yield {
            name: array[row : row + 1] if model.batched else array[row]
            for name, array in values.items()
        }


def enclose_gradients(
    model: Model, values: Mapping[str, Any], bits: int = 256
) -> dict[str, Enclosures]:
    """Run the hand-written passes in `bits`-bit ball arithmetic.

    The result encloses what the passes say, rounding apart; it cannot tell whether they are right.

    Parameters
    ----------
    values
        Inputs and parameters, each of shape `(n, *shape)`, taken as exact.

    Returns
    -------
    dict
        Gradients by parameter, each of shape `(n, *shape)`.
    """
    found: dict[str, list[Any]] = {name: [] for name in model.parameters}
    with precision(bits):
        for sample in rows(model, _leaves(values)):
            _, _, d = run_passes(model, np, _numbers(sample))
            for name, shape in model.parameters.items():
                held = d[name].array if isinstance(d[name], Reals) else d[name]
                balls = np.asarray(_EACH_BALL(held), dtype=object)
                found[name].append(np.broadcast_to(balls, (1, *shape))[0, ...])
    return {name: np.stack(arrays) for name, arrays in found.items()}


def losses_differ(model: Model, values: Mapping[str, Any], bits: int = 256) -> bool:
    """Tell whether definition and forward pass are provably not the same function.

    They are if what they say is farther apart than 2⁻³⁰ of it, which no constant's rounding is.

    Raises
    ------
    UnsupportedOperationError
        If Arb cannot follow one of them.
    """
    with precision(bits):
        for sample in rows(model, _leaves(values)):
            try:
                _, t, _ = run_passes(model, np, _numbers(sample))
                pair = [t["loss"], model.loss(np, Given(_numbers(sample)))]
            except (ValueError, ZeroDivisionError, UndecidedError):
                continue
            except (TypeError, AttributeError) as error:
                raise UnsupportedOperationError(str(error)) from error
            one, other = (
                np.asarray(_EACH_BALL(x.array if isinstance(x, Reals) else x), dtype=object).item()
                for x in pair
            )
            if abs(one - other) > abs(one) * 2.0**-30:
                return True
    return False


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
    with precision(bits):
        leaves = _leaves(values)
        moving = leaves[name]
        for sample in range(len(moving)):
            index = (sample, *element)
            moving[index] = Real(flint.arb_series([moving[index].series, 1]))
        derivatives = np.empty(len(moving), dtype=object)
        for sample, row in enumerate(rows(model, leaves)):
            derivatives[sample] = _slope(model, row)
    return derivatives


def _slope(model: Model, row: Mapping[str, Any]) -> flint.arb:
    """Return the coefficient of ε in the loss; on a kink, a ball around those of both sides."""
    slopes = []
    for side in (-1, 1):
        Real.side, Real.ties = side, 0
        try:
            loss = model.loss(np, Given(_numbers(row)))
        except (ValueError, ZeroDivisionError, UndecidedError):
            return flint.arb("nan")  # the enclosures are too wide, or something is undefined here
        except (TypeError, AttributeError) as error:
            found = re.search(r"no rule for numpy\.(\w+)|attribute '(\w+)'", str(error))
            operation = next(filter(None, found.groups())) if found else str(error)
            raise UnsupportedOperationError(operation) from error
        numbers = loss.array if isinstance(loss, Reals) else np.asarray(loss)
        if numbers.size != 1:
            raise UnsupportedOperationError(f"a loss of shape {numbers.shape}")
        number = numbers.item()
        slopes.append(number.slope if isinstance(number, Real) else flint.arb(0))
        if not Real.ties:
            break
    return slopes[0] if len(slopes) == 1 else slopes[0].union(slopes[1])


def working_bits(rounding: Rounding) -> int:
    """Return a precision in which every operation errs as much as two honest ones may.

    An enclosure at this precision is as wide as honest evaluations of the definition may be apart,
    whoever computes them: an error bar that owes nothing to the hand-written passes.
    """
    bits = -round(log2(rounding.unit_roundoff))
    return bits - ceil(log2(4 * rounding.ulps))


def decimal(truth: flint.arb) -> str:
    """Write the midpoint of an enclosure in decimal."""
    return str(truth.str(DIGITS, radius=False))


def distance_above(value: float, truth: flint.arb) -> float:
    """Return a float64 that is no less than abs(value − truth)."""
    with np.errstate(over="ignore"):
        return float(np.nextafter(float(abs(flint.arb(value) - truth).upper()), np.inf))


def distance(values: Any, truth: Enclosures) -> NDArray[np.float64]:
    """Upper bounds, in float64, on abs(values − truth)."""
    with precision(256):
        return np.array(
            [
                distance_above(value, real)
                for value, real in zip(np.ravel(values).tolist(), truth.flat, strict=True)
            ]
        ).reshape(truth.shape)
