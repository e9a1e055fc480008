"""What a comparison amounts to, on hand-made references."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck import load_model
from gradcheck.adapters import normal_range
from gradcheck.harness.samples import draw_model
from gradcheck.judge.reference import Passes, Reference
from gradcheck.judge.verdict import LABELS, Verdict, compare, excuse_overflows
from gradcheck.numbers.ball import Rounding

INF, NAN = np.inf, np.nan
BOUND = 2.0**-40
EDGE = 1 + BOUND
TINY = 5e-324
HUGE = 1.5e308

FLOAT32, FLOAT64 = Rounding(np.dtype(np.float32)), Rounding(np.dtype(np.float64))

COMPARISONS = [
    # value, reference, bound, overflow risk, verdict
    (1.0, 1.0, BOUND, False, "agree"),
    (EDGE, 1.0, BOUND, False, "agree"),
    (2 - EDGE, 1.0, BOUND, False, "agree"),
    (np.nextafter(EDGE, INF), 1.0, BOUND, False, "disagree"),
    (np.nextafter(2 - EDGE, -INF), 1.0, BOUND, False, "disagree"),
    (-1.0, 1.0, BOUND, False, "disagree"),
    # a certain bit is left as long as the bound is at most half the reference
    (1.5, 1.0, 0.5, False, "agree"),
    (-0.5, -1.0, 0.5, False, "agree"),
    (1.0, 1.0, np.nextafter(0.5, INF), False, "uninformative"),
    (3.0, 1.0, 2.0, False, "uninformative"),
    (np.nextafter(3.0, INF), 1.0, 2.0, False, "disagree"),
    (BOUND, 0.0, BOUND, False, "uninformative"),
    (2 * BOUND, 0.0, BOUND, False, "disagree"),
    # an exact zero has no error at all
    (0.0, 0.0, 0.0, False, "agree"),
    (-0.0, 0.0, 0.0, False, "agree"),
    (TINY, 0.0, 0.0, False, "disagree"),
    (TINY, 0.0, 0.0, True, "disagree"),
    # what is not finite is excused where something may overflow, and nowhere else
    (INF, 1.0, BOUND, False, "disagree"),
    (-INF, 1.0, BOUND, False, "disagree"),
    (INF, 1.0, BOUND, True, "overflow"),
    (-INF, 1.0, 2.0, True, "overflow"),
    (2.0, 1.0, BOUND, True, "disagree"),
    (HUGE, 1.0, BOUND, True, "disagree"),
    (1.0, 1.0, BOUND, True, "agree"),
    (1.0, 1.0, 2.0, True, "uninformative"),
    # an infinite bound: anything goes
    (1.0, 1.0, INF, False, "overflow"),
    (2.0, 1.0, INF, True, "overflow"),
    (INF, INF, INF, False, "overflow"),
    (-INF, INF, INF, True, "overflow"),
    (1.0, INF, INF, True, "overflow"),
    # what is not a number is never excused, on either side
    (NAN, 1.0, BOUND, False, "nan"),
    (NAN, 1.0, 2.0, False, "nan"),
    (NAN, 0.0, 0.0, True, "nan"),
    (NAN, 0.0, 0.0, False, "nan"),
    (NAN, 1.0, INF, True, "nan"),
    (NAN, INF, INF, False, "nan"),
    (1.0, NAN, INF, True, "nan"),
    (1.0, NAN, 0.0, False, "nan"),
    (NAN, NAN, INF, True, "nan"),
    # near the end of the exponent range
    (HUGE, HUGE, 1e292, True, "agree"),
    (-HUGE, HUGE, 1e292, True, "disagree"),
    (1e308, HUGE, 1e308, True, "uninformative"),
]


def reference(value, bound, overflow_risk=False, rounding=FLOAT64):
    value, bound, overflow_risk = np.broadcast_arrays(value, bound, overflow_risk)
    return Reference(value.astype(float), bound.astype(float), overflow_risk, rounding)


def labels(comparison):
    return [LABELS[code] for code in comparison.verdict.ravel()]


@pytest.mark.parametrize(("value", "expected", "bound", "risk", "verdict"), COMPARISONS)
@pytest.mark.parametrize("company", [0, 2], ids=["alone", "in company"])
def test_a_verdict_is_as_tabled(value, expected, bound, risk, verdict, company):
    hold = reference(
        [expected] + [1.0] * company, [bound] + [BOUND] * company, [risk] + [False] * company
    )
    found = labels(compare(np.array([value] + [1.0] * company), hold))
    assert found == [verdict] + ["agree"] * company


def all_at_once(shape):
    value, expected, bound, risk, verdict = zip(*COMPARISONS, strict=True)
    given = [np.array(column).reshape(shape) for column in (value, expected, bound, risk)]
    return compare(given[0], reference(*given[1:])), list(verdict)


@pytest.mark.parametrize("shape", [(-1,), (-1, 1), (-1, 2, 3)], ids=str)
def test_every_element_gets_its_own_verdict_and_is_counted(shape):
    comparison, expected = all_at_once(shape)
    assert labels(comparison) == expected
    assert comparison.counts.tolist() == [expected.count(label) for label in LABELS]


def test_counts_of_agreement_alone_are_complete():
    comparison = compare(np.ones((4, 2)), reference(np.ones((4, 2)), BOUND))
    assert comparison.counts.tolist() == [8, 0, 0, 0, 0, 0, 0]


def test_the_risk_of_overflow_of_a_sample_is_that_of_its_elements():
    value = np.array([[INF, 1.0], [INF, 1.0]])
    hold = Reference(np.ones((2, 2)), np.full((2, 2), BOUND), np.array([[True], [False]]), FLOAT64)
    assert labels(compare(value, hold)) == ["overflow", "agree", "disagree", "agree"]


def test_a_distance_that_is_not_a_number_is_infinite():
    comparison, _ = all_at_once((-1,))
    assert not np.isnan(comparison.distance).any()
    assert (comparison.distance[np.isnan(comparison.value)] == INF).all()


def test_float32_values_are_compared_unrounded():
    hold = reference([0.1], [1e-9], rounding=FLOAT32)
    assert labels(compare(np.array([0.1], np.float32), hold)) == ["disagree"]
    hold = reference([0.1], [2e-9], rounding=FLOAT32)
    assert labels(compare(np.array([0.1], np.float32), hold)) == ["agree"]


def test_the_given_arrays_are_left_alone():
    value, hold = np.array([NAN, 3.0]), reference([1.0, 1.0], BOUND)
    compare(value, hold)
    np.testing.assert_array_equal(value, [NAN, 3.0])
    np.testing.assert_array_equal(hold.value, [1.0, 1.0])


@settings(deadline=None, derandomize=True)
@given(
    value=st.floats(),
    expected=st.floats(allow_nan=False, allow_infinity=False),
    bound=st.floats(0, 1e300),
    risk=st.booleans(),
)
def test_a_verdict_depends_on_distance_bound_and_risk_alone(value, expected, bound, risk):
    with np.errstate(all="ignore"):
        within = abs(np.float64(value) - expected) <= bound
    if np.isnan(value):
        verdict = "nan"
    elif within:
        verdict = "agree" if bound <= abs(expected) / 2 else "uninformative"
    else:
        verdict = "overflow" if risk and np.isinf(value) else "disagree"
    assert labels(compare(np.array([value]), reference([expected], bound, risk))) == [verdict]


# Where a kink may be met, every value between the one-sided derivatives is honest

KINKS = [
    # value, overflow risk, verdict; the reference is 1, honest are those from 0 to 1
    (0.0, False, "kink"),
    (1.0, False, "kink"),
    (0.5, False, "kink"),
    (-TINY, False, "kink"),  # less than rounding
    (-BOUND, False, "disagree"),
    (EDGE, False, "disagree"),
    (-1.0, False, "disagree"),
    (2.0, True, "disagree"),
    (INF, False, "disagree"),
    (NAN, False, "nan"),
    (NAN, True, "nan"),
    (-INF, True, "kink"),
]


def on_a_kink(value, low, high, risk=False, *, kink=True):
    """Compare with a reference of 1 ± BOUND on a kink with honest values from low to high."""
    value = np.atleast_1d(value)
    one = np.ones(value.shape)
    hold = Reference(
        one,
        BOUND * one,
        np.full(value.shape, risk),
        FLOAT64,
        np.broadcast_to(kink, value.shape),
        (low + high) / 2 * one,
        (high - low) / 2 * one,
    )
    return compare(value, hold)


@pytest.mark.parametrize(("value", "risk", "verdict"), KINKS)
def test_on_a_kink_a_verdict_depends_on_the_one_sided_derivatives(value, risk, verdict):
    assert labels(on_a_kink(value, 0.0, 1.0, risk)) == [verdict]


def test_beside_a_kink_a_verdict_depends_on_the_bound():
    found = on_a_kink([0.0, 0.0, 1.0, 1.0], 0.0, 1.0, kink=[True, False, True, False])
    assert labels(found) == ["kink", "disagree", "kink", "agree"]
    assert found.counts.tolist() == [1, 1, 0, 0, 2, 0, 0]


def test_a_kink_is_no_agreement_even_where_the_values_are_equal():
    assert labels(on_a_kink([1.0], 1.0, 1.0)) == ["kink"]
    assert labels(on_a_kink([1.0], 1.0, 1.0, kink=False)) == ["agree"]


def test_where_the_other_side_is_not_known_no_number_proves_anything():
    value = np.array([1.0, 1e300, -5.0])
    one = np.ones(3)
    hold = Reference(one, BOUND * one, one > 2, FLOAT64, one > 0, one, np.full(3, INF))
    assert labels(compare(value, hold)) == ["uninformative"] * 3


def test_where_the_center_of_a_kink_is_not_a_number_no_number_proves_anything():
    hold = Reference(
        np.ones(1), np.full(1, BOUND), np.array([True]), FLOAT64, np.array([True]),
        np.array([NAN]), np.array([INF]),
    )  # fmt: skip
    assert labels(compare(np.array([1.0]), hold)) == ["uninformative"]


def test_labels_are_the_names_of_the_columns():
    assert LABELS == ("agree", "disagree", "uninformative", "overflow", "kink", "error", "nan")
    assert [LABELS[verdict] for verdict in Verdict] == [verdict.label for verdict in Verdict]


# Units: ulps, and fractions of the bound

MAGNITUDES = [1.0, 1.5, np.nextafter(2.0, 0), 2.0, 3e10, 1e-30, 1e30, 1.2e-38]
SMALL = [1e-200, 1e-290, 1e-300, 2.3e-308, 1e-310, TINY, 0.0]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("number", "magnitude"),
    [(np.float64, m) for m in MAGNITUDES + SMALL] + [(np.float32, m) for m in [*MAGNITUDES, 0.0]],
)
def test_the_next_number_of_the_format_is_an_ulp_away(number, magnitude, sign):
    at = number(sign * magnitude)
    value = np.nextafter([at], number(sign * INF), dtype=number)
    hold = reference([float(at)], 1.0, rounding=Rounding(np.dtype(number)))
    with np.errstate(over="ignore"):
        assert compare(value, hold).ulps == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("bound", [2.0**-1022, 1e-200, 1e-20, 1.0, 1e300])
def test_at_the_bound_the_ratio_is_one(bound):
    hold = reference([0.0], bound)
    assert compare(np.array([bound]), hold).ratio == pytest.approx(1)


@pytest.mark.parametrize("value", [TINY, 1e-300, 1.0])
def test_off_an_exact_zero_the_ratio_is_above_one(value):
    hold = reference([0.0], 0.0)
    assert compare(np.array([value]), hold).ratio > 1
    assert compare(np.array([0.0]), hold).ratio == 0


@pytest.mark.parametrize(
    ("value", "bound", "risk", "usual", "extreme"),
    [
        (NAN, BOUND, True, "nan", "overflow"),
        (NAN, INF, False, "nan", "overflow"),
        (NAN, BOUND, False, "nan", "nan"),
        (2.0, BOUND, True, "disagree", "disagree"),
    ],
)
def test_of_extreme_samples_a_nan_of_an_overflow_is_no_news(value, bound, risk, usual, extreme):
    reference = Reference(
        np.array([1.0]), np.array([bound]), np.array([risk]), Rounding(np.dtype(np.float64))
    )
    comparison = compare(np.array([value]), reference)
    excused = excuse_overflows(comparison)
    found = [LABELS[one.verdict[0]] for one in (comparison, excused)]
    assert found == [usual, extreme]
    assert excused.counts.sum() == excused.counts[excused.verdict[0]] == 1


def test_a_definition_that_overflows_excuses_what_disagrees_on_that_sample_alone():
    model = load_model("softmax-cross-entropy")
    values = draw_model(model, 0, 0, 2)
    values["b"][0, 0] = 1000.0  # whose exponential is infinite
    passes = Passes(model, values, FLOAT64)
    reference = passes.gradient("b", normal_range(np.dtype(np.float64)), 2)
    comparison = compare(reference.value + 1, reference)
    assert (comparison.verdict == Verdict.DISAGREE).all()
    excused = excuse_overflows(comparison)
    assert (excused.verdict[0] == Verdict.OVERFLOW).all()
    assert (excused.verdict[1] == Verdict.DISAGREE).all()
