"""What callers may expect of a gradient besides its value: the calling contract.

Every situation is compared with a plain call on the same inputs; the bars are those of the
reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.capture import calls, cotangents, forward_mode, jax_calls, mapped, memory
from gradcheck.capture.situations import (
    NOT_DEFINED,
    SLACK,
    Arrays,
    BarsOf,
    Point,
    Scene,
    Situation,
    Told,
    first_line,
    outputs_apart,
)
from gradcheck.capture.subject import Subject
from gradcheck.errors import guarded
from gradcheck.numbers.rounding import finfo

ABSENT = "no cotangent for one of several outputs"
BATCHED = "a batch of cotangents at once"
MAPPED = "under torch.func.vmap"
FORWARD_MODE = "in forward mode"


def examine(
    subject: Subject, arrays: Arrays, given: Sequence[NDArray[Any]], bars_of: BarsOf
) -> tuple[Point, ...]:
    """Call a function's backward pass in every situation that its framework has.

    Parameters
    ----------
    arrays, given
        Inputs and cotangents of one sample, in the format under judgement.
    """
    try:
        scene = Scene(subject, arrays, given, subject.run(arrays, given), bars_of)
    except Exception:  # the adapter has said what it raises
        return ()
    try:
        _ = scene.bars
    except Exception as error:
        return (Point("a plain call, with bars", NOT_DEFINED, first_line(error)),)
    points = (_point(name, run, scene) for name, run in SITUATIONS[subject.framework].items())
    return tuple(point for point in points if point is not None)


def compare_outputs(
    definition: Subject,
    parties: Mapping[str, Subject],
    arrays: Arrays,
    cotangents: Sequence[NDArray[Any]],
    bars_of: BarsOf,
) -> Iterator[Point]:
    """See whether functions return what their definition does.

    Two formulas may round differently: they are given far wider bars than two calls of one.
    """
    for name, party in parties.items():
        if party is definition:
            continue
        situation = f"outputs of {name} are those of the definition"
        try:
            found, expected = party.outputs(arrays), definition.outputs(arrays)
            unit = max(float(finfo(one.dtype).eps) for one in (*found, *expected))
            pairs = zip(bars_of(cotangents).outputs, expected, strict=True)
            wide = [SLACK * (bar + unit * np.abs(one)) for bar, one in pairs]
            problem = outputs_apart(found, expected, lambda wide=wide: wide)  # type: ignore[misc]
        except Exception as error:
            yield Point(situation, "error", first_line(error))
        else:
            yield Point(situation, "disagree" if problem else "agree", problem)


def _point(situation: str, run: Situation, scene: Scene) -> Point | None:
    try:
        with guarded(), _apart_from_the_caller(scene):
            found = run(scene)
    except Exception as error:
        return Point(situation, "error", f"{type(error).__name__}: {first_line(error)}")
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


SITUATIONS: Mapping[str, Mapping[str, Situation]] = {
    "torch": {
        "cotangents with gaps between their elements": cotangents.with_gaps,
        "cotangents stored by columns": cotangents.by_columns,
        "one cotangent expanded to all elements": cotangents.expanded,
        "cotangents of zero": cotangents.zero,
        ABSENT: cotangents.absent,
        BATCHED: cotangents.batched,
        "gradients of some inputs alone": calls.subsets_alone,
        "called twice": calls.twice,
        "backward twice": calls.backward_twice,
        "inputs, cotangents and saved tensors left as they were": memory.unchanged,
        "gradients of the shape, dtype and device of their inputs": calls.alike,
        "gradients accumulate": memory.accumulated,
        "gradients in memory of their own": memory.owned,
        MAPPED: mapped.mapped_torch,
        FORWARD_MODE: forward_mode.forward_torch,
    },
    "jax": {
        "cotangents of zero": jax_calls.zero,
        ABSENT: jax_calls.absent,
        "cotangents mapped with jax.vmap": jax_calls.batched,
        "gradients of some inputs alone": jax_calls.subsets_alone,
        "called twice": jax_calls.twice,
        "compiled with jax.jit": jax_calls.compiled,
        "gradients of the shape and dtype of their inputs": jax_calls.alike,
        "under jax.vmap": mapped.mapped_jax,
        FORWARD_MODE: forward_mode.forward_jax,
    },
}
"""By framework, in the order in which they are told."""
