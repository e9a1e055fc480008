"""What callers may expect of a gradient besides its value: the calling contract of PyTorch.

The situations are those of PyTorch's own gradient checker, and others that were reported: strided
cotangents before all, which it never feeds. Every one is compared with a plain call on the same
inputs; the bars are those of the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradcheck.capture.torch_function import TorchFunction, seeded
from gradcheck.errors import guarded

Arrays = Mapping[str, NDArray[Any]]
MOST_SUBSETS = 4
"""Inputs of which every subset is tried; of more only the single ones and all but one."""


class Point(NamedTuple):
    """One situation: what became of it, `agree`, `disagree` or `error`, and why."""

    situation: str
    verdict: str
    message: str = ""


class _OtherOutputsError(Exception):
    """Not the outputs that the cotangents are for need a gradient."""


class Plain(NamedTuple):
    """A plain call, to compare with."""

    tensors: Mapping[str, Any]
    outputs: Sequence[Any]
    cotangents: Sequence[Any]
    gradients: Mapping[str, Any]
    of_ones: Arrays = MappingProxyType({})
    """Bars where all cotangents are one."""


def examine(
    subject: TorchFunction,
    arrays: Arrays,
    cotangents: Sequence[NDArray[Any]],
    bars_of: Callable[[Sequence[NDArray[Any]]], Arrays],
) -> tuple[Point, ...]:
    """Call a function's backward pass in every situation.

    Parameters
    ----------
    arrays, cotangents
        Of one sample, in the format under judgement.
    bars_of
        From cotangents to how far two honest evaluations of each gradient may be apart, by name.
    """
    bars = bars_of(cotangents)
    try:
        plain = _called(subject, arrays, cotangents)
        plain = plain._replace(of_ones=bars_of([np.ones_like(one) for one in cotangents]))
    except Exception:  # the adapter has said what it raises
        return ()
    points = []
    for situation, run in SITUATIONS.items():
        try:
            with guarded():
                problem = run(subject, arrays, plain, bars)
        except Exception as error:
            text = next(iter(str(error).splitlines()), "")
            points.append(Point(situation, "error", f"{type(error).__name__}: {text}"))
        else:
            if problem is not None:
                points.append(Point(situation, "disagree" if problem else "agree", problem))
    return tuple(points)


Situation = Callable[[TorchFunction, Arrays, Plain, Arrays], str | None]
"""Says what is wrong; empty if nothing is, and `None` if it does not apply."""


def _called(
    subject: TorchFunction, arrays: Arrays, cotangents: Sequence[Any], wanted: Any = None
) -> Plain:
    """Call the function and its backward pass; `wanted` names what needs a gradient."""
    import torch

    with seeded(), torch.enable_grad():
        tensors = subject.tensors(arrays)
        names = list(tensors if wanted is None else wanted)
        for name in tensors:
            tensors[name].requires_grad_(name in names)
        try:
            outputs = subject(tensors)
        except Exception:
            if wanted is None:
                raise
            raise _OtherOutputsError from None  # it asks for gradients itself
        if [tuple(one.shape) for one in outputs] != [tuple(one.shape) for one in cotangents]:
            raise _OtherOutputsError
        given = [
            torch.as_tensor(np.asarray(c)).to(o) for c, o in zip(cotangents, outputs, strict=False)
        ]
        found = _differentiated(outputs, [tensors[name] for name in names], given)
    return Plain(tensors, outputs, given, dict(zip(names, found, strict=True)))


def _differentiated(outputs: Sequence[Any], inputs: Sequence[Any], given: Sequence[Any]) -> Any:
    import torch

    return torch.autograd.grad(
        list(outputs), list(inputs), list(given), allow_unused=True, retain_graph=True
    )


def _apart(found: Mapping[str, Any], plain: Plain, bars: Arrays) -> str:
    """Say which gradient is not within its bar of the plain call's."""
    for name, gradient in found.items():
        other = plain.gradients[name]
        if gradient is None or other is None:
            if (gradient is None) != (other is None):
                return f"the gradient of {name} is None in one call and not in the other"
            continue
        with np.errstate(invalid="ignore"):
            distance = np.abs(_array(gradient) - _array(other))
        if (distance > bars[name]).any():
            return f"the gradient of {name} differs by {np.nanmax(distance):.3g}"
    return ""


def _array(tensor: Any) -> NDArray[np.float64]:
    return np.asarray(tensor.detach().double().cpu())


def _with(plain: Plain, cotangents: Sequence[Any], bars: Arrays) -> str:
    names = list(plain.gradients)
    inputs = [plain.tensors[name] for name in names]
    found = _differentiated(plain.outputs, inputs, cotangents)
    return _apart(dict(zip(names, found, strict=True)), plain, bars)


def _non_contiguous(subject: Any, arrays: Arrays, plain: Plain, bars: Arrays) -> str | None:
    """Hand over cotangents whose neighbours are not neighbours in memory."""
    if not any(one.ndim and one.numel() > 1 for one in plain.cotangents):
        return None
    strided = []
    for one in plain.cotangents:
        wide = one.new_full((*one.shape, 2), float("nan"))
        wide[..., 0] = one
        strided.append(wide[..., 0])
    return _with(plain, strided, bars)


def _transposed(subject: Any, arrays: Arrays, plain: Plain, bars: Arrays) -> str | None:
    """Hand over cotangents that are stored by columns."""
    if not any(one.ndim > 1 for one in plain.cotangents):
        return None
    turned = [
        one.transpose(0, -1).contiguous().transpose(0, -1) if one.ndim > 1 else one
        for one in plain.cotangents
    ]
    return _with(plain, turned, bars)


def _expanded(subject: TorchFunction, arrays: Arrays, plain: Plain, bars: Arrays) -> str | None:
    """Hand over one number for all, as the backward pass of a sum does."""
    if not any(one.numel() > 1 for one in plain.cotangents):
        return None
    ones = [one.new_ones(()).expand(one.shape) for one in plain.cotangents]
    full = _called(subject, arrays, [np.ones(tuple(one.shape)) for one in ones])
    return _with(full, ones, plain.of_ones)


def _zero(subject: Any, arrays: Arrays, plain: Plain, bars: Arrays) -> str | None:
    """Hand over zeros: every gradient is zero."""
    zeros = [one.new_zeros(one.shape) for one in plain.cotangents]
    names = list(plain.gradients)
    found = _differentiated(plain.outputs, [plain.tensors[name] for name in names], zeros)
    for name, gradient in zip(names, found, strict=True):
        if gradient is not None and (_array(gradient) != 0).any():
            return f"the gradient of {name} is not zero"
    return ""


def _absent(subject: TorchFunction, arrays: Arrays, plain: Plain, bars: Arrays) -> str | None:
    """Leave out the cotangent of one of several outputs: that is as good as zeros."""
    if len(plain.outputs) < 2:
        return None
    names = list(plain.gradients)
    inputs = [plain.tensors[name] for name in names]
    for left in range(len(plain.outputs)):
        kept = [i for i in range(len(plain.outputs)) if i != left]
        found = _differentiated(
            [plain.outputs[i] for i in kept], inputs, [plain.cotangents[i] for i in kept]
        )
        zeros = [
            one if i != left else one.new_zeros(one.shape) for i, one in enumerate(plain.cotangents)
        ]
        whole = _differentiated(plain.outputs, inputs, zeros)
        for name, one, other in zip(names, found, whole, strict=True):
            a = 0.0 if one is None else _array(one)
            b = 0.0 if other is None else _array(other)
            if (np.abs(np.subtract(a, b)) > bars[name]).any():
                return f"without the cotangent of output {left} the gradient of {name} differs"
    return ""


def _subsets(subject: TorchFunction, arrays: Arrays, plain: Plain, bars: Arrays) -> str | None:
    """Need the gradients of some inputs alone."""
    names = list(plain.gradients)
    if len(names) < 2:
        return None
    sizes = range(1, len(names)) if len(names) <= MOST_SUBSETS else (1, len(names) - 1)
    for size in sizes:
        for some in combinations(names, size):
            try:
                part = _called(subject, arrays, plain.cotangents, some)
            except _OtherOutputsError:  # one depends on the other inputs alone
                continue
            problem = _apart(part.gradients, plain, bars)
            if problem:
                return f"where only {', '.join(some)} need a gradient, {problem}"
    return ""


def _twice(subject: TorchFunction, arrays: Arrays, plain: Plain, bars: Arrays) -> str | None:
    """Call everything again."""
    again = _called(subject, arrays, plain.cotangents)
    problem = _apart(again.gradients, plain, bars)
    return f"called twice, {problem}" if problem else ""


def _backward_twice(subject: Any, arrays: Arrays, plain: Plain, bars: Arrays) -> str | None:
    """Go through the same graph again: what was saved is as it was."""
    problem = _with(plain, plain.cotangents, bars)
    return f"a second time through the same graph, {problem}" if problem else ""


def _unchanged(subject: TorchFunction, arrays: Arrays, plain: Plain, bars: Arrays) -> str | None:
    """See whether inputs and cotangents are as they were."""
    for name, tensor in plain.tensors.items():
        if not np.array_equal(_array(tensor), np.asarray(arrays[name], float), equal_nan=True):
            return f"the input {name} was changed in place"
    given = [one.clone() for one in plain.cotangents]
    _differentiated(plain.outputs, [plain.tensors[name] for name in plain.gradients], given)
    for i, (one, other) in enumerate(zip(given, plain.cotangents, strict=True)):
        if not np.array_equal(_array(one), _array(other), equal_nan=True):
            return f"the cotangent of output {i} was changed in place"
    return ""


def _alike(subject: TorchFunction, arrays: Arrays, plain: Plain, bars: Arrays) -> str | None:
    """See whether gradients have the shape, dtype and device of their inputs."""
    for name, gradient in plain.gradients.items():
        tensor = plain.tensors[name]
        if gradient is None:
            continue
        for what in ("shape", "dtype", "device"):
            one, other = getattr(gradient, what), getattr(tensor, what)
            if one != other:
                return f"the gradient of {name} has the {what} {one}, its input {other}"
    return ""


def _accumulated(subject: TorchFunction, arrays: Arrays, plain: Plain, bars: Arrays) -> str | None:
    """Accumulate two gradients, of which neither may live in the memory of a cotangent."""
    import torch

    with seeded(), torch.enable_grad():
        tensors = subject.tensors(arrays)
        outputs = subject(tensors)
        for _ in range(2):
            torch.autograd.backward(
                list(outputs), [one.clone() for one in plain.cotangents], retain_graph=True
            )
    for name, tensor in tensors.items():
        if tensor.grad is None or plain.gradients[name] is None:
            continue
        distance = np.abs(_array(tensor.grad) - 2 * _array(plain.gradients[name]))
        if (distance > 3 * bars[name]).any():
            return f"accumulated twice, the gradient of {name} is not the double of itself"
    return ""


SITUATIONS: Mapping[str, Situation] = {
    "cotangents with gaps between their elements": _non_contiguous,
    "cotangents stored by columns": _transposed,
    "one cotangent expanded to all elements": _expanded,
    "cotangents of zero": _zero,
    "no cotangent for one of several outputs": _absent,
    "gradients of some inputs alone": _subsets,
    "called twice": _twice,
    "backward twice": _backward_twice,
    "inputs and cotangents left as they were": _unchanged,
    "gradients of the shape, dtype and device of their inputs": _alike,
    "gradients accumulate": _accumulated,
}
