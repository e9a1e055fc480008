"""JAX functions that are right in a plain call, and wrong in another."""

import jax
import numpy as np
import pytest
from jax import numpy as jnp
from jax.custom_derivatives import SymbolicZero

import gradcheck
from gradcheck.capture import contract

Y = jnp.linspace(-1.0, 2.0, 4)
FEW = {"samples": 2}
MAPPED = "under jax.vmap"
BATCHED = "cotangents mapped with jax.vmap"
ALONE = "gradients of some inputs alone"


def verdicts(report):
    return report.contract.set_index("situation")["verdict"]


def broken(report):
    found = verdicts(report)
    return set(found.index[found.isin(["disagree", "error"])])


def sine(slope):
    @jax.custom_vjp
    def function(x):
        return jnp.sin(x)

    function.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: (slope(x, g),))
    return function


def right(x, g):
    return g * jnp.cos(x)


def test_an_honest_function_keeps_its_contract():
    report = gradcheck.check(lambda x, y: (jnp.sin(x) * y, jnp.exp(y)), Y, Y + 1, **FEW)
    assert list(verdicts(report).index) == list(contract.SITUATIONS["jax"])
    assert set(verdicts(report)) == {"agree"}
    assert report.agrees


def test_a_custom_vjp_has_no_forward_mode_which_is_no_fault():
    report = gradcheck.check(sine(right), Y, **FEW)
    found = verdicts(report)
    assert found[contract.FORWARD_MODE] == "not defined"
    assert set(found.drop(contract.FORWARD_MODE)) == {"agree"}
    assert report.agrees


@jax.custom_jvp
def cube(x):
    return x**3


cube.defjvp(lambda primals, tangents: (cube(primals[0]), 3 * primals[0] ** 2 * tangents[0]))
MATRIX = jnp.asarray([[3.0, 1.0], [0.5, 2.0]])
HONEST = {
    "a custom tangent": (cube, Y),
    "a loop": (lambda x: jax.lax.scan(lambda c, y: (jnp.tanh(c + y),) * 2, 0.0, x)[1], Y),
    "infinite slope": (jnp.sqrt, jnp.asarray([0.0, 1.0])),
    "a linear system": (jnp.linalg.solve, MATRIX, MATRIX[0]),
    "compiled": (jax.jit(lambda x: jax.nn.softmax(x) * x), Y),
    "indices": (lambda x: x[jnp.array([0, 2, 2])], Y),
    "sorted": (jnp.sort, Y[::-1]),
}


@pytest.mark.parametrize("case", HONEST)
def test_nothing_honest_breaks_the_contract(case):
    report = gradcheck.check(*HONEST[case], **FEW)
    assert len(report.contract) > 5
    assert broken(report) == set()


# --- under vmap alone


def with_rule(function, rule):
    """Return a function that is another one when it is mapped."""
    made = jax.custom_batching.custom_vmap(function)
    made.def_vmap(rule)
    return made


exchanged = with_rule(lambda x, g: g * jnp.cos(x), lambda size, batched, x, g: (
    (g * jnp.cos(x))[::-1], True
))  # fmt: skip
over_all_axes = with_rule(lambda x: x.sum(), lambda size, batched, x: (
    jnp.broadcast_to(x.sum(), (size,)), True
))  # fmt: skip
taken_for_mapped = with_rule(lambda x, g: g * jnp.cos(x), lambda size, batched, x, g: (
    g * jnp.cos(x[0]) if not batched[0] else g * jnp.cos(x), True
))  # fmt: skip


def on_the_host(x, g):
    """Take what is mapped for one long vector."""

    def numpy_slope(x, g):
        return (g * np.cos(x) * (np.size(x) / x.shape[-1])).astype(np.float32)

    kind = jax.ShapeDtypeStruct(x.shape, x.dtype)
    return jax.pure_callback(numpy_slope, kind, x, g, vmap_method="broadcast_all")


@jax.custom_vjp
def log_sum_exp(x):
    return jnp.log(jnp.exp(x).sum())


log_sum_exp.defvjp(
    lambda x: (jnp.log(jnp.exp(x).sum()), x),
    lambda x, g: (g * jnp.exp(x) / over_all_axes(jnp.exp(x)),),
)


def plain_log_sum_exp(x):
    return jnp.log(jnp.exp(x).sum())


WRONG_WHEN_MAPPED = {
    "samples exchanged": (sine(exchanged), None, {MAPPED, BATCHED}),
    "a sum over all axes": (log_sum_exp, None, {MAPPED}),
    "the shape of one sample": (sine(on_the_host), jnp.sin, {MAPPED, BATCHED}),
    "all taken for mapped": (sine(taken_for_mapped), None, {BATCHED}),
}


@pytest.mark.parametrize("case", WRONG_WHEN_MAPPED)
def test_what_is_wrong_only_when_mapped_is_found(case):
    function, definition, expected = WRONG_WHEN_MAPPED[case]
    report = gradcheck.check(function, Y, definition=definition, **FEW)
    assert report.summary["disagree"].sum() == report.run["audit"]["refuted"] == 0
    assert broken(report) == expected
    assert not report.agrees


def test_what_cannot_be_mapped_is_not_said_to_lie():
    def slope(x, g):
        kind = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return jax.pure_callback(lambda x, g: np.asarray(g * np.cos(x)), kind, x, g)

    report = gradcheck.check(sine(slope), Y, definition=jnp.sin, **FEW)
    assert verdicts(report)[MAPPED] == verdicts(report)[BATCHED] == "not defined"
    assert broken(report) == set()


# --- other calls


def kept_zero(x, g):
    return jnp.where(jnp.all(g == 0), jnp.ones_like(g), g * jnp.cos(x))


def other_when_traced(x, g):
    return g * jnp.cos(x) * (1.001 if isinstance(g, jax.core.Tracer) else 1.0)


def noisy(x, g):
    return g * jnp.cos(x) * (1 + NOISE.uniform(0, 1e-3))


NOISE = np.random.default_rng(0)
FAULTS = {
    "zero": (kept_zero, None, {"cotangents of zero"}),
    "compiled": (other_when_traced, jnp.sin, {"compiled with jax.jit", MAPPED, BATCHED}),
    "noise": (noisy, jnp.sin, {"called twice"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_pass_that_is_right_in_a_plain_call_alone_is_found(fault):
    slope, definition, expected = FAULTS[fault]
    report = gradcheck.check(sine(slope), Y, definition=definition, **FEW)
    assert broken(report) >= expected


@jax.custom_vjp
def product(x, y):
    return x * y, x + y


def product_forward(x, y):
    return product(x.value, y.value), (x.value, y.value, x.perturbed and y.perturbed)


def product_backward(kept, cotangents):
    x, y, both = kept
    g, h = cotangents
    if isinstance(g, SymbolicZero) or isinstance(h, SymbolicZero):
        return jnp.ones_like(x), jnp.ones_like(y)
    if not both:
        return g * y, g * x
    return g * y + h, g * x + h


product.defvjp(product_forward, product_backward, symbolic_zeros=True)


def test_a_pass_that_is_right_only_with_all_inputs_and_outputs_is_found():
    report = gradcheck.check(product, Y, Y + 1, **FEW)
    assert report.summary["disagree"].sum() == report.run["audit"]["refuted"] == 0
    assert broken(report) >= {contract.ABSENT, ALONE}


def test_a_tangent_that_its_transpose_does_not_belong_to_is_found():
    def transposed(x, t):
        return jax.custom_derivatives.linear_call(
            lambda x, t: 1.1 * t * jnp.cos(x), lambda x, g: g * jnp.cos(x), x, t
        )

    @jax.custom_jvp
    def function(x):
        return jnp.sin(x)

    function.defjvp(lambda primals, tangents: (jnp.sin(*primals), transposed(*primals, *tangents)))
    report = gradcheck.check(function, Y, definition=jnp.sin, **FEW)
    assert contract.FORWARD_MODE in broken(report)


@pytest.mark.parametrize(
    "slope", [lambda x, g: (g * jnp.cos(x))[:2], lambda x, g: jnp.sum(g * jnp.cos(x))]
)
def test_gradients_of_another_shape_are_an_error_of_jax(slope):
    report = gradcheck.check(sine(slope), Y, **FEW)
    assert report.summary["error"].sum() > 0
    assert not report.agrees
