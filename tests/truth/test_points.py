"""Many samples in Arb at once: the same enclosures as one by one, or nothing."""

from dataclasses import replace

import numpy as np
import pytest

from gradcheck import Model
from gradcheck.harness.samples import draw_model
from gradcheck.model.loading import load_model
from gradcheck.model.model import each_sample
from gradcheck.truth.derivative import Point
from gradcheck.truth.points import Points

BITS = 128


def scalar(loss, **options):
    """Return a model of one number; nothing is asked of its passes."""

    def nothing(xp, v, t, d=None):
        raise AssertionError("a pass was run")

    options = {"inputs": {}, "parameters": {"w": ()}} | options
    return Model("scalar", loss=loss, forward=nothing, backward=nothing, **options)


def slopes(model, **values):
    """Differentiate along the first parameter."""
    values = {name: np.array(value, float) for name, value in values.items()}
    name = next(iter(model.parameters))
    return Points(model, values).slopes({name: np.ones(values[name].shape)}, BITS)


@pytest.mark.parametrize("name", ["chain", "network", "attention", "layer-norm", "gelu"])
def test_the_enclosures_are_those_of_one_sample_at_a_time(name):
    model, count = load_model(name), 4
    values = draw_model(model, 0, 0, count)
    random = np.random.default_rng(0)
    direction = {n: random.uniform(-1, 1, (count, *s)) for n, s in model.parameters.items()}
    points = Points(model, values)
    found, known = points.slopes(direction, BITS)
    gradients, enclosed = points.gradients(BITS)
    assert known.all()
    assert enclosed.all()
    for row, (sample, moved) in enumerate(
        zip(each_sample(model, values), each_sample(model, direction), strict=True)
    ):
        one = Point(model, sample)
        assert str(found[row]) == str(one.slope(moved, BITS).enclosure)
        for name, balls in one.gradients(BITS).items():
            assert list(map(str, np.ravel(gradients[name][row : row + 1]))) == list(
                map(str, balls.ravel())
            )


@pytest.mark.parametrize(
    "loss",
    [
        lambda xp, v: xp.maximum(v.w, 0.0),
        lambda xp, v: xp.where(v.w > 0, v.w, 2 * v.w),
        lambda xp, v: xp.abs(v.w) * v.w,
        lambda xp, v: xp.max(xp.stack([v.w, v.w * v.w])),
        lambda xp, v: xp.sort(xp.stack([v.w, v.w * v.w]))[0],
        # sin² + cos² is 1, which no precision shows
        lambda xp, v: xp.where(v.w == 0, xp.maximum(xp.sin(2) ** 2 + xp.cos(2 + v.w) ** 2, 1), v.w),
    ],
)
def test_a_sample_on_a_tie_is_left_out_and_no_other(loss):
    model = scalar(loss)
    found, known = slopes(model, w=[0.5, 0.0, -0.25])
    assert known.tolist() == [True, False, True]
    for row, w in ((0, 0.5), (2, -0.25)):
        one = Point(model, {"w": np.float64(w)}).slope({"w": np.array(1.0)}, BITS)
        assert not one.tie
        assert str(found[row]) == str(one.enclosure)


def test_a_tie_of_code_that_broadcasts_leaves_all_samples_out():
    """Which axis is that of the samples is its own affair."""
    model = scalar(lambda xp, v: xp.maximum(v.w, 0.0), batched=True)
    assert slopes(model, w=[0.5, -0.25])[1].all()
    assert not slopes(model, w=[0.5, 0.0])[1].any()


@pytest.mark.parametrize(
    "loss",
    [
        lambda xp, v: v.w if v.w > 0 else -v.w,
        lambda xp, v: v.w[...] * xp.cbrt(v.nothing),
        lambda xp, v: xp.stack([v.w, v.w]),
        lambda xp, v: 1.0,
    ],
)
def test_code_that_takes_one_sample_or_fails_is_left_out(loss):
    assert not slopes(scalar(loss), w=[0.5, -0.25])[1].any()


def test_what_is_undefined_on_one_sample_is_left_out():
    found, known = slopes(scalar(lambda xp, v: xp.log(v.w)), w=[0.5, -1.0, 2.0])
    assert known.tolist() == [True, False, True]
    assert float(found[0]) == 2.0


def test_a_pass_that_compares_equals_is_left_out_on_that_sample():
    def forward(xp, v, t):
        t.loss = v.w * v.w

    def backward(xp, v, t, d):
        third = xp.sin(v.w) ** 2 + xp.cos(v.w) ** 2
        d.w = xp.where((v.w > 0) & (third < 1), 0.0, 2 * v.w)

    model = replace(scalar(lambda xp, v: v.w * v.w), forward=forward, backward=backward)
    _, known = Points(model, {"w": np.array([0.5, -0.5])}).gradients(BITS)
    assert not known.all()
