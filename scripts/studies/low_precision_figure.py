"""The picture of what is found in bfloat16, by bars and by others. Needs matplotlib."""

from __future__ import annotations

import io

import pandas as pd

STYLES = {
    "allclose 1e-1": "C2v--",
    "allclose 1e-2": "C2^--",
    "allclose by dtype": "C2s--",
    "twice the error": "C0o-",
    "RMSE": "C4D-",
    "cosine 0.99": "C5x-",
    "stochastic bars": "C1o-",
    "bars": "C3o-",
}
"""By rule, how its line is drawn."""


def draw_found(power: pd.DataFrame, dtype: str = "bfloat16") -> bytes:
    """Return a PNG: the share of wrong gradients that each rule finds, and of right ones rejected.

    Parameters
    ----------
    power
        The table of `studies.low_precision.measure_power`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    found, wrong = figure.subplots(1, 2, width_ratios=(3, 2))
    table = power[power["dtype"] == dtype]
    shares = _pooled(table)
    exponents = [k for k in range(3, 13) if f"2^-{k}" in shares]
    for rule, style in STYLES.items():
        at = [100 * shares[f"2^-{k}"][rule] for k in exponents]
        found.plot(exponents, at, style[2:], color=style[:2], label=rule, ms=4)
    found.set(title=f"too large by 2⁻ᵏ in {dtype}: found (%)", xlabel="k", ylim=(-3, 103))
    found.set_xticks(exponents)
    right = [100 * shares["honest"][rule] for rule in STYLES]
    wrong.barh(range(len(STYLES)), right, color=[style[:2] for style in STYLES.values()])
    told = [f"{rule}  {share:.2g} %" for rule, share in zip(STYLES, right, strict=True)]
    wrong.set_yticks(range(len(STYLES)), told)
    wrong.set(title="nothing wrong, yet rejected (%)")
    handles, labels = found.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=4, frameon=False,
                  fontsize="small")  # fmt: skip
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=110, metadata={"Software": None})
    return png.getvalue()


def _pooled(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return the shares of all models together, by mutant and rule."""
    told = table[table["cases"] > 0]
    return {
        str(mutant): {
            rule: float((rows[rule] * rows["cases"]).sum() / rows["cases"].sum()) for rule in STYLES
        }
        for mutant, rows in told.groupby("mutant")
    }
