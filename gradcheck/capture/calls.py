"""Calls of a PyTorch function's backward pass, each in a situation that callers may bring about.

The situations are those of PyTorch's own gradient checker, and others that were reported: strided
cotangents before all, which it never feeds. Every one has a graph of its own, so that what one
spoils is not told of another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.capture.situations import (
    Arrays,
    Gradients,
    Scene,
    Situation,
    Told,
    apart,
    nonzero,
    off,
)
from gradcheck.capture.torch_function import TorchFunction

ABSENT = "no cotangent for one of several outputs"
MOST_SUBSETS = 4
"""Inputs of which every subset is tried; of more only the single ones and all but one."""


class OtherOutputsError(Exception):
    """Not the outputs that the cotangents are for need a gradient."""


@dataclass(frozen=True)
class Call:
    """A function that was called, and whose backward pass was not yet."""

    tensors: Mapping[str, Any]
    wanted: Sequence[str]
    outputs: Sequence[Any]
    cotangents: Sequence[Any]

    def gradients(self, cotangents: Any = None, outputs: Any = None) -> dict[str, Any]:
        """Call the backward pass; with the call's own cotangents if none are given."""
        import torch

        found = torch.autograd.grad(
            list(self.outputs if outputs is None else outputs),
            [self.tensors[name] for name in self.wanted],
            list(self.cotangents if cotangents is None else cotangents),
            allow_unused=True,
            retain_graph=True,
        )
        return dict(zip(self.wanted, found, strict=True))

    def arrays(self, cotangents: Any = None, outputs: Any = None) -> Gradients:
        """Call the backward pass; return the numbers, which nothing changes any more."""
        return arrays_of(self.gradients(cotangents, outputs))

    def copies(self) -> list[Any]:
        """Return the cotangents in memory of their own."""
        return [one.clone() for one in self.cotangents]


def call(
    subject: TorchFunction,
    arrays: Arrays,
    cotangents: Sequence[Any],
    wanted: Sequence[str] | None = None,
) -> Call:
    """Call a function; `wanted` names what needs a gradient.

    Raises
    ------
    OtherOutputsError
        If other outputs need a gradient than those that the cotangents are for.
    """
    import torch

    torch.manual_seed(0)  # of a generator that is put back; every call draws the same
    tensors = subject.tensors(arrays)
    names = list(tensors) if wanted is None else list(wanted)
    for name, tensor in tensors.items():
        tensor.requires_grad_(name in names)
    try:
        outputs = subject(tensors)
    except Exception:
        if wanted is None:
            raise
        raise OtherOutputsError from None  # it asks for gradients itself
    if [tuple(one.shape) for one in outputs] != [np.shape(one) for one in cotangents]:
        raise OtherOutputsError
    given = [
        torch.tensor(np.asarray(one)).to(output)
        for one, output in zip(cotangents, outputs, strict=True)
    ]
    return Call(tensors, names, outputs, given)


def arrays_of(gradients: Mapping[str, Any]) -> Gradients:
    """Return copies of the numbers."""
    return {name: None if one is None else array_of(one) for name, one in gradients.items()}


def array_of(tensor: Any) -> NDArray[np.float64]:
    """Return a copy of a tensor's numbers."""
    return np.array(tensor.detach().double().cpu().numpy())


def bits_of(tensor: Any) -> bytes:
    """Return what is in memory for a tensor's elements."""
    import torch

    if tensor.layout is not torch.strided or not tensor.numel():
        return b""
    plain = tensor.detach().cpu().resolve_conj().resolve_neg()
    return bytes(plain.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())


def _called(scene: Scene) -> Call:
    return call(scene.subject, scene.arrays, scene.cotangents)


# --- cotangents


def _laid(scene: Scene, lay: Callable[[Any], Any]) -> str:
    """Hand over cotangents that lie otherwise in memory."""
    plain = _called(scene)
    return scene.apart(plain.arrays([lay(one) for one in plain.cotangents]))


def _with_gaps(scene: Scene) -> str | None:
    """Hand over cotangents whose neighbours are not neighbours in memory."""

    def lay(one: Any) -> Any:
        wide = one.new_full((*one.shape, 2), float("nan"))
        wide[..., 0] = one
        return wide[..., 0]

    is_apt = any(one.ndim and one.size > 1 for one in scene.cotangents)
    return _laid(scene, lay) if is_apt else None


def _by_columns(scene: Scene) -> str | None:
    """Hand over cotangents that are stored by columns."""

    def lay(one: Any) -> Any:
        return one.transpose(0, -1).contiguous().transpose(0, -1) if one.ndim > 1 else one

    is_apt = any(one.ndim > 1 for one in scene.cotangents)
    return _laid(scene, lay) if is_apt else None


def _expanded(scene: Scene) -> str | None:
    """Hand over one number for all, as the backward pass of a sum does."""
    if not any(one.size > 1 for one in scene.cotangents):
        return None
    ones = [np.ones_like(one) for one in scene.cotangents]
    expected = call(scene.subject, scene.arrays, ones).arrays()
    plain = _called(scene)
    found = plain.arrays([one.new_ones(()).expand(one.shape) for one in plain.cotangents])
    return apart(found, expected, scene.bars_of(ones))


def _zero(scene: Scene) -> str:
    """Hand over zeros: every finite gradient becomes zero."""
    plain = _called(scene)
    return nonzero(scene, plain.arrays([one.new_zeros(one.shape) for one in plain.cotangents]))


def _absent(scene: Scene) -> str | None:
    """Leave out the cotangent of one of several outputs: that is as good as zeros."""
    count = len(scene.cotangents)
    if count < 2:
        return None
    for left in range(count):
        one = _called(scene)
        kept = [i for i in range(count) if i != left]
        found = one.arrays(
            [one.cotangents[i] for i in kept], outputs=[one.outputs[i] for i in kept]
        )
        other = _called(scene)
        zeros = [c if i != left else c.new_zeros(c.shape) for i, c in enumerate(other.cotangents)]
        whole = other.arrays(zeros)
        for name, gradient in found.items():
            a, b = (np.zeros(()) if each is None else each for each in (gradient, whole[name]))
            if off(a, b, scene.bars[name]).any():
                return f"without the cotangent of output {left} the gradient of {name} differs"
    return ""


# --- calls


def _subsets(scene: Scene) -> str | None:
    """Need the gradients of some inputs alone."""
    names = list(scene.expected)
    if len(names) < 2:
        return None
    sizes = range(1, len(names)) if len(names) <= MOST_SUBSETS else (1, len(names) - 1)
    for size in sizes:
        for some in combinations(names, size):
            try:
                part = call(scene.subject, scene.arrays, scene.cotangents, some)
            except OtherOutputsError:  # one depends on the other inputs alone
                continue
            problem = scene.apart(part.arrays())
            if problem:
                return f"where only {', '.join(some)} need a gradient, {problem}"
    return ""


def _twice(scene: Scene) -> str | Told:
    """Call everything again."""
    once, again = (_called(scene).gradients() for _ in range(2))
    problem = scene.apart(arrays_of(once)) or scene.apart(arrays_of(again))
    if problem:
        return (
            f"called twice, {problem}: it is random, or something is kept from one call to the next"
        )
    same = all(
        one is None or bits_of(one) == bits_of(again[name])
        for name, one in once.items()
    )  # fmt: skip
    return "" if same else Told("agree", "not the same bits, but within the bars")


def _backward_twice(scene: Scene) -> str:
    """Go through the same graph again: what was saved is as it was."""
    plain = _called(scene)
    plain.gradients(plain.copies())
    problem = scene.apart(plain.arrays())
    return f"a second time through the same graph, {problem}" if problem else ""


# --- memory


def _unchanged(scene: Scene) -> str:
    """See whether inputs, cotangents and saved tensors keep their bits."""
    from torch.autograd.graph import saved_tensors_hooks

    saved: list[Any] = []

    def pack(tensor: Any) -> Any:
        saved.append(tensor.detach())  # the same memory
        return saved[-1]

    fresh = scene.subject.tensors(scene.arrays)
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        plain = _called(scene)
    held = [(f"the input {name}", one, bits_of(fresh[name])) for name, one in plain.tensors.items()]
    held += [
        (f"the cotangent of output {i}", one, bits_of(one))
        for i, one in enumerate(plain.cotangents)
    ]
    held += [("a tensor saved for the backward pass", one, bits_of(one)) for one in saved]
    plain.gradients()
    for what, tensor, bits in held:
        if bits_of(tensor) != bits:
            return f"{what} was changed in place"
    return ""


def _alike(scene: Scene) -> str:
    """See whether gradients have the shape, dtype and device of their inputs."""
    plain = _called(scene)
    for name, gradient in plain.gradients().items():
        for what in ("shape", "dtype", "device") if gradient is not None else ():
            one, other = getattr(gradient, what), getattr(plain.tensors[name], what)
            if one != other:
                return f"the gradient of {name} has the {what} {one}, its input {other}"
    return ""


def _accumulated(scene: Scene) -> str:
    """Accumulate two gradients."""
    import torch

    plain = _called(scene)
    for _ in range(2):
        torch.autograd.backward(list(plain.outputs), plain.copies(), retain_graph=True)
    for name, tensor in plain.tensors.items():
        expected = scene.expected[name]
        if tensor.grad is None or expected is None:
            continue
        if off(array_of(tensor.grad), 2 * expected, 3 * scene.bars[name]).any():
            return f"accumulated twice, the gradient of {name} is not the double of itself"
    return ""


def _owned(scene: Scene) -> str:
    """Set gradients to zero in place, as optimizers do: nothing else lives in their memory."""
    import torch

    plain = _called(scene)
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


SITUATIONS: Mapping[str, Situation] = {
    "cotangents with gaps between their elements": _with_gaps,
    "cotangents stored by columns": _by_columns,
    "one cotangent expanded to all elements": _expanded,
    "cotangents of zero": _zero,
    ABSENT: _absent,
    "gradients of some inputs alone": _subsets,
    "called twice": _twice,
    "backward twice": _backward_twice,
    "inputs, cotangents and saved tensors left as they were": _unchanged,
    "gradients of the shape, dtype and device of their inputs": _alike,
    "gradients accumulate": _accumulated,
    "gradients in memory of their own": _owned,
}
