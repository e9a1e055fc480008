"""What takes the place of `torch.autograd.gradcheck`: the same arguments, and no tolerance.

from gradcheck.torch import gradcheck, gradgradcheck
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradcheck.capture.check import check
from gradcheck.capture.contract import ABSENT, BATCHED, FORWARD_MODE
from gradcheck.errors import RequestError
from gradcheck.originals import insisting, note_idle

IDLE = {"eps": 1e-6, "atol": 1e-5, "rtol": 1e-3, "nondet_tol": 0.0}
"""Arguments of the originals that a bound for every gradient makes idle, and their defaults."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Check the gradients of a function of tensors, as `torch.autograd.gradcheck` does.

    Parameters
    ----------
    func, inputs, raise_exception
        As of the original. Tensors that require a gradient are differentiated.
    eps, atol, rtol, nondet_tol
        Have no effect, for every gradient has a bound of its own.
    check_undefined_grad
        Whether it is a fault if cotangents of some outputs must not be absent.
    check_batched_grad, check_forward_ad
        Whether it is a fault if a batch of cotangents, or forward mode, is not defined; where they
        are defined they are judged anyway.
    check_grad_dtypes, check_batched_forward_grad, check_backward_ad, fast_mode, masked
        Have no effect: every entry of every gradient is judged, its dtype too, and it is fast.

    Returns
    -------
    bool
        Whether everything was judged and nothing is wrong.

    Raises
    ------
    torch.autograd.gradcheck.GradcheckError
        If not, unless `raise_exception` is false.
    ValueError
        If no input requires a gradient, as of the original.
    """
    given = {"eps": eps, "atol": atol, "rtol": rtol, "nondet_tol": nondet_tol}
    note_idle([name for name, value in given.items() if value != IDLE[name]])
    needed = {BATCHED: check_batched_grad, FORWARD_MODE: check_forward_ad}
    return _checked(
        func, _as_tuple(inputs), raise_exception, needed, [] if check_undefined_grad else [ABSENT]
    )


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """Check the second derivatives of a function, as `torch.autograd.gradgradcheck` does.

    The backward pass is the function then, of the inputs and of the cotangents.

    Parameters
    ----------
    func, inputs, grad_outputs, raise_exception
        As of the original.
    check_fwd_over_rev
        Whether it is a fault if forward mode of the backward pass is not defined.
    eps, atol, rtol, nondet_tol, check_undefined_grad, check_batched_grad
        As of `gradcheck`.
    gen_non_contig_grad_outputs, check_grad_dtypes, check_rev_over_rev, fast_mode, masked
        Have no effect: all that is judged, and it is fast.

    Raises
    ------
    torch.autograd.gradcheck.GradcheckError, ValueError
        As of `gradcheck`.
    """
    import torch

    given = {"eps": eps, "atol": atol, "rtol": rtol, "nondet_tol": nondet_tol}
    note_idle([name for name, value in given.items() if value != IDLE[name]])
    tensors = _as_tuple(inputs)
    _insist_on_gradients(tensors)
    outputs = _differentiable(func(*tensors))
    if grad_outputs is None:
        generator = torch.Generator().manual_seed(0)
        cotangents = [
            torch.randn(one.shape, generator=generator, dtype=torch.float64)
            .to(one)
            .requires_grad_()
            for one in outputs
        ]
    else:
        cotangents = list(_as_tuple(grad_outputs))

    def backward(*given: Any) -> Any:
        own, cotangents = given[: len(tensors)], given[len(tensors) :]
        wanted = [one for one in own if isinstance(one, torch.Tensor) and one.requires_grad]
        if not wanted:
            raise RuntimeError("no input requires a gradient, as it seems within a transform")
        found = torch.autograd.grad(
            _differentiable(func(*own)), wanted, cotangents, create_graph=True, allow_unused=True
        )
        return [one for one in found if one is not None]

    needed = {BATCHED: check_batched_grad, FORWARD_MODE: check_fwd_over_rev}
    return _checked(
        backward,
        (*tensors, *cotangents),
        raise_exception,
        needed,
        [] if check_undefined_grad else [ABSENT],
    )


def _checked(
    func: Callable[..., Any],
    inputs: Sequence[Any],
    raises: bool,
    needed: Mapping[str, bool],
    ignored: Sequence[str],
) -> bool:
    """Check a function; `needed` and `ignored` are situations of the calling contract."""
    from torch.autograd.gradcheck import GradcheckError

    from gradcheck.reports.failure import describe_failure

    _insist_on_gradients(inputs)
    try:
        report = check(func, *inputs)
    except RequestError as error:
        if raises:
            raise GradcheckError(str(error)) from error
        return False
    report = insisting(report, [one for one, asked in needed.items() if asked], ignored)
    if raises and not report.agrees:
        raise GradcheckError(describe_failure(report, ""))
    return report.agrees


def _insist_on_gradients(inputs: Sequence[Any]) -> None:
    from torch.utils import _pytree

    leaves = _pytree.tree_leaves(tuple(inputs))
    if not any(getattr(leaf, "requires_grad", False) for leaf in leaves):
        raise ValueError("expected at least one input tensor that requires a gradient, got none")


def _differentiable(results: Any) -> list[Any]:
    from torch.utils import _pytree

    return [one for one in _pytree.tree_leaves(results) if getattr(one, "requires_grad", False)]


def _as_tuple(inputs: Any) -> tuple[Any, ...]:
    return tuple(inputs) if isinstance(inputs, list | tuple) else (inputs,)
