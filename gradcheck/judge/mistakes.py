"""What the authors of passes get wrong, in words: shapes, names, and what is raised where."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradcheck.errors import EndedError, RequestError
from gradcheck.model.board import Blackboard
from gradcheck.model.model import Model, belongs
from gradcheck.numbers.array import Batched, InPlaceError


def check_boards(
    model: Model, t: Blackboard, d: Blackboard, shape_of: Callable[[Any], tuple[int, ...]]
) -> None:
    """Find what the passes of a model leave out, invent, or give another shape.

    Raises
    ------
    RequestError
        Naming the pass, the quantity, and the mend.
    """
    if "loss" not in t:
        raise RequestError("model", f"the forward pass of {model.name} leaves out t.loss")
    if shape_of(t["loss"]):
        raise RequestError(
            "model",
            f"t.loss of {model.name} has the shape {shape_of(t['loss'])} where a scalar was "
            f"expected; sum it",
        )
    known = [*t, *model.leaves]
    for name in d:
        if name not in known and not any(belongs(other, name) for other in known):
            raise RequestError(
                "model",
                f"the backward pass of {model.name} writes d.{name}, but there is no "
                f"parameter, input or quantity of the trace called {name}; rename it, or keep it "
                f"in a variable",
            )
    for name, shape in model.parameters.items():
        if name not in d:
            raise RequestError(
                "model",
                f"the backward pass of {model.name} leaves out d.{name}, the gradient of a "
                f"parameter",
            )
        found = shape_of(d[name])
        if found not in (shape, ()):  # a constant holds for all elements
            raise RequestError(
                "model",
                f"the backward pass of {model.name} gives d.{name} the shape {found} where "
                f"{shape} was expected{_mend(found, shape)}",
            )


def _mend(found: tuple[int, ...], expected: tuple[int, ...]) -> str:
    """Guess what is missing from the shapes."""
    if len(found) > 1 and found[::-1] == expected:
        return "; is a transpose missing?"
    for axis in range(len(found)):
        if found[:axis] + found[axis + 1 :] == expected:
            return f"; is a sum over axis {axis} missing?"
    return ""


def check_number(model: Model, name: str, value: Any) -> None:
    """Refuse what a pass wrote if it is no number and no array of numbers."""
    if not isinstance(value, Batched) and np.asarray(value).dtype.kind not in "biuf":
        raise RequestError(
            "model", f"a pass of {model.name} wrote {value!r} as {name}; an array was expected"
        )


def failure(model: Model, part: str, error: Exception) -> RequestError:
    """Say in one line what went wrong in a model's own code, and where.

    `part` is `passes` or `definition`.
    """
    if model.recorded:
        return RequestError("function", f"{error or type(error).__name__}{place(model, error)}")
    where, many = place(model, error), part == "passes"
    if isinstance(error, InPlaceError) or "read-only" in str(error):
        return RequestError(
            "model",
            f"the {part} of {model.name} {'change' if many else 'changes'} an input or a "
            f"parameter in place{where}; work on a copy of it, such as v.x.copy()",
        )
    hint = ""
    if "positional argument" in str(error):
        hint = "; they are loss(xp, v), forward(xp, v, t) and backward(xp, v, t, d)"
    if "setting an array element" in str(error):
        hint = "; start from numpy.zeros_like(v.x), or numpy.zeros_like(v.x, shape=…)"
    return RequestError(
        "model",
        f"the {part} of {model.name} {'fail' if many else 'fails'}{where}: "
        f"{type(error).__name__}: {error}{hint}",
    )


def place(model: Model, error: Exception) -> str:
    """Return the line of the model's file in which an error arose: ` (mine.py, line 12)`."""
    found = line_of(model, error)
    return f" ({found[0]}, line {found[1]})" if found else ""


def line_of(model: Model, error: Exception) -> tuple[str, int] | None:
    """Return file and number of the innermost line of the model's that an error went through."""
    if model.recorded:
        line = getattr(error, "line_of_program", None)
        return (line.file.rpartition("/")[2], line.number) if line else None
    files = {
        function.__code__.co_filename
        for function in (model.loss, model.forward, model.backward, *model.expressions.values())
        if hasattr(function, "__code__")
    }
    found = None
    cause = error.__cause__ if isinstance(error, EndedError) else None
    trace = (cause or error).__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file in files:
            found = file.rpartition("/")[2], trace.tb_lineno
        trace = trace.tb_next
    return found
