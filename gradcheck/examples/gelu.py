"""A layer with Gaussian error linear units, in their tanh form, under least squares.

    h = W·x + b,    u = √(2/π)·(h + 0.044715·h³),    y = ½h·(1 + tanh u),    ℓ = ½ Σ (y − target)².

Backward: h is in y twice, as a factor and within the hyperbolic tangent τ = tanh u, which has the
derivative 1 − τ².

    ∂ℓ/∂τ = ½h·∂ℓ/∂y,    ∂ℓ/∂u = (1 − τ²)·∂ℓ/∂τ,
    ∂ℓ/∂h = ½(1 + τ)·∂ℓ/∂y + √(2/π)·(1 + 3·0.044715·h²)·∂ℓ/∂u,
    ∂ℓ/∂Wₖᵢ = ∂ℓ/∂hₖ · xᵢ,    ∂ℓ/∂bₖ = ∂ℓ/∂hₖ.

Far below 0, τ is so near −1 that 1 + τ and 1 − τ² cancel: no bar is informative for h below about
−4.4 in float32, −7 in float64.

References
----------
D. Hendrycks, K. Gimpel, *Gaussian Error Linear Units (GELUs)*, arXiv:1606.08415, 2016, section 2.
"""

from math import pi, sqrt
from typing import Any

from gradcheck import Model

UNITS, FEATURES = 3, 4
SLOPE = sqrt(2 / pi)
CUBIC = 0.044715


def loss(xp: Any, v: Any) -> Any:
    """ℓ, the definition."""
    h = v.W @ v.x + v.b
    y = 0.5 * h * (1 + xp.tanh(SLOPE * (h + CUBIC * h**3)))
    return xp.sum((y - v.target) ** 2) / 2


def forward(xp: Any, v: Any, t: Any) -> None:
    """ℓ, one step at a time."""
    t.h = xp.sum(v.W * v.x, axis=-1) + v.b
    t.u = SLOPE * t.h * (1 + CUBIC * t.h * t.h)
    t.tanh = xp.tanh(t.u)
    t.y = (t.h + t.h * t.tanh) / 2
    t.loss = 0.5 * xp.sum((t.y - v.target) ** 2)


def backward(xp: Any, v: Any, t: Any, d: Any) -> None:
    """Write the adjoints: of the trace from its end, then of the parameters."""
    d.y = t.y - v.target
    d.tanh = t.h / 2 * d.y
    d.u = (1 - t.tanh**2) * d.tanh
    d.h = (1 + t.tanh) / 2 * d.y + SLOPE * (1 + 3 * CUBIC * t.h**2) * d.u

    d.W = d.h[:, None] * v.x
    d.b = d.h


MODEL = Model(
    name="gelu",
    inputs={"x": (FEATURES,), "target": (UNITS,)},
    parameters={"W": (UNITS, FEATURES), "b": (UNITS,)},
    loss=loss,
    forward=forward,
    backward=backward,
)
