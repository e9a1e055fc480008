"""What may be meant by one operation of a backward pass that is wrong: single changes of it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.capture.edits import Edit, with_argument, with_operand
from gradcheck.capture.program import Ref, Step
from gradcheck.capture.swaps import (
    AXES,
    MOVING,
    REDUCTIONS,
    SCALARS,
    UNARY,
    compatible,
    factors,
    fits,
    is_number,
    modified,
    numbers_in,
    occurrences,
    operands_of,
    other_arithmetic,
    other_functions,
    other_matrices,
    other_places,
    subsets,
)
from gradcheck.capture.terms import ORIGINAL, Term, kind_of
from gradcheck.capture.trials import Trials


class Candidates:
    """Changes of a program's operations, from near to far.

    Parameters
    ----------
    trials
        The first sample is one on which a gradient is wrong.
    deadline
        When to stop, in seconds of computing.
    """

    def __init__(self, trials: Trials, deadline: float = math.inf) -> None:
        self.trials, self.steps, self.deadline = trials, trials.steps, deadline
        self.values = trials.samples[0].values
        self._made = {
            number: i
            for i, step in enumerate(self.steps)
            for number in step.results
            if number is not None
        }
        self._kept: list[tuple[int, NDArray[Any]]] = []
        seen: set[tuple[Any, ...]] = set()
        for number, value in self.values.items():
            if isinstance(value, np.ndarray | np.generic) and np.asarray(value).dtype.kind in "fbi":
                array = np.asarray(value)
                key = array.dtype.kind, array.shape, array.tobytes()
                if key not in seen:
                    seen.add(key)
                    self._kept.append((number, array))
        shapes = {array.shape for _, array in self._kept}
        lengths = {n for shape in shapes for n in shape} | {prod(shape) for shape in shapes}
        self.lengths = sorted(n for n in lengths if n > 1)
        self.numbers = sorted(
            {
                float(argument)
                for step in self.steps
                if kind_of(step.operation) in SCALARS
                for argument in step.arguments
                if is_number(argument)
            }
        )

    @property
    def expired(self) -> bool:
        """Tell whether the time is up."""
        return time.process_time() > self.deadline

    def quantities(self, at: int) -> list[tuple[int, NDArray[Any]]]:
        """Return what is known before an operation, the latest first; nothing twice."""
        found = [one for one in self._kept if self._made.get(one[0], -1) < at]
        return found[::-1]

    def shape(self, number: int) -> tuple[int, ...]:
        """Return the shape of a value."""
        return np.shape(self.values[number])

    def fitting(self, at: int, shape: tuple[int, ...]) -> Iterator[tuple[Any, NDArray[Any]]]:
        """Find what broadcasts to a shape, perhaps with an axis added."""
        for number, array in self.quantities(at):
            if fits(array.shape, shape):
                yield Ref(number), array
            if 0 < array.ndim < len(shape):
                axis = array.ndim
                if fits((*array.shape, 1), shape) and array.shape[-1] > 1:
                    yield Term("unsqueeze", (Ref(number), -1)), np.expand_dims(array, axis)

    def near(self, at: int) -> Iterator[Edit]:
        """Change what an operation does: its sign, function, axes, constants, places."""
        step, kind = self.steps[at], kind_of(self.steps[at].operation)
        arguments = step.arguments
        operands = operands_of(step, kind) if kind in ("mul", "div", "add", "sub") else None
        for pair in (("add", "sub"), ("sub", "add"), ("mul", "div"), ("div", "mul")):
            if kind == pair[0] and operands:
                yield Edit(at, Term(pair[1], operands), 0.9)
        for term in self._other_reduction(step, kind):
            yield Edit(at, term, 0.87)
        for term in (
            *other_arithmetic(step, kind),
            *other_functions(step, kind),
            *other_matrices(step, kind),
            *self._other_axes(step, kind),
            *other_places(step, kind),
        ):
            yield Edit(at, term, 1.0)
        if kind in MOVING and arguments and isinstance(arguments[0], Ref):
            yield Edit(at, arguments[0], 0.85)
        if operands and isinstance(operands[0], Ref) and is_number(operands[1]):
            yield Edit(at, operands[0], 0.88)
        for place, number in numbers_in(step, kind):
            for other in self._other_numbers(number):
                cost = self._distance(kind, number, other)
                yield Edit(at, with_argument(step, place, other), cost)

    def _distance(self, kind: str, number: float, other: float) -> float:
        """Tell how far a constant is from another: what does nothing may be left out."""
        if other == 1 and kind in ("mul", "div"):
            return 0.9
        written = isinstance(other, int) or other in self.numbers
        return 1.05 if written or not float(number).is_integer() else 1.15

    def _other_numbers(self, number: float) -> list[float]:
        found = [number + 1, number - 1, -number, 2 * number, number / 2, *self.numbers]
        found += [0.0, 1.0, *([1 / number] if number else []), *map(float, self.lengths)]
        found += [1 / n for n in self.lengths]
        exact = [int(one) if one.is_integer() else one for one in map(float, found)]
        return [one for one in dict.fromkeys(exact) if one != number]

    def _other_axes(self, step: Step, kind: str) -> Iterator[Any]:
        if kind not in REDUCTIONS or not step.arguments or not isinstance(step.arguments[0], Ref):
            return
        operand = step.arguments[0]
        ndim = len(self.shape(operand.value))
        if ndim > AXES:
            return
        dim = step.arguments[1] if len(step.arguments) > 1 else None
        first = dim[0] if isinstance(dim, list | tuple) and dim else dim
        from_end = isinstance(first, int) and first < 0
        kept = step.results[0] is not None and len(self.shape(step.results[0])) == ndim
        for axes in subsets(ndim, from_end):
            for form in ("sum", "mean", "sum_kept", "mean_kept"):
                if form.endswith("kept") == kept or axes is not None:
                    yield Term(form, (operand, axes))

    def _other_reduction(self, step: Step, kind: str) -> Iterator[Any]:
        """Take the mean for the sum along the same axes, or the sum for the mean."""
        operand, result = step.arguments[0] if step.arguments else None, step.results[0]
        if kind not in ("sum", "mean") or not isinstance(operand, Ref) or result is None:
            return
        ratio = np.size(self.values[operand.value]) // max(np.size(self.values[result]), 1)
        axes = step.arguments[1] if len(step.arguments) > 1 else None
        axes = tuple(axes) if isinstance(axes, list | tuple) else axes
        axes = axes[0] if isinstance(axes, tuple) and len(axes) == 1 else axes
        kept = (
            "_kept"
            if self.shape(result) and np.ndim(self.values[result]) == len(self.shape(operand.value))
            else ""
        )
        if ratio > 1:
            yield Term(("mean" if kind == "sum" else "sum") + kept, (operand, axes))

    def operands(self, at: int) -> Iterator[Edit]:
        """Take something else in place of an operand, or leave it out."""
        step, kind = self.steps[at], kind_of(self.steps[at].operation)
        arguments = step.arguments
        if kind in ("add", "sub", "rsub", "mul", "div", "pow", "maximum", "minimum"):
            for argument in arguments[:2]:
                if isinstance(argument, Ref):
                    yield Edit(at, argument, 2.0)
        if kind in REDUCTIONS and isinstance(arguments[0], Ref):
            yield Edit(at, arguments[0], 2.0)
        result = () if step.results[0] is None else self.shape(step.results[0])
        for number, which in occurrences(step):
            array = np.asarray(self.values[number])
            if array.dtype.kind not in "fbi":
                continue

            def edit(term: Any, cost: float, number: int = number, which: Any = which) -> Edit:
                return Edit(at, with_operand(step, number, term, which), cost)

            for other, quantity in self.quantities(at):
                same = quantity.dtype.kind == array.dtype.kind and other != number
                near = quantity.ndim == array.ndim and compatible(quantity.shape, array.shape)
                spread = kind in SCALARS and fits(quantity.shape, result)
                if same and (near or spread or kind in UNARY):
                    yield edit(Ref(other), 2.0)
            if kind in SCALARS:
                for constant in self.numbers:
                    yield edit(constant, 2.1)
            for term in modified(Ref(number), array):
                yield edit(term, 2.2)
            if array.dtype.kind == "f" and 0 < array.ndim <= AXES and kind in SCALARS:
                for axes in subsets(array.ndim, True):
                    for form in ("mean_kept", "sum_kept"):
                        yield edit(Term(form, (Ref(number), axes)), 2.4)
        if kind == "where":
            for place, branch in enumerate(arguments[1:], start=1):
                for other, quantity in self.quantities(at):
                    if quantity.shape == result and quantity.dtype.kind == "f":
                        for name in UNARY:
                            term = Term("mul", (branch, Term(name, (Ref(other),))))
                            yield Edit(at, with_argument(step, place, term), 2.8)

    def results(
        self, at: int, gradient: str | None = None, value: int | None = None, users: Any = ()
    ) -> Iterator[Edit]:
        """Change what an operation yields: its sign, its scale; sum it up; a factor more."""
        step = self.steps[at]
        if value is not None:
            step = Step("value", None, (), {}, (value,))
        product_like = kind_of(step.operation) in ("mul", "div", "neg")
        far = 0.0 if product_like else 0.5
        for place, array in self._changeable(step, gradient):

            def edit(term: Any, cost: float, place: int = place) -> Edit:
                if value is not None:
                    return Edit(at, term, cost + 0.4, None, value, users)
                return Edit(at, term, cost, gradient, place)

            yield edit(Term("neg", (ORIGINAL,)), 3.0 + far)
            for number in (2, *self.lengths, *(n - 1 for n in self.lengths if n > 2)):
                yield edit(Term("mul", (ORIGINAL, number)), 3.0 + far)
                yield edit(Term("div", (ORIGINAL, number)), 3.0 + far)
            for number in self.numbers:
                if number not in (0, 1, 2):
                    yield edit(Term("mul", (ORIGINAL, number)), 3.1 + far)
                    yield edit(Term("div", (ORIGINAL, number)), 3.1 + far)
            if array.ndim <= AXES:
                for axes in subsets(array.ndim):
                    for form in ("sum", "mean", "sum_kept", "mean_kept"):
                        yield edit(Term(form, (ORIGINAL, axes)), 3.2)
                    centred = Term("sub", (ORIGINAL, Term("mean_kept", (ORIGINAL, axes))))
                    yield edit(centred, 3.3)
            if array.ndim > 1:
                yield edit(Term("transpose", (ORIGINAL,)), 3.2)
                yield from (edit(term, 3.6) for term in self._products(at))
            if gradient is not None:
                for other, quantity in self.quantities(len(self.steps)):
                    if quantity.shape == array.shape and quantity.dtype.kind == "f":
                        yield edit(Ref(other), 2.0)
                    elif array.ndim < quantity.ndim <= AXES:
                        for axes in subsets(quantity.ndim):
                            yield edit(Term("sum", (Ref(other), axes)), 2.5)
            for term, quantity in self.fitting(at, array.shape):
                for factor in factors(term, quantity):
                    yield edit(factor(ORIGINAL), 3.3 + far)

    def values_for(self, at: int, value: int, users: tuple[int, ...]) -> Iterator[Edit]:
        """Take something else for a value, for some of the operations that take it alone."""
        array = np.asarray(self.values[value])
        for other, quantity in self.quantities(at):
            if other != value and quantity.shape == array.shape and quantity.dtype == array.dtype:
                yield Edit(at, Ref(other), 2.4, None, value, users)
            if not fits(quantity.shape, array.shape) and quantity.dtype.kind == "f":
                yield Edit(at, Term("mul", (ORIGINAL, Ref(other))), 3.3, None, value, users)
        for term in modified(ORIGINAL, array):
            yield Edit(at, term, 2.6, None, value, users)
        yield from self.results(at, None, value, users)

    def _changeable(self, step: Step, gradient: str | None) -> Iterator[tuple[int, NDArray[Any]]]:
        if gradient is not None:
            yield 0, np.asarray(self.values[self.trials.program.gradients[gradient] or 0])
            return
        for place, number in enumerate(step.results):
            if number is not None and np.asarray(self.values[number]).dtype.kind == "f":
                yield place, np.asarray(self.values[number])

    def _products(self, at: int) -> Iterator[Any]:
        """Multiply what an operation yields by a matrix."""
        for number, quantity in self.quantities(at):
            if quantity.ndim > 1 and quantity.dtype.kind == "f":
                for other in (Ref(number), Term("transpose", (Ref(number),))):
                    yield Term("matmul", (ORIGINAL, other))
                    yield Term("matmul", (other, ORIGINAL))

    def factors(self, at: int) -> Iterator[Edit]:
        """Give an operand a factor, of operations that a factor cannot be drawn out of."""
        step, kind = self.steps[at], kind_of(self.steps[at].operation)
        if kind in ("mul", "div", "neg", "add", "sub", "rsub"):
            return
        for number in dict.fromkeys(step.operands):
            array = np.asarray(self.values[number])
            if array.dtype.kind == "f":
                for term, quantity in self.fitting(at, array.shape):
                    for factor in factors(term, quantity):
                        yield Edit(at, with_operand(step, number, factor(Ref(number))), 3.4)
                    for form in ("add", "sub") if kind in UNARY else ():
                        total = Term(form, (Ref(number), term))
                        yield Edit(at, with_operand(step, number, total), 3.5)

    def terms(self, at: int, gradient: str | None = None) -> Iterator[Edit]:
        """Give an operand of a sum a factor, or the sum another term."""
        step, kind = self.steps[at], kind_of(self.steps[at].operation)
        if gradient is None and kind in ("add", "sub", "rsub"):
            for number in dict.fromkeys(step.operands):
                array = np.asarray(self.values[number])
                if array.dtype.kind in "fi":
                    for length in (2, *self.lengths):
                        for form in ("mul", "div"):
                            scaled = Term(form, (Ref(number), length))
                            yield Edit(at, with_operand(step, number, scaled), 4.0)
                    for term, quantity in self.fitting(at, array.shape):
                        for factor in factors(term, quantity):
                            yield Edit(at, with_operand(step, number, factor(Ref(number))), 4.0)
        for place, array in self._changeable(step, gradient):
            for term, quantity in self.fitting(at, array.shape):
                if quantity.dtype.kind == "f":
                    for form in ("add", "sub"):
                        yield Edit(at, Term(form, (ORIGINAL, term)), 4.2, gradient, place)
