"""What is easily confused with an operation, whatever the program."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, permutations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.capture.edits import with_argument
from gradcheck.capture.program import Ref, Step
from gradcheck.capture.terms import Again, Term, kind_of

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


def occurrences(step: Step) -> Iterator[tuple[int, int | None]]:
    """Yield the operands; of one that is taken several times, each time."""
    for number in dict.fromkeys(step.operands):
        times = step.operands.count(number)
        yield from ((number, which) for which in (range(times) if times > 1 else (None,)))


def is_number(argument: Any) -> bool:
    """Tell whether an argument is a number, and no truth value."""
    return isinstance(argument, int | float) and not isinstance(argument, bool)


def numbers_in(step: Step, kind: str) -> Iterator[tuple[int, float]]:
    """Find the user's constants among the arguments."""
    if kind in SCALARS:
        for place, argument in enumerate(step.arguments):
            if is_number(argument):
                yield place, argument


def constants(step: Step) -> list[tuple[int, float]]:
    """Return the places and values of the user's constants among the arguments."""
    return list(numbers_in(step, kind_of(step.operation)))


def fits(shape: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    """Tell whether one shape broadcasts to another."""
    try:
        return np.broadcast_shapes(shape, whole) == whole
    except ValueError:
        return False


def compatible(shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Tell whether an array may stand for another, but for an axis of length 1."""
    near = fits(shape, other) or fits(other, shape)
    return shape == other or (1 in (*shape, *other) and near)


def subsets(ndim: int, from_end: bool = False) -> list[Any]:
    """Return an axis, several, or none for all."""
    first = -ndim if from_end else 0
    found: list[Any] = [
        axes if count > 1 else axes[0]
        for count in range(1, ndim)
        for axes in combinations(range(first, first + ndim), count)
    ]
    return [*found, None] if ndim else []


def operands_of(step: Step, kind: str) -> tuple[Any, Any] | None:
    """Return the operands of a binary operation as they are written."""
    if len(step.arguments) != 2 or step.options.get("alpha", 1) != 1:
        return None
    a, b = step.arguments
    return (b, a) if kind == "rsub" else (a, b)


def other_arithmetic(step: Step, kind: str) -> Iterator[Any]:
    """Combine the same operands in another way, and compare them in another."""
    pair = operands_of(step, kind)
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


def other_functions(step: Step, kind: str) -> Iterator[Any]:
    """Apply another function, or choose the other way round."""
    arguments = step.arguments
    if kind in UNARY and len(arguments) == 1:
        yield from (Term(name, (arguments[0],)) for name in UNARY if name != kind)
    if kind in ("where", "select_n") and len(arguments) == 3:
        yield Again((arguments[0], arguments[2], arguments[1]), step.options)
    if kind == "threshold_backward" and len(arguments) == 3:
        yield Term("masked", (arguments[0], Term("lt", (arguments[1], arguments[2]))))


def other_matrices(step: Step, kind: str) -> Iterator[Any]:
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


def other_places(step: Step, kind: str) -> Iterator[Any]:
    """Take the elements next to those that an operation takes."""
    if kind not in PLACED:
        return
    places = [
        i for i, one in enumerate(step.arguments) if i and isinstance(one, int) and is_number(one)
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


def modified(operand: Any, array: NDArray[Any]) -> Iterator[Any]:
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


def factors(term: Any, array: NDArray[Any]) -> list[Factor]:
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
