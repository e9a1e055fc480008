"""What can be asked of a sweep; the command line and the Python API share it."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from gradcheck.errors import RequestError, echoed
from gradcheck.numbers.recipe import recipe_of
from gradcheck.suggestions import nearest

if TYPE_CHECKING:
    from gradcheck.numbers.rounding import Rounding

DTYPES = ("float64", "float32")
"""Those of a sweep unless it is told otherwise."""
NARROW_DTYPES = ("float16", "bfloat16")
"""Those of 16 bits, which compute in float32."""
ALL_DTYPES = (*DTYPES, *NARROW_DTYPES)
BARS = ("auto", "ball", "stochastic")
FEWEST_SEARCHED, MOST_SEARCHED = 4_096, 65_536
"""Samples of a search in each format, a quarter of the random ones in between."""
DISTRIBUTIONS = ("normal", "uniform", "log-uniform")
LARGEST_SCALE = {"float64": 1e300, "float32": 1e30, "float16": 1e3, "bfloat16": 1e30}
"""Above it, samples themselves might be infinite."""
TIMEOUT = 120.0
"""Seconds that a call may take: compiling a large model takes tens."""
MOST_SAMPLES = 2**53
"""Sample numbers are tabulated as floating-point numbers too."""
MOST_ROWS = 2**31
MOST_WORKERS = 4096
"""More processes than any machine has cores would only wait, or not start."""
SEED_LIMIT = 2**128
"""The sample generator's key has 128 bits."""
RANGES = {
    "samples": (1, MOST_SAMPLES),
    "rows": (1, MOST_ROWS),
    "workers": (1, MOST_WORKERS),
    "referee_limit": (0, MOST_SAMPLES),
    "search": (0, MOST_SAMPLES),
}
"""The least and the most of each setting that counts something."""


@dataclass(frozen=True)
class Request:
    """The settings of a sweep, checked.

    Parameters
    ----------
    samples
        How many random parameter sets to compare, at least 1.
    seed
        Which ones: samples 0, 1, 2, … of this seed.
    scale
        Standard deviation of a normal sample; the factor of the other distributions.
    dtypes
        Floating-point formats to judge, of `ALL_DTYPES`.
    adapters
        By name; `None` for every one that is installed and runs by default.
    ulps
        How many ulps a library function may err; at least 0.5, correct rounding.
    distribution
        Of every input and parameter, of `DISTRIBUTIONS`.
    rows
        How many disagreements to tabulate for each adapter, dtype and gradient.
    referee_limit
        How many disagreements to bring before the referee.
    audit
        Which share of the samples that nobody disputes to bring before it, 0 to 1; at least 20
        samples unless it is 0. `None` for 0.001, but at most 200 samples, fewer of a large model.
    bars
        Which kind of bar judges, of `BARS`: `ball` is proved, `stochastic` holds but for a stated
        probability, `auto` takes the ball wherever it is informative.
    kinks
        Whether every sample is moved onto a kink, if there is one.
    allow_uninformative
        Whether a sweep may succeed in which next to nothing was judged: a gradient on less than a
        tenth of the samples, or none because no adapter is held to the bound.
    workers
        How many processes judge at once, if the model is given by name; 1 for this one alone. The
        results do not depend on it.
    recipe
        What else an honest evaluation may do, as a `Recipe`, a mapping or `tf32=yes,…`; held as
        that text.
    search
        How many samples more, in each format, are bred to disagree; `True` for a quarter of
        `samples`, but 4,096 to 65,536.

    Raises
    ------
    RequestError
        For a setting outside its range.
    """

    samples: int = 10_000
    seed: int = 0
    scale: float = 1.0
    dtypes: tuple[str, ...] = DTYPES
    adapters: tuple[str, ...] | None = None
    ulps: float = 4.0
    distribution: str = "normal"
    rows: int = 100
    referee_limit: int = 200
    audit: float | None = None
    bars: str = "auto"
    kinks: bool = False
    allow_uninformative: bool = False
    workers: int = 1
    search: bool | int = False
    recipe: str = ""

    def rounding(self, dtype: Any) -> Rounding:
        """Return how far honest operations may err in a format."""
        import numpy as np

        from gradcheck.numbers.rounding import Rounding

        return Rounding(np.dtype(dtype), self.ulps, recipe_of(self.recipe))

    @property
    def search_samples(self) -> int:
        """How many samples a search has in each format."""
        if self.search is True:
            return min(max(self.samples // 4, FEWEST_SEARCHED), MOST_SEARCHED)
        return int(self.search)

    def __post_init__(self) -> None:
        for name in ("samples", "seed", "rows", "referee_limit", "workers", "search"):
            if not isinstance(getattr(self, name), int):
                raise RequestError(name, f"expected a whole number, got {getattr(self, name)!r}")
        for name in ("dtypes", "adapters"):
            names = getattr(self, name)
            if isinstance(names, str):
                raise RequestError(name, f"expected a list of names, got {names!r}")
            if names is not None:
                object.__setattr__(self, name, tuple(dict.fromkeys(names)))
        for name, (least, most) in RANGES.items():
            given = getattr(self, name)
            if given < least:
                raise RequestError(name, f"expected at least {least}, got {given}")
            if given > most:
                raise RequestError(name, f"expected at most {most:,}, got {echoed(given)}")
        if self.audit is not None and not 0 <= self.audit <= 1:
            raise RequestError("audit", f"expected a share from 0 to 1, got {self.audit:g}")
        if not 0 <= self.seed < SEED_LIMIT:
            raise RequestError("seed", f"expected 0 to 2**128 - 1, got {echoed(self.seed)}")
        if not self.dtypes:
            raise RequestError("dtypes", f"none given; choose among {', '.join(ALL_DTYPES)}")
        for dtype in self.dtypes:
            if dtype not in ALL_DTYPES:
                hint = nearest(dtype, ALL_DTYPES)
                raise RequestError("dtypes", f"there is no dtype {dtype!r}{hint}")
            if not 0 < self.scale <= LARGEST_SCALE[dtype]:
                raise RequestError(
                    "scale",
                    f"expected a number above 0 and at most {LARGEST_SCALE[dtype]:g} "
                    f"for {dtype}, got {self.scale:g}",
                )
        if not (isfinite(self.ulps) and 0.5 <= self.ulps <= 2**20):
            raise RequestError(
                "ulps", f"expected 0.5 (correct rounding) to 2**20, got {self.ulps:g}"
            )
        if self.bars not in BARS:
            raise RequestError("bars", f"there is no {self.bars!r}{nearest(self.bars, BARS)}")
        object.__setattr__(self, "recipe", str(recipe_of(self.recipe)))
        if self.distribution not in DISTRIBUTIONS:
            raise RequestError(
                "distribution",
                f"there is no {self.distribution!r}{nearest(self.distribution, DISTRIBUTIONS)}",
            )
