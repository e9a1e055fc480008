"""Functions that `scipy.special` has, as ATen's operations are written with them."""

from __future__ import annotations

from importlib import import_module
from math import factorial
from typing import Any

import numpy as np

from gradcheck.capture.program import Rule

_np: Any = np
"""NumPy, whose functions take more than they are declared to."""


def special(name: str) -> Rule:
    """Return the function of that name in `scipy.special`, which is imported when it is called."""

    def rule(*operands: Any) -> Any:
        return getattr(import_module("scipy.special"), name)(*operands)

    return rule


sigmoid = special("expit")
_zeta = special("zeta")


def _reflected(x: Any) -> tuple[Any, Any]:
    """Return where numbers are negative, and 1 − x for these: Γ's functions are for positive."""
    negative = x < 0
    return negative, _np.where(negative, 1.0 - x, x)


def lgamma(x: Any) -> Any:
    """Return log |Γ|; of negative numbers by reflection, as all that follow."""
    negative, positive = _reflected(x)
    found = special("gammaln")(positive)
    sine = _np.sin(np.pi * _np.where(negative, x, 0.5))
    return _np.where(negative, _np.log(np.pi / _np.absolute(sine)) - found, found)


def polygamma(order: int, x: Any) -> Any:
    """Return a derivative of digamma: (−1)ⁿ ψₙ(1 − x) − ψₙ(x) is that of π·cot πx."""
    negative, positive = _reflected(x)
    if order:
        found = (-1) ** (order + 1) * factorial(order) * _zeta(order + 1.0, positive)
    else:
        found = special("digamma")(positive)
    polynomial = np.polynomial.Polynomial([0.0, 1.0])  # of the cotangent
    for _ in range(order):
        polynomial = polynomial.deriv() * np.polynomial.Polynomial([-1.0, 0.0, -1.0])
    angle = np.pi * _np.where(negative, x, 0.5)
    cotangent, slope = _np.cos(angle) / _np.sin(angle), 0.0
    for coefficient in polynomial.coef[::-1]:
        slope = slope * cotangent + float(coefficient)
    return _np.where(negative, (-1) ** order * found - np.pi ** (order + 1) * slope, found)
