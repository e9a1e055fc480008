"""A function's derivative along a direction, in forward mode, beside the gradients' share in it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np

from gradcheck.adapters.torch import tensor_from
from gradcheck.capture.situations import (
    NOT_DEFINED,
    SLACK,
    Arrays,
    Run,
    Scene,
    Told,
    first_line,
    run,
    within_slack,
)
from gradcheck.capture.subject import Subject

SCALE = "scale"
EXTENDED = 2.0**-60
"""Bounds the relative error of a product and a sum in NumPy's extended precision."""


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
                name: forward_ad.make_dual(tensor, tensor_from(direction[name]).to(tensor))
                for name, tensor in tensors.items()
            }
            slopes = [forward_ad.unpack_dual(one).tangent for one in scene.subject(duals)]
        return [
            scale * (torch.zeros(one.shape).to(scale) if slope is None else slope.detach())
            for slope, one in zip(slopes, scene.cotangents, strict=True)
        ]

    dtype = next(iter(scene.arrays.values())).dtype
    one = torch.ones((), dtype=getattr(torch, dtype.name))
    try:
        return _along(scene, TorchFunction(along, [one], [SCALE]), direction, run)
    except NotImplementedError as error:
        return Told(NOT_DEFINED, first_line(error))


def forward_jax(scene: Scene) -> Told | str | None:
    """Differentiate along a direction, with `jax.jvp`."""
    import jax

    from gradcheck.capture.jax_calls import run_in_numpy, undefined
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
        function = JaxFunction(along, [one], [SCALE])
    with suppress(Exception):  # what then happens in JAX itself is what counts
        if not _along(scene, function, direction, run_in_numpy):
            return ""
    try:
        return _along(scene, function, direction, run)
    except undefined() as error:
        return Told(NOT_DEFINED, first_line(error))
    except TypeError as error:
        if "custom_vjp" in str(error):  # it is for the reverse pass alone
            return Told(NOT_DEFINED, first_line(error))
        raise


def _direction(scene: Scene) -> Arrays:
    """Draw a direction; a symmetric one for a symmetric matrix, half of which may be unread.

    What has no gradient stays: PyTorch moves the padding of an embedding in forward mode alone.
    """
    generator = np.random.default_rng(0)
    direction = {}
    for name, array in scene.arrays.items():
        drawn = generator.standard_normal(array.shape)
        if array.ndim > 1 and np.array_equal(array, array.swapaxes(-1, -2)):
            drawn = drawn + drawn.swapaxes(-1, -2)
        gradient = scene.expected[name]
        moves = 1.0 if gradient is None else gradient != 0
        direction[name] = (drawn * moves).astype(array.dtype)
    return direction


def _along(scene: Scene, function: Subject, direction: Arrays, ran: Run) -> Told | str | None:
    """Compare the derivative along a direction with the gradients' share in it.

    The function multiplies a number with that derivative, which is thus the number's gradient, and
    has the bar of one.
    """
    finite = {name: one for name, one in scene.expected.items() if one is not None}
    if not all(np.isfinite(one).all() for one in finite.values()):
        return None
    arrays = {SCALE: np.ones((), next(iter(scene.arrays.values())).dtype)}
    found = ran(function, arrays, scene.cotangents).gradients[SCALE]
    extended = {name: one.astype(np.longdouble) for name, one in direction.items()}
    terms = np.concatenate([(one * extended[name]).ravel() for name, one in finite.items()])
    distance = abs(float(np.asarray(found, np.longdouble) - np.sum(terms)))
    bars = scene.bars.gradients
    reach = sum(float(np.sum(bars[name] * np.abs(direction[name]))) for name in finite)
    reach += float(np.sum(np.abs(terms))) * EXTENDED * len(terms)
    if not np.isfinite(reach) or distance <= reach:
        return ""
    own = scene.own_bars(function, arrays, scene.cotangents)
    message = f"the derivative along a direction differs by {distance:.3g}"
    if own is None:
        slack = SLACK * (reach + scene.unit * float(np.sum(np.abs(terms))))
        if distance > slack:
            return message
        return within_slack(message)
    return "" if not distance > reach + float(own.gradients[SCALE]) else message
