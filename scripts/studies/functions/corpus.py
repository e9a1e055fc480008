"""The subjects of the study: what each function is defined as, and inputs for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch.nn import functional

from studies.functions import passes

DTYPES = ("float64", "float32")


@dataclass(frozen=True)
class Subject:
    """A function with a backward pass written by hand.

    Parameters
    ----------
    name
        Of the function.
    function
        The `torch.autograd.Function`.
    definition
        The same in plain PyTorch, of the same inputs.
    draw
        From a generator, and a factor of all lengths, to inputs in float64.
    """

    name: str
    function: Any
    definition: Callable[..., Any]
    draw: Callable[[torch.Generator, int], tuple[Any, ...]]
    framework = "torch"

    def make_inputs(self, dtype: str, seed: int, size: int = 1) -> tuple[Any, ...]:
        """Draw inputs; those of floats want gradients.

        Parameters
        ----------
        dtype
            The format's name, such as `float32`; it rounds what is drawn in float64.
        size
            How many times as long as the smallest they are along every axis.
        """
        drawn = self.draw(torch.Generator().manual_seed(seed), size)
        return tuple(
            each.to(getattr(torch, dtype)).requires_grad_() if each.is_floating_point() else each
            for each in drawn
        )

    def gradients(
        self, function: Callable[..., Any], inputs: tuple[Any, ...], seed: int
    ) -> list[NDArray[Any]]:
        """Return a function's gradients as arrays of NumPy; see `gradients`."""
        return [each.numpy() for each in gradients(function, inputs, seed)]


def _normal(*shapes: tuple[int, ...]) -> Callable[[torch.Generator, int], tuple[Any, ...]]:
    def draw(generator: torch.Generator, size: int) -> tuple[Any, ...]:
        return tuple(
            torch.randn([size * n for n in shape], generator=generator, dtype=torch.float64)
            for shape in shapes
        )

    return draw


def _logits_and_labels(generator: torch.Generator, size: int) -> tuple[Any, ...]:
    (logits,) = _normal((4, 5))(generator, size)
    return logits, torch.randint(5 * size, (4 * size,), generator=generator)


def _filter(generator: torch.Generator, size: int) -> tuple[Any, ...]:
    """Draw covariances that are positive definite."""
    x, p, h, r, z = _normal((3,), (3, 3), (2, 3), (2, 2), (2,))(generator, size)
    return x, p @ p.t() + torch.eye(3 * size), h, r @ r.t() + torch.eye(2 * size), z


def layer_norm(x: Any, weight: Any, bias: Any) -> Any:
    """Define layer norm."""
    return functional.layer_norm(x, x.shape[-1:], weight, bias, passes.EPSILON)


def rms_norm(x: Any, weight: Any) -> Any:
    """Define RMSNorm."""
    return x / torch.sqrt((x**2).mean(-1, keepdim=True) + passes.EPSILON) * weight


def swiglu(x: Any, gate: Any, up: Any, down: Any) -> Any:
    """Define SwiGLU."""
    return (functional.silu(x @ gate) * (x @ up)) @ down


def attention(q: Any, k: Any, v: Any) -> Any:
    """Define causal attention."""
    scores = q @ k.t() / math.sqrt(q.shape[-1])
    later = torch.ones_like(scores).triu(1) > 0
    return torch.softmax(scores.masked_fill(later, -math.inf), -1) @ v


def gelu(x: Any) -> Any:
    """Define GELU by tanh."""
    return functional.gelu(x, approximate="tanh")


def gru_step(x: Any, h: Any, wx: Any, wh: Any) -> Any:
    """Define a step of a GRU."""
    (xr, xz, xn), (hr, hz, hn) = (x @ wx).chunk(3, -1), (h @ wh).chunk(3, -1)
    z = torch.sigmoid(xz + hz)
    return (1 - z) * torch.tanh(xn + torch.sigmoid(xr + hr) * hn) + z * h


def huber(prediction: Any, target: Any) -> Any:
    """Define Huber's loss."""
    return functional.huber_loss(prediction, target, delta=passes.DELTA)


def kalman_update(x: Any, p: Any, h: Any, r: Any, z: Any) -> Any:
    """Define the update of a Kalman filter."""
    k = p @ h.t() @ torch.linalg.inv(h @ p @ h.t() + r)
    return x + k @ (z - h @ x), (torch.eye(len(x), dtype=x.dtype) - k @ h) @ p


SUBJECTS = {
    subject.name: subject
    for subject in (
        Subject("layer_norm", passes.LayerNorm, layer_norm, _normal((3, 4), (4,), (4,))),
        Subject("rms_norm", passes.RMSNorm, rms_norm, _normal((3, 4), (4,))),
        Subject("swiglu", passes.SwiGLU, swiglu, _normal((3, 3), (3, 3), (3, 3), (3, 2))),
        Subject("cross_entropy", passes.CrossEntropy, functional.cross_entropy, _logits_and_labels),
        Subject("attention", passes.Attention, attention, _normal((4, 4), (4, 4), (4, 4))),
        Subject("gelu", passes.GELU, gelu, _normal((3, 4))),
        Subject("gru_step", passes.GRUStep, gru_step, _normal((3, 3), (3, 3), (3, 9), (3, 9))),
        Subject("huber", passes.Huber, huber, _normal((3, 4), (3, 4))),
        Subject("kalman_update", passes.KalmanUpdate, kalman_update, _filter),
        Subject("conv1d", passes.Conv1d, functional.conv1d, _normal((2, 2, 5), (3, 2, 3), (3,))),
    )
}
"""By name."""


def draw_cotangents(outputs: Sequence[Any], seed: int) -> list[Any]:
    """Draw tensors in float64, one of the shape of each output."""
    generator = torch.Generator().manual_seed(-1 - seed)  # the inputs have those from 0
    return [
        torch.randn(tuple(one.shape), generator=generator, dtype=torch.float64) for one in outputs
    ]


def gradients(function: Callable[..., Any], inputs: tuple[Any, ...], seed: int) -> list[Any]:
    """Return a function's gradients for a random cotangent, in the order of the inputs of floats.

    Parameters
    ----------
    seed
        Of the cotangent.
    """
    results = function(*inputs)
    outputs = results if isinstance(results, tuple) else (results,)
    cotangents = [
        drawn.to(one.dtype)
        for drawn, one in zip(draw_cotangents(outputs, seed), outputs, strict=True)
    ]
    wanted = [one for one in inputs if one.requires_grad]
    found = torch.autograd.grad(outputs, wanted, cotangents, allow_unused=True)
    return [
        torch.zeros_like(one) if gradient is None else gradient
        for one, gradient in zip(wanted, found, strict=True)
    ]
