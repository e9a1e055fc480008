"""Tables as text that a spreadsheet may open: no cell of somebody else's text is a formula.

A spreadsheet evaluates a cell that begins with =, +, - or @. Text that does, and is no number, gets
an apostrophe in front, as does text that looks as if it already had one; reading takes it off.
"""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

EVALUATED = re.compile(r"'*[=+\-@\t\r]")
"""How a cell begins that has to be, or is, quoted."""


def quoted(cell: Any) -> Any:
    """Return a cell that is shown as it is; numbers, and text that is one, remain."""
    if not isinstance(cell, str) or not EVALUATED.match(cell) or _is_number(cell):
        return cell
    return f"'{cell}"


def unquoted(cell: str) -> str:
    """Return the text that was quoted."""
    return cell[1:] if cell.startswith("'") and EVALUATED.match(cell) else cell


def as_csv(table: pd.DataFrame, float_format: str | None = None) -> str:
    """Write a table."""
    texts = table.select_dtypes(exclude="number").columns
    safe = table.assign(**{name: table[name].map(quoted) for name in texts})
    safe.columns = [quoted(name) for name in safe.columns]
    return str(safe.to_csv(index=False, float_format=float_format))


def read_csv(text: str) -> list[dict[str, str]]:
    """Read a table, each row by the names of its columns."""
    csv.field_size_limit(2**30)
    return [
        {unquoted(name or ""): unquoted(cell or "") for name, cell in row.items()}
        for row in csv.DictReader(io.StringIO(text, newline=""))
    ]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
