"""The ten functions of `passes` once more, in JAX: forward and backward, as people write them.

A statement of a backward pass stands on one line.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import jax
from jax import lax
from jax import numpy as jnp

from studies.functions.passes import DELTA, EPSILON


class Pass:
    """What `torch.autograd.Function` is to PyTorch: `apply` is a `jax.custom_vjp` of two passes.

    `forward` returns the outputs and what it saves, `backward` a gradient for every input.
    """

    forward: ClassVar[Callable[..., Any]]
    backward: ClassVar[Callable[..., Any]]
    apply: ClassVar[Any]

    def __init_subclass__(cls) -> None:
        def function(*inputs: Any) -> Any:
            return cls.forward(*inputs)[0]

        cls.apply = jax.custom_vjp(function)
        cls.apply.defvjp(cls.forward, cls.backward)


class LayerNorm(Pass):
    """Normalise rows to mean 0 and variance 1, then scale and shift."""

    @staticmethod
    def forward(x: Any, weight: Any, bias: Any) -> Any:
        """Return `weight * (x − mean) / deviation + bias`."""
        mean = x.mean(-1, keepdims=True)
        variance = ((x - mean) ** 2).mean(-1, keepdims=True)
        rstd = 1 / jnp.sqrt(variance + EPSILON)
        xhat = (x - mean) * rstd
        return xhat * weight + bias, (xhat, rstd, weight)

    @staticmethod
    def backward(saved: Any, g: Any) -> Any:
        """Return the gradients of x, weight and bias."""
        xhat, rstd, weight = saved
        dxhat = g * weight
        mean = dxhat.mean(-1, keepdims=True)
        projection = (dxhat * xhat).mean(-1, keepdims=True)
        dx = rstd * (dxhat - mean - xhat * projection)
        dweight = (g * xhat).sum(0)
        dbias = g.sum(0)
        return dx, dweight, dbias


class RMSNorm(Pass):
    """Divide rows by their root mean square, then scale."""

    @staticmethod
    def forward(x: Any, weight: Any) -> Any:
        """Return `weight * x / rms(x)`."""
        r = lax.rsqrt((x * x).mean(-1, keepdims=True) + EPSILON)
        return x * r * weight, (x, r, weight)

    @staticmethod
    def backward(saved: Any, g: Any) -> Any:
        """Return the gradients of x and weight."""
        x, r, weight = saved
        n = x.shape[-1]
        gw = g * weight
        dot = (gw * x).sum(-1, keepdims=True)
        dx = r * gw - r**3 * x * dot / n
        return dx, (g * x * r).sum(0)


class SwiGLU(Pass):
    """A gated layer of a transformer, `(silu(x A) ∘ (x B)) C`."""

    @staticmethod
    def forward(x: Any, gate: Any, up: Any, down: Any) -> Any:
        """Return the layer's outputs."""
        a, b = x @ gate, x @ up
        s = jax.nn.sigmoid(a)
        return (a * s * b) @ down, (x, gate, up, down, a, b, s)

    @staticmethod
    def backward(saved: Any, g: Any) -> Any:
        """Return the gradients of x and the three matrices."""
        x, gate, up, down, a, b, s = saved
        silu = a * s
        dhidden = g @ down.T
        ddown = (silu * b).T @ g
        db = dhidden * silu
        da = dhidden * b * s * (1 + a * (1 - s))
        dx = da @ gate.T + db @ up.T
        return dx, x.T @ da, x.T @ db, ddown


class CrossEntropy(Pass):
    """Softmax cross-entropy, averaged over the batch."""

    @staticmethod
    def forward(logits: Any, labels: Any) -> Any:
        """Return `mean(logsumexp(logits) − logits[label])`."""
        largest = logits.max(-1, keepdims=True)
        norm = jnp.log(jnp.exp(logits - largest).sum(-1, keepdims=True)) + largest
        chosen = jnp.take_along_axis(logits, labels[:, None], 1)
        return (norm - chosen).mean(), (logits, norm, labels)

    @staticmethod
    def backward(saved: Any, g: Any) -> Any:
        """Return the gradient of the logits."""
        logits, norm, labels = saved
        batch, classes = logits.shape
        p = jnp.exp(logits - norm)
        hot = jax.nn.one_hot(labels, classes, dtype=p.dtype)
        return g * (p - hot) / batch, None


class Attention(Pass):
    """One head of causal attention."""

    @staticmethod
    def forward(q: Any, k: Any, v: Any) -> Any:
        """Return `softmax(q kᵀ / √d, each row up to the diagonal) v`."""
        seen = jnp.tril(jnp.ones((len(q), len(k)), bool))
        scores = jnp.where(seen, q @ k.T / math.sqrt(q.shape[-1]), -jnp.inf)
        norm = jax.nn.logsumexp(scores, -1, keepdims=True)
        return jnp.exp(scores - norm) @ v, (q, k, v, norm)

    @staticmethod
    def backward(saved: Any, g: Any) -> Any:
        """Return the gradients of queries, keys and values."""
        q, k, v, norm = saved
        scale = 1 / math.sqrt(q.shape[-1])
        p = jnp.tril(jnp.exp(q @ k.T * scale - norm))
        dv = p.T @ g
        dp = g @ v.T
        row = (dp * p).sum(-1, keepdims=True)
        ds = p * (dp - row) * scale
        return ds @ k, ds.T @ q, dv


class GELU(Pass):
    """GELU in the approximation by tanh."""

    @staticmethod
    def forward(x: Any) -> Any:
        """Return `x / 2 (1 + tanh(√(2/π) (x + 0.044715 x³)))`."""
        return 0.5 * x * (1 + jnp.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))), (x,)

    @staticmethod
    def backward(saved: Any, g: Any) -> Any:
        """Return the gradient of x."""
        (x,) = saved
        c = math.sqrt(2 / math.pi)
        t = jnp.tanh(c * (x + 0.044715 * x**3))
        du = c * (1 + 3 * 0.044715 * x**2)
        return (g * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * du),)


class GRUStep(Pass):
    """One step of a gated recurrent unit."""

    @staticmethod
    def forward(x: Any, h: Any, wx: Any, wh: Any) -> Any:
        """Return the next state."""
        xr, xz, xn = jnp.split(x @ wx, 3, -1)
        hr, hz, hn = jnp.split(h @ wh, 3, -1)
        r, z = jax.nn.sigmoid(xr + hr), jax.nn.sigmoid(xz + hz)
        n = jnp.tanh(xn + r * hn)
        return (1 - z) * n + z * h, (x, h, wx, wh, r, z, n, hn)

    @staticmethod
    def backward(saved: Any, g: Any) -> Any:
        """Return the gradients of x, h and both matrices."""
        x, h, wx, wh, r, z, n, hn = saved
        dn = g * (1 - z) * (1 - n * n)
        dz = g * (h - n) * z * (1 - z)
        dr = dn * hn * r * (1 - r)
        dax = jnp.concatenate([dr, dz, dn], -1)
        dah = jnp.concatenate([dr, dz, dn * r], -1)
        dh = g * z + dah @ wh.T
        return dax @ wx.T, dh, x.T @ dax, h.T @ dah


class Huber(Pass):
    """Huber's loss, averaged."""

    @staticmethod
    def forward(prediction: Any, target: Any) -> Any:
        """Return the mean of `r² / 2` where |r| ≤ δ and of `δ (|r| − δ/2)` elsewhere."""
        r = prediction - target
        a = jnp.abs(r)
        return jnp.where(a <= DELTA, 0.5 * r * r, DELTA * (a - 0.5 * DELTA)).mean(), (r,)

    @staticmethod
    def backward(saved: Any, g: Any) -> Any:
        """Return the gradients of prediction and target."""
        (r,) = saved
        slope = jnp.where(jnp.abs(r) <= DELTA, r, DELTA * jnp.sign(r))
        d = g * slope / r.size
        return d, -d


class KalmanUpdate(Pass):
    """The update of a Kalman filter by a measurement z."""

    @staticmethod
    def forward(x: Any, p: Any, h: Any, r: Any, z: Any) -> Any:
        """Return the new mean and covariance."""
        s = h @ p @ h.T + r
        k = jnp.linalg.solve(s.T, (p @ h.T).T).T
        y = z - h @ x
        return (x + k @ y, p - k @ h @ p), (x, p, h, s, k, y)

    @staticmethod
    def backward(saved: Any, g: Any) -> Any:
        """Return the gradients of mean, covariance, h, r and z."""
        x, p, h, s, k, y = saved
        gx, gp = g
        dk = jnp.outer(gx, y) - gp @ p.T @ h.T
        da = jnp.linalg.solve(s, dk.T).T
        ds = -k.T @ da
        dy = k.T @ gx
        dx = gx - h.T @ dy
        dp = gp - h.T @ k.T @ gp + da @ h + h.T @ ds @ h
        dh = da.T @ p + ds @ h @ p.T + ds.T @ h @ p
        dh = dh - k.T @ gp @ p.T - jnp.outer(dy, x)
        return dx, dp, dh, ds, dy


class Conv1d(Pass):
    """A convolution without padding."""

    @staticmethod
    def forward(x: Any, weight: Any, bias: Any) -> Any:
        """Return the outputs, (batch, channels, length)."""
        return lax.conv_general_dilated(x, weight, (1,), "VALID") + bias[:, None], (x, weight)

    @staticmethod
    def backward(saved: Any, g: Any) -> Any:
        """Return the gradients of x, weight and bias, tap by tap."""
        x, weight = saved
        dx, dweight = jnp.zeros_like(x), jnp.zeros_like(weight)
        width = g.shape[-1]
        for i in range(weight.shape[-1]):
            tap = weight[:, :, i].T @ g
            dx = dx.at[:, :, i : i + width].add(tap)
            dtap = (g @ x[:, :, i : i + width].mT).sum(0)
            dweight = dweight.at[:, :, i].set(dtap)
        return dx, dweight, g.sum((0, 2))
