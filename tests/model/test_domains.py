"""Declared domains: what they admit, that samples of them replay, and what they refuse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck import Model, RequestError, sampling
from gradcheck.harness.samples import draw_model, draw_samples
from gradcheck.model.domains import near

DOMAINS = {
    "none": None,
    "positive": sampling.positive(),
    "uniform": sampling.uniform(-0.25, 3),
    "normal": sampling.normal(5, 0.125),
    "scaled": sampling.scaled(0.3),
    "integers": sampling.integers(-2, 5),
    "unit_norm": sampling.unit_norm(),
    "one_hot": sampling.one_hot(),
}
SHAPES = [(), (4,), (2, 3), (3, 1, 17)]
SAMPLES = 4000

every_domain = pytest.mark.parametrize("name", DOMAINS)


def model_of(*domains, shapes=SHAPES):
    """Return a model one input of which has each shape, and each the same domain."""
    inputs = {f"x{i}": shape for i, shape in enumerate(shapes)}
    (domain,) = domains
    return Model(
        "any",
        inputs=inputs,
        parameters={"w": ()},
        loss=lambda xp, v: v.w,
        forward=lambda xp, v, t: None,
        backward=lambda xp, v, t, d: None,
        sampling={} if domain is None else dict.fromkeys(inputs, domain),
    )


def drawn(domain, shape=(3,), samples=SAMPLES, **settings):
    return draw_model(model_of(domain, shapes=[shape]), 0, 0, samples, **settings)["x0"]


def for_shapes(name):
    """One of what has no axes is no choice."""
    return SHAPES[1:] if name == "one_hot" else SHAPES


@every_domain
@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**128 - 1),
    start=st.integers(0, 10**10),
    first=st.integers(0, 30),
    count=st.integers(1, 20),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_a_sample_is_a_function_of_the_seed_and_its_number_alone(
    name, seed, start, first, count, dtype
):
    model = model_of(DOMAINS[name], shapes=for_shapes(name))
    whole = draw_model(model, seed, start, 50, dtype=dtype)
    part = draw_model(model, seed, start + first, count, dtype=dtype)
    alone = draw_model(model, seed, start + first, 1, dtype=dtype)
    for leaf in model.leaves:
        np.testing.assert_array_equal(part[leaf], whole[leaf][first : first + count])
        np.testing.assert_array_equal(alone[leaf], whole[leaf][first : first + 1])


def test_a_scalar_cannot_be_one_hot():
    with pytest.raises(RequestError, match=r"x0 of any is a single number; .*one_hot.* for arrays"):
        model_of(sampling.one_hot(), shapes=[()])


@every_domain
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_number_is_exact_in_its_dtype(name, dtype):
    for shape in for_shapes(name):
        numbers = drawn(DOMAINS[name], shape, 500, dtype=dtype)
        assert numbers.shape == (500, *shape)
        assert numbers.dtype == (np.int64 if name == "integers" else np.float64)
        np.testing.assert_array_equal(numbers, numbers.astype(dtype))
        assert np.isfinite(numbers).all()


@every_domain
def test_float32_samples_are_the_float64_ones_rounded(name):
    double, single = (drawn(DOMAINS[name], dtype=dtype) for dtype in ("float64", "float32"))
    if name in ("positive", "scaled", "unit_norm"):  # made of numbers that were rounded before
        np.testing.assert_allclose(single, double, rtol=2.0**-22)
    else:
        np.testing.assert_array_equal(single, double.astype("float32"))


def test_without_a_domain_the_request_rules():
    model = model_of(None)
    for distribution, scale in (("uniform", 3.0), ("log-uniform", 0.5)):
        np.testing.assert_array_equal(
            draw_model(model, 4, 0, 9, distribution, scale)["x2"],
            draw_samples(model.leaves, 4, 0, 9, distribution, scale)["x2"],
        )


def test_a_domain_of_one_leaf_leaves_the_others_alone():
    plain, other = model_of(None), model_of(None)
    other = Model(**{**vars(plain), "sampling": {"x1": sampling.unit_norm()}})
    before, after = (draw_model(model, 0, 0, 20) for model in (plain, other))
    assert {leaf for leaf in before if (before[leaf] != after[leaf]).any()} == {"x1"}


@pytest.mark.parametrize("distribution", ["normal", "uniform", "log-uniform"])
@pytest.mark.parametrize("scale", [0.01, 1.0, 1e6])
def test_positive_numbers_are_the_magnitudes_of_what_would_be_drawn(distribution, scale):
    settings = {"distribution": distribution, "scale": scale}
    positive = drawn(sampling.positive(), **settings)
    assert (positive > 0).all()
    np.testing.assert_array_equal(positive, abs(drawn(None, **settings)))


def test_positive_numbers_follow_a_small_scale():
    assert len(set(drawn(sampling.positive(), (), 100, scale=1e-30))) > 90


def test_a_positive_number_is_one_where_zero_would_be_drawn():
    drawn_before = np.array([0.0, -0.0, -2.0, 2.0**-1074, 3.0])
    positive = sampling.positive().transform(drawn_before)
    np.testing.assert_array_equal(positive, [1.0, 1.0, 2.0, 2.0**-1074, 3.0])


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (0.1, 0.3), (-5, -2), (100, 100.5)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform_numbers_fill_their_range_and_stay_within(low, high, dtype):
    numbers = drawn(sampling.uniform(low, high), dtype=dtype, scale=7.0)
    assert (numbers >= np.dtype(dtype).type(low)).all()
    assert (numbers <= np.dtype(dtype).type(high)).all()
    assert numbers.min() < low + 0.01 * (high - low)
    assert numbers.max() > high - 0.01 * (high - low)
    assert numbers.mean() == pytest.approx((low + high) / 2, abs=0.02 * (high - low))


@pytest.mark.parametrize(("mean", "std"), [(0, 1), (3.5, 0.25), (-100, 10)])
def test_normal_numbers_have_their_mean_and_deviation(mean, std):
    numbers = drawn(sampling.normal(mean, std), scale=7.0, distribution="uniform")
    assert numbers.mean() == pytest.approx(mean, abs=0.05 * std)
    assert numbers.std() == pytest.approx(std, rel=0.05)


def test_scaled_numbers_are_what_would_be_drawn_times_a_factor():
    for distribution in ("normal", "uniform"):
        settings = {"distribution": distribution, "scale": 2.0}
        np.testing.assert_array_equal(
            drawn(sampling.scaled(0.3), **settings), 0.3 * drawn(None, **settings)
        )


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 10), (-3, 4), (10**6, 10**6 + 2)])
def test_integers_are_equally_likely_and_below_the_upper_end(low, high):
    numbers = drawn(sampling.integers(low, high), scale=7.0)
    found, counts = np.unique(numbers, return_counts=True)
    assert found.tolist() == list(range(low, high))
    expected = numbers.size / (high - low)
    assert (abs(counts - expected) < 5 * np.sqrt(expected)).all()


@pytest.mark.parametrize("shape", [(1,), (2,), (5,), (2, 3)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_vectors_of_unit_norm_point_everywhere(shape, dtype):
    vectors = drawn(sampling.unit_norm(), shape, dtype=dtype, scale=7.0)
    lengths = np.sqrt((vectors**2).sum(axis=-1))
    np.testing.assert_allclose(lengths, 1, rtol=2 * np.finfo(dtype).eps)
    np.testing.assert_allclose(vectors.mean(axis=0), 0, atol=5 / np.sqrt(SAMPLES))
    spread = (vectors**2).mean(axis=0)
    np.testing.assert_allclose(spread, 1 / shape[-1], atol=5 / np.sqrt(SAMPLES))


def test_a_scalar_of_unit_norm_is_a_sign():
    assert set(drawn(sampling.unit_norm(), ())) == {-1.0, 1.0}


@pytest.mark.parametrize("shape", [(1,), (4,), (2, 3)])
def test_one_hot_vectors_hold_a_single_one_everywhere_equally_often(shape):
    vectors = drawn(sampling.one_hot(), shape, scale=7.0)
    assert set(np.unique(vectors)) <= {0.0, 1.0}
    assert (vectors.sum(axis=-1) == 1).all()
    expected = SAMPLES / shape[-1]
    assert (abs(vectors.sum(axis=0) - expected) < 5 * np.sqrt(expected)).all()


# --- what is refused

REFUSED = [
    (sampling.uniform, (1, 0), "sampling.uniform: expected low < high, got 1 and 0"),
    (sampling.uniform, (1, 1), "expected low < high"),
    (sampling.uniform, (0, float("inf")), "expected low < high, got 0 and inf"),
    (sampling.uniform, (float("nan"), 1), "got nan"),
    (sampling.integers, (3, 3), "sampling.integers: expected whole low < high, got 3, 3"),
    (sampling.integers, (0, 2.5), "expected whole low < high, got 0, 2.5"),
    (sampling.normal, (0, 0), "sampling.normal: expected std > 0, got mean 0, std 0"),
    (sampling.normal, (0, -1), "std -1"),
    (sampling.normal, (float("inf"), 1), "got mean inf"),
    (sampling.normal, (0, float("nan")), "std nan"),
    (sampling.scaled, (0,), "sampling.scaled: expected a factor > 0, got 0"),
    (sampling.scaled, (-2,), "got -2"),
    (sampling.scaled, (float("inf"),), "got inf"),
]


@pytest.mark.parametrize(("make", "arguments", "complaint"), REFUSED)
def test_arguments_outside_their_range_are_refused(make, arguments, complaint):
    with pytest.raises(RequestError) as refusal:
        make(*arguments)
    assert complaint in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("make", "arguments"),
    [(sampling.uniform, ("a", 1)), (sampling.normal, ("a",)), (sampling.scaled, (None,))],
)
def test_arguments_that_are_no_numbers_are_refused(make, arguments):
    with pytest.raises(RequestError, match=make.__name__):
        make(*arguments)


def test_a_uniform_range_may_not_be_wider_than_the_format():
    with pytest.raises(RequestError, match=r"sampling\.uniform: expected low < high"):
        sampling.uniform(-1e308, 1e308)


def test_a_domain_shows_how_it_was_declared():
    for name, domain in DOMAINS.items():
        if domain is not None:
            assert repr(domain).startswith(f"sampling.{name}(")
            assert eval(repr(domain), {"sampling": sampling}).description == domain.description  # noqa: S307


@pytest.mark.parametrize("name", ["positive", "uniform", "normal", "scaled", "integers"])
def test_the_nearest_admissible_number_of_an_admissible_one_is_itself(name):
    found = drawn(DOMAINS[name], (3,))
    np.testing.assert_array_equal(DOMAINS[name].nearest(found.astype(np.float64)), found)


def test_the_nearest_admissible_numbers_are_within_the_ends():
    wild = np.array([-1e300, -2.6, -0.0, 0.4, 1e300])
    assert DOMAINS["uniform"].nearest(wild).tolist() == [-0.25, -0.25, -0.0, 0.4, 3]
    assert DOMAINS["integers"].nearest(wild).tolist() == [-2, -2, 0, 0, 4]
    assert (DOMAINS["positive"].nearest(wild) > 0).all()


@pytest.mark.parametrize("name", ["unit_norm", "one_hot"])
def test_numbers_that_hang_together_cannot_be_changed_alone(name):
    assert DOMAINS[name].nearest is None


def test_numbers_near_others_stay_near():
    values = np.array([1.0, 0.0, -8.0, np.inf])
    assert near(values).nearest(np.full(4, 5.0)).tolist() == [1.125, 0.0, -7.0, np.inf]
    assert near(values).nearest(np.full(4, -9.0)).tolist() == [0.875, 0.0, -9.0, np.inf]
