"""The picture of which faults four detectors find and how often they err. Needs matplotlib."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd

LABELS = {
    "allclose": "numpy.allclose to torch",
    "jax_check_grads": "jax.test_util.check_grads",
    "torch_gradcheck": "torch.autograd.gradcheck",
    "gradcheck": "gradcheck",
}
COLOURS = dict(zip(LABELS, ("C2", "C1", "C0", "C3"), strict=True))
SIZES = dict(zip(LABELS, (9, 7, 5, 3), strict=True))
"""Of markers; the last is drawn on top."""


def draw_power(mutants: pd.DataFrame, alarms: pd.DataFrame) -> bytes:
    """Return a PNG of the tables of `studies.power`, all detectors on equal samples.

    `torch.autograd.gradcheck` is not shown in float32, for which it says that it is not meant.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    kills, false = figure.subplots(1, 2)
    _draw_kills(kills, mutants[~mutants["equivalent"] & mutants["exponent"].notna()])
    _draw_alarms(false, alarms)
    handles, labels = kills.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=4, frameon=False,
                  fontsize="small")  # fmt: skip
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=110, metadata={"Software": None})
    return png.getvalue()


def _draw_kills(axes: Any, mutants: pd.DataFrame) -> None:
    for name, label in LABELS.items():
        killed = mutants.groupby("exponent")[name].mean()
        axes.plot(killed.index, 100 * killed, "o-", ms=SIZES[name], color=COLOURS[name],
                  label=label)  # fmt: skip
    axes.set(
        title="something off by a factor of 1 + 2⁻ᵏ: found (%)", xlabel="k",
        xticks=sorted(mutants["exponent"].unique()), ylim=(-3, 103),
    )  # fmt: skip


def _draw_alarms(axes: Any, alarms: pd.DataFrame) -> None:
    for name in LABELS:
        for dtype, style in {"float64": "o-", "float32": "s:"}.items():
            if (name, dtype) != ("torch_gradcheck", "float32"):
                rows = alarms[(alarms["detector"] == name) & (alarms["dtype"] == dtype)]
                axes.plot(rows["scale"], 100 * rows["false_alarms"] / rows["samples"], style,
                          ms=SIZES[name], color=COLOURS[name])  # fmt: skip
    axes.set(
        title="nothing wrong, yet rejected (% of samples)", xlabel="σ (dotted: float32)",
        xticks=sorted(alarms["scale"].unique()), ylim=(-3, 103),
    )  # fmt: skip
