"""What can be known of a sample whoever is accused: by the definition, and by the formula."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from gradcheck.model.board import Given
from gradcheck.model.model import Model, each_sample, run_passes
from gradcheck.numbers.rounding import Rounding
from gradcheck.truth.derivative import (
    Direction,
    Point,
    Slope,
    UnsupportedOperationError,
    called,
    working_bits,
)
from gradcheck.truth.enclosures import Enclosures

WORK = 50_000
"""Evaluations times numbers that the passes hold, which are spent on each: disputes, an audit."""
FEWEST = 8
"""Evaluations, or samples, that are afforded of however large a model."""


class Witness:
    """One sample of a model, and what definition and passes are on it.

    Parameters
    ----------
    values
        Inputs and parameters of shape `(1, *shape)`.
    rounding
        The format under judgement.

    Attributes
    ----------
    formulas
        What the passes were found to say, by precision and whether with loose constants.
    """

    def __init__(self, model: Model, values: Mapping[str, Any], rounding: Rounding) -> None:
        self.model, self.rounding = model, rounding
        self.values = values
        self.point = Point(model, next(each_sample(model, values)), rounding.dtype)
        self.formulas: dict[tuple[int, bool], dict[str, Enclosures] | None] = {}

    def formula(self, bits: int, loose: bool = False) -> dict[str, Enclosures] | None:
        """Run the hand-written passes in Arb: what they say, rounding apart; `None` if unknown.

        With loose constants they say no more than constants do that somebody rounded.
        """
        if (bits, loose) not in self.formulas:
            try:
                found = self.point.gradients(bits, loose)
            except (UnsupportedOperationError, ValueError, ArithmeticError):
                found = None
            self.formulas[bits, loose] = found
        return self.formulas[bits, loose]

    def coarse(self, direction: Direction) -> Slope:
        """Differentiate the definition with all the rounding that honest evaluations may have.

        That is forward mode at a precision in which an operation errs as much as two honest ones:
        what the definition cancels shows as width, in whichever mode it is differentiated. Nothing
        is known where that leaves no digit certain, or open what something is compared with.
        """
        return self.point.slope(direction, working_bits(self.rounding))

    @cached_property
    def is_open(self) -> bool:
        """Whether rounding may decide what the definition compares, other than an exact tie."""
        return not self.coarse({}).is_known

    @cached_property
    def loss_is_lost(self) -> bool:
        """Whether the definition, in plain arithmetic of this format, is infinite or NaN.

        Whatever a derivative of it yields then, a finite number among others, is worth nothing.
        """
        try:
            with np.errstate(all="ignore"):
                loss = called(self.model.loss, np, Given(self._plain))
        except (UnsupportedOperationError, ValueError, ArithmeticError):
            return False
        return not np.isfinite(loss).all()

    @cached_property
    def definition_breaks(self) -> bool:
        """Whether anything in the definition, in plain arithmetic, leaves the finite numbers."""
        return self._flags(("over", "divide", "invalid"), self.model.loss, np, Given(self._plain))

    @cached_property
    def passes_leave_range(self) -> bool:
        """Whether anything in the passes overflows or underflows, in plain arithmetic."""
        return self._flags(("over", "under"), run_passes, self.model, np, self._plain)

    @cached_property
    def _plain(self) -> dict[str, Any]:
        return {
            name: array if array.dtype.kind == "i" else array.astype(self.rounding.dtype)
            for name, array in next(each_sample(self.model, self.values)).items()
        }

    @staticmethod
    def _flags(kinds: Sequence[str], function: Callable[..., Any], *args: Any) -> bool:
        flags: Any = {"all": "ignore"} | dict.fromkeys(kinds, "raise")
        with np.errstate(**flags):
            try:
                called(function, *args)
            except FloatingPointError:
                return True
            except (UnsupportedOperationError, ValueError, ArithmeticError):
                return False  # is met and named where the definition and the passes are checked
        return False


def affordable(witness: Witness) -> int:
    """Return how many evaluations of a model the work is enough for."""
    return max(FEWEST, WORK // witness.point.size)
