"""The cases: kinks here, singular points in `convention_singular.py`."""

from __future__ import annotations

from math import inf
from typing import Any

from studies.convention_singular import SINGULAR
from studies.conventions import Case, Spelling, everywhere

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
"""Constants of G. Klambauer et al., "Self-Normalizing Neural Networks", 2017, equation 14."""


def _clip(x: Any, low: Any, high: Any) -> Any:
    return min(max(x, low), high)


def _hard_sigmoid(x: Any) -> Any:
    return _clip(x + 3, 0, 6) / 6


def _elu(x: Any, alpha: float) -> Any:
    return x if x > 0 else alpha * x.expm1()


def _huber(x: Any) -> Any:
    return x * x / 2 if abs(x) <= 1 else abs(x) - (x * 0 + 1) / 2


def _round(x: Any) -> Any:
    """Round as frameworks do between 0 and 1, halves to 0."""
    return (x - (x * 0 + 1) / 2).ceil()


def _smooth_l1(beta: float) -> Spelling:
    return lambda torch, x: torch.nn.functional.smooth_l1_loss(x, torch.zeros_like(x), beta=beta)


# fmt: off
ACTIVATIONS = [
    Case("relu", "relu(x)", (0.0,), 0, 1, "slopes 0 and 1 meet", lambda x: max(x, 0 * x),
         {"torch": lambda torch, x: torch.relu(x), "jax": lambda jax, x: jax.nn.relu(x)}),
    Case("leaky relu", "leaky_relu(x, 1/4)", (0.0,), 0.25, 1, "slopes 1/4 and 1 meet",
         lambda x: max(x, x / 4),
         {"torch": lambda torch, x: torch.nn.functional.leaky_relu(x, 0.25),
          "jax": lambda jax, x: jax.nn.leaky_relu(x, 0.25)}),
    Case("relu6 at 0", "relu6(x)", (0.0,), 0, 1, "slopes 0 and 1 meet",
         lambda x: _clip(x, 0 * x, 6),
         {"torch": lambda torch, x: torch.nn.functional.relu6(x),
          "jax": lambda jax, x: jax.nn.relu6(x)}),
    Case("relu6 at 6", "relu6(x)", (6.0,), 0, 1, "slopes 1 and 0 meet",
         lambda x: _clip(x, 0, 6 + 0 * x),
         {"torch": lambda torch, x: torch.nn.functional.relu6(x),
          "jax": lambda jax, x: jax.nn.relu6(x)}),
    *(
        Case(f"hardtanh at {at}", "hardtanh(x)", (float(at),), 0, 1, "slopes 0 and 1 meet",
             lambda x: _clip(x, -1 + 0 * x, 1 + 0 * x),
             {"torch": lambda torch, x: torch.nn.functional.hardtanh(x),
              "jax": lambda jax, x: jax.nn.hard_tanh(x)})
        for at in (-1, 1)
    ),
    *(
        Case(f"hardsigmoid at {at}", "hardsigmoid(x)", (float(at),), 0, 1 / 6,
             "slopes 0 and 1/6 meet", _hard_sigmoid,
             {"torch": lambda torch, x: torch.nn.functional.hardsigmoid(x),
              "jax": lambda jax, x: jax.nn.hard_sigmoid(x)})
        for at in (-3, 3)
    ),
    *(
        Case(f"hardswish at {at}", "hardswish(x)", (float(at),), low, high,
             "slopes of x (x + 3)/6 and of a line meet", lambda x: x * _hard_sigmoid(x),
             {"torch": lambda torch, x: torch.nn.functional.hardswish(x),
              "jax": lambda jax, x: jax.nn.hard_swish(x)})
        for at, low, high in ((-3, -0.5, 0), (3, 1, 1.5))
    ),
    Case("elu", "elu(x)", (0.0,), 1, 1, "smooth there: both slopes are 1", lambda x: _elu(x, 1),
         {"torch": lambda torch, x: torch.nn.functional.elu(x),
          "jax": lambda jax, x: jax.nn.elu(x)}),
    Case("elu, alpha 2", "elu(x, 2)", (0.0,), 1, 2, "slopes alpha and 1 meet", lambda x: _elu(x, 2),
         {"torch": lambda torch, x: torch.nn.functional.elu(x, 2.0),
          "jax": lambda jax, x: jax.nn.elu(x, 2.0)}),
    Case("selu", "selu(x)", (0.0,), SELU_SCALE, SELU_SCALE * SELU_ALPHA,
         "slopes scale and scale alpha meet", lambda x: SELU_SCALE * _elu(x, SELU_ALPHA),
         {"torch": lambda torch, x: torch.selu(x), "jax": lambda jax, x: jax.nn.selu(x)}),
    Case("softplus at 21", "softplus(x)", (21.0,), 0.9999999992417439, 0.9999999992417439,
         "smooth: the logistic function of 21; there PyTorch goes over to x",
         lambda x: x.exp().log1p(),
         {"torch": lambda torch, x: torch.nn.functional.softplus(x),
          "jax": lambda jax, x: jax.nn.softplus(x)}),
    Case("logsigmoid", "logsigmoid(x)", (0.0,), 0.5, 0.5, "smooth, though computed from |x|",
         lambda x: -(-x).exp().log1p(),
         {"torch": lambda torch, x: torch.nn.functional.logsigmoid(x),
          "jax": lambda jax, x: jax.nn.log_sigmoid(x)}),
    Case("relu(x) - relu(-x)", "relu(x) - relu(-x)", (0.0,), 1, 1, "it is x",
         lambda x: max(x, 0 * x) - max(-x, 0 * x),
         {"torch": lambda torch, x: torch.relu(x) - torch.relu(-x),
          "jax": lambda jax, x: jax.nn.relu(x) - jax.nn.relu(-x)}),
]

SCALARS = [
    Case("abs", "abs(x)", (0.0,), -1, 1, "slopes -1 and 1 meet", abs,
         everywhere(lambda np, x: np.abs(x))),
    Case("sign", "sign(x)", (0.0,), 0, inf, "flat on both sides of a jump upwards",
         lambda x: x.sgn(), everywhere(lambda np, x: np.sign(x))),
    Case("heaviside", "heaviside(x, 1/2)", (0.0,), 0, inf, "flat on both sides of a jump upwards",
         lambda x: (1 + x.sgn()) / 2,
         everywhere(lambda np, x: np.heaviside(x, np.ones_like(x) / 2))),
    Case("copysign(1, x)", "copysign(1, x)", (0.0,), 0, inf, "flat on both sides of a jump upwards",
         lambda x: -1 + 0 * x if x < 0 else 1 + 0 * x,
         everywhere(lambda np, x: np.copysign(np.ones_like(x), x))),
    Case("copysign(x, 1)", "copysign(x, 1)", (0.0,), -1, 1, "it is |x|", abs,
         everywhere(lambda np, x: np.copysign(x, np.ones_like(x)))),
    Case("round", "round(x)", (0.5,), 0, inf, "flat on both sides of a jump upwards", _round,
         everywhere(lambda np, x: np.round(x))),
    Case("floor", "floor(x)", (1.0,), 0, inf, "flat on both sides of a jump upwards",
         lambda x: x.floor(), everywhere(lambda np, x: np.floor(x))),
    Case("fmod at a multiple", "fmod(x, 1)", (1.0,), -inf, 1,
         "slope 1 on both sides of a jump down", lambda x: x - x.floor(),
         everywhere(lambda np, x: np.fmod(x, np.ones_like(x)))),
    Case("fmod by x at a divisor", "fmod(1, x)", (1.0,), -1, inf,
         "slopes -1 and 0 on the sides of a jump upwards", lambda x: 1 - x * (1 / x).floor(),
         everywhere(lambda np, x: np.fmod(np.ones_like(x), x))),
    Case("maximum tie", "maximum(x, 0)", (0.0,), 0, 1, "slopes 0 and 1 meet",
         lambda x: max(x, 0 * x), everywhere(lambda np, x: np.maximum(x, np.zeros_like(x)))),
    Case("minimum tie", "minimum(x, 0)", (0.0,), 0, 1, "slopes 1 and 0 meet",
         lambda x: min(x, 0 * x), everywhere(lambda np, x: np.minimum(x, np.zeros_like(x)))),
    Case("maximum(x, x)", "maximum(x, x)", (0.0,), 1, 1, "it is x", lambda x: x,
         everywhere(lambda np, x: np.maximum(x, x))),
    *(
        Case(f"clip at {at}", "clip(x, -1, 1)", (float(at),), 0, 1, "slopes 0 and 1 meet",
             lambda x: _clip(x, -1 + 0 * x, 1 + 0 * x), everywhere(lambda np, x: np.clip(x, -1, 1)))
        for at in (-1, 1)
    ),
    Case("clip to one number", "clip(x, 0, 0)", (0.0,), 0, 0, "it is constant", lambda x: 0 * x,
         everywhere(lambda np, x: np.clip(x, 0, 0))),
    Case("sqrt(x^2)", "sqrt(x * x)", (0.0,), -1, 1, "it is |x|", abs,
         everywhere(lambda np, x: np.sqrt(x * x))),
    Case("hypot", "hypot(x, 0)", (0.0,), -1, 1, "it is |x|", abs,
         everywhere(lambda np, x: np.hypot(x, np.zeros_like(x)))),
    Case("huber at delta", "huber_loss(x, 0, delta=1)", (1.0,), 1, 1, "smooth: both slopes are 1",
         _huber,
         {"torch": lambda torch, x: torch.nn.functional.huber_loss(x, torch.zeros_like(x)),
          "jax": lambda jax, x: jax.numpy.where(abs(x) <= 1, x * x / 2, abs(x) - 0.5)}),
    *(
        Case(f"smooth l1 at {name}", f"smooth_l1_loss(x, 0, beta={beta})", (at,), low, high, why,
             definition,
             {"torch": _smooth_l1(beta)})
        for name, at, beta, low, high, why, definition in (
            ("0", 0.0, 1, 0, 0, "smooth: the vertex of a parabola", _huber),
            ("beta", 1.0, 1, 1, 1, "smooth: both slopes are 1", _huber),
            ("0, beta 0", 0.0, 0, -1, 1, "it is |x|", abs),
        )
    ),
]

TIED = (0.0, 0.0)
VECTORS = [
    Case("norm at 0", "norm(x)", TIED, -1, 1, "slopes of a cone: the unit ball",
         lambda x, y: (x * x + y * y).sqrt(), everywhere(lambda np, x: np.linalg.norm(x))),
    Case("1-norm at 0", "norm(x, 1)", TIED, -1, 1, "slopes -1 and 1 meet",
         lambda x, y: abs(x) + abs(y), everywhere(lambda np, x: np.linalg.norm(x, 1))),
    Case("max-norm at 0", "norm(x, inf)", TIED, -1, 1, "slopes from -1 to 1 meet",
         lambda x, y: max(abs(x), abs(y)), everywhere(lambda np, x: np.linalg.norm(x, inf))),
    Case("max-norm at a tie", "norm(x, inf)", (1.0, 1.0), 0, 1, "either may be the larger",
         lambda x, y: max(abs(x), abs(y)), everywhere(lambda np, x: np.linalg.norm(x, inf))),
    Case("standard deviation of equals", "std(x)", TIED, -1 / 2, 1 / 2, "it is |x[0] - x[1]| / 2",
         lambda x, y: abs(x - y) / 2,
         {"torch": lambda torch, x: torch.std(x, correction=0),
          "jax": lambda jax, x: jax.numpy.std(x),
          "autograd": lambda autograd, x: autograd.numpy.std(x)}),
    Case("max tie along an axis", "max(x, axis=0)", TIED, 0, 1, "either may be the larger", max,
         {"torch": lambda torch, x: torch.max(x, 0).values,
          "jax": lambda jax, x: jax.numpy.max(x, axis=0),
          "autograd": lambda autograd, x: autograd.numpy.max(x, axis=0)}),
    Case("amax tie along an axis", "amax(x, axis=0)", TIED, 0, 1, "either may be the larger", max,
         {"torch": lambda torch, x: torch.amax(x, 0),
          "jax": lambda jax, x: jax.numpy.amax(x, axis=0)}),
    Case("min tie along an axis", "min(x, axis=0)", TIED, 0, 1, "either may be the smaller", min,
         {"torch": lambda torch, x: torch.min(x, 0).values,
          "jax": lambda jax, x: jax.numpy.min(x, axis=0),
          "autograd": lambda autograd, x: autograd.numpy.min(x, axis=0)}),
    Case("max tie of three", "max(x)", (0.0, 0.0, 0.0), 0, 1, "any may be the largest", max,
         everywhere(lambda np, x: np.max(x))),
    Case("median tie", "median(x)", (0.0, 0.0, 1.0), 0, 1, "either may be the middle one",
         lambda x, y, z: sorted([x, y, z])[1], everywhere(lambda np, x: np.median(x))),
    Case("sort tie", "sort(x)[0]", TIED, 0, 1, "either may come first", min,
         {"torch": lambda torch, x: torch.sort(x).values[0],
          "jax": lambda jax, x: jax.numpy.sort(x)[0],
          "autograd": lambda autograd, x: autograd.numpy.sort(x)[0]}),
    Case("cummax tie", "cummax(x)[1]", TIED, 0, 1, "either may be the larger", max,
         {"torch": lambda torch, x: torch.cummax(x, 0).values[1],
          "jax": lambda jax, x: jax.lax.cummax(x)[1]}),
]
# fmt: on

CASES = [*ACTIVATIONS, *SCALARS, *VECTORS, *SINGULAR]
