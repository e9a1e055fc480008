"""Bessel's modified functions of the orders 0 and 1, and those times e^−|x|."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import flint
import numpy as np

from gradcheck.numbers import ingredients as of
from gradcheck.numbers import rules
from gradcheck.numbers.array import NoRuleError
from gradcheck.numbers.enclosure import Pair
from gradcheck.numbers.record import INFINITY, Elementary, over
from gradcheck.numbers.rounding import Accuracy


def _bessel(order: int, *, scaled: bool, ulps: Accuracy) -> Callable[[np.ufunc], Elementary]:
    """I₀ or I₁, times e^−|x| if scaled."""
    own, other = (f"i{n}{'e' * scaled}" for n in (order, 1 - order))

    def partials(y: Any, x: Any) -> tuple[Any]:
        if order == 0:
            slope = of.scipy(other)(x)
            return (slope - x / abs(x) * y if scaled else slope,)  # scaled, it has a kink at 0
        second = of.scipy("iv")(2.0, x) * (np.exp(-abs(x)) if scaled else 1.0)
        slope = (of.scipy(other)(x) + second) / 2
        return (slope - np.sign(x) * y if scaled else slope,)

    def record(ufunc: np.ufunc) -> Elementary:
        even = order == 0
        return Elementary(
            ufunc=ufunc,
            partials=partials,
            rule=rules.smooth,
            arb=_arb_bessel(order, scaled),
            accuracy=ulps,
            slope=_BESSEL_SLOPES[own],
            extremes=None if scaled and not even else _magnitudes(scaled) if even else _ends,
            range=((0 if even else -1), 1) if scaled else ((1 if even else -INFINITY), INFINITY),
            zero=None if even else 0,
            bends=of.beyond_one if scaled else over(lambda x: 1.0),
        )

    return record


def _i1_slope(low: Any, high: Any) -> Any:
    far = of.farthest(low, high)
    return (of.scipy("i0")(far) + of.scipy("iv")(2.0, far)) / 2 * of.SOFTLY


def _i0e_slope(low: Any, high: Any) -> Any:
    """(1/π)·∫ e^(−|x|·(1 − cos θ))·(1 − cos θ) dθ from 0 to π, which falls."""
    near = of.nearest(low, high)
    i0e = of.scipy("i0e")(near)
    return i0e - of.scipy("i1e")(near) + i0e * rules.LIBRARY


I1E_CURVATURE = 10 / (3 * np.pi)
"""(1/π)·∫ (1 − cos θ)²·|cos θ| dθ from 0 to π, a bound on the second derivative."""


def _i1e_slope(low: Any, high: Any) -> Any:
    middle, half = np.abs(low + high) / 2, (high - low) / 2
    i0e, i1e, second = (
        of.scipy("i0e")(middle),
        of.scipy("i1e")(middle),
        of.scipy("ive")(2.0, middle),
    )
    there = np.abs((i0e + second) / 2 - i1e) + i0e * 2.0**-40
    return np.fmin(there + half * I1E_CURVATURE, of.scipy("i0e")(of.nearest(low, high)))


_BESSEL_SLOPES: Mapping[str, Callable[[Any, Any], Any]] = {
    "i0": lambda low, high: of.scipy("i1")(of.farthest(low, high)),
    "i1": _i1_slope,
    "i0e": _i0e_slope,
    "i1e": _i1e_slope,
}


def _ends(low: Any, high: Any) -> tuple[Any, Any]:
    return low, high


def _magnitudes(falls: bool) -> Callable[[Any, Any], tuple[Any, Any]]:
    """Let a function of the magnitude rise, or fall."""
    return lambda low, high: of.magnitudes(low, high)[:: -1 if falls else 1]


def _arb_bessel(order: int, scaled: bool) -> Callable[[flint.arb], flint.arb]:
    def arb(x: flint.arb) -> flint.arb:
        if x.is_zero():
            return flint.arb(1 - order)
        if not (x > 0 or x < 0):
            return x.bessel_i(order) * ((-abs(x)).exp() if scaled else 1)
        return abs(x).bessel_i(order, scaled=scaled) * (-1 if order and x < 0 else 1)

    return arb


def _refuse(*_: Any, **__: Any) -> Pair:
    raise NoRuleError("balls have no rule for scipy.special.iv; use i0, i1, i0e and i1e")


RECORDS: Mapping[str, Callable[[np.ufunc], Elementary]] = {
    "i0": _bessel(0, scaled=False, ulps=Accuracy(6, 6)),  # 4.08 in SciPy, 4.75 in JAX
    "i1": _bessel(1, scaled=False, ulps=Accuracy(13, 17)),  # 9.96 and 13.0 in PyTorch
    "i0e": _bessel(0, scaled=True, ulps=Accuracy(9, 7)),  # 7.03 in SciPy, 5.04 in PyTorch
    "i1e": _bessel(1, scaled=True, ulps=Accuracy(10, 13)),  # 7.35 in SciPy, 9.67 in PyTorch
    "iv": lambda iv: Elementary(
        ufunc=iv,
        partials=lambda y, v, x: (of.UNKNOWN, (iv(v - 1, x) + iv(v + 1, x)) / 2),
        rule=_refuse,
        arb=lambda v, x: x.bessel_i(v),
    ),
}
"""By the name of the function."""
