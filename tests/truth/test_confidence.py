"""Bounds on a share: never below the exact ones, and hardly above."""

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradcheck.truth.confidence import share_below


def at_most(found, among, share):
    """Return the probability of so few, exactly."""
    p = Fraction(share)
    return sum(comb(among, k) * p**k * (1 - p) ** (among - k) for k in range(found + 1))


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n - 1), st.just(n))))
def test_it_is_a_bound_and_a_sharp_one(counts):
    found, among = counts
    bound = share_below(found, among)
    assert at_most(found, among, bound) <= 1 - Fraction(0.95)
    assert at_most(found, among, bound * (1 - 2.0**-39)) > 1 - Fraction(0.95)


@given(st.integers(1, 25), st.fractions(0, 1, max_denominator=10**6))
def test_whatever_the_share_it_is_covered_often_enough(among, share):
    """The exact coverage: how often the bound, of what is found, is no less than the share."""
    covered = sum(
        comb(among, k) * share**k * (1 - share) ** (among - k)
        for k in range(among + 1)
        if Fraction(share_below(k, among)) >= share
    )
    assert covered >= Fraction(0.95)


@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
@pytest.mark.parametrize(
    ("found", "among"),
    [(0, 1), (0, 200), (0, 10**8), (1, 2), (3, 10**4), (199, 200), (400, 10**6), (7, 10**8)],
)
def test_it_is_the_quantile_that_others_compute(found, among, level):
    stats = pytest.importorskip("scipy.stats")
    wanted = stats.beta.ppf(level, found + 1, among - found)
    assert share_below(found, among, level) == pytest.approx(wanted, rel=1e-9)


def test_where_nothing_or_nothing_else_was_found_every_share_is_possible():
    assert share_below(0, 0) == 1.0
    assert share_below(5, 5) == 1.0


def test_more_samples_say_more_and_more_findings_less():
    assert share_below(0, 100) < share_below(0, 10) < share_below(1, 10) < share_below(9, 10) < 1


@pytest.mark.parametrize(
    ("found", "among", "level", "named"),
    [(-1, 5, 0.95, "found"), (6, 5, 0.95, "among"), (0, 5, 0.0, "level"), (0, 5, 1.0, "level")],
)
def test_what_is_no_count_or_level_is_named(found, among, level, named):
    with pytest.raises(ValueError, match=named):
        share_below(found, among, level)
