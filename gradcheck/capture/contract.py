"""What callers may expect of a gradient besides its value: the calling contract.

Every situation is compared with a plain call on the same inputs; the bars are those of the
reference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.capture import calls
from gradcheck.capture.situations import Arrays, BarsOf, Point, Scene, Situation, Told, nonzero
from gradcheck.capture.subject import Subject
from gradcheck.capture.transforms import forward_mode, mapped_jax, mapped_torch
from gradcheck.errors import guarded

ABSENT = calls.ABSENT
MAPPED = "under torch.func.vmap"
FORWARD_MODE = "in forward mode"


def examine(
    subject: Subject, arrays: Arrays, cotangents: Sequence[NDArray[Any]], bars_of: BarsOf
) -> tuple[Point, ...]:
    """Call a function's backward pass in every situation that its framework has.

    Parameters
    ----------
    arrays, cotangents
        Of one sample, in the format under judgement.
    """
    try:
        plain = subject.run(arrays, cotangents).gradients
        expected = {
            name: None if one is None else one.astype(np.float64) for name, one in plain.items()
        }
        scene = Scene(subject, arrays, cotangents, expected, bars_of)
        _ = scene.bars
    except Exception:  # the adapter has said what it raises
        return ()
    points = (_point(name, run, scene) for name, run in SITUATIONS[subject.framework].items())
    return tuple(point for point in points if point is not None)


def _point(situation: str, run: Situation, scene: Scene) -> Point | None:
    try:
        with guarded(), _apart_from_the_caller(scene):
            found = run(scene)
    except Exception as error:
        text = next(iter(str(error).splitlines()), "")
        return Point(situation, "error", f"{type(error).__name__}: {text}")
    if isinstance(found, Told):
        return Point(situation, *found)
    return None if found is None else Point(situation, "disagree" if found else "agree", found)


def _apart_from_the_caller(scene: Scene) -> AbstractContextManager[Any]:
    """Leave the caller's generator of random numbers alone, and whether gradients are recorded."""
    if scene.subject.framework != "torch":
        return nullcontext()
    import torch

    from gradcheck.capture.torch_function import seeded

    stack = ExitStack()
    stack.enter_context(seeded())
    stack.enter_context(torch.enable_grad())
    return stack


def _twice(scene: Scene) -> str | Told:
    """Call a function of JAX again."""
    again = scene.subject.run(scene.arrays, scene.cotangents).gradients
    found = {name: one.astype(np.float64) for name, one in again.items()}
    problem = scene.apart(found)
    if problem:
        return f"called twice, {problem}: something is kept from one call to the next"
    same = all(one.tobytes() == _bytes(scene.expected[name]) for name, one in found.items())
    return "" if same else Told("agree", "not the same bits, but within the bars")


def _bytes(gradient: NDArray[np.float64] | None) -> bytes:
    return b"" if gradient is None else gradient.tobytes()


def _zero(scene: Scene) -> str:
    """Hand zeros to a function of JAX: every finite gradient becomes zero."""
    zeros = [np.zeros_like(one) for one in scene.cotangents]
    return nonzero(scene, scene.subject.run(scene.arrays, zeros).gradients)


SITUATIONS: Mapping[str, Mapping[str, Situation]] = {
    "torch": {
        **calls.SITUATIONS,
        MAPPED: mapped_torch,
        FORWARD_MODE: forward_mode,
    },
    "jax": {
        "cotangents of zero": _zero,
        "called twice": _twice,
        "under jax.vmap": mapped_jax,
    },
}
