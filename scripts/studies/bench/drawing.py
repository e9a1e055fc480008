"""The benchmark's picture. Needs matplotlib."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd

BARS = {
    "floor, float64": "sin, cos, exp alone",
    "engine, float64": "passes on floats",
    "torch, float64": "torch.autograd.grad",
    "jax, float64": "jax.grad, compiled",
    "bare work, float64": "these three: the bare work",
    "whole command, marginal, float64": "gradcheck, torch and jax judged",
    "hand-rolled, float64": "vmap and assert_allclose",
    "torch-gradcheck, float64": "torch.autograd.gradcheck",
    "jax-check-grads, float64": "jax.test_util.check_grads",
}
OURS = "whole command, marginal, float64"
PANELS = {
    "samples": "samples in a sweep",
    "parameters": "parameters of a network",
    "workers": "processes",
}


def draw_bench(figures: pd.DataFrame, curves: pd.DataFrame) -> bytes:
    """Return a PNG of the tables of `studies.bench.tables`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6.4), layout="constrained")
    panels = figure.subplots(2, 2)
    _draw_bars(panels[0, 0], figures.set_index("figure"))
    for axes, (against, title) in zip(panels.flat[1:], PANELS.items(), strict=True):
        rows = curves[curves["against"] == against]
        for what, line in rows.groupby("what", sort=False):
            _draw_line(axes, line, what)
        axes.set(xlabel=title, ylabel="ns a sample")
    _draw_bare(panels[0, 1], figures.set_index("figure"))
    for axes in panels.flat[1:3]:
        axes.set(xscale="log", yscale="log")
    clusters = curves[curves["against"] == "Dask workers"]
    _draw_line(panels[1, 1], clusters, "on Dask, marginal")
    processes = curves.loc[curves["against"].isin(["workers", "Dask workers"]), "at"]
    panels[1, 1].set_xticks(sorted(processes.unique()))
    panels[1, 1].set_ylim(bottom=0)
    for axes in panels.flat[1:]:
        axes.legend(frameon=False, fontsize="small")
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=110, metadata={"Software": None})
    return png.getvalue()


def _draw_bars(axes: Any, figures: pd.DataFrame) -> None:
    names = [name for name in BARS if name in figures.index][::-1]
    costs = figures.loc[names, "median"]
    colours = ["C3" if name == OURS else "0.7" for name in names]
    bars = axes.barh([BARS[name] for name in names], costs, color=colours)
    axes.bar_label(bars, [f"{cost:,.0f}" for cost in costs], padding=3, fontsize="small")
    axes.set(xscale="log", xlabel="ns a sample, float64", xlim=(costs.min() / 3, costs.max() * 300))
    axes.tick_params(axis="y", labelsize="small")


def _draw_line(axes: Any, line: pd.DataFrame, label: object) -> None:
    if line.empty:
        return
    spread = [line["median"] - line["smallest"], line["largest"] - line["median"]]
    colour = "0.5" if label == "bare work" else None
    axes.errorbar(line["at"], line["median"], spread, fmt="o-", ms=4, capsize=2, label=label,
                  color=colour or ("C0" if "Dask" in str(label) else "C3"))  # fmt: skip


def _draw_bare(axes: Any, figures: pd.DataFrame) -> None:
    bare = figures.loc["bare work, float64", "median"]
    axes.axhline(bare, color="0.5", ls="--", lw=1, label="bare work")
