"""Tallies as pandas tables, and the facts of the run beside them."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gradcheck.engine.model import Model
from gradcheck.harness.request import Request
from gradcheck.harness.sampling import draw_samples
from gradcheck.harness.sweep import Outcome
from gradcheck.harness.tally import Tally
from gradcheck.harness.verdict import LABELS, Verdict

CASE_COLUMNS = (
    "sample", "adapter", "dtype", "gradient", "verdict",
    "value", "reference", "bound", "ulps", "culprit", "truth",
)  # fmt: skip
PACKAGES = ("gradcheck", "numpy", "pandas", "torch", "jax", "jaxlib", "python-flint")


@dataclass(frozen=True)
class Report:
    """What a sweep found, as tables.

    Parameters
    ----------
    overview
        One row per adapter and dtype.
    summary
        One row per adapter, dtype and gradient: the columns of `summary.csv`.
    discrepancies
        The disagreements and errors kept, and each gradient's worst agreement: the columns of
        `discrepancies.csv`.
    run
        The request, versions, counts and times: what `run.json` holds.
    """

    overview: pd.DataFrame
    summary: pd.DataFrame
    discrepancies: pd.DataFrame
    run: Mapping[str, Any]

    @property
    def agrees(self) -> bool:
        """Whether nothing disagrees, no adapter failed, and the model is stated consistently."""
        counts = self.run["counts"]
        return not (counts["disagree"] or counts["error"] or self.run["misstated"])


def tabulate(model: Model, request: Request, outcome: Outcome) -> Report:
    """Turn a sweep's outcome into tables."""
    summary = pd.DataFrame(
        [
            {"adapter": adapter, "dtype": dtype, "gradient": gradient, **_statistics(tally)}
            for (adapter, dtype, gradient), tally in outcome.tallies.items()
        ]
    )
    return Report(
        overview=_overview(outcome),
        summary=summary,
        discrepancies=_cases(model, request, outcome),
        run=_facts(model, request, outcome, summary),
    )


def draw_sample(model: Model, request: Request, dtype: str, index: int) -> dict[str, float]:
    """Draw one sample anew, each number under its label: `x`, or `weight[0,1]`."""
    values = draw_samples(
        model.leaves, request.seed, index, 1, request.distribution, request.scale, dtype
    )
    return {
        label(name, position): float(values[name][(0, *position)])
        for name, shape in model.leaves.items()
        for position in np.ndindex(shape)
    }


def label(name: str, position: Iterable[int]) -> str:
    """Name an element of an array; a scalar goes by its own name."""
    inside = ",".join(map(str, position))
    return f"{name}[{inside}]" if inside else name


def _statistics(tally: Tally) -> dict[str, Any]:
    error = tally.errors[0].message if tally.errors else ""
    return {
        "samples": tally.compared,
        **dict(zip(LABELS, tally.counts.tolist(), strict=True)),
        "median_ulps": tally.quantile(0.5),
        "p99_ulps": tally.quantile(0.99),
        "max_ulps": tally.max_ulps,
        "max_bound_ratio": tally.max_ratio if tally.judged else np.nan,
        "worst_sample": pd.NA if tally.worst is None else tally.worst.sample,
        "message": error,
    }


def _overview(outcome: Outcome) -> pd.DataFrame:
    groups: dict[tuple[str, str], dict[str, Tally]] = {}
    for (adapter, dtype, gradient), tally in outcome.tallies.items():
        groups.setdefault((adapter, dtype), {})[gradient] = tally
    rows = []
    for (adapter, dtype), tallies in groups.items():
        worst = max(tallies, key=lambda gradient: _severity(tallies[gradient]))
        statistics = _statistics(reduce(Tally.merge, tallies.values()))
        judged = all(tally.judged for tally in tallies.values())
        rows.append(
            {"adapter": adapter, "dtype": dtype, "judged": judged}
            | statistics
            | {"worst_gradient": worst}
        )
    return pd.DataFrame(rows)


def _severity(tally: Tally) -> tuple[float, ...]:
    extent = tally.max_ratio if tally.judged else tally.max_ulps
    failures = tally.counts[[Verdict.ERROR, Verdict.DISAGREE]].sum()
    return float(failures), -1.0 if np.isnan(extent) else extent


def _cases(model: Model, request: Request, outcome: Outcome) -> pd.DataFrame:
    drawn: dict[tuple[str, int], dict[str, float]] = {}
    rows = []
    for (adapter, dtype, gradient), tally in outcome.tallies.items():
        cases = [*tally.errors, *tally.disagreements]
        if tally.worst is not None and tally.worst.verdict == Verdict.AGREE.label:
            cases.append(tally.worst)
        for case in cases:
            if (dtype, case.sample) not in drawn:
                drawn[dtype, case.sample] = draw_sample(model, request, dtype, case.sample)
            position = np.unravel_index(case.element, model.parameters[gradient])
            rows.append(
                {
                    "sample": case.sample,
                    "adapter": adapter,
                    "dtype": dtype,
                    "gradient": gradient,
                    "verdict": case.verdict,
                    "value": case.value,
                    "reference": case.reference,
                    "bound": case.bound,
                    "ulps": case.ulps,
                    "culprit": "",
                    "truth": "",
                    **drawn[dtype, case.sample],
                    "element": label("", map(int, position)),
                    "message": case.message,
                }
            )
    leaves = draw_sample(model, request, request.dtypes[0], 0)
    return pd.DataFrame(rows, columns=[*CASE_COLUMNS, *leaves, "element", "message"])


def _facts(
    model: Model, request: Request, outcome: Outcome, summary: pd.DataFrame
) -> dict[str, Any]:
    settings = {name: value for name, value in vars(request).items() if name != "workers"}
    return {
        "request": {"model": model.name, **settings, "adapters": list(summary["adapter"].unique())},
        "counts": {name: int(summary[name].sum()) for name in ("samples", *LABELS)},
        "misstated": dict(outcome.misstated),
        "versions": {"python": platform.python_version(), **_versions()},
        "machine": {"system": platform.platform(), "cpu": _cpu(), "workers": request.workers},
        "seconds": {stage: round(spent, 3) for stage, spent in outcome.seconds.items()},
    }


def _versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def _cpu() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
