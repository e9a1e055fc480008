"""Cotangents that lie in memory as callers may lay them, are zero, absent, or many at once.

PyTorch's own gradient checker feeds none that are strided.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from gradcheck.capture.calls import Call, array_of, call, called
from gradcheck.capture.situations import (
    NOT_DEFINED,
    Gradients,
    Scene,
    Told,
    apart,
    first_line,
    nonzero,
)

TWICE_BACK = -2.0
"""What the second row of a batch is multiplied with; that is exact."""


def _laid(scene: Scene, lay: Callable[[Any], Any]) -> str:
    """Hand over cotangents that lie otherwise in memory."""
    plain = called(scene)
    return scene.apart(plain.arrays([lay(one) for one in plain.cotangents]))


def with_gaps(scene: Scene) -> str | None:
    """Hand over cotangents whose neighbours are not neighbours in memory."""

    def lay(one: Any) -> Any:
        wide = one.new_full((*one.shape, 2), float("nan"))
        wide[..., 0] = one
        return wide[..., 0]

    is_apt = any(one.ndim and one.size > 1 for one in scene.cotangents)
    return _laid(scene, lay) if is_apt else None


def by_columns(scene: Scene) -> str | None:
    """Hand over cotangents that are stored by columns."""

    def lay(one: Any) -> Any:
        return one.transpose(0, -1).contiguous().transpose(0, -1) if one.ndim > 1 else one

    is_apt = any(one.ndim > 1 for one in scene.cotangents)
    return _laid(scene, lay) if is_apt else None


def expanded(scene: Scene) -> str | None:
    """Hand over one number for all, as the backward pass of a sum does."""
    if not any(one.size > 1 for one in scene.cotangents):
        return None
    ones = [np.ones_like(one) for one in scene.cotangents]
    expected = call(scene.subject, scene.arrays, ones).arrays()
    plain = called(scene)
    found = plain.arrays([one.new_ones(()).expand(one.shape) for one in plain.cotangents])
    return apart(found, expected, lambda: scene.bars_of(ones).gradients)


def zero(scene: Scene) -> str:
    """Hand over zeros: every finite gradient becomes zero."""
    plain = called(scene)
    return nonzero(scene, plain.arrays([one.new_zeros(one.shape) for one in plain.cotangents]))


def absent(scene: Scene) -> str | None:
    """Leave out the cotangent of one of several outputs: that is as good as zeros."""
    count = len(scene.cotangents)
    if count < 2:
        return None
    for left in range(count):
        one = called(scene)
        kept = [i for i in range(count) if i != left]
        found = one.arrays(
            [one.cotangents[i] for i in kept], outputs=[one.outputs[i] for i in kept]
        )
        other = called(scene)
        zeros = [c if i != left else c.new_zeros(c.shape) for i, c in enumerate(other.cotangents)]
        given = [c if i != left else np.zeros_like(c) for i, c in enumerate(scene.cotangents)]
        problem = apart(
            _filled(found, scene),
            _filled(other.arrays(zeros), scene),
            lambda: scene.bars_of(given).gradients,  # noqa: B023
        )
        if problem:
            return f"without the cotangent of output {left} {problem}"
    return ""


def _filled(gradients: Gradients, scene: Scene) -> Gradients:
    """Put zeros for a gradient that is `None`."""
    return {
        name: np.zeros(scene.arrays[name].shape) if one is None else one
        for name, one in gradients.items()
    }


def batched(scene: Scene) -> str | Told:
    """Hand over two cotangents for each output at once.

    First as `is_grads_batched` does, which goes row by row where an operation has no rule for a
    batch; then with `torch.func.vmap`, which asks for the rule.
    """
    import torch

    mapped: Any = torch.func.vmap
    ways: tuple[Callable[[Call, list[Any]], Any], ...] = (
        lambda plain, batch: _back(plain, batch, is_grads_batched=True),
        lambda plain, batch: mapped(lambda one: _back(plain, one), randomness="same")(batch),
    )
    refused: list[BaseException] = []
    for way in ways:
        plain = called(scene)
        batch = [torch.stack([one, TWICE_BACK * one]) for one in plain.cotangents]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it is slow
                found = way(plain, batch)
        except (NotImplementedError, RuntimeError) as error:
            refused.append(error)
            continue
        for row, factor in enumerate((1.0, TWICE_BACK)):
            rows = dict.fromkeys(plain.wanted) | {
                name: array_of(one[row]) / factor for name, one in found.items()
            }
            problem = scene.apart(rows)
            if problem:
                return f"of row {row} of a batch of cotangents, {problem}"
    return Told(NOT_DEFINED, first_line(refused[0])) if len(refused) == len(ways) else ""


def _back(plain: Call, cotangents: list[Any], **more: Any) -> dict[str, Any]:
    """Return the gradients that there are."""
    import torch

    wanted = [plain.tensors[name] for name in plain.wanted]
    found = torch.autograd.grad(
        list(plain.outputs), wanted, cotangents, retain_graph=True, allow_unused=True, **more
    )
    return {name: one for name, one in zip(plain.wanted, found, strict=True) if one is not None}
