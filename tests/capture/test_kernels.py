"""Kernels as they are written for bfloat16, right and with the faults that tolerances let pass."""

import pytest
import torch

import gradcheck

BFLOAT16 = {"dtypes": ["bfloat16"], "samples": 2}


def numbers(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).bfloat16()


class CrossEntropy(torch.autograd.Function):
    """Of logits and labels, in float32 within."""

    scale, masked = 1.0, False

    @classmethod
    def forward(cls, ctx, logits, labels):
        shares = torch.softmax(logits.float(), -1)
        ctx.save_for_backward(shares, labels)
        picked = torch.log_softmax(logits.float(), -1).gather(-1, labels[:, None])
        return -picked.mean().to(logits.dtype)

    @classmethod
    def backward(cls, ctx, g):
        shares, labels = ctx.saved_tensors
        one = torch.nn.functional.one_hot(labels, shares.shape[-1])
        return (g.float() * (shares - cls.scale * one) / len(labels)).to(g.dtype), None


class CrossEntropySmoothed(CrossEntropy):
    scale = 0.9


class Attention(torch.autograd.Function):
    """One head, causal; probabilities are recomputed in the backward pass."""

    @staticmethod
    def probabilities(q, k):
        scores = (q @ k.mT).float() / q.shape[-1] ** 0.5
        future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        return torch.softmax(scores.masked_fill(future, float("-inf")), -1)

    @classmethod
    def forward(cls, ctx, q, k, v):
        ctx.save_for_backward(q, k, v)
        return cls.probabilities(q, k).to(v.dtype) @ v

    @classmethod
    def backward(cls, ctx, g):
        q, k, v = ctx.saved_tensors
        p = cls.probabilities(q, k)
        dp = (g @ v.mT).float()
        ds = cls.of_scores(p, dp) / q.shape[-1] ** 0.5
        ds = ds.to(q.dtype)
        return ds @ k, ds.mT @ q, p.to(g.dtype).mT @ g

    @staticmethod
    def of_scores(p, dp):
        return p * (dp - (p * dp).sum(-1, keepdim=True))


class AttentionWithoutItsSum(Attention):
    @staticmethod
    def of_scores(p, dp):
        return p * dp


class AttentionUnmasked(Attention):
    """Drops the mask in the backward pass."""

    @classmethod
    def backward(cls, ctx, g):
        q, k, v = ctx.saved_tensors
        p = torch.softmax((q @ k.mT).float() / q.shape[-1] ** 0.5, -1)
        ds = cls.of_scores(p, (g @ v.mT).float()) / q.shape[-1] ** 0.5
        ds = ds.to(q.dtype)
        return ds @ k, ds.mT @ q, p.to(g.dtype).mT @ g


class AttentionOfMaskedRows(Attention):
    """Leaves a row with no key at all, as a padded one is."""

    @staticmethod
    def probabilities(q, k):
        scores = (q @ k.mT).float() / q.shape[-1] ** 0.5
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(0)
        return torch.softmax(scores.masked_fill(hidden, float("-inf")), -1)


class Product(torch.autograd.Function):
    """A matrix product, added up in float32 over tiles of the inner axis."""

    tile = 16

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w

    @classmethod
    def backward(cls, ctx, g):
        x, w = ctx.saved_tensors
        return g @ w.mT, cls.over_rows(x, g)

    @classmethod
    def over_rows(cls, x, g):
        total = torch.zeros(x.shape[1], g.shape[1])
        for start in range(0, len(x), cls.tile):
            rows = slice(start, start + cls.tile)
            total = total + cls.kept(x[rows].float().mT @ g[rows].float())
        return total.to(x.dtype)

    @staticmethod
    def kept(part):
        return part


class ProductCastBeforeTheSum(Product):
    """Casts every tile's product to bfloat16 before it is added."""

    tile = 1

    @staticmethod
    def kept(part):
        return part.bfloat16().float()


class ProductOfOneWrongTile(Product):
    @classmethod
    def over_rows(cls, x, g):
        total = Product.over_rows(x, g).clone()
        total[:4, :4] = (x[: cls.tile, :4].float().mT @ g[: cls.tile, :4].float()).to(x.dtype)
        return total


def plain_product(x, w):
    return x @ w


LOGITS, LABELS = numbers(6, 10), torch.tensor([1, 3, 9, 0, 4, 4])
HEADS = numbers(6, 8), numbers(6, 8, seed=1), numbers(6, 8, seed=2)
MATRICES = numbers(128, 8), numbers(8, 8, seed=1)


@pytest.mark.parametrize(
    ("function", "inputs"),
    [(CrossEntropy, (LOGITS, LABELS)), (Attention, HEADS), (Product, MATRICES)],
)
def test_a_right_kernel_agrees(function, inputs):
    report = gradcheck.check(function.apply, *inputs, **BFLOAT16)
    assert report.agrees
    total = report.summary[["agree", "uninformative", "samples"]].sum()
    assert total["agree"] > 0.5 * total["samples"]


@pytest.mark.parametrize(
    ("function", "inputs", "wrong"),
    [
        (CrossEntropySmoothed, (LOGITS, LABELS), {"logits"}),
        (AttentionWithoutItsSum, HEADS, {"q", "k"}),
        (AttentionUnmasked, HEADS, {"q", "k", "v"}),
        (ProductOfOneWrongTile, MATRICES, {"w"}),
    ],
)
def test_a_faulty_kernel_disagrees_where_it_is_wrong(function, inputs, wrong):
    report = gradcheck.check(function.apply, *inputs, **BFLOAT16)
    assert not report.agrees
    told = report.summary[report.summary["disagree"] > 0]
    assert set(told["gradient"]) == wrong


def test_a_row_without_any_key_is_not_passed():
    report = gradcheck.check(AttentionOfMaskedRows.apply, *HEADS, **BFLOAT16)
    assert not report.agrees


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_a_cast_before_the_sum_is_told_by_a_definition(dtype):
    """What such a cast loses is honest by the function's own record, not by a plain product's."""
    settings = {"definition": plain_product, "dtypes": [dtype], "samples": 4}
    assert gradcheck.check(Product.apply, *MATRICES, **settings).agrees
    report = gradcheck.check(ProductCastBeforeTheSum.apply, *MATRICES, **settings)
    assert not report.agrees
    wrong = report.summary.set_index("gradient")["disagree"]
    assert wrong["w"] > 0
    assert wrong["x"] == 0
