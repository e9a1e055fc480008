"""The first wrong line of a forward pass: where it parts from the definition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.adapters.steps import evaluate
from gradcheck.judge.evaluation import Values
from gradcheck.model.board import Given
from gradcheck.model.model import Model
from gradcheck.model.taps import tap_name, with_taps
from gradcheck.numbers.plain import Plain

MENDED = 2.0**-30
"""Relative difference of two losses that counts as none, when a forward line is mended."""


@dataclass(frozen=True)
class Departure:
    """A quantity of the trace that the definition does not compute.

    Parameters
    ----------
    quantity
        Its name.
    right
        Those before it, which the definition computes too.
    explanation
        Why it is to blame.
    wrong
        On how many samples the losses differ.
    unseen
        Those before it, which the definition does not compute either.
    """

    quantity: str
    right: tuple[str, ...]
    explanation: str
    wrong: int
    unseen: tuple[str, ...] = ()


def departure(
    model: Model, values: Values, trace: Mapping[str, NDArray[np.float64]]
) -> Departure | None:
    """Find the first quantity which, given a value that the definition computes, mends the loss.

    Parameters
    ----------
    trace
        What the forward pass writes, each of shape `(n, *shape)`, in order; `loss` last.
    """
    target, computed = _definition_steps(model, values)
    shapes = {name: array.shape[1:] for name, array in trace.items() if name != "loss"}
    samples = len(trace["loss"])
    tapped = with_taps(model, shapes)
    zeros = {tap_name(name): np.zeros((samples, *shape)) for name, shape in shapes.items()}
    differs = int(np.count_nonzero(~_close(trace["loss"], target)))
    earlier = list(values.values())
    right: list[str] = []
    unseen: list[str] = []
    for name in shapes:
        held = trace[name]
        copied = _among(held, earlier)
        earlier.append(held)
        if not copied and _among(held, computed):
            right.append(name)
            continue  # the definition computes it too
        for value in computed:
            if value.shape != held.shape or _close(value, held).all():
                continue
            with np.errstate(all="ignore"):
                changed = {**values, **zeros, tap_name(name): value - held}
                mended = evaluate(tapped, tapped.loss, changed)
            if _close(mended, target).all():
                words = (
                    f"{name} is not what the definition computes; with that value in its place "
                    f"the pass agrees with the definition on all {samples} samples"
                )
                return Departure(name, tuple(right), words, differs, tuple(unseen))
        unseen.append(name)
    if len(right) == len(shapes):
        words = "loss differs from the definition, though all that it is computed from is right"
        return Departure("loss", tuple(right), words, differs)
    return None


def _among(value: NDArray[Any], others: Iterable[NDArray[Any]]) -> bool:
    return any(other.shape == value.shape and _close(other, value).all() for other in others)


def _close(a: Any, b: Any) -> NDArray[np.bool_]:
    """Compare values of which a difference by rounding alone is not in question here."""
    close = np.abs(a - b) <= MENDED * np.maximum(np.abs(a), np.abs(b))
    return np.asarray(close | ~np.isfinite(a) | ~np.isfinite(b))


class _Noting(Plain):
    """Plain numbers of which every result computed from them is noted in a list that they share."""

    __slots__ = ("noted",)

    def __init__(self, array: NDArray[Any], hidden: int, noted: list[NDArray[Any]]) -> None:
        super().__init__(array, hidden)
        self.noted = noted

    def _result(self, array: NDArray[Any], operands: Sequence[Plain]) -> _Noting:
        self.noted.append(array)
        return _Noting(array, max(operand.hidden for operand in operands), self.noted)

    def with_parts(self, parts: Sequence[NDArray[Any]], hidden: int | None = None) -> _Noting:
        return _Noting(parts[0], self.hidden if hidden is None else hidden, self.noted)

    def constant(self, value: Any) -> _Noting:
        return _Noting(super().constant(value).array, 0, self.noted)


def _definition_steps(model: Model, values: Values) -> tuple[NDArray[Any], list[NDArray[Any]]]:
    """Return the definition's loss, and the result of every operation on the way to it."""
    noted: list[NDArray[Any]] = []
    hidden = 0 if model.batched else 1
    leaves = {name: _Noting(array, hidden, noted) for name, array in values.items()}
    with np.errstate(all="ignore"):
        loss = model.loss(np, Given(leaves))
    return np.asarray(loss.array if isinstance(loss, Plain) else loss), noted
