"""What each quantity of the trace is made of: the edges of the computation's graph.

One number after the other is moved, and whatever is written to the trace in consequence is held at
what it was before: what then differs is made of that number directly.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from copy import deepcopy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.errors import guarded
from gradcheck.model.board import Blackboard, Given
from gradcheck.model.model import Model
from gradcheck.numbers.narrow import plain
from gradcheck.numbers.plain import Plain

FACTOR, SHIFT = 1.25, 0.125
"""How a number is moved: a zero and a one too, and by no multiple of π."""


def array_of(number: Any) -> NDArray[Any]:
    """Return the values of a plain number, or of a constant."""
    return np.asarray(number.array if isinstance(number, Plain) else number)


class _HeldTrace(Blackboard):
    """A trace on which every quantity but the one that is moved is as it was."""

    def __init__(self, before: Blackboard, moved: str = "") -> None:
        super().__init__()
        vars(self).update(_before=before, _moved=moved, _differing=[])

    def _write(self, name: str, value: Any) -> None:
        before = self._before[name] if name in set(self._before) else value
        if not np.array_equal(array_of(value), array_of(before), equal_nan=True):
            self._differing.append(name)
        # A copy, for the pass may go on to change in place what it wrote.
        held = before * FACTOR + SHIFT if name == self._moved else deepcopy(before)
        super()._write(name, held)


def find_origins(model: Model, values: Mapping[str, NDArray[Any]]) -> dict[str, list[str]]:
    """Say of each quantity of the trace, in its order, of which leaves and quantities it is made.

    Parameters
    ----------
    values
        Inputs and parameters of some samples, `(n, *shape)`: what makes no difference on any of
        them is not found, and neither are integers.
    """
    before = Blackboard()
    _forward(model, values, before)
    origins: dict[str, list[str]] = {name: [] for name in before}
    for name, array in values.items():
        if array.dtype.kind == "i":
            continue
        for reached in _reached(model, {**values, name: array * FACTOR + SHIFT}, before):
            origins[reached].append(name)
    for name in before:
        for reached in _reached(model, values, before, name):
            origins[reached].append(name)
    return origins


def _reached(
    model: Model, values: Mapping[str, NDArray[Any]], before: Blackboard, moved: str = ""
) -> list[str]:
    held = _HeldTrace(before, moved)
    with suppress(Exception), guarded():  # an index cannot be moved; what was seen until then is so
        _forward(model, values, held)
    return [name for name in held._differing if name in set(before)]


def _forward(model: Model, values: Mapping[str, NDArray[Any]], trace: Blackboard) -> None:
    numbers = plain(values, 0 if model.batched else 1)
    for number in numbers.values():
        number.frozen = True
    with np.errstate(all="ignore"):
        model.forward(np, Given(numbers), trace)
