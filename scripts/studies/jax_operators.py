"""JAX's derivatives of its own functions, on inputs of a table.

Every public function of four modules is there: one that has no derivative, or is another's second
name, with the reason why it is left out. A function is judged if the program of one of its inputs
ran on balls and some comparison was informative.
"""

from __future__ import annotations

import inspect
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from importlib import import_module
from multiprocessing import get_context
from typing import Any

import numpy as np
import pandas as pd

from gradcheck.errors import RequestError
from gradcheck.harness.request import DTYPES
from studies.jax_inputs import COMMON, GIVEN, OF_MATRICES, Call
from studies.judged import check_inputs, limited, new_row

MODULES = ("jax.numpy", "jax.nn", "jax.scipy.special", "jax.numpy.linalg")
INPUTS = 3
"""How many inputs of a function are tried in each dtype."""
SECONDS = 20
"""For finding out whether a function can be called so."""
ABOUT_FILES = frozenset(
    {"save", "savez", "load", "fromfile", "frombuffer", "fromiter", "from_dlpack", "fromstring"}
)
ABOUT_PRINTING = frozenset({"array_repr", "array_str", "printoptions", "set_printoptions"})


def measure_jax_operators(only: str = "", every: int = 1, workers: int = 2) -> pd.DataFrame:
    """Check functions in every dtype.

    Returns
    -------
    pandas.DataFrame
        A row for each function and dtype: `operator, dtype, inputs, captured, judged, agree,
        disagree, uninformative, refused, seconds, message`. A function that is left out has one
        row without a dtype, whose message says why.
    """
    names = [name for name in function_names() if not only or name == only][::every]
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:  # JAX's threads do not fork
        rows = pool.map(check_jax_operator, names)
        return pd.DataFrame([row for found in rows for row in found])


def function_names() -> list[str]:
    """Name the public functions of all modules, in order."""
    return list(_functions())


@cache
def _functions() -> dict[str, Callable[..., Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            f"{module}.{name}": value
            for module in MODULES
            for name, value in _public(import_module(module))
        }


def _public(module: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name in dir(module):
        value = getattr(module, name)
        if not name.startswith("_") and callable(value) and not inspect.isclass(value):
            yield name, value


def check_jax_operator(name: str) -> list[dict[str, Any]]:
    """Check one function on a few inputs in every dtype, or say why it is left out."""
    function = _functions()[name]
    calls, reason = found_calls(name, function)
    if not calls:
        return [new_row(name, "", f"left out: {reason}")]
    rows = []
    for dtype in DTYPES:
        started = time.perf_counter()
        row = new_row(name, dtype)
        for one in calls[:INPUTS]:
            check_inputs(row, one.bound(function), one.arguments)
        rows.append(row | {"seconds": time.perf_counter() - started})
    return rows


def found_calls(name: str, function: Callable[..., Any]) -> tuple[list[Call], str]:
    """Return calls of a function that can be differentiated, or why there are none."""
    first = next(other for other, value in _functions().items() if value is function)
    module, _, own = name.rpartition(".")
    if first != name:
        return [], f"the same function as {first}"
    if own in ABOUT_FILES | ABOUT_PRINTING:
        return [], "it reads, writes or prints"
    reasons: list[str] = []
    for calls in _candidates(module, own):
        outcomes = [_outcome(function, one) for one in calls]
        fitting = [one for one, outcome in zip(calls, outcomes, strict=True) if not outcome]
        if fitting:
            return fitting, ""
        reasons += outcomes
    return [], next((one for one in reasons if "required positional" not in one), reasons[0])


def _candidates(module: str, own: str) -> Sequence[Sequence[Call]]:
    if own in GIVEN:
        return [GIVEN[own]]
    return OF_MATRICES if module.endswith("linalg") else COMMON


def _outcome(function: Callable[..., Any], call: Call) -> str:
    """Differentiate a call; say what is in the way, nothing if nothing is."""
    from gradcheck.capture.jax_subject import JaxFunction

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            with limited(SECONDS):
                subject = JaxFunction(call.bound(function), call.arguments)
                outputs = subject.outputs(subject.given)
                if not all(np.isfinite(one).all() for one in outputs):
                    return "its results are not finite on the inputs tried"
                if not depends(subject):
                    return "its result does not depend on the numbers that it is given"
                subject.run(subject.given, None)
        except RequestError as error:
            complex_numbers = error.text.startswith("complex")
            return "" if complex_numbers else error.text  # the check refuses these by name
        except Exception as error:
            return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
    return ""


def depends(subject: Any) -> bool:
    """Tell whether the results of a function hang on what it is differentiated by."""
    import jax

    jaxpr = jax.make_jaxpr(lambda arrays: subject(arrays))(dict(subject.given)).jaxpr
    needed = {id(one) for one in jaxpr.outvars}
    for equation in reversed(jaxpr.eqns):
        if not needed.isdisjoint(map(id, equation.outvars)):
            needed |= {id(one) for one in equation.invars}
    return not needed.isdisjoint(map(id, jaxpr.invars))
