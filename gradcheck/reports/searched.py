"""What a search found, as facts of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gradcheck.harness.outcome import Outcome
from gradcheck.harness.search import NO_SEARCH, Search
from gradcheck.judge.verdict import Verdict
from gradcheck.truth.referee import Rulings

if TYPE_CHECKING:
    import pandas as pd

FAILING = (Verdict.DISAGREE.label, Verdict.NAN.label, Verdict.ERROR.label, "defect")
"""Verdicts on what a search found that are no agreement."""


@dataclass(frozen=True)
class Findings:
    """A search, what of it stands, and what the referee says about it."""

    search: Search = NO_SEARCH
    disputed: Outcome = NO_SEARCH.outcome
    rulings: Rulings = field(default_factory=Rulings)


def search_facts(findings: Findings, table: pd.DataFrame) -> dict[str, Any]:
    """Gather what `run.json` holds of a search; `table` is that of its cases."""
    search = findings.search
    failing = table[table["verdict"].isin(FAILING)]
    return {
        "samples": sum(search.spent.values()),
        "disagreements": len(failing),
        "goals": {
            goal: {
                "samples": spent,
                "disagreeing_samples": search.found[goal],
                "disagreements": int((failing["goal"] == goal).sum()),
            }
            for goal, spent in search.spent.items()
        },
        "strained": len(search.strained),
        "branches": search.branches,
        "new_branches": search.new,
        "max_bound_ratio": search.ratio,
        "refereed": len(findings.rulings.by_case),
        "left": findings.rulings.left,
        "seconds": round(search.seconds, 3),
    }
