"""What the audit and the diagnosis cost, next to what Arb itself needs for the same operations.

Arb itself: a loop in Python over the samples, that runs the model's own functions on python-flint's
numbers with nothing around them. The definition runs on power series of two terms, once in a random
direction, and the passes on balls.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median
from types import SimpleNamespace
from typing import Any

import flint
import numpy as np
import pandas as pd

from gradcheck import Request, load_model
from gradcheck.api import explained
from gradcheck.harness.outcome import Outcome
from gradcheck.harness.samples import choose_audited
from gradcheck.harness.sweep import run_sweep
from gradcheck.model.model import Model
from gradcheck.truth.audit import audit
from gradcheck.truth.derivative import PRECISIONS
from gradcheck.truth.enclosures import precision
from gradcheck.truth.evidence import evidence
from gradcheck.truth.referee import referee

REPEATS = 7
AUDITED = 200
ARB = SimpleNamespace(sin=lambda x: x.sin(), cos=lambda x: x.cos(), exp=lambda x: x.exp())
"""What `chain` asks of a namespace."""


def measure_audit(repeats: int = REPEATS) -> pd.DataFrame:
    """Time audit and bare Arb in turn on the samples of `chain` that a large sweep audits.

    Returns
    -------
    pandas.DataFrame
        A row per repeat, in microseconds a sample: `series`, the definition in one direction;
        `passes`; `arb`, both; `audit`, all of it; and `ratio`, of the audit to Arb.
    """
    model = load_model("chain")
    outcome, request = _swept(model, AUDITED)
    values = outcome.samples["float64"].select(choose_audited(model, request)).values
    samples = list(zip(*(values[name].tolist() for name in model.leaves), strict=True))
    speeds = np.random.default_rng(0).uniform(-1, 1, (AUDITED, len(model.parameters))).tolist()
    rows = []
    for _ in range(repeats):
        series = _seconds(lambda: _series(model, samples, speeds))
        passes = _seconds(lambda: _passes(model, samples))
        whole = _seconds(lambda: audit(model, request, outcome))
        times = {"series": series, "passes": passes, "arb": series + passes, "audit": whole}
        rows.append({name: 1e6 * spent / AUDITED for name, spent in times.items()})
    table = pd.DataFrame(rows)
    return table.assign(ratio=table["audit"] / table["arb"])


def measure_diagnosis(repeats: int = REPEATS) -> pd.DataFrame:
    """Time what follows the sweep of `chain-misprint`: referee and diagnosis, in seconds."""
    model = load_model("chain-misprint")
    request = Request(samples=2000, workers=1, adapters=("complex-step", "hand-written"))
    outcome = run_sweep(model, request)
    rulings = referee(model, request, outcome)
    clues = evidence(request, outcome, rulings)
    return pd.DataFrame(
        {
            "referee": _seconds(lambda: referee(model, request, outcome)),
            "diagnosis": _seconds(lambda: explained(model, clues, rulings, lambda done: None)),
        }
        for _ in range(repeats)
    )


def summarise(audited: pd.DataFrame, diagnosed: pd.DataFrame) -> pd.DataFrame:
    """Return the median, the smallest and the largest of each: a row per quantity."""
    units = {name: "us/sample" for name in audited} | {"ratio": ""}
    units |= {name: "s" for name in diagnosed}
    return pd.DataFrame(
        {
            "quantity": name,
            "unit": unit,
            "median": median(table[name]),
            "smallest": min(table[name]),
            "largest": max(table[name]),
            "repeats": len(table),
        }
        for table in (audited, diagnosed)
        for name, unit in units.items()
        if name in table
    )


def _swept(model: Model, audited: int) -> tuple[Outcome, Request]:
    """Return what the audit of a large sweep is given, of a small one."""
    request = Request(samples=audited, audit=1.0, dtypes=("float64",), adapters=("hand-written",))
    return run_sweep(model, request), request


def _series(model: Model, samples: Sequence[Sequence[float]], speeds: Any) -> None:
    """Differentiate the definition on each sample in a direction of its own."""
    inputs, parameters, count = list(model.inputs), list(model.parameters), len(model.inputs)
    with precision(PRECISIONS[0]):
        for sample, moves in zip(samples, speeds, strict=True):
            pairs = zip(sample[count:], moves, strict=True)
            series = (flint.arb_series([number, speed]) for number, speed in pairs)
            v = SimpleNamespace(**dict(zip(parameters, series, strict=True)))
            vars(v).update(zip(inputs, map(flint.arb, sample), strict=False))
            model.loss(ARB, v)[1]


def _passes(model: Model, samples: Sequence[Sequence[float]]) -> None:
    """Run the hand-written passes on each sample."""
    names = list(model.leaves)
    with precision(PRECISIONS[0]):
        for sample in samples:
            v = SimpleNamespace(**dict(zip(names, map(flint.arb, sample), strict=True)))
            t, d = SimpleNamespace(), SimpleNamespace()
            model.forward(ARB, v, t)
            model.backward(ARB, v, t, d)


def _seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
