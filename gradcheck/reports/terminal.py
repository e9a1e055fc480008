"""Tables and messages for people, at most `WIDTH` columns wide."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from gradcheck.harness.tables import Report
from gradcheck.harness.trace import Trace
from gradcheck.harness.verdict import LABELS

WIDTH = 100
ALWAYS_SHOWN = ("agree", "disagree", "uninformative")
CASES_SHOWN = 3
TRACE_WIDTH = 400
"""A trace has as many columns as there are adapters, and is not folded."""


@contextmanager
def progress_bar() -> Iterator[Callable[[float], None]]:
    """Show on stderr, if it is a terminal, the fraction done that the yielded function is told."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("sweeping", total=1.0)
        yield lambda fraction: bar.update(task, completed=fraction)


def print_report(report: Report, files: list[Path], source: str) -> None:
    """Print the verdicts, the worst cases with the means to replay them, and where the rest is.

    `source` is what the model goes by on the command line.
    """
    request, counts = report.run["request"], report.run["counts"]
    console = _console(WIDTH)
    console.print(
        f"{request['model']}: {request['samples']:,} samples, seed {request['seed']}, "
        f"{request['distribution']}, scale {request['scale']:g}"
    )
    console.print(_verdict_table(report.overview))
    _print_missing(console, report.run["missing"])
    for message in report.run["misstated"].values():
        console.print(message, style="red", soft_wrap=True)
    _print_errors(console, report.summary)
    if (report.discrepancies["verdict"].isin(["disagree", "defect"])).any():
        _print_worst_cases(console, report, source)
    _print_diagnosis(console, report, source)
    _print_referee(console, report.run)
    if report.agrees:
        rest = ", ".join(
            f"{counts[name]:,} {name}" for name in LABELS if name != "agree" and counts[name]
        )
        console.print(
            f"Nothing disagrees: {counts['agree']:,} comparisons agree"
            + (f"; nothing can be said of {rest}." if rest else ".")
        )
    if files:
        names = ", ".join(path.name for path in files)
        console.print(f"Written to {files[0].parent}: {names}", soft_wrap=True, markup=False)


def print_trace(trace: Trace, model: str, dtype: str) -> None:
    """Print both tables, as wide as they are."""
    console = _console(TRACE_WIDTH)
    for title, table in (("forward", trace.forward), ("backward: ∂ℓ/∂…", trace.backward)):
        console.print(_number_table(f"{model}, {dtype}, {title}", trace, table))
    if not trace.agrees:
        console.print("✗ beyond the bound")


def print_adapters(rows: list[dict[str, str]]) -> None:
    """Print which adapters there are."""
    table = Table(box=None, pad_edge=False)
    for name in rows[0]:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row.values())
    _console(WIDTH).print(table)


def _console(width: int) -> Console:
    return Console(width=width, highlight=False)


def _verdict_table(overview: pd.DataFrame) -> Table:
    shown = [name for name in LABELS if name in ALWAYS_SHOWN or overview[name].any()]
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    table.add_column("adapter")
    table.add_column("dtype")
    for name in (*shown, "median\nulps", "worst\nulps"):
        table.add_column(name.replace("uninformative", "uninfor-\nmative"), justify="right")
    table.add_column("worst\ngradient")
    for row in overview.to_dict("records"):
        verdicts = [f"{row[name]:,}" if row["judged"] else "–" for name in shown]
        table.add_row(
            row["adapter"],
            row["dtype"],
            *verdicts,
            _short(row["median_ulps"]),
            _short(row["max_ulps"]),
            row["worst_gradient"],
            style="red" if row["disagree"] or row["error"] else None,
        )
    return table


def _short(number: float) -> str:
    return "–" if pd.isna(number) else f"{number:.3g}"


def _print_missing(console: Console, missing: Mapping[str, str]) -> None:
    for command in dict.fromkeys(missing.values()):
        names = ", ".join(name for name, needed in missing.items() if needed == command)
        console.print(f"Not installed: {names}; install with: {command}")


def _print_errors(console: Console, summary: pd.DataFrame) -> None:
    failed = summary[summary["error"] > 0]
    for (adapter, dtype, message), rows in failed.groupby(["adapter", "dtype", "message"]):
        gradients = ", ".join(rows["gradient"])
        line = f"error: {adapter}, {dtype} ({gradients}): {message}"
        console.print(line, style="red", markup=False)


def _print_worst_cases(console: Console, report: Report, source: str) -> None:
    cases = report.discrepancies
    disputed = cases[cases["verdict"].isin(["disagree", "defect"])]
    counts = report.summary.groupby("gradient", sort=False)["disagree"].sum()
    total = ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)
    if total:
        console.print(f"Disagreements by gradient: {total}.", style="bold")
    worst = disputed.sort_values("ulps", ascending=False, kind="stable")
    for case in worst.drop_duplicates("sample").head(CASES_SHOWN).to_dict("records"):
        element = f"[{case['element']}]" if case["element"] else ""
        lines = [
            f"  sample {case['sample']}, {case['dtype']}: ∂ℓ/∂{case['gradient']}{element} is "
            f"{case['reference']:.9g} ± {case['bound']:.1e}, but {case['value']:.9g} by "
            f"{case['adapter']}",
            f"    {_replay_command(report, case, source)}",
        ]
        if case["truth"]:
            lines.insert(1, f"    the truth is {case['truth']}; culprit: {case['culprit']}")
        for line in lines:
            console.print(line, soft_wrap=True, markup=False)
    rows = report.run["request"]["rows"]
    if (report.summary["disagree"] > rows).any():
        console.print(f"Tabulated: of each adapter, dtype and gradient the worst {rows}.")


def _print_diagnosis(console: Console, report: Report, source: str) -> None:
    for rank, row in enumerate(report.diagnosis.to_dict("records")):
        console.print("First wrong line" if rank == 0 else "Also wrong", style="bold", end=": ")
        file = Path(str(row["file"])).name
        lines = [
            f"{file}:{row['line']}: {row['source']}",
            f"  {row['explanation'] or 'nothing simple matches what it holds'}",
            f"  wrong on {row['wrong']} of {row['samples']} samples",
        ]
        if row["counterexample"]:
            lines.append("  simplest counterexample:")
            lines.append(f"    gradcheck trace {source} --at {row['counterexample']}")
        for line in lines:
            console.print(line, soft_wrap=True, markup=False)


def _print_referee(console: Console, run: Mapping[str, Any]) -> None:
    referee, audit = run["referee"], run["audit"]
    if run["unchecked"]:
        console.print(
            f"Definition and forward pass not compared: {run['unchecked']}", soft_wrap=True
        )
    if referee["unsupported"]:
        console.print(
            f"No referee: Arb cannot follow {referee['unsupported']!r} in the definition of "
            f"{run['request']['model']}; disagreements are not settled.",
            soft_wrap=True,
        )
    if referee["refereed"]:
        left = f"; {referee['left']} left (--referee-limit)" if referee["left"] else ""
        console.print(f"Refereed: {referee['refereed']} disagreements{left}.")
    if run["counts"]["defect"]:
        console.print(
            f"{run['counts']['defect']} times both parties were right but for rounding: the bound "
            f"was too narrow; please report it.",
            style="red",
        )
    if audit["samples"]:
        console.print(
            f"Audited: {audit['samples']} samples; {audit['proved']} gradients proved right, "
            f"{audit['refuted']} wrong."
        )


def _replay_command(report: Report, case: Mapping[Hashable, Any], source: str) -> str:
    columns = list(report.discrepancies.columns)
    leaves = columns[columns.index("truth") + 1 : columns.index("element")]
    point = ",".join(f"{name}={case[name]!r}" for name in leaves)
    return f"gradcheck trace {source} --dtypes {case['dtype']} --at {point}"


def _number_table(title: str, trace: Trace, frame: pd.DataFrame) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    adapters = frame.columns[4:]
    for name in frame.columns:
        table.add_column(name, justify="left" if name == "quantity" else "right", no_wrap=True)
    beyond = {name: trace.beyond(frame, name) for name in adapters}
    for index, row in enumerate(frame.to_dict("records")):
        cells = [row["quantity"], f"{row['reference']:.9g}", f"{row['bound']:.1e}", row["truth"]]
        for name in adapters:
            cell = "" if pd.isna(row[name]) else f"{row[name]:.6g}"
            cells.append(f"{cell} ✗" if beyond[name][index] else cell)
        table.add_row(*cells)
    return table
