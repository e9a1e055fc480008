"""The functions whose errors are measured, where, and the allowances that follow."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, inf, pi
from operator import methodcaller
from typing import Any

import flint
import numpy as np
import pandas as pd

from gradcheck.numbers.rounding import Rounding
from studies.library import HALF, Array, Draw, Function

Ranges = dict[str, Draw]

SAFETY = 1.25
"""By how much the true worst is taken to exceed the worst of some thousand points."""

DEFAULT = Rounding(np.dtype(np.float64)).ulps


def uniform(low: float, high: float) -> Ranges:
    """Draw from [low, high)."""
    return {f"[{low:g}, {high:g}]": lambda words: low + (high - low) * fraction(words)}


def binades(low: int, high: int, sign: int = -1, centre: float = 0) -> Ranges:
    """Draw centre ± 2^t, t from [low, high): uniform within a binade; `sign` 1 for + alone."""

    def draw(words: Array) -> Array:
        t = low + (high - low) * fraction(words)
        exponent = np.floor(t)
        magnitude = np.ldexp(1 + (t - exponent), exponent.astype(np.int32))
        return np.asarray(centre + np.where(words & np.uint64(1), sign, 1) * magnitude)

    before = f"{centre} " if centre else ""
    return {f"{before}{'+-' if sign < 0 else ''}2^[{low}, {high}]": draw}


def fraction(words: Array) -> Array:
    """Convert to [0, 1)."""
    return np.asarray((words >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def pair(first: Ranges, second: Ranges) -> Ranges:
    """Draw two arguments from two ranges."""
    ((a, draw_a),), ((b, draw_b),) = first.items(), second.items()
    return {f"{a} {b}": lambda words: np.stack([draw_a(words[0]), draw_b(words[1])])}


TINY = binades(-100, -10) | binades(-20, 0)
UNIT, TEN, HUNDRED = uniform(-1, 1), uniform(-10, 10), uniform(-100, 100)
NEAR_1 = binades(-40, -2, centre=1) | uniform(0.5, 2)
WIDE, POSITIVE = binades(-100, 100), binades(-100, 100, sign=1)
QUARTERS = {"k*pi/2": lambda words: np.floor((2 * fraction(words) - 1) * 65536) * (pi / 2)}
CIRCULAR = TINY | UNIT | TEN | uniform(-1e5, 1e5) | QUARTERS
NEAR_OVERFLOW = uniform(88, 89.4) | uniform(709, 710.4)
GROWING = TINY | UNIT | TEN | HUNDRED | uniform(-709, 709) | NEAR_OVERFLOW
SATURATING = TINY | UNIT | TEN | uniform(0.4, 1.1) | uniform(-20, 20)
POWER = POSITIVE | uniform(0, 10) | NEAR_1
PAIRS = pair(uniform(0, 10), TEN) | pair(TEN, TEN)
MODERATE = TINY | UNIT | TEN | NEAR_1 | uniform(0, 10) | PAIRS

UNARY: dict[str, tuple[str | Callable[[Any], Any], Ranges]] = {
    "sin": ("sin", CIRCULAR),
    "cos": ("cos", CIRCULAR),
    "tan": ("tan", CIRCULAR),
    "exp": ("exp", GROWING),
    "expm1": ("expm1", GROWING),
    "sinh": ("sinh", GROWING),
    "cosh": ("cosh", GROWING),
    "tanh": ("tanh", SATURATING),
    "log": ("log", POSITIVE | uniform(0, 10) | NEAR_1),
    "log2": (lambda x: x.log() / flint.arb(2).log(), POSITIVE | uniform(0, 10) | NEAR_1),
    "log1p": ("log1p", TINY | UNIT | POSITIVE | uniform(0, 10) | uniform(-0.42, -0.41)),
    "exp2": (lambda x: flint.arb(2) ** x, GROWING | uniform(-1022, 1024)),
    "arctan": ("atan", TINY | UNIT | TEN | WIDE),
    "arcsin": ("asin", TINY | UNIT),
    "sqrt": ("sqrt", POSITIVE | uniform(0, 10)),
    "reciprocal": (lambda x: 1 / x, WIDE | TEN),
    "square": (lambda x: x * x, WIDE | TEN),
}


def _named(name: str, truth: str | Callable[[Any], Any], ranges: Ranges) -> Function:
    exact = methodcaller(truth) if isinstance(truth, str) else truth
    return Function(lambda xp, x: getattr(xp, name)(x), exact, ranges)


def _power(p: float) -> Function:
    return Function(lambda xp, x: x**p, lambda x: x ** flint.arb(p), POWER)


def _erf(xp: Any, x: Any) -> Any:
    if xp.__name__ != "jax.numpy":
        return xp.erf(x)
    from jax.scipy.special import erf

    return erf(x)


FUNCTIONS: dict[str, Function] = (
    {name: _named(name, *row) for name, row in UNARY.items()}
    | {f"x**{p}": _power(p) for p in (0.5, -0.5, 1.5, 2, 3, -1, -2)}
    | {
        "x**y": Function(
            lambda xp, x, y: x**y,
            lambda x, y: x**y,
            pair(uniform(0, 10), TEN)
            | pair(uniform(0.5, 2), HUNDRED)
            | pair(binades(-20, 20, sign=1), uniform(-3, 3)),
            arguments=2,
        ),
        "hypot": Function(
            lambda xp, x, y: xp.hypot(x, y),
            lambda x, y: (x * x + y * y).sqrt(),
            pair(TEN, TEN) | pair(binades(-40, 40), binades(-40, 40)) | pair(WIDE, WIDE),
            arguments=2,
        ),
        "logaddexp": Function(
            lambda xp, x, y: xp.logaddexp(x, y),
            lambda x, y: (x.exp() + y.exp()).log(),
            pair(uniform(0, 10), uniform(0, 10)) | pair(TEN, TEN) | pair(HUNDRED, HUNDRED),
            arguments=2,
        ),
        "erf": Function(_erf, lambda x: x.erf(), SATURATING, lacked_by=("numpy",)),
    }
)


def tabulate(table: pd.DataFrame) -> pd.DataFrame:
    """Reduce the table to the worst ulps: a row per function and dtype, a column per mode."""
    worst = table.pivot_table(
        "worst_ulps", ["function", "dtype"], ["library", "mode"], aggfunc="max", sort=False
    )
    return worst.rename_axis(columns=["", ""], index=["", ""])


def propose(table: pd.DataFrame) -> pd.DataFrame:
    """Propose an allowance: the worst times SAFETY, in whole ulps; half an ulp where none is worse.

    It is infinite where a library overflows or underflows on the way: that needs a rule of its own,
    and so does what is much larger than its worst on arguments below 10, `moderate`.
    """
    key = ["function", "dtype"]
    worst = table.loc[table.groupby(key, sort=False)["worst_ulps"].idxmax()]
    moderate = table[table["range"].isin(list(MODERATE))].groupby(key)["worst_ulps"].max()
    worst = worst.merge(moderate.rename("moderate"), left_on=key, right_index=True)
    allowances = [
        0.5 if ulps <= HALF else ceil(SAFETY * ulps) if ulps < inf else inf
        for ulps in worst["worst_ulps"]
    ]
    proposed = worst.drop(columns=["at", "points"]).assign(allowance=allowances)
    return proposed.assign(above=np.where(proposed["allowance"] > DEFAULT, "yes", ""))
