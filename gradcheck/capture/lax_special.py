"""JAX's special functions among its primitives, by those of SciPy's names.

Incomplete Γ and B are not among the numbers' functions and are refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from math import factorial
from typing import Any

import numpy as np

from gradcheck.capture.program import Rule
from gradcheck.numbers.array import Batched
from gradcheck.numbers.errors import NoRuleError


def _special(name: str) -> Rule:
    def rule(*operands: Any, **_: Any) -> Any:
        return getattr(import_module("scipy.special"), name)(*operands)

    return rule


def _order(order: Any, name: str) -> float:
    """Return the one number that an operand consists of, if it is a constant."""
    if isinstance(order, Batched):
        if order.constants is None or not order.constants.all():
            raise NoRuleError(f"there is no rule for {name} of orders that vary", name)
        order = [float(getattr(one, "constant", one)) for one in np.ravel(order.decisive)]
    orders = np.unique(order)
    if len(orders) != 1:
        raise NoRuleError(f"there is no rule for {name} of several orders", name)
    return float(orders[0])


def _zeta(s: Any, q: Any, **_: Any) -> Any:
    return import_module("scipy.special").zeta(_order(s, "zeta"), q)


def _polygamma(n: Any, x: Any, **_: Any) -> Any:
    """Return the n-th derivative of digamma, by the zeta function of Hurwitz."""
    order = int(_order(n, "polygamma"))
    special = import_module("scipy.special")
    if order == 0:
        return special.digamma(x)
    return special.zeta(float(order + 1), x) * float((-1) ** (order + 1) * factorial(order))


APPROXIMATED: Mapping[str, str] = {
    "fresnel": "fresnel",
    "_owens_t_impl": "owens_t",
    "expi": "expi",
    "expn": "expn",
    "sici": "sici",
}
"""Functions of JAX that state the derivative of what they approximate by series and fractions.

The derivative of what they compute is another: not exactly that which they state.
"""


def approximated(equation: Any) -> str | None:
    """Return the name of such a function where it is called."""
    called = equation.params.get("call_jaxpr")
    source = getattr(getattr(called, "jaxpr", called), "debug_info", None)
    name, _, file = str(getattr(source, "func_src_info", "")).partition(" at ")
    is_own = "/jax/_src/" in file.replace("\\", "/")
    return APPROXIMATED.get(name) if is_own else None


RULES: Mapping[str, Rule] = {
    "erf": _special("erf"),
    "erfc": _special("erfc"),
    "erf_inv": _special("erfinv"),
    "lgamma": _special("gammaln"),
    "digamma": _special("digamma"),
    "bessel_i0e": _special("i0e"),
    "bessel_i1e": _special("i1e"),
    "zeta": _zeta,
    "polygamma": _polygamma,
}
