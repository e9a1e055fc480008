"""How often honest gradients of real models are called wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil, prod

import pandas as pd

from gradcheck.api import sweep
from gradcheck.harness.request import DTYPES
from gradcheck.model.model import Model

COLUMNS = [
    "samples",
    "agree",
    "disagree",
    "uninformative",
    "overflow",
    "kink",
    "error",
    "stochastic",
]


def count_false_alarms(
    models: Iterable[Model],
    comparisons: int,
    adapters: Iterable[str],
    seed: int = 0,
    dtypes: Sequence[str] = DTYPES,
) -> pd.DataFrame:
    """Sweep each model until every dtype has had so many comparisons of its gradients.

    Returns
    -------
    pandas.DataFrame
        A row per model and dtype: comparisons (`samples`) over all adapters by verdict, how many a
        stochastic bar judged, the largest distance as a fraction of its bound, and what the audit
        proved.
    """
    names = list(adapters)
    rows = []
    for model in models:
        elements = sum(prod(shape) for shape in model.parameters.values()) * len(names)
        samples = ceil(comparisons / elements)
        report = sweep(model, samples=samples, adapters=names, seed=seed, dtypes=dtypes)
        for dtype, found in report.summary.groupby("dtype", sort=False):
            rows.append(
                {"model": model.name, "dtype": dtype}
                | found[COLUMNS].sum().to_dict()
                | {
                    "max_bound_ratio": found["max_bound_ratio"].max(),
                    "audit_proved": report.run["audit"]["proved"],
                    "audit_refuted": report.run["audit"]["refuted"],
                }
            )
    return pd.DataFrame(rows)
