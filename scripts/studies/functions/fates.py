"""What a fault does to the gradients: by Arb, so that small faults and none are told apart."""

from __future__ import annotations

import math
import warnings
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradcheck.capture.case import Case
from gradcheck.errors import RequestError
from gradcheck.numbers.rounding import Rounding
from gradcheck.truth.derivative import UnsupportedOperationError
from gradcheck.truth.enclosures import Enclosures
from gradcheck.truth.witness import Witness
from studies.functions.mutants import Mutant
from studies.functions.subjects import SUBJECTS

ELSEWHERE = (1000, 1001)
"""Seeds of more inputs on which mutants are compared with the correct pass."""
EQUAL = {"float64": 1e-13, "float32": 1e-5}
"""Where Arb cannot follow: gradients are equal that differ by less, in parts of the largest."""
BITS = 256


class Fate(NamedTuple):
    """What a fault does in a format; a factor near 1 that is rounded to 1 does nothing there.

    Parameters
    ----------
    name
        `fails`: the pass raises. `equal`: the enclosures of all its gradients overlap those of the
        correct pass on all inputs. `wrong`: on some they do not, so that they are proved to differ.
    deviation
        By how much they differ on the inputs that the detectors get, in parts of the largest
        element of the gradient; the largest of all gradients. NaN if the pass fails, infinite if a
        gradient is not finite.
    """

    name: str
    deviation: float


def find_fate(mutant: Mutant, dtype: str, seed: int) -> Fate:
    """Compare a mutant with the correct pass, in the format and in Arb.

    Parameters
    ----------
    seed
        Of the inputs that the detectors get.
    """
    deviations = []
    for each in (seed, *ELSEWHERE):
        try:
            deviation, differs = _compare(mutant, dtype, each)
        except Exception:  # whatever the fault leads to
            return Fate("fails", math.nan)
        deviations.append(deviation)
        if differs:
            return Fate("wrong", deviations[0])
    return Fate("equal", deviations[0])


def _compare(mutant: Mutant, dtype: str, seed: int) -> tuple[float, bool]:
    """Return the deviation, and whether the gradients are proved to differ."""
    honest = SUBJECTS[mutant.subject].function
    found = _floats(mutant.subject, mutant.function, dtype, seed)
    deviation = max(map(_deviation, found, _floats(mutant.subject, honest, dtype, seed)))
    formula = _formula(mutant.subject, mutant.function, dtype, seed)
    right = _right(mutant.subject, dtype, seed)
    if not math.isfinite(deviation) or formula is None or right is None:
        return deviation, not deviation <= EQUAL[dtype]
    apart = [_apart(formula[name], right[name]) for name in right]
    return max(by for _, by in apart), any(is_apart for is_apart, _ in apart)


def _floats(subject: str, function: Any, dtype: str, seed: int) -> list[NDArray[Any]]:
    inputs = SUBJECTS[subject].make_inputs(dtype, seed)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # such as that a scalar has no transpose
        return SUBJECTS[subject].gradients(function.apply, inputs, seed)


def _deviation(found: NDArray[Any], right: NDArray[Any]) -> float:
    if not np.isfinite(found).all():
        return math.inf
    return float(np.abs(found - right).max() / np.abs(right).max())


def _formula(subject: str, function: Any, dtype: str, seed: int) -> dict[str, Enclosures] | None:
    """Enclose what a pass says, rounding apart; `None` if Arb cannot follow."""
    inputs = SUBJECTS[subject].make_inputs(dtype, seed)
    try:
        model = Case(function.apply, *inputs).model(seed)
        values = {name: np.asarray(value, dtype)[None] for name, value in model.given.items()}
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            formula = Witness(model, values, Rounding(np.dtype(dtype))).formula(BITS)
    except (RequestError, UnsupportedOperationError):
        return None
    finite = formula is not None and all(
        ball.is_finite() for balls in formula.values() for ball in balls.ravel().tolist()
    )
    return formula if finite else None


@cache
def _right(subject: str, dtype: str, seed: int) -> dict[str, Enclosures] | None:
    return _formula(subject, SUBJECTS[subject].function, dtype, seed)


def _apart(found: Enclosures, right: Enclosures) -> tuple[bool, float]:
    """Tell whether enclosures provably differ, and by which part of the largest."""
    pairs = list(zip(found.ravel().tolist(), right.ravel().tolist(), strict=True))
    largest = max(abs(float(b.mid())) for _, b in pairs)
    return (
        any(not a.overlaps(b) for a, b in pairs),
        max(abs(float((a - b).mid())) for a, b in pairs) / largest,
    )
