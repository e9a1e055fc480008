"""Fisher's test and Holm's correction, against SciPy and against their definitions."""

from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradcheck.history.significance import fisher_tail, holm


def tail(found, among):
    """Sum integers."""
    total, (before, after) = sum(found), among
    ways = [
        comb(before, total - k) * comb(after, k)
        for k in range(found[1], min(total, after) + 1)
        if total - k <= before
    ]
    return sum(ways) / comb(before + after, total)


@given(st.integers(0, 40), st.integers(0, 40), st.data())
def test_the_tail_is_the_sum_of_its_terms(before, after, data):
    found = data.draw(st.integers(0, before)), data.draw(st.integers(0, after))
    assert fisher_tail(found, (before, after)) == pytest.approx(
        tail(found, (before, after)), rel=1e-12, abs=1e-14
    )


@pytest.mark.parametrize(
    ("found", "among"),
    [
        ((0, 10), (10_000, 10_000)),
        ((50_000, 50_700), (100_000, 100_000)),
        ((3, 9), (10_000, 1_000)),
        ((9_000, 8_000), (10_000, 10_000)),
        ((10_000, 10_000), (10_000, 10_000)),
    ],
)
def test_large_counts_are_as_in_scipy(found, among):
    stats = pytest.importorskip("scipy.stats")
    expected = stats.hypergeom.sf(found[1] - 1, sum(among), sum(found), among[1])
    assert fisher_tail(found, among) == pytest.approx(float(expected), rel=1e-6)


def test_a_hundred_million_samples_are_judged_at_once():
    assert fisher_tail((1_000_000, 1_000_000), (10**8, 10**8)) == pytest.approx(0.5, abs=1e-3)
    assert fisher_tail((1_000_000, 1_020_000), (10**8, 10**8)) < 1e-30


def test_nothing_found_is_no_evidence():
    assert fisher_tail((0, 0), (100, 100)) == 1.0
    assert fisher_tail((5, 0), (100, 100)) == 1.0
    assert fisher_tail((0, 0), (0, 0)) == 1.0


@pytest.mark.parametrize(("found", "among"), [((2, 0), (1, 1)), ((0, -1), (1, 1))])
def test_counts_that_are_none_are_refused(found, among):
    with pytest.raises(ValueError, match="expected 0 <= found <= among"):
        fisher_tail(found, among)


def test_the_correction_is_holms():
    assert holm([0.01, 0.04, 0.03, 0.005], 0.05) == [True, False, False, True]
    assert holm([0.012, 0.2, 0.013], 0.05) == [True, False, True]  # Bonferroni: 0.0167 twice
    assert holm([0.016, 0.024, 0.04], 0.05) == [True, True, True]  # Bonferroni: the first alone
    assert holm([], 0.05) == []


@given(st.lists(st.floats(0, 1), max_size=8), st.floats(0.001, 0.2))
def test_whatever_bonferroni_rejects_is_rejected_and_nothing_above_the_level(ps, level):
    for p, rejected in zip(ps, holm(ps, level), strict=True):
        assert rejected or p * len(ps) > level
        assert not rejected or p <= level
