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

from gradcheck.arithmetic.ball import Rounding
from gradcheck.engine.model import Blackboard, Model, run_passes

Reals = NDArray[np.object_]
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


def reals(values: Any) -> Reals:
    """Convert floats to exact reals, of the same shape."""
    values = np.asarray(values, dtype=np.float64)
    result = np.empty(values.shape, dtype=object)
    result.ravel()[:] = [flint.arb(value) for value in values.ravel().tolist()]
    return result


def enclose_gradients(model: Model, values: Mapping[str, Any], bits: int = 256) -> dict[str, Reals]:
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
    with precision(bits):
        exact = {name: reals(array) for name, array in values.items()}
        _, _, d = run_passes(model, np, exact)
    return {name: d[name] for name in model.parameters}


def enclose_derivative(
    model: Model, values: Mapping[str, Any], name: str, element: tuple[int, ...], bits: int
) -> Reals:
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
        Enclosures of the derivative, shape `(n,)`.

    Raises
    ------
    UnsupportedOperationError
        If the definition cannot be followed in power series.
    """
    with precision(bits):
        leaves = {leaf: reals(array) for leaf, array in values.items()}
        moving = leaves[name]
        for sample in range(len(moving)):
            index = (sample, *element)
            moving[index] = flint.arb_series([moving[index], 1])
        try:
            losses = model.loss(np, Blackboard(**leaves))
        except (ValueError, ZeroDivisionError):  # the constant term is zero where it must not be
            undefined = np.empty(len(moving), dtype=object)
            undefined.fill(flint.arb("nan"))
            return undefined
        except (TypeError, AttributeError) as error:
            found = re.search(r"no callable (\w+) method|attribute '(\w+)'", str(error))
            operation = next(filter(None, found.groups())) if found else str(error)
            raise UnsupportedOperationError(operation) from error
        if np.shape(losses) != (len(moving),):
            raise UnsupportedOperationError(f"a loss of shape {np.shape(losses)}")
        derivatives = np.empty(len(moving), dtype=object)
        for sample, loss in enumerate(losses):
            derivatives[sample] = loss[1] if isinstance(loss, flint.arb_series) else flint.arb(0)
    return derivatives


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


def distance(values: Any, truth: Reals) -> NDArray[np.float64]:
    """Upper bounds, in float64, on abs(values − truth)."""
    with precision(256):
        return np.array(
            [
                distance_above(value, real)
                for value, real in zip(np.ravel(values).tolist(), truth.flat, strict=True)
            ]
        ).reshape(truth.shape)
