"""Backward passes that give the right numbers, but only to a caller that asks nicely."""

import pytest
import torch

import gradcheck

X = torch.linspace(-1.0, 2.0, 12, dtype=torch.float64).reshape(4, 3)
FEW = {"samples": 2}


def sine(backward):
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    made = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    return type("Sine", (torch.autograd.Function,), made).apply


def by_rows(ctx, g):
    (x,) = ctx.saved_tensors
    return g.as_strided(x.shape, (3, 1)) * x.cos()


def only_once(ctx, g):
    (x,) = ctx.saved_tensors
    ctx.calls = getattr(ctx, "calls", 0) + 1
    return g * x.cos() * ctx.calls


def kept_zero(ctx, g):
    (x,) = ctx.saved_tensors
    return g * x.cos() if g.any() else torch.ones_like(x)


FAULTS = {
    "cotangents stored by columns": by_rows,
    "backward twice": only_once,
    "cotangents of zero": kept_zero,
}


@pytest.mark.parametrize("situation", FAULTS)
def test_a_pass_that_is_right_in_a_plain_call_alone_is_found(situation):
    report = gradcheck.check(sine(FAULTS[situation]), X, **FEW)
    rows = report.contract.set_index("situation")["verdict"]
    assert report.summary["disagree"].sum() == report.run["audit"]["refuted"] == 0
    assert rows[situation] in ("disagree", "error")
    assert not report.agrees
    assert situation in str(report)


def test_an_honest_pass_keeps_the_contract():
    report = gradcheck.check(lambda x, y: (x.sin() * y, y.exp()), X, X + 1, **FEW)
    assert set(report.contract["verdict"]) == {"agree"}
    assert len(report.contract) == 11
    assert report.agrees


@pytest.mark.parametrize("change", [lambda x, g: g.mul_(x.cos()), lambda x, g: x.cos_() * g])
def test_a_pass_that_overwrites_what_it_is_given_is_an_error(change):
    report = gradcheck.check(sine(lambda ctx, g: change(ctx.saved_tensors[0], g)), X, **FEW)
    assert report.summary["message"].str.contains("in place").all()
    assert not report.agrees
