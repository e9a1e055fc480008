"""Tables for the summary of a job of GitHub Actions: appended to the file that it names."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gradcheck.errors import one_line, printable
from gradcheck.reports.run import find_reasons

if TYPE_CHECKING:
    from gradcheck.history.compare import Comparison
    from gradcheck.reports.tables import Report

VARIABLE = "GITHUB_STEP_SUMMARY"
"""Names the file, where there is one."""
MOST_ROWS = 50
"""A summary may have a mebibyte, all steps' tables together."""
PLAIN = frozenset(" .,:;/+-=()%→∂ℓ±…")
"""Signs besides letters and digits that mean nothing to Markdown within a cell."""


def escaped(text: object) -> str:
    """Write a text so that Markdown, and HTML within it, show it to the letter, in one line."""
    line = printable(" ".join(str(text).split()))
    return "".join(sign if sign.isalnum() or sign in PLAIN else f"&#{ord(sign)};" for sign in line)


def append_summary(text: str) -> None:
    """Append a text to the summary of the job, if there is one; say so if that cannot be done."""
    name = os.environ.get(VARIABLE)
    if not name:
        return
    try:
        with Path(name).open("a", encoding="utf-8") as file:
            file.write(text)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        problem = one_line(f"{VARIABLE}: {name} cannot be written ({why}); no summary there")
        print(f"gradcheck: {problem}", file=sys.stderr)


def sweep_summary(report: Report) -> str:
    """Return a sweep's verdicts as Markdown."""
    request = report.run["request"]
    reasons = find_reasons(report.run)
    columns = ["agree", "disagree", "uninformative", "nan", "error"]
    rows = [
        [
            row["adapter"],
            row["dtype"],
            *(f"{row[name]:,}" if row["judged"] else "–" for name in columns),
            row["worst_gradient"],
        ]
        for row in report.overview.to_dict("records")
    ]
    samples = f"{request['samples']:,} samples, seed {request['seed']}"
    known = report.run["counts"]["known"]
    agreed = f"nothing disagrees but {known:,} that are known" if known else "nothing disagrees"
    verdict = "; ".join(reasons) if reasons else agreed
    return _section(
        f"gradcheck sweep: {request['model']}",
        f"{'❌' if reasons else '✅'} {samples}: {verdict}.",
        ["adapter", "dtype", *columns, "worst gradient"],
        rows,
    )


def comparison_summary(comparison: Comparison) -> str:
    """Return what changed between two runs as Markdown."""
    from gradcheck.history.compare import Kind
    from gradcheck.reports.comparison import changes_told, conclusion, facts

    rows = [
        [f"{kind.value} ❌" if fails else kind.value, line]
        for kind in Kind
        for line, fails in changes_told(comparison, kind)
    ]
    verdict = f"{'❌' if comparison.worse else '✅'} {conclusion(comparison)}"
    lines = " ".join([verdict, *(f"{fact.rstrip('.')}." for fact in facts(comparison))])
    return _section(f"gradcheck compare: {comparison.model}", lines, ["", "what"], rows)


def _section(title: str, text: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"### {escaped(title)}", "", escaped(text), ""]
    if rows:
        lines += [_row(columns), _row(["---"] * len(columns))]
        lines += [_row(list(map(escaped, row))) for row in rows[:MOST_ROWS]]
        if len(rows) > MOST_ROWS:
            lines.append(_row([f"{len(rows) - MOST_ROWS} more", *[""] * (len(columns) - 1)]))
    return "\n".join([*lines, "", ""])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
