"""Backward passes that give the right numbers, but only to a caller that asks nicely."""

import numpy as np
import pytest
import torch
from torch import nn

import gradcheck
from gradcheck.capture import contract

X = torch.linspace(-1.0, 2.0, 12, dtype=torch.float64).reshape(4, 3)
FEW = {"samples": 2}


def sine(backward, forward=None, **more):
    def plain(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    made = {"forward": staticmethod(forward or plain), "backward": staticmethod(backward)}
    return type("Sine", (torch.autograd.Function,), made | more).apply


def verdicts(report):
    return report.contract.set_index("situation")["verdict"]


def broken(report):
    found = verdicts(report)
    return set(found.index[found.isin(["disagree", "error"])])


def by_rows(ctx, g):
    (x,) = ctx.saved_tensors
    return g.as_strided(x.shape, (3, 1)) * x.cos()


def by_rows_where_there_are_gaps(ctx, g):
    (x,) = ctx.saved_tensors
    return (g.as_strided(x.shape, (3, 1)) if g.stride() == (6, 2) else g) * x.cos()


def only_once(ctx, g):
    (x,) = ctx.saved_tensors
    ctx.calls = getattr(ctx, "calls", 0) + 1
    return g * x.cos() * ctx.calls


def kept_result(ctx, g):
    (x,) = ctx.saved_tensors
    ctx.result = getattr(ctx, "result", g * x.cos())
    return ctx.result.view_as(ctx.result)


def of_ones(ctx, g):
    (x,) = ctx.saved_tensors
    return torch.ones(x.shape, dtype=torch.float32) * g  # a number has no say in the dtype


def kept_zero(ctx, g):
    (x,) = ctx.saved_tensors
    return g * x.cos() if g.any() else torch.ones_like(x)


def saved_slope(ctx, x):
    ctx.slope = x.cos()
    return x.sin().sum()


def into_what_is_kept(ctx, g):
    return ctx.slope.mul_(g)


MEMORY = "inputs, cotangents and saved tensors left as they were"
OWN = "gradients in memory of their own"
FAULTS = {
    "rows": (
        sine(by_rows),
        {
            "cotangents with gaps between their elements",
            "cotangents stored by columns",
            "one cotangent expanded to all elements",
        },
    ),
    "gaps": (
        sine(by_rows_where_there_are_gaps), {"cotangents with gaps between their elements"},
    ),
    "once": (sine(only_once), {"backward twice", "gradients accumulate", OWN}),
    "zero": (sine(kept_zero), {"cotangents of zero"}),
    "kept": (
        sine(into_what_is_kept, saved_slope), {"backward twice", "gradients accumulate", OWN}
    ),
    "result": (sine(kept_result), {OWN}),
    "digits": (
        sine(of_ones, lambda ctx, x: ctx.save_for_backward(x) or x.sum()),
        {"gradients of the shape, dtype and device of their inputs"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_pass_that_is_right_in_a_plain_call_alone_is_found(fault):
    function, expected = FAULTS[fault]
    report = gradcheck.check(function, X, **FEW)
    assert report.summary["disagree"].sum() == report.run["audit"]["refuted"] == 0
    assert broken(report) == expected
    assert not report.agrees
    assert f"{len(expected)} points of the calling contract fail" in str(report)
    assert all(situation in str(report) for situation in expected)


def test_an_honest_pass_keeps_the_contract():
    report = gradcheck.check(lambda x, y: (x.sin() * y, y.exp()), X, X + 1, **FEW)
    assert set(verdicts(report)) == {"agree"}
    assert list(verdicts(report).index) == list(contract.SITUATIONS["torch"])
    assert set(report.contract["message"]) == {""}
    assert report.agrees


class Product(torch.autograd.Function):
    """Gives the right gradients only if all are asked for, or all outputs used."""

    @staticmethod
    def forward(ctx, x, y):
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, y)
        return x * y, x + y

    @staticmethod
    def backward(ctx, g, h):
        x, y = ctx.saved_tensors
        if not all(ctx.needs_input_grad):
            return [g * y if needed else None for needed in ctx.needs_input_grad]
        if g is None or h is None:
            return torch.ones_like(x), torch.ones_like(y)
        return g * y + h, g * x + h


def test_a_pass_that_is_right_only_with_all_inputs_and_outputs_is_found():
    report = gradcheck.check(Product.apply, X, X + 1, **FEW)
    assert report.summary["disagree"].sum() == report.run["audit"]["refuted"] == 0
    assert broken(report) == {contract.ABSENT, "gradients of some inputs alone"}


def test_a_gradient_that_is_summed_to_its_shape_is_right_but_told():
    class Shift(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, b):
            return x + b

        @staticmethod
        def backward(ctx, g):
            return g, g

    report = gradcheck.check(Shift.apply, X, X[0], **FEW)
    assert report.agrees
    assert report.contract["message"].str.contains(r"the shape \(4, 3\), which PyTorch sums").any()


def test_gradients_that_share_memory_are_told_to_accumulate_wrongly_by_their_function():
    class Sum(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            return x.reshape(-1) + y.reshape(-1)

        @staticmethod
        def backward(ctx, g):
            return g.reshape(4, 3), g.reshape(4, 3)

    report = gradcheck.check(Sum.apply, X, X + 1, **FEW)
    assert broken(report) == {"gradients accumulate"}
    assert "it shares memory with another, those of x and y" in str(report)


def test_what_pytorch_itself_accumulates_wrongly_is_not_the_functions_fault():
    def total(x, y):
        return x.view(-1) + y.view(-1)

    report = gradcheck.check(total, X, X + 1, **FEW)
    assert report.agrees
    assert "note: gradients accumulate: PyTorch's own: " in str(report)
    x, y = (torch.ones(2, 2, requires_grad=True) for _ in range(2))
    for _ in range(2):
        (total(x, y) * 2).sum().backward()
    assert (x.grad == 6).all()  # instead of 4; this fails once PyTorch is mended


HONEST = {
    "infinite slope": (torch.sqrt, X.abs() * torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64)),
    "undefined slope": (lambda x: (x * x).sqrt(), torch.tensor([0.0, 2.0], dtype=torch.float64)),
    "shared memory": (lambda x, y: x.view(-1) + y.view(-1), X, X + 1),
    "its own input": (lambda x: x.expand(2, 4, 3), X),
    "dropout": (nn.Dropout(0.5), X),
    "running statistics": (nn.BatchNorm1d(3).double(), X),
    "attention": (nn.functional.scaled_dot_product_attention, X, X + 1, X.cos()),
}


@pytest.mark.parametrize("case", HONEST)
def test_nothing_honest_breaks_the_contract(case):
    report = gradcheck.check(*HONEST[case], **FEW)
    assert len(report.contract) > 7
    assert broken(report) == set()


# --- what is changed where no operation of PyTorch tells


def numpy_cotangent(ctx, g):
    array = g.numpy()
    array *= ctx.saved_tensors[0].cos().numpy()
    return g.clone()


def numpy_saved(ctx, g):
    (x,) = ctx.saved_tensors
    np.cos(x.numpy(), out=x.numpy())
    return g * x


@pytest.mark.parametrize(
    ("change", "what"),
    [(numpy_cotangent, "the cotangent of output 0"), (numpy_saved, "the input x")],
)
def test_what_is_overwritten_is_told(change, what):
    report = gradcheck.check(sine(change), X, definition=torch.sin, **FEW)
    rows = report.contract.set_index("situation")
    assert rows.loc[MEMORY, "message"] == f"{what} was changed in place"
    assert report.summary["disagree"].sum() == 0
    assert verdicts(report)["called twice"] == "agree"


def test_what_another_head_still_reads_is_told_to_be_overwritten():
    def forward(ctx, h):
        ctx.save_for_backward(h)
        return h.sin()

    def heads(x):
        h = 2 * x
        return sine(numpy_saved, forward)(h), h * h  # its backward pass comes first, and reads h

    def plain(x):
        return (2 * x).sin(), 4 * x * x

    report = gradcheck.check(heads, X, definition=plain, **FEW)
    assert report.summary["disagree"].sum() == 0
    assert MEMORY in broken(report)
    assert "a tensor saved for the backward pass was changed in place" in str(report)


def test_a_saved_tensor_that_is_overwritten_is_told():
    def forward(ctx, x):
        ctx.save_for_backward(x.cos())
        return x.sin()

    def backward(ctx, g):
        (slope,) = ctx.saved_tensors
        np.multiply(slope.numpy(), g.numpy(), out=slope.numpy())
        return slope.clone()

    report = gradcheck.check(sine(backward, forward), X, definition=torch.sin, **FEW)
    assert broken(report) == {MEMORY, "backward twice", "gradients accumulate", OWN}
    assert "a tensor saved for the backward pass was changed in place" in str(report)


@pytest.mark.parametrize("change", [lambda x, g: g.mul_(x.cos()), lambda x, g: x.cos_() * g])
def test_a_pass_that_overwrites_what_it_is_given_is_an_error(change):
    report = gradcheck.check(sine(lambda ctx, g: change(ctx.saved_tensors[0], g)), X, **FEW)
    assert report.summary["message"].str.contains("in place").all()
    assert not report.agrees


# --- calls that differ


@pytest.mark.parametrize(("noise", "verdict"), [(1e-16, "agree"), (1e-9, "disagree")])
def test_calls_that_differ_are_told_by_their_bits_and_judged_by_their_bars(noise, verdict):
    generator = np.random.default_rng(0)

    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        slope = x.cos().numpy() * (1 + generator.uniform(-noise, noise, x.shape) * 4)
        return g * torch.from_numpy(slope)

    report = gradcheck.check(sine(backward), X, definition=torch.sin, **FEW)
    row = report.contract.set_index("situation").loc["called twice"]
    assert row["verdict"] == verdict
    assert ("not the same bits" if verdict == "agree" else "it is random") in row["message"]


def test_random_numbers_of_the_backward_pass_are_told_to_be_random_not_wrong():
    random = sine(lambda ctx, g: g * torch.rand_like(g))
    report = gradcheck.check(random, X, **FEW)
    assert report.summary["message"].str.contains("random").all()
    assert report.run["audit"]["refuted"] == report.summary["disagree"].sum() == 0


# --- transforms


def static(function):
    return staticmethod(function)


def keep(ctx, inputs, output):
    ctx.save_for_backward(*inputs)
    ctx.save_for_forward(*inputs)


def new_style(slope, factor, lost=lambda result: result):
    def cosine_times(ctx, g):
        return g * ctx.saved_tensors[0].cos()

    def vmap(info, dims, x):
        return lost(x.sin()), 0

    return sine(
        cosine_times,
        lambda x: x.sin(),
        setup_context=static(keep),
        jvp=static(lambda ctx, t: factor * t * slope(ctx.saved_tensors[0])),
        vmap=static(vmap),
    )


def test_a_function_without_rules_is_not_said_to_break_them():
    report = gradcheck.check(sine(lambda ctx, g: g * ctx.saved_tensors[0].cos()), X, **FEW)
    found = verdicts(report)
    assert found[contract.MAPPED] == found[contract.FORWARD_MODE] == "not defined"
    assert report.agrees
    assert "11 of 11 situations agree" in str(report)


TRANSFORMS = {
    "right": (new_style(torch.cos, 1), set()),
    "sine for cosine": (new_style(torch.sin, 1), {contract.FORWARD_MODE}),
    "a factor": (new_style(torch.cos, 1.00001), {contract.FORWARD_MODE}),
    "samples exchanged": (
        new_style(torch.cos, 1, lambda result: result.flip(0)), {contract.MAPPED},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TRANSFORMS)
def test_rules_for_transforms_are_judged(case):
    function, expected = TRANSFORMS[case]
    report = gradcheck.check(function, X, **FEW)
    assert broken(report) == expected
    assert set(verdicts(report)) <= {"agree", "disagree"}


def batched_slope(rule):
    """Return a kernel with a rule of its own for a batch."""
    name = f"tests_of_contract::slope_{rule.__name__}"

    @torch.library.custom_op(name, mutates_args=())
    def slope(x: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        return g * x.cos()

    slope.register_vmap(rule)
    return slope


def right_rows(info, dims, x, g):
    lead = info.batch_size
    x, g = (
        one.expand(lead, *one.shape) if dim is None else one.movedim(dim, 0)
        for one, dim in zip((x, g), dims, strict=True)
    )
    return g * x.cos(), 0


def exchanged_rows(info, dims, x, g):
    result, dim = right_rows(info, dims, x, g)
    return result.flip(0), dim


@pytest.mark.parametrize(("rule", "wrong"), [(right_rows, False), (exchanged_rows, True)])
def test_a_batch_of_cotangents_gets_the_gradients_of_each(rule, wrong):
    slope = batched_slope(rule)
    function = sine(lambda ctx, g: slope(ctx.saved_tensors[0], g))
    report = gradcheck.check(function, X, definition=torch.sin, **FEW)
    assert (contract.BATCHED in broken(report)) is wrong
    assert verdicts(report)[contract.BATCHED] == ("disagree" if wrong else "agree")


def test_a_rule_that_takes_every_input_for_mapped_is_found():
    class Times(torch.autograd.Function):
        @staticmethod
        def forward(x, y):
            return x * y.flip(0)

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx, g):
            x, y = ctx.saved_tensors
            return g * y.flip(0), (g * x).flip(0)

        @staticmethod
        def vmap(info, dims, x, y):
            return x * y.flip(1), 0

    two = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
    report = gradcheck.check(Times.apply, two, two + 1, **FEW)
    assert report.summary["disagree"].sum() == 0
    assert broken(report) == {contract.MAPPED}


# --- what PyTorch itself gets wrong; each fails once it is mended


def select_scatter(x, row):
    return torch.select_scatter(x, row, 0, 1)


def test_the_gradient_of_a_mapped_select_scatter_is_wrong():
    report = gradcheck.check(select_scatter, X, X[0], **FEW)
    assert broken(report) == {contract.MAPPED}
    x, g = torch.zeros(2, 4, 3), torch.arange(24.0).reshape(2, 4, 3)
    row = torch.zeros(2, 3, requires_grad=True)
    (found,) = torch.autograd.grad(torch.func.vmap(select_scatter)(x, row), row, g)
    assert not torch.equal(found, g[:, 1])


def group_norm(x):
    return torch.native_group_norm(x, None, None, 1, 4, 3, 2, 0.5)


def plain_group_norm(x):
    groups = x.reshape(1, 2, 6)
    mean = groups.mean(-1, keepdim=True)
    scale = ((groups - mean).square().mean(-1, keepdim=True) + 0.5).rsqrt()
    return ((groups - mean) * scale).reshape(x.shape), mean[..., 0], scale[..., 0]


def test_the_gradient_of_a_group_norm_two_of_whose_outputs_are_used_is_wrong():
    report = gradcheck.check(group_norm, X[None], **FEW)
    assert broken(report) == {contract.ABSENT}
    x = X[None].clone().requires_grad_()
    for kept, right in (((0, 1, 2), True), ((0, 1), False), ((0, 2), False)):
        found, expected = (
            torch.autograd.grad(sum(outputs[i].sin().sum() for i in kept), x)[0]
            for outputs in (group_norm(x), plain_group_norm(x))
        )
        assert torch.allclose(found, expected) is right


def test_every_situation_has_a_fault_that_it_finds():
    planted = [expected for _, expected in (*FAULTS.values(), *TRANSFORMS.values())]
    elsewhere = {
        contract.ABSENT, contract.BATCHED, MEMORY, "called twice", "gradients of some inputs alone",
    }  # fmt: skip
    assert set().union(*planted, elsewhere) == set(contract.SITUATIONS["torch"])
