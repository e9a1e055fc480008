"""What takes the place of PyTorch's own checks of gradients."""

import warnings
from inspect import signature

import pytest
import torch
from torch.autograd.gradcheck import GradcheckError

from gradcheck.torch import gradcheck, gradgradcheck

X = torch.linspace(-1.0, 2.0, 6, dtype=torch.float64).requires_grad_()


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * g * x * x


class Off(Cube):
    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3.00001 * g * x * x


class Detached(Cube):
    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * g * x * x.detach()


def test_what_is_right_passes():
    assert gradcheck(Cube.apply, (X,)) is True
    assert gradcheck(Cube.apply, X) is True
    assert gradgradcheck(Cube.apply, (X,)) is True


def test_what_is_wrong_by_less_than_their_tolerance_fails_with_their_error():
    assert torch.autograd.gradcheck(Off.apply, (X,))
    with pytest.raises(GradcheckError, match="comparisons disagree"):
        gradcheck(Off.apply, (X,))
    assert gradcheck(Off.apply, (X,), raise_exception=False) is False


def test_a_factor_that_is_detached_halves_the_second_derivative():
    assert gradcheck(Detached.apply, (X,))
    with pytest.raises(GradcheckError, match="comparisons disagree"):
        gradgradcheck(Detached.apply, (X,))


def test_what_cannot_be_judged_does_not_pass():
    with pytest.raises(GradcheckError, match="no output depends"):
        gradcheck(lambda x: x.detach(), (X,))
    assert gradcheck(lambda x: x.detach(), (X,), raise_exception=False) is False


def test_tolerances_have_no_effect_which_is_said_once():
    with pytest.warns(UserWarning, match="atol: no effect"):
        assert not gradcheck(Off.apply, (X,), atol=1.0, raise_exception=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert gradcheck(Cube.apply, (X,), atol=1.0, check_undefined_grad=True)


@pytest.mark.parametrize(
    ("mine", "original"),
    [(gradcheck, torch.autograd.gradcheck), (gradgradcheck, torch.autograd.gradgradcheck)],
)
def test_the_signatures_are_those_of_the_originals(mine, original):
    of_mine, of_original = (
        [(one.name, one.kind, one.default) for one in signature(function).parameters.values()]
        for function in (mine, original)
    )
    assert of_mine == of_original


@pytest.mark.parametrize("check", [gradcheck, torch.autograd.gradcheck])
def test_inputs_of_which_none_requires_a_gradient_are_refused(check):
    with pytest.raises(ValueError, match="at least one input tensor"):
        check(Cube.apply, (X.detach(),), raise_exception=False)


class Reads(Cube):
    """Has a backward pass that reads a number out, which no batch allows."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * g * x * x if g.sum().item() else torch.zeros_like(x)


@pytest.mark.parametrize(
    ("setting", "function"), [("check_batched_grad", Reads), ("check_forward_ad", Cube)]
)
def test_what_is_asked_for_must_be_defined(setting, function):
    asked = {setting: True, "raise_exception": False}
    for check in (gradcheck, torch.autograd.gradcheck):
        assert check(torch.sin, (X,), **asked)
        assert check(function.apply, (X,))
    assert gradcheck(Cube.apply, (X,), check_batched_grad=True)
    assert not gradcheck(function.apply, (X,), **asked)
    with pytest.raises(GradcheckError, match="calling contract"):
        gradcheck(function.apply, (X,), **{setting: True})
    with pytest.raises((GradcheckError, RuntimeError, NotImplementedError)):
        torch.autograd.gradcheck(function.apply, (X,), **{setting: True})


class Pair(torch.autograd.Function):
    """Takes it for granted that both outputs are used."""

    @staticmethod
    def forward(ctx, x):
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x)
        return x.sin(), x.cos()

    @staticmethod
    def backward(ctx, g, h):
        (x,) = ctx.saved_tensors
        return g * x.cos() - h * x.sin()


def test_cotangents_may_be_absent_unless_told_otherwise():
    assert not gradcheck(Pair.apply, (X,), raise_exception=False)
    assert gradcheck(Pair.apply, (X,), check_undefined_grad=False)
