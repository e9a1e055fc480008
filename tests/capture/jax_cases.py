"""Functions of JAX for the tests, each with arrays that it takes; imports JAX."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def _numbers(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape)


@jax.custom_vjp
def right(x):
    return jnp.sin(x) * x


def _right_forward(x):
    return right(x), (x, jnp.cos(x))


def _right_backward(saved, g):
    x, cosine = saved
    return (g * (jnp.sin(x) + x * cosine),)


right.defvjp(_right_forward, _right_backward)


@jax.custom_vjp
def wrong(x):
    return jnp.sin(x) * x


def _wrong_backward(saved, g):
    x, cosine = saved
    return (g * (jnp.sin(x) + cosine),)


wrong.defvjp(lambda x: (wrong(x), (x, jnp.cos(x))), _wrong_backward)


@jax.custom_jvp
def softplus(x):
    return jnp.log1p(jnp.exp(x))


@softplus.defjvp
def _softplus_jvp(primals, tangents):
    return softplus(primals[0]), jax.nn.sigmoid(primals[0]) * tangents[0]


def layer_norm(x, weight, bias):
    mean = x.mean(-1, keepdims=True)
    return (x - mean) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5) * weight + bias


def network(params, x):
    return jax.nn.log_softmax(jax.nn.gelu(x @ params["w"] + params["b"]))


def halves(x):
    """Halve until the sum is small; the derivative is stated, for JAX has none."""

    @jax.custom_vjp
    def halved(x):
        return lax.while_loop(lambda c: jnp.sum(c) > 1, lambda c: c * 0.5, x)

    def forward(x):
        start = x, jnp.ones_like(x)
        return lax.while_loop(
            lambda c: jnp.sum(c[0]) > 1, lambda c: (c[0] * 0.5, c[1] * 0.5), start
        )

    halved.defvjp(forward, lambda scale, g: (g * scale,))
    return halved(jnp.abs(x))


def branch(x):
    return lax.cond(x[0] > 0, lambda a: a * jnp.sin(a), lambda a: jnp.cos(a) * 3, x)


SPREAD = np.array([0.9, -1.7, 0.4, 2.2, -0.6])
SQUARE = _numbers(4, 4) + 3 * np.eye(4)
POSITIVE = SQUARE @ SQUARE.T
ROWS = np.array([0, 2, 2])
LINE = ("NWC", "WIO", "NWC")
IMAGE = ("NHWC", "HWIO", "NHWC")

FLOW = {
    "custom_vjp": (right, SPREAD),
    "custom_vjp that is wrong": (wrong, SPREAD),
    "custom_jvp": (softplus, SPREAD),
    "scan": (
        lambda x: lax.scan(lambda c, a: (jnp.tanh(c * a + c), c + a), x[0], x, reverse=True),
        SPREAD,
    ),
    "fori": (lambda x: lax.fori_loop(0, 3, lambda i, c: c * jnp.sin(c) + x[i], x), SPREAD),
    "while": (halves, SPREAD),
    "while under vmap": (jax.vmap(lambda x: halves(x[None])), SPREAD),
    "cond": (branch, SPREAD),
    "cond under vmap": (jax.vmap(lambda x: lax.cond(x > 0, jnp.sin, jnp.cos, x)), SPREAD),
    "vmap": (jax.vmap(lambda a, b: right(a) @ b), _numbers(3, 2), _numbers(3, 2, seed=1)),
    "jit": (jax.jit(lambda x: jnp.exp(right(x)) * jnp.sum(x)), SPREAD),
    "checkpoint": (jax.checkpoint(lambda x: jnp.sin(jnp.tanh(x))), SPREAD),
    "dictionary": (network, {"w": _numbers(3, 4), "b": _numbers(4)}, _numbers(2, 3)),
    "dropout": (lambda x: x * jax.random.bernoulli(jax.random.key(0), 0.5, x.shape), SPREAD),
    "several outputs": (lambda x: {"a": x * 2, "b": [jnp.sin(x).sum()]}, SPREAD),
}
ELEMENTWISE = {
    "powers": (lambda x: jnp.abs(x) ** 2.5 + x**3 + x**-2 + lax.rsqrt(jnp.abs(x)), SPREAD),
    "a power": (lambda x, y: jnp.abs(x) ** y, SPREAD, _numbers(5)),
    "maximum": (lambda x: jnp.maximum(jnp.sin(x), 0.1) + jnp.minimum(jnp.cos(x), x), SPREAD),
    "clip": (lambda x: jnp.clip(jnp.sin(x), -0.7, 0.7) * jnp.abs(x), SPREAD),
    "activations": (lambda x: jax.nn.selu(x) + jax.nn.softplus(x) + jax.nn.silu(x), SPREAD),
    "whole numbers": (lambda x: x * (jnp.floor_divide(x, 0.7) + jnp.round(x)), SPREAD),
    "signs": (lambda x, y: jnp.copysign(x * x, y), SPREAD, _numbers(5)),
    "bessel": (lambda x: jax.scipy.special.i0e(x) * jax.scipy.special.i1e(x), SPREAD),
    "polygamma": (lambda x: jax.scipy.special.polygamma(2, jnp.abs(x)), SPREAD),
    "NaN spelled out": (lambda x: jnp.nanmax(jnp.sin(x)), SPREAD),
    "erf": (lambda x: jax.scipy.special.erf(x) * jax.nn.sigmoid(x), SPREAD),
    "circular": (lambda x: jnp.tan(x) + jnp.arctan2(x, 2.0) + jnp.exp2(x), SPREAD),
    "roots": (lambda x: jnp.cbrt(x) + jnp.arcsinh(x) + jnp.expm1(x), SPREAD),
    "softmax": (jax.nn.softmax, _numbers(2, 4)),
    "logsumexp": (lambda x: jax.nn.logsumexp(x, axis=0), _numbers(3, 4)),
    "layer norm": (layer_norm, _numbers(2, 4), _numbers(4), _numbers(4, seed=1)),
    "max": (lambda x: jnp.max(jnp.sin(x), axis=1), _numbers(3, 4)),
    "prod": (lambda x: jnp.prod(x), SPREAD),
    "cumulative": (lambda x: jnp.cumsum(x) * jnp.cumprod(x) + lax.cummax(x), SPREAD),
    "cumlogsumexp": (lambda x: lax.cumlogsumexp(x), SPREAD),
}
ARRAYS = {
    "indices": (lambda x: x[ROWS] * x[1] + x[-1], _numbers(4, 3)),
    "written": (
        lambda x, y: x.at[ROWS].add(y).at[1].set(y[0]).at[0].mul(y[1]),
        _numbers(4, 3),
        _numbers(3, 3),
    ),
    "outside": (
        lambda x: (
            x.at[np.array([7, 1])].get(mode="fill", fill_value=0.0)
            + x.at[np.array([7, 1])].set(2.0)[:2]
        ),
        SPREAD,
    ),
    "a slice of data": (lambda x: lax.dynamic_slice(x, (jnp.argmax(x),), (2,)) * 2, SPREAD),
    "an element of data": (lambda x: x[jnp.argmax(x)] * x, SPREAD),
    "updated": (
        lambda x, y: lax.dynamic_update_slice(x, y, (jnp.argmin(x),)),
        SPREAD,
        _numbers(2),
    ),
    "pad": (lambda x: lax.pad(x, x[0], ((-1, 2, 1),)), SPREAD),
    "roll": (lambda x: jnp.roll(x, 1) * jnp.flip(x), SPREAD),
    "stack": (lambda x: jnp.stack([x, jnp.sin(x)], axis=1), SPREAD),
    "unstack": (lambda x: jnp.unstack(x * x, axis=1)[1], _numbers(2, 3)),
    "sort": (lambda x: jnp.sort(jnp.sin(x)), SPREAD),
    "top_k": (lambda x: lax.top_k(x, 2)[0], SPREAD),
    "median": (jnp.median, SPREAD),
    "interpolation": (
        lambda x: jnp.interp(x, np.array([-3.0, 0.1, 1.2, 3.0]), np.array([0.0, 1.0, -1.0, 2.0])),
        SPREAD,
    ),
    "segments": (lambda x: jax.ops.segment_sum(x, np.array([0, 2, 1, 0, 2]), 3), SPREAD),
    "cross-entropy": (
        lambda x: -jnp.take_along_axis(jax.nn.log_softmax(x), ROWS[:, None], 1).mean(),
        _numbers(3, 3),
    ),
    "largest in windows": (
        lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "SAME"),
        _numbers(1, 5, 4, 2),
    ),
    "sums of windows": (
        lambda x: lax.reduce_window(x, 0.0, lax.add, (2, 2), (1, 2), "SAME"),
        _numbers(5, 4),
    ),
    "convolution": (
        lambda x, k: lax.conv_general_dilated(x, k, (1, 2), "SAME", dimension_numbers=IMAGE),
        _numbers(2, 4, 4, 3),
        _numbers(3, 3, 3, 2),
    ),
    "convolution in groups": (
        lambda x, k: lax.conv_general_dilated(
            x, k, (1,), [(1, 2)], rhs_dilation=(2,), feature_group_count=2
        ),
        _numbers(2, 4, 7),
        _numbers(6, 2, 3),
    ),
    "transposed convolution": (
        lambda x, k: lax.conv_transpose(
            x, k, (2,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
        ),
        _numbers(2, 5, 3),
        _numbers(3, 3, 4),
    ),
}
LINEAR = {
    "einsum": (
        lambda a, b: jnp.einsum("bij,bjk->bk", a, b),
        _numbers(2, 3, 4),
        _numbers(2, 4, 3),
    ),
    "cholesky": (jnp.linalg.cholesky, POSITIVE),
    "cholesky of a half": (
        lambda a: lax.linalg.cholesky(a, symmetrize_input=False),
        POSITIVE + np.triu(SQUARE, 1),
    ),
    "solve": (jnp.linalg.solve, SQUARE, _numbers(4)),
    "inverse": (jnp.linalg.inv, SQUARE[::-1]),
    "determinant": (jnp.linalg.det, SQUARE[::-1]),
    "slogdet": (lambda a: jnp.linalg.slogdet(a)[1], SQUARE[::-1]),
    "by cholesky": (
        lambda a, b: jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(a), b),
        POSITIVE,
        _numbers(4),
    ),
    "triangular": (
        lambda a, b: jax.scipy.linalg.solve_triangular(a, b, lower=True, trans=1),
        SQUARE,
        _numbers(4, 2),
    ),
}
CASES = FLOW | ELEMENTWISE | ARRAYS | LINEAR
