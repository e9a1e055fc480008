"""The rules by which balls pass through elementwise functions.

A rule takes the function's record, the operands and the format; it returns midpoints and radii.
Most functions need no rule of their own: `smooth` encloses them by a bound on their slope, and
where the ball is wide by their extremes on it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck.numbers.array import NoRuleError
from gradcheck.numbers.enclosure import EXACT, SMALLEST, Floats, Operand, Pair, enclose
from gradcheck.numbers.record import Elementary, no_error
from gradcheck.numbers.rounding import RADIUS_INFLATION, Rounding

TINY = float(np.finfo(np.float64).smallest_normal)
"""Covers what underflows in a spread."""
LIBRARY = 2.0**-47
"""By how much two float64 results of NumPy's or SciPy's functions are apart, 16 ulps each."""
WIDE = 2.0**-6
"""From which spread on, relative to the value, extremes may be closer than the slope's bound."""
DOUBLE = Rounding(np.dtype(np.float64))


def is_zero(a: Operand) -> Any:
    """Tell where an operand is zero for certain."""
    return (a.mid == 0) & (a.rad == 0)


def ends(a: Operand) -> Pair:
    """Return the ends of a ball, rounded outward."""
    pad = (np.abs(a.mid) + a.rad) * 2.0**-51
    return a.mid - a.rad - pad, a.mid + a.rad + pad


def errors(record: Elementary, rounding: Rounding) -> float:
    """Return the relative distance of two evaluations."""
    return rounding.two_errors(2 * record.accuracy(rounding))


# Arithmetic


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
    if b.rad is EXACT:
        return np.abs(b.mid) * a.rad
    spread = (np.abs(b.mid) + b.rad) * a.rad  # NumPy reuses what has no name
    spread += np.abs(a.mid) * b.rad
    return spread


def sum_rule(record: Elementary, a: Operand, b: Operand, rounding: Rounding) -> Pair:
    """Add or subtract."""
    spread, error = _sum_spread(a, b), rounding.arithmetic_error
    mid = record.ufunc(a.mid, b.mid)
    return enclose(mid, spread, error, lambda: spread == 0, rounding, (a, b))


def multiply(record: Elementary, a: Operand, b: Operand, rounding: Rounding) -> Pair:
    """Multiply."""
    spread, error = _product_spread(a, b), rounding.arithmetic_error
    return enclose(a.mid * b.mid, spread, error, lambda: is_zero(a) | is_zero(b), rounding)


def divide(record: Elementary, a: Operand, b: Operand, rounding: Rounding) -> Pair:
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
        return enclose(quotient, spread, error, lambda: is_zero(a), rounding, (a, b))
    return enclose(quotient, spread, error, lambda: is_zero(a), rounding)


def unrounded(record: Elementary, a: Operand, rounding: Rounding) -> Pair:
    """Change the sign, or not."""
    return record.ufunc(a.mid), a.rad


def extremum(record: Elementary, a: Operand, b: Operand, rounding: Rounding) -> Pair:
    """Bound how much larger, and how much smaller, the larger of two can be; or the smaller.

    A number that is behind by `gap` exceeds by rad − gap at most; and the larger of a' and b' is
    no less than either.
    """
    mid = record.ufunc(a.mid, b.mid)
    if a.rad is EXACT and b.rad is EXACT:
        return mid, EXACT
    ahead, behind = [], []
    for operand in (a, b):
        gap = np.where(mid == operand.mid, 0.0, np.abs(mid - operand.mid))
        rad = operand.rad * (1 + 2.0**-51)  # covers the difference's rounding
        ahead.append(rad - gap * (1 - 2.0**-52))
        behind.append(rad + gap)
    spread = np.maximum(np.maximum(*ahead), np.minimum(*behind)) * (1 + 2.0**-51)
    spread = np.minimum(spread, np.maximum(a.rad, b.rad))
    return mid, np.where(np.isnan(spread), np.inf, spread)


def power(record: Elementary, a: Operand, exponent: Operand, rounding: Rounding) -> Pair:
    """aᵖ for one constant p, by products, a root, or a library's power.

    The derivative p·aᵖ⁻¹ is largest at one end of the ball, which must not reach zero unless p is a
    positive integer or the ball is on its right.
    """
    if exponent.mid.ndim:
        raise NoRuleError("balls can be raised to one constant power, not to an array of powers")
    p = float(exponent.mid)
    if p == 2:
        return multiply(record, a, a, rounding)
    value = np.power(a.mid, p)
    if p == 0:
        return value, EXACT
    error = rounding.two_errors(2 * record.accuracy(rounding, a.mid, p))
    size = np.abs(a.mid)
    spread = EXACT
    if a.rad is not EXACT:
        near = np.maximum(size * (1 - 2.0**-51) - a.rad * (1 + 2.0**-51), 0)
        far = (size + a.rad) * (1 + 2.0**-51)
        end = far if p >= 1 else near
        spread = abs(p) * np.power(end, p) * (a.rad / end) * (1 + LIBRARY)  # p − 1 may underflow
        if not (spread <= WIDE * np.abs(value)).all():
            crosses = a.rad >= size
            nearer, farther = np.power(near, p), np.power(far, p)
            least = np.where(crosses, -farther if p % 2 else 0.0, nearer)
            apart = np.maximum(np.abs(farther - np.abs(value)), np.abs(least - np.abs(value)))
            apart += (np.maximum(np.abs(farther), np.abs(nearer)) + np.abs(value)) * LIBRARY + TINY
            spread = np.fmin(spread, apart)
        spread = np.where(a.rad > 0, spread, 0.0)
        outside = ~(a.rad < np.inf) | (a.mid < a.rad) & (p != int(p))
        spread = np.where(outside | np.isnan(spread), np.inf, spread)
    if exponent.rad.any():  # a constant that the format rounds: ∂aᵖ/∂p = aᵖ·log a
        logarithm = np.abs(np.log(size)) + 1
        spread = spread + np.where(size > 0, value * logarithm * exponent.rad * 2, 0.0)
    return _early_overflow(*enclose(value, spread, error, lambda: is_zero(a), rounding), rounding)


# One operand


def sqrt(record: Elementary, a: Operand, rounding: Rounding) -> Pair:
    """Bound |√a' − √a| = |a' − a|/(√a' + √a)."""
    value = np.sqrt(a.mid)
    spread: Floats = EXACT
    if a.rad is not EXACT:
        least = np.sqrt(np.maximum(a.mid * (1 - 2.0**-52) - a.rad, 0))
        spread = np.where(a.rad > 0, a.rad / ((value + least) * (1 - 2.0**-51)), 0.0)
        spread = np.where(a.mid - a.rad < 0, np.inf, spread)
    error = errors(record, rounding)
    return enclose(value, spread, error, lambda: is_zero(a), rounding, (a,))


def sine(record: Elementary, a: Operand, rounding: Rounding) -> Pair:
    """Sine."""
    sine, cosine = a.sin_cos
    spread = _circular_spread(cosine, a.rad, rounding)
    return enclose(sine, spread, errors(record, rounding), lambda: is_zero(a), rounding)


def cosine(record: Elementary, a: Operand, rounding: Rounding) -> Pair:
    """Cosine."""
    sine, cosine = a.sin_cos
    spread = _circular_spread(sine, a.rad, rounding)
    return enclose(cosine, spread, errors(record, rounding), lambda: False, rounding)


def _circular_spread(slope: Floats, rad: Floats, rounding: Rounding) -> Floats:
    """Bound |sin(m + e) − sin m| ≤ min(|cos m|·|e| + e²/2, 2), and the same for the cosine.

    An infinite radius stays infinite, for the sine of an overflow is NaN.
    """
    if rad is EXACT:
        return EXACT
    spread = np.asarray(np.abs(slope))
    spread += rounding.library_error  # of the slope itself, whose magnitude is 1 at most
    spread += rad * 0.5
    spread *= rad
    if rad.size and not spread.max() <= 2:
        np.minimum(spread, 2, out=spread)
        spread[~(rad < np.inf)] = np.inf
    return spread


def tangent(record: Elementary, a: Operand, rounding: Rounding) -> Pair:
    """Bound |tan' | = 1 + tan² over the ball, at the end that is nearer to the pole."""
    value = np.tan(a.mid)
    spread: Floats = EXACT
    if a.rad is not EXACT:
        _, cosine = a.sin_cos
        nearest = np.abs(cosine) * (1 - rounding.library_error) - a.rad  # of |cos| on the ball
        spread = np.where(nearest > 0, a.rad / nearest**2, np.inf)
        spread = np.where(a.rad > 0, spread, 0.0)
    return enclose(value, spread, errors(record, rounding), lambda: is_zero(a), rounding)


def exponential(record: Elementary, a: Operand, rounding: Rounding) -> Pair:
    """Bound |e^(m + e) − eᵐ| ≤ eᵐ·(r + r²) for r ≤ 1, as (eʳ − 1 − r)/r² ≤ e − 2 < 0.72."""
    value = np.exp(a.mid)
    spread: Floats = EXACT
    if a.rad is not EXACT:
        if a.rad.size and not a.rad.max() <= 1:
            spread = _smooth_spread(record, a, value)
        else:  # the exact exponential of the midpoint may exceed NumPy's by its library error
            reach = value * (1 + errors(record, rounding)) + TINY
            spread = reach * _expm1_bound(a.rad)
    return _finished(record, a, value, spread, rounding)


def _expm1_bound(r: Floats) -> Floats:
    return r + r * r


def smooth(record: Elementary, a: Operand, rounding: Rounding) -> Pair:
    """Enclose a function of one number by its slope, its extremes and its range."""
    value = record.ufunc(a.mid)
    spread = EXACT if a.rad is EXACT else _smooth_spread(record, a, value)
    return _finished(record, a, value, spread, rounding)


def _smooth_spread(record: Elementary, a: Operand, value: Floats) -> Floats:
    low, high = ends(a)
    assert record.slope is not None  # noqa: S101 - a table's row that has this rule has a slope
    spread = record.slope(low, high) * (1 + LIBRARY) * a.rad + TINY
    if record.extremes is not None and not (spread <= WIDE * np.abs(value)).all():
        found = [record.ufunc(place) for place in record.extremes(low, high)]
        apart = np.maximum(*(np.abs(other - value) for other in found))
        reach = np.maximum(np.maximum(*map(np.abs, found)), np.abs(value))
        besides = 2 * record.also(DOUBLE, reach, (low,), (high,))
        spread = np.fmin(spread, apart + reach * LIBRARY + besides + TINY)
    spread = np.fmin(spread, (record.range[1] - record.range[0]) * (1 + LIBRARY))
    inside = (low >= record.domain[0]) & (high <= record.domain[1]) & (a.rad < np.inf)
    spread = np.where(inside & ~np.isnan(spread), spread, np.inf)
    return np.where(a.rad > 0, spread, 0.0)


def _finished(
    record: Elementary, a: Operand, value: Floats, spread: Floats, rounding: Rounding
) -> Pair:
    """Add what the evaluations err."""
    if record.also is not no_error:
        low, high = (a.mid, a.mid) if a.rad is EXACT else ends(a)
        besides = record.also(rounding, np.abs(value) + spread, (low,), (high,))
        spread = spread + 2 * besides * RADIUS_INFLATION

    def zero() -> Any:
        return False if record.zero is None else (a.mid == record.zero) & (a.rad == 0)

    error = errors(record, rounding)
    return _early_overflow(*enclose(value, spread, error, zero, rounding, (a,)), rounding)


def _early_overflow(mid: Floats, rad: Floats, rounding: Rounding) -> Pair:
    """Let results near the largest number be infinite, as those of some libraries are.

    PyTorch's sinh and JAX's x⁻² overflow by a factor 2 to 4 too early; JAX's float32 exponential
    errs by more than 4 ulps there alone. An infinity that is exact is no such result.
    """
    reach = np.abs(mid) + rad
    if rad.size and not reach.max() <= rounding.largest / 4:
        settled = np.isinf(mid) & (rad == 0)
        rad = np.where((reach <= rounding.largest / 4) | settled, rad, np.inf)
    return mid, rad


# Two operands


def hypotenuse(record: Elementary, a: Operand, b: Operand, rounding: Rounding) -> Pair:
    """Bound |h' − h| = |Σ(a'² − a²)|/(h' + h) ≤ Σ(2·|a|·rad + rad²)/(2h − R), and by R.

    R is the length of the two radii.
    """
    value = np.hypot(a.mid, b.mid)
    spread: Floats = EXACT
    if not (a.rad is EXACT and b.rad is EXACT):
        wide = np.hypot(a.rad, b.rad) * (1 + LIBRARY)
        twice = sum(c.rad * (2 * np.abs(c.mid) / value + c.rad / value) for c in (a, b))
        below = 2 - wide / value
        spread = np.fmin(wide, np.where(below > 0, twice / below, np.inf) * (1 + LIBRARY) + TINY)
        spread = np.where(wide > 0, spread, 0.0)
    error = errors(record, rounding)
    rounded = enclose(value, spread, error, lambda: is_zero(a) & is_zero(b), rounding, (a, b))
    return _early_overflow(*rounded, rounding)


def angle(record: Elementary, y: Operand, x: Operand, rounding: Rounding) -> Pair:
    """Bound the angle at which a ball of radius R is seen from the distance h: arcsin(R/h).

    Across the cut, where y changes its sign left of zero, nothing but the range is known; a zero
    may have either sign.
    """
    value = np.arctan2(y.mid, x.mid)
    distance = np.hypot(y.mid, x.mid)
    ratio = np.hypot(y.rad, x.rad) / distance * (1 + LIBRARY)
    spread = np.where(ratio < 1, np.arcsin(np.minimum(ratio, 1)) * (1 + LIBRARY), np.inf)
    spread = np.where((y.rad == 0) & (x.rad == 0), 0.0, spread)
    across = (np.abs(y.mid) <= y.rad) & (x.mid <= x.rad)
    spread = np.where(across | ~(spread <= 2 * np.pi), 2 * np.pi * (1 + LIBRARY), spread)
    spread = np.where((y.rad < np.inf) & (x.rad < np.inf), spread, np.inf)

    def zero() -> Any:
        return is_zero(y) & (x.mid > x.rad)

    return enclose(value, spread, errors(record, rounding), zero, rounding)


def log_of_sum(record: Elementary, a: Operand, b: Operand, rounding: Rounding) -> Pair:
    """Bound by the slopes, which are positive and add up to 1."""
    value = np.logaddexp(a.mid, b.mid)
    lead = np.where(a.mid == b.mid, 0.0, a.mid - b.mid)
    slack = a.rad + b.rad
    spread = np.fmin(
        np.maximum(a.rad, b.rad), _share(lead + slack) * a.rad + _share(slack - lead) * b.rad
    )
    lows, highs = ([c.mid + sign * c.rad for c in (a, b)] for sign in (-1, 1))
    besides = record.also(rounding, np.abs(value) + spread, lows, highs)
    besides = np.where(np.isinf(value), 0.0, besides)  # one that is exact, or has no bound anyway
    spread = spread * (1 + LIBRARY) + 2 * besides * RADIUS_INFLATION
    return enclose(value, spread, errors(record, rounding), lambda: False, rounding, (a, b))


def _share(lead: Any) -> Any:
    """Return a number that is no less than 1/(1 + e^−lead)."""
    return np.minimum(1 / (1 + np.exp(-lead)) * (1 + LIBRARY) + TINY, 1)
