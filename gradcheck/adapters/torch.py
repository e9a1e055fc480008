"""PyTorch: reverse mode, forward mode, and reverse mode through the compiler."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from gradcheck.adapters import Adapter, Arrays, Gradients, by_forward_mode, sample_loss
from gradcheck.model.model import Model

BY_BITS = {"bfloat16": "int16", "float8_e4m3fn": "uint8", "float8_e5m2": "uint8"}
"""Formats that go from NumPy to PyTorch, and back, as integers of the same bits."""


def _tensors(values: Arrays) -> dict[str, Any]:
    return {name: tensor_from(array) for name, array in values.items()}


def tensor_from(array: Any) -> Any:
    """Return a tensor of an array, by the bits where PyTorch does not know NumPy's format."""
    import torch

    bits = BY_BITS.get(array.dtype.name)
    if bits is None:
        return torch.tensor(array)
    return torch.tensor(array.view(bits)).view(getattr(torch, array.dtype.name))


def array_from(tensor: Any) -> Any:
    """Return an array of a tensor, by the bits where NumPy does not know PyTorch's format."""
    import torch

    name = str(tensor.dtype).removeprefix("torch.")
    bits = BY_BITS.get(name)
    return tensor.view(getattr(torch, bits)).numpy().view(name) if bits else tensor.numpy()


def _arrays(tensors: Any, dtype: np.dtype[Any]) -> Arrays:
    # Forward mode may return float64 where an integer was added up: only the format is wrong.
    return {name: array_from(tensor).astype(dtype, copy=False) for name, tensor in tensors.items()}


def _sample_loss(model: Model) -> Callable[[dict[str, Any]], Any]:
    """Return the loss of one sample; its namespace is PyTorch by the names of the standard."""
    import array_api_compat.torch

    return sample_loss(model, array_api_compat.torch, "torch")


def _losses(model: Model) -> Callable[[dict[str, Any]], Any]:
    """Return the losses of all samples.

    An `autograd.Function` that has no rule for vmap is called for one sample after the other.
    """
    import torch

    loss = _sample_loss(model)

    def losses(tensors: dict[str, Any]) -> Any:
        try:
            return torch.vmap(loss)(tensors)
        except RuntimeError:
            if "torch" not in model.expressions:
                raise
        samples = len(next(iter(tensors.values())))
        rows = ({name: tensor[i] for name, tensor in tensors.items()} for i in range(samples))
        return torch.stack([loss(row) for row in rows])

    return losses


def _total_loss(model: Model) -> Callable[[dict[str, Any]], Any]:
    """Sum the losses of all samples: its gradient holds every sample's own."""
    losses = _losses(model)
    return lambda tensors: losses(tensors).sum()


def _prepare_value(model: Model, dtype: np.dtype[Any]) -> Callable[[Arrays], Any]:
    from gradcheck.adapters.torch_mode import judged_in

    losses = _losses(model)

    def value(values: Arrays) -> Any:
        with judged_in(dtype):
            return array_from(losses(_tensors(values)).detach())

    return value


def _differentiate(
    total: Callable[[dict[str, Any]], Any], model: Model, dtype: np.dtype[Any]
) -> Gradients:
    import torch

    from gradcheck.adapters.torch_mode import judged_in

    def gradients(values: Arrays) -> Arrays:
        with torch.enable_grad(), judged_in(dtype):
            tensors = _tensors(values)
            parameters = [tensors[name].requires_grad_() for name in model.parameters]
            adjoints = torch.autograd.grad(total(tensors), parameters, allow_unused=True)
        found = dict(zip(model.parameters, adjoints, strict=True))
        unused = [name for name, adjoint in found.items() if adjoint is None]
        if unused and "torch" in model.expressions:
            _refuse_unused(model, dtype, values, unused)
        found |= {name: torch.zeros_like(tensors[name]) for name in unused}
        return _arrays(found, dtype)

    return gradients


def _refuse_unused(model: Model, dtype: np.dtype[Any], values: Arrays, unused: list[str]) -> None:
    """Refuse an expression that depends on fewer parameters than the definition."""
    definition = replace(model, expressions={})
    truth = _prepare_reverse(definition, dtype)({name: array[:1] for name, array in values.items()})
    for name in unused:
        if np.any(truth[name]):
            raise ValueError(
                f"the torch expression does not depend on v.{name}, or a backward of it returns "
                f"None, where the definition depends on it"
            )


def _prepare_reverse(model: Model, dtype: np.dtype[Any]) -> Gradients:
    return _differentiate(_total_loss(model), model, dtype)


def _prepare_compiled(model: Model, dtype: np.dtype[Any]) -> Gradients:
    import torch

    return _differentiate(torch.compile(_total_loss(model)), model, dtype)


def _prepare_forward(model: Model, dtype: np.dtype[Any]) -> Gradients:
    import torch

    from gradcheck.adapters.torch_mode import judged_in

    of_sample = _sample_loss(model)

    def loss(parameters: dict[str, Any], inputs: dict[str, Any]) -> Any:
        return of_sample({**inputs, **parameters})

    # jacfwd is torch.func.jvp under vmap, over the unit tangents.
    per_sample = torch.func.vmap(torch.func.jacfwd(loss))

    def gradients(values: Arrays) -> Arrays:
        tensors = _tensors(values)
        parameters = {name: tensors.pop(name) for name in model.parameters}
        with judged_in(dtype):
            return _arrays(per_sample(parameters, tensors), dtype)

    return gradients


reverse = Adapter(
    _prepare_reverse, "torch.autograd.grad, all samples in one call", "torch", value=_prepare_value
)
forward = Adapter(
    _prepare_forward, "torch.func.jvp under vmap", "torch", gradients=by_forward_mode("torch")
)
compiled = Adapter(
    _prepare_compiled, "torch.autograd.grad through torch.compile", "torch", by_default=False
)
