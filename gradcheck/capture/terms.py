"""Functions of a program's values: what they compute, and the code for it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradcheck.capture.program import Rule

_np: Any = np
"""NumPy, whose functions take more than they are declared to."""


@dataclass(frozen=True)
class Original:
    """Stands for what the operation yields as it is."""


ORIGINAL = Original()


@dataclass(frozen=True)
class Again:
    """The operation itself, with other arguments."""

    arguments: tuple[Any, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Term:
    """A function of terms: of values (`Ref`), numbers, `ORIGINAL`, `Again`.

    Parameters
    ----------
    form
        A key of `FORMS`.
    operands
        Terms; numbers that are parameters of the form come last.
    """

    form: str
    operands: tuple[Any, ...]


def _masked(a: Any, mask: Any) -> Any:
    return _np.where(mask, a, 0.0)


def _axis_added(a: Any, axis: int) -> Any:
    return _np.expand_dims(a, axis)


def _sigmoid(a: Any) -> Any:
    return 1.0 / (1.0 + _np.exp(-a))


def _transposed(a: Any) -> Any:
    return _np.swapaxes(a, -1, -2)


def _reduced(function: Rule, keepdims: bool) -> Rule:
    return lambda a, axes: function(a, axis=axes, keepdims=keepdims)


FORMS: Mapping[str, tuple[Rule, str]] = {
    "add": (lambda a, b: a + b, "{0} + {1}"),
    "sub": (lambda a, b: a - b, "{0} - {1}"),
    "mul": (lambda a, b: a * b, "{0} * {1}"),
    "div": (lambda a, b: a / b, "{0} / {1}"),
    "pow": (lambda a, b: a**b, "{0} ** {1}"),
    "neg": (lambda a: -a, "-{0}"),
    "matmul": (lambda a, b: a @ b, "{0} @ {1}"),
    "transpose": (_transposed, "{0}.mT"),
    "sum": (_reduced(_np.sum, False), "{0}.sum({1})"),
    "mean": (_reduced(_np.mean, False), "{0}.mean({1})"),
    "sum_kept": (_reduced(_np.sum, True), "{0}.sum({1}, {keepdim}=True)"),
    "mean_kept": (_reduced(_np.mean, True), "{0}.mean({1}, {keepdim}=True)"),
    "unsqueeze": (_axis_added, "{xp}.{unsqueeze}({0}, {1})"),
    "masked": (_masked, "{xp}.where({1}, {0}, 0.0)"),
    "where": (lambda c, a, b: _np.where(c, a, b), "{xp}.where({0}, {1}, {2})"),
    "not": (_np.logical_not, "~{0}"),
    "sigmoid": (_sigmoid, "{nn}.sigmoid({0})"),
    "gt": (_np.greater, "{0} > {1}"),
    "ge": (_np.greater_equal, "{0} >= {1}"),
    "lt": (_np.less, "{0} < {1}"),
    "le": (_np.less_equal, "{0} <= {1}"),
    "eq": (_np.equal, "{0} == {1}"),
    "ne": (_np.not_equal, "{0} != {1}"),
    "and": (_np.logical_and, "{0} & {1}"),
    "or": (_np.logical_or, "{0} | {1}"),
    "rsqrt": (lambda a: 1.0 / _np.sqrt(a), "1 / {xp}.sqrt({0})"),
    "reciprocal": (lambda a: 1.0 / a, "1 / {0}"),
    "square": (lambda a: a * a, "{0} ** 2"),
    **{
        name: (getattr(_np, name), f"{{xp}}.{name}({{0}})")
        for name in (
            "sin", "cos", "tan", "sinh", "cosh", "tanh", "exp", "expm1", "log", "log1p", "sqrt",
            "maximum", "minimum",
        )
    },
    "abs": (_np.absolute, "{xp}.abs({0})"),
    "sign": (_np.sign, "{xp}.sign({0})"),
}  # fmt: skip
"""By name: the function of numbers, and its code."""
SYNONYMS: Mapping[str, str] = {
    "subtract": "sub",
    "multiply": "mul",
    "true_divide": "div",
    "divide": "div",
    "add_any": "add",
    "logistic": "sigmoid",
    "integer_pow": "pow",
    "reduce_sum": "sum",
    "mm": "matmul",
    "bmm": "matmul",
    "mv": "matmul",
    "dot": "matmul",
    "t": "transpose",
    "permute": "transpose",
    "logical_and": "and",
    "logical_or": "or",
    "bitwise_and": "and",
    "bitwise_or": "or",
    "logical_not": "not",
    "bitwise_not": "not",
    "max": "maximum",
    "min": "minimum",
}


def kind_of(operation: str) -> str:
    """Name an operation as all frameworks do: `aten.mul_.Tensor` is `mul`."""
    parts = operation.split(".")
    name = parts[1] if parts[0] == "aten" and len(parts) > 1 else parts[0]
    name = name.rstrip("_") or name
    return SYNONYMS.get(name, name)


Render = Callable[[Any], str]


def code_of(term: Any, leaf: Render, words: Mapping[str, str]) -> str:
    """Write a term as code; `leaf` says what values, `ORIGINAL` and `Again` are called."""
    if not isinstance(term, Term):
        return leaf(term)
    operands = [
        code_of(one, leaf, words)
        if i and term.form in CALLED
        else bracketed(code_of(one, leaf, words), term.form, i == 0)
        for i, one in enumerate(term.operands)
    ]
    return FORMS[term.form][1].format(*operands, **words)


CALLED = ("sum", "mean", "sum_kept", "mean_kept")
"""Forms whose other operands are in brackets already."""


PRODUCTS, SUMS = (ast.Mult, ast.Div, ast.MatMult), (ast.Add, ast.Sub)


def bracketed(code: str, form: str, first: bool) -> str:
    """Put what may bind less tightly in brackets."""
    if FORMS[form][1].startswith(("{xp}.", "{nn}.")) or code.startswith("["):
        return code
    try:
        node = ast.parse(code, mode="eval").body
    except SyntaxError:
        return f"({code})"
    if isinstance(node, ast.Name | ast.Constant | ast.Call | ast.Attribute | ast.Subscript):
        return code
    if isinstance(node, ast.UnaryOp) and first and form in ("add", "sub", "mul", "div"):
        return code
    if isinstance(node, ast.BinOp):
        product = isinstance(node.op, PRODUCTS)
        if isinstance(node.op, ast.Pow) and form in ("add", "sub", "mul", "div", "neg"):
            return code
        if form in ("add", "sub") and (product or (first and isinstance(node.op, SUMS))):
            return code
        if form in ("mul", "div") and product and first:
            return code
    return f"({code})"
