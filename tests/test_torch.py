"""What takes the place of PyTorch's own checks of gradients."""

import warnings

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


def test_an_argument_that_the_original_lacks_is_refused():
    with pytest.raises(TypeError, match="'tolerance'"):
        gradcheck(Cube.apply, (X,), tolerance=1.0)
