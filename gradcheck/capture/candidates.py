"""What may be meant by one operation of a backward pass that is wrong: single changes of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, permutations, product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.capture.edits import (
    ORIGINAL,
    Again,
    Edit,
    Term,
    kind_of,
    with_argument,
    with_operand,
)
from gradcheck.capture.program import Ref, Step
from gradcheck.capture.trials import Trials

UNARY = (
    "sin", "cos", "tan", "sinh", "cosh", "tanh", "exp", "expm1", "log", "log1p", "sigmoid", "sqrt",
    "rsqrt", "reciprocal", "square", "abs", "sign",
)  # fmt: skip
COMPARISONS = ("gt", "ge", "lt", "le", "eq", "ne")
PAIRS = (("maximum", "minimum"), ("and", "or"))
PLACED = ("select", "slice", "narrow", "roll", "tril", "triu", "diagonal")
"""Operations on elements at places that are given by integers."""
MATRIX = ("matmul", "addmm", "baddbmm", "dot_general")
REDUCTIONS = ("sum", "mean", "amax", "amin")
MOVING = ("transpose", "flip", "neg", "abs", "relu", *UNARY)
"""Operations of one operand that may be left out."""
SCALARS = (
    "add", "sub", "rsub", "mul", "div", "pow", "maximum", "minimum", "clamp", "clamp_min",
    "clamp_max", "where", "masked_fill", "threshold_backward", "leaky_relu_backward",
    *COMPARISONS,
)  # fmt: skip
"""Operations among whose arguments are the user's constants."""
AXES = 3
"""Most axes of arrays whose sums are tried over other axes."""


class Candidates:
    """Changes of a program's operations, from near to far.

    Parameters
    ----------
    trials
        The first sample is one on which a gradient is wrong.
    deadline
        When to stop, on the monotonic clock.
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
                if _is_number(argument)
            }
        )

    @property
    def expired(self) -> bool:
        """Tell whether the time is up."""
        return time.monotonic() > self.deadline

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
            if _fits(array.shape, shape):
                yield Ref(number), array
            if 0 < array.ndim < len(shape):
                axis = array.ndim
                if _fits((*array.shape, 1), shape) and array.shape[-1] > 1:
                    yield Term("unsqueeze", (Ref(number), -1)), np.expand_dims(array, axis)

    def near(self, at: int) -> Iterator[Edit]:
        """Change what an operation does: its sign, function, axes, constants, places."""
        step, kind = self.steps[at], kind_of(self.steps[at].operation)
        arguments = step.arguments
        for pair in (("add", "sub"), ("sub", "add"), ("mul", "div"), ("div", "mul")):
            if kind == pair[0] and (operands := _pair(step, kind)):
                yield Edit(at, Term(pair[1], operands), 0.9)
        for term in (
            *_other_arithmetic(step, kind),
            *_other_functions(step, kind),
            *_other_matrices(step, kind),
            *self._other_axes(step, kind),
            *_other_places(step, kind),
        ):
            yield Edit(at, term, 1.0)
        if kind in MOVING and arguments and isinstance(arguments[0], Ref):
            yield Edit(at, arguments[0], 0.85)
        for place, number in _numbers(step, kind):
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
        for axes in _subsets(ndim, from_end):
            for form in ("sum", "mean", "sum_kept", "mean_kept"):
                if form.endswith("kept") == kept or axes is not None:
                    yield Term(form, (operand, axes))

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
        for number, which in _occurrences(step):
            array = np.asarray(self.values[number])
            if array.dtype.kind not in "fbi":
                continue

            def edit(term: Any, cost: float, number: int = number, which: Any = which) -> Edit:
                return Edit(at, with_operand(step, number, term, which), cost)

            for other, quantity in self.quantities(at):
                same = quantity.dtype.kind == array.dtype.kind and other != number
                near = quantity.ndim == array.ndim and _compatible(quantity.shape, array.shape)
                fits = kind in SCALARS and _fits(quantity.shape, result)
                if same and (near or fits or kind in UNARY):
                    yield edit(Ref(other), 2.0)
            if kind in SCALARS:
                for constant in self.numbers:
                    yield edit(constant, 2.1)
            for term in _modified(Ref(number), array):
                yield edit(term, 2.2)
            if array.dtype.kind == "f" and 0 < array.ndim <= AXES and kind in SCALARS:
                for axes in _subsets(array.ndim, True):
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
                for axes in _subsets(array.ndim):
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
                        for axes in _subsets(quantity.ndim):
                            yield edit(Term("sum", (Ref(other), axes)), 2.5)
            for term, quantity in self.fitting(at, array.shape):
                for factor in _factors(term, quantity):
                    yield edit(factor(ORIGINAL), 3.3 + far)

    def values_for(self, at: int, value: int, users: tuple[int, ...]) -> Iterator[Edit]:
        """Take something else for a value, for some of the operations that take it alone."""
        array = np.asarray(self.values[value])
        for other, quantity in self.quantities(at):
            if other != value and quantity.shape == array.shape and quantity.dtype == array.dtype:
                yield Edit(at, Ref(other), 2.4, None, value, users)
            if not _fits(quantity.shape, array.shape) and quantity.dtype.kind == "f":
                yield Edit(at, Term("mul", (ORIGINAL, Ref(other))), 3.3, None, value, users)
        for term in _modified(ORIGINAL, array):
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
                    for factor in _factors(term, quantity):
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
                        for factor in _factors(term, quantity):
                            yield Edit(at, with_operand(step, number, factor(Ref(number))), 4.0)
        for place, array in self._changeable(step, gradient):
            for term, quantity in self.fitting(at, array.shape):
                if quantity.dtype.kind == "f":
                    for form in ("add", "sub"):
                        yield Edit(at, Term(form, (ORIGINAL, term)), 4.2, gradient, place)


def _occurrences(step: Step) -> Iterator[tuple[int, int | None]]:
    """Yield the operands; of one that is taken several times, each time."""
    for number in dict.fromkeys(step.operands):
        times = step.operands.count(number)
        yield from ((number, which) for which in (range(times) if times > 1 else (None,)))


def _is_number(argument: Any) -> bool:
    return isinstance(argument, int | float) and not isinstance(argument, bool)


def _numbers(step: Step, kind: str) -> Iterator[tuple[int, float]]:
    """Find the user's constants among the arguments."""
    if kind in SCALARS:
        for place, argument in enumerate(step.arguments):
            if _is_number(argument):
                yield place, argument


def constants(step: Step) -> list[tuple[int, float]]:
    """Return the places and values of the user's constants among the arguments."""
    return list(_numbers(step, kind_of(step.operation)))


def _fits(shape: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    """Tell whether one shape broadcasts to another."""
    try:
        return np.broadcast_shapes(shape, whole) == whole
    except ValueError:
        return False


def _compatible(shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    near = _fits(shape, other) or _fits(other, shape)
    return shape == other or (1 in (*shape, *other) and near)


def _subsets(ndim: int, from_end: bool = False) -> list[Any]:
    """Return an axis, several, or none for all."""
    first = -ndim if from_end else 0
    found: list[Any] = [
        axes if count > 1 else axes[0]
        for count in range(1, ndim)
        for axes in combinations(range(first, first + ndim), count)
    ]
    return [*found, None] if ndim else []


def _pair(step: Step, kind: str) -> tuple[Any, Any] | None:
    """Return the operands of a binary operation as they are written."""
    if len(step.arguments) != 2 or step.options.get("alpha", 1) != 1:
        return None
    a, b = step.arguments
    return (b, a) if kind == "rsub" else (a, b)


def _other_arithmetic(step: Step, kind: str) -> Iterator[Any]:
    pair = _pair(step, kind)
    if pair is None or step.options.get("rounding_mode"):
        return
    a, b = pair
    if kind in ("add", "sub", "rsub", "mul", "div"):
        for form, (one, other) in product(("add", "sub", "mul", "div"), ((a, b), (b, a))):
            if form != ("sub" if kind == "rsub" else kind) or one is not a:
                yield Term(form, (one, other))
    if kind == "mul" and isinstance(a, Ref) and isinstance(b, Ref):
        yield Term("matmul", (a, b))
        yield Term("matmul", (b, a))
    if kind == "matmul":
        yield Term("mul", (a, b))
    if kind == "pow":
        yield Term("mul", (a, b))
    for names in (COMPARISONS, *PAIRS):
        if kind in names:
            yield from (Term(name, (a, b)) for name in names if name != kind)


def _other_functions(step: Step, kind: str) -> Iterator[Any]:
    arguments = step.arguments
    if kind in UNARY and len(arguments) == 1:
        yield from (Term(name, (arguments[0],)) for name in UNARY if name != kind)
    if kind in ("where", "select_n") and len(arguments) == 3:
        yield Again((arguments[0], arguments[2], arguments[1]), step.options)
    if kind == "threshold_backward" and len(arguments) == 3:
        yield Term("masked", (arguments[0], Term("lt", (arguments[1], arguments[2]))))


def _other_matrices(step: Step, kind: str) -> Iterator[Any]:
    """Transpose factors, and exchange them."""
    if kind not in MATRIX or len(step.arguments) < 2:
        return
    *first, a, b = step.arguments
    for (one, other), turned in product(permutations((a, b)), product((False, True), repeat=2)):
        if one is a and not any(turned):
            continue
        factors = (
            Term("transpose", (factor,)) if turn else factor
            for factor, turn in zip((one, other), turned, strict=True)
        )
        yield Again((*first, *factors), step.options)


def _other_places(step: Step, kind: str) -> Iterator[Any]:
    if kind not in PLACED:
        return
    places = [
        i for i, one in enumerate(step.arguments) if i and isinstance(one, int) and _is_number(one)
    ]
    for shift in (1, -1):
        for count in (1, 2):
            for chosen in combinations(places, count):
                arguments = list(step.arguments)
                for place in chosen:
                    arguments[place] += shift
                yield Again(tuple(arguments), step.options)
    if kind == "roll":
        shifts = step.arguments[1]
        turned = [-one for one in shifts] if isinstance(shifts, list | tuple) else -shifts
        yield with_argument(step, 1, turned)
    if kind in ("tril", "triu"):
        yield Term("transpose", (Again((Term("transpose", (step.arguments[0],)),
                                        *step.arguments[1:]), step.options),))  # fmt: skip


def _modified(operand: Any, array: NDArray[Any]) -> Iterator[Any]:
    """Return what may stand for an operand of which it is a part."""
    if array.dtype.kind != "f":
        yield Term("not" if array.dtype.kind == "b" else "neg", (operand,))
        return
    yield Term("sub", (1, operand))
    yield Term("add", (1, operand))
    yield Term("mul", (operand, operand))
    yield Term("sub", (1, Term("mul", (operand, operand))))
    yield Term("neg", (operand,))
    for name in UNARY:
        yield Term(name, (operand,))


Factor = Callable[[Any], Any]


def _factors(term: Any, array: NDArray[Any]) -> list[Factor]:
    """Return by what something can be multiplied, given a quantity."""
    if array.dtype.kind == "b":
        return [
            lambda one: Term("masked", (one, term)),
            lambda one: Term("masked", (one, Term("not", (term,)))),
        ]
    square = Term("mul", (term, term))
    inside: Sequence[Any] = (
        term,
        Term("sub", (1, term)),
        Term("add", (1, term)),
        square,
        Term("sub", (1, square)),
    )
    multiplied = [lambda one, by=by: Term("mul", (one, by)) for by in inside]
    divided = [lambda one, by=by: Term("div", (one, by)) for by in (term, square)]
    return [*multiplied, *divided]
