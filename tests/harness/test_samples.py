"""Samples that replay: the same on any machine, however they are cut."""

import hashlib
import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck.harness.request import DISTRIBUTIONS as REQUESTED
from gradcheck.harness.request import SEED_LIMIT
from gradcheck.harness.samples import (
    DISTRIBUTIONS,
    INTERCEPTS,
    SLOPES,
    draw_samples,
    log_uniform,
    normal,
    uniform,
)

SHAPES = {"x": (), "weight": (2, 3), "bias": (3,)}

every_distribution = pytest.mark.parametrize("distribution", DISTRIBUTIONS)


def test_every_distribution_can_be_requested():
    assert tuple(DISTRIBUTIONS) == REQUESTED


@every_distribution
@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, SEED_LIMIT - 1),
    start=st.integers(0, 10**12),
    skipped=st.integers(0, 40),
    count=st.integers(0, 40),
)
def test_a_sample_does_not_depend_on_the_cut(distribution, seed, start, skipped, count):
    whole = draw_samples(SHAPES, seed, start, 80, distribution)
    part = draw_samples(SHAPES, seed, start + skipped, count, distribution)
    for name in SHAPES:
        np.testing.assert_array_equal(part[name], whole[name][skipped : skipped + count])


@every_distribution
def test_samples_are_float64_arrays_of_the_shapes_asked_for(distribution):
    samples = draw_samples(SHAPES, 0, 0, 5, distribution, dtype=np.float32)
    assert {name: array.shape[1:] for name, array in samples.items()} == SHAPES
    assert all(len(array) == 5 for array in samples.values())
    assert all(array.dtype == np.float64 for array in samples.values())


PINNED = {
    ("normal", 0): [
        "0x1.746b81757e9b0p-4", "-0x1.d2a062eb66c60p-5", "0x1.5c51d6d1fb90ep+0",
        "0x1.3c001962ad310p-1", "-0x1.0c653d68f0e21p+0", "0x1.8d331aca70714p-1",
    ],
    ("normal", 2**100 + 7): [
        "0x1.6eb7eecbf4910p-3", "-0x1.db8c516fdc43cp-2", "-0x1.7d5f8b69418a0p-5",
        "0x1.2987df4acfa28p-3", "0x1.615fe647c825cp-2", "-0x1.eeb097e93cc6fp-1",
    ],
    ("uniform", 0): [
        "-0x1.c776ba30bfc08p-2", "0x1.c942e836fb018p-1", "-0x1.6f2c73b8415f0p-3",
        "-0x1.8944c0e9b25ecp-2", "0x1.d3693c83df2f0p-4", "-0x1.f27018eea79d0p-3",
    ],
    ("uniform", 2**100 + 7): [
        "-0x1.d4edcf64d8dd4p-2", "0x1.baadc6e9e08acp-2", "0x1.440981575b4b0p-3",
        "-0x1.89c4dcb10d4f0p-4", "-0x1.c775c7508b280p-4", "0x1.fb5540ce16834p-2",
    ],
    ("log-uniform", 0): [
        "0x1.5bb294d51f02cp-4", "0x1.1b028878588b4p+7", "-0x1.7aea12d049367p-2",
        "0x1.e6efb2c3b1330p-4", "-0x1.e201f6094700cp+0", "-0x1.0993453d58aadp-2",
    ],
    ("log-uniform", 2**100 + 7): [
        "0x1.433f332c27a6dp-4", "0x1.5fc159c839581p+3", "-0x1.33c876e2a876fp+1",
        "0x1.2c6ff04891745p-1", "0x1.145d5d066025ep-1", "-0x1.f338f762abfccp+3",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("distribution", "seed"), PINNED)
def test_samples_5_and_6_of_a_seed_are_for_ever_these(distribution, seed):
    samples = draw_samples({"a": (), "b": (2,)}, seed, 5, 2, distribution)
    drawn = [float(number).hex() for array in samples.values() for number in array.ravel()]
    assert drawn == PINNED[distribution, seed]


def test_the_table_of_quantiles_is_for_ever_this_to_the_last_bit():
    table = np.stack([SLOPES, INTERCEPTS]).astype("<f8")
    assert hashlib.sha256(table.tobytes()).hexdigest()[:16] == "513ba913d2bab5e6"


@every_distribution
@pytest.mark.parametrize("scale", [1.0, 0.1, 1e30])
def test_float32_samples_are_the_float64_ones_rounded(distribution, scale):
    double = draw_samples(SHAPES, 0, 0, 300, distribution, scale)
    single = draw_samples(SHAPES, 0, 0, 300, distribution, scale, np.float32)
    for name in SHAPES:
        np.testing.assert_array_equal(single[name], double[name].astype(np.float32))


@every_distribution
def test_the_scale_is_a_factor(distribution):
    unit, scaled = (draw_samples(SHAPES, 0, 0, 50, distribution, scale) for scale in (1.0, 0.7))
    for name in SHAPES:
        np.testing.assert_array_equal(scaled[name], unit[name] * 0.7)


@every_distribution
@pytest.mark.parametrize("seed", [1, 2**64, SEED_LIMIT - 1])
def test_different_seeds_share_nothing(distribution, seed):
    one, other = (draw_samples({"x": ()}, s, 0, 500, distribution)["x"] for s in (0, seed))
    assert not set(one) & set(other)


@every_distribution
def test_different_leaves_share_nothing(distribution):
    samples = draw_samples({"x": (), "y": (), "z": (3,)}, 0, 0, 500, distribution)
    drawn = np.concatenate([array.ravel() for array in samples.values()])
    assert len(set(drawn)) == len(drawn)


def test_a_leaf_keeps_its_samples_when_others_follow():
    alone = draw_samples({"x": (2,)}, 0, 0, 10)["x"]
    np.testing.assert_array_equal(draw_samples({"x": (2,), "y": ()}, 0, 0, 10)["x"], alone)


# The distributions

WORDS = np.random.Philox(key=1).random_raw(400_000)


def moments(numbers):
    """Return the mean of xᵏ and its standard error, for k = 1 to 4."""
    powers = [numbers**k for k in range(1, 5)]
    return [(power.mean(), power.std() / math.sqrt(len(power))) for power in powers]


@pytest.mark.parametrize(
    ("convert", "expected"),
    [(normal, [0, 1, 0, 3]), (uniform, [0, 1 / 3, 0, 1 / 5])],
    ids=["normal", "uniform"],
)
def test_the_first_four_moments_are_right(convert, expected):
    for (mean, error), truth in zip(moments(convert(WORDS)), expected, strict=True):
        assert abs(mean - truth) < 4 * error


def test_the_logarithm_of_log_uniform_is_uniform_and_its_sign_fair():
    numbers = log_uniform(WORDS)
    exponents = np.log2(np.abs(numbers)) / 8
    for (mean, error), truth in zip(moments(exponents), [0, 1 / 3, 0, 1 / 5], strict=True):
        assert abs(mean - truth) < 4 * error
    assert abs(np.sign(numbers).mean()) < 4 / math.sqrt(len(numbers))
    assert abs(np.corrcoef(np.sign(numbers), exponents)[0, 1]) < 4 / math.sqrt(len(numbers))


def word_of(probability, sign=0):
    """Return the word whose two-sided tail probability is the given multiple of 2⁻⁵² in (0, 1]."""
    return (sign << 63) | int((1 - probability) * 2**52)


TAILS = np.unique(
    np.concatenate(
        [2.0 ** -np.arange(53), 1 - 2.0 ** -np.arange(1, 53), np.linspace(0, 1, 5001)[1:]]
    )
)


def test_quantiles_of_normal_are_right_to_a_ten_thousandth():
    tails = np.round(TAILS * 2**52) / 2**52
    words = np.array([word_of(float(tail)) for tail in tails], np.uint64)
    exact = np.array([-NormalDist().inv_cdf(tail / 2) for tail in tails])
    np.testing.assert_allclose(normal(words), exact, rtol=0, atol=1e-4)


def test_quantiles_of_normal_fall_with_the_tail():
    tails = np.round(TAILS * 2**52) / 2**52
    words = np.array([word_of(float(tail)) for tail in tails], np.uint64)
    assert (np.diff(normal(words)) < 0).all()


def test_the_top_bit_of_normal_is_the_sign():
    words = np.array([word_of(0.25), word_of(0.25, sign=1)], np.uint64)
    positive, negative = normal(words)
    assert positive == -negative == pytest.approx(NormalDist().inv_cdf(1 - 0.125), abs=1e-4)


EXTREMES = np.array([0, 1, 2**11 - 1, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1], np.uint64)


def test_normal_is_finite_whatever_the_bits():
    assert (np.abs(normal(EXTREMES)) < 8.3).all()
    assert np.abs(normal(EXTREMES)).max() > 8


def test_uniform_lies_in_its_half_open_interval_whatever_the_bits():
    numbers = np.concatenate([uniform(EXTREMES), uniform(WORDS)])
    assert numbers.min() == -1
    assert numbers.max() == 1 - 2.0**-52


def test_log_uniform_lies_in_its_half_open_interval_whatever_the_bits():
    numbers = np.abs(np.concatenate([log_uniform(EXTREMES), log_uniform(WORDS)]))
    assert numbers.min() == 2.0**-8
    assert 2.0**8 * (1 - 1e-14) < numbers.max() < 2.0**8


def test_the_power_series_of_log_uniform_is_exact_to_rounding():
    exponents = (WORDS >> np.uint64(11)).astype(np.float64) * 2.0**-53 * 16 - 8
    np.testing.assert_allclose(np.abs(log_uniform(WORDS)), np.exp2(exponents), rtol=2e-15)
