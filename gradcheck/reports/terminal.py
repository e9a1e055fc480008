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

from gradcheck.harness.request import Request
from gradcheck.judge.verdict import LABELS
from gradcheck.reports.tables import Report
from gradcheck.trace import Trace

WIDTH = 100
ALWAYS_SHOWN = ("agree", "disagree", "uninformative")
CASES_SHOWN = 3
FEW_NUMBERS = 12
"""Numbers in a sample up to which a command gives them all."""
VISIBLE = 1e-4
"""How far the values on a kink are apart, relative to their size, if they are to be shown."""
SAMPLE_SETTINGS = ("seed", "scale", "distribution", "kinks", "bars", "ulps")
"""Settings of a sweep on which a sample and its bars depend."""
TRACE_WIDTH = 400
"""A trace has as many columns as there are adapters, and is not folded."""


@contextmanager
def progress_bar() -> Iterator[Callable[[float], None]]:
    """Show on stderr, if it is a terminal, the fraction done that the yielded function is told."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("sweeping", total=1.0)
        yield lambda fraction: bar.update(task, completed=fraction)


def print_report(
    report: Report, files: list[Path], source: str, console: Console | None = None
) -> None:
    """Print a whole report.

    `source` is what the model goes by on the command line, `console` where to print: stdout
    unless it is given.
    """
    print_verdicts(report, console)
    print_findings(report, files, source, console)


def print_verdicts(report: Report, console: Console | None = None) -> None:
    """Print what was asked for, and how often each verdict was given."""
    request = report.run["request"]
    console = console or _console(WIDTH)
    console.print(
        f"{request['model']}: {request['samples']:,} samples, seed {request['seed']}, "
        f"{request['distribution']}, scale {request['scale']:g}",
        markup=False,
    )
    console.print(_verdict_table(report.overview))
    _print_missing(console, report.run["missing"])


def print_findings(
    report: Report, files: list[Path], source: str, console: Console | None = None
) -> None:
    """Print the worst cases with the means to replay them, who is wrong, and where the rest is."""
    counts = report.run["counts"]
    console = console or _console(WIDTH)
    for message in list(report.run["misstated"].values())[:1]:
        console.print(message, style="red", soft_wrap=True, markup=False)
        if report.diagnosis.empty:
            console.print("No line can be named: no single value of the definition mends the pass.")
    _print_errors(console, report.summary)
    if (report.discrepancies["verdict"].isin(["disagree", "defect"])).any():
        _print_worst_cases(console, report, source)
    _print_diagnosis(console, report, source)
    _print_kinks(console, report)
    _print_referee(console, report.run)
    if report.agrees:
        silent = [name for name in LABELS if name not in ("agree", "kink") and counts[name]]
        rest = ", ".join(f"{counts[name]:,} {name}" for name in silent)
        console.print(
            f"Nothing disagrees: {counts['agree']:,} comparisons agree"
            + (f"; {counts['kink']:,} are within what is right on a kink" if counts["kink"] else "")
            + (f"; nothing can be said of {rest}." if rest else ".")
        )
    else:
        console.print(_failures(report), style="bold", markup=False)
    if files:
        names = ", ".join(path.name for path in files)
        console.print(f"Written to {files[0].parent}: {names}", soft_wrap=True, markup=False)


def _failures(report: Report) -> str:
    """Say in a sentence why a report does not agree."""
    counts, facts = report.run["counts"], []
    if counts["disagree"]:
        facts.append(f"{counts['disagree']:,} comparisons disagree")
    if counts["error"]:
        failed = report.overview.loc[report.overview["error"] > 0, "adapter"].unique()
        facts.append(f"{', '.join(failed)} failed")
    if report.run["misstated"]:
        facts.append("the definition and the forward pass differ")
    if report.run["audit"]["refuted"]:
        facts.append(f"{report.run['audit']['refuted']:,} gradients are wrong that nobody disputes")
    if counts["defect"]:
        facts.append(f"{counts['defect']:,} bounds were too narrow")
    sentence = "; ".join(facts)
    return f"{'' if counts['disagree'] else 'No comparison disagrees, but '}{sentence}."


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
        element = case["element"]
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
        elif row["quantity"].startswith("d."):
            dtype = report.run["request"]["dtypes"][0]
            lines.append("  clearest counterexample:")
            lines.append(f"    {_sample_command(report, source, row['sample'], dtype)}")
        for line in lines:
            console.print(line, soft_wrap=True, markup=False)


def _print_kinks(console: Console, report: Report) -> None:
    """Show what each party chose where more than one value is right."""
    cases = report.discrepancies
    width, size = cases["high"] - cases["low"], (cases["high"] + cases["low"]).abs()
    kinks = cases[(cases["verdict"] == "kink") & (width > VISIBLE * size)]
    places = kinks.groupby(["sample", "dtype", "gradient", "element"], sort=False)
    shown = sorted(places, key=lambda place: -place[1]["adapter"].nunique())[:CASES_SHOWN]
    for (sample, dtype, gradient, element), rows in shown:
        first = rows.iloc[0]
        chosen: dict[str, list[str]] = {}
        for adapter, value in zip(rows["adapter"], rows["value"] + 0.0, strict=True):
            chosen.setdefault(f"{value:.6g}", []).append(adapter)
        choices = "; ".join(f"{value} by {', '.join(names)}" for value, names in chosen.items())
        line = (
            f"On a kink: sample {sample}, {dtype}: ∂ℓ/∂{gradient}{element} may be anything from "
            f"{first['low']:.6g} to {first['high']:.6g}; it is {first['reference'] + 0.0:.6g} by "
            f"hand, {choices}"
        )
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
    if run["bars"]["stochastic"]:
        console.print(
            f"Bars: {run['bars']['ball']:,} comparisons judged by balls (proved), "
            f"{run['bars']['stochastic']:,} by stochastic bars (false alarm probability "
            f"{run['bars']['alpha']:g} each)."
        )
    if audit["proved"] or audit["refuted"]:
        console.print(
            f"Audited: {audit['samples']} samples; {audit['proved']} gradients proved right, "
            f"{audit['refuted']} wrong."
        )
    elif audit["samples"]:
        console.print(
            f"Audited: {audit['samples']} samples; none has an undisputed, sharp gradient."
        )


def _replay_command(report: Report, case: Mapping[Hashable, Any], source: str) -> str:
    """Return the command that shows one case in full: its point, or its number if that is long."""
    columns = list(report.discrepancies.columns)
    leaves = columns[columns.index("truth") + 1 : columns.index("element")]
    if 0 < len(leaves) <= FEW_NUMBERS:
        point = ",".join(f"{name}={case[name]!r}" for name in leaves)
        return f"gradcheck trace {source} --dtypes {case['dtype']} --at {point}"
    return _sample_command(report, source, case["sample"], case["dtype"])


def _sample_command(report: Report, source: str, sample: Any, dtype: str) -> str:
    """Return the command that shows a sample in full."""
    request = report.run["request"]
    settings = [
        f" --{name}" if request[name] is True else f" --{name} {request[name]}"
        for name in SAMPLE_SETTINGS
        if request[name] != getattr(Request, name)
    ]
    return f"gradcheck trace {source} --dtypes {dtype} --sample {sample}{''.join(settings)}"


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
