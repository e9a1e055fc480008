"""A sweep in pieces: what a process is given at a time, and what a checkpoint counts.

How a sweep is cut depends on the request alone, not on how many processes share the work.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from gradcheck.harness.request import Request

FEWEST, LONGEST = 16, 32
"""Of a long sweep, the number of pieces at least, and the blocks in one at most."""


@dataclass(frozen=True)
class Stretch:
    """Some successive blocks of samples, `first` to `last` without it, in some formats."""

    dtypes: tuple[str, ...]
    first: int
    last: int

    def __len__(self) -> int:
        """Return the number of blocks, one format each."""
        return (self.last - self.first) * len(self.dtypes)


def cut(request: Request, block: int) -> list[Stretch]:
    """Cut a sweep into stretches; a short one by format as well."""
    blocks = ceil(request.samples / block)
    length = max(1, min(LONGEST, blocks // FEWEST))
    together = [request.dtypes] if blocks >= FEWEST else [(dtype,) for dtype in request.dtypes]
    return [
        Stretch(dtypes, first, min(first + length, blocks))
        for first in range(0, blocks, length)
        for dtypes in together
    ]
