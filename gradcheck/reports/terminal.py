"""Tables and messages for people, at most `WIDTH` columns wide."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager, suppress
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from gradcheck.errors import file_name, quoted
from gradcheck.harness.request import DTYPES, NARROW_DTYPES
from gradcheck.judge.verdict import LABELS, Verdict
from gradcheck.numbers.recipe import CHOICES, recipe_of
from gradcheck.reports.plain import Plain
from gradcheck.reports.replaying import case_command, sample_command
from gradcheck.reports.run import FAILS, audit_sentence, find_reasons, share_sentence
from gradcheck.reports.searched import FAILING
from gradcheck.signals import STDERR, tidied

if TYPE_CHECKING:
    import pandas as pd

    from gradcheck.reports.tables import Report

WIDTH = 100
ALWAYS_SHOWN = ("agree", "disagree", "uninformative")
NAMES = ("adapter", "dtype", "worst gradient")
"""Columns of text, which begin at the left."""
CASES_SHOWN = 3
CASTS_SHOWN = 4
VISIBLE = 1e-4
"""How far the values on a kink are apart, relative to their size, if they are to be shown."""
REMEDIES = {
    "uninformative": "a smaller --scale, or --bars auto",
    "overflow": "a smaller --scale, or ranges by sampling=…",
    "kink": "ranges by sampling=…, or --kinks to judge there",
    "undefined": "ranges by sampling=… in which the definition is defined",
}
"""What to change where too little was judged, by what it was instead."""
UNPROVED = "nothing was proved"
"""Ends what is said of a line that may be wrong."""
NOT_KNOWN = {
    "stale": "Known, but it occurs no longer, so remove it",
    "other": "Known, but not excused, for it was not proved to be what is listed",
}
"""What to say of an entry of the file of known disagreements that excuses nothing."""


@contextmanager
def progress_bar(task: str = "sweeping") -> Iterator[Callable[[float], None]]:
    """Show on stderr, if it is a terminal, the fraction done that the yielded function is told."""
    console = Plain(stderr=True)
    with (
        tidied(_clear_line),
        Progress(console=console, transient=True, disable=not sys.stderr.isatty()) as bar,
    ):
        shown = bar.add_task(task, total=1.0)
        yield lambda fraction: bar.update(shown, completed=fraction)


def print_report(
    report: Report, files: list[Path], source: str, console: Console | None = None
) -> None:
    """Print a whole report.

    `source` is what the model goes by on the command line, empty if it has no name there;
    `console` is where to print: stdout unless it is given.
    """
    print_verdicts(report, console)
    print_findings(report, files, source, console)


def as_text(report: Report) -> str:
    """Return what is printed of a report, for a file or an interactive session."""
    file = io.StringIO()
    console = Plain(file=file, width=WIDTH, color_system=None, force_jupyter=False)
    print_report(report, [], "", console)
    return file.getvalue().rstrip()


def print_verdicts(report: Report, console: Console | None = None) -> None:
    """Print what was asked for, and how often each verdict was given."""
    request = report.run["request"]
    console = console or Plain(width=WIDTH)
    console.print(
        f"{request['model']}: {request['samples']:,} samples, seed {request['seed']}, "
        f"{request['distribution']}, scale {request['scale']:g}",
    )
    console.print(_verdict_table(report.overview))
    _print_recipe(console, report)
    _print_missing(console, report.run["missing"])


def print_findings(
    report: Report, files: list[Path], source: str, console: Console | None = None
) -> None:
    """Print the worst cases with the means to replay them, who is wrong, and where the rest is."""
    console = console or Plain(width=WIDTH)
    source = "" if report.run["audit"]["recorded"] else source  # it cannot be traced by names
    for message in list(report.run["misstated"].values())[:1]:
        console.print(message, style="red", soft_wrap=True)
        if report.diagnosis.empty:
            console.print("No line can be named: no single value of the definition mends the pass.")
    for message in report.run["expressions"].values():
        console.print(message, style="red", soft_wrap=True)
    _print_errors(console, report.summary)
    _print_nans(console, report)
    _print_shortfalls(console, report.run)
    _print_uninformative(console, report.summary)
    if (report.discrepancies["verdict"].isin(["disagree", "defect"])).any():
        _print_worst_cases(console, report, source)
    _print_search(console, report, source)
    _print_diagnosis(console, report, source)
    _print_contract(console, report)
    _print_known(console, report.run["known"])
    _print_kinks(console, report)
    _print_referee(console, report.run)
    first, *more = conclude(report)
    console.print(first, style=None if report.agrees else "bold")
    for sentence in more:
        console.print(sentence)
    if files:
        _print_replay(console, report, files[0].parent)
        names = ", ".join(path.name for path in files)
        console.print(f"Written to {files[0].parent}: {names}", soft_wrap=True)


def conclude(report: Report) -> list[str]:
    """Say in a sentence or two whether a report agrees, and how much that says, or why not."""
    if not report.agrees:
        return [_failures(report)]
    counts = report.run["counts"]
    said = ("agree", "kink", "disagree", "nan")  # the last two of these are known, if any
    silent = [name for name in LABELS if name not in said and counts[name]]
    otherwise = "else " if counts["known"] else ""
    rest = ", ".join(f"{counts[name]:,} {name}" for name in silent)
    sentences = [
        f"Nothing {otherwise}disagrees: {counts['agree']:,} comparisons agree"
        + (f"; {counts['kink']:,} are within what is right on a kink" if counts["kink"] else "")
        + (f"; nothing can be said of {rest}." if rest else ".")
        + _unaudited(report.run)
    ]
    if sentence := share_sentence(report.run):
        sentences.append(sentence)
    return sentences


def _failures(report: Report) -> str:
    """Say in a sentence why a report does not agree."""
    sentence = "; ".join(find_reasons(report.run))
    some = "" if report.run["counts"]["disagree"] else "No comparison disagrees, but "
    if report.run["counts"]["known"]:
        some = f"Besides {report.run['counts']['known']:,} comparisons that are known: "
    return f"{some}{sentence}."


def print_adapters(rows: list[dict[str, str]]) -> None:
    """Print which adapters there are."""
    table = Table(box=None, pad_edge=False)
    for name in rows[0]:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row.values())
    Plain(width=WIDTH).print(table)


def _clear_line() -> str:
    """Leave the terminal as it was before a progress bar."""
    with suppress(OSError):
        if os.isatty(STDERR):
            os.write(STDERR, b"\r\x1b[2K\x1b[?25h")
    return ""


def verdict_cells(overview: pd.DataFrame) -> dict[str, list[str]]:
    """Write how often each verdict was given, and how far values are apart, column by column."""
    shown = [name for name in LABELS if name in ALWAYS_SHOWN or overview[name].any()]
    counts = {
        name: [
            f"{count:,}" if judged else "–"
            for count, judged in zip(overview[name], overview["judged"], strict=True)
        ]
        for name in shown
    }
    return {
        "adapter": overview["adapter"].tolist(),
        "dtype": overview["dtype"].tolist(),
        **counts,
        "median ulps": [_short(ulps) for ulps in overview["median_ulps"]],
        "worst ulps": [_short(ulps) for ulps in overview["max_ulps"]],
        "worst gradient": overview["worst_gradient"].tolist(),
    }


def fails(overview: pd.DataFrame) -> list[bool]:
    """Tell of which rows something failed."""
    return [bool(row["disagree"] or row["error"] or row["nan"]) for _, row in overview.iterrows()]


def _verdict_table(overview: pd.DataFrame) -> Table:
    cells = verdict_cells(overview)
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    for name in cells:
        folded = name.replace("uninformative", "uninfor-\nmative").replace(" ", "\n")
        table.add_column(folded, justify="left" if name in NAMES else "right")
    for row, failed in zip(zip(*cells.values(), strict=True), fails(overview), strict=True):
        table.add_row(*row, style="red" if failed else None)
    return table


def _short(number: float) -> str:
    return "–" if isnan(number) else f"{number:.3g}"


def _print_recipe(console: Console, report: Report) -> None:
    """Say what an honest evaluation may do, and which bars judged, unless that is as ever."""
    for dtype, recipe in report.run["recipe"].items():
        if dtype not in NARROW_DTYPES and not report.run["request"]["recipe"]:
            continue
        told = recipe_of({name: recipe[name] for name in CHOICES}).told(dtype, recipe["compute"])
        console.print(f"Honest in {told}.")
        if recipe["casts"]:
            more = len(recipe["casts"]) - CASTS_SHOWN
            console.print(
                f"It casts {', '.join(recipe['casts'][:CASTS_SHOWN])}"
                + (f", and {more} more." if more > 0 else ".")
            )
        rows = report.summary[(report.summary["dtype"] == dtype) & (report.summary["bar"] != "")]
        counts = rows.groupby("gradient", sort=False)[["stochastic", "samples"]].sum()
        shares = counts["stochastic"] / counts["samples"]
        if shares.any():
            found = ", ".join(f"{name} {share:.1%}" for name, share in shares.items() if share)
            console.print(f"A stochastic bar judged, of {found}; a proved one the rest.")


def _print_missing(console: Console, missing: Mapping[str, str]) -> None:
    for command in dict.fromkeys(missing.values()):
        names = ", ".join(name for name, needed in missing.items() if needed == command)
        console.print(f"Not installed: {names}; install with: {command}")


def _print_errors(console: Console, summary: pd.DataFrame) -> None:
    failed = summary[summary["error"] > 0]
    for message, rows in failed.groupby("message", sort=False):
        who = ", ".join((rows["adapter"] + " " + rows["dtype"]).unique())
        gradients = ", ".join(rows["gradient"].unique())
        console.print(f"error: {who} ({gradients}): {message}", style="red")


def _print_nans(console: Console, report: Report) -> None:
    """Say who returned what is not a number, and where that came from."""
    nans = report.discrepancies[report.discrepancies["verdict"] == Verdict.NAN.label]
    recorded = report.run["audit"]["recorded"]
    passes = "the recorded pass" if recorded else "the hand-written pass"
    whose = nans["adapter"].where(nans["reference"].notna(), passes)
    for (party, gradient), cases in nans.groupby([whose, nans["gradient"]], sort=False):
        first = cases.iloc[0]
        console.print(
            f"nan: ∂ℓ/∂{gradient}{first['element']} by {party} is not a number at sample "
            f"{first['sample']}, {first['dtype']}. {first['message']}".rstrip(),
            style="red",
        )
    undefined = {dtype: count for dtype, count in report.run["undefined"].items() if count}
    for dtype, count in undefined.items():
        console.print(f"The definition is undefined on {count:,} samples in {dtype}: not judged.")


def _unaudited(run: Mapping[str, Any]) -> str:
    """Say on how many samples a function's own formula was not held against the truth."""
    audit, request = run["audit"], run["request"]
    samples = request["samples"] * len(request["dtypes"])
    if not audit["own"] or audit["samples"] >= samples:
        return ""
    return (
        f" On {samples - audit['samples']:,} of {samples:,} samples they agree with the function's "
        f"own formula, which was held against the truth on the others."
    )


def _print_shortfalls(console: Console, run: Mapping[str, Any]) -> None:
    """Say of which gradients too little was judged, and why."""
    judged = run["judged"]
    if not judged["adapters"]:
        console.print(
            "No adapter is held to the bound: finite differences are tabulated, not judged, and "
            "the hand-written passes cannot confirm themselves; add another, such as complex-step."
        )
    groups: dict[tuple[str, ...], list[str]] = {}
    for short in judged["short"]:
        key = short["dtype"], f"{short['judged']:,} of {short['samples']:,}", short["reason"]
        groups.setdefault(key, []).append(short["gradient"])
    for (dtype, count, reason), gradients in groups.items():
        console.print(
            f"Too little judged: {', '.join(gradients)} in {dtype} on {count} samples, less than "
            f"{judged['least']:.0%}; most are {reason}. Choose other samples ({REMEDIES[reason]}), "
            f"or accept it with --allow-uninformative."
        )


def _print_uninformative(console: Console, summary: pd.DataFrame) -> None:
    """Name the gradients of whose elements most have a bar that leaves no certain bit."""
    mostly = summary[summary["uninformative"] > summary["samples"] / 2]
    for dtype, rows in mostly.groupby("dtype", sort=False):
        share = (rows["uninformative"] / rows["samples"]).max()
        console.print(
            f"More than half of {', '.join(dict.fromkeys(rows['gradient']))} in {dtype} is "
            f"uninformative, up to {share:.0%}: the bars leave no certain bit. Choose samples of "
            f"another scale, or --bars stochastic."
        )


def _print_worst_cases(console: Console, report: Report, source: str) -> None:
    cases = report.discrepancies
    disputed = cases[cases["verdict"].isin(["disagree", "defect"])]
    counts = report.summary.groupby("gradient", sort=False)["disagree"].sum()
    total = ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)
    if total:
        console.print(f"Disagreements by gradient: {total}.", style="bold")
    worst = disputed.sort_values("ulps", ascending=False, kind="stable")
    _print_cases(console, worst.drop_duplicates("sample"), report, source)
    rows = report.run["request"]["rows"]
    if (report.summary["disagree"] > rows).any():
        console.print(f"Tabulated: of each adapter, dtype and gradient the worst {rows}.")


def _print_cases(console: Console, cases: pd.DataFrame, report: Report, source: str) -> None:
    for case in cases.head(CASES_SHOWN).to_dict("records"):
        element = case["element"]
        command = _replay_command(report, case, source) if source else ""
        lines = [
            f"  sample {case['sample']}, {case['dtype']}: ∂ℓ/∂{case['gradient']}{element} is "
            f"{case['reference']:.9g} ± {case['bound']:.1e}, but {case['value']:.9g} by "
            f"{case['adapter']}",
            *([f"    {command}"] if command else []),
        ]
        if case["truth"]:
            lines.insert(1, f"    the truth is {case['truth']}; culprit: {case['culprit']}")
        for line in lines:
            console.print(line, soft_wrap=True)


def _print_replay(console: Console, report: Report, folder: Path) -> None:
    """Say how a sample is evaluated again as it was: the worst one that failed, the first such."""
    tables = [table for table in (report.discrepancies, report.search) if len(table)]
    failed = [table[table["verdict"].isin(FAILING)] for table in tables]
    for table in failed:
        if len(table):
            worst = table.sort_values("ulps", ascending=False, kind="stable").iloc[0]
            command = f"gradcheck replay {quoted(str(folder))} {worst['sample']}"
            console.print(f"Replay it as swept: {command}", soft_wrap=True)
            break


def _print_search(console: Console, report: Report, source: str) -> None:
    """Say what a search found, apart from the random samples."""
    facts = report.run["search"]
    if not facts["samples"]:
        return
    found = report.search[report.search["verdict"].isin(FAILING)]
    by_goal = ", ".join(f"{name} {count}" for name, count in found["goal"].value_counts().items())
    console.print(
        f"Search: {facts['samples']:,} samples more, {facts['new_branches']:,} new combinations of "
        f"branches; "
        + (
            f"{len(found):,} disagreements kept ({by_goal})."
            if len(found)
            else "nothing disagrees."
        ),
        style="bold" if len(found) else None,
    )
    worst = found.sort_values("ulps", ascending=False, kind="stable")
    _print_cases(console, worst.drop_duplicates("sample"), report, source)


def _print_diagnosis(console: Console, report: Report, source: str) -> None:
    dtype, left = report.run["diagnosis"]["dtype"], report.run["diagnosis"]["left"]
    option = "" if dtype == DTYPES[0] else f" --dtypes {dtype}"
    for rank, row in enumerate(report.diagnosis.to_dict("records")):
        suspected = row["explanation"].endswith(UNPROVED)
        headline = "Suspected line" if suspected else "First wrong line"
        console.print("Also wrong" if rank else headline, style="bold", end=": ")
        file = file_name(str(row["file"]))
        lines = [
            f"{file}:{row['line']}: {row['source']}",
            f"  {row['explanation'] or 'nothing simple matches what it holds'}",
            f"  wrong on {row['wrong']} of {row['samples']} samples",
        ]
        if not source:
            pass
        elif row["counterexample"]:
            lines.append("  simplest counterexample:")
            lines.append(f"    gradcheck trace {source}{option} --at {row['counterexample']}")
        elif row["quantity"].startswith("d.") and row["sample"] < report.run["request"]["samples"]:
            lines.append("  clearest counterexample:")
            lines.append(f"    {sample_command(report.run, source, row['sample'], dtype)}")
        for line in lines:
            console.print(line, soft_wrap=True)
    if left:
        console.print(f"Not diagnosed in full: {left}.", soft_wrap=True)


def _print_contract(console: Console, report: Report) -> None:
    """Say in which situations a function was called, and what went wrong there."""
    rows = report.contract
    if rows.empty:
        return
    broken = rows[rows["verdict"].isin(FAILS)]
    judged = (rows["verdict"] == "agree").sum() + len(broken)
    console.print(f"Calling contract: {judged - len(broken)} of {judged} situations agree.")
    for row in rows[(rows["verdict"] == "agree") & (rows["message"] != "")].to_dict("records"):
        console.print(f"  note: {row['situation']}: {row['message']}", soft_wrap=True)
    for row in broken.to_dict("records"):
        line = f"  {row['verdict']}: {row['situation']}: {row['message']}"
        console.print(line, style="red", soft_wrap=True)


def _print_known(console: Console, known: Mapping[str, Any]) -> None:
    """Say of each entry of the file of known disagreements what became of it."""
    for one in known["entries"]:
        where = f"{known['file']}, {one['entry']}"
        if one["state"] == "known":
            count = f"{one['comparisons']:,} comparisons"
            console.print(f"Known ({where}): {count}: {one['reason']}", soft_wrap=True)
        elif one["state"] in NOT_KNOWN:
            line = f"{NOT_KNOWN[one['state']]} ({where}): {one['reason']}"
            console.print(line, style="red", soft_wrap=True)


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
        console.print(line, soft_wrap=True)


def _print_referee(console: Console, run: Mapping[str, Any]) -> None:
    referee, audit = run["referee"], run["audit"]
    for stage, message in run["failed"].items():
        console.print(f"The {stage} failed: {message}", style="red", soft_wrap=True)
    if run["unchecked"]:
        console.print(
            f"Definition and forward pass not compared: {run['unchecked']}", soft_wrap=True
        )
    if referee["unsupported"]:
        console.print(
            f"No referee: Arb cannot follow {referee['unsupported']} in the definition of "
            f"{run['request']['model']}; disagreements are not settled.",
            soft_wrap=True,
        )
    if referee["refereed"]:
        left = f"; {referee['left']} left (--referee-limit)" if referee["left"] else ""
        console.print(f"Refereed: {referee['refereed']} disagreements{left}.")
    for reason, count in referee["reasons"].items():
        console.print(f"In {count} of them nobody was proved wrong: {reason}.")
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
    if audit["unexplained"]:
        console.print(
            f"In a random direction the derivative is not that of the formulas on "
            f"{audit['unexplained']} audited samples, but no gradient was found wrong alone.",
            style="red",
        )
    if sentence := audit_sentence(run):
        console.print(sentence)
    if audit["samples"] and not (audit["proved"] or audit["refuted"]):
        console.print(
            f"Audited: {audit['samples']} samples; none has an undisputed, sharp gradient."
        )


def _replay_command(report: Report, case: Mapping[Hashable, Any], source: str) -> str:
    """Return the command that shows one case in full."""
    columns = list(report.discrepancies.columns)
    leaves = columns[columns.index("truth") + 1 : columns.index("element")]
    point = {name: repr(case[name]) for name in leaves}
    return case_command(report.run, source, case["sample"], case["dtype"], point)
