"""A deep ReLU network under least squares: one input, K hidden layers of D units, one output.

    f_0 = β_0 + Ω_0 x,   h_k = max(f_{k−1}, 0),   f_k = β_k + Ω_k h_k,   ℓ = (f_K − y)²

Backwards, with the indicator 1[f > 0] for the derivative of ReLU,

    ∂ℓ/∂f_K = 2(f_K − y),   ∂ℓ/∂h_k = Ω_kᵀ ∂ℓ/∂f_k,   ∂ℓ/∂f_{k−1} = 1[f_{k−1} > 0] ⊙ ∂ℓ/∂h_k,
    ∂ℓ/∂β_k = ∂ℓ/∂f_k,   ∂ℓ/∂Ω_k = ∂ℓ/∂f_k h_kᵀ.

Weights are drawn with the variance 2/(number of inputs), which keeps the values' size from layer to
layer.

References
----------
S. J. D. Prince, *Understanding Deep Learning*, MIT Press 2023, sections 7.4 (the equations) and 7.5
(the variance of the weights, after He et al. 2015).
"""

from itertools import pairwise
from math import sqrt
from typing import Any

import numpy as np

from gradcheck.errors import RequestError
from gradcheck.model.domains import scaled
from gradcheck.model.model import Model, check_size

MOST_LAYERS = 1000
"""Each of which takes calls of its own."""


def loss(xp: Any, v: Any) -> Any:
    """ℓ, layer by layer."""
    h = v.x
    for Omega, beta in zip(v.Omega[:-1], v.beta[:-1], strict=True):  # noqa: N806
        h = xp.maximum(beta + Omega @ h, 0.0)
    return xp.sum((v.beta[-1] + v.Omega[-1] @ h - v.y) ** 2)


def forward(xp: Any, v: Any, t: Any) -> None:
    """ℓ, with every f and h."""
    t.f[0] = v.beta[0] + v.Omega[0] @ v.x
    for k in range(1, len(v.Omega)):
        t.h[k] = xp.where(t.f[k - 1] > 0, t.f[k - 1], 0.0)
        t.f[k] = v.beta[k] + v.Omega[k] @ t.h[k]
    t.loss = xp.sum((t.f[k] - v.y) ** 2)


def backward(xp: Any, v: Any, t: Any, d: Any) -> None:
    """Write the adjoints from the last layer to the first."""
    last = len(v.Omega) - 1
    d.f[last] = 2 * (t.f[last] - v.y)
    for k in range(last, 0, -1):
        d.beta[k] = d.f[k]
        d.Omega[k] = d.f[k][:, None] * t.h[k][None, :]
        d.h[k] = v.Omega[k].T @ d.f[k]
        d.f[k - 1] = (t.f[k - 1] > 0) * d.h[k]
    d.beta[0] = d.f[0]
    d.Omega[0] = d.f[0][:, None] * v.x[None, :]


def build(depth: int = 5, width: int = 6) -> Model:
    """Make a network of `depth` hidden layers of `width` units each."""
    if depth > MOST_LAYERS:
        raise RequestError("option", f"expected depth to be at most {MOST_LAYERS}, got {depth}")
    check_size("network", depth * width * (width + 1))  # before the example is drawn
    sizes = [1, *[width] * depth, 1]
    pairs = list(pairwise(sizes))
    standard = (depth, width) == (5, 6)
    return Model(
        name="network" if standard else f"network-{depth}x{width}",
        inputs={"x": (1,), "y": (1,)},
        parameters={
            "beta": [(outputs,) for _, outputs in pairs],
            "Omega": [(outputs, inputs) for inputs, outputs in pairs],
        },
        loss=loss,
        forward=forward,
        backward=backward,
        sampling={f"Omega.{k}": scaled(sqrt(2 / inputs)) for k, (inputs, _) in enumerate(pairs)},
        example=_example(depth, width),
    )


def _example(depth: int, width: int) -> dict[str, Any]:
    """Draw the book's example, at which a network of 5 layers of 6 yields 1.907."""
    normal = np.random.RandomState(0).normal  # the legacy generator, which never changes
    Omega = {0: normal(size=(width, 1)), depth: normal(size=(1, width))}  # noqa: N806
    beta = {0: normal(size=width), depth: normal(size=1)}
    for k in range(1, depth):
        Omega[k] = normal(size=(width, width))
        beta[k] = normal(size=width)
    layers = range(depth + 1)
    return {
        "x": np.array([1.2]),
        "y": np.array([2.0]),
        "beta": [beta[k] for k in layers],
        "Omega": [Omega[k] for k in layers],
    }
