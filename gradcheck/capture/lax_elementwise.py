"""JAX's elementwise primitives and copies, in NumPy's functions.

A rule whose name ends in `.int` or `.bool` is for a first operand of such a type; of integers only
those matter here that depend on an input.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradcheck.capture.program import Rule
from gradcheck.numbers.array import Batched
from gradcheck.numbers.errors import NoRuleError
from gradcheck.numbers.formats import cast
from gradcheck.numbers.rounding import finfo

_np: Any = np
"""NumPy, whose functions take more than they are declared to."""


def elementwise(function: Any) -> Rule:
    """Return the rule of a primitive that is a function of its operands and has no choices."""

    def rule(*operands: Any, **_: Any) -> Any:
        return function(*operands)

    return rule


def _integer_pow(x: Any, *, y: int) -> Any:
    """Multiply as JAX does, by squares."""
    if y == 0:
        return _np.ones_like(x)
    square, left = x, abs(y)
    power: Any = None
    while left:
        if left & 1:
            power = square if power is None else power * square
        left >>= 1
        square = square * square if left else square
    return power if y > 0 else 1.0 / power


def _pow(a: Any, b: Any) -> Any:
    """Raise to a power, which is spelled out or else takes a logarithm."""
    if isinstance(b, Batched) and not b.is_discrete:
        return _np.exp(b * _np.log(b.lifted(a)))
    return a**b


def _logistic(x: Any) -> Any:
    return 1.0 / (1.0 + _np.exp(-x))


def _select_n(which: Any, *cases: Any) -> Any:
    if len(cases) == 2:
        return _np.where(which, cases[1], cases[0])
    chosen = cases[-1]
    for i in reversed(range(len(cases) - 1)):
        chosen = _np.where(_np.equal(which, i), cases[i], chosen)
    return chosen


def _clamp(low: Any, x: Any, high: Any) -> Any:
    return _np.minimum(_np.maximum(x, low), high)


def _round(x: Any, *, rounding_method: Any, **_: Any) -> Any:
    if int(rounding_method) == 1:  # to the nearest, ties to even
        return _np.rint(x)
    near = _np.rint(x)
    gap = x - near
    near = _np.where(_np.logical_and(_np.equal(gap, 0.5), _np.greater(x, 0)), near + 1.0, near)
    return _np.where(_np.logical_and(_np.equal(gap, -0.5), _np.less(x, 0)), near - 1.0, near)


class Bits:
    """The bits of floats, of which nothing is known but what rules ask."""

    def __init__(self, number: Any) -> None:
        self.number = number

    def __and__(self, other: Any) -> Any:
        raise NoRuleError("there is no rule for bits of floats", "bitcast_convert_type")

    __or__ = __xor__ = __rand__ = __ror__ = __rxor__ = __and__


def _bits(x: Any, *, new_dtype: Any, **_: Any) -> Any:
    kind = np.dtype(new_dtype)
    if getattr(x, "dtype", kind).kind != "f" or kind.kind != "i":
        raise NoRuleError("there is no rule for bitcast_convert_type", "bitcast_convert_type")
    return Bits(x)


def _shifted(x: Any, places: Any, **_: Any) -> Any:
    """Shift all but the sign away, which is not seen of zero."""
    if not isinstance(x, Bits) or places != 8 * x.number.dtype.itemsize - 1:
        raise NoRuleError("there is no rule for shift_right_arithmetic", "shift_right_arithmetic")
    return _np.where(_np.less(x.number, 0), -1, 0)


def _reduce_precision(x: Any, *, exponent_bits: int, mantissa_bits: int, **_: Any) -> Any:
    kept = finfo(x.dtype)
    if exponent_bits < kept.iexp or mantissa_bits < kept.nmant:
        raise NoRuleError("there is no rule for reduce_precision", "reduce_precision")
    return x


def _as_format(x: Any, *, new_dtype: Any, **_: Any) -> Any:
    return cast(x, new_dtype)


def _truth_as(x: Any, *, new_dtype: Any, **_: Any) -> Any:
    """Convert truth values."""
    kind = np.dtype(new_dtype)
    if kind.kind == "b":
        return x
    return _np.where(x, kind.type(1), kind.type(0))


def _integer_rem(a: Any, b: Any) -> Any:
    """Return the remainder that has the sign of the dividend."""
    size = _np.where(_np.less(b, 0), -b, b)
    return _np.where(_np.less(a, 0), -_np.remainder(-a, size), _np.remainder(a, size))


def _integer_div(a: Any, b: Any) -> Any:
    """Divide and round towards zero."""
    opposite = _np.not_equal(_np.less(a, 0), _np.less(b, 0))
    return _np.where(opposite, -_np.floor_divide(-a, b), _np.floor_divide(a, b))


def _larger(a: Any, b: Any) -> Any:
    return _np.where(_np.less(a, b), b, a)


def _smaller(a: Any, b: Any) -> Any:
    return _np.where(_np.less(b, a), b, a)


def _same(*operands: Any, **_: Any) -> Any:
    return operands if len(operands) > 1 else operands[0]


def _before(a: Any, b: Any) -> Any:
    """Compare in the order in which JAX sorts: NaN comes last."""
    last = _np.logical_and(_np.isnan(b), _np.logical_not(_np.isnan(a)))
    return _np.logical_or(_np.less(a, b), last)


FUNCTIONS: Mapping[str, Any] = {
    "add": lambda a, b: a + b,
    "add_any": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "div.int": _integer_div,
    "rem": _np.fmod,
    "rem.int": _integer_rem,
    "neg": lambda a: -a,
    "pow": _pow,
    "square": lambda a: a * a,
    "sqrt": _np.sqrt,
    "rsqrt": lambda a: 1.0 / _np.sqrt(a),
    "cbrt": _np.cbrt,
    "abs": _np.absolute,
    "sign": _np.sign,
    "exp": _np.exp,
    "exp2": _np.exp2,
    "expm1": _np.expm1,
    "log": _np.log,
    "log1p": _np.log1p,
    "sin": _np.sin,
    "cos": _np.cos,
    "tan": _np.tan,
    "asin": _np.arcsin,
    "acos": _np.arccos,
    "atan": _np.arctan,
    "atan2": _np.arctan2,
    "sinh": _np.sinh,
    "cosh": _np.cosh,
    "tanh": _np.tanh,
    "asinh": _np.arcsinh,
    "acosh": _np.arccosh,
    "atanh": _np.arctanh,
    "logistic": _logistic,
    "max": _np.maximum,
    "max.int": _larger,
    "min": _np.minimum,
    "min.int": _smaller,
    "floor": _np.floor,
    "ceil": _np.ceil,
    "is_finite": _np.isfinite,
    "eq": _np.equal,
    "ne": _np.not_equal,
    "lt": _np.less,
    "le": _np.less_equal,
    "gt": _np.greater,
    "ge": _np.greater_equal,
    "lt_to": _before,
    "le_to": lambda a, b: _np.logical_not(_before(b, a)),
    "and": _np.bitwise_and,
    "or": _np.bitwise_or,
    "xor": _np.bitwise_xor,
    "xor.bool": _np.logical_xor,
    "not": _np.invert,
    "not.bool": _np.logical_not,
    "select_n": _select_n,
    "clamp": _clamp,
    "clamp.int": lambda low, x, high: _smaller(_larger(x, low), high),
}
"""Primitives that are functions of their operands alone."""

RULES: Mapping[str, Rule] = {
    **{name: elementwise(function) for name, function in FUNCTIONS.items()},
    "integer_pow": _integer_pow,
    "round": _round,
    "bitcast_convert_type": _bits,
    "shift_right_arithmetic": _shifted,
    "reduce_precision": _reduce_precision,
    "convert_element_type": _as_format,
    "convert_element_type.bool": _truth_as,
    "convert_element_type.int": _as_format,
    "stop_gradient": _same,
    "copy": _same,
    "copy_p": _same,
    "name": _same,
    "optimization_barrier": _same,
    "sharding_constraint": _same,
}
