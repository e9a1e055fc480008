"""The hand-written passes themselves, on plain numbers of the dtype under judgement."""

from __future__ import annotations

from typing import Any

import numpy as np
from ml_dtypes import bfloat16
from numpy.typing import NDArray

from gradcheck.adapters import Adapter, Arrays, Gradients
from gradcheck.model.model import Model, run_passes
from gradcheck.numbers.array import OneSampleError
from gradcheck.numbers.narrow import plain
from gradcheck.numbers.plain import Plain

NARROW = [np.dtype(np.float16), np.dtype(bfloat16)]


def _prepare(model: Model, dtype: np.dtype[Any]) -> Gradients:
    def gradients(values: Arrays) -> Arrays:
        try:
            return at_once(values)
        except OneSampleError:  # a pass that branches takes one sample after the other
            samples = len(next(iter(values.values())))
            rows = [
                at_once({name: array[row : row + 1] for name, array in values.items()})
                for row in range(samples)
            ]
            return {name: np.concatenate([row[name] for row in rows]) for name in model.parameters}

    def at_once(values: Arrays) -> dict[str, NDArray[Any]]:
        leaves: dict[str, Any] = dict(values)
        hidden = 0 if model.batched else 1
        if hidden or dtype in NARROW:
            leaves = dict(plain(values, hidden))
            for leaf in leaves.values():
                leaf.frozen = True
        _, _, d = run_passes(model, np, leaves)
        return {name: _array(d[name], values[name].shape, dtype) for name in model.parameters}

    return gradients


def _array(number: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return what a pass wrote for all samples; a constant holds for each of them."""
    hidden = number.hidden if isinstance(number, Plain) else 0
    array = np.asarray(number.array if isinstance(number, Plain) else number)
    if hidden:
        array = array.reshape(array.shape[:1] + (1,) * (len(shape) - array.ndim) + array.shape[1:])
    return np.broadcast_to(array, shape).astype(dtype)


hand_written = Adapter(_prepare, "the hand-written passes in this dtype")
