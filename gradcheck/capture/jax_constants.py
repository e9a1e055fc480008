"""Which values of a jaxpr are constants, exactly: no operation is followed for these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from gradcheck.capture.lax import RULES

MOVING = frozenset(
    {"broadcast_in_dim", "reshape", "squeeze", "expand_dims", "transpose", "slice", "rev", "copy"}
)
"""Primitives of which a constant yields a constant, exactly."""
EXACT = frozenset({"neg", "abs", "sign", "max", "min", "clamp", "floor", "ceil", "select_n"})
"""Primitives that round nothing."""
SUMS: Mapping[str, Any] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
}
"""Primitives that may happen to round nothing, and what they yield then."""
MOST = 1000
"""Of the results of one of these, how many are looked at."""


class Known(NamedTuple):
    """A value that depends on no input."""

    value: Any
    literal: bool = False


class Traced(NamedTuple):
    """A value of the program."""

    number: int


Value = Known | Traced


def is_folded(equation: Any, operands: Sequence[Value], calls: bool) -> bool:
    """Tell whether the results are constants: integers, or floats that no operation rounded."""
    if not all(isinstance(operand, Known) for operand in operands):
        return False
    if not any(is_float(one.aval) for one in equation.outvars):
        return bool(equation.outvars)
    name = equation.primitive.name
    if name in MOVING:
        return True
    return not calls and not any(is_float(one.aval) for one in equation.invars)


def chosen(equation: Any, operands: Sequence[Value]) -> Value | None:
    """Return the operand that a choice is, if a constant makes it the same everywhere."""
    if equation.primitive.name != "select_n" or not isinstance(operands[0], Known):
        return None
    which = np.unique(np.asarray(operands[0].value))
    return operands[1 + int(which[0])] if len(which) == 1 else None


def exact(equation: Any, operands: Sequence[Value]) -> Known | None:
    """Return what constants yield, if no rounding is involved."""
    name = equation.primitive.name
    if name not in (*EXACT, *SUMS, "convert_element_type") or not all(
        isinstance(one, Known) for one in operands
    ):
        return None
    values: list[Any] = [one.value for one in operands if isinstance(one, Known)]
    with np.errstate(all="ignore"):
        result = RULES[name](*values, **equation.params)
    if name == "convert_element_type":
        if not np.array_equal(result, values[0], equal_nan=True):
            return None
    elif name in SUMS:
        many: list[Any] = [
            np.broadcast_to(one, np.shape(result)).ravel().tolist() for one in values
        ]
        if len(many[0]) > MOST or not np.isfinite(np.array([*many, np.ravel(result)])).all():
            return None
        for found, *terms in zip(np.ravel(result).tolist(), *many, strict=True):
            if Fraction(found) != SUMS[name](*map(Fraction, terms)):
                return None
    literal = all(isinstance(one, Known) and one.literal for one in operands)
    return Known(result, literal and not np.ndim(result))


def is_float(aval: Any) -> bool:
    """Tell whether an abstract value is of floating-point numbers."""
    from jax import dtypes, numpy

    dtype = aval.dtype
    return not dtypes.issubdtype(dtype, dtypes.extended) and numpy.issubdtype(dtype, numpy.floating)


def plain(value: Any) -> Any:
    """Return an array of NumPy, unless it holds what NumPy has no type for."""
    from jax import dtypes

    dtype = getattr(value, "dtype", None)
    extended = dtype is not None and dtypes.issubdtype(dtype, dtypes.extended)
    return value if extended else np.asarray(value)


def literal(variable: Any) -> Known:
    """Return a number that is spelled out, in its format: Python's own where that is the same."""
    value = np.asarray(variable.val).astype(variable.aval.dtype)[()]
    return Known(value.item() if value.dtype in (np.float64, np.bool_) else value, literal=True)
