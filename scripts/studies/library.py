"""By how many ulps the libraries' functions err, function by function.

The truth is Arb's. The points are random, so that what is found bounds the worst from below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from math import inf
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gradcheck.harness.request import DTYPES
from gradcheck.harness.samples import draw_words
from gradcheck.truth.enclosures import precision, reals

Array = NDArray[Any]
Draw = Callable[[Array], Array]
"""Converts random 64-bit words, of shape `(arguments, points)`, to as many numbers."""

BITS = 256
"""More than 128 are left of a result after a sine near 1e5 or a sum of exponentials cancels."""

HALF = 0.5 * (1 + 2.0**-49)
"""Half an ulp, as sharply as float64 can tell: what errs by no more is correctly rounded."""

PIECES = (1, 3, 7, 13)
"""Sizes that leave a SIMD loop with a remainder, or with nothing else."""


@dataclass(frozen=True)
class Function:
    """A function to be measured, as a user writes it and as Arb knows it.

    Parameters
    ----------
    expression
        `expression(xp, *arrays)` for the namespaces of NumPy, PyTorch and JAX.
    truth
        The same of `flint.arb` numbers.
    ranges
        Where to draw points, by name.
    arguments
        How many there are.
    lacked_by
        Libraries that do not have it.
    """

    expression: Callable[..., Any]
    truth: Callable[..., Any]
    ranges: Mapping[str, Draw]
    arguments: int = 1
    lacked_by: tuple[str, ...] = ()


def measure_library(
    functions: Mapping[str, Function],
    points: int,
    seed: int = 0,
    modes: Mapping[tuple[str, str], Callable[[Callable[..., Any], list[Array]], Any]] | None = None,
) -> pd.DataFrame:
    """Hold every function of every library, evaluated in every mode, against the truth.

    Parameters
    ----------
    points
        How many are drawn from each range. Those whose exact result does not exist, overflows or is
        subnormal do not count.
    modes
        Ways to evaluate, by library and name; `None` for `MODES`.

    Returns
    -------
    pandas.DataFrame
        A row per function, dtype, library, mode and range: the worst error in ulps of the exact
        result (infinite where a finite one is missed altogether), where that is, and how many
        points counted.
    """
    rows = []
    for name, function in functions.items():
        for dtype in DTYPES:
            for stream, (label, draw) in enumerate(function.ranges.items()):
                words = draw_words(seed, stream, 0, points * function.arguments)
                arguments = list(draw(words.reshape(-1, points)).astype(dtype))
                head, tail, ulp = _enclose(function.truth, arguments, np.finfo(dtype))
                if np.isnan(ulp).all():
                    continue
                for (library, mode), evaluate in (MODES if modes is None else modes).items():
                    if library in function.lacked_by:
                        continue
                    with np.errstate(all="ignore"):
                        found = np.asarray(evaluate(function.expression, arguments))
                        errors = np.abs(found.astype(np.float64) - head - tail) / ulp
                    errors = np.where(np.isnan(ulp), -1, np.where(np.isnan(errors), inf, errors))
                    worst = int(errors.argmax())
                    rows.append(
                        {
                            "function": name,
                            "dtype": dtype,
                            "library": library,
                            "mode": mode,
                            "worst_ulps": errors[worst],
                            "at": " ".join(str(argument[worst]) for argument in arguments),
                            "range": label,
                            "points": np.isfinite(ulp).sum(),
                        }
                    )
    return pd.DataFrame(rows)


def _enclose(
    truth: Callable[..., Any], arguments: list[Array], limits: Any
) -> tuple[Array, Array, Array]:
    """Return the exact results, each as a sum of two float64, and their ulps.

    The ulp is NaN where the result does not exist or is no normal number of the format.
    """
    with precision(BITS):
        results = [truth(*point) for point in zip(*map(reals, arguments), strict=True)]
        head = np.array([float(result) for result in results])
        tail = np.array([float(r - h) for r, h in zip(results, head.tolist(), strict=True)])
    mantissa, exponent = np.frexp(head)
    below = (np.abs(mantissa) == 0.5) & (np.sign(tail) == -np.sign(head))  # a power of two
    exponent -= below
    ulp = np.ldexp(1.0, np.maximum(exponent - 1, limits.minexp) - limits.nmant)
    normal = (np.abs(head) >= limits.smallest_normal) & (np.abs(head) <= limits.max)
    return head, tail, np.where(normal, ulp, np.nan)


def _in_pieces(evaluate: Callable[..., Any]) -> Callable[..., Array]:
    def evaluate_pieces(expression: Callable[..., Any], arrays: list[Array]) -> Array:
        ends = np.cumsum(np.resize(PIECES, len(arrays[0])))
        cuts = ends[ends < len(arrays[0])]
        pieces = zip(*(np.split(array, cuts) for array in arrays), strict=True)
        return np.concatenate([np.asarray(evaluate(expression, list(p))) for p in pieces])

    return evaluate_pieces


def _strided(evaluate: Callable[..., Any]) -> Callable[..., Any]:
    return lambda expression, arrays: evaluate(expression, [np.repeat(a, 2)[::2] for a in arrays])


def _numpy(expression: Callable[..., Any], arrays: list[Array]) -> Any:
    return expression(np, *arrays)


def _torch(expression: Callable[..., Any], arrays: list[Array]) -> Any:
    import torch

    return expression(torch, *map(torch.from_numpy, arrays))


def _jax(mode: str) -> Callable[..., Array]:
    @cache
    def prepare(expression: Callable[..., Any]) -> Callable[..., Any]:
        import jax

        def function(*operands: Any) -> Any:
            return expression(jax.numpy, *operands)

        def one_by_one(*operands: Any) -> Any:
            return jax.lax.map(lambda point: function(*point), operands)

        ways = {"eager": function, "jit": jax.jit(function), "loop": jax.jit(one_by_one)}
        way: Callable[..., Any] = ways[mode]
        return way

    def evaluate(expression: Callable[..., Any], arrays: list[Array]) -> Array:
        import jax

        with jax.enable_x64(arrays[0].dtype == np.float64):
            return np.asarray(prepare(expression)(*map(jax.numpy.asarray, arrays)))

    return evaluate


MODES: dict[tuple[str, str], Callable[[Callable[..., Any], list[Array]], Any]] = {
    ("numpy", "array"): _numpy,
    ("numpy", "pieces"): _in_pieces(_numpy),
    ("numpy", "strided"): _strided(_numpy),
    ("torch", "array"): _torch,
    ("torch", "pieces"): _in_pieces(_torch),
    ("torch", "strided"): _strided(_torch),
    ("jax", "jit"): _jax("jit"),
    ("jax", "eager"): _jax("eager"),
    ("jax", "pieces"): _in_pieces(_jax("jit")),
    ("jax", "loop"): _jax("loop"),
}
"""Whole arrays, arrays of odd small sizes, every second element of an array; JAX compiled,
operation by operation, and compiled as a loop over scalars."""
