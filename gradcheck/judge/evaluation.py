"""Both hand-written passes on one kind of number, over a block of samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.errors import RequestError, guarded
from gradcheck.judge.mistakes import check_boards, check_number, failure
from gradcheck.model.board import Blackboard
from gradcheck.model.model import Model, run_passes
from gradcheck.numbers.array import (
    Batched,
    Choices,
    OneSampleError,
    insert_axes,
)
from gradcheck.numbers.ball import Ball
from gradcheck.numbers.plain import Plain
from gradcheck.numbers.rounding import Rounding

Floats = NDArray[np.float64]
Values = Mapping[str, NDArray[Any]]
Make = Callable[[Any, int, Choices], Any]
"""From a leaf's values, the number of sample axes to hide, and the choices, to numbers."""

NOTICEABLY = 1 + 2.0**-20
"""By which factor a bar must grow for an open comparison to matter to it."""
NEGLIGIBLE = 2.0**-55
"""Up to which share of a radius an allowance is lost when it is added and rounded."""


@dataclass(frozen=True)
class Bars:
    """A gradient's values, and how far an honest evaluation may be from them.

    Each has the shape `(n, *shape)`. Where `kink` holds, the hand-written pass may honestly have
    chosen otherwise, and honest values are those within `reach` of `center`.
    """

    value: Floats
    bound: Floats
    kink: NDArray[np.bool_]
    center: Floats
    reach: Floats


class Evaluation:
    """Both passes, run on numbers that know their own error.

    Parameters
    ----------
    values
        Inputs and parameters, of shape `(n, *shape)`.
    make
        Makes numbers of them.
    both
        Whether open comparisons are answered both ways.
    wanted
        How many samples are needed, if it takes one at a time.

    Attributes
    ----------
    v, t, d
        The values, the trace and the adjoints, as blackboards of numbers.

    Raises
    ------
    RequestError
        If a pass raises, or what it writes does not fit the model.
    """

    def __init__(
        self,
        model: Model,
        values: Values,
        rounding: Rounding,
        make: Make,
        *,
        both: bool = True,
        wanted: int | None = None,
    ) -> None:
        self.model, self.rounding = model, rounding
        self.samples = len(next(iter(values.values())))
        self.one_by_one = False
        try:
            boards, choices = self._run(values, make, both, self.samples)
        except OneSampleError:
            self.one_by_one = True
            self.samples = min(self.samples, wanted or self.samples)
            values = {name: array[: self.samples] for name, array in values.items()}
            boards, choices = self._run_one_by_one(values, make, both)
        self.v, self.t, self.d = boards
        self.open, self.branched = choices.open, choices.branched
        check_boards(model, self.t, self.d, self._shape)
        self.rows = np.flatnonzero(self.open) if both else np.zeros(0, int)
        self.decided: Evaluation | None = None
        if len(self.rows):
            some = {name: array[self.rows] for name, array in values.items()}
            self.decided = Evaluation(model, some, rounding, make, both=False)

    def _run(
        self, values: Values, make: Make, both: bool, samples: int
    ) -> tuple[tuple[Blackboard, Blackboard, Blackboard], Choices]:
        choices = Choices(samples, both)
        leaves = {
            name: make(array, 0 if self.model.batched else 1, choices)
            for name, array in values.items()
        }
        for leaf in leaves.values():
            leaf.frozen = True
        try:
            with guarded():
                boards = run_passes(self.model, np, leaves)
            like = next(iter(leaves.values()))
            v = self._numbers(boards[0], like)
            t, d = (self._numbers(board, like, written=True) for board in boards[1:])
        except (OneSampleError, RequestError):
            raise
        except Exception as error:
            raise failure(self.model, "passes", error) from error
        return (v, t, d), choices

    def _numbers(self, board: Blackboard, like: Any, *, written: bool = False) -> Blackboard:
        """Make numbers of the constants that a pass wrote, one for each sample.

        What is not given is `written` down, in the format under judgement.
        """
        numbers = Blackboard()
        for name in board:
            value = board[name]
            check_number(self.model, name, value)
            number = like.lifted(value)
            if number.hidden < like.hidden:
                lead = like.parts[0].shape[: like.hidden]
                number = number.with_parts(
                    [np.broadcast_to(part, (*lead, *np.shape(part))) for part in number.parts],
                    like.hidden,
                )
            numbers[name] = number.written_down() if written else number
        return numbers

    def _run_one_by_one(
        self, values: Values, make: Make, both: bool
    ) -> tuple[tuple[Blackboard, Blackboard, Blackboard], Choices]:
        """Run code with an `if`, or a `for` over an input's value, sample by sample."""
        runs = []
        choices = Choices(self.samples, both)
        for row in range(self.samples):
            one = {name: array[row : row + 1] for name, array in values.items()}
            boards, chosen = self._run(one, make, both, 1)
            runs.append(boards)
            choices.open[row], choices.branched[row] = chosen.open[0], chosen.branched[0]
        return (
            _joined([v for v, _, _ in runs]),
            _joined([t for _, t, _ in runs]),
            _joined([d for _, _, d in runs]),
        ), choices

    def _shape(self, number: Any) -> tuple[int, ...]:
        """Return the shape for one sample."""
        if not self.model.batched:
            return tuple(number.shape)
        shape = number.mid.shape
        if not shape:
            return ()
        return tuple(shape[1:]) if shape[0] in (1, self.samples) else (shape[0], *shape[1:])

    @cached_property
    def _all_numbers(self) -> list[Any]:
        boards = (self.v, self.t, self.d)
        return list({id(board[name]): board[name] for board in boards for name in board}.values())

    @cached_property
    def largest_of_all(self) -> float:
        """A bound on all values, quantities and adjoints of all samples; NaN if there is none."""
        return float(np.max([number.largest_magnitude for number in self._all_numbers]))

    @cached_property
    def largest(self) -> Floats:
        """Per sample, a bound on the magnitude of all of these, shape `(n,)`."""
        return self._largest(None)

    def _largest(self, rows: NDArray[np.int64] | None) -> Floats:
        """Return `largest` of some samples."""
        largest = np.zeros(self.samples if rows is None else len(rows))
        for number in self._all_numbers:
            if rows is not None:
                axis = max(number.hidden - 1, 0)
                number = number.with_parts(
                    [
                        part.take(rows, axis) if part.shape[axis:][:1] == (self.samples,) else part
                        for part in number.parts
                    ]
                )
            with np.errstate(over="ignore", invalid="ignore"):
                magnitude = number.magnitude
            if isinstance(number, Ball) and np.isnan(magnitude).any():
                # What is no number for certain does not overflow.
                undefined = np.isnan(number.mid) & (number.rad == 0)
                magnitude = np.where(undefined, 0.0, magnitude)
            if magnitude.ndim > 1:
                magnitude = magnitude.reshape(len(magnitude), -1).max(axis=1)
            np.maximum(largest, magnitude, out=largest)
        largest[np.isnan(largest)] = np.inf
        return largest

    def overflow_risk(self, ndim: int) -> NDArray[np.bool_]:
        """Tell on which samples another order of products may overflow, shape `(n, 1, …)`."""
        safe = np.sqrt(self.rounding.largest)
        if self.largest_of_all <= safe:
            return np.zeros((self.samples,) + (1,) * (ndim - 1), bool)
        return np.asarray(~(self.largest <= safe).reshape((-1,) + (1,) * (ndim - 1)))

    def bars(self, name: str, normal_range: tuple[float, float]) -> Bars:
        """Return a parameter's gradient.

        The numbers enclose every evaluation of the products in the order in which the hand-written
        pass takes them. Another order may pass through the underflow or the overflow range where
        this one does not. A partial product that is flushed is off by less than the smallest normal
        number, and what it is multiplied with later is no larger than the sample's largest
        quantity: that much is added to the radius.

        Parameters
        ----------
        normal_range
            Between which magnitudes the evaluation under judgement keeps full precision.
        """
        shape = (self.samples, *self.model.parameters[name])
        mid, rad = (
            np.broadcast_to(insert_axes(part, 1, len(shape) - 1), shape)
            for part in (self.d[name].mid, self.d[name].rad)
        )
        value = np.ascontiguousarray(mid, dtype=np.float64)
        bound = self._bound(rad, normal_range)
        kink = np.zeros(shape, bool)
        if self.decided is None:
            return Bars(value, bound, kink, value, bound)
        rows, decided = self.rows, self.decided.bars(name, normal_range)
        center, reach = value, bound.copy()
        value, bound = center.copy(), reach.copy()
        value[rows], bound[rows] = decided.value, decided.bound
        kink[rows] = ~(reach[rows] <= decided.bound * NOTICEABLY)
        kink[rows] |= self.branched[rows].reshape((-1,) + (1,) * (len(shape) - 1))
        reach[self.branched] = np.inf
        return Bars(value, bound, kink, center, reach)

    def _bound(self, rad: Floats, normal_range: tuple[float, float]) -> Floats:
        """Add to radii, `(n, *shape)`, what flushing may do in another order."""
        smallest_held, largest_held = normal_range
        allowance = smallest_held * max(self.largest_of_all, 1)
        if not self.largest_of_all <= largest_held:
            rows = np.arange(self.samples)
        elif allowance <= NEGLIGIBLE * rad.min():
            return rad
        else:
            noticed = (allowance > NEGLIGIBLE * rad) & (rad != 0)
            rows = np.flatnonzero(noticed.reshape(self.samples, -1).any(axis=1))
            if not len(rows):
                return rad
        bound = rad.copy()
        largest = self._largest(rows).reshape((-1,) + (1,) * (rad.ndim - 1))
        some = rad[rows]
        with np.errstate(over="ignore"):
            raised = some + smallest_held * np.maximum(largest, 1)
        raised[some == 0] = 0  # an exact zero, in whichever order
        raised[np.broadcast_to(~(largest <= largest_held), some.shape)] = np.inf
        bound[rows] = raised
        return bound


def takes_one_sample(model: Model) -> bool:
    """Tell whether the passes run on one sample at a time only: they branch on a value."""
    if model.batched:
        return False
    leaves = {}
    for name, shape in model.leaves.items():
        domain = model.domain(name)
        kind = int if domain is not None and domain.is_discrete else float
        leaves[name] = Plain(np.ones((2, *shape), kind), 1)
    try:
        with guarded(), np.errstate(all="ignore"):
            run_passes(model, np, leaves)
    except OneSampleError:
        return True
    except Exception:  # which is said where the passes are run on samples
        return False
    return False


def _joined(boards: list[Blackboard]) -> Blackboard:
    joined = Blackboard()
    for name in boards[0]:
        numbers: list[Batched] = [board[name] for board in boards]
        axis = numbers[0].hidden - 1
        joined[name] = numbers[0].with_parts(
            [
                np.concatenate(parts, axis=axis)
                for parts in zip(*(number.whole() for number in numbers), strict=True)
            ]
        )
    return joined
