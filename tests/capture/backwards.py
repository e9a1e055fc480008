"""Hand-written backward passes, in which tests plant faults."""

import torch


class Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, y):
        s = torch.sigmoid(x)
        ctx.save_for_backward(x, y, s)
        return x * s * y

    @staticmethod
    def backward(ctx, g):
        x, y, s = ctx.saved_tensors
        slope = s * (1 - s)
        dx = g * y * (s + x * slope)
        dy = g * (x * s)
        return dx, dy


class LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, b):
        centred = x - x.mean(-1, keepdim=True)
        rstd = 1 / torch.sqrt((centred * centred).mean(-1, keepdim=True) + 1e-3)
        h = centred * rstd
        ctx.save_for_backward(h, w, rstd)
        return h * w + b

    @staticmethod
    def backward(ctx, g):
        h, w, rstd = ctx.saved_tensors
        dh = g * w
        mean = dh.mean(-1, keepdim=True)
        along = (dh * h).mean(-1, keepdim=True)
        dx = rstd * (dh - mean - h * along)
        dw = (g * h).sum(0)
        db = g.sum(0)
        return dx, dw, db


class CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, target):
        top = x.max(-1, keepdim=True)[0]
        e = torch.exp(x - top)
        total = e.sum(-1, keepdim=True)
        ctx.save_for_backward(e, total, target)
        loss = torch.log(total) + top - (x * target).sum(-1, keepdim=True)
        return loss.mean()

    @staticmethod
    def backward(ctx, g):
        e, total, target = ctx.saved_tensors
        p = e / total
        dx = g * (p - target) / len(p)
        return dx, None


class LinearTanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, b):
        t = torch.tanh(x @ w + b)
        ctx.save_for_backward(x, w, t)
        return t

    @staticmethod
    def backward(ctx, g):
        x, w, t = ctx.saved_tensors
        dz = g * (1 - t * t)
        dx = dz @ w.t()
        dw = x.t() @ dz
        db = dz.sum(0)
        return dx, dw, db


class Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return 0.5 * x * (1 + torch.tanh(0.8 * (x + 0.044715 * x**3)))

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        t = torch.tanh(0.8 * (x + 0.044715 * x**3))
        slope = 0.8 * (1 + 3 * 0.044715 * x**2)
        dx = 0.5 * (1 + t)
        dx += 0.5 * x * (1 - t * t) * slope
        return g * dx


class Huber(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, y):
        r = x - y
        ctx.save_for_backward(r)
        return torch.where(torch.abs(r) < 1.5, 0.5 * r * r, 1.5 * (torch.abs(r) - 0.75)).sum()

    @staticmethod
    def backward(ctx, g):
        (r,) = ctx.saved_tensors
        small = torch.abs(r) < 1.5
        dr = torch.where(small, r, 1.5 * torch.sign(r))
        return g * dr, -g * dr


class Taps(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        n = len(x) - len(w) + 1
        return sum(w[i] * x[i : i + n] for i in range(len(w)))

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        dx, dw = torch.zeros_like(x), torch.zeros_like(w)
        for i in range(len(w)):
            dx[i : i + len(g)] += w[i] * g
            dw[i] = (g * x[i : i + len(g)]).sum()
        return dx, dw
