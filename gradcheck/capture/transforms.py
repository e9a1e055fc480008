"""A function under its framework's transforms: mapped over a batch, and in forward mode.

Each is a function again, with bars of its own, which are asked for where those of the plain call
are too narrow: what is computed in another way is rounded in another way.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from gradcheck.capture.situations import (
    MOST_SUBSETS,
    NOT_DEFINED,
    Arrays,
    Bars,
    Scene,
    Told,
    apart,
    first_line,
    outputs_apart,
    wide,
)
from gradcheck.capture.subject import Ran, Subject

NUDGE = 2.0**-8
"""By which share the second sample of a batch differs from the first."""
GIVEN = "given"
SCALE = "scale"
EXTENDED = 2.0**-60
"""Bounds the relative error of a product and a sum in NumPy's extended precision."""


# --- mapped over a batch


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
        tensors = {name: torch.tensor(array) for name, array in batch.items()}
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

    from gradcheck.capture.jax_calls import undefined
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
        return _mapped(scene, made)
    except undefined() as error:
        return Told(NOT_DEFINED, first_line(error))


def _mapped(scene: Scene, made: Callable[[Arrays], Subject]) -> Told | str:
    """See whether each sample's gradients and outputs are those that it has alone.

    All inputs are mapped, and then each alone.
    """
    names = list(scene.arrays)
    several = 1 < len(names) <= MOST_SUBSETS
    for some in [names, *([name] for name in names if several)]:
        problem = _rows_differ(scene, some, made)
        if problem:
            return problem
    return ""


def _rows_differ(
    scene: Scene, some: Sequence[str], made: Callable[[Arrays], Subject]
) -> Told | str:
    arrays = {name: scene.arrays[name] for name in some}
    moved = {name: array * array.dtype.type(1 + NUDGE) for name, array in arrays.items()}
    batch = {name: np.stack([array, moved[name]]) for name, array in arrays.items()}
    given = {f"{GIVEN}.{name}": array for name, array in batch.items()}
    cotangents = [np.stack([one, one]) for one in scene.cotangents]
    function = made(batch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is slow
        found = function.run(given, cotangents)
    own = cache(lambda: _own_bars(scene, cotangents, given, function))
    for row in range(2):
        its = dict(scene.arrays) if row == 0 else {**scene.arrays, **moved}
        plain = scene.plain if row == 0 else scene.subject.run(its, scene.cotangents)
        bars = cache(
            lambda its=its, row=row: (
                scene.bars if row == 0 else scene.bars_of(scene.cotangents, its)
            )
        )
        mine = Ran(
            tuple(one[row] for one in found.outputs),
            {
                name: None if one is None else one[row]
                for name in some
                for one in [found.gradients[f"{GIVEN}.{name}"]]
            },
        )
        problem = _differs(mine, plain, bars)
        if problem and own() is None:
            return Told(NOT_DEFINED, f"{problem}, and there is no bar for it")
        if problem:
            problem = _differs(mine, plain, lambda: _wider(bars(), own(), row))  # noqa: B023
        if problem:
            only = f" where {some[0]} alone is mapped" if len(some) < len(scene.arrays) else ""
            return f"of sample {row} of a batch {problem}{only}"
    return ""


def _differs(found: Ran, plain: Ran, bars: Callable[[], Bars]) -> str:
    return outputs_apart(found.outputs, plain.outputs, lambda: bars().outputs) or apart(
        wide(found.gradients), wide(plain.gradients), lambda: bars().gradients
    )


def _wider(bars: Bars, own: Bars | None, row: int) -> Bars:
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


def _own_bars(
    scene: Scene, cotangents: Sequence[Any], arrays: Arrays, function: Subject
) -> Bars | None:
    try:
        return scene.bars_of(cotangents, arrays, function)
    except Exception:  # an operation without a rule, or what cannot be recorded
        return None


# --- forward mode


def forward_torch(scene: Scene) -> Told | str | None:
    """Differentiate along a direction, with dual numbers: `torch.autograd.forward_ad`."""
    import torch
    from torch.autograd import forward_ad

    from gradcheck.capture.torch_function import TorchFunction

    direction = _direction(scene)

    def along(scale: Any) -> Any:
        tensors = scene.subject.tensors(scene.arrays)
        with forward_ad.dual_level():
            duals = {
                name: forward_ad.make_dual(tensor, torch.tensor(direction[name]).to(tensor))
                for name, tensor in tensors.items()
            }
            slopes = [forward_ad.unpack_dual(one).tangent for one in scene.subject(duals)]
        return [
            scale * (torch.zeros(one.shape).to(scale) if slope is None else slope.detach())
            for slope, one in zip(slopes, scene.cotangents, strict=True)
        ]

    dtype = next(iter(scene.arrays.values())).dtype
    one = torch.ones((), dtype=getattr(torch, dtype.name))
    return _along(scene, TorchFunction(along, [one], [SCALE]), direction, NotImplementedError)


def forward_jax(scene: Scene) -> Told | str | None:
    """Differentiate along a direction, with `jax.jvp`."""
    import jax

    from gradcheck.capture.jax_calls import undefined
    from gradcheck.capture.jax_recorder import precision
    from gradcheck.capture.jax_subject import JaxFunction

    direction = _direction(scene)

    def along(scale: Any) -> Any:
        given, tangents = (
            {name: jax.numpy.asarray(array) for name, array in some.items()}
            for some in (scene.arrays, direction)
        )
        _, slopes = jax.jvp(scene.subject, (given,), (tangents,))
        return [scale * jax.lax.stop_gradient(slope) for slope in slopes]

    dtype = next(iter(scene.arrays.values())).dtype
    with precision(scene.arrays):
        one = jax.numpy.ones((), dtype)
    try:
        return _along(scene, JaxFunction(along, [one], [SCALE]), direction, undefined())
    except TypeError as error:
        if "custom_vjp" in str(error):  # it is for the reverse pass alone
            return Told(NOT_DEFINED, first_line(error))
        raise


def _direction(scene: Scene) -> Arrays:
    generator = np.random.default_rng(0)
    return {
        name: generator.standard_normal(array.shape).astype(array.dtype)
        for name, array in scene.arrays.items()
    }


def _along(scene: Scene, function: Subject, direction: Arrays, undefined: Any) -> Told | str | None:
    """Compare the derivative along a direction with the gradients' share in it.

    The function multiplies a number with that derivative, which is thus the number's gradient, and
    has the bar of one.
    """
    finite = {name: one for name, one in scene.expected.items() if one is not None}
    if not all(np.isfinite(one).all() for one in finite.values()):
        return None
    arrays = {SCALE: np.ones((), next(iter(scene.arrays.values())).dtype)}
    try:
        found = function.run(arrays, scene.cotangents).gradients[SCALE]
    except undefined as error:
        return Told(NOT_DEFINED, first_line(error))
    extended = {name: one.astype(np.longdouble) for name, one in direction.items()}
    terms = np.concatenate([(one * extended[name]).ravel() for name, one in finite.items()])
    distance = abs(float(np.asarray(found, np.longdouble) - np.sum(terms)))
    bars = scene.bars.gradients
    reach = sum(float(np.sum(bars[name] * np.abs(direction[name]))) for name in finite)
    reach += float(np.sum(np.abs(terms))) * EXTENDED * len(terms)
    if not np.isfinite(reach) or distance <= reach:
        return ""
    own = _own_bars(scene, scene.cotangents, arrays, function)
    message = f"the derivative along a direction differs by {distance:.3g}"
    if own is None:
        return Told(NOT_DEFINED, f"{message}, and there is no bar for it")
    return "" if not distance > reach + float(own.gradients[SCALE]) else message


def _draws(scene: Scene) -> bool:
    """Tell whether the function draws random numbers."""
    import torch

    before = torch.get_rng_state()
    scene.subject(scene.subject.tensors(scene.arrays))
    return not torch.equal(before, torch.get_rng_state())
