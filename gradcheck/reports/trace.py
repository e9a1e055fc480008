"""The tables of a trace, for people."""

import pandas as pd
from rich.table import Table

from gradcheck.reports.terminal import console_of
from gradcheck.trace import Trace

WIDTH = 400
"""A trace has as many columns as there are adapters, and is not folded."""


def print_trace(trace: Trace, model: str, dtype: str) -> None:
    """Print both tables, as wide as they are."""
    console = console_of(WIDTH)
    for title, table in (("forward", trace.forward), ("backward: ∂ℓ/∂…", trace.backward)):
        console.print(_number_table(f"{model}, {dtype}, {title}", trace, table))
    if not trace.agrees:
        console.print("✗ beyond the bound")


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
