"""Tables for pictures: histograms, points and quantities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from math import inf

import numpy as np
import pandas as pd

from gradcheck.judge.measures import BUCKETS, ULPS_BITS
from gradcheck.judge.tally import Case, Key, Tally
from gradcheck.judge.thinning import COLUMNS
from gradcheck.judge.verdict import LABELS, Verdict
from gradcheck.model.model import Model, label

HISTOGRAM_COLUMNS = ["adapter", "dtype", "gradient", "ulps_from", "ulps_to", "count"]
POINT_COLUMNS = ["adapter", "dtype", "gradient", *COLUMNS]
QUANTITY_COLUMNS = [
    "dtype", "direction", "quantity", "sample", "element", "value", "bar", "truth",
    "worst_ratio", "worst_party", "worst_sample", "origins",
]  # fmt: skip
MOST_HISTOGRAMS = 400
"""Of more, the gradients of an adapter and dtype share one, without a name."""
WORST_KEPT = 32
"""Of an adapter and dtype, the worst comparisons of so many gradients are among the points."""
BINADES = BUCKETS >> ULPS_BITS
EDGES = (0.0, *(2.0 ** (k - 10) for k in range(1, BINADES)), inf)
"""In ulps: buckets of a tally, a binade each; the first one holds zero and all below."""
SHOWN_VERDICTS = [verdict.label for verdict in Verdict][: Verdict.UNINFORMATIVE + 1]


def histogram_table(tallies: Mapping[Key, Tally]) -> pd.DataFrame:
    """Count distances in ulps, by powers of two: the columns of `histogram.csv`."""
    if len(tallies) > MOST_HISTOGRAMS:
        tallies = _by_adapter(tallies)
    rows = []
    for key, tally in tallies.items():
        counts = tally.histogram.reshape(BINADES, -1).sum(axis=1)
        rows += [(*key, EDGES[k], EDGES[k + 1], int(counts[k])) for k in np.flatnonzero(counts)]
    return pd.DataFrame(rows, columns=HISTOGRAM_COLUMNS)


def _by_adapter(tallies: Mapping[Key, Tally]) -> dict[Key, Tally]:
    groups: dict[Key, list[Tally]] = {}
    for (adapter, dtype, _), tally in tallies.items():
        groups.setdefault((adapter, dtype, ""), []).append(tally)
    return {key: reduce(Tally.merge, some) for key, some in groups.items()}


def points_table(model: Model, tallies: Mapping[Key, Tally]) -> pd.DataFrame:
    """Tabulate error and bound of evenly spaced samples and of the worst: `points.csv`."""
    worst: dict[tuple[str, str], list[tuple[float, Key, Case]]] = {}
    points: dict[tuple[Key, int, int], tuple[float, ...]] = {}
    for key, tally in tallies.items():
        for point in tally.points.tolist():
            points[key, int(point[0]), int(point[1])] = tuple(point[2:])
        if tally.judged and tally.worst and tally.worst.verdict in SHOWN_VERDICTS:
            worst.setdefault(key[:2], []).append((-tally.worst.ratio, key, tally.worst))
    for cases in worst.values():
        for _, key, case in sorted(cases, key=lambda found: found[:2])[:WORST_KEPT]:
            error = abs(case.value - case.reference)
            if np.isfinite([error, case.bound]).all():
                code = float(LABELS.index(case.verdict))
                points[key, *case.place] = (code, error, case.bound, case.reference)
    order = {key: place for place, key in enumerate(tallies)}
    rows = [
        (*key, sample, _element(model, key, element), LABELS[int(code)], *numbers)
        for (key, sample, element), (code, *numbers) in sorted(
            points.items(), key=lambda found: (order[found[0][0]], *found[0][1:])
        )
    ]
    return pd.DataFrame(rows, columns=POINT_COLUMNS)


def _element(model: Model, key: Key, element: int) -> str:
    return label("", map(int, np.unravel_index(element, model.parameters[key[2]])))


def quantity_table(rows: Sequence[tuple[object, ...]]) -> pd.DataFrame:
    """Tabulate what became of each quantity: the columns of `quantities.csv`."""
    return pd.DataFrame(rows, columns=QUANTITY_COLUMNS)
