"""What ATen computes in one kernel: activations, losses and distances, forward and backward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradcheck.capture.aten_constructors import with_in_place
from gradcheck.capture.aten_elementwise import clamp
from gradcheck.capture.aten_reductions import vector_norm
from gradcheck.capture.aten_special import sigmoid, special
from gradcheck.capture.program import Rule
from gradcheck.numbers.errors import NoRuleError

_np: Any = np
"""NumPy, whose functions take more than they are declared to."""


def softplus(x: Any, beta: Any = 1, threshold: Any = 20) -> Any:
    """Return log(1 + e^(βx))/β, and x where βx is above the threshold."""
    z = x * beta
    return _np.where(z > threshold, x, _np.logaddexp(z, 0.0) / beta)


def _softplus_backward(g: Any, x: Any, beta: Any, threshold: Any) -> Any:
    z = x * beta
    return _np.where(z > threshold, g, g * sigmoid(z))


SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805
"""G. Klambauer et al., *Self-normalizing neural networks*, 2017, equation 14."""
INV_SQRT2 = 0.7071067811865476
SQRT_2_OVER_PI = 0.7978845608028654
CUBIC = 0.044715
"""D. Hendrycks and K. Gimpel, *Gaussian error linear units*, 2016: of the fit by tanh."""


_erf = special("erf")


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


def _rrelu(
    x: Any, noise: Any, low: Any = 1 / 8, high: Any = 1 / 3, training: bool = False, *_: Any
) -> Any:
    if training:
        raise NoRuleError("there is no rule for slopes drawn at random", "aten.rrelu_with_noise")
    return _leaky(x, (low + high) / 2)


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
    return clamp(x + 3, 0.0, 6.0) / 6


def _hardsigmoid_backward(g: Any, x: Any) -> Any:
    """Return a sixth, which PyTorch 2.13 rounds to float32 in every format."""
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


# Losses


def _share(reduction: int, samples: int, classes: int) -> float:
    """Return what one term of a margin's loss counts for: 1 is the mean over the samples."""
    return 1.0 / (classes * (samples if reduction == 1 else 1))


def _rows(x: Any) -> Any:
    return _np.reshape(x, (-1, x.shape[-1] if x.ndim else 1))


def _multi_margin_backward(
    g: Any, x: Any, target: Any, p: Any, margin: Any, weight: Any = None, reduction: int = 1
) -> Any:
    rows = _rows(x)
    label = np.reshape(target, -1)
    is_target = np.arange(rows.shape[1]) == label[:, None]
    own = _np.sum(_np.where(is_target, rows, 0.0), axis=1, keepdims=True)
    excess = margin - own + rows
    slope = _share(reduction, *rows.shape) * (1.0 if p == 1 else 2 * excess)
    slope = slope if weight is None else slope * _np.reshape(weight[label], (-1, 1))
    counted = _np.where(_np.logical_or(is_target, excess <= 0), 0.0, slope)
    slopes = _np.where(is_target, -_np.sum(counted, axis=1, keepdims=True), counted)
    return _np.reshape(slopes * _np.reshape(g, (-1, 1)), x.shape)


def _label_margins(rows: Any, target: Any) -> tuple[Any, Any, Any]:
    """Return where each listed label is, by how much each class comes near it, and which count."""
    labels = np.reshape(target, rows.shape)
    listed = np.logical_and.accumulate(labels >= 0, axis=1)  # as far as the first −1
    places = (labels[:, :, None] == np.arange(rows.shape[1])) & listed[:, :, None]
    own = _np.sum(_np.where(places, rows[:, None, :], 0.0), axis=2)
    counted = listed[:, :, None] & ~places.any(axis=1)[:, None, :]
    return places, 1.0 - own[:, :, None] + rows[:, None, :], counted


def _multilabel_margin(x: Any, target: Any, reduction: int) -> tuple[Any, Any]:
    rows = _rows(x)
    places, excess, counted = _label_margins(rows, target)
    terms = _np.where(counted, _np.maximum(excess, 0.0), 0.0)
    loss = _np.sum(terms, axis=(1, 2)) * _share(reduction, *rows.shape)
    is_target = np.reshape(places.any(axis=1) * 1.0, x.shape)
    return _np.sum(loss) if reduction else _np.reshape(loss, x.shape[:-1]), is_target


def _multilabel_margin_backward(g: Any, x: Any, target: Any, reduction: int, is_target: Any) -> Any:
    rows = _rows(x)
    places, excess, counted = _label_margins(rows, target)
    hits = _np.where(_np.logical_and(counted, excess > 0), 1.0, 0.0)
    lost = _np.sum(hits, axis=2)[:, :, None] * places
    slopes = (_np.sum(hits, axis=1) - _np.sum(lost, axis=1)) * _share(reduction, *rows.shape)
    return _np.reshape(slopes * _np.reshape(g, (-1, 1)), x.shape)


# Distances


def _distance_slope(g: Any, difference: Any, p: float, distance: Any) -> Any:
    """Return the gradient of a p-norm; where it has none, PyTorch takes 0."""
    if p == 0:
        return difference * 0.0
    sign, size = _np.sign(difference), _np.absolute(difference)
    if p == 1:
        return g * sign
    if p == float("inf"):
        return g * sign * _np.where(_np.equal(size, distance), 1.0, 0.0)
    none = _np.logical_or(_np.equal(distance, 0), _np.equal(difference, 0))
    size = _np.where(none, 1.0, size)
    distance = _np.where(none, 1.0, distance)
    slope = difference / distance if p == 2 else sign * (size / distance) ** (p - 1)
    return _np.where(none, 0.0, g * slope)


def _cdist(a: Any, b: Any, p: float, mode: Any = None) -> Any:
    return vector_norm(a[..., :, None, :] - b[..., None, :, :], p, -1)


def _cdist_backward(g: Any, a: Any, b: Any, p: float, distance: Any) -> Any:
    difference = a[..., :, None, :] - b[..., None, :, :]
    return _np.sum(_distance_slope(g[..., None], difference, p, distance[..., None]), axis=-2)


def _pdist(x: Any, p: float = 2) -> Any:
    first, second = np.triu_indices(x.shape[0], 1)
    return vector_norm(x[first] - x[second], p, -1)


def _pdist_backward(g: Any, x: Any, p: float, distance: Any) -> Any:
    first, second = np.triu_indices(x.shape[0], 1)
    slopes = _distance_slope(g[:, None], x[first] - x[second], p, distance[:, None])
    row = np.arange(x.shape[0])[:, None]
    return _np.matmul((row == first) * 1.0 - (row == second) * 1.0, slopes)


def _trilinear(
    a: Any, b: Any, c: Any, expand_a: Any, expand_b: Any, expand_c: Any, dim: Any, unrolled: int = 1
) -> Any:
    for axis in expand_a:
        a = _np.expand_dims(a, axis)
    for axis in expand_b:
        b = _np.expand_dims(b, axis)
    for axis in expand_c:
        c = _np.expand_dims(c, axis)
    product = a * b * c
    return _np.sum(product, axis=tuple(dim)) if dim else product


def _weight_norm_backward(g: Any, v: Any, length: Any, norms: Any, dim: int) -> tuple[Any, Any]:
    """Return the gradients of v·length/‖v‖, the norm taken over all axes but one."""
    axes = tuple(axis for axis in range(v.ndim) if axis != dim)
    along = _np.sum(g * v, axis=axes, keepdims=True)
    return length / norms * (g - v * (along / (norms * norms))), along / norms


ACTIVATIONS: Mapping[str, Rule] = {
    "relu": lambda x: _np.maximum(x, 0.0),
    "relu6": lambda x: clamp(x, 0.0, 6.0),
    "silu": lambda x: x * sigmoid(x),
    "mish": _mish,
    "gelu": gelu,
    "elu": _elu,
    "celu": lambda x, alpha=1.0: _elu(x, alpha, 1.0, 1.0 / alpha),
    "selu": lambda x: _elu(x, SELU_ALPHA, SELU_SCALE),
    "leaky_relu": _leaky,
    "rrelu_with_noise": _rrelu,
    "hardtanh": lambda x, low=-1.0, high=1.0: clamp(x, low, high),
    "hardsigmoid": _hardsigmoid,
    "hardswish": lambda x: x * _hardsigmoid(x),
    "threshold": _threshold,
}
"""Functions that may also be asked for in place."""

OTHERS: Mapping[str, Rule] = {
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
    "multi_margin_loss_backward": _multi_margin_backward,
    "multilabel_margin_loss_forward": _multilabel_margin,
    "multilabel_margin_loss_backward": _multilabel_margin_backward,
    "_cdist_forward": _cdist,
    "_cdist_backward": _cdist_backward,
    "_pdist_forward": _pdist,
    "_pdist_backward": _pdist_backward,
    "_trilinear": _trilinear,
    "_weight_norm_interface_backward": _weight_norm_backward,
}

RULES: Mapping[str, Rule] = {
    f"aten.{name}": rule for name, rule in {**with_in_place(ACTIVATIONS), **OTHERS}.items()
}
