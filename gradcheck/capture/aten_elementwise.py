"""ATen's elementwise operations, in NumPy's functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradcheck.capture.aten_constructors import with_in_place
from gradcheck.capture.aten_special import lgamma, polygamma, sigmoid, special
from gradcheck.capture.program import Rule
from gradcheck.numbers.array import Batched, NoRuleError
from gradcheck.numbers.formats import cast

_np: Any = np
"""NumPy, whose functions take more than they are declared to."""

LOG_2 = 0.6931471805599453


def _add(a: Any, b: Any, *, alpha: Any = 1) -> Any:
    return a + (b if alpha == 1 else b * alpha)


def _sub(a: Any, b: Any, *, alpha: Any = 1) -> Any:
    return a - (b if alpha == 1 else b * alpha)


def _holds_integers(*operands: Any) -> bool:
    return all(_np.result_type(getattr(one, "dtype", one)).kind in "iub" for one in operands)


def _div(a: Any, b: Any, *, rounding_mode: str | None = None) -> Any:
    if rounding_mode is None:
        return a / b
    if not _holds_integers(a, b):
        return _np.floor(a / b) if rounding_mode == "floor" else _np.trunc(a / b)
    quotient = a // b
    is_off = _np.logical_and(_np.not_equal(a - quotient * b, 0), _np.less(quotient, 0))
    return quotient if rounding_mode == "floor" else quotient + _np.where(is_off, 1, 0)


def _pow(a: Any, b: Any) -> Any:
    """Raise to powers; to whole ones that vary one after the other, for of any number they are."""
    if isinstance(b, int | float):
        return _np.sqrt(a) if b == 0.5 else a**b
    exponents = fixed(b) if isinstance(a, Batched) else None
    if exponents is None or not (exponents == np.rint(exponents)).all():
        return a**b
    result = 1.0
    for k in np.unique(exponents):
        result = _np.where(exponents == k, a ** float(k), result)
    return result


def fixed(x: Any) -> Any:
    """Return the plain numbers that constants are, the same in all samples; `None` if unknown."""
    if not isinstance(x, Batched):
        return np.asarray(x)
    held = x.decisive
    if held.dtype.hasobject:
        reals: Any = getattr(x, "reals", held)
        is_known = all(one.fixed and one.constant.is_exact() for one in reals.flat)
        held = _np.array([float(one.constant) for one in reals.flat])
    else:
        is_known = x.constants is not None and bool(x.constants.all()) and not x.left_open.any()
    if not is_known:
        return None
    samples = held.reshape(-1, *x.shape)
    return samples[0] if (samples == samples[0]).all() else None


def clamp(a: Any, min: Any = None, max: Any = None) -> Any:
    """Return the nearest numbers between two others."""
    a = a if min is None else _np.maximum(a, min)
    return a if max is None else _np.minimum(a, max)


def _lerp(a: Any, b: Any, weight: Any) -> Any:
    return a + weight * (b - a)


def _round(x: Any, *, decimals: int = 0) -> Any:
    unit = 10.0 ** abs(decimals)
    if decimals < 0:
        return _np.rint(x / unit) * unit
    return _np.rint(x * unit) / unit if decimals else _np.rint(x)


def _signbit(x: Any) -> Any:
    """Tell what is negative; of an exact zero balls do not know the sign."""
    if not isinstance(x, Batched):
        return _np.signbit(x)
    zero: Any = np.equal(x, 0)  # type: ignore[call-overload]
    if (zero.decisive == 1).any():
        raise NoRuleError("balls have no rule for the sign of zero", "numpy.signbit")
    return _np.less(x, 0)


def _copysign(a: Any, b: Any) -> Any:
    size = _np.absolute(a)
    return _np.where(_signbit(b), -size, size)


def _frexp(x: Any) -> tuple[Any, Any]:
    """Return a number of magnitude from 1/2 to 1, and the power of two it is multiplied by."""
    if not isinstance(x, Batched):
        return np.frexp(x)
    zero = _np.equal(x, 0)
    power = _np.floor(_np.log2(_np.absolute(_np.where(zero, 0.5, x)))) + 1.0
    return _np.where(zero, x, x / _np.exp2(power)), cast(power, "int32")


def _of_one(extreme: Any) -> Rule:
    """Leave out what is no number, unless both are not."""

    def rule(a: Any, b: Any) -> Any:
        return _np.where(_np.isnan(a), b, _np.where(_np.isnan(b), a, extreme(a, b)))

    return rule


def _xlogy(x: Any, y: Any) -> Any:
    return _np.where(_np.equal(x, 0), 0.0, x * _np.log(_np.where(_np.equal(x, 0), 1.0, y)))


def _xlog1py(x: Any, y: Any) -> Any:
    none = _np.equal(x, 0)
    return _np.where(none, 0.0, x * _np.log1p(_np.where(none, 0.0, y)))


def truth(x: Any) -> Any:
    """Tell what is not zero; of numbers with bars it is asked, lest one be taken for an answer."""
    return x if not isinstance(x, Batched) or x.stored.kind == "b" else _np.not_equal(x, 0)


def _logical(function: Any) -> Rule:
    return lambda *operands: function(*map(truth, operands))


def _xor(a: Any, b: Any) -> Any:
    function = (
        np.logical_xor if isinstance(a, Batched) or isinstance(b, Batched) else np.bitwise_xor
    )
    return function(a, b)


ARITHMETIC: Mapping[str, Rule] = {
    "add": _add,
    "sub": _sub,
    "rsub": lambda a, b, alpha=1: b - (a if alpha == 1 else a * alpha),
    "mul": lambda a, b: a * b,
    "div": _div,
    "true_divide": _div,
    "floor_divide": lambda a, b: _div(a, b, rounding_mode="floor"),
    "copysign": _copysign,
    "pow": _pow,
    "neg": lambda a: -a,
    "reciprocal": lambda a: 1.0 / a,
    "square": lambda a: a * a,
    "sqrt": _np.sqrt,
    "rsqrt": lambda a: 1.0 / _np.sqrt(a),
    "abs": _np.absolute,
    "sign": _np.sign,
    "sgn": _np.sign,
    "exp": _np.exp,
    "exp2": _np.exp2,
    "expm1": _np.expm1,
    "log": _np.log,
    "log2": _np.log2,
    "log10": _np.log10,
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
    "hypot": _np.hypot,
    "logaddexp": _np.logaddexp,
    "logaddexp2": lambda a, b: _np.logaddexp(a * LOG_2, b * LOG_2) / LOG_2,
    "deg2rad": lambda a: a * (np.pi / 180),
    "rad2deg": lambda a: a * (180 / np.pi),
    "sigmoid": sigmoid,
    "erf": special("erf"),
    "erfc": special("erfc"),
    "erfinv": special("erfinv"),
    "lgamma": lgamma,
    "digamma": lambda x: polygamma(0, x),
    "i0": special("i0"),
    "maximum": _np.maximum,
    "minimum": _np.minimum,
    "fmax": _of_one(_np.maximum),
    "fmin": _of_one(_np.minimum),
    "clamp": clamp,
    "clamp_min": lambda a, low: _np.maximum(a, low),
    "clamp_max": lambda a, high: _np.minimum(a, high),
    "addcmul": lambda a, b, c, value=1: a + b * c * value,
    "addcdiv": lambda a, b, c, value=1: a + b / c * value,
    "lerp": _lerp,
    "xlogy": _xlogy,
    "masked_fill": lambda a, mask, value: _np.where(mask, value, a),
    "bitwise_and": _np.bitwise_and,
    "bitwise_or": _np.bitwise_or,
    "bitwise_xor": _xor,
    "bitwise_not": _np.invert,
    "logical_not": _logical(_np.logical_not),
    "logical_and": _logical(_np.logical_and),
    "logical_or": _logical(_np.logical_or),
    "logical_xor": _logical(_np.logical_xor),
    "eq": _np.equal,
    "ne": _np.not_equal,
    "lt": _np.less,
    "le": _np.less_equal,
    "gt": _np.greater,
    "ge": _np.greater_equal,
    "floor": _np.floor,
    "ceil": _np.ceil,
    "round": _round,
    "trunc": _np.trunc,
    "remainder": _np.remainder,
    "fmod": _np.fmod,
}
"""Operations that may also be asked for in place."""

OTHERS: Mapping[str, Rule] = {
    "special_xlog1py": _xlog1py,
    "special_erfcx": lambda x: _np.exp(x * x) * special("erfc")(x),
    "special_i0e": special("i0e"),
    "special_i1": special("i1"),
    "special_i1e": special("i1e"),
    "special_ndtri": special("ndtri"),
    "polygamma": polygamma,
    "where": _np.where,
    "frexp.Tensor": _frexp,
    "signbit": _signbit,
    "angle": lambda x: _np.where(x < 0, np.pi, 0.0),
    "isnan": _np.isnan,
    "isinf": _np.isinf,
    "isfinite": _np.isfinite,
}

RULES: Mapping[str, Rule] = {
    f"aten.{name}": rule for name, rule in {**with_in_place(ARITHMETIC), **OTHERS}.items()
}
