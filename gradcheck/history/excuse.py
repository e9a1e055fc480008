"""What of a report is known: counted apart, excused, or no longer so.

A row's disagreements are one fault or several; they are excused as a whole, and only if everybody
who was proved wrong there is listed. What is listed of an adapter excuses neither the reference nor
the definition, nor another adapter, gradient or verdict.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gradcheck.adapters import HAND_WRITTEN
from gradcheck.history.known import DEFINITION, REFERENCE, VERDICTS, Entry, Known
from gradcheck.truth.audit import REFEREE
from gradcheck.truth.referee import BOTH

if TYPE_CHECKING:
    import pandas as pd

    from gradcheck.reports.tables import Report


KNOWN, STALE, OTHER, UNSEEN = "known", "stale", "other", "unseen"
"""What becomes of an entry: it excuses something; it was judged, and occurs no longer; it occurs,
but somebody else was proved wrong, or nobody; it was not judged."""


class _Ledger:
    """Which entries were needed."""

    def __init__(self, known: Known) -> None:
        self.entries = known.entries
        self.used: dict[int, int] = {}

    def covers(self, case: Mapping[Hashable, Any], culprits: set[str], count: int) -> bool:
        """Tell whether everybody to blame in a row or a case is listed; note by which entries."""
        adapter, verdict = case["adapter"], case["verdict"]
        needed: list[int] = []
        for culprit in culprits:
            found = [
                place
                for place, entry in enumerate(self.entries)
                if entry.verdict == verdict
                and _is_about(entry, case)
                and _blames(entry, culprit, adapter)
            ]
            if not found:
                return False
            needed += found
        for place in set(needed):
            self.used[place] = self.used.get(place, 0) + count
        return True


def excuse(report: Report, known: Known) -> Report:
    """Mark what is known in a report: `known` of the summary, and of the run's facts.

    `known` is what concerns the report's model.
    """
    if not known.entries:
        return report
    ledger = _Ledger(known)
    excused = {"disagree": 0, "nan": 0, "search": 0, "undisputed": 0}
    counts = []
    for row in report.summary.to_dict("records"):
        known_here = 0
        for verdict in VERDICTS:
            case = {**row, "verdict": verdict}
            if row[verdict] and ledger.covers(
                case, _culprits(report.discrepancies, case), row[verdict]
            ):
                excused[verdict] += row[verdict]
                known_here += row[verdict]
        counts.append(known_here)
    for name, table in (("search", report.search), ("undisputed", _refuted(report))):
        for case in table.to_dict("records"):
            if case["verdict"] in VERDICTS and ledger.covers(case, _blamed(case), 1):
                excused[name] += 1
    summary = report.summary.assign(known=counts)
    judged = _judged(summary)
    open_rows = judged[judged["known"] == 0]["disagree_share_below"]
    run = report.run
    facts = {
        "file": known.file,
        "excused": excused,
        "entries": [
            {
                "entry": str(entry),
                "reason": entry.reason,
                "comparisons": ledger.used.get(place, 0),
                "state": KNOWN if place in ledger.used else _state(entry, summary),
            }
            for place, entry in enumerate(known.entries)
        ],
    }
    below = float(open_rows.max()) if len(open_rows) else None
    return replace(
        report,
        summary=summary,
        run={
            **run,
            "counts": {**run["counts"], "known": sum(counts)},
            "judged": {**run["judged"], "disagree_share_below": below},
            "known": facts,
        },
    )


def _is_about(entry: Entry, case: Mapping[Hashable, Any]) -> bool:
    return all(
        wanted in ("", case[name])
        for name, wanted in (("dtype", entry.dtype), ("gradient", entry.gradient))
    )


def _blames(entry: Entry, culprit: str, adapter: str) -> bool:
    """Tell whether an entry lists who is to blame; where nobody was proved wrong, it says who."""
    if culprit in (REFERENCE, DEFINITION):
        return entry.adapter == culprit
    if not culprit:
        return entry.adapter in (adapter, REFERENCE, DEFINITION)
    return entry.adapter in ("", adapter)


def _culprits(cases: pd.DataFrame, row: Mapping[Hashable, Any]) -> set[str]:
    """Return everybody who is to blame in the tabulated cases of a row; nobody is the empty text.

    Where somebody was proved wrong in some cases, the others say nothing.
    """
    here = cases
    for name in ("adapter", "dtype", "gradient", "verdict"):
        here = here[here[name] == row[name]]
    found = {culprit for case in here.to_dict("records") for culprit in _blamed(case)}
    return found - {""} or {""}


def _blamed(case: Mapping[Hashable, Any]) -> set[str]:
    """Return who is to blame in a case."""
    if case["verdict"] == "nan" and not case["culprit"]:
        parties = {case["adapter"]: case["value"], REFERENCE: case["reference"]}
        return {party for party, value in parties.items() if value != value} or {""}
    if case["culprit"] == BOTH:
        return {case["adapter"], REFERENCE}
    return {case["culprit"]}


def _refuted(report: Report) -> pd.DataFrame:
    """Return the audited cases in which the reference was proved wrong, though nobody disputes."""
    return report.discrepancies[report.discrepancies["adapter"] == REFEREE]


def _judged(summary: pd.DataFrame) -> pd.DataFrame:
    return summary[(summary["bar"] != "") & (summary["adapter"] != HAND_WRITTEN)]


def _state(entry: Entry, summary: pd.DataFrame) -> str:
    """Say of an entry that excused nothing whether it would have shown."""
    looked = summary[(summary["judged_samples"] > 0) | (summary["nan"] > 0)]
    looked = looked[looked["bar"] != ""]
    if entry.adapter not in ("", REFERENCE, DEFINITION):
        looked = looked[looked["adapter"] == entry.adapter]
    else:
        looked = looked[looked["adapter"] != HAND_WRITTEN]
    rows = [row for row in looked.to_dict("records") if _is_about(entry, row)]
    if not rows:
        return UNSEEN
    return OTHER if any(row[entry.verdict] for row in rows) else STALE
