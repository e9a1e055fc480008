"""How wide the bars are, and how much of them true errors take up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gradcheck.adapters import Adapter, choose_adapters
from gradcheck.harness.request import DTYPES
from gradcheck.harness.samples import draw_samples
from gradcheck.judge.reference import Passes
from gradcheck.model.model import Model, run_passes
from gradcheck.numbers.ball import Rounding
from gradcheck.truth.derivative import enclose_gradients
from gradcheck.truth.enclosures import distance

SCALES = (0.5, 1.0, 2.0, 3.0, 6.0)


def measure_accuracy(model: Model, samples: int, seed: int = 0) -> pd.DataFrame:
    """Hold the bars and the gradients of plain NumPy and every judged adapter against the truth.

    The truth is that of the hand-written passes in Arb's arithmetic, so that the difference is
    rounding and nothing else.

    Returns
    -------
    pandas.DataFrame
        A row per scale, dtype and adapter, over all comparisons whose bar is finite: medians of
        bar and error in ulps of the reference, `bar_over_error` the ratio of their medians, and
        error over bar, the worst of the informative comparisons and of all.
    """
    engine = Adapter(_prepare_engine, "the hand-written passes in plain NumPy")
    adapters = {name: a for name, a in choose_adapters(None, model).items() if a.judged}
    rows = []
    for scale in SCALES:
        for name in DTYPES:
            dtype = np.dtype(name)
            values = draw_samples(model.leaves, seed, 0, samples, scale=scale, dtype=dtype)
            truth = enclose_gradients(model, values)
            passes = Passes(model, values, Rounding(dtype))
            for label, adapter in {"numpy": engine, **adapters}.items():
                with np.errstate(all="ignore"):
                    found = adapter.prepare(model, dtype)(
                        {leaf: array.astype(dtype) for leaf, array in values.items()}
                    )
                parts: list[NDArray[Any]] = []
                for gradient in adapter.gradients(model):
                    reference = passes.gradient(gradient, adapter.normal_range(dtype), samples)
                    widened = np.asarray(found[gradient]).astype(np.float64)
                    error = distance(widened, truth[gradient])
                    columns = error, reference.bound, reference.ulp, reference.informative
                    parts.append(np.stack([column.ravel() for column in columns]))
                rows.append(
                    {"scale": scale, "dtype": name, "adapter": label}
                    | _statistics(*np.concatenate(parts, axis=1))
                )
    return pd.DataFrame(rows)


def _statistics(
    error: NDArray[Any], bar: NDArray[Any], ulp: NDArray[Any], informative: NDArray[Any]
) -> dict[str, float]:
    finite = np.isfinite(bar)
    error, bar, ulp, informative = (a[finite] for a in (error, bar, ulp, informative == 1))
    median_bar, median_error = np.median(bar / ulp), np.median(error / ulp)
    ratio = error / bar
    return {
        "comparisons": error.size,
        "informative": informative.mean(),
        "median_bar_ulps": median_bar,
        "median_error_ulps": median_error,
        "bar_over_error": median_bar / median_error,
        "median_error_over_bar": np.median(ratio),
        "worst_error_over_bar": ratio[informative].max(),
        "worst_of_all": ratio.max(),
    }


def _prepare_engine(model: Model, dtype: np.dtype[Any]) -> Any:
    def gradients(values: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        _, _, d = run_passes(model, np, values)
        return {name: d[name] for name in model.parameters}

    return gradients
