"""A failed sweep as the message of an assertion: the report, cut to what a log should hold."""

from __future__ import annotations

import io
import sys
import textwrap
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from gradcheck.capture.case import Case
from gradcheck.errors import file_name, printable, quoted
from gradcheck.judge.verdict import Verdict
from gradcheck.model.loading import BUILT_IN
from gradcheck.model.model import Model
from gradcheck.options import OPTIONS
from gradcheck.reports.plain import Plain
from gradcheck.reports.run import DEFECT, find_reasons
from gradcheck.reports.tables import Report
from gradcheck.reports.terminal import WIDTH, print_report

LINES = 40
"""What a message may hold, lines that are wider than `WIDTH` counted as several."""
ROWS = (20, 12, 6)
"""What its table may hold: both dtypes of the adapters that run by default, or else fewer."""
CASES = 2
WRONG_LINES = 2
LONGEST = 4 * WIDTH
"""What a line may hold: commands are not folded, so that they can be copied."""
UNKNOWN_SOURCE = "FILE.py:NAME"
"""Stands for a model that the command line could not find."""
FAILURES = (Verdict.DISAGREE.label, Verdict.ERROR.label, Verdict.NAN.label, DEFECT)


def describe_failure(report: Report, source: str) -> str:
    """Say in at most `LINES` lines what disagrees, who is to blame and where.

    `source` is what the model goes by on the command line.
    """
    for rows in ROWS:
        lines = _render(report, source, rows)
        if sum(map(_height, lines)) <= LINES:
            break
    heights = list(accumulate(map(_height, lines)))
    if heights[-1] > LINES:
        kept = sum(height < LINES for height in heights)
        lines[kept:] = [
            f"… {len(lines) - kept} lines more: {printable(_sweep_command(report, source))}"
        ]
    return "\n".join(lines)


def find_source(model: Any) -> str:
    """Say what a model goes by on the command line: its built-in name, or a file and a name.

    Empty for a function, which has no name there.
    """
    if not isinstance(model, Model | Case | str):
        return ""
    if isinstance(model, str):
        return quoted(model)
    functions: tuple[Any, ...] = (
        (model.function,)
        if isinstance(model, Case)
        else (model.loss, model.forward, model.backward)
    )
    homes = [sys.modules.get(getattr(function, "__module__", "")) for function in functions]
    for module in (*homes, *sys.modules.values()):
        if not isinstance(module, ModuleType):
            continue
        names = [name for name, value in vars(module).items() if value is model]
        if names and module.__name__ in BUILT_IN.values():
            return model.name
        if names and str(file := vars(module).get("__file__")).endswith(".py"):
            path = Path(str(file))
            shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
            return quoted(f"{shown}:{names[0]}")
    return UNKNOWN_SOURCE


def _headline(report: Report) -> str:
    """Say in one line what is wrong: all that a summary of many tests shows."""
    facts = find_reasons(report.run)
    if len(report.diagnosis):
        first = report.diagnosis.iloc[0]
        facts.insert(0, f"first wrong line {file_name(first['file'])}:{first['line']}")
    return f"{report.run['request']['model']}: {'; '.join(facts)}"


def _render(report: Report, source: str, rows: int) -> list[str]:
    """Print the part of a report that is most worth having, with so many rows of its table."""
    overview = report.overview
    failing = overview[list(FAILURES)].any(axis=1)
    kept = overview.index.isin([*overview.index[failing], *overview.index[~failing]][:rows])
    shown = replace(
        report,
        overview=overview[kept],
        discrepancies=_worst_of_each_culprit(report.discrepancies),
        diagnosis=report.diagnosis.head(WRONG_LINES),
    )
    console = Plain(file=io.StringIO(), width=WIDTH, color_system=None)
    with console.capture() as captured:
        print_report(shown, [], source, console)
    lines = [printable(_headline(report)), *captured.get().splitlines()]
    if (left := len(overview) - rows) > 0:
        lines.append(f"{left} rows of the table left out")
    return [part for line in lines for part in _fold(line.rstrip(), _sweep_command(report, source))]


def _worst_of_each_culprit(cases: pd.DataFrame) -> pd.DataFrame:
    failed = cases[cases["verdict"].isin(FAILURES)]
    settled = failed[failed["culprit"] != ""]
    worst = (failed if settled.empty else settled).sort_values(
        "ulps", ascending=False, kind="stable"
    )
    return worst.drop_duplicates("sample").drop_duplicates("culprit").head(CASES)


def _sweep_command(report: Report, source: str) -> str:
    """Ask for the whole report on the command line."""
    request = report.run["request"]
    changed = [
        f"--{option.name} {request[setting]}"
        for setting, option in OPTIONS.items()
        if setting in request and request[setting] != option.default
    ]
    if not source:
        return "print(gradcheck.check(…))"
    if known := report.run["known"]["file"]:
        changed.append(f"--known {quoted(known)}")
    return " ".join(["gradcheck sweep", source, *changed, *["--kinks"] * request["kinks"]])


def _fold(line: str, otherwise: str) -> list[str]:
    """Fold a line at `WIDTH`, but not a command: if it is too long, tell where it is shown."""
    indent = line[: len(line) - len(line.lstrip())]
    if not line.startswith("gradcheck ", len(indent)):
        return textwrap.wrap(line, WIDTH, subsequent_indent=indent + "  ")
    return [line if len(line) <= LONGEST else f"{indent}too long for here; shown by: {otherwise}"]


def _height(line: str) -> int:
    return max(1, -(-len(line) // WIDTH))
