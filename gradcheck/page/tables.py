"""Tables and cases of a page: what of the files is shown, and how much."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gradcheck.page.reading import Results, Row
from gradcheck.page.words import LONGEST_CELL, clipped, count, number
from gradcheck.reports.replaying import case_command, sample_command
from gradcheck.reports.searched import FAILING
from gradcheck.reports.terminal import UNPROVED

CASES = 6
"""Disagreements told in sentences, one of each gradient and dtype."""
TEXTS = frozenset(
    {
        "adapter",
        "dtype",
        "gradient",
        "verdict",
        "culprit",
        "worst element",
        "element",
        "bar",
        "goal",
    }
    | {"situation", "message", "file", "source", "explanation", "quantity", "pass", "direction"}
    | {"worst party", "truth", "origins"}
)
"""Columns of words, at the left edge of their cells."""
LONG = frozenset({"message", "explanation", "situation", "origins"})
"""Columns whose cells may take several lines."""
WHOLE = frozenset({"sample", "worst sample", "line"})
"""Columns of numbers that are names: no digit is left out."""
SUMMARY = (
    "adapter", "dtype", "gradient", "agree", "disagree", "uninformative", "overflow", "kink",
    "error", "nan", "median_ulps", "p99_ulps", "max_ulps", "max_bound_ratio", "worst_sample",
    "disagree_share_below", "bar", "message",
)  # fmt: skip
DISCREPANCIES = (
    "sample", "adapter", "dtype", "gradient", "element", "verdict", "value", "reference", "bound",
    "ulps", "culprit", "truth", "message",
)  # fmt: skip
QUANTITIES = (
    "dtype", "direction", "quantity", "element", "value", "bar", "truth", "worst_ratio",
    "worst_party", "worst_sample", "origins",
)  # fmt: skip
ALWAYS = frozenset({"agree", "disagree", "uninformative", "value", "reference", "bound"})
"""Columns that are shown even if they are empty, or all zero."""


@dataclass(frozen=True)
class Cell:
    """A cell's text and how it is set: `text`, `long` or as a number."""

    text: str
    kind: str


@dataclass(frozen=True)
class Line:
    """A row, and whether it is set off."""

    cells: list[Cell]
    wrong: bool


@dataclass(frozen=True)
class Sheet:
    """A table of the page; `left` says which rows are not shown."""

    id: str
    title: str
    caption: str
    columns: list[dict[str, Any]]
    rows: list[Line]
    left: str


def sheets_of(results: Results, most: int) -> list[Sheet]:
    """Return the tables, each of at most so many rows, the worst ones."""
    found = [
        _sheet(
            "summary", "Summary", "One row per adapter, dtype and gradient.",
            results.rows("summary.csv"), SUMMARY, most, _badness,
        ),
        _sheet(
            "discrepancies", "Discrepancies", "Disagreements, and each gradient's worst agreement.",
            results.rows("discrepancies.csv"), DISCREPANCIES, min(most, 200), _case_badness,
        ),
    ]  # fmt: skip
    if rows := results.rows("quantities.csv"):
        caption = f"The trace and its adjoints on sample {rows[0]['sample']}, the worst one."
        if len({row["sample"] for row in rows}) > 1:
            caption = "The trace and its adjoints on the worst sample of each dtype."
        found.append(
            _sheet("quantities", "Quantities", caption, rows, QUANTITIES, most, lambda row: 0)
        )
    if rows := results.rows("contract.csv"):
        columns: tuple[str, ...] = ("situation", "verdict", "message")
        caption = "The function, called in every situation that its callers may bring about."
        found.append(
            _sheet("contract", "Calling contract", caption, rows, columns, most, lambda row: 0)
        )
    if rows := results.rows("search.csv"):
        caption = "What the search found, beside the random samples."
        columns = ("goal", *DISCREPANCIES)
        found.append(_sheet("search", "Search", caption, rows, columns, most, _case_badness))
    return found


def _sheet(
    name: str,
    title: str,
    caption: str,
    rows: Sequence[Row],
    wanted: Iterable[str],
    most: int,
    badness: Callable[[Row], Any],
) -> Sheet:
    order = sorted(range(len(rows)), key=lambda place: badness(rows[place]))[:most]
    shown = [rows[place] for place in sorted(order)]
    columns = [
        column
        for column in wanted
        if column in ALWAYS or any(row.get(column) not in (None, "", "0") for row in shown)
    ]
    left = (
        f"The {len(shown):,} worst of {count(len(rows), 'row')} are shown; {name}.csv has all."
        if len(shown) < len(rows)
        else ""
    )
    names = [column.replace("_", " ") for column in columns]
    return Sheet(
        name,
        title,
        caption,
        [{"name": each, "text": each in TEXTS} for each in names],
        [
            Line([_cell(*pair) for pair in zip(names, map(row.get, columns), strict=True)], wrong)
            for row in shown
            for wrong in [_is_wrong(row)]
        ],
        left,
    )  # fmt: skip


def _cell(column: str, text: str | None) -> Cell:
    text = text or ""
    if column in LONG:
        return Cell(clipped(text, LONGEST_CELL), "long")
    if column in TEXTS:
        return Cell(clipped(text, 60), "text")
    if column in WHOLE:
        return Cell(clipped(text, 40), "")
    if text.isdecimal():
        return Cell(f"{int(text):,}" if len(text) < 20 else clipped(text, 40), "")
    return Cell(number(text, 5), "")


def _count(row: Row, name: str) -> int:
    return int(row.get(name) or 0)


def _is_wrong(row: Row) -> bool:
    if row.get("verdict"):
        return row["verdict"] in FAILING
    return any(_count(row, name) for name in ("disagree", "error", "nan", "defect"))


def _badness(row: Row) -> tuple[float, ...]:
    failures = sum(_count(row, name) for name in ("error", "nan", "disagree", "defect"))
    return (-failures, -float(row["max_bound_ratio"] or -1))


def _case_badness(row: Row) -> tuple[bool, float]:
    return (row["verdict"] not in FAILING, -float(row["ulps"] or "inf"))


def findings_of(results: Results) -> list[dict[str, Any]]:
    """Tell the wrong lines."""
    run, source = results.run, _source(results)
    dtype = run["diagnosis"]["dtype"]
    option = "" if dtype == "float64" else f" --dtypes {dtype}"
    told = []
    for place, row in enumerate(results.rows("diagnosis.csv")[:5]):
        first = "Suspected line" if row["explanation"].endswith(UNPROVED) else "First wrong line"
        command = ""
        if source and row["counterexample"]:
            command = f"gradcheck trace {source}{option} --at {row['counterexample']}"
        elif source and row["quantity"].startswith("d.") and _is_drawn(run, row["sample"]):
            command = sample_command(run, source, int(row["sample"]), dtype)
        told.append(
            {
                "title": "Also wrong" if place else first,
                "place": f"{clipped(row['file'], 80)}:{row['line']}",
                "source": clipped(row["source"], 300),
                "explanation": clipped(row["explanation"], 600)
                or "Nothing simple matches what it holds.",
                "wrong": row["wrong"],
                "samples": row["samples"],
                "command": clipped(command, 1000),
            }
        )
    return told


def _is_drawn(run: Mapping[str, Any], sample: str) -> bool:
    """Tell whether a sample is one of the random ones, not a search's."""
    return int(sample) < int(run["request"]["samples"])


def cases_of(results: Results) -> tuple[list[dict[str, Any]], str]:
    """Tell the worst disagreements, one of each gradient and dtype, and how many there are more."""
    failing = [row for row in results.rows("discrepancies.csv") if row["verdict"] in FAILING]
    kinds: dict[tuple[str, str], Row] = {}
    for row in sorted(failing, key=_case_badness):
        kinds.setdefault((row["gradient"], row["dtype"]), row)
    shown = list(kinds.values())[:CASES]
    counts = results.run["counts"]
    total = sum(counts[name] for name in ("disagree", "nan", "error", "defect"))
    left = (
        f"{total:,} comparisons in all; {count(len(failing), 'of them is', 'of them are')} in "
        f"discrepancies.csv, the others counted in summary.csv."
        if total > len(shown)
        else ""
    )
    return [_case(results, row) for row in shown], left


def _case(results: Results, row: Row) -> dict[str, Any]:
    source, sample = _source(results), int(row["sample"])
    point = {name: row[name] for name in results.leaves}
    commands = [f"gradcheck replay {results.folder} {sample}"]
    if source:
        commands.append(case_command(results.run, source, sample, row["dtype"], point))
    return {
        "gradient": clipped(row["gradient"] + row["element"], 80),
        "adapter": clipped(row["adapter"], 60),
        "dtype": row["dtype"],
        "sample": sample,
        "reference": number(row["reference"], 9) or "not a number",
        "bound": number(row["bound"], 2) or "nothing",
        "value": number(row["value"], 9) or "not a number",
        "ulps": number(row["ulps"], 3) or "unknown",
        "truth": clipped(row["truth"], 80),
        "culprit": clipped(row["culprit"], 60),
        "message": clipped(row["message"], 400),
        "commands": [clipped(command, 1000) for command in commands if command],
    }


def _source(results: Results) -> str:
    """Name the model as on the command line; empty where it cannot be traced by names."""
    recorded = results.run["audit"]["recorded"]
    return "" if recorded else str(results.run.get("named", ""))


def again_of(results: Results) -> list[str]:
    """Return the commands that do the sweep, and this page, again."""
    request, source = results.run["request"], str(results.run.get("named", ""))
    from gradcheck.harness.request import Request

    options = []
    for name, given in request.items():
        if name in ("model", "adapters", "search") or given == getattr(Request, name, None):
            continue
        option = name.replace("_", "-")
        if isinstance(given, list):
            if tuple(given) != getattr(Request, name):
                options.append(f"--{option} {','.join(map(str, given))}")
        elif given is True:
            options.append(f"--{option}")
        else:
            options.append(f"--{option} {given}")
    if request["search"]:
        bred = request["search"]
        options.append("--search" if bred is True else f"--search-samples {bred}")
    options.append(f"--adapters {','.join(request['adapters'])}")
    sweep = f"gradcheck sweep {source or request['model']} {' '.join(options)}"
    return [clipped(sweep, 1500), f"gradcheck report {results.folder}"]
