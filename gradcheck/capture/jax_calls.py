"""Calls of a function of JAX, each in a situation that callers may bring about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gradcheck.capture.cotangents import TWICE_BACK
from gradcheck.capture.jax_constants import Traced
from gradcheck.capture.jax_recorder import Recorder, precision
from gradcheck.capture.program import begin, needed, proceed
from gradcheck.capture.situations import (
    NOT_DEFINED,
    Arrays,
    Run,
    Scene,
    Told,
    apart,
    first_line,
    nonzero,
    subsets,
    wide,
)
from gradcheck.capture.subject import Ran

T = TypeVar("T")


def undefined() -> tuple[type[Exception], ...]:
    """Return what JAX raises where a function is not made for a transform."""
    from jax import errors

    return (
        NotImplementedError,
        errors.ConcretizationTypeError,
        errors.TracerArrayConversionError,
        errors.TracerIntegerConversionError,
        errors.NonConcreteBooleanIndexError,
    )


def cleared(check: Callable[[Run], T]) -> T | str:
    """Check what NumPy computes, which is quick and may clear a function; else what JAX does."""
    with suppress(Exception):  # what then happens in JAX itself is what counts
        if not check(run_in_numpy):
            return ""
    return check(run_in_jax)


def run_in_jax(function: Any, arrays: Arrays, cotangents: Sequence[NDArray[Any]]) -> Ran:
    """Differentiate a function from named arrays to a list of arrays."""
    import jax
    from jax import numpy

    with precision(arrays):
        given = {name: numpy.asarray(array) for name, array in arrays.items()}
        outputs, pull = jax.vjp(function, given)
        (found,) = pull(_like(cotangents, outputs))
    return Ran(
        tuple(np.asarray(one) for one in outputs),
        {name: np.asarray(found[name]) for name in arrays},
    )


def run_in_numpy(function: Any, arrays: Arrays, cotangents: Sequence[NDArray[Any]]) -> Ran:
    """Differentiate a function as it is recorded; nothing is compiled."""
    import jax

    def both(given: Any) -> list[Any]:
        outputs, pull = jax.vjp(function, given)
        (found,) = pull(_like(cotangents, outputs))
        return [*outputs, *(found[name] for name in arrays)]

    results = followed(both, arrays)
    count = len(cotangents)
    return Ran(tuple(results[:count]), dict(zip(arrays, results[count:], strict=True)))


def _like(cotangents: Sequence[NDArray[Any]], outputs: Sequence[Any]) -> list[Any]:
    from jax import numpy

    pairs = zip(cotangents, outputs, strict=True)
    return [numpy.asarray(one, dtype=output.dtype) for one, output in pairs]


def followed(function: Callable[[Any], list[Any]], arrays: Arrays) -> list[NDArray[Any]]:
    """Record a function of named arrays and do what it does in NumPy, so that none is compiled.

    Raises
    ------
    Exception
        Of many kinds, if it cannot be recorded, or NumPy cannot do it.
    """
    import jax

    with precision(arrays), np.errstate(all="ignore"):
        closed = jax.make_jaxpr(function)(dict(arrays))
        recorder = Recorder(arrays)
        leaves = [Traced(recorder.program.leaves[name]) for name in sorted(arrays)]
        steps, numbers = recorder.finished(recorder.run(closed, leaves))
        values = begin(recorder.program, arrays)
        proceed(steps, values)
    return [np.asarray(needed(values, number)) for number in numbers]


def zero(scene: Scene) -> str:
    """Hand over zeros: every finite gradient becomes zero."""
    zeros = [np.zeros_like(one) for one in scene.cotangents]
    return cleared(lambda ran: nonzero(scene, ran(scene.subject, scene.arrays, zeros).gradients))


def absent(scene: Scene) -> str | None:
    """Use all outputs but one: that is as good as a cotangent of zeros."""
    count = len(scene.cotangents)

    def check(left: int, ran: Run) -> str:
        given = [c if i != left else np.zeros_like(c) for i, c in enumerate(scene.cotangents)]
        kept = [i for i in range(count) if i != left]

        def others(some: Any) -> list[Any]:
            results = scene.subject(some)
            return [results[i] for i in kept]

        problem = apart(
            wide(ran(others, scene.arrays, [scene.cotangents[i] for i in kept]).gradients),
            wide(ran(scene.subject, scene.arrays, given).gradients),
            lambda: scene.bars_of(given).gradients,
        )
        return f"without output {left} {problem}" if problem else ""

    if count < 2:
        return None
    problems = (cleared(partial(check, left)) for left in range(count))
    return next(filter(None, problems), "")


def batched(scene: Scene) -> str | Told:
    """Map the reverse pass over two cotangents for each output, as `jax.jacrev` does."""
    import jax

    batch = [np.stack([one, TWICE_BACK * one]) for one in scene.cotangents]

    def mapped(given: Any) -> list[Any]:
        outputs, pull = jax.vjp(scene.subject, given)
        (found,) = jax.vmap(pull)(_like(batch, outputs))
        return [found[name] for name in scene.arrays]

    def problem(found: Sequence[Any]) -> str:
        for row, factor in enumerate((1.0, TWICE_BACK)):
            rows = {
                name: np.asarray(one[row]).astype(np.float64) / factor
                for name, one in zip(scene.arrays, found, strict=True)
            }
            apart = scene.apart(rows)
            if apart:
                return f"of row {row} of a batch of cotangents, {apart}"
        return ""

    with suppress(Exception):  # what then happens in JAX itself is what counts
        if not problem(followed(mapped, scene.arrays)):
            return ""
    try:
        with precision(scene.arrays):
            given = {name: jax.numpy.asarray(array) for name, array in scene.arrays.items()}
            return problem(mapped(given))
    except undefined() as error:
        return Told(NOT_DEFINED, first_line(error))


def subsets_alone(scene: Scene) -> str | None:
    """Differentiate by some inputs alone."""
    names = list(scene.expected)

    def check(some: Sequence[str], ran: Run) -> str:
        others = {name: array for name, array in scene.arrays.items() if name not in some}

        def of_some(given: Any) -> Any:
            from jax import numpy

            fixed = {name: numpy.asarray(array) for name, array in others.items()}
            return scene.subject({**fixed, **given})

        arrays = {name: scene.arrays[name] for name in some}
        problem = scene.apart(wide(ran(of_some, arrays, scene.cotangents).gradients))
        return f"where only {', '.join(some)} need a gradient, {problem}" if problem else ""

    if len(names) < 2:
        return None
    problems = (cleared(partial(check, some)) for some in subsets(names))
    return next(filter(None, problems), "")


def twice(scene: Scene) -> str | Told:
    """Call everything again."""
    again = scene.subject.run(scene.arrays, scene.cotangents)
    problem = scene.differs(again)
    if problem:
        return f"called twice, {problem}: something is kept from one call to the next"
    return _bits_differ(scene, again)


def compiled(scene: Scene) -> str | Told:
    """Compile the function, forward and backward."""
    import jax
    from jax import numpy

    def both(given: Any, cotangents: Any) -> Any:
        outputs, pull = jax.vjp(scene.subject, given)
        return outputs, pull(cotangents)[0]

    with precision(scene.arrays):
        given = {name: numpy.asarray(array) for name, array in scene.arrays.items()}
        cotangents = [
            numpy.asarray(one, dtype=output.dtype)
            for one, output in zip(scene.cotangents, scene.plain.outputs, strict=True)
        ]
        try:
            outputs, gradients = jax.jit(both)(given, cotangents)
        except undefined() as error:
            return Told(NOT_DEFINED, first_line(error))
    found = Ran(
        tuple(np.asarray(one) for one in outputs),
        {name: np.asarray(one) for name, one in gradients.items()},
    )
    return scene.differs(found)  # their last bits are seldom the same


def _bits_differ(scene: Scene, other: Ran) -> Told | str:
    found, expected = ([*ran.outputs, *ran.gradients.values()] for ran in (other, scene.plain))
    same = all(
        one is None or its is None or one.tobytes() == its.tobytes()
        for one, its in zip(found, expected, strict=True)
    )
    return "" if same else Told("agree", "not the same bits, but within the bars")


def alike(scene: Scene) -> str:
    """See whether gradients have the shape and dtype of their inputs."""
    for name, gradient in scene.plain.gradients.items():
        given = scene.arrays[name]
        if gradient is not None and (gradient.shape, gradient.dtype) != (given.shape, given.dtype):
            return (
                f"the gradient of {name} is {gradient.dtype}{gradient.shape}, "
                f"its input {given.dtype}{given.shape}"
            )
    return ""
