"""How far the result of each function may be from the one computed: the rules of balls.

One lemma serves every operation. Let the exact results over the operands' balls stay within
`spread` of the exact result at the midpoints. Then they reach |midpoint| + spread at most, either
evaluation errs by at most k·u of that, where u is the format's unit roundoff and k = 1 for
arithmetic, and a result in the subnormal range by less than the smallest normal number besides:

    radius = spread + 2·k·u·(|midpoint| + spread) + 2·smallest normal.

An exact zero stays exact. Where the reach passes the largest finite number the radius is infinite:
an honest evaluation may overflow there.

A rule takes operands that have a `mid` and a `rad`, and returns both for the result.

References
----------
N. J. Higham, *Accuracy and Stability of Numerical Algorithms*, SIAM 2002, sections 3.1 (sums of
products) and 3.3 (running error analysis). J. van der Hoeven, *Ball arithmetic*, 2009.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gradcheck.numbers.array import NoRuleError
from gradcheck.numbers.rounding import LOG1P_DIP, RADIUS_INFLATION, Rounding

Floats = NDArray[np.float64]
Pair = tuple[Floats, Floats]
"""Midpoints and radii."""


class Operand(Protocol):
    """What a rule needs to know of a ball."""

    @property
    def mid(self) -> Floats:
        """Midpoints."""

    @property
    def rad(self) -> Floats:
        """Radii."""

    @property
    def sin_cos(self) -> Pair:
        """Sine and cosine of the midpoints."""


SMALLEST = float(np.finfo(np.float64).smallest_subnormal)

EXACT = np.zeros(())
"""The radius of balls that are all exact; operations recognise it and save the work."""


def enclose(
    mid: Any,
    spread: Any,
    error: float,
    zero: Any,
    rounding: Rounding,
    operands: Sequence[Operand] = (),
) -> Pair:
    """Apply the lemma of the module's docstring.

    `zero()` tells where a midpoint of zero is the exact result, not an underflow. An infinity of
    `operands` that is exact, as the −∞ of a mask is, makes the result one.
    """
    rad = np.asarray(np.abs(mid))
    rad *= error
    if spread is not EXACT:
        rad += spread
        rad *= (1 + error) * RADIUS_INFLATION
    # The rest concerns results near the ends of the exponent range. Most blocks have none.
    underflow = rounding.smallest_normal * 2.0**60  # above it, RADIUS_INFLATION covers the flush
    overflow = rounding.largest * error / 4  # below it, the reach is below largest/2
    if rad.size and not (rad.min() >= underflow and rad.max() <= overflow):
        rad += (rad < underflow) * (2 * rounding.smallest_normal)
        rad[(mid == 0) & zero()] = 0
        reach = np.abs(mid) + spread
        rad[~(reach <= rounding.largest / (1 + 2 * error))] = np.inf
        if operands and np.isinf(mid).any():
            rad[np.isinf(mid) & _infinite(*operands)] = 0
    return np.asarray(mid), rad


def _infinite(*operands: Operand) -> Any:
    """Tell where one operand is an exact infinity, and the others finite."""
    infinite = [np.isinf(operand.mid) & (operand.rad == 0) for operand in operands]
    finite = [np.isfinite(operand.mid) & (operand.rad < np.inf) for operand in operands]
    known = np.logical_and.reduce(np.broadcast_arrays(*map(np.logical_or, infinite, finite)))
    return known & np.logical_or.reduce(np.broadcast_arrays(*infinite))


def _is_zero(a: Operand) -> Any:
    return (a.mid == 0) & (a.rad == 0)


def _sum_spread(a: Operand, b: Operand) -> Floats:
    spread: Floats
    if a.rad is EXACT or b.rad is EXACT:
        spread = b.rad if a.rad is EXACT else a.rad
    else:
        spread = a.rad + b.rad
    return spread


def _product_spread(a: Operand, b: Operand) -> Floats:
    """Bound |a'·b' − a·b| ≤ |a|·rad b + |b|·rad a + rad a·rad b."""
    if a.rad is EXACT:
        return EXACT if b.rad is EXACT else np.abs(a.mid) * b.rad
    spread = np.abs(b.mid)
    if b.rad is EXACT:
        return spread * a.rad
    spread = (spread + b.rad) * a.rad
    spread += np.abs(a.mid) * b.rad
    return spread


def _add(a: Operand, b: Operand, rounding: Rounding) -> Pair:
    spread = _sum_spread(a, b)
    error = rounding.arithmetic_error
    return enclose(a.mid + b.mid, spread, error, lambda: spread == 0, rounding, (a, b))


def _subtract(a: Operand, b: Operand, rounding: Rounding) -> Pair:
    spread = _sum_spread(a, b)
    error = rounding.arithmetic_error
    return enclose(a.mid - b.mid, spread, error, lambda: spread == 0, rounding, (a, b))


def _multiply(a: Operand, b: Operand, rounding: Rounding) -> Pair:
    return enclose(
        a.mid * b.mid,
        _product_spread(a, b),
        rounding.arithmetic_error,
        lambda: _is_zero(a) | _is_zero(b),
        rounding,
    )


def _divide(a: Operand, b: Operand, rounding: Rounding) -> Pair:
    """Bound |a'/b' − a/b| ≤ (rad a + |a/b|·rad b)/|b'|."""
    quotient = a.mid / b.mid
    # The exact quotient of the midpoints may be half an ulp, or half a subnormal, larger; and
    # ratios may lose bits to underflow that a large factor would show.
    reach = np.abs(quotient) * RADIUS_INFLATION + SMALLEST
    nearest = np.abs(b.mid) * (1 - 2.0**-52) - b.rad  # a lower bound on |b'|
    spread = np.where(
        nearest > 0, a.rad / nearest + SMALLEST + reach * (b.rad / nearest + SMALLEST), np.inf
    )
    error = rounding.arithmetic_error
    if np.isinf(a.mid).any():  # an exact infinity stays one if the sign of the divisor is known
        spread = np.where(np.isinf(a.mid) & (nearest > 0), 0.0, spread)
        return enclose(quotient, spread, error, lambda: _is_zero(a), rounding, (a, b))
    return enclose(quotient, spread, error, lambda: _is_zero(a), rounding)


def contract(
    function: Callable[..., Any], operands: Sequence[Operand], terms: int, rounding: Rounding
) -> Pair:
    """Enclose a sum of `terms` products of one or two factors, added in any order, fused or not.

    `function` is linear in each operand. With |a| + rad in place of every operand it bounds the sum
    of the magnitudes of all that is added, and each addition and each multiplication errs by a
    roundoff of that at most.
    """
    mids = [operand.mid for operand in operands]
    sizes = [np.abs(mid) for mid in mids]
    reaches = [
        size if operand.rad is EXACT else size + operand.rad
        for size, operand in zip(sizes, operands, strict=True)
    ]
    roundoffs = terms - 1 + len(operands) - 1
    inflation = 1 + (terms * len(operands) + 64) * 2.0**-52
    error = rounding.two_errors(roundoffs) * inflation
    mid = np.asarray(function(*mids))
    reach = np.asarray(function(*reaches)) * inflation
    rad = np.asarray(error * reach)
    for i, operand in enumerate(operands):
        if operand.rad is not EXACT:
            rad = rad + function(*sizes[:i], operand.rad, *reaches[i + 1 :])
    rad = np.asarray(rad * inflation)
    if rad.size:
        if roundoffs and not rad.min() >= rounding.smallest_normal * terms * 2.0**60:
            rad += 4 * terms * rounding.smallest_normal
        if not reach.all():  # nothing but zeros is added, unless products underflow
            present = function(*((size != 0).astype(np.float64) for size in reaches))
            rad[np.asarray(present) == 0] = 0
        rad[~(reach <= rounding.largest / (1 + 2 * error)) | np.isnan(rad)] = np.inf
    return mid, rad


def _negative(a: Operand, rounding: Rounding) -> Pair:
    return -a.mid, a.rad


def _positive(a: Operand, rounding: Rounding) -> Pair:
    return a.mid, a.rad


def _absolute(a: Operand, rounding: Rounding) -> Pair:
    return np.abs(a.mid), a.rad


def _maximum(a: Operand, b: Operand, rounding: Rounding) -> Pair:
    """Bound |max(a', b') − max(a, b)| ≤ max(rad a, rad b), and less where one is surely larger."""
    return _larger(np.maximum(a.mid, b.mid), a, b, a.mid - b.mid)


def _minimum(a: Operand, b: Operand, rounding: Rounding) -> Pair:
    return _larger(np.minimum(a.mid, b.mid), a, b, b.mid - a.mid)


def _larger(mid: Floats, a: Operand, b: Operand, lead: Floats) -> Pair:
    if a.rad is EXACT and b.rad is EXACT:
        return mid, EXACT
    apart = np.abs(lead) > (a.rad + b.rad) * RADIUS_INFLATION
    return mid, np.where(apart, np.where(lead > 0, a.rad, b.rad), np.maximum(a.rad, b.rad))


def _power(a: Operand, exponent: Operand, rounding: Rounding) -> Pair:
    """aᵖ for one constant p, by products, a root, or a library's power.

    The derivative p·aᵖ⁻¹ is largest at one end of the ball, which must not reach zero unless p is a
    positive integer or the ball is on its right.
    """
    if exponent.mid.ndim:
        raise NoRuleError("balls can be raised to one constant power, not to an array of powers")
    p = float(exponent.mid)
    if p == 2:
        return _multiply(a, a, rounding)
    value = np.power(a.mid, p)
    if p == 0:
        return value, EXACT
    error = max(rounding.error_of("power"), rounding.two_errors(abs(p)))
    size = np.abs(a.mid)
    if a.rad is EXACT:
        spread = EXACT
    else:
        end = (size + a.rad) if p >= 1 else np.maximum(size * (1 - 2.0**-52) - a.rad, 0)
        # The derivative's own rounding is relative; RADIUS_INFLATION covers the rest.
        slope = abs(p) * np.power(end, p - 1) * (1 + rounding.error_of("power"))
        spread = np.where(a.rad > 0, slope * a.rad, 0.0)
        if p != int(p):
            spread = np.where(a.mid - a.rad < 0, np.inf, spread)
    if exponent.rad.any():  # a constant that the format rounds: ∂aᵖ/∂p = aᵖ·log a
        logarithm = np.abs(np.log(size)) + 1
        spread = spread + np.where(size > 0, value * logarithm * exponent.rad * 2, 0.0)
    return _early_overflow(*enclose(value, spread, error, lambda: _is_zero(a), rounding), rounding)


def _sqrt(a: Operand, rounding: Rounding) -> Pair:
    """Bound |√a' − √a| = |a' − a|/(√a' + √a) ≤ rad/√a."""
    value = np.sqrt(a.mid)
    spread: Floats = EXACT
    if a.rad is not EXACT:
        spread = np.where(a.rad > 0, a.rad / (value * (1 - 2.0**-52)), 0.0)
        spread = np.where(a.mid - a.rad < 0, np.inf, spread)
    return enclose(value, spread, rounding.error_of("sqrt"), lambda: _is_zero(a), rounding)


def _sin(a: Operand, rounding: Rounding) -> Pair:
    sine, cosine = a.sin_cos
    spread = _circular_spread(cosine, a.rad, rounding)
    return enclose(sine, spread, rounding.error_of("sin"), lambda: _is_zero(a), rounding)


def _cos(a: Operand, rounding: Rounding) -> Pair:
    sine, cosine = a.sin_cos
    spread = _circular_spread(sine, a.rad, rounding)
    return enclose(cosine, spread, rounding.error_of("cos"), lambda: False, rounding)


def _circular_spread(slope: Floats, rad: Floats, rounding: Rounding) -> Floats:
    """Bound |sin(m + e) − sin m| ≤ min(|cos m|·|e| + e²/2, 2), and the same for the cosine.

    An infinite radius stays infinite, for the sine of an overflow is NaN.
    """
    if rad is EXACT:
        return EXACT
    spread = np.asarray(np.abs(slope))
    spread += rounding.library_error  # of the slope itself, whose magnitude is 1 at most
    spread += rad / 2
    spread *= rad
    np.minimum(spread, 2, out=spread)
    if rad.size and not rad.max() < np.inf:
        spread[~(rad < np.inf)] = np.inf
    return spread


def _tan(a: Operand, rounding: Rounding) -> Pair:
    """Bound |tan' | = 1 + tan² over the ball, at the end that is nearer to the pole."""
    value = np.tan(a.mid)
    error = rounding.error_of("tan")
    spread: Floats = EXACT
    if a.rad is not EXACT:
        _, cosine = a.sin_cos
        nearest = np.abs(cosine) * (1 - rounding.library_error) - a.rad  # of |cos| on the ball
        spread = np.where(nearest > 0, a.rad / nearest**2, np.inf)
        spread = np.where(a.rad > 0, spread, 0.0)
    return enclose(value, spread, error, lambda: _is_zero(a), rounding)


def _exp(a: Operand, rounding: Rounding) -> Pair:
    """Bound |e^(m + e) − eᵐ| ≤ eᵐ·(e^rad − 1)."""
    value = np.exp(a.mid)
    error = rounding.error_of("exp")
    spread: Floats = EXACT
    if a.rad is not EXACT:
        # The exact exponential of the midpoint may exceed NumPy's by its library error.
        reach = value * (1 + error) + np.finfo(np.float64).smallest_normal
        spread = reach * _expm1_bound(a.rad)

    def zero() -> Any:
        return (a.mid == -np.inf) & (a.rad == 0)

    return _early_overflow(*enclose(value, spread, error, zero, rounding), rounding)


def _expm1(a: Operand, rounding: Rounding) -> Pair:
    error = rounding.error_of("expm1")
    spread: Floats = EXACT
    if a.rad is not EXACT:
        reach = np.exp(a.mid) * (1 + rounding.error_of("exp")) + np.finfo(float).smallest_normal
        spread = reach * _expm1_bound(a.rad)
    return enclose(np.expm1(a.mid), spread, error, lambda: _is_zero(a), rounding)


def _expm1_bound(r: Floats) -> Floats:
    """Upper bound on eʳ − 1 for r ≥ 0: r + r² up to 1, where (eʳ − 1 − r)/r² ≤ e − 2 < 0.72."""
    bound = r + r * r
    if r.size and not r.max() <= 1:
        bound = np.where(r <= 1, bound, np.expm1(r) * RADIUS_INFLATION)
    return np.asarray(bound)


def _smooth(
    name: str,
    function: np.ufunc,
    slope: Callable[[Floats, Floats], Floats],
    zero_at_zero: bool,
    a: Operand,
    rounding: Rounding,
) -> Pair:
    """Enclose a function whose derivative on a ball is at most `slope(mid, rad)`, NaN if undefined.

    The slope is computed by library functions itself, which err by 8 ulps of float64 at most.
    """
    spread: Floats = EXACT
    if a.rad is not EXACT:
        with np.errstate(all="ignore"):
            steepest = slope(a.mid, a.rad) * (1 + 2.0**-48)
        spread = np.where(a.rad > 0, steepest * a.rad, 0.0)
        spread = np.where(np.isnan(spread), np.inf, spread)
    value = function(a.mid)
    if name in ("sinh", "cosh"):  # computed as e^(x − log 2), whose argument is rounded
        roundoffs = 4 * (np.abs(a.mid) + a.rad) * rounding.unit_roundoff
        spread = spread + np.abs(value) * roundoffs * RADIUS_INFLATION
    if name == "log1p" and rounding.dtype == np.float64:
        low, high, ulps = LOG1P_DIP
        in_dip = (a.mid + a.rad > low) & (a.mid - a.rad < high)
        spread = spread + np.where(in_dip, np.abs(value) * rounding.two_errors(2 * ulps), 0.0)
    at_zero = (lambda: _is_zero(a)) if zero_at_zero else (lambda: a.rad == 0)
    return _early_overflow(
        *enclose(value, spread, rounding.error_of(name), at_zero, rounding), rounding
    )


def _early_overflow(mid: Floats, rad: Floats, rounding: Rounding) -> Pair:
    """Let results near the largest number be infinite, as those of some libraries are.

    PyTorch's sinh and JAX's x⁻² overflow by a factor 2 to 4 too early; JAX's float32 exponential
    errs by more than 4 ulps there alone.
    """
    reach = np.abs(mid) + rad
    if rad.size and not reach.max() <= rounding.largest / 4:
        rad = np.where(reach <= rounding.largest / 4, rad, np.inf)
    return mid, rad


def _reciprocal_of(lower: Floats) -> Floats:
    return np.where(lower > 0, 1 / lower, np.nan)


def _nearest_to_zero(mid: Floats, rad: Floats) -> Floats:
    return np.maximum(np.abs(mid) * (1 - 2.0**-52) - rad, 0)


def _log_slope(mid: Floats, rad: Floats) -> Floats:
    return _reciprocal_of(mid * (1 - 2.0**-52) - rad)


def _log1p_slope(mid: Floats, rad: Floats) -> Floats:
    return _reciprocal_of((1 + mid) * (1 - 2.0**-51) - rad)


def _tanh_slope(mid: Floats, rad: Floats) -> Floats:
    return 1 / np.cosh(np.minimum(_nearest_to_zero(mid, rad), 700.0)) ** 2


def _hyperbolic_slope(mid: Floats, rad: Floats) -> Floats:
    return np.cosh(np.abs(mid) + rad)


def _arctan_slope(mid: Floats, rad: Floats) -> Floats:
    return 1 / (1 + _nearest_to_zero(mid, rad) ** 2)


Rule = Callable[..., Pair]

RULES: dict[np.ufunc, Rule] = {
    np.add: _add,
    np.subtract: _subtract,
    np.multiply: _multiply,
    np.divide: _divide,
    np.negative: _negative,
    np.positive: _positive,
    np.absolute: _absolute,
    np.maximum: _maximum,
    np.minimum: _minimum,
    np.power: _power,
    np.sqrt: _sqrt,
    np.sin: _sin,
    np.cos: _cos,
    np.tan: _tan,
    np.exp: _exp,
    np.expm1: _expm1,
    np.log: partial(_smooth, "log", np.log, _log_slope, False),
    np.log1p: partial(_smooth, "log1p", np.log1p, _log1p_slope, True),
    np.tanh: partial(_smooth, "tanh", np.tanh, _tanh_slope, True),
    np.sinh: partial(_smooth, "sinh", np.sinh, _hyperbolic_slope, True),
    np.cosh: partial(_smooth, "cosh", np.cosh, _hyperbolic_slope, False),
    np.arctan: partial(_smooth, "arctan", np.arctan, _arctan_slope, True),
}
"""The elementwise functions that balls know, each with the rule that encloses its result."""
