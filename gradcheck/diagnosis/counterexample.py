"""The simplest sample on which a wrong line still shows."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from gradcheck.diagnosis.recording import record
from gradcheck.diagnosis.search import differ, held
from gradcheck.diagnosis.statements import Statements
from gradcheck.diagnosis.tape import OverBudgetError
from gradcheck.judge.evaluation import Values
from gradcheck.model.model import Model, each_sample, label

PLAIN_NUMBERS = (0.0, 1.0, 2.0, -1.0, 3.0, 0.5, -2.0)
SIMPLIFIED = 40
"""Most numbers of a sample that are made plain one after the other."""
CLEARLY = 2.0**-10
"""A counterexample's relative error, unless no sample fails that clearly."""
WORK = 50_000
"""Operations that are spent; numbers whose turn does not come stay as they are."""


def simplest_counterexample(
    model: Model, values: Values, row: int, name: str, element: int, clarity: float, dtype: Any
) -> dict[str, float]:
    """Make the numbers of the clearest failure plain, one by one, while it still fails.

    To be called at Arb's working precision.

    Parameters
    ----------
    row, name, element
        Where an adjoint is clearly wrong; the element by its position in the flattened array.
    clarity
        Its relative error there.
    dtype
        The format under judgement.

    Returns
    -------
    dict
        Numbers by the labels of the leaves' elements; empty if a sample has too many.
    """
    if sum(prod(shape) for shape in model.leaves.values()) > SIMPLIFIED:
        return {}
    sample = {leaf: np.array(array[row : row + 1]) for leaf, array in values.items()}
    needed, left = min(CLEARLY, clarity / 2), WORK

    def fails() -> bool:
        nonlocal left
        try:
            recording = record(
                model, next(each_sample(model, sample)), Statements(), left, loss=False, dtype=dtype
            )
        except (ValueError, ArithmeticError, OverBudgetError):
            return False
        left -= recording.operations
        mine, truth = held(recording, name), recording.truth[name]
        return mine is not None and clearness(mine.flat[element], truth.flat[element]) > needed

    for leaf, array in sample.items():
        if model.domain(leaf) is not None:
            continue
        for position in np.ndindex(array.shape):
            number = float(array[position])
            rounded = (round(number, digits) for digits in range(4))
            for plain in (*PLAIN_NUMBERS, *rounded, number):
                array[position] = plain
                if plain == number or fails():
                    break
    return {
        label(leaf, position[1:]): array[position].item()
        for leaf, array in sample.items()
        for position in np.ndindex(array.shape)
    }


def clearness(node: Any, truth: Any) -> float:
    """Return the relative error of a number that is provably wrong, and 0 of any other."""
    if not differ(node.series, truth):
        return 0.0
    largest = max(abs(float(node.series.mid())), abs(float(truth.mid())))
    return abs(float((node.series - truth).mid())) / largest if largest else 0.0
