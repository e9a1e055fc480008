"""The softmax, whose values lie between 0 and 1 however wide the balls of its arguments are."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck.numbers.ball import Ball
from gradcheck.numbers.rounding import RADIUS_INFLATION

LIBRARY = 2.0**-47
"""By how much two float64 results of NumPy's functions are apart, 16 ulps each."""


def softmax(x: Any, axis: int) -> Any:
    """Return exp xᵢ / Σⱼ exp xⱼ along an axis, for any kind of number or plain arrays."""
    powers = np.exp(x - np.max(x, axis=axis, keepdims=True))
    shares = powers / np.sum(powers, axis=axis, keepdims=True)
    if isinstance(x, Ball) and isinstance(shares, Ball):
        return _limited(x, shares, axis if axis < 0 else axis - x.ndim)
    return shares


def _limited(x: Ball, shares: Ball, axis: int) -> Ball:
    """Bound how far the shares move if every argument moves by R at most.

    Arguments that move by R change the odds of a share p by a factor e^t with |t| ≤ 2R, so that

        |p' − p| = p·(1 − p)·|e^t − 1|/(1 − p + p·e^t) ≤ min(p·(1 − p)·(e^2R − 1), max(p, 1 − p)).

    A shift of the size D moves an argument by its roundoff, and an exponential changes the odds by
    its error. Those of the sum, whose terms are positive, and of the quotient are relative to p.
    """
    rounding, p = shares.rounding, np.asarray(shares.mid)
    mid = x.mid.astype(np.float64, copy=False)
    radius = np.broadcast_to(x.rad, mid.shape).max(axis=axis, keepdims=True)
    known = np.isfinite(mid)
    with np.errstate(invalid="ignore"):  # a row of −∞ alone
        width = np.where(known, mid.max(axis=axis, keepdims=True) - mid, 0.0)
    depth = width.max(axis=axis, keepdims=True) + 2 * radius
    move = 2 * (radius + depth * rounding.arithmetic_error + rounding.library_error) + LIBRARY
    relative = rounding.sum_error(rounding.additions(mid.shape[axis])) + rounding.arithmetic_error
    with np.errstate(over="ignore", invalid="ignore"):
        moved = p * (1 - p + LIBRARY) * np.expm1(move) * (1 + LIBRARY)
    spread = np.fmin(moved, np.maximum(p, 1 - p))
    rad = spread + relative * (1 + relative) * np.minimum(p + spread, 1)
    rad = rad * RADIUS_INFLATION + 4 * rounding.underflow_error
    rad = np.where(np.isfinite(radius) & np.isfinite(p), np.minimum(shares.rad, rad), shares.rad)
    shares.take_over([p, rad])
    return shares
