"""Whether a PyTorch function's calls leave alone what belongs to others."""

from __future__ import annotations

from typing import Any

from gradcheck.capture.calls import array_of, bits_of, called, own_nodes
from gradcheck.capture.situations import Scene, Told, off


def unchanged(scene: Scene) -> str:
    """See whether inputs, cotangents and saved tensors keep their bits."""
    from torch.autograd.graph import saved_tensors_hooks

    saved: list[Any] = []

    def pack(tensor: Any) -> Any:
        saved.append(tensor.detach())  # the same memory
        return saved[-1]

    fresh = scene.subject.tensors(scene.arrays)
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        plain = called(scene)
    held = [(f"the input {name}", one, bits_of(fresh[name])) for name, one in plain.tensors.items()]
    held += [
        (f"the cotangent of output {i}", one, bits_of(one))
        for i, one in enumerate(plain.cotangents)
    ]
    held += [(f"output {i}", one, bits_of(one)) for i, one in enumerate(plain.outputs)]
    held += [("a tensor saved for the backward pass", one, bits_of(one)) for one in saved]
    plain.gradients()
    for what, tensor, bits in held:
        if bits_of(tensor) != bits:
            return f"{what} was changed in place"
    return ""


def accumulated(scene: Scene) -> str | Told:
    """Accumulate two gradients.

    PyTorch adds in place to what it takes for a gradient of its own, though the views that another
    input was given may share the memory; of its own operations that is its fault.
    """
    import torch

    plain = called(scene)
    shared = ""
    for _ in range(2):
        torch.autograd.backward(list(plain.outputs), plain.copies(), retain_graph=True)
        shared = shared or _sharing(plain.tensors)
    for name, tensor in plain.tensors.items():
        expected = scene.expected[name]
        if tensor.grad is None or expected is None:
            continue
        found = array_of(tensor.grad)
        exact = (found == 2 * expected).all()
        if not exact and off(found, 2 * expected, 3 * scene.bars.gradients[name]).any():
            problem = f"accumulated twice, the gradient of {name} is not the double of itself"
            if not shared:
                return problem
            problem = f"{problem}: {shared}"
            return (
                problem if own_nodes(plain.outputs) else Told("agree", f"PyTorch's own: {problem}")
            )
    return ""


def _sharing(tensors: Any) -> str:
    """Say which gradients share memory; empty if none."""
    owners: dict[int, str] = {}
    for name, tensor in tensors.items():
        if tensor.grad is None or tensor.grad.layout != tensor.layout:
            continue
        other = owners.setdefault(tensor.grad.untyped_storage().data_ptr(), name)
        if other != name:
            return f"it shares memory with another, those of {other} and {name}"
    return ""


def owned(scene: Scene) -> str:
    """Set gradients to zero in place, as optimizers do: nothing else lives in their memory."""
    import torch

    plain = called(scene)
    before = {name: bits_of(tensor) for name, tensor in plain.tensors.items()}
    torch.autograd.backward(list(plain.outputs), plain.copies(), retain_graph=True)
    with torch.no_grad():
        for tensor in plain.tensors.values():
            if tensor.grad is not None:
                tensor.grad.zero_()
    for name, tensor in plain.tensors.items():
        if bits_of(tensor) != before[name]:
            return f"the input {name} lives in the memory of a gradient"
    problem = scene.apart(plain.arrays())
    return f"after its gradients were set to zero in place, {problem}" if problem else ""
