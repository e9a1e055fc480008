"""Derivatives by small steps: finite differences, and the complex step.

References
----------
W. Squire and G. Trapp, *Using complex variables to estimate derivatives of real functions*, SIAM
Review 40 (1998).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.adapters import Adapter, Arrays, Gradients
from gradcheck.model.board import Given
from gradcheck.model.model import Model
from gradcheck.numbers.narrow import plain
from gradcheck.numbers.plain import Plain

DTYPES = ("float64", "float32")
"""Coarser formats have no room for a small step."""
Quotient = Callable[[Callable[[Any], NDArray[Any]]], NDArray[Any]]
"""From the loss as a function of a step in one number, to a derivative."""

NOTEBOOK_STEP = 1e-5
"""The forward difference's step in the notebook."""


def evaluate(model: Model, function: Callable[[Any, Any], Any], values: Arrays) -> NDArray[Any]:
    """Evaluate a model's definition or formula in NumPy, all samples at once.

    Returns
    -------
    numpy.ndarray
        Shape `(n,)`, or `(n, *shape)` of a formula.
    """
    hidden = 0 if model.batched else 1
    numbers = plain(values, hidden)
    result = function(np, Given(numbers))
    return np.asarray(result.array if isinstance(result, Plain) else result)


def _differentiate(model: Model, quotient: Quotient) -> Gradients:
    """Step each number of each parameter in turn."""

    def gradients(values: Arrays) -> Arrays:
        return {name: gradient(values, name) for name in model.parameters}

    def gradient(values: Arrays, name: str) -> NDArray[Any]:
        result = np.empty_like(values[name])
        for index in np.ndindex(values[name].shape[1:]):
            element = (slice(None), *index)

            def loss(step: Any, element: Any = element) -> NDArray[Any]:
                moved = values[name].astype(np.result_type(values[name], step))
                moved[element] += step
                return evaluate(model, model.loss, {**values, name: moved})

            result[element] = quotient(loss)
        return result

    return gradients


def _prepare_forward(model: Model, dtype: np.dtype[Any]) -> Gradients:
    h = dtype.type(NOTEBOOK_STEP)
    return _differentiate(model, lambda loss: (loss(h) - loss(dtype.type(0))) / h)


def _prepare_central(model: Model, dtype: np.dtype[Any]) -> Gradients:
    # The cube root of the roundoff balances truncation, of order h², with rounding, of order u/h.
    h = dtype.type(np.cbrt(np.finfo(dtype).eps / 2))
    return _differentiate(model, lambda loss: (loss(h) - loss(-h)) / (2 * h))


def _complex_step(dtype: np.dtype[Any]) -> float:
    """Return the step h, the root of the smallest normal number."""
    return float(np.sqrt(np.finfo(dtype).smallest_normal))


def _complex_range(dtype: np.dtype[Any]) -> tuple[float, float]:
    """Return between which magnitudes the complex step keeps full precision.

    A gradient g does while h·g is a normal number. The truncation error is of relative order
    (h·k)² if the loss varies over lengths of 1/k, so that k may come to u/h, to be safe.
    """
    h = _complex_step(dtype)
    return h, float(np.finfo(dtype).eps) / h  # smallest normal / h = h


def _prepare_complex(model: Model, dtype: np.dtype[Any]) -> Gradients:
    h = dtype.type(_complex_step(dtype))
    imaginary_step = np.result_type(dtype, np.complex64).type(1j * h)
    return _differentiate(model, lambda loss: loss(imaginary_step).imag / h)


forward_difference = Adapter(
    _prepare_forward,
    f"forward difference, h = {NOTEBOOK_STEP}",
    judged=False,
    dtypes=DTYPES,
)
central_difference = Adapter(
    _prepare_central,
    "central difference, h = cube root of the unit roundoff",
    judged=False,
    dtypes=DTYPES,
)
complex_step = Adapter(
    _prepare_complex,
    "imaginary part of the loss at a complex step, over the step",
    normal_range=_complex_range,
    dtypes=DTYPES,
)
