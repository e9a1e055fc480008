"""ATen's operations that reduce what belongs together: what is scattered to one place, or a bag.

What belongs together is known from plain integers, the same for all samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from gradcheck.capture.gathering import Places, gathered_sums, is_plain, lanes, numbered
from gradcheck.capture.program import Rule
from gradcheck.numbers.errors import NoRuleError

_np: Any = np
"""NumPy, whose functions take more than they are declared to."""


class Groups(NamedTuple):
    """Elements of a line, by what they belong to.

    Parameters
    ----------
    places
        A row for each group; where it has fewer elements than others the first one again.
    valid
        Which are not there for that reason.
    """

    places: Places
    valid: Any

    @property
    def sizes(self) -> Any:
        """How many elements each group has."""
        return self.valid.sum(axis=1)


def _groups(owners: Places, count: int) -> Groups:
    """Return which elements each of so many groups owns; the rest have no elements."""
    sizes = np.bincount(owners, minlength=count)
    order = np.argsort(owners, kind="stable")
    starts = np.cumsum(sizes) - sizes
    valid = np.arange(max(1, int(sizes.max(initial=0)))) < sizes[:, None]
    places = np.where(valid, starts[:, None] + np.arange(valid.shape[1]), starts[:, None])
    if not len(order):
        return Groups(np.zeros_like(places), valid)
    return Groups(order[np.minimum(places, len(order) - 1)], valid)


def _sums(found: Any, groups: Groups) -> Any:
    return _np.sum(_np.where(groups.valid, found, 0.0), axis=-1)


def _means(found: Any, groups: Groups) -> Any:
    return _sums(found, groups) / np.maximum(groups.sizes, 1)


def _products(found: Any, groups: Groups) -> Any:
    return _np.prod(_np.where(groups.valid, found, 1.0), axis=-1)


REDUCTIONS: Mapping[str, Callable[[Any, Groups], Any]] = {
    "sum": _sums,
    "mean": _means,
    "prod": _products,
    "amax": lambda found, _: _np.max(found, axis=-1),
    "amin": lambda found, _: _np.min(found, axis=-1),
}
EMPTY: Mapping[str, float] = {
    "sum": 0.0, "mean": np.nan, "prod": 1.0, "amax": -np.inf, "amin": np.inf,
}  # fmt: skip
"""What PyTorch makes of no elements."""


def _scatter_reduce(
    x: Any, dim: int, index: Any, source: Any, reduce: str, *, include_self: bool = True
) -> Any:
    """Reduce what goes to one place, with what is there or in its stead."""
    if not is_plain(index):
        name = "aten.scatter_reduce.two"
        raise NoRuleError(f"there is no rule for {name} by indices that vary", name)
    if not np.ndim(x):
        shape = np.shape(x)
        found = _scatter_reduce(
            _np.reshape(x, (1,)), 0, np.reshape(index, (-1,)), _np.reshape(source, (-1,)), reduce,
            include_self=include_self,
        )  # fmt: skip
        return _np.reshape(found, shape)
    shape, size = np.shape(x), int(np.prod(np.shape(x)))
    owners = numbered(shape)[lanes(x, dim, index)].reshape(-1)
    part = source[tuple(slice(0, n) for n in np.shape(index))]
    kept = np.arange(size)
    if not include_self:
        kept = np.setdiff1d(kept, owners)
    terms = _np.concatenate([_np.reshape(x, (-1,))[kept], _np.reshape(part, (-1,))])
    groups = _groups(np.concatenate([kept, owners]), size)
    return _np.reshape(REDUCTIONS[reduce](terms[groups.places], groups), shape)


def _index_reduce(
    x: Any, dim: int, index: Any, source: Any, reduce: str, *, include_self: bool = True
) -> Any:
    if not np.ndim(x):
        source = _np.reshape(source, np.shape(index))
        return _scatter_reduce(x, 0, index, source, reduce, include_self=include_self)
    axis = dim % np.ndim(x)
    lines = np.reshape(index, [-1 if i == axis else 1 for i in range(np.ndim(x))])
    places = np.broadcast_to(lines, np.shape(source))
    return _scatter_reduce(x, dim, places, source, reduce, include_self=include_self)


# Segments of lines

SEGMENTS = {"max": "amax", "min": "amin", "sum": "sum", "mean": "mean", "prod": "prod"}


def _owners(lengths: Any, offsets: Any) -> tuple[Any, int]:
    """Return the segment of each element of each line, and how many segments there are."""
    if lengths is None:
        lengths = np.diff(offsets, axis=-1)
    count = lengths.shape[-1]
    rows = [np.repeat(np.arange(count), row) for row in lengths.reshape(-1, count)]
    return rows, count


def _by_line(x: Any, axis: int) -> Any:
    """Return the lines, the axes before the given one made one and those behind it as they are."""
    shape = np.shape(x)
    return _np.reshape(x, (int(np.prod(shape[:axis])), *shape[axis:]))


def _segment_reduce(
    data: Any, reduce: str, *, lengths: Any = None, indices: Any = None, offsets: Any = None,
    axis: int = 0, unsafe: bool = False, initial: Any = None,
) -> Any:  # fmt: skip
    rows, count = _owners(lengths, offsets)
    name, found = SEGMENTS[reduce], []
    for line, owners in zip(_by_line(data, axis), rows, strict=True):
        groups = _groups(owners, count)
        terms = _np.moveaxis(line[: len(owners)], 0, -1)[..., groups.places]
        result = _started(name, REDUCTIONS[name](terms, groups), groups, initial)
        found.append(_np.moveaxis(result, -1, 0))
    shape = np.shape(data)
    return _np.reshape(_np.stack(found), (*shape[:axis], count, *shape[axis + 1 :]))


def _others(terms: Any, groups: Groups) -> Any:
    """Return of each term the product of all others of its group."""
    width = groups.valid.shape[1]
    kept = groups.valid[:, None, :] & ~np.eye(width, dtype=bool)
    return _np.prod(_np.where(kept, terms[..., None, :], 1.0), axis=-1)


def _shares(name: str, terms: Any, groups: Groups, initial: Any) -> Any:
    """Return the slopes of a reduction: elements that are the extremum share it."""
    if name == "prod":
        return _others(terms, groups) * (1.0 if initial is None else float(initial))
    if name in ("amax", "amin"):
        terms = _np.where(groups.valid, terms, EMPTY[name])
        top = REDUCTIONS[name](terms, groups)[..., None]
        start = EMPTY[name] if initial is None else float(initial)
        reached = top >= start if name == "amax" else top <= start
        hits = _np.where(_np.logical_and(reached, _np.equal(terms, top)), 1.0, 0.0)
        hits = _np.where(groups.valid, hits, 0.0)
        count = _np.sum(hits, axis=-1, keepdims=True)
        return hits / _np.where(count < 1, 1.0, count)
    ones = groups.valid * 1.0
    return ones / np.maximum(groups.sizes, 1)[:, None] if name == "mean" else ones


def _segment_backward(
    grad: Any, output: Any, data: Any, reduce: str, *, lengths: Any = None, offsets: Any = None,
    axis: int = 0, initial: Any = None,
) -> Any:  # fmt: skip
    rows, count = _owners(lengths, offsets)
    name, found = SEGMENTS[reduce], []
    for line, of_result, owners in zip(
        _by_line(data, axis), _by_line(grad, axis), rows, strict=True
    ):
        groups = _groups(owners, count)
        line, of_result = (_np.moveaxis(one, 0, -1) for one in (line, of_result))
        slopes = _shares(name, line[..., groups.places], groups, initial)
        given = (of_result[..., None] * slopes)[..., groups.valid]
        total = gathered_sums(given, groups.places[groups.valid], np.shape(line)[-1])
        found.append(_np.moveaxis(total, -1, 0))
    return _np.reshape(_np.stack(found), np.shape(data))


def _started(name: str, result: Any, groups: Groups, initial: Any) -> Any:
    """Let a reduction begin with a number, a mean only if there is nothing else."""
    start = EMPTY[name] if initial is None else float(initial)
    if initial is not None and name == "sum":
        result = result + start
    elif initial is not None and name == "prod":
        result = result * start
    elif initial is not None and name == "mean":
        result = result + start / np.maximum(groups.sizes, 1)
    elif initial is not None:
        result = (_np.maximum if name == "amax" else _np.minimum)(result, start)
    return _np.where(groups.sizes > 0, result, start)


# Bags of rows

SUM, MEAN = 0, 1
"""Modes of an embedding bag."""


def _bags(indices: Any, offsets: Any, last_included: bool) -> Any:
    starts = offsets[:-1] if last_included else offsets
    return np.searchsorted(starts, np.arange(len(indices)), side="right") - 1, len(starts)


def _embedding_bag(
    weight: Any, indices: Any, offsets: Any, scale_grad_by_freq: bool = False, mode: int = SUM,
    sparse: bool = False, per_sample_weights: Any = None, include_last_offset: bool = False,
    padding_idx: int = -1,
) -> Any:  # fmt: skip
    _check_mode(mode, "aten._embedding_bag.default")
    bags, count = _bags(indices, offsets, include_last_offset)
    kept = np.flatnonzero(indices != padding_idx)
    rows = weight[indices[kept]]
    if per_sample_weights is not None:
        rows = rows * per_sample_weights[kept][:, None]
    sums = _np.transpose(gathered_sums(_np.transpose(rows), bags[kept], count))
    sizes = np.bincount(bags[kept], minlength=count)
    result = sums / np.maximum(sizes, 1)[:, None] if mode == MEAN else sums.copy()
    return result, bags, sizes, sizes * 0


def _check_mode(mode: int, name: str) -> None:
    if mode not in (SUM, MEAN):
        raise NoRuleError(f"there is no rule for {name} with a maximum", name)


def embedding_backward(
    grad: Any, indices: Any, count: int, padding: int = -1, by_frequency: bool = False
) -> Any:
    """Add up what belongs to each row of a table."""
    width = np.shape(grad)[-1]
    rows = np.moveaxis(np.reshape(grad, (-1, width)), 0, -1)
    places = indices.reshape(-1)
    if by_frequency:
        rows = rows / np.bincount(places, minlength=count)[places]
    kept = np.flatnonzero(places != padding)
    return np.transpose(gathered_sums(rows[:, kept], places[kept], count)).copy()


def _bag_backward(
    grad: Any, indices: Any, bags: Any, sizes: Any, maxima: Any, count: int, by_frequency: bool,
    mode: int, per_sample_weights: Any, padding: int = -1,
) -> Any:  # fmt: skip
    _check_mode(mode, "aten._embedding_bag_backward.default")
    if mode == MEAN:
        grad = grad / np.maximum(sizes, 1)[:, None]
    rows = grad[bags]
    if per_sample_weights is not None:
        rows = rows * per_sample_weights[:, None]
    return embedding_backward(rows, indices, count, padding, by_frequency)


def _any_bag_backward(
    grad: Any, indices: Any, offsets: Any, bags: Any, sizes: Any, maxima: Any, count: int,
    by_frequency: bool, mode: int, sparse: bool, *rest: Any,
) -> Any:  # fmt: skip
    if sparse:
        name = "aten._embedding_bag_backward.default"
        raise NoRuleError(f"there is no rule for {name} that yields a sparse tensor", name)
    return _bag_backward(
        grad, indices, bags, sizes, maxima, count, by_frequency, mode, *rest
    )  # fmt: skip


def _bag_weights_backward(
    grad: Any, weight: Any, indices: Any, offsets: Any, bags: Any, mode: int, padding: int = -1
) -> Any:
    found = _np.sum(grad[bags] * weight[indices], axis=-1)
    return _np.where(indices != padding, found, 0.0)


RULES: Mapping[str, Rule] = {
    "aten.scatter_reduce.two": _scatter_reduce,
    "aten.index_reduce.default": _index_reduce,
    "aten.segment_reduce.default": _segment_reduce,
    "aten._segment_reduce_backward.default": _segment_backward,
    "aten._embedding_bag.default": _embedding_bag,
    "aten._embedding_bag_forward_only.default": _embedding_bag,
    "aten._embedding_bag_backward.default": _any_bag_backward,
    "aten._embedding_bag_dense_backward.default": _bag_backward,
    "aten._embedding_bag_per_sample_weights_backward.default": _bag_weights_backward,
    "aten.embedding_dense_backward.default": embedding_backward,
}
"""The rules, by the names of ATen."""
