"""Numbers of 16 bits as a kernel that fuses nothing has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gradcheck.numbers.array import Storage
from gradcheck.numbers.dispatch import FORMATS
from gradcheck.numbers.plain import Plain
from gradcheck.numbers.rounding import WORKING


def plain(arrays: Mapping[str, Storage], hidden: int) -> dict[str, Plain]:
    """Return plain numbers, which round as their format asks; integers go along with the others."""
    for array in arrays.values():
        kept = array.dtype
        if kept in FORMATS and kept.itemsize < WORKING.itemsize:
            return {name: Narrow(one, hidden, kept) for name, one in arrays.items()}
    return {name: Plain(one, hidden) for name, one in arrays.items()}


class Narrow(Plain):
    """An array per sample; every operation computes in float32, and rounds what it arrives at.

    NumPy itself adds up numbers of 16 bits in 16 bits, and makes of some products float32.

    Parameters
    ----------
    array
        The numbers, shape `(n, …)`, or integers and truth values.
    hidden
        Whether the sample axis is hidden: 1 or 0.
    kept
        The format to which they are rounded.
    """

    __slots__ = ("kept",)

    def __init__(self, array: Storage, hidden: int, kept: np.dtype[Any]) -> None:
        if array.dtype.kind not in "iub":
            array = array.astype(kept).astype(WORKING)
        super().__init__(array, hidden)
        self.kept = kept

    def with_parts(self, parts: Sequence[Storage], hidden: int | None = None) -> Narrow:
        """Return other numbers, rounded."""
        return Narrow(parts[0], self.hidden if hidden is None else hidden, self.kept)
