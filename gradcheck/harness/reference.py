"""The hand-written passes on balls: reference values, and how far an honest evaluation may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.arithmetic.ball import Ball, Rounding, as_ball
from gradcheck.engine.model import Model, run_passes
from gradcheck.errors import RequestError

Floats = NDArray[np.float64]


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
    """

    value: Floats
    bound: Floats
    overflow_risk: NDArray[np.bool_]
    rounding: Rounding

    @cached_property
    def informative(self) -> NDArray[np.bool_]:
        """Where the bound leaves at least one certain bit."""
        return (self.bound <= np.abs(self.value) / 2) & (self.bound < np.inf)

    @cached_property
    def ulp(self) -> Floats:
        """One unit in the last place of the reference, in the format under judgement."""
        exponent_bits = np.int64(0x7FF0_0000_0000_0000)
        power_of_two = (self.value.view(np.int64) & exponent_bits).view(np.float64)
        ulp = np.maximum(power_of_two, self.rounding.smallest_normal)
        ulp *= 2 * self.rounding.unit_roundoff
        return ulp


def _all_balls(board: Any, rounding: Rounding) -> Any:
    """Make balls of the constants that a pass wrote."""
    for name in board:
        setattr(board, name, as_ball(board[name], rounding))
    return board


class Passes:
    """Both hand-written passes on balls, over a block of samples.

    Parameters
    ----------
    values
        Inputs and parameters, float64 of shape `(n, *shape)`.
    rounding
        The format under judgement.

    Attributes
    ----------
    v, t, d
        The values, the trace and the adjoints, as blackboards of balls.
    largest
        Per sample, a bound on the magnitude of all of these, shape `(n,)`.

    Raises
    ------
    RequestError
        If a pass raises, or leaves a parameter's gradient out.
    """

    def __init__(self, model: Model, values: Mapping[str, Floats], rounding: Rounding) -> None:
        self.model, self.rounding = model, rounding
        self.samples = len(next(iter(values.values())))
        balls = {name: Ball.from_value(array, rounding) for name, array in values.items()}
        try:
            self.v, self.t, self.d = (
                _all_balls(board, rounding) for board in run_passes(model, np, balls)
            )
        except Exception as error:
            raise RequestError(
                f"MODEL: the passes of {model.name} fail on balls: {type(error).__name__}: {error}"
            ) from error
        if "loss" not in self.t:
            raise RequestError(f"MODEL: the forward pass of {model.name} leaves out t.loss")
        for name, shape in model.parameters.items():
            if name not in self.d:
                raise RequestError(f"MODEL: the backward pass of {model.name} leaves out d.{name}")
            found, expected = self.d[name].mid.shape, (self.samples, *shape)
            if found not in (expected, ()):
                raise RequestError(
                    f"MODEL: the backward pass of {model.name} gives d.{name} the shape {found} "
                    f"where {expected}, samples first, was expected"
                )
        self.largest = self._largest()

    def _largest(self) -> Floats:
        quantities = [*vars(self.v).values(), *vars(self.t).values(), *vars(self.d).values()]
        largest = np.zeros(self.samples)
        for ball in {id(ball): ball for ball in quantities}.values():
            with np.errstate(over="ignore"):
                magnitude = ball.magnitude
            if magnitude.ndim > 1:
                magnitude = magnitude.reshape(len(magnitude), -1).max(axis=1)
            np.maximum(largest, magnitude, out=largest)
        largest[np.isnan(largest)] = np.inf
        return largest

    def gradient(self, name: str, normal_range: tuple[float, float], count: int) -> Reference:
        """Return the reference of a parameter's gradient for the first `count` samples.

        The ball encloses every evaluation of the products in the order in which the hand-written
        pass takes them. Another order may pass through the underflow or the overflow range where
        this one does not. A partial product that is flushed is off by less than the smallest normal
        number, and what it is multiplied with later is no larger than the sample's largest
        quantity: that much is added to the radius. And where a product of two quantities may pass
        the largest number, a value that is not finite is excused.

        Parameters
        ----------
        normal_range
            Between which magnitudes the evaluation under judgement keeps full precision.
        """
        smallest_held, largest_held = normal_range
        shape = (self.samples, *self.model.parameters[name])
        largest = self.largest[:count].reshape((-1,) + (1,) * (len(shape) - 1))
        value = np.ascontiguousarray(np.broadcast_to(self.d[name].mid, shape)[:count])
        rad = np.broadcast_to(self.d[name].rad, shape)[:count]
        with np.errstate(over="ignore"):
            bound = rad + smallest_held * np.maximum(largest, 1)
        if not rad.all():
            bound[rad == 0] = 0  # an exact zero, in whichever order
        beyond = ~(largest <= largest_held)
        if beyond.any():
            bound[np.broadcast_to(beyond, value.shape)] = np.inf
        overflow_risk = ~(largest <= np.sqrt(self.rounding.largest))
        return Reference(value, bound, overflow_risk, self.rounding)

    def misstatement(self, count: int) -> str:
        """Say where in the first `count` samples definition and forward pass cannot both be right.

        Empty if nowhere.

        Raises
        ------
        NoRuleError
            If balls cannot follow the definition.
        """
        stepwise = self.t["loss"]
        definition = as_ball(self.model.loss(np, self.v), self.rounding)
        with np.errstate(all="ignore"):
            apart = np.abs(definition.mid - stepwise.mid) > definition.rad + stepwise.rad
            apart = np.broadcast_to(apart, (self.samples,))[:count]
        if not apart.any():
            return ""
        sample = int(np.argmax(apart))
        one, other = (
            float(np.broadcast_to(loss.mid, (self.samples,))[sample])
            for loss in (definition, stepwise)
        )
        return (
            f"the definition and the forward pass of {self.model.name} differ: at sample {sample} "
            f"the loss is {one!r} by the one, {other!r} by the other"
        )
