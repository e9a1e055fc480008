"""JAX's primitives that slide a window over an array, in NumPy's functions.

References
----------
OpenXLA, *Operation semantics*: ConvWithGeneralPadding, ReduceWindow, SelectAndScatter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from gradcheck.capture.lax_arrays import Places, from_places, numbered, padded
from gradcheck.capture.lax_indexing import combined
from gradcheck.capture.program import Rule

_np: Any = np
"""NumPy, whose functions take more than they are declared to."""


def windows(
    places: Places,
    sizes: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
) -> Places:
    """Return the places in each window: the axes of windows first, then those within one."""
    axes = places.ndim
    for axis in range(axes):
        reach = (sizes[axis] - 1) * dilation[axis] + 1
        count = max(0, (places.shape[axis] - reach) // strides[axis] + 1)
        index = np.arange(count)[:, None] * strides[axis] + np.arange(sizes[axis]) * dilation[axis]
        places = np.moveaxis(np.take(places, index, axis=axis), axis + 1, -1)
    return places


def _window_places(
    shape: Sequence[int],
    window_dimensions: Any,
    window_strides: Any,
    padding: Any,
    base_dilation: Any = None,
    window_dilation: Any = None,
) -> Places:
    ones = [1] * len(shape)
    around = [
        (low, high, between - 1)
        for (low, high), between in zip(padding, base_dilation or ones, strict=True)
    ]
    inside = padded(numbered(shape), around)
    return windows(inside, window_dimensions, window_strides, window_dilation or ones)


def _reduce_window(function: Any, other: Any) -> Rule:
    def rule(x: Any, **options: Any) -> Any:
        places = _window_places(np.shape(x), **options)
        axes = tuple(range(-np.ndim(x), 0))
        return function(from_places(x, other, places), axis=axes) if axes else x

    return rule


def _select_and_scatter_add(
    source: Any,
    x: Any,
    *,
    select_prim: Any,
    window_dimensions: Any,
    window_strides: Any,
    padding: Any,
) -> Any:
    """Send each number of the source to the first extremum in its window."""
    largest = "ge" in str(select_prim)
    places = _window_places(np.shape(x), window_dimensions, window_strides, padding)
    places = places.reshape(*np.shape(source), -1)
    shown = from_places(x, -np.inf if largest else np.inf, places)
    chosen = (_np.argmax if largest else _np.argmin)(shown, axis=-1)
    taken = _np.equal(chosen[..., None], np.arange(places.shape[-1]))
    given = _np.ravel(_np.where(taken, source[..., None], 0.0))
    kept = np.flatnonzero(places.ravel() >= 0)
    return combined(_np.zeros_like(x), places.ravel()[kept], given[kept], _np.sum, 0)


def _convolve(
    x: Any,
    kernel: Any,
    *,
    window_strides: Any,
    padding: Any,
    lhs_dilation: Any,
    rhs_dilation: Any,
    dimension_numbers: Any,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    **_: Any,
) -> Any:
    """Multiply the windows of each channel by the kernels, all terms of a sum at once."""
    of = dimension_numbers
    x, kernel = _np.transpose(x, of.lhs_spec), _np.transpose(kernel, of.rhs_spec)
    batch, _, *space = np.shape(x)
    outputs, inputs, *sizes = np.shape(kernel)
    around = [(low, high, k - 1) for (low, high), k in zip(padding, lhs_dilation, strict=True)]
    places = windows(padded(numbered(space), around), sizes, window_strides, rhs_dilation)
    shown = places.shape[: len(space)]
    groups = max(feature_group_count, batch_group_count)
    split = (batch_group_count, batch // batch_group_count, feature_group_count, inputs)
    flat = _np.reshape(x, (*split, prod(space)))
    if (places < 0).any():
        flat = _np.concatenate([flat, _np.zeros_like(flat[..., :1])], axis=-1)
    seen = flat[..., places.reshape(prod(shown), prod(sizes))]
    seen = _np.reshape(
        _np.moveaxis(seen, 2, 1), (groups, batch // batch_group_count, inputs, *seen.shape[-2:])
    )
    weights = _np.reshape(kernel, (groups, outputs // groups, inputs, prod(sizes)))
    result = _np.einsum("gncpk,gock->ngop", seen, weights)
    result = _np.reshape(result, (batch // batch_group_count, outputs, *shown))
    return _np.transpose(result, np.argsort(of.out_spec))


RULES: Mapping[str, Rule] = {
    "reduce_window_sum": _reduce_window(_np.sum, 0),
    "reduce_window_max": _reduce_window(_np.max, -np.inf),
    "reduce_window_min": _reduce_window(_np.min, np.inf),
    "select_and_scatter_add": _select_and_scatter_add,
    "conv_general_dilated": _convolve,
}
