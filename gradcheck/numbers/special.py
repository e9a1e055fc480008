"""Functions of `scipy.special` that belong to Γ, to Bessel and to the normal distribution.

They are known by name, so that SciPy need not be imported. Accuracies are 1.25 times the worst
error of 1500 points from each of several ranges in SciPy, PyTorch or JAX, held against Arb, and
rounded up. Γ's functions are for positive numbers; of others nothing is known but by Arb.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from importlib import import_module
from typing import Any

import flint
import numpy as np

from gradcheck.numbers import ingredients as of
from gradcheck.numbers import rules
from gradcheck.numbers.array import Function, NoRuleError
from gradcheck.numbers.enclosure import Operand, Pair
from gradcheck.numbers.record import INFINITY, LINEAR, Elementary, over
from gradcheck.numbers.rounding import Accuracy, Rounding

_np: Any = np
"""NumPy, whose functions take more than they are declared to."""

LOWEST = 1.4616321449683622
"""Where Γ is smallest among positive numbers."""
UNKNOWN = float("nan")
SOFTLY = 1 + 2.0**-40
"""Covers the slope of a quantile, an exponential of its square."""


def _scipy(name: str) -> Any:
    return getattr(import_module("scipy.special"), name)


# What evaluations err besides, and slopes


def _among_positive(ulps_of_one: float) -> Callable[..., Any]:
    """Err by ulps of 1, for the function has a zero; on the left of zero nothing is known."""

    def also(rounding: Rounding, reach: Any, lows: Any, highs: Any) -> Any:
        return np.where(lows[0] > 0, ulps_of_one * 2 * rounding.unit_roundoff, np.inf)

    return also


def _absolutely(ulps_of_one: float) -> Callable[..., Any]:
    return lambda rounding, *_: ulps_of_one * 2 * rounding.unit_roundoff


def _left_out(order: float) -> Callable[..., Any]:
    """Let ψ' lack what PyTorch's series leaves out: 1/30·(q + 6)⁻⁹, four million ulps at 0.9."""

    def also(rounding: Rounding, reach: Any, lows: Any, highs: Any) -> Any:
        lost = 1.01 / 30 * (np.maximum(lows[0], 0) + 6) ** -9.0 if order == 2 else 0.0
        return np.where(lows[0] > 0, lost, np.inf)

    return also


def _square_rounded(rounding: Rounding, reach: Any, lows: Any, highs: Any) -> Any:
    """Let 1 − x² be rounded in erf's inverse: half a million ulps at 1 − 10⁻⁸ in JAX."""
    return rounding.unit_roundoff * np.sqrt(np.pi) / 2 * np.exp(reach * reach)


def _tail(rounding: Rounding, reach: Any, lows: Any, highs: Any) -> Any:
    """Let the exponent x²/2 be rounded, 165 ulps at −12.3 in JAX, or 1 + erf as in PyTorch."""
    return (reach * np.maximum(-lows[0], 0) ** 2 + 1) * (2 * rounding.unit_roundoff)


def _larger_end(function: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda low, high: np.maximum(np.abs(function(low)), np.abs(function(high)))


# Γ


def _gammaln(gammaln: np.ufunc) -> Elementary:
    def extremes(low: Any, high: Any) -> tuple[Any, Any]:
        return np.clip(LOWEST, low, high), np.where(gammaln(low) > gammaln(high), low, high)

    return Elementary(
        ufunc=gammaln,
        partials=lambda y, x: (_scipy("digamma")(x),),
        rule=rules.smooth,
        arb=_arb_gammaln,
        accuracy=Accuracy(6, 6),  # JAX: 3.73 and 4.43 beyond 10
        also=_among_positive(22),  # JAX: 17.4 near 2.8, where cephes' has 2 and PyTorch 0.5
        slope=lambda low, high: _larger_end(_scipy("digamma"))(low, high) + rules.LIBRARY,
        extremes=extremes,
        domain=(0, INFINITY),
        undefined=_nowhere,
        bends=of.by_size,
    )


def _digamma(psi: np.ufunc) -> Elementary:
    return Elementary(
        ufunc=psi,
        partials=lambda y, x: (_scipy("zeta")(2.0, x),),
        rule=rules.smooth,
        arb=flint.arb.digamma,
        accuracy=Accuracy(5, 5),  # JAX: 3.91 at 48
        also=_among_positive(12),  # JAX: 9.07 near 1, in PyTorch 5.7
        slope=lambda low, high: _zeta_of_positive(_scipy("zeta"), 2.0, low),
        domain=(0, INFINITY),
        undefined=_nowhere,
        bends=of.by_size,
    )


def _zeta(zeta: np.ufunc) -> Elementary:
    """Hurwitz's ζ(s, q) = Σ (q + k)⁻ˢ: but for a factor, the derivatives of ψ."""

    @cache
    def at(s: float) -> Elementary:
        return replace(
            record,
            ufunc=partial(_zeta_of_positive, zeta, s),  # type: ignore[arg-type]
            also=_left_out(s),
            slope=lambda low, high: s * _zeta_of_positive(zeta, s + 1, low),
        )

    record = Elementary(
        ufunc=zeta,
        partials=lambda y, s, q: (UNKNOWN, -s * zeta(s + 1, q)),
        rule=_of_order(at),
        arb=lambda s, q: s.zeta(q),
        accuracy=Accuracy(18, 24),  # JAX: 14.2 and 18.5 as a polygamma; SciPy 6.72
        also=lambda rounding, reach, lows, highs: _left_out(float(lows[0]))(
            rounding, reach, lows[1:], highs[1:]
        ),
        domain=(0, INFINITY),
        undefined=_nowhere,
        bends=lambda wide, mids: wide[1] > LINEAR * np.abs(mids[1]),
    )
    return record


def _zeta_of_positive(zeta: np.ufunc, s: float, q: Any) -> Any:
    """Leave out negative numbers, for which SciPy adds up as many terms as they are large."""
    return zeta(s, np.where(q > 0, q, 0.0))


def _of_order(at: Callable[[float], Elementary]) -> Callable[..., Pair]:
    """Enclose a function of one constant order and a number."""

    def rule(record: Elementary, order: Operand, a: Operand, rounding: Rounding) -> Pair:
        if order.mid.ndim or order.rad.any() or not order.mid > 1:
            raise NoRuleError("balls have no rule for zeta unless of one constant order above 1")
        return rules.smooth(at(float(order.mid)), a, rounding)

    return rule


def _nowhere(lows: Sequence[Any], highs: Sequence[Any]) -> Any:
    """Leave it unknown: on the left of zero there are values between the poles."""
    return np.zeros(np.shape(lows[0]), bool)


def _arb_gammaln(x: flint.arb) -> flint.arb:
    """Reflect negative numbers: log|Γ(x)| = log π − log|sin πx| − log Γ(1 − x)."""
    if x > 0:
        return x.lgamma()
    return flint.arb.pi().log() - abs(x.sin_pi()).log() - (1 - x).lgamma()


# Bessel's functions


def _bessel(order: int, *, scaled: bool, ulps: Accuracy) -> Callable[[np.ufunc], Elementary]:
    """I₀ or I₁, times e^−|x| if scaled."""
    own, other = (f"i{n}{'e' * scaled}" for n in (order, 1 - order))

    def partials(y: Any, x: Any) -> tuple[Any]:
        if order == 0:
            slope = _scipy(other)(x)
            return (slope - x / abs(x) * y if scaled else slope,)  # scaled, it has a kink at 0
        second = _scipy("iv")(2.0, x) * (np.exp(-abs(x)) if scaled else 1.0)
        slope = (_scipy(other)(x) + second) / 2
        return (slope - np.sign(x) * y if scaled else slope,)

    def record(ufunc: np.ufunc) -> Elementary:
        assert ufunc.__name__ == own  # noqa: S101 - the table's own name
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
    return (_scipy("i0")(far) + _scipy("iv")(2.0, far)) / 2 * SOFTLY


def _i0e_slope(low: Any, high: Any) -> Any:
    """(1/π)·∫ e^(−|x|·(1 − cos θ))·(1 − cos θ) dθ from 0 to π, which falls."""
    near = of.nearest(low, high)
    i0e = _scipy("i0e")(near)
    return i0e - _scipy("i1e")(near) + i0e * rules.LIBRARY


I1E_CURVATURE = 10 / (3 * np.pi)
"""(1/π)·∫ (1 − cos θ)²·|cos θ| dθ from 0 to π, a bound on the second derivative."""


def _i1e_slope(low: Any, high: Any) -> Any:
    middle, half = np.abs(low + high) / 2, (high - low) / 2
    i0e, i1e, second = _scipy("i0e")(middle), _scipy("i1e")(middle), _scipy("ive")(2.0, middle)
    there = np.abs((i0e + second) / 2 - i1e) + i0e * 2.0**-40
    return np.fmin(there + half * I1E_CURVATURE, _scipy("i0e")(of.nearest(low, high)))


_BESSEL_SLOPES: Mapping[str, Callable[[Any, Any], Any]] = {
    "i0": lambda low, high: _scipy("i1")(of.farthest(low, high)),
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


# The normal distribution


def _erfinv(erfinv: np.ufunc) -> Elementary:
    def slope(low: Any, high: Any) -> Any:
        return np.exp(erfinv(of.farthest(low, high)) ** 2) * (SOFTLY / of.ERF_SLOPE)

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
    steepness = _larger_end(lambda p: np.exp(ndtri(p) ** 2 / 2))
    return Elementary(
        ufunc=ndtri,
        partials=lambda y, p: (np.exp(y * y / 2) / of.NORMAL_SLOPE,),
        rule=rules.smooth,
        arb=lambda p: -((2 * p).erfcinv()) * flint.arb(2).sqrt(),
        accuracy=Accuracy(5, 5),  # SciPy: 3.36; JAX: 3.61
        slope=lambda low, high: steepness(low, high) * (SOFTLY / of.NORMAL_SLOPE),
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
        slope=_larger_end(lambda p: 1 / (p * (1 - p))),
        domain=(0, 1),
        bends=over(lambda p: np.minimum(p, 1 - p)),
    )


SPECIAL: Mapping[str, Callable[[np.ufunc], Elementary]] = {
    "gammaln": _gammaln,
    "psi": _digamma,
    "_zeta": _zeta,
    "i0": _bessel(0, scaled=False, ulps=Accuracy(6, 6)),  # 4.08 in SciPy, 4.75 in JAX
    "i1": _bessel(1, scaled=False, ulps=Accuracy(13, 17)),  # 9.96 and 13.0 in PyTorch
    "i0e": _bessel(0, scaled=True, ulps=Accuracy(9, 7)),  # 7.03 in SciPy, 5.04 in PyTorch
    "i1e": _bessel(1, scaled=True, ulps=Accuracy(10, 13)),  # 7.35 in SciPy, 9.67 in PyTorch
    "iv": lambda iv: Elementary(
        ufunc=iv,
        partials=lambda y, v, x: (UNKNOWN, (iv(v - 1, x) + iv(v + 1, x)) / 2),
        rule=_refuse,
        arb=lambda v, x: x.bessel_i(v),
    ),
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
    return _np.where(x > 0, -x * _np.log(x), _np.where(x < 0, -np.inf, 0.0))


COMPOSED: Mapping[str, Function] = {"xlogy": _xlogy, "xlog1py": _xlog1py, "entr": _entr}
"""Those that are written with others, by name."""
