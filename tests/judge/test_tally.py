"""What a sweep remembers of its comparisons, however it is cut."""

from functools import reduce
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck.judge.reference import Reference
from gradcheck.judge.tally import Case, Tally, tally_comparison, tally_error
from gradcheck.judge.verdict import LABELS, compare
from gradcheck.numbers.ball import Rounding

FLOAT64 = Rounding(np.dtype(np.float64))
ULP = 2.0**-52
KEEP = 3

judged_or_not = pytest.mark.parametrize("judged", [True, False], ids=["judged", "unjudged"])


def tally(value, expected=1.0, bound=2.0**-20, risk=False, *, start=0, keep=KEEP, judged=True):
    value, expected, bound, risk = np.broadcast_arrays(value, expected, bound, risk)
    hold = Reference(expected.astype(float), bound.astype(float), risk, FLOAT64)
    return tally_comparison(compare(value.astype(float), hold), start, keep, judged)


def facts(tally):
    """Return all that a tally holds, comparable also where it is not a number."""
    arrays = {"counts": tally.counts.tolist(), "histogram": np.flatnonzero(tally.histogram)}
    arrays["frequencies"] = tally.histogram[arrays["histogram"]]
    return {name: repr(value) for name, value in (vars(tally) | arrays).items()}


def verdicts(tally):
    return {label: n for label, n in zip(LABELS, tally.counts.tolist(), strict=True) if n}


COMPARISONS = st.one_of(
    st.sampled_from(
        [
            # value, reference, bound, risk of overflow
            (1.0, 1.0, 2 * ULP, False),
            (1.0 + ULP, 1.0, 2 * ULP, False),
            (1.0 + 9 * ULP, 1.0, 2 * ULP, False),
            (4.0 - 36 * ULP, 4.0, 8 * ULP, False),
            (2.0, 1.0, 2 * ULP, False),
            (np.nan, 1.0, ULP, False),
            (np.inf, 1.0, ULP, True),
            (1.0, 1.0, 3.0, False),
            (1.0, 5.0, np.inf, True),
            (0.0, 0.0, 0.0, False),
            (1e-5, 0.0, 0.0, False),
        ]
    ),
    st.tuples(
        st.floats(0.5, 2), st.sampled_from([1.0, 1.5]), st.sampled_from([0.3, ULP]), st.booleans()
    ),
)


@judged_or_not
@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    comparisons=st.lists(COMPARISONS, min_size=2, max_size=24),
    cuts=st.sets(st.integers(1, 11), max_size=4),
    columns=st.sampled_from([(), (2,)]),
    start=st.integers(0, 10**9),
)
def test_merged_pieces_are_the_whole(judged, comparisons, cuts, columns, start):
    if columns and len(comparisons) % 2:
        comparisons.pop()
    given = [np.array(column).reshape(-1, *columns) for column in zip(*comparisons, strict=True)]
    samples = len(given[0])
    ends = [0, *sorted(cut for cut in cuts if cut < samples), samples]
    pieces = [
        tally(*(column[first:last] for column in given), start=start + first, judged=judged)
        for first, last in pairwise(ends)
    ]
    whole = tally(*given, start=start, judged=judged)
    assert facts(reduce(Tally.merge, pieces)) == facts(whole)


@st.composite
def tallies(draw, judged, start):
    if draw(st.integers(0, 4)) == 0:
        return tally_error("broke", 2, 3, start, KEEP, judged)
    columns = zip(*draw(st.lists(COMPARISONS, min_size=1, max_size=6)), strict=True)
    return tally(*map(np.array, columns), start=start, judged=judged)


@judged_or_not
@settings(max_examples=80, deadline=None, derandomize=True)
@given(data=st.data())
def test_merging_is_associative_and_commutative_failures_included(judged, data):
    a, b, c = (data.draw(tallies(judged, start)) for start in (0, 40, 80))
    assert facts(a.merge(b).merge(c)) == facts(a.merge(b.merge(c)))
    assert facts(c.merge(a).merge(b)) == facts(a.merge(b).merge(c))


def test_verdicts_are_counted():
    found = tally(
        [1.0, 1.0 + ULP, 2.0, np.nan, 1.0, 1.0],
        bound=[2 * ULP, 2 * ULP, 2 * ULP, ULP, 3.0, np.inf],
    )
    assert verdicts(found) == {
        "agree": 2, "disagree": 1, "uninformative": 1, "overflow": 1, "nan": 1
    }  # fmt: skip
    assert found.compared == 6
    assert found.histogram.sum() == 3


def test_what_proves_nothing_is_not_measured():
    found = tally([1.5, 7.0, np.inf], bound=[3.0, np.inf, ULP], risk=True)
    assert verdicts(found) == {"uninformative": 1, "overflow": 2}
    assert found.histogram.sum() == 0
    assert found.worst is None
    assert np.isnan([found.max_ulps, found.max_ratio, found.quantile(0.5)]).all()


def test_the_worst_comparison_is_the_one_nearest_to_its_bound_or_furthest_beyond():
    found = tally(1 + np.array([1, 6, 3]) * ULP, bound=np.array([2, 20, 4]) * ULP, start=100)
    assert (found.worst.sample, found.worst.verdict, found.worst.ratio) == (102, "agree", 0.75)
    assert found.max_ratio == 0.75
    assert found.max_ulps == 6


def test_a_case_holds_what_was_compared():
    found = tally([[1.0, 1.0], [1.0, 1 - 9 * ULP]], bound=6 * ULP, start=40)
    (case,) = found.disagreements
    assert case == found.worst
    assert (case.sample, case.element, case.verdict) == (41, 1, "disagree")
    assert (case.value, case.reference, case.bound) == (1 - 9 * ULP, 1.0, 6 * ULP)
    assert (case.ulps, case.ratio) == (9, 1.5)


@pytest.mark.parametrize("cut", [None, 1, 4, 6])
def test_the_worst_disagreements_are_kept_the_earliest_of_equals_first(cut):
    values = 1 + np.array([7, 9, 5, 9, 8, 9, 6]) * ULP
    pieces = [values] if cut is None else [values[:cut], values[cut:]]
    starts = [0, cut]
    found = reduce(
        Tally.merge,
        [
            tally(piece, bound=ULP, start=start)
            for piece, start in zip(pieces, starts, strict=False)
        ],
    )
    assert [(case.sample, case.ulps) for case in found.disagreements] == [(1, 9), (3, 9), (5, 9)]
    assert verdicts(found) == {"disagree": 7}


def test_what_is_not_finite_disagrees_most_of_all():
    found = tally([2.0, np.inf, 1.0], bound=ULP, keep=1)
    assert [case.sample for case in found.disagreements] == [1]
    assert found.max_ulps == found.max_ratio == np.inf
    assert found.quantile(0.3) == 0
    assert found.quantile(1.0) >= 2.0**52


def test_of_what_is_not_a_number_the_first_cases_are_kept_and_nothing_is_measured():
    pieces = [tally([np.nan, 1.0, np.nan], bound=ULP), tally([np.nan, np.nan], bound=ULP, start=3)]
    found = reduce(Tally.merge, pieces)
    assert [case.sample for case in found.nans] == [0, 2, 3]
    assert {case.verdict for case in found.nans} == {"nan"}
    assert verdicts(found) == {"nan": 4, "agree": 1}
    assert found.disagreements == ()
    assert found.max_ulps == 0
    assert set(found.cases) == {*found.nans, found.worst}


def test_samples_are_counted_on_which_an_element_was_judged():
    values = np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 1.0], [np.nan, np.nan]])
    bounds = np.array([[ULP, 3.0], [3.0, ULP], [3.0, np.inf], [ULP, ULP]])
    found = tally(values, bound=bounds)
    assert (found.judged_samples, found.samples) == (2, 4)
    twice = found.merge(found)
    assert (twice.judged_samples, twice.samples) == (4, 8)
    broken = found.merge(tally_error("no", 2, 3, 0, KEEP))
    assert (broken.judged_samples, broken.samples) == (2, 7)
    assert tally(values, bound=bounds, judged=False).judged_samples == 0


def test_an_adapter_that_is_not_judged_gets_no_verdicts():
    found = tally([1.0, 1 + 9 * ULP, 1.5, np.nan], bound=ULP, judged=False)
    assert verdicts(found) == {}
    assert found.compared == 4
    assert found.histogram.sum() == 3
    assert found.max_ulps == 2.0**51
    assert np.isnan(found.max_ratio)
    assert found.disagreements == ()
    assert (found.worst.sample, found.worst.verdict) == (2, "")


def test_an_uninformative_comparison_is_still_measured_if_not_judged():
    found = tally([1 + 9 * ULP], bound=3.0, judged=False)
    assert found.max_ulps == 9
    assert found.histogram.sum() == 1


def test_every_element_of_a_failure_is_an_error():
    found = tally_error("ValueError: no", size=6, count=10, start=50, keep=KEEP)
    assert verdicts(found) == {"error": 60}
    assert found.compared == 60
    (case,) = found.errors
    assert (case.sample, case.verdict, case.message) == (50, "error", "ValueError: no")
    assert found.worst is None
    assert np.isnan(found.quantile(0.5))


def test_of_several_failures_the_first_is_kept_and_all_are_counted():
    found = reduce(
        Tally.merge,
        [
            tally([1.0]),
            tally_error("first", 1, 10, 1, KEEP),
            tally_error("second", 1, 10, 11, KEEP),
            tally([1.0, 2.0], start=21),
        ],
    )
    assert verdicts(found) == {"agree": 2, "disagree": 1, "error": 20}
    assert [case.message for case in found.errors] == ["first"]
    assert [case.sample for case in found.disagreements] == [22]
    assert found.compared == 23


# Kinks, and kinds of bars


def on_kinks(values, *, start=0, keep=KEEP, stochastic=None, kink=True, judged=True):
    """Tally values where the reference is 1, and from 0 to 1 all is honest if on a kink."""
    values = np.asarray(values, float)
    one = np.ones(values.shape)
    hold = Reference(
        one,
        2 * ULP * one,
        one > 2,
        FLOAT64,
        np.broadcast_to(kink, values.shape),
        one / 2,
        one / 2,
        None if stochastic is None else np.broadcast_to(stochastic, values.shape),
    )
    return tally_comparison(compare(values, hold), start, keep, judged)


def test_kinks_are_counted_and_the_earliest_are_kept_with_their_honest_range():
    found = on_kinks([1.0, 0.5, 0.0, 0.25, 0.75], start=10)
    assert verdicts(found) == {"kink": 5}
    assert [(case.sample, case.value) for case in found.kinks] == [(10, 1.0), (11, 0.5), (12, 0.0)]
    assert {(case.verdict, case.low, case.high) for case in found.kinks} == {("kink", 0.0, 1.0)}
    assert found.histogram.sum() == 0
    assert found.worst is None


def test_what_lies_outside_a_kinks_range_disagrees_and_keeps_the_range():
    found = on_kinks([2.0, 0.5])
    assert verdicts(found) == {"disagree": 1, "kink": 1}
    (case,) = found.disagreements
    assert (case.value, case.low, case.high) == (2.0, 0.0, 1.0)


def test_beside_a_kink_there_is_no_range():
    found = on_kinks([2.0, 0.5], kink=[False, True])
    (case,) = found.disagreements
    assert np.isnan([case.low, case.high]).all()


def test_kinks_of_merged_tallies_are_the_earliest():
    pieces = [on_kinks([0.5, 0.5], start=start) for start in (0, 2, 4)]
    merged = reduce(Tally.merge, pieces)
    assert [case.sample for case in merged.kinks] == [0, 1, 2]
    assert verdicts(merged) == {"kink": 6}


def test_comparisons_with_a_stochastic_bar_are_counted_and_their_cases_say_so():
    found = on_kinks([2.0, 1.0, 3.0], stochastic=[True, True, False], kink=False)
    assert found.stochastic == 2
    bars = {case.sample: case.bar for case in found.disagreements}
    assert bars == {0: "stochastic", 2: "ball"}
    assert found.merge(found).stochastic == 4
    assert on_kinks([1.0], kink=False).stochastic == 0


def test_what_is_not_judged_has_neither_kinks_nor_bars():
    found = on_kinks([0.5, 2.0], stochastic=True, judged=False)
    assert verdicts(found) == {}
    assert found.kinks == ()
    assert found.stochastic == 0
    assert found.max_ulps > 0


# Quantiles

FRACTIONS = [0.0, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0]


def of_ulps(ulps):
    """Tally agreements that are so many ulps off 1."""
    return tally(1 + np.array(ulps) * ULP, bound=0.5)


@pytest.mark.parametrize("fraction", FRACTIONS)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(ulps=st.lists(st.integers(0, 128), min_size=1, max_size=150))
def test_quantiles_of_up_to_128_whole_ulps_are_exact(fraction, ulps):
    expected = np.quantile(ulps, fraction, method="inverted_cdf")
    assert of_ulps(ulps).quantile(fraction) == expected


@pytest.mark.parametrize("fraction", FRACTIONS)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(ulps=st.lists(st.integers(0, 2**51), min_size=1, max_size=60))
def test_quantiles_of_many_ulps_are_at_most_a_64th_too_low(fraction, ulps):
    expected = np.quantile(ulps, fraction, method="inverted_cdf")
    found = of_ulps(ulps).quantile(fraction)
    assert found <= expected <= found * (1 + 1 / 64)


@pytest.mark.parametrize("ulps", [2.0**-30, 0.001, 0.01, 0.3, 0.5])
def test_quantiles_below_an_ulp_are_as_good_down_to_a_thousandth(ulps):
    single = Rounding(np.dtype(np.float32))
    value = np.array([1 + ulps * 2.0**-23])
    hold = Reference(np.ones(1), np.full(1, 0.1), np.zeros(1, bool), single)
    found = tally_comparison(compare(value, hold), 0, KEEP)
    exact = (value[0] - 1) * 2.0**23
    assert found.max_ulps == exact
    assert 0 <= exact - found.quantile(0.5) <= max(exact / 64, 2.0**-9.9)


def test_quantiles_of_merged_tallies_are_those_of_all():
    ulps = np.random.default_rng(0).integers(0, 100, 1000)
    merged = reduce(Tally.merge, map(of_ulps, np.split(ulps, [10, 300, 301])))
    for fraction in FRACTIONS:
        assert merged.quantile(fraction) == np.quantile(ulps, fraction, method="inverted_cdf")


def test_a_tally_does_not_grow_with_its_comparisons():
    few, many = (tally(np.full(n, 2.0), bound=ULP) for n in (KEEP, 1000))
    assert many.compared == 1000
    assert many.histogram.size == few.histogram.size
    assert len(many.disagreements) == len(few.disagreements) == KEEP


def test_what_is_convicted_was_judged():
    found = tally([1.0, 7.0], bound=[1.0, np.inf], risk=True)
    assert found.judged_samples == 0
    case = Case(1, 0, "disagree", 7.0, 1.0, 0.0, 1e16, np.inf)
    convicted = found.convict([case])
    assert (convicted.judged_samples, convicted.disagreeing_samples) == (1, 1)
