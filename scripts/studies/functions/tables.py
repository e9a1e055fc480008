"""What the rows of the study amount to: shares, and how sure they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
from scipy.stats import binomtest  # type: ignore[import-untyped]

from studies.functions.detectors import NAMES, OWN
from studies.functions.running import Row

SMALL = 2.0**-30
"""The relative deviation above which every mutant shall be found."""
FLAGS = ("named", "mended", "large", *NAMES, *(f"{name}_late" for name in NAMES))
WHOLE = ("exponent", "named_line")


def tabulate(rows: Sequence[Row]) -> pd.DataFrame:
    """Make a table of rows, some of which may lack columns."""
    table = pd.DataFrame(rows)
    kinds = {name: "boolean" for name in FLAGS if name in table}
    return table.astype(kinds | {name: "Int64" for name in WHOLE if name in table})


def summarise(mutants: pd.DataFrame, honest: pd.DataFrame) -> pd.DataFrame:
    """Give the shares of mutants found, named and mended, and of correct passes rejected.

    Returns
    -------
    pandas.DataFrame
        A row per framework, format, group of mutants, detector and `measure`: `count` of `cases`
        have it, the `share`, its Clopper-Pearson interval of 95 % (`low`, `high`), and the median
        seconds of the detector. `found`, `late`: of all wrong mutants; `named`, `mended`: of those
        found; `alarm`: of the correct passes, on `large` inputs for itself.
    """
    rows: list[Row] = []
    if len(mutants):
        wrong = mutants[mutants["fate"] == "wrong"]
        for (framework, dtype), some in wrong.groupby(["framework", "dtype"], sort=False):
            for by, value, group in _groups(some):
                about = {"framework": framework, "dtype": dtype, "by": by, "value": value}
                rows += [about | row for row in _shares(group)]
    if len(honest):
        for (framework, dtype), some in honest.groupby(["framework", "dtype"], sort=False):
            about = {"framework": framework, "dtype": dtype, "by": "honest", "value": "all"}
            for name in NAMES:
                if name in some and some[name].notna().any():
                    rows.append(about | _share(name, "alarm", some[name], some[f"{name}_seconds"]))
            rows.append(about | _share(OWN, "large alarm", some["large"], some["large_seconds"]))
    return pd.DataFrame(rows)


def _groups(some: pd.DataFrame) -> Iterator[tuple[str, Any, pd.DataFrame]]:
    yield "all", "all", some
    yield "deviation", "> 2^-30", some[some["deviation"] > SMALL]
    for by in ("function", "kind", "exponent"):
        for value, group in some.groupby(by):
            yield by, value, group


def _shares(group: pd.DataFrame) -> Iterator[Row]:
    for name in NAMES:
        if name not in group or group[name].isna().all():
            continue
        seconds = group[f"{name}_seconds"]
        yield _share(name, "found", group[name], seconds)
        if group[f"{name}_late"].any():
            yield _share(name, "late", group[f"{name}_late"], seconds)
        if name == OWN:
            found = group[group[name]]
            yield _share(name, "named", found["named"], seconds)
            yield _share(name, "mended", found["mended"], seconds)


def _share(detector: str, measure: str, flags: pd.Series[Any], seconds: pd.Series[Any]) -> Row:
    count, cases = int(flags.sum()), len(flags)
    interval = binomtest(count, cases).proportion_ci(0.95, "exact") if cases else None
    return {
        "detector": detector,
        "measure": measure,
        "cases": cases,
        "count": count,
        "share": count / cases if cases else float("nan"),
        "low": interval.low if interval else float("nan"),
        "high": interval.high if interval else float("nan"),
        "seconds": seconds.median(),
    }
