"""PyTorch as a definition expects it: it creates in the dtype under judgement, and promotes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

_DEFAULT_DTYPE = threading.RLock()
"""Held while the default dtype of the process is another, so that it is restored in turn."""

NO_WRAPPER = ("__get__", "__set__", "detach")
"""Calls by which a weight is looked at, or used as a constant."""


@contextmanager
def judged_in(dtype: np.dtype[Any]) -> Iterator[None]:
    """Create in a dtype, promote as NumPy does, and refuse weights that are no parameters.

    `torch.eye(3)`, `where(mask, 1.0, 0.0)` and `label * 0.5` take PyTorch's default dtype, which
    belongs to the process; it is set for the time of an evaluation, and one evaluation at a time.
    """
    with _DEFAULT_DTYPE, _Promotion():
        before = torch.get_default_dtype()
        torch.set_default_dtype(getattr(torch, dtype.name))
        try:
            yield
        finally:
            torch.set_default_dtype(before)


class _Promotion(TorchFunctionMode):  # type: ignore[misc]
    """Sees every function of PyTorch, and every operator and method, in this thread."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = args, dict(kwargs or {})
        name = getattr(function, "__name__", "")
        if name not in NO_WRAPPER and torch.is_grad_enabled():
            _refuse_weights(given)
        try:
            return function(*args, **given[1])
        except RuntimeError:
            # A product of integers with floats, or a mean of integers: NumPy takes them as floats.
            if name.startswith("__i") or (name.endswith("_") and not name.endswith("__")):
                raise  # it works in place
            try:
                args, again = _converted(given, _common_dtype(given))
                return function(*args, **again)
            except Exception:  # noqa: S110 - then it was not for the dtypes
                pass
            raise


def _tensors(given: Any) -> list[torch.Tensor]:
    """List the tensors among arguments, and in lists of them."""
    if isinstance(given, torch.Tensor):
        return [given]
    items = given.values() if isinstance(given, dict) else given
    return (
        [t for item in items for t in _tensors(item)]
        if isinstance(given, list | tuple | dict)
        else []
    )


def _common_dtype(given: Any) -> torch.dtype:
    common = torch.get_default_dtype()
    floats = [tensor.dtype for tensor in _tensors(given) if tensor.is_floating_point()]
    return max(floats, key=lambda dtype: torch.finfo(dtype).bits, default=common)


def _converted(given: Any, dtype: torch.dtype) -> Any:
    if isinstance(given, torch.Tensor):
        return given.to(dtype)
    if isinstance(given, dict):
        return {key: _converted(item, dtype) for key, item in given.items()}
    if type(given) in (list, tuple):
        return type(given)(_converted(item, dtype) for item in given)
    return given


def _refuse_weights(given: Any) -> None:
    for tensor in _tensors(given):
        if isinstance(tensor, torch.nn.Parameter) and tensor.requires_grad:
            raise ValueError(
                f"an nn.Module uses weights of its own, of shape {tuple(tensor.shape)}, and not "
                f"those of v; call it as torch.func.functional_call(module, {{'weight': v.W, …}}, "
                f"x), or freeze what is a constant by module.requires_grad_(False)"
            )
