"""Which derivative frameworks return at kinks and singular points, and which would be honest there.

A program of kinks need not add up to the derivative of what it computes: relu(x) − relu(−x) is x.

References
----------
F. H. Clarke, *Optimization and Nonsmooth Analysis*, 1983, section 2.1.
J. Bolte and E. Pauwels, "A mathematical model for automatic differentiation in machine learning",
NeurIPS 2020, section 1.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module, metadata
from importlib.util import find_spec
from math import inf, isfinite, isnan
from typing import Any

import numpy as np
import pandas as pd

Spelling = Callable[[Any, Any], Any]
"""`spelling(framework, x)`: a function of a scalar, or of a vector, as a framework writes it."""

Derivative = Callable[[Any, Spelling, Any], Any]
"""The derivative of a spelling with respect to its first coordinate, at an array of NumPy."""

COLUMNS = [
    *("case", "function", "point", "framework", "version", "mode", "dtype"),
    *("derivative", "low", "high", "stands", "note"),
]
DTYPES = ("float64", "float32")

ALLOWANCE = 4
"""Ulps by which the few operations of a case may err at an end of the honest interval."""


@dataclass(frozen=True)
class Case:
    """A function, a point where conventions matter, and which derivatives are honest there.

    Parameters
    ----------
    name
        What it is called.
    function
        What it computes, of x; derivatives are with respect to x, or to x[0].
    at
        The point.
    low, high
        Ends of the honest interval: between which all difference quotients along the first
        coordinate lie in the limit of small steps near the point. Where the function is Lipschitz
        that is Clarke's subdifferential along the coordinate. Nothing, where none is honest.
    why
        The reason, in a line.
    definition
        The function of numbers of Arb, one an element; `None` where it has no finite value.
    spellings
        The function as each framework writes it; those that are left out do not have it.
    """

    name: str
    function: str
    at: tuple[float, ...]
    low: float | None
    high: float | None
    why: str
    definition: Callable[..., Any]
    spellings: Mapping[str, Spelling]

    @property
    def point(self) -> str:
        """The point in words."""
        return "x = " + ("[{}]" if len(self.at) > 1 else "{}").format(
            ", ".join(f"{x:g}" for x in self.at)
        )


@dataclass(frozen=True)
class Framework:
    """A framework and its modes of differentiation."""

    name: str
    modes: Mapping[str, Derivative]

    @property
    def version(self) -> str:
        """Its version, without where it was built for."""
        return metadata.version(self.name).partition("+")[0]


def everywhere(function: Spelling) -> dict[str, Spelling]:
    """Spell a function in the same manner in every framework's namespace of NumPy's functions."""
    return {
        "torch": function,
        "jax": lambda jax, x: function(jax.numpy, x),
        "autograd": lambda autograd, x: function(autograd.numpy, x),
    }


def _first(array: Any) -> float:
    """Read the derivative with respect to the first coordinate off a gradient."""
    return float(np.asarray(array).reshape(-1)[0])


def _basis(at: Any) -> Any:
    """Return the direction of the first coordinate."""
    direction = np.zeros_like(at)
    direction.reshape(-1)[0] = 1
    return direction


def _torch_reverse(torch: Any, spelling: Spelling, at: Any) -> float:
    x = torch.tensor(at, requires_grad=True)
    spelling(torch, x).backward()
    if x.grad is None:
        raise NotImplementedError("the result does not depend on x")
    return _first(x.grad)


def _torch_forward(torch: Any, spelling: Spelling, at: Any) -> float:
    x, direction = torch.tensor(at), torch.tensor(_basis(at))
    return _first(torch.func.jvp(lambda x: spelling(torch, x), (x,), (direction,))[1])


def _jax_reverse(jax: Any, spelling: Spelling, at: Any) -> float:
    with jax.enable_x64(at.dtype == np.float64):
        return _first(jax.grad(lambda x: spelling(jax, x))(jax.numpy.asarray(at)))


def _jax_forward(jax: Any, spelling: Spelling, at: Any) -> float:
    with jax.enable_x64(at.dtype == np.float64):
        x, direction = jax.numpy.asarray(at), jax.numpy.asarray(_basis(at))
        return _first(jax.jvp(lambda x: spelling(jax, x), (x,), (direction,))[1])


def _autograd_reverse(autograd: Any, spelling: Spelling, at: Any) -> float:
    return _first(autograd.grad(lambda x: spelling(autograd, x))(at))


def _autograd_forward(autograd: Any, spelling: Spelling, at: Any) -> float:
    return _first(autograd.make_jvp(lambda x: spelling(autograd, x))(at)(_basis(at))[1])


FRAMEWORKS = (
    Framework("torch", {"reverse": _torch_reverse, "forward": _torch_forward}),
    Framework("jax", {"reverse": _jax_reverse, "forward": _jax_forward}),
    Framework("autograd", {"reverse": _autograd_reverse, "forward": _autograd_forward}),
)


def missing() -> list[str]:
    """Name the frameworks that are not installed."""
    return [framework.name for framework in FRAMEWORKS if find_spec(framework.name) is None]


def standing(derivative: float, low: float | None, high: float | None, dtype: str) -> str:
    """Tell whether a derivative is `inside` the honest interval, `outside`, or `nan`.

    No number is inside where none is honest.
    """
    if isnan(derivative):
        return "nan"
    if low is None or high is None:
        return "outside"
    low_allowed, high_allowed = low - _slack(low, dtype), high + _slack(high, dtype)
    return "inside" if low_allowed <= derivative <= high_allowed else "outside"


def _slack(end: float, dtype: str) -> float:
    """Allow for rounding at an end; not at zero and infinity, which are exact."""
    if end == 0 or not isfinite(end):
        return 0
    return ALLOWANCE * float(np.spacing(np.dtype(dtype).type(abs(end))))


def tabulate(cases: Sequence[Case], frameworks: Sequence[Framework] = FRAMEWORKS) -> pd.DataFrame:
    """Evaluate every case in every installed framework and mode; a row for dtypes that agree."""
    present = [framework for framework in frameworks if framework.name not in missing()]
    rows = [
        row
        for case in cases
        for framework in present
        if framework.name in case.spellings
        for mode, derivative in framework.modes.items()
        for row in _rows(case, framework, mode, derivative)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _rows(
    case: Case, framework: Framework, mode: str, derivative: Derivative
) -> list[dict[str, Any]]:
    module = import_module(framework.name)
    if framework.name == "autograd":
        import_module("autograd.numpy")
    spelling = case.spellings[framework.name]
    found = {dtype: _evaluate(module, spelling, case.at, dtype, derivative) for dtype in DTYPES}
    if found["float64"] is None:
        return []
    rows = [
        _row(case, value, dtype) | {"framework": framework.name, "mode": mode}
        for dtype, value in found.items()
        if value is not None
    ]
    for row in rows:
        row["version"] = framework.version
    return [rows[0] | {"dtype": "both"}] if _agree(rows) else rows


def _evaluate(
    module: Any, spelling: Spelling, at: tuple[float, ...], dtype: str, derivative: Derivative
) -> float | str | None:
    """Return a derivative, the reason why a framework has none, or `None` if it lacks the function.

    Divisions by zero are what is looked at, so no warning is due.
    """
    point = np.array(at if len(at) > 1 else at[0], dtype)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return float(derivative(module, spelling, point))
    except AttributeError as error:
        if "has no attribute" in str(error):
            return None
        return _reason(error)
    except (NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        return _reason(error)


def _reason(error: Exception) -> str:
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return f"{type(error).__name__}: {first}"


def _row(case: Case, value: float | str, dtype: str) -> dict[str, Any]:
    refused = isinstance(value, str)
    return {
        "case": case.name,
        "function": case.function,
        "point": case.point,
        "dtype": dtype,
        "derivative": "" if isinstance(value, str) else _text(value),
        "low": _text(case.low),
        "high": _text(case.high),
        "stands": "not defined"
        if isinstance(value, str)
        else standing(value, case.low, case.high, dtype),
        "note": value if refused else case.why,
    }


def _agree(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether two dtypes have the same derivative, as far as the narrower one can tell."""
    wide, narrow = rows
    if wide["stands"] != narrow["stands"] or not wide["derivative"]:
        return bool(wide["stands"] == narrow["stands"])
    a, b = float(wide["derivative"]), float(narrow["derivative"])
    return isnan(a) or a == b or abs(a - b) <= _slack(b, "float32")


def _text(value: float | None) -> str:
    """Write a number so that it reads back exactly, whole ones without a fraction."""
    if value is None:
        return "none"
    if isnan(value) or abs(value) == inf or value != int(value):
        return repr(value)
    return str(int(value))


def honest(row: Mapping[Any, Any]) -> str:
    """Write the honest interval of a row: one number where both ends are the same."""
    low, high = (_short(row[end]) for end in ("low", "high"))
    return low if low == high else f"[{low}, {high}]"


def _short(text: str) -> str:
    return text if text in ("", "none") else f"{float(text):.10g}".replace("inf", "∞")


def compact(table: pd.DataFrame) -> pd.DataFrame:
    """Write a row a case and a column a framework; what modes, or dtypes, return that differ.

    What stands outside, and what is not a number where a number is honest, is in `**`.
    """
    rows: dict[str, dict[str, list[str]]] = {}
    for record in table.to_dict("records"):
        row = rows.setdefault(
            record["case"], {"case": [record["case"]], "honest": [honest(record)]}
        )
        cells = row.setdefault(record["framework"], [])
        if (cell := _cell(record)) not in cells:
            cells.append(cell)
    joined = [{column: " / ".join(cells) for column, cells in row.items()} for row in rows.values()]
    return pd.DataFrame(joined).fillna("")


def _cell(record: Mapping[Any, Any]) -> str:
    if record["stands"] == "not defined":
        return "refused"
    text = _short(record["derivative"])
    wrong = record["stands"] == "outside" or (record["stands"] == "nan" and record["low"] != "none")
    return f"**{text}**" if wrong else text
