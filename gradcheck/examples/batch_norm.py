"""Batch normalisation in training mode, under least squares. One sample is a whole mini-batch.

For a mini-batch x of B rows, with μ and σ² the mean and variance of each feature over the batch,

    x̂ = (x − μ)/s,    s = √(σ² + ε),    y = γ·x̂ + β,    ℓ = ½ Σ (y − target)².

Backward, with c = x − μ and sums Σ over the batch. The rows share s, which is in every x̂ = c/s:

    ∂ℓ/∂x̂ = γ·∂ℓ/∂y,    ∂ℓ/∂s = −Σ ∂ℓ/∂x̂·c/s²,    ∂ℓ/∂σ² = (1/2s)·∂ℓ/∂s.

The centred rows c act through x̂ and through σ² = Σ c²/B, the mean through every row of c, and x
through c and through μ = Σ x/B:

    ∂ℓ/∂c = (1/s)·∂ℓ/∂x̂ + (2/B)·c·∂ℓ/∂σ²,    ∂ℓ/∂μ = −Σ ∂ℓ/∂c,    ∂ℓ/∂x = ∂ℓ/∂c + (1/B)·∂ℓ/∂μ.

Gain γ and bias β are shared, too:

    ∂ℓ/∂γ = Σ ∂ℓ/∂y·x̂,    ∂ℓ/∂β = Σ ∂ℓ/∂y.

References
----------
S. Ioffe, C. Szegedy, *Batch Normalization: Accelerating Deep Network Training by Reducing Internal
Covariate Shift*, ICML 2015, section 3 (algorithm 1 and the chain rule below it).
"""

from typing import Any

from gradcheck import Model

BATCH, FEATURES = 6, 4
EPSILON = 1e-5


def loss(xp: Any, v: Any) -> Any:
    """ℓ, the definition."""
    c = v.x - xp.mean(v.x, axis=0)
    y = v.gain * c / xp.sqrt(xp.mean(c**2, axis=0) + EPSILON) + v.bias
    return xp.sum((y - v.target) ** 2) / 2


def forward(xp: Any, v: Any, t: Any) -> None:
    """ℓ, one step at a time."""
    t.mean = xp.sum(v.x, axis=0) / BATCH
    t.centred = v.x - t.mean
    t.variance = xp.sum(t.centred * t.centred, axis=0) / BATCH
    t.s = xp.sqrt(t.variance + EPSILON)
    t.xhat = t.centred / t.s
    t.y = v.gain * t.xhat + v.bias
    t.loss = 0.5 * xp.sum((t.y - v.target) ** 2)


def backward(xp: Any, v: Any, t: Any, d: Any) -> None:
    """Write the adjoints: of the trace from its end, then of the parameters."""
    d.y = t.y - v.target
    d.xhat = v.gain * d.y
    d.s = -xp.sum(d.xhat * t.xhat, axis=0) / t.s
    d.variance = d.s / (2 * t.s)
    d.centred = d.xhat / t.s + 2 * t.centred * d.variance / BATCH
    d.mean = -xp.sum(d.centred, axis=0)

    d.x = d.centred + d.mean / BATCH
    d.gain = xp.sum(d.y * t.xhat, axis=0)
    d.bias = xp.sum(d.y, axis=0)


MODEL = Model(
    name="batch-norm",
    inputs={"target": (BATCH, FEATURES)},
    parameters={"x": (BATCH, FEATURES), "gain": (FEATURES,), "bias": (FEATURES,)},
    loss=loss,
    forward=forward,
    backward=backward,
)
