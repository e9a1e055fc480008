"""Calls of a PyTorch function, each in a situation that callers may bring about.

The situations are those of PyTorch's own gradient checker, and others that were reported. Every one
has a graph of its own, so that what one spoils is not told of another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.adapters.torch import tensor_from
from gradcheck.capture.situations import Arrays, Gradients, Scene, Told, outputs_apart, subsets
from gradcheck.capture.torch_function import TorchFunction


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
        tensor_from(np.asarray(one)).to(output)
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


def called(scene: Scene) -> Call:
    """Call the function as plainly as can be."""
    return call(scene.subject, scene.arrays, scene.cotangents)


def subsets_alone(scene: Scene) -> str | None:
    """Need the gradients of some inputs alone."""
    names = list(scene.expected)
    for some in subsets(names):
        try:
            part = call(scene.subject, scene.arrays, scene.cotangents, some)
        except OtherOutputsError:  # one depends on the other inputs alone
            continue
        problem = scene.apart(part.arrays())
        if problem:
            return f"where only {', '.join(some)} need a gradient, {problem}"
    return "" if len(names) > 1 else None


def twice(scene: Scene) -> str | Told:
    """Call everything again."""
    one, other = (called(scene) for _ in range(2))
    outputs = [[array_of(each) for each in both.outputs] for both in (one, other)]
    found = [both.gradients() for both in (one, other)]
    for some, gradients in zip(outputs, found, strict=True):
        problem = outputs_apart(
            some, scene.plain.outputs, lambda: scene.bars.outputs
        ) or scene.apart(arrays_of(gradients))
        if problem:
            return (
                f"called twice, {problem}: it is random, or something is kept from one call to "
                "the next"
            )
    once, again = found
    pairs = [*zip(one.outputs, other.outputs, strict=True)]
    pairs += [(first, again[name]) for name, first in once.items() if first is not None]
    same = all(bits_of(first) == bits_of(second) for first, second in pairs)
    return "" if same else Told("agree", "not the same bits, but within the bars")


def backward_twice(scene: Scene) -> str:
    """Go through the same graph again: what was saved is as it was."""
    plain = called(scene)
    plain.gradients(plain.copies())
    problem = scene.apart(plain.arrays())
    return f"a second time through the same graph, {problem}" if problem else ""


def alike(scene: Scene) -> str | Told:
    """See whether gradients have the shape, dtype and device of their inputs.

    PyTorch makes fit what a backward pass of one's own returns. It is a fault if digits are lost;
    otherwise it is but told.
    """
    import torch

    plain = called(scene)
    with returned(plain.outputs) as notes:
        gradients = plain.gradients()
    for name, gradient in gradients.items():
        for what in ("shape", "dtype", "device") if gradient is not None else ():
            one, other = getattr(gradient, what), getattr(plain.tensors[name], what)
            if one != other:
                return f"the gradient of {name} has the {what} {one}, its input {other}"
    changed = ""
    for node, place, gradient in notes:
        if not isinstance(gradient, torch.Tensor):  # of more there may be than inputs: all None
            continue
        following, number = node.next_functions[place]
        if following is None:
            continue
        wanted = following._input_metadata[number]
        told = f"{node.name()} returns for its input {place} a gradient of the"
        if gradient.dtype != wanted.dtype:
            changed = f"{told} dtype {gradient.dtype}, which PyTorch makes {wanted.dtype}"
            if digits(gradient.dtype) > digits(wanted.dtype):
                return f"{changed}: digits are lost"
        elif tuple(gradient.shape) != tuple(wanted.shape):
            changed = (
                f"{told} shape {tuple(gradient.shape)}, which PyTorch sums to that of the input"
            )
    return Told("agree", changed) if changed else ""


def digits(dtype: Any) -> float:
    """Return the distance from one to the next number; more is coarser."""
    import torch

    return float(torch.finfo(dtype).eps) if dtype.is_floating_point else np.inf


def own_nodes(outputs: Sequence[Any]) -> list[Any]:
    """Return the nodes of a graph whose backward pass is written in Python."""
    import torch

    seen: set[Any] = set()
    waiting = [one.grad_fn for one in outputs]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        waiting += [following for following, _ in node.next_functions]
    return [one for one in seen if isinstance(one, torch.autograd.function.BackwardCFunction)]


@contextmanager
def returned(outputs: Sequence[Any]) -> Iterator[list[tuple[Any, int, Any]]]:
    """Note what backward passes written in Python return, before PyTorch makes it fit."""
    from torch.autograd import Function

    notes: list[tuple[Any, int, Any]] = []

    def noting(original: Any) -> Any:
        def backward(ctx: Any, *given: Any) -> Any:
            results = original(ctx, *given)
            several = results if isinstance(results, tuple) else (results,)
            notes.extend((ctx, place, one) for place, one in enumerate(several))
            return results

        return staticmethod(backward)

    changed: list[tuple[type, str, Any]] = []
    try:
        for kind in {node._forward_cls for node in own_nodes(outputs)}:
            name = "backward" if kind.vjp is Function.vjp else "vjp"
            changed.append((kind, name, vars(kind).get(name)))
            setattr(kind, name, noting(getattr(kind, name)))
        yield notes
    finally:
        for kind, name, before in changed:
            if before is None:
                delattr(kind, name)
            else:
                setattr(kind, name, before)
