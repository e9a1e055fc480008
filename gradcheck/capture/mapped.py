"""A function mapped over a batch of two samples.

That is a function again, with bars of its own, which are asked for where those of the plain call
are too narrow: what is computed in another way is rounded in another way.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np

from gradcheck.adapters.torch import tensor_from
from gradcheck.capture.situations import (
    MOST_SUBSETS,
    NOT_DEFINED,
    SLACK,
    Arrays,
    Bars,
    Run,
    Scene,
    Told,
    apart,
    first_line,
    outputs_apart,
    run,
    wide,
    within_slack,
)
from gradcheck.capture.subject import Ran, Subject

NUDGE = 2.0**-8
"""By which share the second sample of a batch differs from the first."""
GIVEN = "given"


def mapped_torch(scene: Scene) -> Told | str | None:
    """Map over two samples with `torch.func.vmap`."""
    import torch

    from gradcheck.capture.torch_function import TorchFunction, differentiable

    subject = scene.subject
    if _draws(scene):
        return Told(NOT_DEFINED, "each sample of a batch may draw other random numbers")
    others = subject.tensors(scene.arrays)
    plain = subject.results(others)
    places = [place for place, one in enumerate(plain) if differentiable(one)]

    def chosen(given: Mapping[str, Any]) -> Any:
        results = subject.results({**others, **given})
        return [results[place] for place in places]  # of a mapped one nothing tells

    def made(batch: Arrays) -> Subject:
        tensors = {name: tensor_from(array) for name, array in batch.items()}
        mapped = torch.func.vmap(chosen, randomness="same")
        return TorchFunction(lambda given: mapped(given), [tensors], [GIVEN])

    try:
        return _mapped(scene, made)
    except (NotImplementedError, RuntimeError) as error:
        if _says_how(subject.function):
            raise
        return Told(NOT_DEFINED, first_line(error))


def _says_how(function: Any) -> bool:
    """Tell whether a Function has a rule for `vmap`, which then must work."""
    import torch

    owner = getattr(function, "__self__", None)
    if not (isinstance(owner, type) and issubclass(owner, torch.autograd.Function)):
        return False
    kind: Any = owner
    return bool(kind.generate_vmap_rule) or kind.vmap is not torch.autograd.Function.vmap


def mapped_jax(scene: Scene) -> Told | str | None:
    """Map over two samples with `jax.vmap`."""
    import jax

    from gradcheck.capture.jax_calls import run_in_numpy, undefined
    from gradcheck.capture.jax_recorder import precision
    from gradcheck.capture.jax_subject import JaxFunction

    with precision(scene.arrays):
        others = {name: jax.numpy.asarray(array) for name, array in scene.arrays.items()}

    def made(batch: Arrays) -> Subject:
        with precision(batch):
            arrays = {name: jax.numpy.asarray(array) for name, array in batch.items()}
        mapped = jax.vmap(lambda given: scene.subject({**others, **given}))
        return JaxFunction(lambda given: mapped(given), [arrays], [GIVEN])

    try:
        return _mapped(scene, made, run_in_numpy)
    except undefined() as error:
        return Told(NOT_DEFINED, first_line(error))


def _mapped(
    scene: Scene, made: Callable[[Arrays], Subject], quickly: Run | None = None
) -> Told | str:
    """See whether each sample's gradients and outputs are those that it has alone.

    All inputs are mapped, and then each alone. What is run quickly may clear a function, but not
    accuse it.
    """
    names = list(scene.arrays)
    several = 1 < len(names) <= MOST_SUBSETS
    for some in [names, *([name] for name in names if several)]:
        arrays = {name: scene.arrays[name] for name in some}
        moved = {name: array * array.dtype.type(1 + NUDGE) for name, array in arrays.items()}
        batch = {name: np.stack([array, moved[name]]) for name, array in arrays.items()}
        function = made(batch)
        if quickly is not None:
            with suppress(Exception):
                if not _rows_differ(scene, batch, function, quickly):
                    continue
        problem = _rows_differ(scene, batch, function, run)
        if problem:
            return problem
    return ""


def _rows_differ(scene: Scene, batch: Arrays, function: Subject, ran: Run) -> Told | str:
    given = {f"{GIVEN}.{name}": array for name, array in batch.items()}
    cotangents = [np.stack([one, one]) for one in scene.cotangents]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is slow
        found = ran(function, given, cotangents)
    own = cache(lambda: scene.own_bars(function, given, cotangents))
    for row in range(2):
        its = {**scene.arrays, **{name: array[row] for name, array in batch.items()}}
        plain = scene.plain if row == 0 else ran(scene.subject, its, scene.cotangents)
        bars = cache(
            lambda its=its, row=row: (
                scene.bars if row == 0 else scene.bars_of(scene.cotangents, its)
            )
        )
        mine = Ran(
            tuple(one[row] for one in found.outputs),
            {
                name: None if one is None else one[row]
                for name in batch
                for one in [found.gradients[f"{GIVEN}.{name}"]]
            },
        )
        problem = _differs(mine, plain, bars)
        doubt = problem
        if problem:
            wider = _slack(bars(), plain, scene.unit) if own() is None else _sum(bars(), own(), row)
            problem = _differs(mine, plain, lambda: wider)  # noqa: B023
        if doubt and own() is None and not problem:
            return within_slack(doubt)
        if problem:
            names = " and ".join(batch)
            only = f" where {names} alone is mapped" if len(batch) < len(scene.arrays) else ""
            return f"of sample {row} of a batch {problem}{only}"
    return ""


def _differs(found: Ran, plain: Ran, bars: Callable[[], Bars]) -> str:
    return outputs_apart(found.outputs, plain.outputs, lambda: bars().outputs) or apart(
        wide(found.gradients), wide(plain.gradients), lambda: bars().gradients
    )


def _slack(bars: Bars, plain: Ran, unit: float) -> Bars:
    """Widen the bars of the plain call by much, and those of what it need not round as well."""

    def widened(bar: Any, value: Any) -> Any:
        return SLACK * (bar + unit * np.abs(0.0 if value is None else value))

    return Bars(
        {name: widened(bar, plain.gradients[name]) for name, bar in bars.gradients.items()},
        [widened(bar, value) for bar, value in zip(bars.outputs, plain.outputs, strict=True)],
    )


def _sum(bars: Bars, own: Bars | None, row: int) -> Bars:
    """Add the bars that the mapped function has itself."""
    if own is None:
        return bars
    return Bars(
        {
            name: bar + own.gradients[f"{GIVEN}.{name}"][row]
            for name, bar in bars.gradients.items()
            if f"{GIVEN}.{name}" in own.gradients
        },
        [bar + its[row] for bar, its in zip(bars.outputs, own.outputs, strict=True)],
    )


def _draws(scene: Scene) -> bool:
    """Tell whether the function draws random numbers."""
    import torch

    before = torch.get_rng_state()
    scene.subject(scene.subject.tensors(scene.arrays))
    return not torch.equal(before, torch.get_rng_state())
