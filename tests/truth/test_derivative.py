"""Arb's reals in object arrays."""

from dataclasses import replace

import flint
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck.examples import chain, chain_misprint
from gradcheck.harness.samples import draw_samples
from gradcheck.model.model import each_sample
from gradcheck.truth.derivative import (
    Point,
    UnsupportedOperationError,
    along,
    enclose_derivative,
    enclose_gradients,
)
from gradcheck.truth.enclosures import distance, precision, reals

finite = st.floats(allow_nan=False, allow_infinity=False)


def one_real(value):
    array = np.empty(1, object)
    array[0] = value
    return array


def settings_of_arb():
    return flint.ctx.prec, flint.ctx.cap


def test_the_settings_of_arb_are_restored_after_an_error():
    before = settings_of_arb()
    with pytest.raises(ZeroDivisionError), precision(100):
        raise ZeroDivisionError
    assert settings_of_arb() == before


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0), (2, 1, 3)], ids=str)
def test_reals_have_the_shape_and_the_exact_values_of_the_floats(shape):
    floats = np.random.default_rng(0).normal(size=shape)
    exact = reals(floats)
    assert exact.shape == shape
    assert exact.dtype == object
    assert all(real.is_exact() for real in exact.flat)
    np.testing.assert_array_equal(exact.astype(np.float64), floats)


@given(finite)
def test_a_float_is_one_exact_real(value):
    (real,) = reals([value])
    assert real.is_exact()
    assert real == flint.fmpq(*value.as_integer_ratio())


@pytest.mark.parametrize("bits", [53, 128, 256])
def test_more_bits_shrink_an_enclosure_that_keeps_the_truth(bits):
    values = draw_samples(chain.MODEL.leaves, 0, 0, 20)
    truth = enclose_gradients(chain.MODEL, values, bits=1000)
    for name, coarse in enclose_gradients(chain.MODEL, values, bits).items():
        for fine, wide in zip(truth[name], coarse, strict=True):
            assert wide.contains(fine)
            assert wide.rad() <= 2.0 ** (20 - bits) * (1 + abs(fine))


def test_an_enclosure_has_every_gradient_and_every_sample():
    gradients = enclose_gradients(chain.MODEL, draw_samples(chain.MODEL.leaves, 0, 0, 7))
    assert list(gradients) == list(chain.MODEL.parameters)
    assert {array.shape for array in gradients.values()} == {(7,)}


def test_an_enclosure_is_of_what_the_passes_say_right_or_wrong():
    values = draw_samples(chain.MODEL.leaves, 0, 0, 1)
    right = enclose_gradients(chain.MODEL, values)
    wrong = enclose_gradients(chain_misprint.MODEL, values)
    differing = [name for name in right if not right[name][0].overlaps(wrong[name][0])]
    assert differing == ["beta1"]


def test_enclosing_leaves_the_settings_of_arb_alone():
    before = settings_of_arb()
    values = draw_samples(chain.MODEL.leaves, 0, 0, 1)
    enclose_gradients(chain.MODEL, values, bits=300)
    enclose_derivative(chain.MODEL, values, "beta1", (), bits=300)
    assert settings_of_arb() == before


@pytest.mark.parametrize("name", chain.MODEL.parameters)
def test_the_derivative_of_the_definition_is_the_hand_written_gradient(name):
    values = draw_samples(chain.MODEL.leaves, 0, 0, 20)
    derivative = enclose_derivative(chain.MODEL, values, name, (), bits=256)
    gradient = enclose_gradients(chain.MODEL, values)[name]
    with precision(256):
        assert all(a.overlaps(b) for a, b in zip(derivative, gradient, strict=True))
        assert all(a.rad() <= 1e-50 * (1 + abs(a)) for a in derivative)


def test_the_derivative_of_the_definition_owes_nothing_to_the_passes():
    def never(*_):
        raise AssertionError("a pass was run")

    definition = replace(chain.MODEL, forward=never, backward=never)
    values = draw_samples(chain.MODEL.leaves, 0, 0, 1)
    truth = enclose_derivative(definition, values, "beta1", (), bits=128)[0]
    misprint = enclose_gradients(chain_misprint.MODEL, values)["beta1"][0]
    assert not truth.overlaps(misprint)


def test_one_number_of_an_array_is_differentiated():
    def loss(xp, v):
        return (v.weight * v.x).sum() ** 2

    model = replace(
        chain.MODEL, inputs={"x": (3,)}, parameters={"weight": (2, 3)}, loss=loss, closed_forms={}
    )
    values = {"x": np.array([[1.0, 2.0, 4.0]]), "weight": np.arange(6.0).reshape(1, 2, 3)}
    total = float((values["weight"] * values["x"]).sum())
    for row, column in np.ndindex(2, 3):
        (derivative,) = enclose_derivative(model, values, "weight", (row, column), bits=128)
        assert derivative == 2 * total * values["x"][0, column]


def test_an_operation_that_arb_lacks_is_named():
    model = replace(chain.MODEL, loss=lambda xp, v: xp.nextafter(v.beta0, v.x))
    with pytest.raises(UnsupportedOperationError) as caught:
        enclose_derivative(model, draw_samples(model.leaves, 0, 0, 1), "beta0", (), bits=64)
    assert caught.value.operation == "numpy.nextafter"


def test_a_function_that_numpy_lacks_is_named_in_full():
    model = replace(chain.MODEL, loss=lambda xp, v: xp.softmax(v.beta0))
    with pytest.raises(UnsupportedOperationError) as caught:
        enclose_derivative(model, draw_samples(model.leaves, 0, 0, 1), "beta0", (), bits=64)
    assert caught.value.operation == "numpy.softmax"


def test_an_interrupt_is_no_limit_of_arb():
    def loss(xp, v):
        raise KeyboardInterrupt

    model = replace(chain.MODEL, loss=loss)
    with pytest.raises(KeyboardInterrupt):
        enclose_derivative(model, draw_samples(model.leaves, 0, 0, 1), "beta0", (), bits=64)


def at_one_point(model, values=None):
    values = values or draw_samples(model.leaves, 0, 0, 1)
    return Point(model, next(each_sample(model, values)))


def test_a_derivative_along_a_direction_is_the_sum_of_those_along_its_numbers():
    point = at_one_point(chain.MODEL)
    weights = {name: 2.0**k for k, name in enumerate(chain.MODEL.parameters)}
    together = point.slope({name: np.array(w) for name, w in weights.items()}, 200)
    with precision(200):
        each = [
            point.slope(along(chain.MODEL, name, ()), 200).enclosure * w
            for name, w in weights.items()
        ]
        assert together.enclosure.overlaps(sum(each, flint.arb(0)))
        assert together.enclosure.rad() < 1e-40
        assert not together.enclosure.overlaps(sum(each[1:], flint.arb(0)))


def test_the_sides_of_a_kink_are_kept_to_more_digits_than_a_ball_has():
    model = replace(
        chain.MODEL, inputs={}, parameters={"w": ()}, loss=lambda xp, v: abs(v.w), closed_forms={}
    )
    slope = at_one_point(model, {"w": np.zeros(1)}).slope(along(model, "w", ()), 128)
    assert slope.tie
    assert slope.two_sided
    assert str(slope) == "-1.00000000000000000000 to 1.00000000000000000000"
    assert not slope.excludes(1.0, 0.0)
    assert not slope.excludes(0.3, 0.0)
    assert slope.excludes(1 + 2.0**-52, 2.0**-53)
    assert not slope.excludes(1 + 2.0**-52, 2.0**-52)
    assert slope.excludes(-1.5, 0.25)
    assert slope.excludes(np.nan, np.inf)


def test_the_size_of_a_point_counts_all_that_the_passes_hold():
    point = at_one_point(chain.MODEL)
    assert point.size == 10 + 8 + 15


@settings(deadline=None, derandomize=True)
@given(value=finite, other=finite, denominator=st.integers(1, 99))
def test_a_distance_is_bounded_from_above_and_closely(value, other, denominator):
    with precision(256):
        truth = flint.arb(other) / denominator
        bound = distance([value], one_real(truth))[0]
    with precision(3000):
        exact = abs(flint.arb(value) - truth)
        assert exact.upper() <= bound
        assert bound == np.inf or bound <= exact.upper() * (1 + 2.0**-51) + 2.0**-1073


def test_a_distance_has_the_shape_of_the_truth():
    truth = reals(np.arange(6.0).reshape(2, 3))
    expected = [[1, 0, 1], [2, 3, 4]]
    np.testing.assert_allclose(distance(np.ones((2, 3)), truth), expected, rtol=1e-15, atol=1e-300)


def test_a_distance_takes_in_the_width_of_the_enclosure():
    assert distance([1.0], one_real(flint.arb(1, 0.5)))[0] >= 0.5


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_is_nowhere_near(value):
    assert not distance([value], reals([1.0]))[0] < np.inf
    assert not distance([1.0], reals([value]))[0] < np.inf
