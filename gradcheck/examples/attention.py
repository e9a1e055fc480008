"""Scaled dot-product attention with a causal mask, under least squares.

For T queries, keys and values, the rows of Q, K and V, of d features each,

    S = Q·Kᵀ/√d,    P = M∘exp S / Σⱼ M∘exp S,    O = P·V,    ℓ = ½ Σ (O − target)²,

where Mᵢⱼ is 1 for j ≤ i, else 0: a query sees no later key. The mask multiplies the exponentials,
rather than adding −∞ to the scores: a hidden key weighs exactly 0 either way, but so without any
∞ − ∞ or 0·∞. The forward pass subtracts each row's largest visible score c (HIDDEN only ever loses
that comparison) and takes the exponential of 0 for what is hidden, so that nothing overflows:

    E = exp(M∘(S − c)),    F = M∘E,    n = Σⱼ F,    P = F/n.

Backward, by the rules of the matrix product for O = P·V,

    ∂ℓ/∂V = Pᵀ·∂ℓ/∂O,    ∂ℓ/∂P = ∂ℓ/∂O·Vᵀ.

The visible exponentials F act through P = F/n and, all of a row, through its sum n. Then come mask,
exponential and scores. The shift c cancels in P and is a constant of the backward pass. The inner
mask needs none of its own: ∂ℓ/∂E is 0 already where it is.

    ∂ℓ/∂n = −Σⱼ ∂ℓ/∂P∘P/n,    ∂ℓ/∂F = ∂ℓ/∂P/n + ∂ℓ/∂n,    ∂ℓ/∂E = M∘∂ℓ/∂F,    ∂ℓ/∂S = E∘∂ℓ/∂E,
    ∂ℓ/∂Q = ∂ℓ/∂S·K/√d,    ∂ℓ/∂K = (∂ℓ/∂S)ᵀ·Q/√d.

The first query sees one key, with weight 1 whatever the score. Its adjoint is 0, where no bar that
is wider than 0 is informative. The definition subtracts no c: scores beyond 88 overflow in float32.

References
----------
A. Vaswani and others, *Attention Is All You Need*, NeurIPS 2017, sections 3.2.1 and 3.2.3 (mask).
T. Dao and others, *FlashAttention*, NeurIPS 2022, appendix B.2 (the backward pass).
"""

from typing import Any

from gradcheck import Model

LENGTH, FEATURES = 4, 3
HIDDEN = -6e4
"""Which float16 still has. Where scores are below it, the definition is 0/0."""


def loss(xp: Any, v: Any) -> Any:
    """ℓ, the definition."""
    position = xp.arange(LENGTH)
    scores = v.Q @ xp.matrix_transpose(v.K) / FEATURES**0.5
    weights = xp.where(position <= position[:, None], xp.exp(scores), 0.0)
    output = weights / xp.sum(weights, axis=-1, keepdims=True) @ v.V
    return xp.sum((output - v.target) ** 2) / 2


def forward(xp: Any, v: Any, t: Any) -> None:
    """ℓ, one step at a time."""
    t.S = v.Q @ v.K.T / FEATURES**0.5
    t.shift = xp.max(xp.where(causal(xp), t.S, HIDDEN), axis=-1, keepdims=True)
    t.E = xp.exp(xp.where(causal(xp), t.S - t.shift, 0.0))
    t.F = xp.where(causal(xp), t.E, 0.0)
    t.n = xp.sum(t.F, axis=-1, keepdims=True)
    t.P = t.F / t.n
    t.O = t.P @ v.V
    t.loss = 0.5 * xp.sum((t.O - v.target) ** 2)


def backward(xp: Any, v: Any, t: Any, d: Any) -> None:
    """Write the adjoints: of the trace from its end, then of the parameters."""
    d.O = t.O - v.target
    d.P = d.O @ v.V.T
    d.n = -xp.sum(d.P * t.P, axis=-1, keepdims=True) / t.n
    d.F = d.P / t.n + d.n
    d.E = xp.where(causal(xp), d.F, 0.0)
    d.S = t.E * d.E

    d.Q = d.S @ v.K / FEATURES**0.5
    d.K = d.S.T @ v.Q / FEATURES**0.5
    d.V = t.P.T @ d.O


def causal(xp: Any) -> Any:
    """M: which keys a query sees, itself and earlier ones."""
    return xp.tril(xp.ones((LENGTH, LENGTH))) > 0


SHAPE = (LENGTH, FEATURES)
MODEL = Model(
    name="attention",
    inputs={"target": SHAPE},
    parameters={"Q": SHAPE, "K": SHAPE, "V": SHAPE},
    loss=loss,
    forward=forward,
    backward=backward,
)
