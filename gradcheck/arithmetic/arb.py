"""Arb's real balls in object arrays, on which unchanged NumPy code yields rigorous enclosures.

References
----------
F. Johansson, *Arb: efficient arbitrary-precision midpoint-radius interval arithmetic*, IEEE
Transactions on Computers 66 (2017).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import flint
import numpy as np
from numpy.typing import NDArray

from gradcheck.engine.model import Model, run_passes

Reals = NDArray[np.object_]
"""An array of `flint.arb`."""


@contextmanager
def precision(bits: int) -> Iterator[None]:
    """Work with `bits` bits in Arb; the setting is global to the process and not thread-safe."""
    before = flint.ctx.prec
    flint.ctx.prec = bits
    try:
        yield
    finally:
        flint.ctx.prec = before


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


def distance(values: Any, truth: Reals) -> NDArray[np.float64]:
    """Upper bounds, in float64, on abs(values − truth)."""
    with precision(256):
        return np.array(
            [
                float(abs(flint.arb(value) - real).upper())
                for value, real in zip(np.ravel(values).tolist(), truth.flat, strict=True)
            ]
        ).reshape(truth.shape)
