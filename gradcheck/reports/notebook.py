"""Reports and traces as notebooks show them: HTML that needs nothing else, all text escaped.

Colours are washes over whatever the background is, and every one goes with a word or a mark, so
that they read in light and dark alike.
"""

from __future__ import annotations

import html
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gradcheck.errors import file_name, printable
from gradcheck.reports.run import FAILS
from gradcheck.reports.terminal import NAMES, as_text, conclude, fails, verdict_cells
from gradcheck.reports.trace import MARK, TITLES, explain_marks, trace_cells

if TYPE_CHECKING:
    import pandas as pd

    from gradcheck.reports.tables import Report
    from gradcheck.trace import Trace

ROWS_SHOWN = 10
"""Of the disagreements; the rest is in the frame."""
GREEN, RED, GREY = "rgba(40, 160, 80, 0.2)", "rgba(220, 60, 50, 0.22)", "rgba(128, 128, 128, 0.15)"
WASHES = {"agree": GREEN, "disagree": RED, "error": RED, "nan": RED, "uninformative": GREY}
"""Of counts that are not zero."""
DISPUTED = ("disagree", "defect", "nan", "error")

PROSE = ("what is wrong", "message")
"""Columns that may be folded."""

Cells = Mapping[str, Sequence[str]]
"""The texts of a table, column by column."""
Washes = Collection[tuple[int, str, str]]
"""Row, column and colour."""


def report_as_html(report: Report) -> str:
    """Show the verdict first, then the counts, what disagrees, why, and the whole text folded."""
    request = report.run["request"]
    about = (
        f"{request['model']}: {request['samples']:,} samples, seed {request['seed']}, "
        f"{request['distribution']}, scale {request['scale']:g}"
    )
    parts = [
        _sentence(" ".join(conclude(report)), report.agrees),
        _table(about, verdict_cells(report.overview), _washes(report.overview), NAMES),
        *_disagreements(report.discrepancies),
        *_wrong_lines(report.diagnosis),
        *_contract(report.contract),
        f"<details><summary>As text</summary><pre>{_escaped(as_text(report))}</pre></details>",
    ]
    return _whole(parts)


def trace_as_html(trace: Trace) -> str:
    """Show the verdict first, then both tables."""
    fault = f"Some values are {explain_marks(trace)}."
    parts = [_sentence("Every value is within its bound." if trace.agrees else fault, trace.agrees)]
    for direction, title in TITLES.items():
        cells = trace_cells(trace, direction)
        marked = [
            (row, name, RED)
            for name, column in cells.items()
            for row, text in enumerate(column)
            if name != "quantity" and text.endswith(MARK)
        ]
        parts.append(_table(f"{trace.dtype}, {title}", cells, marked, ("quantity",)))
    return _whole(parts)


def _disagreements(cases: pd.DataFrame) -> Iterator[str]:
    disputed = cases[cases["verdict"].isin(DISPUTED)]
    if disputed.empty:
        return
    worst = disputed.sort_values("ulps", ascending=False, kind="stable").head(ROWS_SHOWN)
    names = ("adapter", "dtype", "gradient", "verdict", "truth", "culprit")
    cells = {
        "sample": [f"{sample}" for sample in worst["sample"]],
        **{name: worst[name].astype(str).tolist() for name in ("adapter", "dtype")},
        "gradient": (worst["gradient"] + worst["element"]).tolist(),
        "verdict": worst["verdict"].tolist(),
        "value": [f"{value:.9g}" for value in worst["value"]],
        "reference": [f"{value:.9g}" for value in worst["reference"]],
        "bound": [f"{value:.1e}" for value in worst["bound"]],
        "ulps": [f"{value:.3g}" for value in worst["ulps"]],
        "truth": worst["truth"].tolist(),
        "culprit": worst["culprit"].tolist(),
    }
    more = len(disputed) - len(worst)
    title = f"Worst disagreements{f', {more:,} more in .discrepancies' if more else ''}"
    yield _table(title, cells, [(row, "verdict", RED) for row in range(len(worst))], names)


def _wrong_lines(diagnosis: pd.DataFrame) -> Iterator[str]:
    if diagnosis.empty:
        return
    rows = diagnosis.to_dict("records")
    cells = {
        "line": [f"{file_name(str(row['file']))}:{row['line']}" for row in rows],
        "source": diagnosis["source"].astype(str).tolist(),
        "what is wrong": [
            str(row["explanation"] or "nothing simple matches what it holds") for row in rows
        ],
        "wrong on": [f"{row['wrong']} of {row['samples']} samples" for row in rows],
    }
    yield _table("Wrong lines", cells, [(0, "line", RED)], cells, code=("source",))


def _contract(contract: pd.DataFrame) -> Iterator[str]:
    """Show the situations in which a function fails; that all others agree is in the text."""
    broken = contract[contract["verdict"].isin(FAILS)] if len(contract) else contract
    if len(broken):
        cells = {str(name): broken[name].astype(str).tolist() for name in broken}
        washes = [(row, "verdict", RED) for row in range(len(broken))]
        yield _table("Calling contract", cells, washes, cells)


def _washes(overview: pd.DataFrame) -> Washes:
    """Colour what was counted, and the names of who failed."""
    counted = [
        (row, name, colour)
        for name, colour in WASHES.items()
        for row, (count, judged) in enumerate(zip(overview[name], overview["judged"], strict=True))
        if count and judged
    ]
    return counted + [(row, "adapter", RED) for row, bad in enumerate(fails(overview)) if bad]


def _sentence(text: str, agrees: bool) -> str:
    colour, mark = (GREEN, "✓") if agrees else (RED, MARK)
    style = f"background: {colour}; padding: 0.4em 0.8em; font-weight: 600"
    return f'<p style="{style}">{mark} {_escaped(text)}</p>'


def _table(
    title: str, cells: Cells, washes: Washes, left: Collection[str], code: Collection[str] = ()
) -> str:
    """Write a table; columns of text begin at the left, numbers end at the right."""
    colours = {(row, name): f"; background: {colour}" for row, name, colour in washes}

    def style(name: str, row: int = -1) -> str:
        align = "left" if name in left else "right"
        wrap = "normal" if name in PROSE else "nowrap"
        colour = colours.get((row, name), "")
        return f'style="text-align: {align}; white-space: {wrap}{colour}"'

    def cell(name: str, row: int, text: str) -> str:
        shown = f"<code>{_escaped(text)}</code>" if name in code else _escaped(text)
        return f"<td {style(name, row)}>{shown}</td>"

    head = "".join(f'<th scope="col" {style(name)}>{_escaped(name)}</th>' for name in cells)
    lines = [
        "".join(cell(name, row, text) for name, text in zip(cells, texts, strict=True))
        for row, texts in enumerate(zip(*cells.values(), strict=True))
    ]
    rows = "".join(f"<tr>{line}</tr>" for line in lines)
    caption = f'<caption style="text-align: left; caption-side: top">{_escaped(title)}</caption>'
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _whole(parts: Sequence[str]) -> str:
    """Put parts together; that a name holds dollars does not make it a formula."""
    inner = "\n".join(parts)
    return f'<div class="tex2jax_ignore mathjax_ignore" style="overflow-x: auto">{inner}</div>'


def _escaped(text: Any) -> str:
    return html.escape(printable(str(text)))
