"""Arb's balls: their precision, which is global to the process, and what they enclose."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import flint
import numpy as np
from numpy.typing import NDArray

Enclosures = NDArray[np.object_]
"""An array of `flint.arb`."""

_SETTINGS = threading.RLock()
DIGITS = 21
"""Significant digits in which a truth is printed."""


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


def decimal(truth: flint.arb) -> str:
    """Write the midpoint of an enclosure in decimal."""
    return str(truth.str(DIGITS, radius=False))


def is_outside(value: float, truth: flint.arb, bar: Any) -> bool:
    """Tell whether a value is provably more than `bar` away from the enclosed truth."""
    return not np.isfinite(value) or bool(abs(flint.arb(value) - truth) > bar)


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
