"""ATen's sampling of a grid where another tensor says, and its pooling of windows at random.

Where a sample lies differs from input to input, so each is a sum over the whole line: an element
counts by the tent above its place, which is zero for all but the two neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from gradcheck.capture.aten_elementwise import fixed
from gradcheck.capture.aten_resizing import format_of
from gradcheck.capture.program import Rule
from gradcheck.numbers.array import Batched
from gradcheck.numbers.errors import NoRuleError
from gradcheck.numbers.jumps import plain

_np: Any = np
"""NumPy, whose functions take more than they are declared to."""

BILINEAR, NEAREST, BICUBIC = 0, 1, 2
"""Modes of interpolation."""
ZEROS, BORDER, REFLECTION = 0, 1, 2
"""Modes of padding."""


def _coordinates(grid: Any, size: int, padding: int, corners: bool) -> tuple[Any, Any]:
    """Return where on a line of elements samples lie, and the slope of that."""
    scale = (size - 1) / 2 if corners else size / 2
    at = (grid + 1) / 2 * (size - 1) if corners else ((grid + 1) * size - 1) / 2
    slope = _np.full_like(grid, scale)
    if padding == REFLECTION:
        at, slope = _mirrored(at, slope, *((0.0, size - 1.0) if corners else (-0.5, size - 0.5)))
    if padding != ZEROS:
        inside = _np.logical_and(at > 0, at < size - 1)
        slope = _np.where(inside, slope, 0.0)
        at = _np.minimum(_np.maximum(at, 0.0), size - 1.0)
    return at, slope


def _mirrored(at: Any, slope: Any, low: float, high: float) -> tuple[Any, Any]:
    """Reflect at both ends as often as is needed: a line that rises and falls in turns."""
    span = high - low
    if span == 0:
        return at * 0.0, slope * 0.0
    slope = _np.where(at < low, -slope, slope)
    far = _np.absolute(at - low)
    values = plain(far) if isinstance(far, Batched) else far
    found, turned = low, 0.0
    for turn in range(1 + int(np.max(values, initial=0.0) // span) + 1):
        sign = -1.0 if turn % 2 else 1.0
        behind = far - turn * span
        found = found + sign * _np.minimum(_np.maximum(behind, 0.0), span)
        is_here = _np.logical_and(behind >= 0, behind < span)
        turned = _np.where(is_here, sign * slope, turned)
    return found, turned


def _weights(at: Any, size: int, mode: int) -> tuple[Any, Any]:
    """Return how much each element of a line counts, and the slopes of that."""
    if mode == BICUBIC:
        raise NoRuleError("there is no rule for bicubic sampling of a grid", "aten.grid_sampler")
    element = np.arange(float(size))
    behind = at[..., None] - element
    if mode == NEAREST:
        square, is_even = behind * behind, element % 2 == 0
        near = _np.logical_or(square < 0.25, _np.logical_and(square <= 0.25, is_even))
        hits = _np.where(near, 1.0, 0.0)
        return hits, hits * 0.0
    rises = _np.logical_and(behind > -1, behind < 0)
    falls = _np.logical_and(behind >= 0, behind < 1)
    tent = _np.maximum(1.0 - _np.absolute(behind), 0.0)
    return tent, _np.where(rises, 1.0, _np.where(falls, -1.0, 0.0))


def _lines(x: Any, grid: Any, mode: int, padding: int, corners: bool) -> list[tuple[Any, ...]]:
    """Return for each axis the weights, `(n, samples, size)`, and their slopes by the grid."""
    axes = np.ndim(x) - 2
    flat = _np.reshape(grid, (np.shape(grid)[0], -1, axes))
    found = []
    for axis, size in enumerate(np.shape(x)[2:]):
        at, slope = _coordinates(flat[..., axes - 1 - axis], size, padding, corners)
        weights, slopes = _weights(at, size, mode)
        found.append((weights, slopes * slope[..., None]))
    return found


def _combined(weights: Sequence[Any]) -> Any:
    """Return the products of the weights on all axes, `(n, samples, elements)`."""
    result = weights[0]
    for one in weights[1:]:
        result = result[..., :, None] * one[..., None, :]
        result = _np.reshape(result, (*np.shape(result)[:2], -1))
    return result


def _sampled(x: Any, grid: Any, mode: int, padding: int, corners: bool) -> Any:
    weights = _combined([one for one, _ in _lines(x, grid, mode, padding, corners)])
    flat = _np.reshape(x, (*np.shape(x)[:2], -1))
    found = _np.matmul(flat, _np.swapaxes(weights, 1, 2))
    return _np.reshape(found, (*np.shape(x)[:2], *np.shape(grid)[1:-1]))


def _sampled_backward(
    grad: Any, x: Any, grid: Any, mode: int, padding: int, corners: bool, wanted: Sequence[bool]
) -> tuple[Any, Any]:
    lines = _lines(x, grid, mode, padding, corners)
    shares = _np.reshape(grad, (*np.shape(grad)[:2], -1))
    to_input, to_grid = None, None
    if wanted[0]:
        weights = _combined([one for one, _ in lines])
        to_input = _np.reshape(_np.matmul(shares, weights), np.shape(x))
    if wanted[1]:
        # Of each sample and element, the products with the gradient, added over the channels.
        products = _np.matmul(_np.swapaxes(shares, 1, 2), _np.reshape(x, (*np.shape(x)[:2], -1)))
        slopes = []
        for axis in reversed(range(len(lines))):
            factors = [one[1 if place == axis else 0] for place, one in enumerate(lines)]
            slopes.append(_np.sum(products * _combined(factors), axis=-1))
        to_grid = _np.reshape(_np.stack(slopes, axis=-1), np.shape(grid))
    return to_input, to_grid


# Windows at random


def _starts(draws: Any, size: int, kernel: int, count: int) -> Any:
    """Return where windows start, `(…, count)`; the last ends with the line."""
    alpha = draws.dtype.type((size - kernel) / (count - 1)) if count > 1 else 0
    places = np.arange(max(count - 1, 0))
    found = ((places + draws[..., None]) * alpha).astype(int) - (draws[..., None] * alpha).astype(
        int
    )
    return np.concatenate([found, np.full((*draws.shape, 1), size - kernel)], axis=-1)


def _windows(x: Any, kernel: Sequence[int], sizes: Sequence[int], draws: Any) -> Any:
    """Return the places of the elements of each window of each plane, `(…, windows, k)`."""
    axes = len(kernel)
    inputs, lead = np.shape(x)[-axes:], np.shape(x)[:-axes]
    draws = np.reshape(fixed(draws).astype(format_of(x)), (*lead, axes))
    draws = draws[..., ::-1] if axes == 2 else draws  # there the width comes first
    places: Any = np.zeros((*lead, 1, 1), int)
    for axis, (size, k, count) in enumerate(zip(inputs, kernel, sizes, strict=True)):
        starts = _starts(draws[..., axis], size, k, count)
        line = starts[..., :, None] + np.arange(k)
        places = places[..., :, None, :, None] * size + line[..., None, :, None, :]
        places = places.reshape(*lead, prod(places.shape[-4:-2]), -1)
    return places


def _fractional(x: Any, kernel: Any, sizes: Any, draws: Any) -> tuple[Any, Any]:
    places = _windows(x, kernel, sizes, draws)
    lead, (count, k) = np.shape(x)[: -len(kernel)], places.shape[-2:]
    flat = _np.reshape(x, (*lead, -1))
    found = _np.take_along_axis(flat, places.reshape(*lead, count * k), axis=-1)
    found = _np.reshape(found, (*lead, count, k))
    chosen = _np.argmax(found, axis=-1, keepdims=True)
    indices = _np.take_along_axis(
        _np.full_like(chosen, places, shape=places.shape), chosen, axis=-1
    )
    shape = (*lead, *sizes)
    return _np.reshape(_np.max(found, axis=-1), shape), _np.reshape(indices, shape)


def _fractional_backward(grad: Any, x: Any, kernel: Any, sizes: Any, indices: Any) -> Any:
    lead, size = np.shape(x)[: -len(kernel)], prod(np.shape(x)[-len(kernel) :])
    shares, chosen = (_np.reshape(one, (*lead, -1)) for one in (grad, indices))
    hits = _np.where(_np.equal(chosen[..., None], np.arange(size)), shares[..., None], 0.0)
    return _np.reshape(_np.sum(hits, axis=-2), np.shape(x))


RULES: Mapping[str, Rule] = {
    **{f"aten.grid_sampler_{axes}d": _sampled for axes in (2, 3)},
    **{f"aten.grid_sampler_{axes}d_backward": _sampled_backward for axes in (2, 3)},
    **{f"aten.fractional_max_pool{axes}d": _fractional for axes in (2, 3)},
    **{f"aten.fractional_max_pool{axes}d_backward": _fractional_backward for axes in (2, 3)},
}
"""The rules, by the names of ATen."""
