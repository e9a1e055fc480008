"""The tables of a trace, folded to the width of the terminal."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from gradcheck.reports.plain import Plain
from gradcheck.reports.terminal import WIDTH
from gradcheck.trace import Trace

TITLES = {"forward": "forward", "backward": "backward: ∂ℓ/∂…"}
MARK = "✗"
GAP = 2
"""Columns between columns."""


def print_trace(
    trace: Trace, model: str = "", width: int | None = None, console: Console | None = None
) -> None:
    """Print both tables, each in as many blocks of columns as its adapters need.

    Parameters
    ----------
    width
        In columns: that of the terminal, or of a report where there is none, unless it is given.
    console
        Where to print: stdout unless it is given.
    """
    if width is None:
        width = shutil.get_terminal_size((WIDTH, 24)).columns if sys.stdout.isatty() else WIDTH
    console = console or Plain(width=width)
    whose = f"{model}, {trace.dtype}" if model else trace.dtype
    for direction, title in TITLES.items():
        cells = trace_cells(trace, direction)
        for part, names in enumerate(_blocks(cells, width)):
            more = ", continued" if part else ""
            table = Table(
                title=f"{whose}, {title}{more}",
                title_justify="left",
                box=None,
                pad_edge=False,
            )
            for name in names:
                left = name == "quantity"
                table.add_column(name, justify="left" if left else "right", overflow="fold")
            for row in zip(*(cells[name] for name in names), strict=True):
                table.add_row(*row)
            console.print(table)
    if not trace.agrees:
        console.print(f"{MARK} {explain_marks(trace)}")


def trace_as_text(trace: Trace) -> str:
    """Return what is printed of a trace, for a file or an interactive session."""
    file = io.StringIO()
    console = Plain(file=file, width=WIDTH, color_system=None, force_jupyter=False)
    print_trace(trace, width=WIDTH, console=console)
    return file.getvalue().rstrip()


def explain_marks(trace: Trace) -> str:
    """Say what is wrong with marked numbers."""
    lost = any(trace.lost(direction).any() for direction in TITLES)
    return f"beyond the bound{', or NaN where the truth is known' if lost else ''}"


def trace_cells(trace: Trace, direction: str) -> dict[str, list[str]]:
    """Write every column that has something to say."""
    table, silent = trace.tables[direction], trace.silent[direction]
    cells = {
        "quantity": table["quantity"].tolist(),
        "reference": _numbers(table["reference"], ".9g", trace.lost(direction)),
        "bound": ["–" if np.isnan(bound) else f"{bound:.1e}" for bound in table["bound"]],
        "truth": table["truth"].tolist(),
    }
    for name in map(str, silent):
        if not silent[name].all():
            numbers = _numbers(table[name], ".6g", trace.beyond(direction, name))
            nothing = zip(numbers, silent[name], strict=True)
            cells[name] = ["" if is_silent else number for number, is_silent in nothing]
    return cells


def _numbers(column: pd.Series[float], form: str, marked: NDArray[np.bool_]) -> list[str]:
    cells = zip(column, marked, strict=True)
    return [f"{number:{form}}{f' {MARK}' if wrong else ''}" for number, wrong in cells]


def _blocks(cells: Mapping[str, list[str]], width: int) -> Iterator[list[str]]:
    """Divide the columns into blocks that fit; each starts with the quantity."""
    sizes = {name: max(map(len, (name, *column))) for name, column in cells.items()}
    block = list(cells)[:4]
    for name in list(cells)[4:]:
        if sum(sizes[other] + GAP for other in block) + sizes[name] > width and len(block) > 1:
            yield block
            block = ["quantity"]
        block.append(name)
    yield block
