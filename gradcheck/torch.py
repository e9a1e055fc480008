"""What takes the place of `torch.autograd.gradcheck`: the same arguments, and no tolerance.

from gradcheck.torch import gradcheck, gradgradcheck
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from gradcheck.errors import RequestError

WITHOUT_EFFECT = {
    "eps": 1e-6,
    "atol": 1e-5,
    "rtol": 1e-3,
    "nondet_tol": 0.0,
    "fast_mode": False,
    "masked": None,
}
"""Arguments of the original that a bound for every gradient makes idle, and their defaults."""
ACCEPTED = (
    "check_undefined_grad",
    "check_grad_dtypes",
    "check_batched_grad",
    "check_batched_forward_grad",
    "check_forward_ad",
    "check_backward_ad",
    "check_fwd_over_rev",
    "check_rev_over_rev",
    "gen_non_contig_grad_outputs",
)


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    raise_exception: bool = True,
    **settings: Any,
) -> bool:
    """Check the gradients of a function of tensors, as `torch.autograd.gradcheck` does.

    Parameters
    ----------
    func, inputs, raise_exception
        As of the original. Tensors that require a gradient are differentiated.
    **settings
        The other arguments of the original. Tolerances and step sizes have no effect.

    Returns
    -------
    bool
        Whether everything was judged and nothing is wrong.

    Raises
    ------
    torch.autograd.gradcheck.GradcheckError
        If not, unless `raise_exception` is false.
    """
    _accept(settings)
    return _checked(func, _as_tuple(inputs), raise_exception)


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    raise_exception: bool = True,
    **settings: Any,
) -> bool:
    """Check the second derivatives of a function, as `torch.autograd.gradgradcheck` does.

    The backward pass is the function then, of the inputs and of the cotangents.

    Parameters
    ----------
    func, inputs, grad_outputs, raise_exception
        As of the original.
    **settings
        The other arguments of the original. Tolerances and step sizes have no effect.
    """
    import torch

    _accept(settings)
    tensors = _as_tuple(inputs)
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
        found = torch.autograd.grad(
            _differentiable(func(*own)), wanted, cotangents, create_graph=True, allow_unused=True
        )
        return [one for one in found if one is not None]

    return _checked(backward, (*tensors, *cotangents), raise_exception)


def _checked(func: Callable[..., Any], inputs: Sequence[Any], raises: bool) -> bool:
    from torch.autograd.gradcheck import GradcheckError

    from gradcheck.capture.check import check
    from gradcheck.reports.failure import describe_failure

    try:
        report = check(func, *inputs)
    except RequestError as error:
        if raises:
            raise GradcheckError(str(error)) from error
        return False
    if raises and not report.agrees:
        raise GradcheckError(describe_failure(report, ""))
    return report.agrees


def _differentiable(results: Any) -> list[Any]:
    from torch.utils import _pytree

    return [one for one in _pytree.tree_leaves(results) if getattr(one, "requires_grad", False)]


def _as_tuple(inputs: Any) -> tuple[Any, ...]:
    return tuple(inputs) if isinstance(inputs, list | tuple) else (inputs,)


def _accept(settings: dict[str, Any]) -> None:
    for name in settings:
        if name not in WITHOUT_EFFECT and name not in ACCEPTED:
            raise TypeError(f"gradcheck() got an unexpected keyword argument {name!r}")
    idle = [
        name
        for name in WITHOUT_EFFECT
        if settings.get(name, WITHOUT_EFFECT[name]) is not (WITHOUT_EFFECT[name])
    ]
    note_idle(idle)


_TOLD: set[str] = set()


def note_idle(names: Sequence[str]) -> None:
    """Say once of each argument that it has no effect."""
    new = [name for name in names if name not in _TOLD]
    _TOLD.update(new)
    if new:
        warnings.warn(
            f"{', '.join(new)}: no effect, for every gradient has a bound of its own",
            stacklevel=4,
        )
