"""ATen's operations that resize along axes: interpolation, and padding by what is nearest.

Each element of the result is a sum of a few elements of the line it lies on, its taps. Which they
are is computed from the sizes alone, as PyTorch does; their weights are numbers with bars.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gradcheck.capture.gathering import Places, gathered_sums
from gradcheck.capture.program import Rule
from gradcheck.numbers.array import Batched

_np: Any = np
"""NumPy, whose functions take more than they are declared to."""


class Taps(NamedTuple):
    """What each element of a resized line is the sum of.

    Parameters
    ----------
    places
        Of each element, those of the line that it is made of; `(elements, taps)`.
    weights
        How much each counts; `None` if there is one, which is copied.
    """

    places: Places
    weights: Any = None


Line = Callable[[Any, int, int, Any], Taps]
"""From numbers of some kind, the sizes of a line before and after, and a scale, to its taps."""


def _resized(x: Any, lines: Sequence[Taps]) -> Any:
    """Resize the last axes."""
    for axis, taps in zip(range(-len(lines), 0), lines, strict=True):
        found = np.swapaxes(x, axis, -1)[..., taps.places]
        found = found[..., 0] if taps.weights is None else np.sum(found * taps.weights, axis=-1)
        x = np.swapaxes(found, axis, -1)
    return x


def _gathered(grad: Any, sizes: Sequence[int], lines: Sequence[Taps]) -> Any:
    """Give each element back what was made of it."""
    for axis, size, taps in zip(range(-len(lines), 0), sizes, lines, strict=True):
        shares = np.swapaxes(grad, axis, -1)[..., None]
        shares = shares if taps.weights is None else shares * taps.weights
        shares = np.reshape(shares, (*np.shape(shares)[:-2], taps.places.size))
        grad = np.swapaxes(gathered_sums(shares, taps.places.reshape(-1), size), axis, -1)
    return grad


# Interpolation


def format_of(like: Any) -> Any:
    """Return the type in which PyTorch computes where an element comes from."""
    found: Any = getattr(like, "format", None) if isinstance(like, Batched) else like.dtype
    return (found or np.dtype(float)).type


def _number(like: Any, value: Any) -> Any:
    return like.lifted(np.asarray(value, float)) if isinstance(like, Batched) else np.asarray(value)


def _scale(kind: Any, before: Any, after: int, corners: bool, scale: Any) -> Any:
    """Return how far apart in the line neighbours of the result are; of floats or of numbers."""
    if corners:
        return kind(before - 1) / kind(max(after - 1, 1))
    return kind(1.0 / scale) if scale else kind(before) / kind(after)


def _at(scale: Any, places: Any, corners: bool) -> Any:
    """Return where in the line the elements of the result lie."""
    return scale * places if corners else scale * (places + 0.5) - 0.5


def _offsets(like: Any, before: int, after: int, corners: bool, scale: Any, below: bool) -> Any:
    """Return the element before where each element of the result lies, and how far behind it.

    Floats decide which pieces these numbers are from: at a seam the pieces agree.

    Parameters
    ----------
    below
        Whether elements may lie below zero, or else are taken to lie there.
    """
    kind, places = format_of(like), np.arange(after)
    where = _at(_scale(kind, before, after, corners, scale), places.astype(kind), corners)
    lowest = np.logical_and(where < 0, not (below or corners))
    first = np.minimum(np.floor(np.where(lowest, 0, where)).astype(int), before - 1)
    number = partial(_number, like)
    exact = _at(_scale(number, before, after, corners, scale), number(places), corners) - first
    return first, _np.where(lowest, 0.0, _np.where(where - first > 1, 1.0, exact))


def _linear(like: Any, before: int, after: int, scale: Any, *, corners: bool) -> Taps:
    if before == after:
        return Taps(np.arange(after)[:, None])
    first, rest = _offsets(like, before, after, corners, scale, below=False)
    places = np.stack([first, np.minimum(first + 1, before - 1)], axis=-1)
    return Taps(places, _np.stack([1.0 - rest, rest], axis=-1))


SHARPNESS = -0.75
"""R. Keys, *Cubic convolution interpolation*, 1981: PyTorch's choice of the free parameter."""


def _near(x: Any, a: float) -> Any:
    """Return the cubic kernel up to one."""
    return ((a + 2) * x - (a + 3)) * x * x + 1


def _far(x: Any, a: float) -> Any:
    """Return the cubic kernel from one to two."""
    return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a


def _cubic(like: Any, before: int, after: int, scale: Any, *, corners: bool) -> Taps:
    first, t = _offsets(like, before, after, corners, scale, below=True)
    kernel = [_far(t + 1, SHARPNESS), _near(t, SHARPNESS)]
    kernel += [_near(1 - t, SHARPNESS), _far(2 - t, SHARPNESS)]
    places = np.clip(first[:, None] + np.arange(-1, 3), 0, before - 1)
    return Taps(places, _np.stack(kernel, axis=-1))


def _nearest(like: Any, before: int, after: int, scale: Any, *, middle: bool) -> Taps:
    """Copy; PyTorch looks for the nearest in float32, whatever the format."""
    step = _scale(np.float32, before, after, False, scale)
    places = np.floor((np.arange(after, dtype=np.float32) + np.float32(middle / 2)) * step)
    return Taps(np.minimum(places.astype(int), before - 1)[:, None])


def _tent(x: Any, size: Any) -> Any:
    return _np.where(size < 1, 1.0 - x, 0.0)


SOFTNESS = -0.5
"""Keys' own choice, which PyTorch takes where it smooths."""


def _keys(x: Any, size: Any) -> Any:
    found = _np.where(size < 1, _near(x, SOFTNESS), _far(x, SOFTNESS))
    return _np.where(size < 2, found, 0.0)


def _smooth(
    like: Any, before: int, after: int, scale: Any, *, corners: bool, kernel: Rule, reach: int
) -> Taps:
    """Let each element be a mean over as much of the line as it stands for."""
    kind, number = format_of(like), partial(_number, like)
    step = _scale(kind, before, after, corners, scale)
    middle = step * (np.arange(after).astype(kind) + kind(0.5))
    width = kind(reach / 2) * max(step, kind(1))
    start = np.maximum((middle - width + kind(0.5)).astype(int), 0)
    end = np.minimum((middle + width + kind(0.5)).astype(int), before)
    places = start[:, None] + np.arange((end - start).max())
    valid = places < end[:, None]
    divisor = max(step, kind(1))
    about = (places - middle[:, None] + kind(0.5)) / divisor  # decides on the pieces
    exact = _scale(number, before, after, corners, scale)
    distance = places - exact * (number(np.arange(after)) + 0.5)[:, None] + 0.5
    distance = distance / exact if step >= 1 else distance
    weights = kernel(_np.where(about < 0, -distance, distance), np.abs(about))
    weights = _np.where(valid, weights, 0.0)
    weights = weights / _np.sum(weights, axis=-1, keepdims=True)
    return Taps(np.where(valid, places, 0), weights)


def _lines(line: Line, like: Any, before: Any, after: Any, scales: Any) -> list[Taps]:
    scales = scales or [None] * len(after)
    return [line(like, *one) for one in zip(before, after, scales, strict=True)]


def _options(line: Any, axes: int, given: Sequence[Any], has_corners: bool) -> tuple[Line, Any]:
    """Tell the option that aligns corners from the scales."""
    if not has_corners:
        return line, list(given) or None
    return partial(line, corners=given[0]), list(given[1:]) or None


def _upsample(line: Any, axes: int, has_corners: bool = True) -> Rule:
    def resize(x: Any, sizes: Any, *given: Any) -> Any:
        of_line, scales = _options(line, axes, given, has_corners)
        return _resized(x, _lines(of_line, x, np.shape(x)[-axes:], sizes, scales))

    return resize


def _upsample_backward(line: Any, axes: int, has_corners: bool = True) -> Rule:
    def backward(grad: Any, sizes: Any, shape: Any, *given: Any) -> Any:
        of_line, scales = _options(line, axes, given, has_corners)
        before = tuple(shape)[-axes:]
        return _gathered(grad, before, _lines(of_line, grad, before, sizes, scales))

    return backward


# Padding


def _repeated(size: int, low: int, high: int) -> Taps:
    """Repeat the ends; cut off where the width is negative."""
    return Taps(np.clip(np.arange(-low, size + high), 0, size - 1)[:, None])


def _edges(shape: Sequence[int], pad: Sequence[int]) -> list[Taps]:
    axes = len(pad) // 2
    widths = [(pad[i], pad[i + 1]) for i in reversed(range(0, len(pad), 2))]
    sizes = tuple(shape)[len(shape) - axes :]
    return [_repeated(n, *width) for n, width in zip(sizes, widths, strict=True)]


def _replicate(x: Any, pad: Sequence[int]) -> Any:
    return _resized(x, _edges(np.shape(x), pad)).copy()


def _replicate_backward(grad: Any, x: Any, pad: Sequence[int]) -> Any:
    lines = _edges(np.shape(x), pad)
    return _gathered(grad, np.shape(x)[-len(lines) :], lines)


INTERPOLATIONS: Mapping[str, tuple[Any, int, bool]] = {
    "upsample_linear1d": (_linear, 1, True),
    "upsample_bilinear2d": (_linear, 2, True),
    "upsample_trilinear3d": (_linear, 3, True),
    "upsample_bicubic2d": (_cubic, 2, True),
    "_upsample_bilinear2d_aa": (partial(_smooth, kernel=_tent, reach=2), 2, True),
    "_upsample_bicubic2d_aa": (partial(_smooth, kernel=_keys, reach=4), 2, True),
    **{
        f"{name}{axes}d": (partial(_nearest, middle=middle), axes, False)
        for name, middle in (("upsample_nearest", False), ("_upsample_nearest_exact", True))
        for axes in (1, 2, 3)
    },
}
"""By name: of the taps of a line, how many axes there are, and whether corners may be aligned."""

RULES: Mapping[str, Rule] = {
    **{f"aten.{name}.default": _upsample(*one) for name, one in INTERPOLATIONS.items()},
    **{
        f"aten.{name}_backward.default": _upsample_backward(*one)
        for name, one in INTERPOLATIONS.items()
    },
    **{f"aten.replication_pad{axes}d.default": _replicate for axes in (1, 2, 3)},
    **{f"aten.replication_pad{axes}d_backward.default": _replicate_backward for axes in (1, 2, 3)},
}
"""The rules, by the names of ATen."""
