"""What takes the place of JAX's own check of gradients."""

from inspect import signature

import jax
import jax.test_util
import pytest
from jax import numpy as jnp

from gradcheck.jax import check_grads

X = jnp.linspace(-1.0, 2.0, 5)


def cube_with(slope):
    @jax.custom_vjp
    def cube(x):
        return x**3

    cube.defvjp(lambda x: (x**3, x), lambda x, g: (g * slope(x),))
    return cube


def test_what_is_right_passes_to_second_order():
    check_grads(cube_with(lambda x: 3 * x**2), (X,), 2, modes=["rev"])
    check_grads(lambda x, p: jnp.sin(x) * p["k"], (X, {"k": X + 1}), 2)


def test_what_is_wrong_fails_as_an_assertion():
    with pytest.raises(AssertionError, match=r"order 1: .*comparisons disagree") as raised:
        check_grads(cube_with(lambda x: 3.00001 * x**2), (X,), 1, modes=["rev"])
    assert "is right as `check_grads(cube_with(lambda x: 3 * x**2)" in str(raised.value)


def test_a_second_derivative_that_lacks_a_factor_is_wrong():
    half = cube_with(lambda x: 3 * x * jax.lax.stop_gradient(x))
    check_grads(half, (X,), 1, modes=["rev"])
    with pytest.raises(AssertionError, match="order 2: "):
        check_grads(half, (X,), 2, modes=["rev"])


def test_forward_mode_is_needed_if_it_is_asked_for():
    function = cube_with(lambda x: 3 * x**2)
    for check in (check_grads, jax.test_util.check_grads):
        check(function, (X,), 1, modes=["rev"])
        check(jnp.sin, (X,), 1)
        with pytest.raises((AssertionError, TypeError), match="forward-mode"):
            check(function, (X,), 1)


def test_the_signature_is_that_of_the_original():
    mine, original = (
        [(one.name, one.kind, one.default) for one in signature(check).parameters.values()]
        for check in (check_grads, jax.test_util.check_grads)
    )
    assert mine == original


def test_tolerances_have_no_effect():
    with pytest.warns(UserWarning, match="no effect"), pytest.raises(AssertionError):
        check_grads(cube_with(lambda x: 3.00001 * x**2), (X,), 1, rtol=0.5, eps=1e-3)
