"""Unchanged JAX functions: right ones agree, wrong ones do not, and the rest is refused."""

import jax
import numpy as np
import pytest
from jax import numpy as jnp

import gradcheck

DTYPES = ["float64", "float32"]
FEW = {"samples": 3}
RANDOM = np.random.default_rng(1)


def normal(*shape):
    return jnp.asarray(RANDOM.normal(size=shape), dtype=jnp.float32)


X = normal(4, 3)


def sine_with(slope):
    @jax.custom_vjp
    def sine(x):
        return jnp.sin(x)

    sine.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: (g * slope(x),))
    return sine


@jax.custom_jvp
def cube(x):
    return x**3


cube.defjvp(lambda primals, tangents: (primals[0] ** 3, 3 * primals[0] ** 2 * tangents[0]))


def recurrence(x, w):
    def step(h, row):
        h = jnp.tanh(h @ w + row)
        return h, h

    return jax.lax.scan(step, jnp.zeros_like(x[0]), x)[1]


def layer_norm(p, x):
    centred = x - x.mean(-1, keepdims=True)
    return centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * p["scale"] + p["bias"]


RIGHT = {
    "a custom rule": (sine_with(jnp.cos), X),
    "a custom tangent": (cube, X),
    "a loop": (recurrence, X, normal(3, 3)),
    "a branch": (lambda x: jax.lax.cond(x.sum() > 0, jnp.sin, jnp.cos, x), X),
    "a loop of whole rounds": (lambda x: jax.lax.fori_loop(0, 3, lambda i, y: y * x, x), X),
    "compiled": (jax.jit(lambda x: jnp.exp(x) * x), X),
    "vmap inside": (jax.vmap(lambda row: jnp.sin(row).sum() * row), X),
    "softmax": (lambda x: jax.nn.softmax(x, -1), X),
    "a layer norm of a dict": (layer_norm, {"scale": normal(3), "bias": normal(3)}, X),
    "indices": (lambda x: x[jnp.array([0, 2, 2])].sum(0), X),
    "constants that float32 rounds": (jnp.cbrt, X),
    "a base of powers": (lambda x: jnp.power(10.0, x), X),
    "a quantile": (lambda x: jnp.quantile(x, 0.3), X[:, 0]),
    "an array of NumPy": (jnp.sin, np.linspace(0.5, 2.0, 3)),
    "a linear system": (jnp.linalg.solve, X[:3] + 3 * jnp.eye(3), normal(3, 2)),
    "a convolution": (lambda x, w: jnp.convolve(x, w), normal(6), normal(3)),
}


@pytest.mark.parametrize("case", RIGHT)
def test_what_is_right_agrees_in_both_formats(case):
    report = gradcheck.check(*RIGHT[case], dtypes=DTYPES, **FEW)
    assert report.agrees, str(report)
    assert set(report.summary["dtype"]) == set(DTYPES)
    assert report.run["audit"]["identities"] == report.run["audit"]["samples"] > 0


def test_rows_are_exchanged_alike_in_every_random_evaluation():
    inputs = normal(4, 4)[::-1], normal(4)
    report = gradcheck.check(jnp.linalg.solve, *inputs, bars="stochastic", **FEW)
    assert report.agrees, str(report)
    assert report.run["bars"]["stochastic"] > 0


def test_what_is_done_to_the_bits_of_floats_is_refused_by_name():
    summary = gradcheck.check(lambda x: jnp.frexp(x)[0], X, allow_uninformative=True, **FEW).summary
    assert summary["message"].str.contains("bits of floats").all()


def test_what_jax_approximates_and_states_a_derivative_of_is_refused_by_name():
    fresnel = jax.scipy.special.fresnel
    summary = gradcheck.check(fresnel, X, allow_uninformative=True, **FEW).summary
    assert summary["message"].str.contains("no rule for fresnel").all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_rule_that_is_off_by_a_hundred_thousandth_is_refuted(dtype):
    wrong = sine_with(lambda x: jnp.cos(x) * 1.00001)
    assert not gradcheck.check(wrong, X, dtypes=[dtype], **FEW).agrees


def test_a_rule_that_is_wrong_under_vmap_alone_is_refuted():
    @jax.custom_vjp
    def total(x):
        return jnp.sum(x)

    # The shape of what was saved is one row's under vmap, not the batch's.
    total.defvjp(lambda x: (jnp.sum(x), x), lambda x, g: (g * jnp.ones_like(x) * x.shape[0] / 4,))
    assert gradcheck.check(total, X[:, 0], **FEW).agrees
    assert not gradcheck.check(jax.vmap(total), X, **FEW).agrees


def test_an_if_on_a_traced_value_is_refused():
    report = gradcheck.check(lambda x: jnp.sin(x) if x.sum() > 0 else jnp.cos(x), X, **FEW)
    assert not report.agrees
    assert report.summary["error"].sum() == report.summary["samples"].sum()
    assert report.summary["message"].str.contains(r"use jnp\.where").all()
