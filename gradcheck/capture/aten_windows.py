"""ATen's operations on windows: convolution, and windows as columns.

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


def windows_of(sizes: Sizes, lines: Sequence[tuple[Places, NDArray[np.bool_]]]) -> Windows:
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


def sliding(
    sizes: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, ceil: bool = False
) -> Windows:
    """Return windows of a kernel's size that move on by strides; the last may hang over."""
    lines = []
    for n, k, s, p, d in zip(sizes, kernel, stride, padding, dilation, strict=True):
        room = n + 2 * p - d * (k - 1) - 1
        count = -(-room // s) + 1 if ceil else room // s + 1
        count -= ceil and (count - 1) * s >= n + p
        lines.append(_line(n, count, k, s, p, d))
    return windows_of(sizes, lines)


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
    return windows_of(given, lines)


def flat(x: Any, axes: int) -> Any:
    """Make one axis of the last axes."""
    shape = np.shape(x)
    return np.reshape(x, (*shape[: len(shape) - axes], prod(shape[len(shape) - axes :])))


def each(value: Any, axes: int) -> list[int]:
    """Return a number for each axis."""
    given = [value] if isinstance(value, int) else list(value)
    return given * axes if len(given) == 1 else given


# Convolution


def _columns(x: Any, windows: Windows, groups: int) -> Any:
    """Return the windows of each group's channels, shape `(n, groups, windows, channels, k)`."""
    found = taken(flat(x, len(windows.shape)), windows.places, windows.valid)
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
    s, p, d = (each(one, len(kernel)) for one in (stride, padding, dilation))
    if transposed:
        extra = each(output_padding, len(kernel))
        full = [
            (n - 1) * step - 2 * pad + far * (k - 1) + more + 1
            for n, k, step, pad, far, more in zip(sizes, kernel, s, p, d, extra, strict=True)
        ]
        windows = _reached(full, sizes, kernel, s, p, d)
        result = _contract(x, _exchanged(weight, groups), windows, groups)
    else:
        result = _contract(x, weight, sliding(sizes, kernel, s, p, d), groups)
    return result if bias is None else result + np.reshape(bias, (-1, *[1] * len(kernel)))


def _convolution_backward(
    grad: Any, x: Any, weight: Any, bias_sizes: Any, stride: Any, padding: Any, dilation: Any,
    transposed: bool, output_padding: Any, groups: int, wanted: Sequence[bool], *_: Any,
) -> Any:  # fmt: skip
    kernel, axes = np.shape(weight)[2:], np.ndim(weight) - 2
    s, p, d = (each(one, axes) for one in (stride, padding, dilation))
    large, small = (grad, x) if transposed else (x, grad)
    windows = sliding(np.shape(large)[2:], kernel, s, p, d)
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


# Windows as columns of a matrix


def _im2col(x: Any, kernel: Any, dilation: Any, padding: Any, stride: Any) -> Any:
    k, d, p, s = (each(one, 2) for one in (kernel, dilation, padding, stride))
    columns = _columns(x if np.ndim(x) == 4 else x[None], sliding(np.shape(x)[-2:], k, s, p, d), 1)
    n, _, count, channels, size = np.shape(columns)
    found = np.transpose(columns[:, 0], (0, 2, 3, 1))
    found = np.reshape(found, (n, channels * size, count))
    return found if np.ndim(x) == 4 else found[0]


def _col2im(x: Any, sizes: Any, kernel: Any, dilation: Any, padding: Any, stride: Any) -> Any:
    k, d, p, s = (each(one, 2) for one in (kernel, dilation, padding, stride))
    windows = sliding(sizes, k, s, p, d)
    *lead, channels, count = np.shape(x)
    columns = np.reshape(x, (*lead, channels // prod(k), prod(k), count))
    columns = flat(np.swapaxes(columns, -1, -2), 2)
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
        }
    ).items()
}
