"""Whether counts differ by more than chance, for many counts at once.

References
----------
R. A. Fisher, *Statistical Methods for Research Workers*, 5th edition, 1934, section 21.02.
S. Holm, *A simple sequentially rejective multiple test procedure*, Scandinavian Journal of
Statistics 6 (1979).
"""

from __future__ import annotations

from collections.abc import Sequence

import flint

from gradcheck.truth.enclosures import precision

BITS = 128
"""Of the logarithms of factorials, whose digits before the point cancel."""
NEGLIGIBLE = 2.0**-60
"""Share of a sum that may be left out of it."""


def fisher_tail(found: tuple[int, int], among: tuple[int, int]) -> float:
    """Return how probable it is that the second count is so large if both shares are the same.

    That is Fisher's exact test, one-sided: given the sum of the counts, the second one is
    hypergeometric.

    Parameters
    ----------
    found, among
        How many were of some kind, and among how many independent ones, before and after.

    Raises
    ------
    ValueError
        If the counts are none.
    """
    if not all(0 <= part <= whole for part, whole in zip(found, among, strict=True)):
        raise ValueError(f"found={found} among={among}: expected 0 <= found <= among")
    before, after = found
    if after == 0:
        return 1.0
    mode = (before + after + 1) * (among[1] + 1) // (sum(among) + 2)
    if after > mode:
        return _upper_tail(found, among)
    if before == among[0]:  # the second cannot be smaller
        return 1.0
    return 1 - _upper_tail((after - 1, before + 1), (among[1], among[0]))


def _upper_tail(found: tuple[int, int], among: tuple[int, int]) -> float:
    """Sum the probabilities of the second count and all larger ones; it is beyond the mode.

    There each is less than the one before it, by a ratio that falls: what is left out is less than
    a geometric series.
    """
    before, after = found
    term = total = _probability(found, among)
    while before and after < among[1]:
        ratio = before * (among[1] - after) / ((after + 1) * (among[0] - before + 1))
        before, after, term = before - 1, after + 1, term * ratio
        total += term
        if ratio < 1 and term <= NEGLIGIBLE * total * (1 - ratio):
            break
    return min(total, 1.0)


def _probability(found: tuple[int, int], among: tuple[int, int]) -> float:
    """Return the probability of two counts, given their sum."""
    with precision(BITS):

        def log_choose(whole: int, part: int) -> flint.arb:
            parts = flint.arb(part + 1).lgamma() + flint.arb(whole - part + 1).lgamma()
            return flint.arb(whole + 1).lgamma() - parts

        ways = log_choose(among[0], found[0]) + log_choose(among[1], found[1])
        return float((ways - log_choose(sum(among), sum(found))).exp())


def holm(probabilities: Sequence[float], level: float) -> list[bool]:
    """Tell which of several tests reject, so that one at all does by chance at most at a level."""
    order = sorted(range(len(probabilities)), key=probabilities.__getitem__)
    rejected = [False] * len(probabilities)
    for rank, place in enumerate(order):
        if probabilities[place] * (len(probabilities) - rank) > level:
            break
        rejected[place] = True
    return rejected
