"""How far two honest evaluations of a recorded function may be apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.adapters import normal_range
from gradcheck.capture.model import COTANGENT, CapturedModel, captured_model
from gradcheck.capture.situations import Arrays, Bars
from gradcheck.judge.reference import Passes
from gradcheck.numbers.array import insert_axes
from gradcheck.numbers.rounding import Rounding

TWO = 2.0
"""Either evaluation may be as far from the reference as its bound."""


@dataclass(frozen=True)
class CallBars:
    """Tells the bars of a model's function, or of another.

    Parameters
    ----------
    arrays
        Of the model's parameters, on the sample that is looked at.
    """

    model: CapturedModel
    rounding: Rounding
    arrays: Arrays

    def __call__(
        self, cotangents: Sequence[Any], arrays: Arrays | None = None, subject: Any = None
    ) -> Bars:
        """Return the bars for these inputs of this function."""
        model = self.model
        if subject is not None:
            model = captured_model("other", {"": subject}, subject, cotangents, {})
        leaves = dict(self.arrays if arrays is None else arrays)
        leaves |= {f"{COTANGENT}.{i}": np.asarray(one) for i, one in enumerate(cotangents)}
        wide = {name: np.asarray(leaf, np.float64)[None] for name, leaf in leaves.items()}
        passes = Passes(model, wide, self.rounding)
        held = normal_range(self.rounding.dtype)
        program = model.programs.of(leaves, self.rounding.dtype.name)
        return Bars(
            {name: _gradient(passes, name, held) for name in model.parameters},
            [
                _output(passes, number, np.shape(one), held)
                for number, one in zip(program.outputs, cotangents, strict=True)
            ],
        )


def _gradient(passes: Passes, name: str, held: tuple[float, float]) -> NDArray[np.float64]:
    reference = passes.gradient(name, held, 1)
    bar: NDArray[np.float64] = TWO * reference.bound[0]
    if reference.kink is None or reference.reach is None:
        return bar
    return np.asarray(np.where(reference.kink[0], TWO * reference.reach[0], bar))


def _output(
    passes: Passes, number: int, shape: tuple[int, ...], held: tuple[float, float]
) -> NDArray[np.float64]:
    """Return an output's bar; zero if it is what was given, and nothing computed."""
    board, name = passes.t, f"quantity.{number}"
    if name not in board:
        return np.zeros(shape)
    if passes.open[0] or passes.branched[0]:
        return np.full(shape, np.inf)
    rad = np.broadcast_to(insert_axes(board[name].rad, 1, len(shape)), (1, *shape))[0]
    smallest, largest = held
    if not passes.largest[0] <= largest:
        return np.full(shape, np.inf)
    bar = TWO * (rad + smallest * max(passes.largest[0], 1.0))
    return np.asarray(np.where(rad == 0, 0.0, bar))
