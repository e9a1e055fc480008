"""The toy model: sine, exponential and cosine, each wrapped in an affine map, under least squares.

    f[x, φ] = β3 + ω3·cos[β2 + ω2·exp[β1 + ω1·sin[β0 + ω0·x]]],    ℓ = (f − y)²

References
----------
S. J. D. Prince, *Understanding Deep Learning*, MIT Press 2023, section 7.3 (the toy example).
"""

from typing import Any

from gradcheck.model.model import Model


def output(xp: Any, v: Any) -> Any:
    """f[x, φ], in one line."""
    return v.beta3 + v.omega3 * xp.cos(
        v.beta2 + v.omega2 * xp.exp(v.beta1 + v.omega1 * xp.sin(v.beta0 + v.omega0 * v.x))
    )


def loss(xp: Any, v: Any) -> Any:
    """ℓ, the definition."""
    return (output(xp, v) - v.y) ** 2


def forward(xp: Any, v: Any, t: Any) -> None:
    """ℓ, one operation or affine map at a time."""
    t.f0 = v.beta0 + v.omega0 * v.x
    t.h1 = xp.sin(t.f0)
    t.f1 = v.beta1 + v.omega1 * t.h1
    t.h2 = xp.exp(t.f1)
    t.f2 = v.beta2 + v.omega2 * t.h2
    t.h3 = xp.cos(t.f2)
    t.f3 = v.beta3 + v.omega3 * t.h3
    t.loss = (t.f3 - v.y) ** 2


def backward(xp: Any, v: Any, t: Any, d: Any) -> None:
    """Write the adjoints ∂ℓ/∂q: of the trace from its end, then of the parameters."""
    d.f3 = 2 * (t.f3 - v.y)
    d.h3 = v.omega3 * d.f3
    d.f2 = -xp.sin(t.f2) * d.h3
    d.h2 = v.omega2 * d.f2
    d.f1 = t.h2 * d.h2
    d.h1 = v.omega1 * d.f1
    d.f0 = xp.cos(t.f0) * d.h1

    d.beta3, d.omega3 = d.f3, t.h3 * d.f3
    d.beta2, d.omega2 = d.f2, t.h2 * d.f2
    d.beta1, d.omega1 = d.f1, t.h1 * d.f1
    d.beta0, d.omega0 = d.f0, v.x * d.f0


def gradient_beta3(xp: Any, v: Any) -> Any:
    """∂ℓ/∂β3 = 2(f − y), since ∂f/∂β3 = 1."""
    return 2 * (output(xp, v) - v.y)


def gradient_omega0(xp: Any, v: Any) -> Any:
    """∂ℓ/∂ω0 = 2(f − y)·∂f/∂ω0.

    With a = β0 + ω0·x, b = β1 + ω1·sin a and c = β2 + ω2·eᵇ, so that f = β3 + ω3·cos c,

        ∂f/∂ω0 = −ω3·sin c · ω2·eᵇ · ω1·cos a · x.
    """
    a = v.beta0 + v.omega0 * v.x
    b = v.beta1 + v.omega1 * xp.sin(a)
    c = v.beta2 + v.omega2 * xp.exp(b)
    residual = v.beta3 + v.omega3 * xp.cos(c) - v.y
    return -2 * residual * v.omega3 * xp.sin(c) * v.omega2 * xp.exp(b) * v.omega1 * xp.cos(a) * v.x


MODEL = Model(
    name="chain",
    inputs={"x": (), "y": ()},
    parameters={f"{letter}{layer}": () for letter in ("beta", "omega") for layer in range(4)},
    loss=loss,
    forward=forward,
    backward=backward,
    closed_forms={"beta3": gradient_beta3, "omega0": gradient_omega0},
    example={
        "x": 2.3, "y": 2.0,
        "beta0": 1.0, "beta1": 2.0, "beta2": -3.0, "beta3": 0.4,
        "omega0": 0.1, "omega1": -0.4, "omega2": 2.0, "omega3": 3.0,
    },
)  # fmt: skip
