"""A function whose own backward pass is the reference: what the audit refutes, it got wrong.

Its values agree with its formula, to rounding. That is no agreement where the formula is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np

from gradcheck.harness.outcome import Outcome
from gradcheck.harness.request import Request
from gradcheck.harness.samples import choose_audited
from gradcheck.judge.tally import Case
from gradcheck.judge.verdict import Verdict
from gradcheck.model.model import Model
from gradcheck.truth.referee import Ruling, Rulings


def settle(
    model: Model, request: Request, outcome: Outcome, rulings: Rulings
) -> tuple[Outcome, Rulings]:
    """Count as disagreements with the truth what the audit refutes of a function's own formula.

    Where the formula is wrong somewhere, what was not found right on an audited sample tells
    nothing.
    """
    if not model.own:
        return outcome, rulings
    tallies, by_case = dict(outcome.tallies), dict(rulings.by_case)
    for (dtype, gradient), cases in rulings.audit.refuted.items():
        key = model.own, dtype, gradient
        found = _returned(model, outcome, dtype, gradient, cases)
        tallies[key] = tallies[key].convict(found)
        by_case |= {(key, case): Ruling(repr(case.reference), model.own) for case in found}
        looked_at = prod(model.parameters[gradient]) * len(choose_audited(model, request))
        right = looked_at - len(cases) - rulings.audit.open.get((dtype, gradient), 0)
        doubted = int(tallies[key].counts[Verdict.AGREE]) - max(right, 0)
        tallies[key] = tallies[key].doubt(max(doubted, 0))
    return replace(outcome, tallies=tallies), replace(rulings, by_case=by_case)


def _returned(
    model: Model, outcome: Outcome, dtype: str, gradient: str, cases: Sequence[Case]
) -> list[Case]:
    """Hold what the function itself returned against the truth."""
    samples = list(dict.fromkeys(case.sample for case in cases))
    values = outcome.samples[dtype].select(samples).values
    given = {
        name: array if array.dtype.kind in "iub" else array.astype(dtype)
        for name, array in values.items()
    }
    gradients = model.adapters[model.own].prepare(model, np.dtype(dtype))
    with np.errstate(all="ignore"):
        rows = np.asarray(gradients(given)[gradient], dtype=np.float64).reshape(len(samples), -1)
    found = []
    for case in cases:
        value, truth = float(rows[samples.index(case.sample), case.element]), case.value
        ratio = abs(value - truth) / case.bound if case.bound else np.inf
        found.append(replace(case, value=value, reference=truth, ratio=ratio))
    return found
