"""A function under its framework's transforms: mapped over a batch, and in forward mode.

Each is a function again, with bars of its own, which are asked for where those of the plain call
are too narrow: what is computed in another way is rounded in another way.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gradcheck.capture.situations import NOT_DEFINED, Arrays, Gradients, Scene, Told, apart
from gradcheck.capture.subject import Subject

NUDGE = 2.0**-8
"""By which share the second sample of a batch differs from the first."""
GIVEN = "given"
SCALE = "scale"
EXTENDED = 2.0**-60
"""Bounds the relative error of a product and a sum in NumPy's extended precision."""


def mapped_torch(scene: Scene) -> Told | str | None:
    """Map over two samples with `torch.func.vmap`."""
    import torch

    from gradcheck.capture.torch_function import TorchFunction, differentiable

    subject = scene.subject
    if _draws(scene):
        return Told(NOT_DEFINED, "each sample of a batch may draw other random numbers")
    batch = _batch(scene.arrays)
    plain = subject.results(subject.tensors(scene.arrays))
    places = [place for place, one in enumerate(plain) if differentiable(one)]

    def chosen(given: Mapping[str, Any]) -> Any:
        results = subject.results(given)
        return [results[place] for place in places]  # of a mapped one nothing tells

    def mapped(given: Mapping[str, Any]) -> Any:
        return torch.func.vmap(chosen, randomness="same")(given)

    tensors = {name: torch.tensor(array) for name, array in batch.items()}
    try:
        return _mapped(scene, TorchFunction(mapped, [tensors], [GIVEN]), batch)
    except (NotImplementedError, RuntimeError) as error:
        return Told(NOT_DEFINED, _first_line(error))


def mapped_jax(scene: Scene) -> Told | str | None:
    """Map over two samples with `jax.vmap`."""
    import jax

    from gradcheck.capture.jax_recorder import precision
    from gradcheck.capture.jax_subject import JaxFunction

    batch = _batch(scene.arrays)
    with precision(batch):
        arrays = {name: jax.numpy.asarray(array) for name, array in batch.items()}
    function = JaxFunction(lambda given: jax.vmap(scene.subject)(given), [arrays], [GIVEN])
    try:
        return _mapped(scene, function, batch)
    except (NotImplementedError, jax.errors.ConcretizationTypeError) as error:
        return Told(NOT_DEFINED, _first_line(error))


def _batch(arrays: Arrays) -> Arrays:
    moved = {name: array * array.dtype.type(1 + NUDGE) for name, array in arrays.items()}
    return {name: np.stack([array, moved[name]]) for name, array in arrays.items()}


def _mapped(scene: Scene, function: Subject, batch: Arrays) -> Told | str:
    """See whether each sample's gradients are those that it has alone."""
    given = {f"{GIVEN}.{name}": array for name, array in batch.items()}
    cotangents = [np.stack([one, one]) for one in scene.cotangents]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is slow
        found = function.run(given, cotangents).gradients
    own: Arrays | None = None
    for row in range(2):
        arrays = {name: array[row] for name, array in batch.items()}
        expected = scene.expected if row == 0 else _plain(scene, arrays)
        bars = scene.bars if row == 0 else scene.bars_of(scene.cotangents, arrays)
        gradients: Gradients = {
            name: None if one is None else one[row].astype(np.float64)
            for name in expected
            for one in [found[f"{GIVEN}.{name}"]]
        }
        problem = apart(gradients, expected, bars)
        if problem and own is None:
            own = _own_bars(scene, cotangents, given, function)
            if own is None:
                return Told(NOT_DEFINED, f"{problem}, and there is no bar for it")
        if problem and own is not None:
            wider = {name: bar + own[f"{GIVEN}.{name}"][row] for name, bar in bars.items()}
            problem = apart(gradients, expected, wider)
        if problem:
            return f"of sample {row} of a batch {problem}"
    return ""


def _plain(scene: Scene, arrays: Arrays) -> Gradients:
    ran = scene.subject.run(arrays, scene.cotangents)
    return {
        name: None if one is None else one.astype(np.float64) for name, one in ran.gradients.items()
    }


def _own_bars(
    scene: Scene, cotangents: Sequence[Any], arrays: Arrays, function: Subject
) -> Arrays | None:
    try:
        return scene.bars_of(cotangents, arrays, function)
    except Exception:  # an operation without a rule, or what cannot be recorded
        return None


def forward_mode(scene: Scene) -> Told | str | None:
    """Differentiate along a direction, with dual numbers: `torch.autograd.forward_ad`.

    A number is multiplied by the derivative of the loss along the direction, so that this
    derivative is its gradient, and has the bar of one.
    """
    import torch
    from torch.autograd import forward_ad

    from gradcheck.capture.torch_function import TorchFunction

    finite = {name: one for name, one in scene.expected.items() if one is not None}
    if not all(np.isfinite(one).all() for one in finite.values()):
        return None
    generator = np.random.default_rng(0)
    direction = {
        name: generator.standard_normal(array.shape).astype(array.dtype)
        for name, array in scene.arrays.items()
    }

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
    arrays = {SCALE: np.ones((), dtype)}
    function = TorchFunction(along, [torch.ones((), dtype=getattr(torch, dtype.name))], [SCALE])
    try:
        found = function.run(arrays, scene.cotangents).gradients[SCALE]
    except NotImplementedError as error:
        return Told(NOT_DEFINED, _first_line(error))
    wide = {name: one.astype(np.longdouble) for name, one in direction.items()}
    terms = np.concatenate([(one * wide[name]).ravel() for name, one in finite.items()])
    reach = sum(float(np.sum(scene.bars[name] * np.abs(direction[name]))) for name in finite)
    reach += float(np.sum(np.abs(terms))) * EXTENDED * len(terms)
    distance = abs(float(found - np.sum(terms)))
    if not np.isfinite(reach) or distance <= reach:
        return ""
    own = _own_bars(scene, scene.cotangents, arrays, function)
    message = f"the derivative along a direction differs by {distance:.3g}"
    if own is None:
        return Told(NOT_DEFINED, f"{message}, and there is no bar for it")
    return "" if not distance > reach + float(own[SCALE]) else message


def _draws(scene: Scene) -> bool:
    """Tell whether the function draws random numbers."""
    import torch

    before = torch.get_rng_state()
    scene.subject(scene.subject.tensors(scene.arrays))
    return not torch.equal(before, torch.get_rng_state())


def _first_line(error: BaseException) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
