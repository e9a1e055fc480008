"""The definition on balls: on which samples it is undefined, and on which it has a kink."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.errors import guarded
from gradcheck.judge.evaluation import Values
from gradcheck.model.board import Given
from gradcheck.model.model import Model
from gradcheck.numbers.ball import Ball, as_ball
from gradcheck.numbers.choices import RecordedChoices
from gradcheck.numbers.rounding import Rounding


class Definition:
    """The loss of a block of samples, evaluated where somebody asks for it and nowhere else.

    Parameters
    ----------
    values
        Inputs and parameters, of shape `(n, *shape)`.

    Attributes
    ----------
    undefined
        Where the loss is not a number whatever the rounding, as far as one has looked; `(n,)`.
    mid, rad
        The loss's ball where one has looked, and NaN where not; `(n,)`.
    failure
        Why balls cannot follow the definition; `None` if they can, or nobody has looked. Then
        nothing is undefined, and whatever the passes leave open may be a kink.
    """

    def __init__(self, model: Model, values: Values, rounding: Rounding) -> None:
        self.model, self.values, self.rounding = model, values, rounding
        samples = len(next(iter(values.values())))
        self.mid, self.rad = np.full(samples, np.nan), np.full(samples, np.nan)
        self.undefined, self._open = np.zeros(samples, bool), np.zeros(samples, bool)
        self._seen = np.zeros(samples, bool)
        self.failure: Exception | None = None

    def look(self, rows: Any) -> None:
        """Evaluate the samples of these numbers within the block, unless that is done."""
        wanted = np.zeros(len(self._seen), bool)
        wanted[rows] = True
        new = np.flatnonzero(wanted & ~self._seen)
        if not len(new) or self.failure is not None:
            return
        try:
            with np.errstate(all="ignore"):
                self._evaluate(new)
        except Exception as error:  # whoever differentiates it will say what is wrong with it
            self.failure = error

    def is_open(self, rows: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell on which of some samples a comparison may go either way, shape of `rows`."""
        self.look(rows)
        return np.asarray(self._open[rows] | (self.failure is not None))

    def _evaluate(self, rows: NDArray[np.int64]) -> None:
        count, hidden = len(rows), 0 if self.model.batched else 1
        choices = RecordedChoices(count)
        leaves = {
            name: Ball.from_value(array[rows], self.rounding, hidden, choices)
            for name, array in self.values.items()
        }
        with guarded():
            loss = as_ball(self.model.loss(np, Given(leaves)), self.rounding)
        mid, rad = (np.broadcast_to(part, (count,)) for part in loss.whole())
        is_open = choices.open
        for lead, slack in choices.arguments:
            near = np.abs(lead) <= slack
            if near.ndim and len(near) == count:
                is_open = is_open | near.reshape(count, -1).any(axis=1)
        self.mid[rows], self.rad[rows], self._open[rows] = mid, rad, is_open
        self.undefined[rows] = np.isnan(mid) & (rad == 0)
        self._seen[rows] = True
