"""The logarithm of Γ, and its derivatives; of what is not positive Arb alone knows something."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

import flint
import numpy as np

from gradcheck.numbers import ingredients as of
from gradcheck.numbers import rules
from gradcheck.numbers.array import NoRuleError
from gradcheck.numbers.enclosure import Operand, Pair
from gradcheck.numbers.record import INFINITY, LINEAR, Elementary
from gradcheck.numbers.rounding import Accuracy, Rounding

LOWEST = 1.4616321449683622
"""Where Γ is smallest among positive numbers."""


def _among_positive(ulps_of_one: float) -> Callable[..., Any]:
    """Err by ulps of 1, for the function has a zero; on the left of zero nothing is known."""

    def also(rounding: Rounding, reach: Any, lows: Any, highs: Any) -> Any:
        return np.where(lows[0] > 0, ulps_of_one * 2 * rounding.unit_roundoff, np.inf)

    return also


def _left_out(order: float) -> Callable[..., Any]:
    """Let ψ' lack what PyTorch's series leaves out: 1/30·(q + 6)⁻⁹, four million ulps at 0.9."""

    def also(rounding: Rounding, reach: Any, lows: Any, highs: Any) -> Any:
        lost = 1.01 / 30 * (np.maximum(lows[0], 0) + 6) ** -9.0 if order == 2 else 0.0
        return np.where(lows[0] > 0, lost, np.inf)

    return also


def _gammaln(gammaln: np.ufunc) -> Elementary:
    def extremes(low: Any, high: Any) -> tuple[Any, Any]:
        return np.clip(LOWEST, low, high), np.where(gammaln(low) > gammaln(high), low, high)

    return Elementary(
        ufunc=gammaln,
        partials=lambda y, x: (of.scipy("digamma")(x),),
        rule=rules.smooth,
        arb=_arb_gammaln,
        accuracy=Accuracy(6, 6),  # JAX: 3.73 and 4.43 beyond 10
        also=_among_positive(22),  # JAX: 17.4 near 2.8, where cephes' has 2 and PyTorch 0.5
        slope=lambda low, high: of.larger_end(of.scipy("digamma"))(low, high) + rules.LIBRARY,
        extremes=extremes,
        domain=(0, INFINITY),
        undefined=_nowhere,
        bends=of.by_size,
    )


def _digamma(psi: np.ufunc) -> Elementary:
    return Elementary(
        ufunc=psi,
        partials=lambda y, x: (of.scipy("zeta")(2.0, x),),
        rule=rules.smooth,
        arb=flint.arb.digamma,
        accuracy=Accuracy(5, 5),  # JAX: 3.91 at 48
        also=_among_positive(12),  # JAX: 9.07 near 1, in PyTorch 5.7
        slope=lambda low, high: _zeta_of_positive(of.scipy("zeta"), 2.0, low),
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
        partials=lambda y, s, q: (of.UNKNOWN, -s * zeta(s + 1, q)),
        rule=_of_order(at),
        arb=lambda s, q: s.zeta(q),
        accuracy=Accuracy(18, 24),  # JAX: 14.2 and 18.5 as a polygamma; SciPy 6.72
        also=lambda rounding, reach, lows, highs: _left_out(_constant(lows[0]))(
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
        return rules.smooth(at(_constant(order.mid)), a, rounding)

    return rule


def _constant(order: Any) -> float:
    if np.ndim(order) or not order > 1:
        raise NoRuleError("balls have no rule for zeta unless of one constant order above 1")
    return float(order)


def _nowhere(lows: Sequence[Any], highs: Sequence[Any]) -> Any:
    """Leave it unknown: on the left of zero there are values between the poles."""
    return np.zeros(np.shape(lows[0]), bool)


def _arb_gammaln(x: flint.arb) -> flint.arb:
    """Reflect negative numbers: log|Γ(x)| = log π − log|sin πx| − log Γ(1 − x)."""
    if x > 0:
        return x.lgamma()
    return flint.arb.pi().log() - abs(x.sin_pi()).log() - (1 - x).lgamma()


RECORDS: Mapping[str, Callable[[np.ufunc], Elementary]] = {
    "gammaln": _gammaln,
    "psi": _digamma,
    "_zeta": _zeta,
}
"""By the name of the function."""
