"""ATen's elementwise operations, constructors and copies, in NumPy's functions."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from math import factorial
from typing import Any

import numpy as np

from gradcheck.capture.program import Rule
from gradcheck.numbers.formats import cast

_np: Any = np
"""NumPy, whose functions take more than they are declared to."""


def _add(a: Any, b: Any, *, alpha: Any = 1) -> Any:
    return a + (b if alpha == 1 else b * alpha)


def _sub(a: Any, b: Any, *, alpha: Any = 1) -> Any:
    return a - (b if alpha == 1 else b * alpha)


def _div(a: Any, b: Any, *, rounding_mode: str | None = None) -> Any:
    quotient = a / b
    if rounding_mode is None:
        return quotient
    return _np.floor(quotient) if rounding_mode == "floor" else _np.trunc(quotient)


def _pow(a: Any, b: Any) -> Any:
    if isinstance(b, int | float) and b == 0.5:
        return _np.sqrt(a)
    return a**b


def _clamp(a: Any, min: Any = None, max: Any = None) -> Any:
    a = a if min is None else _np.maximum(a, min)
    return a if max is None else _np.minimum(a, max)


def clamped_where(a: Any, low: Any, high: Any) -> Any:
    """Tell where numbers are between two others."""
    holds = True
    if low is not None:
        holds = _np.greater_equal(a, low)
    if high is not None:
        holds = _np.logical_and(holds, _np.less_equal(a, high))
    return holds


def sigmoid(x: Any) -> Any:
    """Return 1/(1 + e⁻ˣ)."""
    return 1.0 / (1.0 + _np.exp(-x))


def _special(name: str) -> Rule:
    def rule(x: Any) -> Any:
        return getattr(import_module("scipy.special"), name)(x)

    return rule


def softplus(x: Any, beta: Any = 1, threshold: Any = 20) -> Any:
    """Return log(1 + e^(βx))/β, and x where βx is above the threshold."""
    z = x * beta
    return _np.where(z > threshold, x, _np.logaddexp(z, 0.0) / beta)


def _softplus_backward(g: Any, x: Any, beta: Any, threshold: Any) -> Any:
    z = x * beta
    return _np.where(z > threshold, g, g * sigmoid(z))


LN_2 = 0.6931471805599453
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805
"""G. Klambauer et al., *Self-normalizing neural networks*, 2017, equation 14."""
INV_SQRT2 = 0.7071067811865476
SQRT_2_OVER_PI = 0.7978845608028654
CUBIC = 0.044715
"""D. Hendrycks and K. Gimpel, *Gaussian error linear units*, 2016: of the fit by tanh."""


_erf = _special("erf")


def gelu(x: Any, *, approximate: str = "none") -> Any:
    """Return x·Φ(x), Φ the normal distribution."""
    if approximate == "tanh":
        return 0.5 * x * (1 + _np.tanh(SQRT_2_OVER_PI * (x + CUBIC * x * x * x)))
    return x * 0.5 * (1 + _erf(x * INV_SQRT2))


def _gelu_backward(g: Any, x: Any, *, approximate: str = "none") -> Any:
    if approximate == "tanh":
        t = _np.tanh(SQRT_2_OVER_PI * (x + CUBIC * x * x * x))
        slope = SQRT_2_OVER_PI * (1 + 3 * CUBIC * x * x)
        return g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * slope)
    density = _np.exp(-0.5 * x * x) * (SQRT_2_OVER_PI / 2)
    return g * (0.5 * (1 + _erf(x * INV_SQRT2)) + x * density)


def _elu(x: Any, alpha: Any = 1, scale: Any = 1, input_scale: Any = 1) -> Any:
    low = alpha * _np.expm1(_np.minimum(x, 0.0) * input_scale)
    return _np.where(x > 0, x, low) * scale


def _elu_backward(g: Any, alpha: Any, scale: Any, input_scale: Any, is_result: bool, x: Any) -> Any:
    if is_result:
        low = g * input_scale * (x + alpha * scale)
    else:
        low = g * input_scale * alpha * scale * _np.exp(_np.minimum(x, 0.0) * input_scale)
    return _np.where(x > 0, g * scale, low)


def _hardtanh_backward(g: Any, x: Any, low: Any, high: Any) -> Any:
    return _np.where(_np.logical_and(x > low, x < high), g, 0.0)


def _threshold(x: Any, threshold: Any, value: Any) -> Any:
    return _np.where(x <= threshold, value, x)


def _threshold_backward(g: Any, x: Any, threshold: Any) -> Any:
    return _np.where(x <= threshold, 0.0, g)


def _leaky(x: Any, slope: Any = 0.01) -> Any:
    return _np.where(x > 0, x, x * slope)


def _leaky_backward(g: Any, x: Any, slope: Any, is_result: bool) -> Any:
    return _np.where(x > 0, g, g * slope)


def _silu_backward(g: Any, x: Any) -> Any:
    s = sigmoid(x)
    return g * (s * (1 + x * (1 - s)))


def _mish(x: Any) -> Any:
    return x * _np.tanh(_np.logaddexp(x, 0.0))


def _mish_backward(g: Any, x: Any) -> Any:
    t, s = _np.tanh(_np.logaddexp(x, 0.0)), sigmoid(x)
    return g * (t + x * s * (1 - t * t))


def _log_sigmoid_forward(x: Any) -> tuple[Any, Any]:
    return -_np.logaddexp(-x, 0.0), _np.exp(-_np.absolute(x))


def _log_sigmoid_backward(g: Any, x: Any, buffer: Any) -> Any:
    return g * sigmoid(-x)


def _hardsigmoid(x: Any) -> Any:
    return _clamp(x + 3, 0.0, 6.0) / 6


def _hardsigmoid_backward(g: Any, x: Any) -> Any:
    return _np.where(_np.logical_and(x > -3, x < 3), g / 6, 0.0)


def _hardswish_backward(g: Any, x: Any) -> Any:
    return _np.where(x < -3, 0.0, _np.where(x <= 3, g * (x / 3 + 0.5), g))


def _softshrink(x: Any, lambd: Any = 0.5) -> Any:
    return _np.where(x > lambd, x - lambd, _np.where(x < -lambd, x + lambd, x * 0.0))


def _hardshrink(x: Any, lambd: Any = 0.5) -> Any:
    return _np.where(_np.absolute(x) <= lambd, 0.0, x)


def _shrink_backward(g: Any, x: Any, lambd: Any) -> Any:
    return _np.where(_np.absolute(x) <= lambd, 0.0, g)


def _prelu_backward(g: Any, x: Any, weight: Any) -> tuple[Any, Any]:
    return _np.where(x > 0, g, weight * g), _np.where(x > 0, 0.0, x * g)


def _lerp(a: Any, b: Any, weight: Any) -> Any:
    return a + weight * (b - a)


def _round(x: Any, *, decimals: int = 0) -> Any:
    return _np.rint(x) if decimals == 0 else _np.rint(x * 10.0**decimals) / 10.0**decimals


def _polygamma(n: int, x: Any) -> Any:
    """Return the n-th derivative of digamma, by the zeta function of Hurwitz."""
    special = import_module("scipy.special")
    if n == 0:
        return special.digamma(x)
    return special.zeta(float(n + 1), x) * float((-1) ** (n + 1) * factorial(n))


def _where(condition: Any, a: Any = None, b: Any = None) -> Any:
    return _np.where(condition, a, b)


def _xlogy(x: Any, y: Any) -> Any:
    return _np.where(_np.equal(x, 0), 0.0, x * _np.log(_np.where(_np.equal(x, 0), 1.0, y)))


def _copied(x: Any, *_: Any, **__: Any) -> Any:
    return x.copy() if hasattr(x, "copy") else x


def _is_float(dtype: Any) -> bool:
    return dtype is None or "float" in str(dtype)


def _to_copy(x: Any, *, dtype: Any = None, **_: Any) -> Any:
    """Copy, in another format."""
    return _copied(x) if dtype is None else cast(x, str(dtype).removeprefix("torch."))


def _filled_like(value: float) -> Rule:
    def rule(x: Any, *_: Any, dtype: Any = None, **__: Any) -> Any:
        return _np.full_like(x, value, dtype=float if _is_float(dtype) else None)

    return rule


def _full_like(x: Any, value: Any, *_: Any, dtype: Any = None, **__: Any) -> Any:
    return _np.full_like(x, value, dtype=float if _is_float(dtype) else None)


def _new(value: float) -> Rule:
    def rule(x: Any, shape: Any, *_: Any, dtype: Any = None, **__: Any) -> Any:
        return _np.full_like(x, value, shape=tuple(shape))

    return rule


def _new_full(x: Any, shape: Any, value: Any, *_: Any, **__: Any) -> Any:
    return _np.full_like(x, value, shape=tuple(shape))


def _write(x: Any, value: Any, *_: Any) -> Any:
    x[...] = value
    return x


def in_place(rule: Rule) -> Rule:
    """Write what a rule yields into its first operand."""

    def writing(x: Any, *arguments: Any, **options: Any) -> Any:
        x[...] = rule(x, *arguments, **options)
        return x

    return writing


ARITHMETIC: Mapping[str, Rule] = {
    "add": _add,
    "sub": _sub,
    "rsub": lambda a, b, alpha=1: b - (a if alpha == 1 else a * alpha),
    "mul": lambda a, b: a * b,
    "div": _div,
    "true_divide": _div,
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
    "logaddexp2": lambda a, b: _np.logaddexp(a * LN_2, b * LN_2) / LN_2,
    "deg2rad": lambda a: a * (np.pi / 180),
    "rad2deg": lambda a: a * (180 / np.pi),
    "sigmoid": sigmoid,
    "erf": _special("erf"),
    "erfc": _special("erfc"),
    "erfinv": _special("erfinv"),
    "lgamma": _special("gammaln"),
    "digamma": _special("digamma"),
    "maximum": _np.maximum,
    "minimum": _np.minimum,
    "fmax": _np.maximum,
    "fmin": _np.minimum,
    "clamp": _clamp,
    "clamp_min": lambda a, low: _np.maximum(a, low),
    "clamp_max": lambda a, high: _np.minimum(a, high),
    "relu": lambda a: _np.maximum(a, 0.0),
    "relu6": lambda a: _clamp(a, 0.0, 6.0),
    "silu": lambda a: a * sigmoid(a),
    "mish": _mish,
    "elu": _elu,
    "celu": lambda a, alpha=1.0: _elu(a, alpha, 1.0, 1.0 / alpha),
    "selu": lambda a: _elu(a, SELU_ALPHA, SELU_SCALE),
    "leaky_relu": _leaky,
    "hardtanh": lambda a, low=-1.0, high=1.0: _clamp(a, low, high),
    "hardsigmoid": _hardsigmoid,
    "hardswish": lambda a: a * _hardsigmoid(a),
    "threshold": _threshold,
    "addcmul": lambda a, b, c, value=1: a + b * c * value,
    "addcdiv": lambda a, b, c, value=1: a + b / c * value,
    "lerp": _lerp,
    "xlogy": _xlogy,
    "masked_fill": lambda a, mask, value: _np.where(mask, value, a),
    "logical_not": _np.logical_not,
    "logical_and": _np.logical_and,
    "logical_or": _np.logical_or,
    "logical_xor": _np.logical_xor,
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
    "gelu": gelu,
    "gelu_backward": _gelu_backward,
    "softplus": softplus,
    "softplus_backward": _softplus_backward,
    "log_sigmoid_forward": _log_sigmoid_forward,
    "log_sigmoid_backward": _log_sigmoid_backward,
    "softshrink": _softshrink,
    "softshrink_backward": _shrink_backward,
    "hardshrink": _hardshrink,
    "hardshrink_backward": _shrink_backward,
    "_prelu_kernel": lambda x, weight: _np.where(x > 0, x, weight * x),
    "_prelu_kernel_backward": _prelu_backward,
    "sigmoid_backward": lambda g, s: g * (s * (1 - s)),
    "tanh_backward": lambda g, t: g * (1 - t * t),
    "silu_backward": _silu_backward,
    "mish_backward": _mish_backward,
    "elu_backward": _elu_backward,
    "leaky_relu_backward": _leaky_backward,
    "hardtanh_backward": _hardtanh_backward,
    "hardsigmoid_backward": _hardsigmoid_backward,
    "hardswish_backward": _hardswish_backward,
    "threshold_backward": _threshold_backward,
    "where": _where,
    "bitwise_and": _np.bitwise_and,
    "bitwise_or": _np.bitwise_or,
    "bitwise_not": _np.invert,
    "polygamma": _polygamma,
    "angle": lambda x: _np.where(x < 0, np.pi, 0.0),
    "isnan": _np.isnan,
    "isinf": _np.isinf,
    "isfinite": _np.isfinite,
    "detach": lambda x: x,
    "alias": lambda x: x,
    "lift_fresh": lambda x: x,
    "lift_fresh_copy": _copied,
    "contiguous": lambda x, **_: x,
    "clone": _copied,
    "_to_copy": _to_copy,
    "zeros_like": _filled_like(0.0),
    "ones_like": _filled_like(1.0),
    "empty_like": _filled_like(0.0),
    "full_like": _full_like,
    "new_zeros": _new(0.0),
    "new_ones": _new(1.0),
    "new_empty": _new(0.0),
    "new_empty_strided": _new(0.0),
    "new_full": _new_full,
    "copy": lambda x, source, *_: _np.broadcast_to(source, x.shape).copy(),
    "copy_": _write,
    "fill_": _write,
    "fill": lambda x, value: _np.full_like(x, value),
    "zero_": lambda x: _write(x, 0.0),
    "masked_fill_": in_place(ARITHMETIC["masked_fill"]),
}

RULES: Mapping[str, Rule] = {
    f"aten.{name}": rule
    for name, rule in [
        *ARITHMETIC.items(),
        *((f"{name}_", in_place(rule)) for name, rule in ARITHMETIC.items()),
        *OTHERS.items(),
    ]
}
