"""Layer normalisation of each row of x, under least squares. Written for all samples at once.

For a row x of D features, with μ and σ² the mean and variance of that row alone,

    x̂ = (x − μ)/s,    s = √(σ² + ε),    y = γ·x̂ + β,    ℓ = ½ Σ (y − target)².

Backward: μ and s both depend on every xⱼ, by ∂μ/∂xⱼ = 1/D and, since Σᵢ (xᵢ − μ) = 0,

    ∂s/∂xⱼ = (1/2s)·∂σ²/∂xⱼ = (xⱼ − μ)/(D·s) = x̂ⱼ/D,

so that

    ∂x̂ᵢ/∂xⱼ = ([i = j] − 1/D)/s − (xᵢ − μ)/s²·x̂ⱼ/D = ([i = j] − 1/D − x̂ᵢ·x̂ⱼ/D)/s.

With gᵢ = ∂ℓ/∂x̂ᵢ = γᵢ·∂ℓ/∂yᵢ, summed over i,

    ∂ℓ/∂xⱼ = (gⱼ − mean g − x̂ⱼ·mean(g·x̂))/s.

The rows share gain γ and bias β, whose adjoints are sums over the rows:

    ∂ℓ/∂γ = Σ_rows ∂ℓ/∂y · x̂,    ∂ℓ/∂β = Σ_rows ∂ℓ/∂y.

Every array has a leading sample axis here: x is (n, rows, D), the gain (n, D). Axes are therefore
counted from the end, and the gain is given an axis for the rows.

References
----------
J. L. Ba, J. R. Kiros, G. E. Hinton, *Layer Normalization*, arXiv:1607.06450, 2016, section 3.
"""

from typing import Any

from gradcheck import Model

ROWS, FEATURES = 3, 5
EPSILON = 1e-5


def loss(xp: Any, v: Any) -> Any:
    """ℓ, the definition."""
    c = v.x - mean(xp, v.x)
    y = v.gain[..., None, :] * c / xp.sqrt(mean(xp, c**2) + EPSILON) + v.bias[..., None, :]
    return xp.sum((y - v.target) ** 2, axis=(-2, -1)) / 2


def forward(xp: Any, v: Any, t: Any) -> None:
    """ℓ, one step at a time."""
    t.mean = xp.sum(v.x, axis=-1, keepdims=True) / FEATURES
    t.centred = v.x - t.mean
    t.variance = xp.sum(t.centred * t.centred, axis=-1, keepdims=True) / FEATURES
    t.s = xp.sqrt(t.variance + EPSILON)
    t.xhat = t.centred / t.s
    t.y = v.gain[..., None, :] * t.xhat + v.bias[..., None, :]
    t.loss = 0.5 * xp.sum((t.y - v.target) ** 2, axis=(-2, -1))


def backward(xp: Any, v: Any, t: Any, d: Any) -> None:
    """Write the adjoints: from the end back to the normalised rows, then of the parameters."""
    d.y = t.y - v.target
    d.xhat = v.gain[..., None, :] * d.y

    d.x = (d.xhat - mean(xp, d.xhat) - t.xhat * mean(xp, d.xhat * t.xhat)) / t.s
    d.gain = xp.sum(d.y * t.xhat, axis=-2)
    d.bias = xp.sum(d.y, axis=-2)


def mean(xp: Any, rows: Any) -> Any:
    """Average each row over its features, and keep their axis."""
    return xp.mean(rows, axis=-1, keepdims=True)


MODEL = Model(
    name="layer-norm",
    inputs={"target": (ROWS, FEATURES)},
    parameters={"x": (ROWS, FEATURES), "gain": (FEATURES,), "bias": (FEATURES,)},
    loss=loss,
    forward=forward,
    backward=backward,
    batched=True,
)
