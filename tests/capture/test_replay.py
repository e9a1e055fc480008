"""Backward passes that nobody can look into: judged by the forward pass, done once more."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import gradcheck

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
W = torch.randn(4, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def in_numpy(factor):
    """Make a Function whose backward pass leaves PyTorch."""

    class InNumpy(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w)
            return torch.sin((x * x).detach() @ w)

        @staticmethod
        def backward(ctx, g):
            x, w, upstream = (one.numpy() for one in (*ctx.saved_tensors, g))
            inner = upstream * np.cos((x * x) @ w)
            return torch.from_numpy(factor * x * (inner @ w.T)), torch.from_numpy((x * x).T @ inner)

    return InNumpy.apply


def in_callback(factor):
    """Make a function of JAX whose backward pass leaves JAX."""

    @jax.custom_vjp
    def function(x):
        return jnp.sin(x) * x

    def backward(x, g):
        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        cosine = jax.pure_callback(lambda v: np.cos(v), shape, x)
        return (g * (cosine * x + factor * jnp.sin(x)),)

    function.defvjp(lambda x: (function(x), x), backward)
    return function


@torch.library.custom_op("replayed::double", mutates_args=())
def kernel_of_double(x: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(2 * x.numpy() * g.numpy())


@torch.library.custom_op("replayed::sine", mutates_args=())
def kernel_of_sine(x: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(np.sin(x.numpy()))


kernel_of_sine.register_autograd(
    lambda ctx, g: g * torch.cos(ctx.saved_tensors[0]),
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
)


class SquareByKernel(torch.autograd.Function):
    """Calls a kernel backward."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clone().mul_(x)

    @staticmethod
    def backward(ctx, g):
        return kernel_of_double(*ctx.saved_tensors, g)


FLOATS = jnp.array([0.3, -0.7, 1.1])
RIGHT = {
    "numpy": (in_numpy(2.0), X, W),
    "a custom operation": (SquareByKernel.apply, X),
    "a callback": (in_callback(1.0), FLOATS),
    "a callback under jit": (jax.jit(lambda x: in_callback(1.0)(x) ** 2), FLOATS),
}


@pytest.mark.parametrize("name", RIGHT)
def test_the_forward_pass_tells_what_is_right(name):
    report = gradcheck.check(*RIGHT[name], samples=3)
    assert report.agrees
    assert report.run["audit"]["identities"] == 3


@pytest.mark.parametrize(
    "inputs", [(in_numpy(2.00001), X, W), (in_callback(1.001), FLOATS)], ids=["numpy", "a callback"]
)
def test_what_is_wrong_is_proved_wrong(inputs):
    report = gradcheck.check(*inputs, samples=3)
    assert not report.agrees
    culprits = set(report.discrepancies.query("verdict == 'disagree'")["culprit"])
    assert culprits == {"jax" if isinstance(inputs[1], jax.Array) else "torch"}


def test_a_kernel_forward_needs_a_definition():
    refused = gradcheck.check(kernel_of_sine, X, samples=1)
    assert not refused.agrees
    (message,) = set(refused.summary["message"])
    assert "replayed.sine" in message
    assert "definition=" in message
    report = gradcheck.check(kernel_of_sine, X, definition=torch.sin, samples=3)
    assert report.agrees
    assert report.run["request"]["model"] == "kernel_of_sine"
    assert set(report.summary["gradient"]) == {"x"}
