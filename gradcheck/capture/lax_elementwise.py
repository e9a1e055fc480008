"""JAX's elementwise primitives and reductions, in NumPy's functions.

A rule whose name ends in `.int` or `.bool` is for a first operand of such a type; of integers only
those matter here that depend on an input.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from gradcheck.capture.program import Rule
from gradcheck.numbers.array import Batched
from gradcheck.numbers.errors import NoRuleError
from gradcheck.numbers.formats import cast

_np: Any = np
"""NumPy, whose functions take more than they are declared to."""


def elementwise(function: Any) -> Rule:
    """Return the rule of a primitive that is a function of its operands and has no choices."""

    def rule(*operands: Any, **_: Any) -> Any:
        return function(*operands)

    return rule


def _special(name: str) -> Any:
    def function(*operands: Any) -> Any:
        return getattr(import_module("scipy.special"), name)(*operands)

    return function


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
        return _np.exp(b * _np.log(a))
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
    if int(rounding_method) != 1:  # to the nearest, ties to even
        raise NoRuleError("there is no rule for round away from zero", "round")
    return _np.rint(x)


def _reduce_precision(x: Any, *, exponent_bits: int, mantissa_bits: int, **_: Any) -> Any:
    kept = np.finfo(x.dtype)
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


def _along(function: Any) -> Rule:
    def rule(x: Any, *, axes: Any, **_: Any) -> Any:
        return function(x, axis=tuple(axes)) if axes else x

    return rule


def _count(x: Any, *, axes: Any, **_: Any) -> Any:
    """Add up integers, which stay integers."""
    if not isinstance(x, Batched):
        return np.sum(x, axis=tuple(axes))
    if not x.is_discrete:
        return _np.sum(x, axis=tuple(axes))
    return x.with_parts([x.parts[0].sum(axis=tuple(axis - x.ndim for axis in axes))])


def _place(function: Any) -> Rule:
    def rule(x: Any, *, axes: Any, **_: Any) -> Any:
        (axis,) = axes
        return function(x, axis=axis)

    return rule


def _accumulated(function: Any) -> Rule:
    """Return the rule of what goes on along an axis."""

    def rule(x: Any, *, axis: int, reverse: bool = False) -> Any:
        x = _np.flip(x, axis) if reverse else x
        rows = [
            _np.take(x, [i], axis=axis)  # a part of length one
            for i in range(x.shape[axis])
        ]
        if not rows:
            return x
        for i in range(1, len(rows)):
            rows[i] = function(rows[i - 1], rows[i])
        result = _np.concatenate(rows, axis=axis)
        return _np.flip(result, axis) if reverse else result

    return rule


def _cumsum(x: Any, *, axis: int, reverse: bool = False) -> Any:
    if not reverse:
        return _np.cumsum(x, axis=axis)
    return _np.flip(_np.cumsum(_np.flip(x, axis), axis=axis), axis)


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
    "erf": _special("erf"),
    "erfc": _special("erfc"),
    "erf_inv": _special("erfinv"),
    "lgamma": _special("gammaln"),
    "digamma": _special("digamma"),
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
    "reduce_precision": _reduce_precision,
    "convert_element_type": _as_format,
    "convert_element_type.bool": _truth_as,
    "convert_element_type.int": _as_format,
    "reduce_sum": _along(_np.sum),
    "reduce_sum.int": _count,
    "reduce_prod": _along(_np.prod),
    "reduce_max": _along(_np.max),
    "reduce_min": _along(_np.min),
    "reduce_or": _along(_np.any),
    "reduce_and": _along(_np.all),
    "argmax": _place(_np.argmax),
    "argmin": _place(_np.argmin),
    "cumsum": _cumsum,
    "cumprod": _accumulated(lambda a, b: a * b),
    "cummax": _accumulated(_np.maximum),
    "cummin": _accumulated(_np.minimum),
    "cumlogsumexp": _accumulated(_np.logaddexp),
    "stop_gradient": _same,
    "copy": _same,
    "copy_p": _same,
    "name": _same,
    "optimization_barrier": _same,
    "sharding_constraint": _same,
}
