"""From what was measured to the figures that are told: quantities of each round, then medians.

A ratio is one of quantities of the same round; its median is that of the rounds' ratios.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

NANO = 1e9
BOTH = "float64+float32"
BARE = ("engine", "jax")
"""Kernels of the bare work besides PyTorch's."""


@dataclass(frozen=True)
class Goal:
    """What a figure is to be: at most `most`, or at least `least`."""

    most: float = np.inf
    least: float = -np.inf

    def __str__(self) -> str:
        """Say it."""
        return f"at most {self.most:g}" if self.most < np.inf else f"at least {self.least:g}"


class Measured:
    """The quantities of each round, as series over rounds.

    Parameters
    ----------
    commands, kernels
        As `studies.bench.plan.measure` returns them.
    """

    def __init__(self, commands: pd.DataFrame, kernels: pd.DataFrame) -> None:
        self.commands, self.kernels = commands, kernels
        swept = commands[commands["kind"] == "sweep"]
        self.workers = int(swept["workers"].max())
        sizes = sorted(swept.loc[swept["dtypes"] == BOTH, "samples"].unique())
        self.small, self.large = sizes[0], sizes[-1]
        of_clusters = commands.loc[commands["kind"] == "cluster", "cluster"]
        self.clusters = sorted(map(int, of_clusters.unique()))

    def of(self, column: str, **chosen: Any) -> pd.Series[float]:
        """Return a column of the commands that have these values in others."""
        rows = self.commands
        for name, value in chosen.items():
            rows = rows[rows[name] == value]
        return rows.set_index("repeat")[column].astype(float)

    def swept(self, column: str, samples: int, dtypes: str = "float64") -> pd.Series[float]:
        """Return a column of the sweeps on all cores."""
        chosen = {"kind": "sweep", "samples": samples, "dtypes": dtypes, "workers": self.workers}
        return self.of(column, **chosen)

    def marginal(self, **chosen: Any) -> pd.Series[float]:
        """Return the nanoseconds of one sample more, from the first of two sizes to the last."""
        small, large = chosen.pop("samples", (self.small, self.large))
        seconds = [self.of("seconds", samples=size, **chosen) for size in (small, large)]
        slope: pd.Series[float] = NANO * (seconds[1] - seconds[0]) / (large - small)
        return slope

    def kernel(self, name: str, dtype: str = "float64", parameters: int = 8) -> pd.Series[float]:
        """Return the nanoseconds a sample of a kernel."""
        rows = self.kernels
        rows = rows[(rows["kernel"] == name) & (rows["dtype"] == dtype)]
        return rows[rows["parameters"] == parameters].set_index("repeat")["ns"].astype(float)

    def bare(self, dtype: str = "float64", parameters: int = 8) -> pd.Series[float]:
        """Return the bare work's, with PyTorch on as many threads as is quicker in that round."""
        engine, jax = (self.kernel(name, dtype, parameters) for name in BARE)
        torch, alone = (
            self.kernel(name, dtype, parameters) for name in ("torch", "torch-one-thread")
        )
        return engine + jax + np.minimum(torch, alone)


def figures(commands: pd.DataFrame, kernels: pd.DataFrame) -> pd.DataFrame:
    """Return the figures that have a goal, and what they are made of.

    Returns
    -------
    pandas.DataFrame
        A row per figure: `figure`, `unit`, the `median`, `smallest` and `largest` of `repeats`
        rounds, `goal`, and whether the median has `met` it.
    """
    measured = Measured(commands, kernels)
    return pd.DataFrame(
        _row(name, unit, values, goal)
        for name, unit, values, goal in (*_costs(measured), *_ratios(measured))
        if len(values)
    )


def _row(name: str, unit: str, values: pd.Series[float], goal: Goal | None) -> dict[str, Any]:
    median = float(values.median())
    return {
        "figure": name,
        "unit": unit,
        "median": median,
        "smallest": values.min(),
        "largest": values.max(),
        "repeats": len(values),
        "goal": str(goal) if goal else "",
        "met": ("yes" if goal.least <= median <= goal.most else "no") if goal else "",
    }


Figures = Iterator[tuple[str, str, "pd.Series[float]", Goal | None]]


def _costs(m: Measured) -> Figures:
    workers, most = m.workers, f"{m.large:,} samples"
    for dtype in ("float64", "float32"):
        for name in m.kernels.loc[m.kernels["model"] == "chain", "kernel"].unique():
            yield f"{name}, {dtype}", "ns/sample", m.kernel(name, dtype), None
        yield f"bare work, {dtype}", "ns/sample", m.bare(dtype), None
    for dtypes in ("float64", BOTH):
        marginal = m.marginal(kind="sweep", dtypes=dtypes, workers=workers)
        yield f"whole command, marginal, {dtypes}", "ns/sample", marginal, None
        for size in (m.small, m.large):
            name = f"whole command, {size:,} samples, {dtypes}"
            yield name, "s", m.swept("seconds", size, dtypes), None
    yield "default sweep", "s", m.of("seconds", kind="default"), Goal(most=8)
    name = "sweep --samples 100 --adapters torch"
    yield name, "s", m.of("seconds", kind="start"), None
    yield f"audit, {most}", "s", m.swept("audit", m.large), None
    yield "audit, chain-misprint", "s", m.of("audit", kind="misprint"), None
    yield "diagnosis, chain-misprint", "s", m.of("diagnosis", kind="misprint"), Goal(most=1)
    yield f"peak memory, {most}", "MiB", m.swept("peak_mib", m.large), None


def _ratios(m: Measured) -> Figures:
    marginal = m.marginal(kind="sweep", dtypes="float64", workers=m.workers)
    both = m.marginal(kind="sweep", dtypes=BOTH, workers=m.workers)
    bare = m.bare()
    yield "marginal / bare work, float64", "", marginal / bare, Goal(most=1.4)
    yield "marginal / bare work, both", "", both / (bare + m.bare("float32")), Goal(most=1.6)
    balls, engine = m.kernel("balls"), m.kernel("engine")
    yield "engine on balls / on floats", "", balls / engine, Goal(most=2.2)
    yield "engine on floats / floor", "", engine / m.kernel("floor"), Goal(most=1.5)
    whole = NANO * m.swept("seconds", m.large) / m.large
    for name, goal in (("torch-gradcheck", 5_000), ("jax-check-grads", 25_000)):
        looped = m.kernel(name)
        yield f"{name} / whole command", "", looped / whole, Goal(least=goal)
        yield f"{name} / marginal", "", looped / marginal, Goal(least=goal)
    yield "hand-rolled / marginal", "", m.kernel("hand-rolled") / marginal, None
    memory = m.swept("peak_mib", m.large) / m.swept("peak_mib", m.small)
    name = f"peak memory, {m.large:,} / {m.small:,} samples"
    yield name, "", memory[memory > 0], Goal(most=1.05)
    for size in sorted(m.commands.loc[m.commands["kind"] == "sweep", "samples"].unique()):
        share = m.swept("audit", size) / m.swept("seconds", size)
        yield f"audit / whole command, {size:,} samples", "", share, Goal(most=0.1)
    yield from _clusters(m)


def _clusters(m: Measured) -> Figures:
    for workers in m.clusters[1:]:
        goal = Goal(least=1.7) if workers == 2 else None
        both = 1, workers
        one, more = (m.marginal(kind="cluster", cluster=size) for size in both)
        yield f"{workers} Dask workers against 1, marginal", "", one / more, goal
        one, more = (m.of("seconds", kind="cluster", cluster=n, samples=m.large) for n in both)
        name = f"{workers} Dask workers against 1, whole command, {m.large:,} samples"
        yield name, "", one / more, goal


def curves(commands: pd.DataFrame, kernels: pd.DataFrame) -> pd.DataFrame:
    """Return costs against samples, workers and parameters.

    Returns
    -------
    pandas.DataFrame
        `against`, its value `at`, `what`, and nanoseconds a sample: `median`, `smallest`,
        `largest` of `repeats`. Against samples it is the whole command, against workers and
        parameters the marginal cost.
    """
    m = Measured(commands, kernels)
    return pd.DataFrame(
        {"against": against, "at": at, "what": what, **_spread(values)}
        for against, at, what, values in _points(m)
        if len(values)
    )


def _spread(values: pd.Series[float]) -> dict[str, Any]:
    row = _row("", "", values, None)
    return {name: row[name] for name in ("median", "smallest", "largest", "repeats")}


def _points(m: Measured) -> Iterator[tuple[str, int, str, pd.Series[float]]]:
    swept = m.commands[m.commands["kind"] == "sweep"]
    for size in sorted(swept["samples"].unique()):
        yield "samples", size, "whole command", NANO * m.swept("seconds", size) / size
    for workers in sorted(swept["workers"].unique()):
        marginal = m.marginal(kind="sweep", dtypes="float64", workers=workers)
        yield "workers", workers, "marginal", marginal
    for workers in m.clusters:
        marginal = m.marginal(kind="cluster", cluster=workers)
        yield "Dask workers", workers, "marginal", marginal
    networks = m.commands[m.commands["kind"] == "network"]
    for parameters in sorted(networks["parameters"].unique()):
        rows = networks[networks["parameters"] == parameters]
        sizes = rows["samples"].min(), rows["samples"].max()
        marginal = m.marginal(kind="network", parameters=parameters, samples=sizes)
        yield "parameters", parameters, "marginal", marginal
        yield "parameters", parameters, "bare work", m.bare("float64", parameters)
