"""Faults that live in a rare region: how many a plain sweep finds, and how many a search."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gradcheck import Model, sampling
from gradcheck.adapters import Adapter
from gradcheck.adapters.steps import complex_step
from gradcheck.api import sweep
from gradcheck.model.domains import Domain
from gradcheck.reports.searched import FAILING

ORIGINS = 32
"""Random samples from which a search begins."""
ENTRIES = 1_000_000
"""Labels, or entries of a table."""

Factor = Callable[[Any, Any], Any]
"""`factor(xp, v)`: by what the gradient is multiplied; 1 where it is right."""


@dataclass(frozen=True)
class Fault:
    """A gradient that is wrong in a rare region.

    Parameters
    ----------
    name
        The region, in words.
    inputs
        Their shapes; the parameter is a number w.
    feature
        `feature(xp, v)`, the true gradient: the loss is w times it.
    factor
        By what it is multiplied, wrongly.
    by_hand
        Whether the hand-written pass is wrong, or else the other party, of which nothing is seen
        but its result.
    sampling
        Of inputs.
    """

    name: str
    inputs: dict[str, tuple[int, ...]]
    feature: Factor
    factor: Factor
    by_hand: bool = True
    sampling: dict[str, Domain] | None = None

    def model(self, planted: bool = True) -> Model:
        """Return a model with the fault, or an honest one."""
        feature, factor = self.feature, self.factor if planted else lambda xp, v: 1.0

        def forward(xp: Any, v: Any, t: Any) -> None:
            t.feature = feature(xp, v)
            t.loss = v.w * t.feature

        def backward(xp: Any, v: Any, t: Any, d: Any) -> None:
            d.feature = v.w
            d.w = t.feature * factor(xp, v) if self.by_hand else t.feature

        def prepare(model: Model, dtype: Any) -> Any:
            honest = complex_step.prepare(model, dtype)
            return lambda values: {"w": honest(values)["w"] * self._of_all(factor, values)}

        other = Adapter(prepare, "for a study", normal_range=complex_step.normal_range)
        return Model(
            self.name.replace(" ", "-"),
            inputs=self.inputs,
            parameters={"w": ()},
            loss=lambda xp, v: v.w * feature(xp, v),
            forward=forward,
            backward=backward,
            sampling=self.sampling or {},
            adapters={} if self.by_hand else {"other": other},
        )

    def _of_all(self, factor: Factor, values: Any) -> Any:
        """Evaluate the factor on all samples at once, in the format of w."""
        return np.asarray(factor(np, _Columns(values))).astype(values["w"].dtype)


class _Columns:
    """Inputs with the sample axis last, so that code for one sample broadcasts over it."""

    def __init__(self, values: Any) -> None:
        for name, array in values.items():
            setattr(self, name, array.T)


def _smallest_is_positive(xp: Any, v: Any) -> Any:
    return xp.where(xp.min(v.x, axis=0) > 0, 1.5, 1.0)


ENTRY = {"k": sampling.integers(0, ENTRIES)}
X: dict[str, tuple[int, ...]] = {"x": ()}
XY: dict[str, tuple[int, ...]] = {"x": (), "y": ()}

FAULTS = (
    Fault(
        "a wrong term where |x| is above 6",
        X,
        lambda xp, v: xp.sin(v.x),
        lambda xp, v: xp.where(xp.abs(v.x) > 6, 1.5, 1.0),
    ),
    Fault(
        "the last entry of a table",
        {"k": ()},
        lambda xp, v: xp.sqrt(v.k + 1.0),
        lambda xp, v: xp.where(v.k > ENTRIES - 2, 0.0, 1.0),
        sampling=ENTRY,
    ),
    Fault(
        "one label of a million",
        {"k": ()},
        lambda xp, v: xp.sqrt(v.k + 1.0),
        lambda xp, v: xp.where(v.k == 314_159, -1.0, 1.0),
        sampling=ENTRY,
    ),
    Fault(
        "the wrong branch beside a kink",
        X,
        lambda xp, v: xp.maximum(v.x - 0.3, 0.0),
        lambda xp, v: xp.where(v.x - 0.3 > 1e-6, 1.0, 0.0),
    ),
    Fault(
        "a guard against zero that is too large for tiny numbers",
        X,
        lambda xp, v: v.x / xp.abs(v.x),
        lambda xp, v: xp.abs(v.x) / (xp.abs(v.x) + 1e-290),
    ),
    Fault(
        "huge numbers cut off",
        X,
        lambda xp, v: v.x / (1 + xp.abs(v.x)),
        lambda xp, v: xp.minimum(xp.abs(v.x), 1e30) / xp.abs(v.x),
    ),
    Fault(
        "two numbers nearly equal",
        XY,
        lambda xp, v: (v.x - v.y) ** 2,
        lambda xp, v: xp.where(xp.abs(v.x - v.y) < 1e-6, 0.0, 1.0),
    ),
    Fault(
        "twenty numbers all positive, by the other party",
        {"x": (20,)},
        lambda xp, v: xp.sum(v.x**2),
        _smallest_is_positive,
        by_hand=False,
    ),
    Fault(
        "two rare conditions at once",
        XY,
        lambda xp, v: v.x + 2 * v.y,
        lambda xp, v: xp.where(v.x > 3.5, xp.where(v.y < -3.5, 0.5, 1.0), 1.0),
    ),
    Fault(
        "an error that grows with the fourth power, by the other party",
        X,
        lambda xp, v: xp.exp(-v.x * v.x / 100),
        lambda xp, v: 1 + 1e-19 * v.x**4,
        by_hand=False,
    ),
)
"""In regions that random samples meet with a probability of 1e-6 or less."""


def find(fault: Fault, evaluations: int, seed: int, searching: bool) -> tuple[int, str]:
    """Return how many disagreements random samples or a search find, and what led to the first."""
    settings: dict[str, Any] = {
        "seed": seed,
        "dtypes": ["float64"],
        "audit": 0.0,
        "rows": evaluations,
    }
    if fault.by_hand:
        settings["adapters"] = ["complex-step"]
    if not searching:
        report = sweep(fault.model(), samples=evaluations, **settings)
        return int(report.run["counts"]["disagree"]), ""
    search = evaluations - ORIGINS
    report = sweep(fault.model(), samples=ORIGINS, search=search, **settings)
    found = report.search[report.search["verdict"].isin(FAILING)]
    return len(found), "" if found.empty else str(found.sort_values("sample")["goal"].iloc[0])


def compare_faults(evaluations: int, seeds: Iterable[int]) -> pd.DataFrame:
    """Find each fault in both ways, with as many evaluations, for each seed.

    Returns
    -------
    pandas.DataFrame
            A row per fault: for how many seeds each way finds it, and what led to it most often.
    """
    rows = []
    for fault in FAULTS:
        trials = [
            [find(fault, evaluations, seed, searching) for seed in seeds]
            for searching in (False, True)
        ]
        goals = pd.Series([goal for _, goal in trials[1] if goal], dtype=object)
        rows.append(
            {
                "fault": fault.name,
                "wrong": "hand-written pass" if fault.by_hand else "other party",
                "evaluations": evaluations,
                "seeds": len(trials[0]),
                "sweep_finds": sum(count > 0 for count, _ in trials[0]),
                "search_finds": sum(count > 0 for count, _ in trials[1]),
                "goal": "" if goals.empty else goals.value_counts().idxmax(),
            }
        )
    return pd.DataFrame(rows)
