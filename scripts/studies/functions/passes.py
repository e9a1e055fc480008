"""Ten functions whose backward passes are written by hand, as people write them.

Each is correct; `studies.functions.mutants` makes them wrong. A statement stands on one line.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn import functional

EPSILON = 1e-5
DELTA = 1.0


class LayerNorm(torch.autograd.Function):  # type: ignore[misc]  # of type Any to mypy
    """Normalise rows to mean 0 and variance 1, then scale and shift."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any) -> Any:
        """Return `weight * (x − mean) / deviation + bias`."""
        mean = x.mean(-1, keepdim=True)
        variance = ((x - mean) ** 2).mean(-1, keepdim=True)
        rstd = 1 / torch.sqrt(variance + EPSILON)
        xhat = (x - mean) * rstd
        ctx.save_for_backward(xhat, rstd, weight)
        return xhat * weight + bias

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        """Return the gradients of x, weight and bias."""
        xhat, rstd, weight = ctx.saved_tensors
        dxhat = g * weight
        mean = dxhat.mean(-1, keepdim=True)
        projection = (dxhat * xhat).mean(-1, keepdim=True)
        dx = rstd * (dxhat - mean - xhat * projection)
        dweight = (g * xhat).sum(0)
        dbias = g.sum(0)
        return dx, dweight, dbias


class RMSNorm(torch.autograd.Function):  # type: ignore[misc]
    """Divide rows by their root mean square, then scale."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any) -> Any:
        """Return `weight * x / rms(x)`."""
        r = torch.rsqrt((x * x).mean(-1, keepdim=True) + EPSILON)
        ctx.save_for_backward(x, r, weight)
        return x * r * weight

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        """Return the gradients of x and weight."""
        x, r, weight = ctx.saved_tensors
        n = x.shape[-1]
        gw = g * weight
        dot = (gw * x).sum(-1, keepdim=True)
        dx = r * gw - r**3 * x * dot / n
        return dx, (g * x * r).sum(0)


class SwiGLU(torch.autograd.Function):  # type: ignore[misc]
    """A gated layer of a transformer, `(silu(x A) ∘ (x B)) C`."""

    @staticmethod
    def forward(ctx: Any, x: Any, gate: Any, up: Any, down: Any) -> Any:
        """Return the layer's outputs."""
        a, b = x @ gate, x @ up
        s = torch.sigmoid(a)
        ctx.save_for_backward(x, gate, up, down, a, b, s)
        return (a * s * b) @ down

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        """Return the gradients of x and the three matrices."""
        x, gate, up, down, a, b, s = ctx.saved_tensors
        silu = a * s
        dhidden = g @ down.t()
        ddown = (silu * b).t() @ g
        db = dhidden * silu
        da = dhidden * b * s * (1 + a * (1 - s))
        dx = da @ gate.t() + db @ up.t()
        return dx, x.t() @ da, x.t() @ db, ddown


class CrossEntropy(torch.autograd.Function):  # type: ignore[misc]
    """Softmax cross-entropy, averaged over the batch."""

    @staticmethod
    def forward(ctx: Any, logits: Any, labels: Any) -> Any:
        """Return `mean(logsumexp(logits) − logits[label])`."""
        largest = logits.amax(-1, keepdim=True)
        norm = torch.exp(logits - largest).sum(-1, keepdim=True).log() + largest
        ctx.save_for_backward(logits, norm, labels)
        return (norm - logits.gather(1, labels[:, None])).mean()

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        """Return the gradient of the logits."""
        logits, norm, labels = ctx.saved_tensors
        batch, classes = logits.shape
        p = torch.exp(logits - norm)
        hot = functional.one_hot(labels, classes)
        return g * (p - hot) / batch, None


class Attention(torch.autograd.Function):  # type: ignore[misc]
    """One head of causal attention."""

    @staticmethod
    def forward(ctx: Any, q: Any, k: Any, v: Any) -> Any:
        """Return `softmax(q kᵀ / √d, each row up to the diagonal) v`."""
        later = torch.ones(len(q), len(k), dtype=torch.bool).triu(1)
        scores = (q @ k.t() / math.sqrt(q.shape[-1])).masked_fill(later, -math.inf)
        norm = torch.logsumexp(scores, -1, keepdim=True)
        ctx.save_for_backward(q, k, v, norm)
        return torch.exp(scores - norm) @ v

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        """Return the gradients of queries, keys and values."""
        q, k, v, norm = ctx.saved_tensors
        scale = 1 / math.sqrt(q.shape[-1])
        p = torch.tril(torch.exp(q @ k.t() * scale - norm))
        dv = p.t() @ g
        dp = g @ v.t()
        row = (dp * p).sum(-1, keepdim=True)
        ds = p * (dp - row) * scale
        return ds @ k, ds.t() @ q, dv


class GELU(torch.autograd.Function):  # type: ignore[misc]
    """GELU in the approximation by tanh."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        """Return `x / 2 (1 + tanh(√(2/π) (x + 0.044715 x³)))`."""
        ctx.save_for_backward(x)
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        """Return the gradient of x."""
        (x,) = ctx.saved_tensors
        c = math.sqrt(2 / math.pi)
        t = torch.tanh(c * (x + 0.044715 * x**3))
        du = c * (1 + 3 * 0.044715 * x**2)
        return g * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * du)


class GRUStep(torch.autograd.Function):  # type: ignore[misc]
    """One step of a gated recurrent unit."""

    @staticmethod
    def forward(ctx: Any, x: Any, h: Any, wx: Any, wh: Any) -> Any:
        """Return the next state."""
        xr, xz, xn = (x @ wx).chunk(3, -1)
        hr, hz, hn = (h @ wh).chunk(3, -1)
        r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
        n = torch.tanh(xn + r * hn)
        ctx.save_for_backward(x, h, wx, wh, r, z, n, hn)
        return (1 - z) * n + z * h

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        """Return the gradients of x, h and both matrices."""
        x, h, wx, wh, r, z, n, hn = ctx.saved_tensors
        dn = g * (1 - z) * (1 - n * n)
        dz = g * (h - n) * z * (1 - z)
        dr = dn * hn * r * (1 - r)
        dax = torch.cat([dr, dz, dn], -1)
        dah = torch.cat([dr, dz, dn * r], -1)
        dh = g * z + dah @ wh.t()
        return dax @ wx.t(), dh, x.t() @ dax, h.t() @ dah


class Huber(torch.autograd.Function):  # type: ignore[misc]
    """Huber's loss, averaged."""

    @staticmethod
    def forward(ctx: Any, prediction: Any, target: Any) -> Any:
        """Return the mean of `r² / 2` where |r| ≤ δ and of `δ (|r| − δ/2)` elsewhere."""
        r = prediction - target
        ctx.save_for_backward(r)
        a = torch.abs(r)
        return torch.where(a <= DELTA, 0.5 * r * r, DELTA * (a - 0.5 * DELTA)).mean()

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        """Return the gradients of prediction and target."""
        (r,) = ctx.saved_tensors
        slope = torch.where(torch.abs(r) <= DELTA, r, DELTA * torch.sign(r))
        d = g * slope / r.numel()
        return d, -d


class KalmanUpdate(torch.autograd.Function):  # type: ignore[misc]
    """The update of a Kalman filter by a measurement z."""

    @staticmethod
    def forward(ctx: Any, x: Any, p: Any, h: Any, r: Any, z: Any) -> Any:
        """Return the new mean and covariance."""
        s = h @ p @ h.t() + r
        k = torch.linalg.solve(s.t(), (p @ h.t()).t()).t()
        y = z - h @ x
        ctx.save_for_backward(x, p, h, s, k, y)
        return x + k @ y, p - k @ h @ p

    @staticmethod
    def backward(ctx: Any, gx: Any, gp: Any) -> Any:
        """Return the gradients of mean, covariance, h, r and z."""
        x, p, h, s, k, y = ctx.saved_tensors
        dk = torch.outer(gx, y) - gp @ p.t() @ h.t()
        da = torch.linalg.solve(s, dk.t()).t()
        ds = -k.t() @ da
        dy = k.t() @ gx
        dx = gx - h.t() @ dy
        dp = gp - h.t() @ k.t() @ gp + da @ h + h.t() @ ds @ h
        dh = da.t() @ p + ds @ h @ p.t() + ds.t() @ h @ p
        dh = dh - k.t() @ gp @ p.t() - torch.outer(dy, x)
        return dx, dp, dh, ds, dy


class Conv1d(torch.autograd.Function):  # type: ignore[misc]
    """A convolution without padding."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any) -> Any:
        """Return the outputs, (batch, channels, length)."""
        ctx.save_for_backward(x, weight)
        return functional.conv1d(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        """Return the gradients of x, weight and bias, tap by tap."""
        x, weight = ctx.saved_tensors
        dx, dweight = torch.zeros_like(x), torch.zeros_like(weight)
        width = g.shape[-1]
        for i in range(weight.shape[-1]):
            tap = weight[:, :, i].t() @ g
            dx[:, :, i : i + width] += tap
            dweight[:, :, i] = (g @ x[:, :, i : i + width].mT).sum(0)
        return dx, dweight, g.sum((0, 2))
