"""Cases without a kink: roots, jumps, poles, zeros of products, and points at infinity."""

from __future__ import annotations

from importlib import import_module
from math import inf
from typing import Any

from studies.conventions import Case, Spelling, everywhere


def _where(holds: Any, value: Any) -> Any:
    return value() if holds else None


def _arctan2(y: Any, x: Any) -> Any:
    """Arb's has no value at the origin, where NumPy's is 0."""
    return 0 * y if x == 0 and y == 0 else type(x).atan2(y, x)


def _determinant(np: Any, x: Any) -> Any:
    return np.linalg.det(np.reshape(x, (2, 2)))


def _logsumexp(x: Any, y: Any) -> Any:
    return (x.exp() + y.exp()).log()


def _log_softmax(x: Any, y: Any) -> Any:
    """Return the second element."""
    return -(x - y).exp().log1p()


def _softmax(x: Any, y: Any) -> Any:
    return 1 / (1 + (y - x).exp())


def _autograd_logsumexp(autograd: Any, x: Any) -> Any:
    return import_module(f"{autograd.__name__}.scipy.special").logsumexp(x)


def _power(exponent: float) -> Spelling:
    return lambda np, x: x ** (exponent * np.ones_like(x))


LOGSUMEXP: dict[str, Spelling] = {
    "torch": lambda torch, x: torch.logsumexp(x, 0),
    "jax": lambda jax, x: jax.nn.logsumexp(x),
    "autograd": _autograd_logsumexp,
}
SOFTMAX: dict[str, Spelling] = {
    "torch": lambda torch, x: torch.softmax(x, 0)[0],
    "jax": lambda jax, x: jax.nn.softmax(x)[0],
}
XLOGY: dict[str, Spelling] = {
    "torch": lambda torch, x: torch.special.xlogy(x, x),
    "jax": lambda jax, x: jax.scipy.special.xlogy(x, x),
}


# fmt: off
ROOTS = [
    Case("sqrt", "sqrt(x)", (0.0,), inf, inf, "the slope grows without bound",
         lambda x: _where(x >= 0, x.sqrt), everywhere(lambda np, x: np.sqrt(x))),
    Case("where-sqrt", "where(x > 0, sqrt(x), 0)", (0.0,), 0, inf,
         "slope 0 on the left, without bound on the right", lambda x: x.sqrt() if x > 0 else 0 * x,
         everywhere(lambda np, x: np.where(x > 0, np.sqrt(x), np.zeros_like(x)))),
    Case("where-sinc", "where(x == 0, 1, sin(x) / x)", (0.0,), 0, 0,
         "it is an even, smooth function", lambda x: x.sinc(),
         everywhere(lambda np, x: np.where(x == 0, np.ones_like(x), np.sin(x) / x))),
    Case("sinc", "sinc(x)", (0.0,), 0, 0, "an even, smooth function", lambda x: x.sinc_pi(),
         everywhere(lambda np, x: np.sinc(x))),
    Case("log at 0", "log(x)", (0.0,), inf, inf, "the slope grows without bound",
         lambda x: _where(x > 0, x.log), everywhere(lambda np, x: np.log(x))),
    Case("log at -1", "log(x)", (-1.0,), None, None, "there is no logarithm near -1",
         lambda x: _where(x > 0, x.log), everywhere(lambda np, x: np.log(x))),
    Case("log1p at -1", "log1p(x)", (-1.0,), inf, inf, "the slope grows without bound",
         lambda x: _where(x > -1, x.log1p), everywhere(lambda np, x: np.log1p(x))),
    Case("log1p at -2", "log1p(x)", (-2.0,), None, None, "it is not defined near -2",
         lambda x: _where(x > -1, x.log1p), everywhere(lambda np, x: np.log1p(x))),
    Case("arcsin at 1", "arcsin(x)", (1.0,), inf, inf, "the slope grows without bound",
         lambda x: _where(x <= 1, x.asin), everywhere(lambda np, x: np.arcsin(x))),
    Case("arccos at 1", "arccos(x)", (1.0,), -inf, -inf, "the slope falls without bound",
         lambda x: _where(x <= 1, x.acos), everywhere(lambda np, x: np.arccos(x))),
    Case("arccosh at 1", "arccosh(x)", (1.0,), inf, inf, "the slope grows without bound",
         lambda x: _where(x >= 1, x.acosh), everywhere(lambda np, x: np.arccosh(x))),
    Case("arctanh at 2", "arctanh(x)", (2.0,), None, None, "it is not defined near 2",
         lambda x: _where(abs(x) < 1, x.atanh), everywhere(lambda np, x: np.arctanh(x))),
    Case("entropy", "entr(x)", (0.0,), inf, inf, "-log(x) - 1 grows without bound",
         lambda x: _where(x >= 0, lambda: 0 * x if x == 0 else -x * x.log()),
         {"torch": lambda torch, x: torch.special.entr(x),
          "jax": lambda jax, x: jax.scipy.special.entr(x)}),
    Case("xlogy(x, x)", "xlogy(x, x)", (0.0,), -inf, -inf, "log(x) + 1 falls without bound",
         lambda x: _where(x >= 0, lambda: 0 * x if x == 0 else x * x.log()), XLOGY),
    Case("xlogy(x, 1)", "xlogy(x, 1)", (0.0,), 0, 0, "it is 0", lambda x: 0 * x,
         {"torch": lambda torch, x: torch.special.xlogy(x, torch.ones_like(x)),
          "jax": lambda jax, x: jax.scipy.special.xlogy(x, jax.numpy.ones_like(x))}),
    Case("xlogy(0, x)", "xlogy(0, x)", (0.0,), 0, 0, "it is 0", lambda x: 0 * x,
         {"torch": lambda torch, x: torch.special.xlogy(torch.zeros_like(x), x),
          "jax": lambda jax, x: jax.scipy.special.xlogy(jax.numpy.zeros_like(x), x)}),
    Case("arctan2(x, 0)", "arctan2(x, 0)", (0.0,), 0, inf, "flat on both sides of a jump upwards",
         lambda x: _arctan2(x, 0 * x), everywhere(lambda np, x: np.arctan2(x, np.zeros_like(x)))),
    Case("arctan2(0, x)", "arctan2(0, x)", (0.0,), -inf, 0, "flat on both sides of a jump down",
         lambda x: _arctan2(0 * x, x), everywhere(lambda np, x: np.arctan2(np.zeros_like(x), x))),
]

POWERS = [
    *(
        Case(f"x^y by x, y = {y:g}", f"pow(x, y), y an array of {y:g}", (0.0,), slope, slope,
             why, definition, everywhere(_power(y)))
        for y, slope, why, definition in (
            (0, 0, "it is 1", lambda x: 0 * x + 1),
            (0.5, inf, "it is the root of x", lambda x: _where(x >= 0, x.sqrt)),
            (1, 1, "it is x", lambda x: x),
            (1.5, 0, "3/2 times the root of x", lambda x: _where(x >= 0, lambda: x * x.sqrt())),
            (2, 0, "the vertex of a parabola", lambda x: x * x),
        )
    ),
    *(
        Case(f"x^y by y, x = 0, y = {y:g}", "pow(0, x)", (float(y),), low, high, why,
             lambda x: _where(x >= 0, lambda: 1 + 0 * x if x == 0 else 0 * x),
             everywhere(lambda np, x: np.zeros_like(x) ** x))
        for y, low, high, why in (
            (0, -inf, 0, "a jump from 1 to 0, flat thereafter"),
            (0.5, 0, 0, "it is 0"),
            (2, 0, 0, "it is 0"),
        )
    ),
]

PRODUCTS = [
    Case("prod with a zero", "prod(x)", (0.0, 2.0, 3.0), 6, 6, "the product of the others",
         lambda x, y, z: x * y * z, everywhere(lambda np, x: np.prod(x))),
    Case("prod with two zeros", "prod(x)", (0.0, 0.0, 3.0), 0, 0, "the product of the others",
         lambda x, y, z: x * y * z, everywhere(lambda np, x: np.prod(x))),
    *(
        Case(f"cumprod with {name}", "cumprod(x)[2]", at, slope, slope, "the product of the others",
             lambda x, y, z: x * y * z,
             {"torch": lambda torch, x: torch.cumprod(x, 0)[2],
              "jax": lambda jax, x: jax.numpy.cumprod(x)[2]})
        for name, at, slope in (
            ("a zero", (0.0, 2.0, 3.0), 6),
            ("two zeros", (0.0, 0.0, 3.0), 0),
        )
    ),
    Case("determinant of rank 1", "det([[x0, x1], [x2, x3]])", (1.0, 2.0, 2.0, 4.0), 4, 4,
         "the cofactor", lambda a, b, c, d: a * d - b * c, everywhere(_determinant)),
    Case("determinant of rank 0", "det([[x0, x1], [x2, x3]])", (0.0, 0.0, 0.0, 0.0), 0, 0,
         "the cofactor", lambda a, b, c, d: a * d - b * c, everywhere(_determinant)),
]

INFINITE = [
    Case("logsumexp, one -inf", "logsumexp(x)", (-inf, 0.0), 0, 0, "the share of x[0] vanishes",
         _logsumexp, LOGSUMEXP),
    Case("logsumexp, all -inf", "logsumexp(x)", (-inf, -inf), 0, 1, "a share from 0 to 1",
         _logsumexp, LOGSUMEXP),
    Case("logsumexp, one +inf", "logsumexp(x)", (inf, 0.0), 1, 1, "the share of x[0] is all",
         lambda x, y: x + (y - x).exp().log1p(), LOGSUMEXP),
    Case("logaddexp(x, -inf)", "logaddexp(x, -inf)", (-inf,), 1, 1, "it is x", lambda x: x,
         everywhere(lambda np, x: np.logaddexp(x, -inf * np.ones_like(x)))),
    Case("softmax, one -inf", "softmax(x)[0]", (-inf, 0.0), 0, 0, "the share of x[0] vanishes",
         _softmax, SOFTMAX),
    Case("softmax, all -inf", "softmax(x)[0]", (-inf, -inf), 0, 0.25,
         "p (1 - p) for a share p from 0 to 1", _softmax, SOFTMAX),
    Case("log-softmax, one -inf", "log_softmax(x)[1]", (-inf, 0.0), 0, 0,
         "the share of x[0] vanishes", _log_softmax,
         {"torch": lambda torch, x: torch.log_softmax(x, 0)[1],
          "jax": lambda jax, x: jax.nn.log_softmax(x)[1]}),
    Case("softplus at -inf", "softplus(x)", (-inf,), 0, 0, "the slope vanishes",
         lambda x: x.exp().log1p(),
         {"torch": lambda torch, x: torch.nn.functional.softplus(x),
          "jax": lambda jax, x: jax.nn.softplus(x)}),
    Case("silu at -inf", "silu(x)", (-inf,), 0, 0, "the slope vanishes",
         lambda x: x / (1 + (-x).exp()),
         {"torch": lambda torch, x: torch.nn.functional.silu(x),
          "jax": lambda jax, x: jax.nn.silu(x)}),
]
# fmt: on

SINGULAR = [*ROOTS, *POWERS, *PRODUCTS, *INFINITE]
