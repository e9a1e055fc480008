"""Unchanged PyTorch functions: right ones agree, wrong ones do not, and the rest is refused."""

import math
import random
import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import gradcheck
from gradcheck import RequestError, sampling
from gradcheck.capture.torch_function import TorchFunction

DTYPES = ["float64", "float32"]
FEW = {"samples": 3}


def normal(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def function(forward, backward):
    made = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    return type("Made", (torch.autograd.Function,), made).apply


def saved(compute):
    """Make a forward pass that saves its input."""

    def forward(ctx, x):
        ctx.save_for_backward(x)
        return compute(x)

    return forward


def sine_slope(ctx, g):
    (x,) = ctx.saved_tensors
    return g * x.cos()


X = normal(4, 3)
RIGHT = {
    "a module": (nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).double(), X),
    "an encoder": (nn.TransformerEncoderLayer(4, 2, 6, batch_first=True).double(), normal(1, 3, 4)),
    "one in evaluation": (
        nn.TransformerEncoderLayer(4, 2, 6, batch_first=True).double().eval(), normal(1, 3, 4),
    ),
    "a convolution": (nn.Conv2d(2, 3, 2, padding=1).double(), normal(1, 2, 3, 3)),
    "a maximum of windows": (lambda x: functional.max_pool2d(x, 2), normal(1, 1, 4, 4)),
    "a recurrence": (nn.GRU(2, 3, batch_first=True).double(), normal(1, 2, 2)),
    "a norm over the batch": (nn.BatchNorm1d(3).double(), X),
    "an embedding": (nn.Embedding(4, 2).double(), torch.tensor([0, 2, 2])),
    "a loss of labels": (functional.cross_entropy, X, torch.tensor([0, 2, 1, 1])),
    "a linear system": (torch.linalg.solve, X[:3] + 3 * torch.eye(3), normal(3, 2)),
    "a determinant": (torch.linalg.det, X[:3]),
    "its logarithm": (lambda a: torch.linalg.slogdet(a).logabsdet, X[:3]),
    "a branch": (lambda x: x.sin() if x.sum() > 0 else x.cos(), X),
    "writes in place": (lambda x: x.clone().mul_(2).add_(x * x), X),
    "writes through a view": (lambda x: torch.zeros_like(x).t().copy_(x.t()).t() * x, X),
    "dropout": (nn.Dropout(0.5), normal(20)),
    "pytrees": (lambda p, k: {"a": p["w"] * k, "b": [p["b"].exp(), None]},
                {"w": X, "b": X[0]}, 3),
    "vmap inside": (torch.vmap(lambda row: row.sin().sum() * row), X),
    "a function": (function(saved(torch.sin), sine_slope), X),
    "functions of gamma": (lambda x: x.lgamma() + x.digamma(), X.abs() + 1),
    "a number": (torch.sigmoid, normal()),
}  # fmt: skip


@pytest.mark.parametrize("case", RIGHT)
def test_what_is_right_agrees_in_both_formats(case):
    report = gradcheck.check(*RIGHT[case], dtypes=DTYPES, **FEW)
    assert report.agrees, str(report)
    assert set(report.summary["dtype"]) == set(DTYPES)
    assert report.run["audit"]["identities"] == report.run["audit"]["samples"] > 0


SHARED = {
    "a factor off by a hundred-thousandth": function(
        saved(torch.sin), lambda ctx, g: sine_slope(ctx, g) * 1.00001
    ),
    "a sign": function(saved(torch.cos), lambda ctx, g: ctx.saved_tensors[0].sin() * g),
    "the first cotangent for all": function(
        saved(torch.sin), lambda ctx, g: g[:1] * ctx.saved_tensors[0].cos()
    ),
    "None for a gradient": function(saved(torch.sin), lambda ctx, g: None),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fault", SHARED)
def test_a_wrong_formula_is_refuted_in_both_formats(fault, dtype):
    report = gradcheck.check(SHARED[fault], X, dtypes=[dtype], **FEW)
    assert not report.agrees
    assert report.run["audit"]["refuted"] > 0


def test_the_wrong_line_and_what_belongs_there_are_told():
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        slope = x.sin()
        return g * slope

    report = gradcheck.check(function(saved(torch.sin), backward), X, **FEW)
    (finding,) = report.diagnosis.to_dict("records")
    assert finding["source"] == "slope = x.sin()"
    assert "`slope = torch.cos(x)`" in finding["explanation"]
    assert finding["explanation"] in str(report)


# --- constants that somebody rounded


def attention(width, factor=1.0):
    """Divide by a root in the forward pass, multiply by its inverse in the other."""

    def forward(ctx, q, k):
        ctx.save_for_backward(q, k)
        return torch.softmax(causal(q @ k.t() / math.sqrt(width)), -1)

    def causal(scores):
        return scores.masked_fill(torch.ones_like(scores).triu(1) > 0, -math.inf)

    def backward(ctx, g):
        q, k = ctx.saved_tensors
        scale = 1 / math.sqrt(width)
        p = torch.softmax(causal(q @ k.t() * scale), -1)
        ds = factor * p * (g - (g * p).sum(-1, keepdim=True)) * scale
        return ds @ k, ds.t() @ q

    return function(forward, backward)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [8, 12])
def test_an_inverse_that_was_rounded_is_no_fault(width, dtype):
    inputs = normal(4, width), normal(4, width)
    report = gradcheck.check(attention(width), *inputs, dtypes=[dtype], **FEW)
    assert report.agrees, str(report)
    assert report.run["audit"]["identities"] == 3
    wrong = gradcheck.check(attention(width, 1 + 2**-29), *inputs, dtypes=[dtype], **FEW)
    assert not wrong.agrees


# --- where numbers come from that nobody saw


def numpy_sine(ctx, x):
    ctx.save_for_backward(x)
    return torch.from_numpy(np.sin(x.detach().numpy()))


def numpy_slope(factor):
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * torch.from_numpy(np.cos(x.detach().numpy()) * factor)

    return backward


@pytest.mark.parametrize(("factor", "agrees"), [(1, True), (1.00001, False)])
def test_a_definition_judges_what_cannot_be_recorded(factor, agrees):
    hidden = function(numpy_sine, numpy_slope(factor))
    report = gradcheck.check(hidden, X, definition=torch.sin, **FEW)
    assert report.agrees == agrees
    assert set(report.discrepancies["culprit"]) == {"" if agrees else "torch"}


@pytest.mark.parametrize("role", ["against", "definition"])
@pytest.mark.parametrize(("offset", "agrees"), [(0, True), (1e-9, False)])
def test_what_returns_something_else_is_not_the_same_function(role, offset, agrees):
    report = gradcheck.check(torch.sin, X, **{role: lambda x: torch.sin(x) + offset}, **FEW)
    assert report.agrees == agrees
    assert "outputs of" in report.contract["situation"][0]


def test_a_row_for_padding_has_no_gradient():
    module = nn.Embedding(5, 3, padding_idx=0).double()
    assert gradcheck.check(module, torch.tensor([0, 2, 2, 4, 0]), **FEW).agrees


def test_random_numbers_that_no_seed_governs_are_told_to_be_random():
    report = gradcheck.check(lambda x: x.sin() * random.random(), X, **FEW)  # noqa: S311
    assert report.summary["message"].str.contains("it is random").all()


def test_where_a_formula_is_wrong_what_was_not_audited_does_not_agree():
    tripled = function(saved(torch.square), lambda ctx, g: g * 3 * ctx.saved_tensors[0])
    report = gradcheck.check(tripled, X, samples=900)
    assert report.run["counts"]["agree"] == 0
    assert report.run["counts"]["disagree"] > 0


UNSEEN = {
    "computed by NumPy": (function(numpy_sine, numpy_slope(1)), "cannot be recorded"),
    "read out": (lambda x: x * x.max().item(), "were read out"),
    "too few": (function(lambda ctx, x, y: x * y, lambda ctx, g: g), "incorrect number"),
    "no rule": (lambda x: torch.linalg.svdvals(x), r"no rule for aten\._linalg_svd\.default"),
    "random": (
        function(saved(torch.sin), lambda ctx, g: g * torch.rand_like(g)), "random numbers"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", UNSEEN)
def test_what_cannot_be_judged_is_an_error_that_says_why(case):
    unseen, why = UNSEEN[case]
    inputs = (X, X) if case == "too few" else (X,)
    report = gradcheck.check(unseen, *inputs, **FEW)
    assert not report.agrees
    assert report.summary["error"].sum() == report.summary["samples"].sum()
    assert report.summary["message"].str.contains(why).all()
    if case not in ("too few",):
        assert report.summary["message"].str.contains(r"test_check\.py, line \d+").all()


def test_the_birth_of_a_nan_is_told_by_its_line():
    def safe_root(x):
        return torch.where(x > 0, torch.sqrt(x * (x > 0)), x * 0)  # its slope is infinite at 0

    report = gradcheck.check(safe_root, X, **FEW)
    nans = report.discrepancies[report.discrepancies["verdict"] == "nan"]
    assert len(nans)
    assert nans["message"].str.contains("test_check.py").all()
    assert not report.agrees


def test_two_functions_are_compared_by_the_same_reference():
    report = gradcheck.check(torch.sin, X, against=lambda x: (x * (1 + 1e-9)).sin(), **FEW)
    wrong = report.summary.set_index("adapter")["disagree"]
    assert wrong["torch"] == 0
    assert wrong["against"] == X.numel() * 3


def test_the_inputs_given_come_first_and_others_from_their_domain():
    kept = []

    def seen(x):
        kept.append(x.detach().numpy().copy())
        return x.sqrt()

    given = torch.tensor([4.0, 9.0], dtype=torch.float64)
    domain = {"x": sampling.uniform(100.0, 101.0)}
    assert gradcheck.check(seen, given, sampling=domain, **FEW).agrees
    others = {tuple(one) for one in kept if one.min() >= 100}
    assert (4.0, 9.0) in {tuple(one) for one in kept}
    assert len(others) == 2


def test_the_generator_of_the_caller_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    gradcheck.check(nn.Dropout(0.5), X, **FEW)
    assert torch.equal(torch.rand(3), expected)


class Held(nn.Module):
    """A module whose first call waits inside."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, dtype=torch.float64))
        self.calls = []
        self.second, self.release = threading.Event(), threading.Event()

    def forward(self, x):
        self.calls.append(self.weight.dtype)
        if len(self.calls) > 1:
            self.second.set()
        else:
            self.release.wait()
        return self.weight * x


def test_a_module_whose_parameters_are_exchanged_is_called_by_one_thread_at_a_time():
    module = Held()
    subject = TorchFunction(module, (X[0],))
    callers = [
        threading.Thread(
            target=subject.run,
            args=({name: one.astype(dtype) for name, one in subject.given.items()}, None),
        )
        for dtype in DTYPES
    ]
    try:
        for caller in callers:
            caller.start()
        assert not module.second.wait(0.2)  # nobody else comes in, however long one waits
    finally:
        module.release.set()
        for caller in callers:
            caller.join()
    assert len(module.calls) == 2


WRONG = {
    "function": (lambda: gradcheck.check(3, X), "expected a function"),
    "setting": (lambda: gradcheck.check(torch.sin, X, smaples=3), "no setting 'smaples'"),
    "integers": (lambda: gradcheck.check(torch.sin, torch.arange(3)), "floating-point"),
    "float8": (lambda: gradcheck.check(torch.sin, X.to(torch.float8_e5m2)), "float8_e5m2"),
    "a sparse tensor": (lambda: gradcheck.check(torch.sin, X.to_sparse()), "give a dense one"),
    "complex": (lambda: gradcheck.check(torch.sin, X + 1j), "real and imaginary"),
    "nothing": (lambda: gradcheck.check(torch.sin), "neither"),
    "detached": (lambda: gradcheck.check(lambda x: x.detach(), X), "no output depends"),
    "failing": (lambda: gradcheck.check(lambda x: x @ x, X), "fails on its inputs"),
    "cotangents": (lambda: gradcheck.check(torch.sin, X, cotangents=[1.0]), r"\(4, 3\)"),
    "sampling": (
        lambda: gradcheck.check(torch.sin, X, sampling={"y": sampling.positive()}), "no input"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_request_is_refused_before_any_work(case):
    ask, why = WRONG[case]
    with pytest.raises(RequestError, match=why):
        ask()


def test_a_formula_that_nothing_proves_is_no_agreement():
    """At the end of its domain PyTorch returns 0, where the derivative is 1 from one side."""

    def entropy(x):
        return torch.nn.functional.binary_cross_entropy(x, torch.zeros_like(x), reduction="none")

    x = torch.zeros(1, dtype=torch.float64)
    report = gradcheck.check(entropy, x, samples=1)
    assert report.run["counts"]["disagree"] == 0
    assert not report.agrees
    assert "no gradient was held against the truth" in str(report)
    assert gradcheck.check(entropy, x, samples=1, allow_uninformative=True).agrees


class Zeros(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * x

    @staticmethod
    def backward(ctx, g):
        return torch.zeros_like(g)


def test_without_an_audit_a_function_that_agrees_with_itself_has_shown_nothing():
    report = gradcheck.check(Zeros.apply, torch.ones(3), audit=0)
    assert report.run["counts"]["agree"] > 0
    assert not report.agrees
    assert "no gradient was held against the truth" in str(report)
