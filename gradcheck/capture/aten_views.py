"""ATen's operations that show, move, repeat and join elements.

Those that are views in PyTorch return views, so that what is written to one is seen in the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gradcheck.capture.program import Rule
from gradcheck.numbers.array import Batched
from gradcheck.numbers.errors import NoRuleError


def along(x: Any, axis: int, index: Any) -> tuple[Any, ...]:
    """Return an index of all of an array along all axes but one."""
    before = axis % max(np.ndim(x), 1)
    return (*(slice(None),) * before, index, Ellipsis)


def _same(x: Any, *_: Any, **__: Any) -> Any:
    return x[...]


def _select(x: Any, dim: int, index: int) -> Any:
    return x[along(x, dim, int(index))]


def _slice(
    x: Any, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Any:
    return x[along(x, dim, slice(start, end, step))]


def _view(x: Any, shape: Sequence[int], *_: Any) -> Any:
    if not isinstance(shape, Sequence):
        raise NoRuleError("there is no rule for a view of another format", "aten.view.dtype")
    return np.reshape(x, tuple(shape))


def _transposed(x: Any, one: int, other: int) -> Any:
    return np.swapaxes(x, one, other) if np.ndim(x) else x[...]


def _squeeze(x: Any, dim: int | Sequence[int] | None = None) -> Any:
    ndim, shape = np.ndim(x), np.shape(x)
    dims: Sequence[int] = range(ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    axes = {one % ndim for one in dims} if ndim else set()
    return np.reshape(x, [n for axis, n in enumerate(shape) if axis not in axes or n != 1])


def _unsqueeze(x: Any, dim: int) -> Any:
    return np.expand_dims(x, dim)


def _expand(x: Any, size: Sequence[int], **_: Any) -> Any:
    missing = len(size) - np.ndim(x)
    shape = [
        np.shape(x)[axis - missing] if wanted == -1 else wanted for axis, wanted in enumerate(size)
    ]
    return np.broadcast_to(x, shape)


def _diagonal(x: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    moved: Any = np.moveaxis(x, (dim1, dim2), (-2, -1))
    if _is_number(x):
        return moved.rearranged(_diagonal_of, (moved, offset), {})
    return _diagonal_of(moved, offset)


def _is_number(x: Any) -> bool:
    return isinstance(x, Batched)


def _diagonal_of(matrix: Any, offset: int) -> Any:
    """Return a view that may be written to, other than NumPy's."""
    rows, columns = matrix.shape[-2:]
    row, column = max(0, -offset), max(0, offset)
    count = max(0, min(rows - row, columns - column))
    step = matrix.strides[-2] + matrix.strides[-1]
    return np.lib.stride_tricks.as_strided(
        matrix[..., row:, column:], (*matrix.shape[:-2], count), (*matrix.strides[:-2], step)
    )


def _unfold(x: Any, dimension: int, size: int, step: int) -> Any:
    if not np.ndim(x):
        return np.reshape(x, (1,))[:size]
    count = (np.shape(x)[dimension] - size) // step + 1
    places = np.arange(count)[:, None] * step + np.arange(size)
    windows = x[along(x, dimension, places)]
    return np.moveaxis(windows, dimension % np.ndim(x) + 1, -1)


def _split(x: Any, size: int | Sequence[int], dim: int = 0) -> list[Any]:
    total = np.shape(x)[dim]
    sizes = (
        [min(size, total - i) for i in range(0, max(total, 1), max(size, 1))]
        if isinstance(size, int)
        else size
    )
    ends = np.cumsum(sizes)
    return [_slice(x, dim, int(end - n), int(end)) for end, n in zip(ends, sizes, strict=True)]


def _unbind(x: Any, dim: int = 0) -> list[Any]:
    return [_select(x, dim, i) for i in range(np.shape(x)[dim])]


def _flip(x: Any, dims: Sequence[int]) -> Any:
    return np.flip(x, tuple(dims)).copy()


def _roll(x: Any, shifts: Any, dims: Any = ()) -> Any:
    shifts, dims = (tuple(np.atleast_1d(one)) for one in (shifts, dims))
    return np.roll(x, tuple(map(int, shifts)), tuple(map(int, dims)) or None)


def _repeat(x: Any, repeats: Sequence[int]) -> Any:
    return np.tile(x, tuple(repeats))


def _repeat_interleave(x: Any, repeats: int, dim: int | None = None, **_: Any) -> Any:
    return np.repeat(np.ravel(x) if dim is None else x, repeats, 0 if dim is None else dim)


def _cat(tensors: Sequence[Any], dim: int = 0) -> Any:
    kept = [one for one in tensors if np.shape(one) != (0,)] or list(tensors)[:1]
    return np.concatenate(kept, axis=dim)


def _diag_embed(x: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    count = np.shape(x)[-1] + abs(offset)
    result = np.zeros_like(x, shape=(*np.shape(x)[:-1], count, count))
    diagonal = np.arange(np.shape(x)[-1])
    result[..., diagonal + max(0, -offset), diagonal + max(0, offset)] = x
    return np.moveaxis(result, (-2, -1), (dim1, dim2))


def _constant_pad(x: Any, pad: Sequence[int], value: Any = 0) -> Any:
    """Add a value around the last axes, or cut them where the width is negative."""
    ndim = np.ndim(x)
    widths = [(0, 0)] * (ndim - len(pad) // 2)
    widths += [(pad[i], pad[i + 1]) for i in reversed(range(0, len(pad), 2))]
    sizes = [n + low + high for n, (low, high) in zip(np.shape(x), widths, strict=True)]
    result = np.full_like(x, value, shape=tuple(sizes))
    inner = tuple(
        slice(max(low, 0), size - max(high, 0))
        for size, (low, high) in zip(sizes, widths, strict=True)
    )
    cut = tuple(
        slice(max(-low, 0), n - max(-high, 0))
        for n, (low, high) in zip(np.shape(x), widths, strict=True)
    )
    result[inner] = x[cut]
    return result


def _pixel_shuffle(x: Any, factor: int) -> Any:
    *lead, channels, height, width = np.shape(x)
    n = len(lead)
    split = np.reshape(x, (*lead, channels // factor**2, factor, factor, height, width))
    moved = np.transpose(split, (*range(n), n, n + 3, n + 1, n + 4, n + 2))
    return np.reshape(moved, (*lead, channels // factor**2, height * factor, width * factor))


def _pixel_unshuffle(x: Any, factor: int) -> Any:
    *lead, channels, height, width = np.shape(x)
    n, height, width = len(lead), height // factor, width // factor
    split = np.reshape(x, (*lead, channels, height, factor, width, factor))
    moved = np.transpose(split, (*range(n), n, n + 2, n + 4, n + 1, n + 3))
    return np.reshape(moved, (*lead, channels * factor**2, height, width))


def _written(view: Callable[..., Any]) -> Rule:
    """Return the rule that writes to a view of a copy."""

    def scatter(x: Any, source: Any, *where: Any, **options: Any) -> Any:
        result = x.copy()
        view(result, *where, **options)[...] = source
        return result

    return scatter


def _backward(view: Callable[..., Any]) -> Rule:
    """Return the rule that writes a gradient to a view of zeros."""

    def backward(grad: Any, sizes: Sequence[int], *where: Any) -> Any:
        result = np.zeros_like(grad, shape=tuple(sizes))
        view(result, *where)[...] = grad
        return result

    return backward


def _diagonal_scatter(x: Any, source: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    result = x.copy()
    moved = np.moveaxis(result, (dim1, dim2), (-2, -1))
    diagonal = np.arange(np.shape(source)[-1])
    moved[..., diagonal + max(0, -offset), diagonal + max(0, offset)] = source
    return result


def _diagonal_backward(grad: Any, sizes: Sequence[int], *where: int) -> Any:
    return _diagonal_scatter(np.zeros_like(grad, shape=tuple(sizes)), grad, *where)


def _in_place(rule: Rule) -> Rule:
    """Return the rule that writes its result into the first operand."""

    def changed(x: Any, *args: Any, **options: Any) -> Any:
        x[...] = rule(x, *args, **options)
        return x

    return changed


VIEWS: Mapping[str, Rule] = {
    "alias": _same,
    "detach": _same,
    "view": _view,
    "_unsafe_view": _view,
    "_reshape_alias": _view,
    "reshape": _view,
    "select": _select,
    "slice": _slice,
    "permute": lambda x, dims: np.transpose(x, tuple(dims)),
    "t": lambda x: np.transpose(x),
    "transpose": _transposed,
    "squeeze": _squeeze,
    "unsqueeze": _unsqueeze,
    "expand": _expand,
    "diagonal": _diagonal,
    "unbind": _unbind,
    "split": _split,
    "split_with_sizes": _split,
}
"""Views."""
COPIES: Mapping[str, Rule] = {
    f"{name}_copy": lambda *args, rule=rule, **options: _copied(rule(*args, **options))
    for name, rule in VIEWS.items()
}


def _strided(x: Any, shape: Any, strides: Any, offset: Any = None) -> Any:
    """Look at parts of what is stored by rows, which may overlap."""
    where = tuple(shape), tuple(strides), offset or 0
    return x.rearranged(_strided_of, (x, *where), {}) if _is_number(x) else _strided_of(x, *where)


def _strided_of(array: Any, shape: Any, strides: Any, offset: int) -> Any:
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if not array.flags.c_contiguous or last >= array.size:
        raise NoRuleError("no rule for aten.as_strided of what is stored apart", "aten.as_strided")
    flat = array.reshape(-1)[offset:]
    steps = [step * flat.itemsize for step in strides]
    return np.lib.stride_tricks.as_strided(flat, shape, steps)


def _copied(result: Any) -> Any:
    return [one.copy() for one in result] if isinstance(result, list) else result.copy()


RULES: Mapping[str, Rule] = {
    f"aten.{name}": rule
    for name, rule in dict[str, Rule](
        {
            **VIEWS,
            **COPIES,
            **{f"{name}_": VIEWS[name] for name in ("t", "transpose", "squeeze", "unsqueeze")},
            "unfold": _unfold,
            "as_strided.default of rows": _strided,
            "as_strided_scatter.default of rows": _written(_strided),
            "flip": _flip,
            "roll": _roll,
            "repeat": _repeat,
            "repeat_interleave.self_int": _repeat_interleave,
            "cat": _cat,
            "stack": lambda tensors, dim=0: np.stack(tensors, axis=dim),
            "tril": lambda x, diagonal=0: np.tril(x, diagonal),
            "triu": lambda x, diagonal=0: np.triu(x, diagonal),
            "tril_": _in_place(lambda x, diagonal=0: np.tril(x, diagonal)),
            "triu_": _in_place(lambda x, diagonal=0: np.triu(x, diagonal)),
            "diag_embed": _diag_embed,
            "constant_pad_nd": _constant_pad,
            "pixel_shuffle": _pixel_shuffle,
            "pixel_unshuffle": _pixel_unshuffle,
            "select_scatter": _written(_select),
            "slice_scatter": _written(_slice),
            "diagonal_scatter": _diagonal_scatter,
            "select_backward": _backward(_select),
            "slice_backward": _backward(_slice),
            "diagonal_backward": _diagonal_backward,
        }
    ).items()
}
"""The rules, by the names of ATen."""
