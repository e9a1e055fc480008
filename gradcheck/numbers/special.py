"""Functions of `scipy.special` that belong to Γ, Bessel, the normal and the logistic distribution.

They are known by name, so that SciPy need not be imported. Accuracies are 1.25 times the worst
error of 1500 points from each of several ranges in SciPy, PyTorch or JAX, held against Arb, and
rounded up. Γ's functions are for positive numbers; of others nothing is known but by Arb.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import flint
import numpy as np

from gradcheck.numbers import bessel, gamma, rules
from gradcheck.numbers import ingredients as of
from gradcheck.numbers.array import Function
from gradcheck.numbers.record import INFINITY, Elementary, over
from gradcheck.numbers.rounding import Accuracy, Rounding

_np: Any = np
"""NumPy, whose functions take more than they are declared to."""

# What evaluations err besides, and slopes


def _absolutely(ulps_of_one: float) -> Callable[..., Any]:
    return lambda rounding, *_: ulps_of_one * 2 * rounding.unit_roundoff


def _square_rounded(rounding: Rounding, reach: Any, lows: Any, highs: Any) -> Any:
    """Let 1 − x² be rounded in erf's inverse: half a million ulps at 1 − 10⁻⁸ in JAX."""
    return rounding.unit_roundoff * np.sqrt(np.pi) / 2 * np.exp(reach * reach)


def _tail(rounding: Rounding, reach: Any, lows: Any, highs: Any) -> Any:
    """Let the exponent x²/2 be rounded, 165 ulps at −12.3 in JAX, or 1 + erf as in PyTorch."""
    return (reach * np.maximum(-lows[0], 0) ** 2 + 1) * (2 * rounding.unit_roundoff)


# The normal distribution


def _erfinv(erfinv: np.ufunc) -> Elementary:
    def slope(low: Any, high: Any) -> Any:
        return np.exp(erfinv(of.farthest(low, high)) ** 2) * (of.SOFTLY / of.ERF_SLOPE)

    return Elementary(
        ufunc=erfinv,
        partials=lambda y, x: (np.exp(y * y) / of.ERF_SLOPE,),
        rule=rules.smooth,
        arb=flint.arb.erfinv,
        accuracy=Accuracy(float64=25),  # JAX: 19.9 at 0.643, by its log1p
        also=_square_rounded,
        slope=slope,
        domain=(-1, 1),
        zero=0,
        bends=of.inside_one,
    )


def _ndtri(ndtri: np.ufunc) -> Elementary:
    steepness = of.larger_end(lambda p: np.exp(ndtri(p) ** 2 / 2))
    return Elementary(
        ufunc=ndtri,
        partials=lambda y, p: (np.exp(y * y / 2) / of.NORMAL_SLOPE,),
        rule=rules.smooth,
        arb=lambda p: -((2 * p).erfcinv()) * flint.arb(2).sqrt(),
        accuracy=Accuracy(5, 5),  # SciPy: 3.36; JAX: 3.61
        slope=lambda low, high: steepness(low, high) * (of.SOFTLY / of.NORMAL_SLOPE),
        domain=(0, 1),
        bends=over(lambda p: np.minimum(p, 1 - p)),
    )


def _ndtr(ndtr: np.ufunc) -> Elementary:
    def slope(low: Any, high: Any) -> Any:
        return of.NORMAL_SLOPE * np.exp(-(of.nearest(low, high) ** 2) / 2 * (1 - 2.0**-50))

    return Elementary(
        ufunc=ndtr,
        partials=lambda y, x: (np.exp(-(x * x) / 2) * of.NORMAL_SLOPE,),
        rule=rules.smooth,
        arb=lambda x: (-x / flint.arb(2).sqrt()).erfc() / 2,
        accuracy=Accuracy(float32=6),  # JAX: 4.49
        also=_tail,
        slope=slope,
        range=(0, 1),
        zero=-INFINITY,
    )


def _logit(logit: np.ufunc) -> Elementary:
    return Elementary(
        ufunc=logit,
        partials=lambda y, p: (1 / (p * (1 - p)),),
        rule=rules.smooth,
        arb=lambda p: p.log() - (-p).log1p(),
        also=_absolutely(2),  # PyTorch and JAX: 1.12 near 1/2, the logarithm of a quotient
        slope=of.larger_end(lambda p: 1 / (p * (1 - p))),
        domain=(0, 1),
        bends=over(lambda p: np.minimum(p, 1 - p)),
    )


SPECIAL: Mapping[str, Callable[[np.ufunc], Elementary]] = {
    **gamma.RECORDS,
    **bessel.RECORDS,
    "erfinv": _erfinv,
    "ndtri": _ndtri,
    "ndtr": _ndtr,
    "logit": _logit,
}
"""Records by the name of the function."""


def _xlogy(x: Any, y: Any) -> Any:
    return _np.where(_np.equal(x, 0.0), 0.0, x * _np.log(y))


def _xlog1py(x: Any, y: Any) -> Any:
    return _np.where(_np.equal(x, 0.0), 0.0, x * _np.log1p(y))


def _entr(x: Any) -> Any:
    present = _np.where(x < 0, -np.inf, -x * _np.log(x))
    return _np.where(_np.equal(x, 0.0), 0.0, present)


COMPOSED: Mapping[str, Function] = {"xlogy": _xlogy, "xlog1py": _xlog1py, "entr": _entr}
"""Those that are written with others, by name."""
