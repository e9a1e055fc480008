"""What all numbers of one evaluation share: comparisons that are left open, and what is what."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gradcheck.numbers.identity import Numbering

Storage = NDArray[Any]


class Choices:
    """Comparisons that rounding, or a tie, leaves open.

    Parameters
    ----------
    both
        Whether an open comparison is answered by the interval from 0 to 1; else by its midpoints.
    samples
        How many there are.

    Attributes
    ----------
    open
        On which samples there was one, shape `(samples,)`.
    branched
        On which samples an `if` or an index depended on one, so that not all that may be computed
        was followed, shape `(samples,)`.
    numbering
        Which results are one quantity.
    """

    records: ClassVar[bool] = False
    """Whether it wants to know what is compared."""

    def __init__(self, samples: int, both: bool = True) -> None:
        self.both, self.samples = both, samples
        self.open = np.zeros(samples, bool)
        self.branched = np.zeros(samples, bool)
        self.numbering = Numbering()

    def branch(self, left_open: NDArray[np.bool_]) -> None:
        """Mark the samples of an array, `(samples, …)`, whose open comparisons choose a branch."""
        before, self.open = self.open, np.zeros(self.samples, bool)
        self.note(left_open)
        self.branched |= self.open
        self.open |= before

    def note(self, left_open: NDArray[np.bool_]) -> None:
        """Mark the samples of an array, `(samples, …)`, in which something is open."""
        if left_open.any():
            if left_open.ndim and len(left_open) == self.samples:
                self.open |= left_open.reshape(self.samples, -1).any(axis=1)
            else:
                self.open[:] = True

    def record(self, lead: Storage, slack: Storage) -> None:
        """Take notice of what is compared with zero, and of how far from it is open."""


class RecordedChoices(Choices):
    """Choices that keep what is compared.

    Attributes
    ----------
    arguments
        What was compared with zero and how far from it is open, each of shape `(samples, …)`.
    """

    records = True

    def __init__(self, samples: int, both: bool = True) -> None:
        super().__init__(samples, both)
        self.arguments: list[tuple[Storage, Storage]] = []

    def record(self, lead: Storage, slack: Storage) -> None:
        """Keep both."""
        self.arguments.append((lead, slack))
