"""What a share of all samples may be, after some were looked at.

References
----------
C. J. Clopper, E. S. Pearson, *The use of confidence or fiducial limits illustrated in the case of
the binomial*, Biometrika 26 (1934).
"""

from __future__ import annotations

from functools import cache
from math import exp, lgamma, log, log1p, sqrt
from statistics import NormalDist

import flint
import numpy as np

from gradcheck.truth.enclosures import precision

LEVEL = 0.95
PRECISIONS = (128, 512, 2048)
"""Bits, tried in turn until an enclosure tells on which side of the level a probability is."""
DIGITS = 2.0**-40
"""Relative distance from the exact bound at which a larger one is near enough."""
NEWTON_STEPS = 8
"""Twice as many as it takes; what is not near enough then is halved."""


@cache
def share_below(found: int, among: int, level: float = LEVEL) -> float:
    """Bound the share of all samples that are of some kind, of which some were found.

    Were the share as large as this or larger, so few or fewer would be found with a probability of
    1 − `level` at most.

    Parameters
    ----------
    found, among
        How many of the samples that were looked at are of the kind; the latter are independent.
    level
        Of confidence, between 0 and 1.

    Returns
    -------
    float
        The one-sided bound of Clopper and Pearson, above the exact one by a relative 2⁻⁴⁰ at most.

    Raises
    ------
    ValueError
        If the counts or the level are none.
    """
    if not 0 <= found <= among:
        raise ValueError(f"found={found} among={among}: expected 0 <= found <= among")
    if not 0 < level < 1:
        raise ValueError(f"level={level}: expected a number between 0 and 1")
    if found == among:
        return 1.0
    if found == 0:  # (1 − p)ⁿ = 1 − level
        with precision(PRECISIONS[0]):
            exact = -((1 - flint.arb(level)).log() / among).expm1()
            return min(float(np.nextafter(float(exact.upper()), 1)), 1.0)
    low, high = found / among, 1.0
    guess = _estimate(found, among, level)
    likely = [guess * (1 - DIGITS / 4), guess * (1 + DIGITS / 4)]
    while high - low > high * DIGITS:
        share = likely.pop() if likely else low + (high - low) / 2
        if not low < share < high:
            continue
        if _is_ruled_out(share, found, among, level):
            high = share
        else:
            low = share
    return high


def _estimate(found: int, among: int, level: float) -> float:
    """Return a number near the bound: by Newton's method, begun at Wilson's bound."""
    a, b = found + 1, among - found
    z = NormalDist().inv_cdf(level)
    middle = (found + z * z / 2) / (among + z * z)
    reach = z * sqrt(found * (b / among) + z * z / 4) / (among + z * z)
    share = middle + reach
    scale = lgamma(a + b) - lgamma(a) - lgamma(b)
    for _ in range(NEWTON_STEPS):
        if not found / among < share < 1:
            break
        with precision(PRECISIONS[0]):
            more = float(flint.arb(share).beta_lower(a, b, regularized=True))
        density = exp(scale + (a - 1) * log(share) + (b - 1) * log1p(-share))
        step = (more - level) / density if density else 0.0
        share -= step
        if not abs(step) > share * DIGITS / 16:
            break
    return share


def _is_ruled_out(share: float, found: int, among: int, level: float) -> bool:
    """Tell whether more than `found` turn up with a probability of `level` or more, for certain.

    That is Iₚ(k + 1, n − k), the regularised incomplete beta function.
    """
    for bits in PRECISIONS:
        with precision(bits):
            more = flint.arb(share).beta_lower(found + 1, among - found, regularized=True)
            if more >= level:
                return True
            if more < level:
                return False
    return False
