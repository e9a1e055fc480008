"""ATen's operations that read and write elements by integers and masks.

Sums of what is written to one place are single sums, whatever their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gradcheck.capture.aten_sorting import RULES as SORTING
from gradcheck.capture.aten_views import along
from gradcheck.capture.gathering import added, is_plain, lanes, numbered
from gradcheck.capture.program import Rule
from gradcheck.numbers.dispatch import Number
from gradcheck.numbers.errors import NoRuleError


def _integers(index: Any) -> Any:
    """Return integers that are no masks as they are; masks as truth values."""
    return index.astype(bool) if is_plain(index) and index.dtype == np.uint8 else index


def _full(indices: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(slice(None) if one is None else _integers(one) for one in indices)


def _by_sample(indices: Sequence[Any]) -> bool:
    return any(not (one is None or is_plain(one)) for one in indices)


def _index(x: Any, indices: Sequence[Any]) -> Any:
    if not _by_sample(indices) or None not in [*indices, *[None] * (np.ndim(x) - len(indices))]:
        return x[_full(indices)]
    given = [axis for axis, one in enumerate(indices) if one is not None]
    front = np.moveaxis(x, given, range(len(given)))
    rest = np.shape(front)[len(given) :]
    ndim = max(np.ndim(indices[axis]) for axis in given)
    grid = [np.arange(n).reshape(-1, *[1] * (len(rest) - 1 - i)) for i, n in enumerate(rest)]
    found = front[(*(_spread(indices[axis], len(rest)) for axis in given), *grid)]
    if given[-1] - given[0] + 1 > len(given):
        return found
    return np.moveaxis(found, range(ndim), range(given[0], given[0] + ndim))


def _spread(index: Any, axes: int) -> Any:
    return index[(..., *(None,) * axes)]


def _index_put(x: Any, indices: Sequence[Any], values: Any, accumulate: bool = False) -> Any:
    return _index_put_(x.copy(), indices, values, accumulate)


def _index_put_(
    x: Any, indices: Sequence[Any], values: Any, accumulate: bool = False, *_: Any
) -> Any:
    where = _full(indices)
    if not accumulate:
        x[where if len(where) > 1 else where[0]] = values
    elif _by_sample(indices):
        np.add.at(x, where, values)
    else:
        x[...] = added(x, numbered(np.shape(x))[where], values)
    return x


def _index_select(x: Any, dim: int, index: Any) -> Any:
    return np.take(x, index, axis=dim) if np.ndim(x) else x.copy()


def _index_add_(x: Any, dim: int, index: Any, source: Any, *, alpha: Any = 1) -> Any:
    source = source if alpha == 1 else source * alpha
    if not np.ndim(x):
        x[...] = added(x, np.zeros(np.shape(index), int), source)
        return x
    x[...] = added(x, numbered(np.shape(x))[along(x, dim, index)], source)
    return x


def _index_copy_(x: Any, dim: int, index: Any, source: Any) -> Any:
    x[along(x, dim, index) if np.ndim(x) else ...] = (
        source if np.ndim(x) else np.reshape(source, ())
    )
    return x


def _take(x: Any, index: Any) -> Any:
    return np.ravel(x)[index]


def _put_(x: Any, index: Any, source: Any, accumulate: bool = False) -> Any:
    flat = np.reshape(x, (-1,))
    source = np.reshape(source, np.shape(index))
    x[...] = np.reshape(_index_put(flat, [index], source, accumulate), np.shape(x))
    return x


def _gather(x: Any, dim: int, index: Any, **_: Any) -> Any:
    return x[lanes(x, dim, index)] if np.ndim(x) else np.reshape(x, np.shape(index))


def _part(source: Any, index: Any) -> Any:
    """Return of a source as much as is indexed."""
    if not np.ndim(source):
        return source
    return source[tuple(slice(0, n) for n in np.shape(index))]


def _scatter_(x: Any, dim: int, index: Any, source: Any, *, reduce: str | None = None) -> Any:
    if reduce is not None:
        raise NoRuleError(f"there is no rule for scatter with reduce={reduce!r}", "aten.scatter")
    if not np.ndim(x):
        x[...] = source
    else:
        x[lanes(x, dim, index)] = _part(source, index)
    return x


def _scatter_add_(x: Any, dim: int, index: Any, source: Any) -> Any:
    if not np.ndim(x):
        x[...] = x + np.reshape(source, ())
        return x
    source = np.broadcast_to(_part(source, index), np.shape(index))
    if is_plain(index):
        x[...] = added(x, numbered(np.shape(x))[lanes(x, dim, index)], source)
        return x
    # Which element goes where differs from sample to sample: a product with a matrix of masks.
    axis, shape = dim % np.ndim(x), np.shape(x)
    hits = np.moveaxis(index, axis, -1)[..., None, :] == np.arange(shape[axis])[:, None]
    sums = np.matmul(hits * 1.0, np.moveaxis(source, axis, -1)[..., None])[..., 0]
    x[tuple(slice(0, n if i != axis else None) for i, n in enumerate(np.shape(index)))] += (
        np.moveaxis(sums, -1, axis)
    )
    return x


def _masked_select(x: Any, mask: Any) -> Any:
    shape = np.broadcast_shapes(np.shape(x), np.shape(mask))
    return np.broadcast_to(x, shape)[np.broadcast_to(mask, shape)]


def _ranks(mask: Any) -> Any:
    """Return of each element where the mask holds the how manieth it is."""
    if not is_plain(mask):
        mask = np.reshape(np.asarray(mask.decided()), np.shape(mask))
    return mask, np.cumsum(mask.reshape(-1)).reshape(mask.shape) - 1


def _masked_scatter(x: Any, mask: Any, source: Any) -> Any:
    shape = np.broadcast_shapes(np.shape(x), np.shape(mask))
    mask, ranks = _ranks(np.broadcast_to(mask, shape))
    found = np.reshape(source, (-1,))[np.where(mask, ranks, 0)]
    return np.where(mask, found, np.broadcast_to(x, shape))


def _masked_scatter_(x: Any, mask: Any, source: Any) -> Any:
    x[...] = _masked_scatter(x, mask, source)
    return x


def _masked_scatter_backward(grad: Any, mask: Any, sizes: Sequence[int]) -> Any:
    shape = np.broadcast_shapes(np.shape(grad), np.shape(mask))
    mask, _ = _ranks(np.broadcast_to(mask, shape))
    found = np.broadcast_to(grad, shape)[mask]
    result = np.zeros_like(grad, shape=(int(np.prod(sizes)),))
    result[: len(found)] = found
    return np.reshape(result, tuple(sizes))


def _embedding(weight: Any, indices: Any, padding: int = -1, *_: Any, **__: Any) -> Any:
    """Take rows; that of the padding is a constant to whoever differentiates."""
    rows = weight[indices] if is_plain(indices) else _index(weight, [indices])
    if padding < 0:
        return rows
    is_padding = np.equal(indices, padding)[..., None]
    return np.where(is_padding, rows.still() if isinstance(rows, Number) else rows, rows)


def _copying(rule: Rule) -> Rule:
    """Return the rule that works on a copy of the first operand."""
    return lambda x, *args, **options: rule(x.copy(), *args, **options)


IN_PLACE: Mapping[str, Rule] = {
    "index_add_": _index_add_,
    "index_copy_": _index_copy_,
    "index_fill_": _index_copy_,
    "put_": _put_,
    "scatter_": _scatter_,
    "scatter_add_": _scatter_add_,
}
RULES: Mapping[str, Rule] = {
    **SORTING,
    **{
        f"aten.{name}": rule
        for name, rule in dict[str, Rule](
            {
                **IN_PLACE,
                **{name[:-1]: _copying(rule) for name, rule in IN_PLACE.items()},
                "index": _index,
                "_unsafe_index": _index,
                "index_put": _index_put,
                "_unsafe_index_put": _index_put,
                "index_put_": _index_put_,
                "_index_put_impl_": _index_put_,
                "index_select": _index_select,
                "take": _take,
                "gather": _gather,
                "masked_select": _masked_select,
                "masked_scatter": _masked_scatter,
                "masked_scatter_": _masked_scatter_,
                "masked_scatter_backward": _masked_scatter_backward,
                "nonzero": lambda x: np.stack(np.nonzero(x), axis=-1),
                "embedding": _embedding,
            }
        ).items()
    },
}
"""The rules, by the names of ATen."""
