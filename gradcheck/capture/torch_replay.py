"""A PyTorch function without its own derivative: its forward pass once more, under autograd.

What a `torch.autograd.Function` computes forward is known even where its backward pass is a kernel,
a C++ extension or NumPy. Differentiated by PyTorch, it tells what honest gradients are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from gradcheck.capture.subject import Captured
from gradcheck.capture.torch_function import TorchFunction, seeded

CUTS = ("aten.detach.default", "aten.detach_.default")
"""Operations that a forward pass may do for its own ends; what it returns depends on all of it."""


class ForwardAlone(TorchFunction):
    """Computes what another function computes forward; its derivative is PyTorch's.

    Parameters
    ----------
    original
        Whose forward pass, and whose inputs.
    """

    def __init__(self, original: TorchFunction) -> None:
        vars(self).update(vars(original))

    def capture(
        self, arrays: Mapping[str, NDArray[Any]], cotangents: Sequence[NDArray[Any]]
    ) -> Captured:
        """Record the forward pass done again, and PyTorch's derivative of it."""
        import torch

        with seeded(), torch.enable_grad():
            first = self.tensors(arrays)
            again = _replay(self, first)
        return self.record(again, arrays, cotangents)


def _replay(
    function: Callable[[Mapping[str, Any]], list[Any]], given: Mapping[str, Any]
) -> Callable[[Mapping[str, Any]], list[Any]]:
    """Note the operations of a call; return what does them again with other tensors."""
    from torch.utils import _pytree
    from torch.utils._python_dispatch import TorchDispatchMode

    calls: list[tuple[Any, Any, Any, Any]] = []

    class Noting(TorchDispatchMode):  # type: ignore[misc]
        def __torch_dispatch__(
            self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            results = operation(*args, **(kwargs or {}))
            calls.append((operation, args, kwargs or {}, results))
            return results

    with Noting():
        outputs = function(given)

    def again(tensors: Mapping[str, Any]) -> list[Any]:
        known = {id(given[name]): tensor for name, tensor in tensors.items()}

        def renewed(leaf: Any) -> Any:
            return known.get(id(leaf), leaf)

        for operation, args, kwargs, results in calls:
            args, kwargs = _pytree.tree_map(renewed, (args, kwargs))
            found = (
                args[0].view_as(args[0]) if str(operation) in CUTS else operation(*args, **kwargs)
            )
            pairs = zip(_pytree.tree_leaves(results), _pytree.tree_leaves(found), strict=True)
            known.update({id(old): new for old, new in pairs})
        return [known[id(output)] for output in outputs]

    return again
