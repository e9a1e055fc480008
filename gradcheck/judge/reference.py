"""Reference values of gradients, and how far an honest evaluation may be from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.adapters import normal_range
from gradcheck.judge.definition import Definition
from gradcheck.judge.evaluation import Bars, Evaluation, Values
from gradcheck.judge.measures import ulp_of
from gradcheck.model.model import Model
from gradcheck.numbers.array import Choices
from gradcheck.numbers.ball import EXACT, Ball
from gradcheck.numbers.rounding import Rounding
from gradcheck.numbers.stochastic import Noise, Stochastic, runs_in

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

STOCHASTIC_NUMBERS = 2**21
"""Leaves times runs that are evaluated at once."""
NOISE_STREAM = 2**33
"""Of the seed's random words, from here on; samples use the streams below."""


@dataclass(frozen=True)
class Reference:
    """A gradient's reference values, and how far an honest evaluation may be from them.

    Parameters
    ----------
    value
        The hand-written pass in float64, shape `(n, *shape)`.
    bound
        The largest distance of an honest evaluation, shape of `value`; `inf` where it may overflow.
    overflow_risk
        Where another order of the same multiplications may overflow, broadcasts to `value`.
    rounding
        The format under judgement.
    kink
        Where a kink may be met, so that every value within `reach` of `center` is honest; `None`
        if nowhere.
    stochastic
        Where the bound is a statistical one; `None` if nowhere.
    definition
        Tells on which samples the loss is undefined; `None` if it is on none.
    """

    value: Floats
    bound: Floats
    overflow_risk: Mask
    rounding: Rounding
    kink: Mask | None = None
    center: Floats | None = None
    reach: Floats | None = None
    stochastic: Mask | None = None
    definition: Definition | None = None

    @property
    def undefined(self) -> bool:
        """Whether the loss is undefined on some sample, as far as one has looked."""
        return self.definition is not None and bool(self.definition.undefined.any())

    @cached_property
    def informative(self) -> Mask:
        """Where the bound leaves at least one certain bit."""
        return is_informative(self.value, self.bound)

    @cached_property
    def tells_everywhere(self) -> bool:
        """Whether every bound is informative, and no sample is on a kink."""
        return self.kink is None and bool(self.informative.all())

    @property
    def is_certain(self) -> bool:
        """Whether besides no sample is undefined, as far as one has looked."""
        return self.tells_everywhere and not self.undefined

    @cached_property
    def ulp(self) -> Floats:
        """One unit in the last place of the reference, in the format under judgement."""
        return ulp_of(self.value, self.rounding)


def is_informative(value: Floats, bound: Floats) -> Mask:
    """Tell where a bound leaves at least one certain bit."""
    half = np.asarray(np.abs(value))
    half *= 0.5
    informative = np.asarray(bound <= half)
    if half.size and not half.max() < np.inf:
        informative &= (bound < np.inf) & np.isfinite(value)
    return informative


class Passes(Evaluation):
    """Both passes on balls; where these tell too little, in stochastic arithmetic as well.

    Parameters
    ----------
    values
        Inputs and parameters, of shape `(n, *shape)`.
    rounding
        The format under judgement.
    bars
        `ball`, `stochastic`, or `auto` for a ball wherever it is informative.
    seed, start
        Of the samples; they choose the random signs of stochastic arithmetic.
    wanted
        How many samples are needed.
    """

    def __init__(
        self,
        model: Model,
        values: Values,
        rounding: Rounding,
        *,
        bars: str = "ball",
        seed: int = 0,
        start: int = 0,
        wanted: int | None = None,
    ) -> None:
        make = partial(_ball, rounding)
        super().__init__(model, values, rounding, make, wanted=wanted)
        self._values, self._kind, self._key = values, bars, (seed, start)
        self.wanted = self.samples if wanted is None else wanted

    @cached_property
    def definition(self) -> Definition:
        """The definition of the same samples; looked at where the trace is not a number."""
        values = {name: array[: self.samples] for name, array in self._values.items()}
        definition = Definition(self.model, values, self.rounding)
        loss = np.broadcast_to(self.t["loss"].mid, (self.samples,))
        unknown = np.isnan(loss)
        if unknown.any():
            definition.look(unknown)
        return definition

    def bars(self, name: str, normal_range: tuple[float, float], own: bool = False) -> Bars:
        """Return a parameter's gradient; a kink is one where the definition has one as well.

        With `own`, it is one wherever the hand-written pass may honestly choose otherwise.
        """
        bars = super().bars(name, normal_range)
        return bars if own else self._restricted(bars, np.arange(self.samples))

    def _restricted(self, bars: Bars, rows: NDArray[np.int64]) -> Bars:
        """Let no comparison that the definition does not leave open excuse what is wrong."""
        if not bars.kink.any():
            return bars
        kinked = np.flatnonzero(bars.kink.reshape(len(rows), -1).any(axis=1))
        closed = kinked[~self.definition.is_open(rows[kinked])]
        kink = bars.kink.copy()
        kink[closed] = False
        return replace(bars, kink=kink)

    @cached_property
    def _scattered(self) -> list[tuple[NDArray[np.int64], Evaluation]]:
        """Stochastic evaluations of the samples that need one, and which these are."""
        needed = np.zeros(self.samples, bool)
        for name in self.model.parameters:
            bars = self.bars(name, normal_range(self.rounding.dtype))
            wanting = ~is_informative(bars.value, bars.bound) | bars.kink
            wanting |= self._kind == "stochastic"
            needed |= wanting.reshape(self.samples, -1).any(axis=1)
        runs = runs_in(self.rounding) + 1
        numbers = sum(prod(shape) for shape in self.model.leaves.values()) * runs
        at_once = 1 if self.one_by_one else max(1, STOCHASTIC_NUMBERS // numbers)
        return list(self._evaluated(np.flatnonzero(needed), at_once))

    def _evaluated(
        self, rows: NDArray[np.int64], at_once: int
    ) -> Iterator[tuple[NDArray[np.int64], Evaluation]]:
        seed, start = self._key
        for first in range(0, len(rows), at_once):
            some = rows[first : first + at_once]
            if some[0] >= self.wanted:
                return
            noise = Noise(seed, NOISE_STREAM + start + int(some[0]))
            values = {name: array[some] for name, array in self._values.items()}
            make = partial(_stochastic, self.rounding, noise)
            yield some, Evaluation(self.model, values, self.rounding, make)

    def gradient(
        self, name: str, normal_range: tuple[float, float], count: int, own: bool = False
    ) -> Reference:
        """Return the reference of a parameter's gradient for the first `count` samples.

        `own` is as in `bars`.
        """
        bars = self.bars(name, normal_range, own)
        overflow_risk = np.broadcast_to(self.overflow_risk(bars.value.ndim), bars.value.shape)
        reference = self._reference(bars, overflow_risk, count)
        if self._kind == "ball" or (self._kind == "auto" and reference.tells_everywhere):
            return reference
        stochastic = np.zeros(bars.value.shape, bool)
        bars = Bars(*(np.array(part) for part in vars(bars).values()))
        for rows, evaluation in self._scattered:
            other = evaluation.bars(name, normal_range)
            other = other if own else self._restricted(other, rows)
            better = self._is_better(bars, rows, other)
            for mine, new in zip(vars(bars).values(), vars(other).values(), strict=True):
                mine[rows] = np.where(better, new, mine[rows])
            stochastic[rows] = better
            overflow_risk = overflow_risk.copy()
            overflow_risk[rows] = evaluation.overflow_risk(bars.value.ndim)
        return self._reference(bars, overflow_risk, count, stochastic if stochastic.any() else None)

    def _reference(
        self, bars: Bars, overflow_risk: Mask, count: int, stochastic: Mask | None = None
    ) -> Reference:
        has_kink = bars.kink[:count].any()
        return Reference(
            bars.value[:count],
            bars.bound[:count],
            overflow_risk[:count],
            self.rounding,
            bars.kink[:count] if has_kink else None,
            bars.center[:count] if has_kink else None,
            bars.reach[:count] if has_kink else None,
            None if stochastic is None else stochastic[:count],
            self.definition,
        )

    def _is_better(self, ball: Bars, rows: NDArray[np.int64], other: Bars) -> Mask:
        """Tell where the stochastic bar shall judge: where it tells more than the ball."""
        told = is_informative(ball.value, ball.bound)[rows] & ~ball.kink[rows]
        tells = is_informative(other.value, other.bound) & ~other.kink
        narrower = ball.kink[rows] & other.kink & (other.reach < ball.reach[rows])
        return np.asarray((self._kind == "stochastic") | (~told & (tells | narrower)))

    def misstatement(self, count: int) -> str:
        """Say where in the first `count` samples definition and forward pass cannot both be right.

        Empty if nowhere.

        Raises
        ------
        Exception
            What the definition raises, or the balls that cannot follow it.
        """
        definition = self.definition
        definition.look(np.arange(count))
        if definition.failure is not None:
            raise definition.failure
        stepwise = self.t["loss"]
        mid, rad = (np.broadcast_to(part, (self.samples,)) for part in stepwise.whole())
        with np.errstate(all="ignore"):
            apart = (np.abs(definition.mid - mid) > definition.rad + rad)[:count]
        if not apart.any():
            return ""
        sample = int(np.argmax(apart))
        one, other = float(definition.mid[sample]), float(mid[sample])
        return (
            f"the definition and the forward pass of {self.model.name} differ: at sample {sample} "
            f"the loss is {one!r} by the one, {other!r} by the other"
        )


def stochastic_passes(model: Model, values: Values, rounding: Rounding) -> Evaluation:
    """Run both passes in stochastic arithmetic."""
    return Evaluation(
        model,
        values,
        rounding,
        partial(_stochastic, rounding, Noise(0, NOISE_STREAM)),
    )


def _ball(rounding: Rounding, array: Any, hidden: int, choices: Choices) -> Ball:
    if array.dtype.kind == "i":
        return Ball(array, EXACT, rounding, hidden, choices)
    return Ball.from_value(array, rounding, hidden, choices)


def _stochastic(
    rounding: Rounding, noise: Noise, array: Any, hidden: int, choices: Choices
) -> Stochastic:
    return Stochastic.from_value(array, rounding, noise, hidden, choices)
