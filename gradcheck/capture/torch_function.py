"""A PyTorch function and its inputs: what it returns, and how that was computed."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.adapters.torch import tensor_from
from gradcheck.capture.devices import torch_device
from gradcheck.capture.subject import Captured, Ran, flat_name, usable_name
from gradcheck.capture.torch_recorder import Recording, array_of, finish, is_tensor, recorded
from gradcheck.errors import RequestError

Arrays = Mapping[str, NDArray[Any]]
_CALL = threading.RLock()
"""Held while a function is called: the generator of random numbers is the process's, and a module
is called with its parameters exchanged in place."""


class TorchFunction:
    """A callable on tensors, or a module, with the inputs that it was given.

    Attributes
    ----------
    given
        Values of what is differentiated, by name: parameters of a module under their own names,
        inputs under those of the function's arguments.
    dtype
        The format of these.
    names
        Of the function's arguments.
    """

    framework = "torch"

    def __init__(
        self,
        function: Callable[..., Any],
        inputs: Sequence[Any],
        names: Sequence[str] | None = None,
        device: str = "",
    ) -> None:
        import torch
        from torch.utils import _pytree

        self.function: Any = function
        self._device = torch_device(device) if device else None
        self.module = isinstance(function, torch.nn.Module)
        leaves, self._spec = _pytree.tree_flatten_with_path(tuple(inputs))
        leaves = [(path, self._placed(leaf)) for path, leaf in leaves]
        self._leaves = [leaf for _, leaf in leaves]
        self.names = list(names or argument_names(function, len(inputs)))
        tensors = [leaf for leaf in self._leaves if is_tensor(leaf)]
        for tensor in tensors:
            if tensor.is_complex():
                raise RequestError(
                    "inputs",
                    "complex numbers carry no bounds; take real and imaginary parts as two inputs",
                )
            if tensor.is_meta:
                raise RequestError("inputs", "a tensor on the device meta holds no numbers")
            if tensor.layout is not torch.strided:
                raise RequestError(
                    "inputs",
                    f"a tensor of layout {tensor.layout} has no gradient of every element; give a "
                    f"dense one, and make it sparse within the function",
                )
        floats = [one for one in tensors if one.is_floating_point() and one.numel()]
        marked = any(one.requires_grad for one in floats)
        self._places: dict[str, int] = {}
        self.given: dict[str, NDArray[Any]] = {}
        for place, (path, leaf) in enumerate(leaves):
            if any(leaf is one for one in floats) and (leaf.requires_grad or not marked):
                name = usable_name(flat_name(self.names, path), self._places)
                self._places[name] = place
                self.given[name] = array_of(leaf).astype(np.float64)
        self._weights: dict[str, str] = {}
        self._main = next((self._leaves[place].dtype for place in self._places.values()), None)
        module: Any = function
        weights = module.named_parameters() if self.module else ()
        for own, weight in weights:
            if weight.requires_grad and weight.numel():
                name = usable_name(own, [*self._places, *self._weights])
                self._weights[name] = own
                self.given[name] = array_of(weight).astype(np.float64)
                self._main = self._main or weight.dtype
        if self._main is None:
            raise RequestError(
                "inputs",
                "no input is a tensor of floating-point numbers, not an empty one; give one to "
                "differentiate",
            )
        self.dtype = str(self._main).removeprefix("torch.")

    def tensors(self, arrays: Arrays) -> dict[str, Any]:
        """Make tensors that need a gradient."""
        return {
            name: tensor_from(np.asarray(arrays[name])).to(self._device_of(name)).requires_grad_()
            for name in self.given
        }

    def _placed(self, leaf: Any) -> Any:
        """Return what is not differentiated on the device that was asked for, if one was."""
        if self._device is None or not is_tensor(leaf):
            return leaf
        return leaf.detach().to(self._device).requires_grad_(leaf.requires_grad)

    def _device_of(self, name: str) -> Any:
        if name in self._places:
            return self._leaves[self._places[name]].device
        weight = self.function.get_parameter(self._weights[name])
        return self._device or weight.device

    def __call__(self, tensors: Mapping[str, Any]) -> list[Any]:
        """Call the function; return its outputs that can be differentiated."""
        return [one for one in self.results(tensors) if differentiable(one)]

    def results(self, tensors: Mapping[str, Any]) -> list[Any]:
        """Call the function; return all that it returns, flat."""
        import torch
        from torch.utils import _pytree

        wanted = next(iter(tensors.values())).dtype
        leaves = [self._of_format(leaf, wanted) for leaf in self._leaves]
        for name, place in self._places.items():
            leaves[place] = tensors[name]
        inputs = _pytree.tree_unflatten(leaves, self._spec)
        if self.module:
            module = self.function
            state = {name: self._of_format(b.clone(), wanted) for name, b in module.named_buffers()}
            state |= {own: self._of_format(w, wanted) for own, w in module.named_parameters()}
            state = {own: self._placed(one) for own, one in state.items()}
            state |= {own: tensors[name] for name, own in self._weights.items()}
            results = torch.func.functional_call(module, state, inputs)
        else:
            results = self.function(*inputs)
        return list(_pytree.tree_leaves(results))

    def _of_format(self, leaf: Any, wanted: Any) -> Any:
        """Return what is not differentiated in the format of what is."""
        if not is_tensor(leaf):
            return leaf
        leaf = leaf.detach()
        return leaf.to(wanted) if leaf.dtype == self._main else leaf

    def outputs(self, arrays: Arrays) -> tuple[NDArray[Any], ...]:
        """Call the function; return its outputs that can be differentiated."""
        import torch

        with seeded(), torch.enable_grad():
            outputs = self(self.tensors(arrays))
        self._check(outputs)
        return tuple(array_of(output) for output in outputs)

    def run(self, arrays: Arrays, cotangents: Sequence[NDArray[Any]] | None) -> Ran:
        """Differentiate with PyTorch; cotangents of ones if none are given."""
        import torch

        with seeded(), torch.enable_grad():
            tensors = self.tensors(arrays)
            outputs = self(tensors)
            self._check(outputs)
            given = self._cotangents(outputs, cotangents)
            gradients = torch.autograd.grad(
                outputs, list(tensors.values()), given, allow_unused=True
            )
        return Ran(
            tuple(array_of(output) for output in outputs),
            {
                name: None if one is None else array_of(one)
                for name, one in zip(tensors, gradients, strict=True)
            },
        )

    def capture(self, arrays: Arrays, cotangents: Sequence[NDArray[Any]]) -> Captured:
        """Record what is computed, forward and backward."""
        return self.record(self, arrays, cotangents)

    def record(
        self,
        call: Callable[[Mapping[str, Any]], list[Any]],
        arrays: Arrays,
        cotangents: Sequence[NDArray[Any]],
    ) -> Captured:
        """Record what a call of these tensors computes, forward and backward."""
        import torch

        with seeded(), torch.enable_grad():
            tensors = self.tensors(arrays)
            recording = Recording(tensors)
            with recorded(recording):
                outputs = call(tensors)
            self._check(outputs)
            finish(recording, outputs, self._cotangents(outputs, cotangents), tensors)
        return Captured(recording.program, bool(recording.branches), tuple(recording.random))

    def is_kernel(self, operation: str) -> bool:
        """Tell whether an operation is not one of PyTorch's own."""
        return not operation.startswith(("aten.", "prims."))

    def forward_alone(self) -> TorchFunction:
        """Return a function that does the forward pass; its derivative is PyTorch's."""
        from gradcheck.capture.torch_replay import ForwardAlone

        return ForwardAlone(self)

    def _check(self, outputs: Sequence[Any]) -> None:
        if not outputs:
            raise RequestError(
                "function",
                "no output depends on an input in a way that PyTorch can differentiate; return a "
                "tensor that requires a gradient",
            )
        for output in outputs:
            if output.is_complex():
                raise RequestError(
                    "function",
                    "complex numbers carry no bounds; return real and imaginary parts",
                )

    def _cotangents(self, outputs: Sequence[Any], given: Sequence[Any] | None) -> list[Any]:
        import torch

        if given is None:
            return [torch.ones_like(output) for output in outputs]
        return [
            tensor_from(np.asarray(one)).to(output)
            for one, output in zip(given, outputs, strict=True)
        ]


def differentiable(result: Any) -> bool:
    """Tell whether a result can be differentiated, and is not empty."""
    return bool(is_tensor(result) and result.requires_grad and result.numel())


@contextmanager
def seeded() -> Iterator[None]:
    """Run alone, with the same random numbers each time; leave the caller's generator alone."""
    import torch

    with _CALL, torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def argument_names(function: Any, count: int) -> list[str]:
    """Name the first arguments of a function by its signature."""
    function = getattr(function, "_init_fn", function)  # of a custom operation
    owner = getattr(function, "__self__", None)
    if isinstance(owner, type) and function.__name__ == "apply":  # of an autograd.Function
        names = list(inspect.signature(owner.forward).parameters)  # type: ignore[attr-defined]
        names = names if hasattr(owner, "setup_context") and _separate(owner) else names[1:]
    else:
        called = getattr(function, "forward", function)
        try:
            parameters = inspect.signature(called).parameters.values()
        except (TypeError, ValueError):  # a builtin has none
            parameters = ()  # type: ignore[assignment]
        positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        names = [one.name for one in parameters if one.kind in positional]
    return [*names, *(f"input{i}" for i in range(len(names), count))][:count]


def _separate(owner: Any) -> bool:
    """Tell whether a Function has a `setup_context`, so that `forward` takes no context."""
    import torch

    return owner.setup_context is not torch.autograd.function._SingleLevelFunction.setup_context
