"""Many samples of a model in Arb at once, so that what an operation costs in Python is paid once.

Those on which a comparison has a tie, or is open at the precision, are left to one at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.model.board import Given
from gradcheck.model.model import Model, run_passes
from gradcheck.numbers.arb import Reals, Side
from gradcheck.numbers.array import insert_axes
from gradcheck.truth.derivative import Direction, UnsupportedOperationError, called
from gradcheck.truth.enclosures import Enclosures, precision

Mask = NDArray[np.bool_]


class Points:
    """Samples of a model, exact in Arb.

    Parameters
    ----------
    values
        Inputs and parameters, of shape `(n, *shape)`, taken as exact.
    dtype
        The format under judgement, for code that asks for it.
    """

    def __init__(self, model: Model, values: Mapping[str, Any], dtype: Any = np.float64) -> None:
        self.model, self.dtype = model, dtype
        self.hidden = 0 if model.batched else 1
        self.samples = len(next(iter(values.values())))
        self._leaves = {name: Reals.from_value(array).values for name, array in values.items()}

    def slopes(self, direction: Direction, bits: int) -> tuple[Enclosures, Mask]:
        """Differentiate the definition on each sample, along a direction of its own.

        Parameters
        ----------
        direction
            How fast parameters move, arrays of shape `(n, *shape)`.

        Returns
        -------
        slopes
            Enclosures of the derivatives, shape `(n,)`.
        known
            Where these are two-sided ones, and of something that is not provably undefined.
        """

        def slopes(leaves: dict[str, Reals]) -> tuple[Enclosures, Mask]:
            for name, speeds in direction.items():
                leaves[name] = leaves[name].moving(speeds)
            loss = self.model.loss(np, Given(leaves))
            held, wanted = loss.values.shape, (self.samples,)
            if held != wanted or loss.is_discrete:
                raise UnsupportedOperationError(f"losses of shape {held}")
            _, found, _, undefined = loss.whole()
            return found, ~np.asarray(undefined, bool)

        return self._evaluated(slopes, bits, (np.empty(self.samples, object), np.False_))

    def gradients(self, bits: int) -> tuple[dict[str, Enclosures], Mask]:
        """Run the hand-written passes, see `Point.gradients`.

        Returns
        -------
        gradients
            Enclosures by parameter, each of shape `(n, *shape)`.
        known
            Where these are known.
        """

        def gradients(leaves: dict[str, Reals]) -> tuple[dict[str, Enclosures], Mask]:
            _, _, d = run_passes(self.model, np, leaves)
            found = {name: self._spread(d[name], name) for name in self.model.parameters}
            return found, np.ones(self.samples, bool)

        return self._evaluated(gradients, bits, ({}, np.False_))

    def _spread(self, value: Any, name: str) -> Enclosures:
        """Give a gradient all samples, and the shape of its parameter."""
        reals = value if isinstance(value, Reals) else Reals.from_value(value)
        shape = self.model.parameters[name]
        balls = insert_axes(reals.cast(float).values, reals.hidden, len(shape))
        return np.broadcast_to(balls, (self.samples, *shape))

    def _evaluated(
        self,
        function: Callable[[dict[str, Reals]], tuple[Any, Mask]],
        bits: int,
        nothing: tuple[Any, Any],
    ) -> tuple[Any, Mask]:
        """Return what a function of the leaves does and where it is known: nowhere if it fails."""
        side = Side(-1, self.dtype, samples=self.samples)
        leaves = {
            name: Reals(array, side, hidden=self.hidden) for name, array in self._leaves.items()
        }
        with precision(bits):
            try:
                found, known = called(function, leaves)
            except (UnsupportedOperationError, ValueError, ArithmeticError):
                return nothing[0], np.broadcast_to(nothing[1], self.samples)
        if self.model.batched and side.open.any():  # which sample's it was is not known
            known = np.zeros(self.samples, bool)
        return found, known & ~side.open
