"""ATen's pooling: the maxima and means of windows."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from gradcheck.capture.aten_windows import Sizes, Windows, each, flat, sliding, windows_of
from gradcheck.capture.gathering import gathered_sums, taken
from gradcheck.capture.program import Rule


def _maxima(x: Any, windows: Windows) -> tuple[Any, Any]:
    """Return the largest of each window, and where in the plane it is."""
    first = np.argmax(windows.valid, axis=1)[:, None]  # stands for what is not there
    known = np.take_along_axis(windows.places, first, 1)
    places = np.where(windows.valid, windows.places, known)
    candidates = flat(x, len(windows.shape))[..., places]
    chosen = np.argmax(candidates, axis=-1, keepdims=True)
    table = np.full_like(chosen, places, shape=np.shape(candidates))
    indices = np.take_along_axis(table, chosen, axis=-1)[..., 0]
    shape = *np.shape(x)[: np.ndim(x) - len(windows.shape)], *windows.shape
    return np.reshape(np.max(candidates, axis=-1), shape), np.reshape(indices, shape)


def _maxima_backward(grad: Any, x: Any, windows: Windows, indices: Any) -> Any:
    axes = len(windows.shape)
    owners, _ = np.nonzero(windows.valid)
    places = windows.places[windows.valid]
    chosen = flat(indices, axes)[..., owners] == places
    given = np.where(chosen, flat(grad, axes)[..., owners], 0.0)
    size = prod(np.shape(x)[np.ndim(x) - axes :])
    return np.reshape(gathered_sums(given, places, size), np.shape(x))


def _pools(
    x: Any, axes: int, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool
) -> Windows:
    sizes = np.shape(x)[np.ndim(x) - axes :]
    kernel = each(kernel, axes)
    stride = each(stride, axes) if stride else kernel
    return sliding(sizes, kernel, stride, each(padding, axes), each(dilation, axes), ceil)


def _max_pool(axes: int) -> Rule:
    def pool(
        x: Any, kernel: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1,
        ceil: bool = False,
    ) -> Any:  # fmt: skip
        return _maxima(x, _pools(x, axes, kernel, stride, padding, dilation, ceil))

    return pool


def _max_pool_backward(axes: int) -> Rule:
    def backward(
        grad: Any, x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool,
        indices: Any,
    ) -> Any:  # fmt: skip
        windows = _pools(x, axes, kernel, stride, padding, dilation, ceil)
        return _maxima_backward(grad, x, windows, indices)

    return backward


def _adaptive(sizes: Sizes, wanted: Sizes) -> Windows:
    lines = []
    for n, m in zip(sizes, wanted, strict=True):
        start, end = np.arange(m) * n // m, -(-(np.arange(m) + 1) * n // m)
        places = start[:, None] + np.arange((end - start).max())
        lines.append((places, places < end[:, None]))
    return windows_of(sizes, lines)


def _means(x: Any, windows: Windows, divisors: Any) -> Any:
    axes = len(windows.shape)
    sums = np.sum(taken(flat(x, axes), windows.places, windows.valid), axis=-1)
    return np.reshape(sums / divisors, (*np.shape(x)[: np.ndim(x) - axes], *windows.shape))


def _means_backward(grad: Any, shape: Sizes, windows: Windows, divisors: Any) -> Any:
    axes = len(windows.shape)
    owners, _ = np.nonzero(windows.valid)
    shares = (flat(grad, axes) / divisors)[..., owners]
    size = prod(shape[len(shape) - axes :])
    return np.reshape(gathered_sums(shares, windows.places[windows.valid], size), tuple(shape))


def _averages(
    x: Any, axes: int, kernel: Any, stride: Any = (), padding: Any = 0, ceil: bool = False,
    with_padding: bool = True, divisor: int | None = None,
) -> tuple[Windows, Any]:  # fmt: skip
    """Return windows, and what their sums are divided by."""
    windows = _pools(x, axes, kernel, stride, padding, 1, ceil)
    if divisor is not None:
        return windows, float(divisor)
    if not with_padding:
        return windows, windows.valid.sum(1).astype(float)
    sizes, kernel = np.shape(x)[np.ndim(x) - axes :], each(kernel, axes)
    strides, pads = each(stride, axes) if stride else kernel, each(padding, axes)
    counts = np.ones(1)
    for n, k, s, p, m in zip(sizes, kernel, strides, pads, windows.shape, strict=True):
        start = np.arange(m) * s - p
        counts = np.multiply.outer(counts, np.minimum(start + k, n + p) - start).reshape(-1)
    return windows, counts


def _avg_pool(axes: int) -> Rule:
    return lambda x, *options: _means(x, *_averages(x, axes, *options))


def _avg_pool_backward(axes: int) -> Rule:
    return lambda grad, x, *options: _means_backward(
        grad, np.shape(x), *_averages(x, axes, *options)
    )


def _adaptive_means(axes: int) -> Rule:
    def pool(x: Any, wanted: Sizes) -> Any:
        windows = _adaptive(np.shape(x)[np.ndim(x) - axes :], each(wanted, axes))
        return _means(x, windows, windows.valid.sum(1).astype(float))

    return pool


def _adaptive_means_backward(axes: int) -> Rule:
    def backward(grad: Any, x: Any) -> Any:
        shape = np.shape(x)
        windows = _adaptive(shape[len(shape) - axes :], np.shape(grad)[np.ndim(grad) - axes :])
        return _means_backward(grad, shape, windows, windows.valid.sum(1).astype(float))

    return backward


def _adaptive_maxima(axes: int) -> Rule:
    return lambda x, wanted: _maxima(
        x, _adaptive(np.shape(x)[np.ndim(x) - axes :], each(wanted, axes))
    )


def _adaptive_maxima_backward(axes: int) -> Rule:
    def backward(grad: Any, x: Any, indices: Any) -> Any:
        sizes, wanted = (np.shape(one)[np.ndim(one) - axes :] for one in (x, grad))
        return _maxima_backward(grad, x, _adaptive(sizes, wanted), indices)

    return backward


RULES: Mapping[str, Rule] = {
    f"aten.{name}": rule
    for name, rule in dict[str, Rule](
        {
            **{f"max_pool{axes}d_with_indices": _max_pool(axes) for axes in (2, 3)},
            **{
                f"max_pool{axes}d_with_indices_backward": _max_pool_backward(axes)
                for axes in (2, 3)
            },
            **{f"avg_pool{axes}d": _avg_pool(axes) for axes in (1, 2, 3)},
            **{f"avg_pool{axes}d_backward": _avg_pool_backward(axes) for axes in (2, 3)},
            **{f"_adaptive_avg_pool{axes}d": _adaptive_means(axes) for axes in (2, 3)},
            **{
                f"_adaptive_avg_pool{axes}d_backward": _adaptive_means_backward(axes)
                for axes in (2, 3)
            },
            **{f"adaptive_max_pool{axes}d": _adaptive_maxima(axes) for axes in (2, 3)},
            **{
                f"adaptive_max_pool{axes}d_backward": _adaptive_maxima_backward(axes)
                for axes in (2, 3)
            },
        }
    ).items()
}
"""The rules, by the names of ATen."""
