"""ATen's operations on windows: convolution, pooling, padding, resizing.

A window is a row of a table of places in the flattened plane. So a convolution, transposed or not,
and each of its gradients is a gather and one sum of products.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradcheck.capture.gathering import Places, gathered_sums, taken
from gradcheck.capture.program import Rule

Sizes = Sequence[int]


class Windows(NamedTuple):
    """Windows of a plane.

    Parameters
    ----------
    places, valid
        The elements of each window in the flattened plane, and which there are; `(windows, k)`.
    shape
        How the windows are arranged.
    """

    places: Places
    valid: NDArray[np.bool_]
    shape: tuple[int, ...]


def _windows(sizes: Sizes, lines: Sequence[tuple[Places, NDArray[np.bool_]]]) -> Windows:
    """Combine the windows along each axis, their places and which of these there are."""
    places: Any = np.zeros((1, 1), int)
    valid: Any = np.ones((1, 1), bool)
    for size, (line, there) in zip(sizes, lines, strict=True):
        shape = len(places) * len(line), -1
        places = places[:, None, :, None] * size + line[:, None]
        valid = valid[:, None, :, None] & there[:, None]
        places, valid = places.reshape(shape), valid.reshape(shape)
    return Windows(np.where(valid, places, 0), valid, tuple(len(line) for line, _ in lines))


def _line(size: int, count: int, kernel: int, stride: int, padding: int, dilation: int) -> Any:
    places = np.arange(count)[:, None] * stride - padding + np.arange(kernel) * dilation
    return places, (places >= 0) & (places < size)


def _sliding(
    sizes: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, ceil: bool = False
) -> Windows:
    lines = []
    for n, k, s, p, d in zip(sizes, kernel, stride, padding, dilation, strict=True):
        room = n + 2 * p - d * (k - 1) - 1
        count = -(-room // s) + 1 if ceil else room // s + 1
        count -= ceil and (count - 1) * s >= n + p
        lines.append(_line(n, count, k, s, p, d))
    return _windows(sizes, lines)


def _reached(
    sizes: Sizes, given: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes
) -> Windows:
    """Return of each element of a plane, `sizes`, the windows, `given`, that it is an element of.

    In the table there is one column for each element of the kernel.
    """
    lines = []
    for n, m, k, s, p, d in zip(sizes, given, kernel, stride, padding, dilation, strict=True):
        starts = np.arange(n)[:, None] + p - np.arange(k) * d
        lines.append((starts // s, (starts % s == 0) & (starts >= 0) & (starts // s < m)))
    return _windows(given, lines)


def _flat(x: Any, axes: int) -> Any:
    """Make one axis of the last axes."""
    shape = np.shape(x)
    return np.reshape(x, (*shape[: len(shape) - axes], prod(shape[len(shape) - axes :])))


def _each(value: Any, axes: int) -> list[int]:
    """Return a number for each axis."""
    given = [value] if isinstance(value, int) else list(value)
    return given * axes if len(given) == 1 else given


# Convolution


def _columns(x: Any, windows: Windows, groups: int) -> Any:
    """Return the windows of each group's channels, shape `(n, groups, windows, channels, k)`."""
    found = taken(_flat(x, len(windows.shape)), windows.places, windows.valid)
    n, channels, count, k = np.shape(found)
    found = np.reshape(found, (n, groups, channels // groups, count, k))
    return np.swapaxes(found, 2, 3)


def _contract(x: Any, weight: Any, windows: Windows, groups: int) -> Any:
    """Multiply windows, of an array `(n, c, …)`, by weights, of shape `(o, c / groups, …)`."""
    columns = _columns(x, windows, groups)
    n, _, count, channels, k = np.shape(columns)
    matrix = np.reshape(weight, (groups, -1, channels * k))
    product = np.matmul(
        np.reshape(columns, (n, groups, count, channels * k)), np.swapaxes(matrix, 1, 2)
    )
    return np.reshape(np.swapaxes(product, 2, 3), (n, np.shape(weight)[0], *windows.shape))


def _weights(x: Any, other: Any, windows: Windows, groups: int, shape: Sizes) -> Any:
    """Add up the products of windows of `x` with the numbers of `other` that belong to them."""
    columns = _columns(x, windows, groups)
    n, _, count, channels, k = np.shape(columns)
    matrix = np.reshape(np.moveaxis(columns, 0, 1), (groups, n * count, channels * k))
    rows = np.reshape(other, (n, groups, -1, count))
    rows = np.reshape(np.moveaxis(rows, 0, 2), (groups, -1, n * count))
    return np.reshape(np.matmul(rows, matrix), tuple(shape))


def _exchanged(weight: Any, groups: int) -> Any:
    """Exchange the channels that come and go, in each group."""
    outer, inner, *kernel = np.shape(weight)
    split = np.reshape(weight, (groups, outer // groups, inner, *kernel))
    return np.reshape(np.swapaxes(split, 1, 2), (groups * inner, outer // groups, *kernel))


def _convolution(
    x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any,
    transposed: bool, output_padding: Any, groups: int, *_: Any,
) -> Any:  # fmt: skip
    kernel, sizes = np.shape(weight)[2:], np.shape(x)[2:]
    s, p, d = (_each(one, len(kernel)) for one in (stride, padding, dilation))
    if transposed:
        extra = _each(output_padding, len(kernel))
        full = [
            (n - 1) * step - 2 * pad + far * (k - 1) + more + 1
            for n, k, step, pad, far, more in zip(sizes, kernel, s, p, d, extra, strict=True)
        ]
        windows = _reached(full, sizes, kernel, s, p, d)
        result = _contract(x, _exchanged(weight, groups), windows, groups)
    else:
        result = _contract(x, weight, _sliding(sizes, kernel, s, p, d), groups)
    return result if bias is None else result + np.reshape(bias, (-1, *[1] * len(kernel)))


def _convolution_backward(
    grad: Any, x: Any, weight: Any, bias_sizes: Any, stride: Any, padding: Any, dilation: Any,
    transposed: bool, output_padding: Any, groups: int, wanted: Sequence[bool], *_: Any,
) -> Any:  # fmt: skip
    kernel, axes = np.shape(weight)[2:], np.ndim(weight) - 2
    s, p, d = (_each(one, axes) for one in (stride, padding, dilation))
    large, small = (grad, x) if transposed else (x, grad)
    windows = _sliding(np.shape(large)[2:], kernel, s, p, d)
    to_input, to_weight = None, None
    if wanted[0] and transposed:
        to_input = _contract(grad, weight, windows, groups)
    elif wanted[0]:
        back = _reached(np.shape(x)[2:], np.shape(grad)[2:], kernel, s, p, d)
        to_input = _contract(grad, _exchanged(weight, groups), back, groups)
    if wanted[1]:
        to_weight = _weights(large, small, windows, groups, np.shape(weight))
    to_bias = np.sum(grad, axis=(0, *range(2, 2 + axes))) if wanted[2] else None
    return to_input, to_weight, to_bias


# Pooling


def _maxima(x: Any, windows: Windows) -> tuple[Any, Any]:
    """Return the largest of each window, and where in the plane it is."""
    first = np.argmax(windows.valid, axis=1)[:, None]  # stands for what is not there
    known = np.take_along_axis(windows.places, first, 1)
    places = np.where(windows.valid, windows.places, known)
    candidates = _flat(x, len(windows.shape))[..., places]
    chosen = np.argmax(candidates, axis=-1, keepdims=True)
    table = np.full_like(chosen, places, shape=np.shape(candidates))
    indices = np.take_along_axis(table, chosen, axis=-1)[..., 0]
    shape = *np.shape(x)[: np.ndim(x) - len(windows.shape)], *windows.shape
    return np.reshape(np.max(candidates, axis=-1), shape), np.reshape(indices, shape)


def _maxima_backward(grad: Any, x: Any, windows: Windows, indices: Any) -> Any:
    axes = len(windows.shape)
    owners, _ = np.nonzero(windows.valid)
    places = windows.places[windows.valid]
    chosen = _flat(indices, axes)[..., owners] == places
    given = np.where(chosen, _flat(grad, axes)[..., owners], 0.0)
    size = prod(np.shape(x)[np.ndim(x) - axes :])
    return np.reshape(gathered_sums(given, places, size), np.shape(x))


def _pools(
    x: Any, axes: int, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool
) -> Windows:
    sizes = np.shape(x)[np.ndim(x) - axes :]
    kernel = _each(kernel, axes)
    stride = _each(stride, axes) if stride else kernel
    return _sliding(sizes, kernel, stride, _each(padding, axes), _each(dilation, axes), ceil)


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
    return _windows(sizes, lines)


def _means(x: Any, windows: Windows, divisors: Any) -> Any:
    axes = len(windows.shape)
    sums = np.sum(taken(_flat(x, axes), windows.places, windows.valid), axis=-1)
    return np.reshape(sums / divisors, (*np.shape(x)[: np.ndim(x) - axes], *windows.shape))


def _means_backward(grad: Any, shape: Sizes, windows: Windows, divisors: Any) -> Any:
    axes = len(windows.shape)
    owners, _ = np.nonzero(windows.valid)
    shares = (_flat(grad, axes) / divisors)[..., owners]
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
    sizes, kernel = np.shape(x)[np.ndim(x) - axes :], _each(kernel, axes)
    strides, pads = _each(stride, axes) if stride else kernel, _each(padding, axes)
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
        windows = _adaptive(np.shape(x)[np.ndim(x) - axes :], _each(wanted, axes))
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
        x, _adaptive(np.shape(x)[np.ndim(x) - axes :], _each(wanted, axes))
    )


def _adaptive_maxima_backward(axes: int) -> Rule:
    def backward(grad: Any, x: Any, indices: Any) -> Any:
        sizes, wanted = (np.shape(one)[np.ndim(one) - axes :] for one in (x, grad))
        return _maxima_backward(grad, x, _adaptive(sizes, wanted), indices)

    return backward


# Windows as columns of a matrix


def _im2col(x: Any, kernel: Any, dilation: Any, padding: Any, stride: Any) -> Any:
    k, d, p, s = (_each(one, 2) for one in (kernel, dilation, padding, stride))
    columns = _columns(x if np.ndim(x) == 4 else x[None], _sliding(np.shape(x)[-2:], k, s, p, d), 1)
    n, _, count, channels, size = np.shape(columns)
    found = np.transpose(columns[:, 0], (0, 2, 3, 1))
    found = np.reshape(found, (n, channels * size, count))
    return found if np.ndim(x) == 4 else found[0]


def _col2im(x: Any, sizes: Any, kernel: Any, dilation: Any, padding: Any, stride: Any) -> Any:
    k, d, p, s = (_each(one, 2) for one in (kernel, dilation, padding, stride))
    windows = _sliding(sizes, k, s, p, d)
    *lead, channels, count = np.shape(x)
    columns = np.reshape(x, (*lead, channels // prod(k), prod(k), count))
    columns = _flat(np.swapaxes(columns, -1, -2), 2)
    kept = np.flatnonzero(windows.valid)
    places = windows.places.reshape(-1)[kept]
    sums = gathered_sums(columns[..., kept], places, prod(sizes))
    return np.reshape(sums, (*np.shape(sums)[:-1], *sizes))


RULES: Mapping[str, Rule] = {
    f"aten.{name}": rule
    for name, rule in dict[str, Rule](
        {
            "convolution": _convolution,
            "convolution_backward": _convolution_backward,
            "im2col": _im2col,
            "col2im": _col2im,
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
