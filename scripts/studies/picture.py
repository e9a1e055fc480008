"""The README's picture: every gradient's error against its own bar. Needs matplotlib."""

from __future__ import annotations

import io

import numpy as np

from gradcheck.adapters import choose_adapters
from gradcheck.harness.samples import draw_samples
from gradcheck.judge.reference import Passes
from gradcheck.model.loading import load_model
from gradcheck.numbers.ball import Rounding
from gradcheck.truth.derivative import enclose_gradients
from gradcheck.truth.enclosures import distance

SCALE = 3.0
SHOWN = {"torch": "PyTorch", "jax": "JAX"}
SMALLEST_SHOWN = 0.02
"""Ulps; smaller errors are drawn here."""


def draw_picture(samples: int = 1500) -> bytes:
    """Return a PNG of errors over bars, both in ulps, for float64 and float32.

    The errors of PyTorch and JAX are those against the truth; the misprint's is its distance from
    the right gradient.
    """
    from matplotlib.figure import Figure

    model, misprint = load_model("chain"), load_model("chain-misprint")
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2, sharey=True), ("float64", "float32"), strict=True):
        dtype = np.dtype(name)
        values = draw_samples(model.leaves, 0, 0, samples, scale=SCALE, dtype=dtype)
        given = {leaf: array.astype(dtype) for leaf, array in values.items()}
        truth = enclose_gradients(model, values)
        passes = Passes(model, values, Rounding(dtype))
        slip = Passes(misprint, values, Rounding(dtype))
        limits = np.array([8.0, 1e8])
        axes.fill_between(limits, limits, 1e20, color="0.93", lw=0)
        axes.plot(limits, limits, color="0.4", lw=1)
        for adapter_name, adapter in choose_adapters(tuple(SHOWN), model).items():
            found = adapter.prepare(model, dtype)(given)
            points = []
            for gradient in model.parameters:
                reference = passes.gradient(gradient, adapter.normal_range(dtype), samples)
                error = distance(np.asarray(found[gradient], np.float64), truth[gradient])
                points.append((reference.bound / reference.ulp, error / reference.ulp))
            bar, error = np.concatenate(points, axis=1)
            axes.scatter(bar, np.maximum(error, SMALLEST_SHOWN), s=2, lw=0, alpha=0.5,
                         label=SHOWN[adapter_name])  # fmt: skip
        wrong = slip.gradient("beta1", (0.0, np.inf), samples)
        error = distance(wrong.value, truth["beta1"])
        axes.scatter(wrong.bound / wrong.ulp, error / wrong.ulp, s=3, lw=0, color="C3",
                     label="the misprinted ∂ℓ/∂β1")  # fmt: skip
        axes.set(xscale="log", yscale="log", xlim=limits, ylim=(SMALLEST_SHOWN / 2, 1e20),
                 title=name, xlabel="bar (ulps)")  # fmt: skip
    figure.axes[0].set_ylabel("error (ulps)")
    figure.axes[0].text(3e4, 1e10, "disagree", color="0.35")
    figure.axes[1].legend(markerscale=4, loc="upper left")
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=110, metadata={"Software": None})
    return png.getvalue()
