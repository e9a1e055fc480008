"""Softmax cross-entropy of a linear classifier, in the form that does not overflow.

For a sample x of class y, with logits z = W·x + b,

    ℓ = −log pᵧ = log Σₖ exp zₖ − zᵧ,    pₖ = exp zₖ / Σⱼ exp zⱼ.

A shift c of all logits changes neither ℓ nor p. With c = max z the largest exponential is 1, so
that none overflows and their sum is no less than 1:

    ℓ = log Σₖ exp(zₖ − c) + c − zᵧ.

Backward: ∂/∂zₖ of log Σⱼ exp zⱼ is exp zₖ / Σⱼ exp zⱼ, hence

    ∂ℓ/∂zₖ = pₖ − [k = y].

The shift adds nothing to it, although it is itself a function of z: ∂ℓ/∂c = −Σₖ pₖ + 1 = 0. It is a
constant of the backward pass. The rest is the linear map,

    ∂ℓ/∂Wₖᵢ = ∂ℓ/∂zₖ · xᵢ,    ∂ℓ/∂bₖ = ∂ℓ/∂zₖ.

The definition below is the naive one. Where a logit passes 88 it overflows in float32, and so does
its derivative by any framework; the hand-written passes do not.

References
----------
C. M. Bishop, *Pattern Recognition and Machine Learning*, Springer 2006, section 4.3.4 (gradient).
I. Goodfellow, Y. Bengio, A. Courville, *Deep Learning*, MIT Press 2016, section 4.1 (the shift).
"""

from typing import Any

from gradcheck import Model, sampling

CLASSES, FEATURES = 5, 4


def loss(xp: Any, v: Any) -> Any:
    """ℓ, the definition."""
    z = v.W @ v.x + v.b
    chosen = xp.where(xp.arange(CLASSES) == v.label, z, 0.0)
    return xp.log(xp.sum(xp.exp(z))) - xp.sum(chosen)


def forward(xp: Any, v: Any, t: Any) -> None:
    """ℓ in steps, shifted by the largest logit."""
    t.z = xp.sum(v.W * v.x, axis=-1) + v.b
    t.shift = xp.max(t.z)
    t.exponentials = xp.exp(t.z - t.shift)
    t.total = xp.sum(t.exponentials)
    t.loss = xp.log(t.total) + t.shift - xp.sum(one_hot(xp, v) * t.z)


def backward(xp: Any, v: Any, t: Any, d: Any) -> None:
    """Write the adjoints: of the logits, then of the parameters."""
    d.z = t.exponentials / t.total - one_hot(xp, v)

    d.W = d.z[:, None] * v.x
    d.b = d.z


def one_hot(xp: Any, v: Any) -> Any:
    """[k = y], true for the sample's class alone."""
    return xp.arange(CLASSES) == v.label


MODEL = Model(
    name="softmax-cross-entropy",
    inputs={"x": (FEATURES,), "label": ()},
    parameters={"W": (CLASSES, FEATURES), "b": (CLASSES,)},
    loss=loss,
    forward=forward,
    backward=backward,
    sampling={"label": sampling.integers(0, CLASSES)},
)
