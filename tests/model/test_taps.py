"""Taps and readings, differentiated by the complex step."""

import numpy as np
import pytest

from gradcheck.adapters.steps import complex_step
from gradcheck.examples.chain import MODEL as CHAIN
from gradcheck.harness.samples import draw_samples
from gradcheck.model.model import Model, run_passes
from gradcheck.model.taps import tap_name, weight_name, with_readings, with_taps


def layer_forward(xp, v, t):
    t.z = (v.weight * v.x[:, None, :]).sum(-1) + v.bias
    t.h = xp.sin(t.z)
    t.error = t.h - v.y
    t.loss = (t.error**2).sum(-1)


def layer_backward(xp, v, t, d):
    d.error = 2 * t.error
    d.h = d.error
    d.z = xp.cos(t.z) * d.h
    d.bias, d.weight = d.z, d.z[:, :, None] * v.x[:, None, :]


def layer_loss(xp, v):
    z = (v.weight * v.x[:, None, :]).sum(-1) + v.bias
    return ((xp.sin(z) - v.y) ** 2).sum(-1)


LAYER = Model(
    name="layer",
    inputs={"x": (3,), "y": (2,)},
    parameters={"weight": (2, 3), "bias": (2,)},
    loss=layer_loss,
    forward=layer_forward,
    backward=layer_backward,
    batched=True,
)
both_models = pytest.mark.parametrize("model", [CHAIN, LAYER], ids=lambda model: model.name)


def traced(model, samples=50):
    values = draw_samples(model.leaves, 0, 0, samples)
    _, t, d = run_passes(model, np, values)
    return values, t, d, {name: t[name].shape[1:] for name in t}


def gradients(model, values):
    return complex_step.prepare(model, np.dtype(np.float64))(values)


def assert_equal_to_rounding(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)


@both_models
def test_a_tap_yields_the_adjoint_of_its_quantity(model):
    values, _, d, shapes = traced(model)
    del shapes["loss"]
    zeros = {tap_name(name): np.zeros((50, *shape)) for name, shape in shapes.items()}
    found = gradients(with_taps(model, shapes), {**values, **zeros})
    assert len(shapes) >= 3
    for name in shapes:
        assert_equal_to_rounding(found[tap_name(name)], d[name])


@both_models
def test_taps_leave_the_parameters_gradients_alone(model):
    values, _, d, shapes = traced(model)
    zeros = {tap_name(name): np.zeros((50, *shape)) for name, shape in shapes.items()}
    found = gradients(with_taps(model, shapes), {**values, **zeros})
    assert set(found) == {*model.parameters, *zeros}
    for name in model.parameters:
        assert_equal_to_rounding(found[name], d[name])


@both_models
def test_a_tap_moves_its_quantity_and_what_follows(model):
    values, t, _, shapes = traced(model)
    for name, shape in shapes.items():
        tapped = with_taps(model, {name: shape})
        step = {tap_name(name): np.full((50, *shape), 0.25)}
        assert (tapped.loss(np, Named(values | step)) != t.loss).any()
    moved = with_taps(model, {"loss": ()}).loss(np, Named(values | {"tap_loss": np.full(50, 0.25)}))
    np.testing.assert_array_equal(moved, t.loss + 0.25)


@both_models
def test_the_loss_of_a_tapped_model_at_zero_is_the_loss(model):
    values, t, _, shapes = traced(model)
    zeros = {tap_name(name): np.zeros((50, *shape)) for name, shape in shapes.items()}
    tapped = with_taps(model, shapes)
    np.testing.assert_array_equal(tapped.loss(np, Named(values | zeros)), t.loss)


@both_models
def test_a_reading_yields_the_value_of_its_quantity(model):
    values, t, _, shapes = traced(model)
    ones = {weight_name(name): np.ones((50, *shape)) for name, shape in shapes.items()}
    found = gradients(with_readings(model, shapes), {**values, **ones})
    assert list(found) == list(ones)
    for name in shapes:
        assert_equal_to_rounding(found[weight_name(name)], t[name])


@both_models
def test_a_single_quantity_can_be_tapped_or_read(model):
    values, t, d, shapes = traced(model)
    name = list(shapes)[1]
    shape = shapes[name]
    tapped, read = with_taps(model, {name: shape}), with_readings(model, {name: shape})
    adjoint = gradients(tapped, {**values, tap_name(name): np.zeros((50, *shape))})[tap_name(name)]
    value = gradients(read, {**values, weight_name(name): np.ones((50, *shape))})
    assert_equal_to_rounding(adjoint, d[name])
    assert_equal_to_rounding(value[weight_name(name)], t[name])


def test_a_wrong_line_of_the_backward_pass_is_told_from_a_right_one():
    values, _, d, shapes = traced(CHAIN)
    tapped = with_taps(CHAIN, {"f1": shapes["f1"]})
    found = gradients(tapped, {**values, "tap_f1": np.zeros(50)})["tap_f1"]
    assert not np.allclose(found, d.f2)


class Named(dict):
    """Values by attribute and by name, as models take them."""

    __getattr__ = dict.__getitem__
