"""Distances in ulps and as fractions of their bounds, held against the plain formulas."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck.judge import measures
from gradcheck.judge.measures import BUCKETS, PART, histogram_of, measure, ulp_of
from gradcheck.numbers.rounding import Rounding

FLOAT32, FLOAT64 = Rounding(np.dtype(np.float32)), Rounding(np.dtype(np.float64))
both_formats = pytest.mark.parametrize("rounding", [FLOAT32, FLOAT64], ids=["float32", "float64"])


def plainly(distance, reference, bound, rounding):
    """Measure by dividing."""
    ulps = distance / ulp_of(reference, rounding)
    ratio = np.where(distance == 0, 0, distance / np.where(distance == 0, 1, bound))
    position = int(ratio.argmax())
    return histogram_of(ulps).tolist(), ulps.max(), ratio[position], position


def measured(*given):
    found = measure(*given)
    return found.histogram.tolist(), found.max_ulps, found.max_ratio, found.position


def agreeing(count, exponents, rounding, seed=0, zeros=0.3):
    """Return distances, references and bounds, the distances within the bounds."""
    random = np.random.default_rng(seed)
    reference = random.uniform(1, 2, count) * 2.0 ** random.integers(*exponents, count)
    reference *= random.choice([-1, 1], count)
    bound = np.abs(reference) * 2.0 ** random.integers(-40, -1, count)
    value = reference + bound * random.uniform(-1, 1, count)
    distance = np.where(random.random(count) < zeros, 0, np.abs(value - reference))
    return np.minimum(distance, bound), reference, bound, rounding


@both_formats
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 200),
    low=st.integers(-1060, 1000),
    zeros=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_measures_are_those_of_plain_divisions(rounding, seed, count, low, zeros):
    distances = agreeing(count, (low, low + 23), rounding, seed, zeros)
    assert measured(*distances) == plainly(*distances)


@both_formats
def test_measures_do_not_depend_on_the_parts(rounding, monkeypatch):
    distances = agreeing(PART + 77, (-30, 30), rounding)
    assert measured(*distances) == plainly(*distances)
    monkeypatch.setattr(measures, "PART", 100)
    assert measured(*distances) == plainly(*distances)


@both_formats
def test_the_first_of_equal_ratios_counts(rounding):
    distance = np.array([0.0, 0.25, 0.25, 0.0])
    found = measure(distance, np.ones(4), np.full(4, 0.5), rounding)
    assert (found.position, found.max_ratio) == (1, 0.5)


@both_formats
def test_an_exact_zero_is_no_ulp_and_no_part_of_its_bound_away(rounding):
    found = measure(np.zeros(3), np.zeros(3), np.zeros(3), rounding)
    assert (found.position, found.max_ratio, found.max_ulps) == (0, 0, 0)
    assert found.histogram[0] == found.histogram.sum() == 3


@pytest.mark.parametrize("name", ["ONE", "FIRST_BUCKET", "EXPONENT"])
def test_a_wrong_bit_shows(name, monkeypatch):
    distances = agreeing(1000, (-30, 30), FLOAT64)
    expected = plainly(*distances)
    honest = getattr(measures, name)
    monkeypatch.setattr(
        measures, name, type(honest)(int(honest) ^ (1 << 52 if honest > 2**53 else 1))
    )
    assert measured(*distances) != expected


def test_what_is_beyond_the_buckets_is_in_the_last_one():
    ulps = np.array([2.0**-30, 1.0, 2.0**70, np.inf, measures.UNMEASURED])
    counts = histogram_of(ulps)
    assert len(counts) == BUCKETS
    assert (counts[0], counts[-1], counts.sum()) == (1, 2, 4)
