"""The toy model: tabled and proved values, its two statements, its specimen of a mistake."""

from dataclasses import replace

import flint
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck import Request
from gradcheck.examples import chain, chain_misprint
from gradcheck.examples.chain import MODEL
from gradcheck.harness.samples import draw_samples
from gradcheck.harness.sweep import run_sweep
from gradcheck.model.board import Blackboard
from gradcheck.model.model import run_passes
from gradcheck.numbers.ball import Ball, Rounding
from gradcheck.truth.derivative import enclose_gradients
from gradcheck.truth.enclosures import precision, reals

TRACE = {
    "f0": 1.230, "h1": 0.942, "f1": 1.623, "h2": 5.068,
    "f2": 7.137, "h3": 0.657, "f3": 2.372, "loss": 0.139,
}  # fmt: skip
ADJOINTS = {
    "f3": 0.745, "h3": 2.234, "f2": -1.683, "h2": -3.366, "f1": -17.060, "h1": 6.824, "f0": 2.281,
    "beta3": 0.745, "omega3": 0.489, "beta2": -1.683, "omega2": -8.530,
    "beta1": -17.060, "omega1": -16.079, "beta0": 2.281, "omega0": 5.246,
}  # fmt: skip
PROVED = {
    "beta1": "-17.060466526267816760",
    "omega0": "5.246071430989540174",
    "beta3": "0.744528216831855751",
}
"""Truncated after the last digit."""

FORMATS = [Rounding(np.dtype(dtype)) for dtype in ("float32", "float64")]
both_formats = pytest.mark.parametrize("rounding", FORMATS, ids=lambda r: str(r.dtype))


def at_the_example(number=np.float64):
    return {name: np.array([value], number) for name, value in MODEL.example.items()}


@pytest.mark.parametrize("number", [np.float64, np.float32])
def test_the_trace_at_the_notebooks_point_is_as_tabled(number):
    _, t, _ = run_passes(MODEL, np, at_the_example(number))
    assert {name: round(float(t[name][0]), 3) for name in t} == TRACE
    assert list(t) == list(TRACE)


@pytest.mark.parametrize("number", [np.float64, np.float32])
def test_the_adjoints_at_the_notebooks_point_are_as_tabled(number):
    _, _, d = run_passes(MODEL, np, at_the_example(number))
    assert {name: round(float(d[name][0]), 3) for name in d} == ADJOINTS
    assert list(d)[:7] == list(TRACE)[-2::-1]
    assert set(MODEL.parameters) <= set(d)


@pytest.mark.parametrize("gradient", PROVED)
def test_gradients_at_the_notebooks_point_have_the_proved_digits(gradient):
    truth = enclose_gradients(MODEL, at_the_example(), bits=128)[gradient][0]
    with precision(128):
        first, digits = flint.arb(PROVED[gradient]), len(PROVED[gradient].partition(".")[2])
        beyond = (abs(truth) - abs(first)) * 10**digits
    assert -1e-9 <= beyond <= 1 + 1e-9


def test_the_definition_and_the_trace_are_the_same_number():
    v, t, _ = run_passes(MODEL, np, {name: reals(x) for name, x in at_the_example().items()})
    assert MODEL.loss(np, v)[0].overlaps(t.loss[0])


@both_formats
@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**64), scale=st.sampled_from([0.5, 1.0, 3.0, 6.0]))
def test_the_definition_and_the_forward_pass_agree_within_their_balls(rounding, seed, scale):
    values = draw_samples(MODEL.leaves, seed, 0, 200, scale=scale, dtype=rounding.dtype)
    v, t, _ = run_passes(MODEL, np, {k: Ball.from_value(x, rounding) for k, x in values.items()})
    definition, stepwise = MODEL.loss(np, v), t.loss
    comparable = (definition.rad < np.inf) & (stepwise.rad < np.inf)
    assert comparable.mean() > 0.75
    apart = abs(definition.mid - stepwise.mid)[comparable]
    assert (apart <= (definition.rad + stepwise.rad)[comparable]).all()


@pytest.mark.parametrize("gradient", MODEL.closed_forms)
@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_a_closed_form_is_the_gradient(gradient, scale):
    values = draw_samples(MODEL.leaves, 0, 0, 100, scale=scale)
    truth = enclose_gradients(MODEL, values)[gradient]
    with precision(256):
        v = Blackboard(**{name: reals(array) for name, array in values.items()})
        formula = MODEL.closed_forms[gradient](np, v)
    assert all(a.overlaps(b) for a, b in zip(formula, truth, strict=True))
    assert max(abs(a - b) / (1 + abs(b)) for a, b in zip(formula, truth, strict=True)) < 1e-40


def test_the_misprint_differs_in_one_gradient_alone():
    values = draw_samples(MODEL.leaves, 0, 0, 100)
    _, right_trace, right = run_passes(MODEL, np, values)
    _, wrong_trace, wrong = run_passes(chain_misprint.MODEL, np, values)
    assert list(right) == list(wrong)
    assert {name for name in right if (right[name] != wrong[name]).any()} == {"beta1"}
    assert all((right_trace[name] == wrong_trace[name]).all() for name in right_trace)
    np.testing.assert_array_equal(wrong.beta1, right.f2)


def test_the_misprint_gives_what_the_notebook_printed():
    _, _, d = run_passes(chain_misprint.MODEL, np, at_the_example())
    assert round(float(d.beta1[0]), 3) == -1.683


# A model is stated twice: a slip in either statement is seen


def misstated(model, **settings):
    request = Request(samples=10, adapters=("closed-form",), **settings)
    return run_sweep(model, request, block=256).misstated


def slip(line):
    """Return the forward pass with one line altered."""

    def forward(xp, v, t):
        chain.forward(xp, v, t)
        line(xp, v, t)
        t.h2 = xp.exp(t.f1)
        t.f2 = v.beta2 + v.omega2 * t.h2
        t.h3 = xp.cos(t.f2)
        t.f3 = v.beta3 + v.omega3 * t.h3
        t.loss = (t.f3 - v.y) ** 2

    return forward


def swap_a_weight(xp, v, t):
    t.f1 = v.beta1 + v.omega2 * t.h1


def flip_a_sign(xp, v, t):
    t.f1 = v.beta1 - v.omega1 * t.h1


def err_slightly(xp, v, t):
    t.f1 = (v.beta1 + v.omega1 * t.h1) * (1 + 2.0**-16)


@pytest.mark.parametrize("line", [swap_a_weight, flip_a_sign, err_slightly])
def test_a_slip_in_the_forward_pass_is_seen_in_either_dtype(line):
    found = misstated(replace(MODEL, name="slipped", forward=slip(line)))
    assert set(found) == {"float32", "float64"}
    assert all("slipped" in text and "sample" in text for text in found.values())


def test_a_slip_in_the_definition_is_seen():
    model = replace(MODEL, loss=lambda xp, v: (chain.output(xp, v) + v.y) ** 2)
    assert set(misstated(model)) == {"float32", "float64"}


def test_a_slip_too_small_for_float32_is_seen_in_float64():
    model = replace(MODEL, loss=lambda xp, v: chain.loss(xp, v) * (1 + 2.0**-40))
    assert set(misstated(model)) == {"float64"}


@pytest.mark.parametrize("scale", [1.0, 1e10, 1e30])
def test_no_slip_is_seen_where_there_is_none(scale):
    assert misstated(replace(MODEL, forward=slip(lambda xp, v, t: None)), scale=scale) == {}


@pytest.mark.parametrize("scale", [1e154, 1e300])
def test_no_slip_is_seen_where_much_overflows(scale):
    assert misstated(MODEL, scale=scale, dtypes=["float64"]) == {}
