"""The files of a folder of results, as a page needs them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradcheck.errors import RequestError
from gradcheck.reports.folder import FACTS, TABLES
from gradcheck.reports.sheets import read_csv

Row = Mapping[str, str]
NEEDED = ("summary.csv", "discrepancies.csv", "diagnosis.csv", FACTS)
"""What every sweep has written, however old."""
COLUMNS = {
    "summary.csv": ("adapter", "dtype", "gradient", "samples", "agree", "disagree"),
    "discrepancies.csv": ("sample", "adapter", "dtype", "gradient", "truth", "element"),
}
"""Those that tables have at least."""


@dataclass(frozen=True)
class Results:
    """What a sweep found, as its files say.

    Parameters
    ----------
    run
        What `run.json` holds.
    tables
        The rows of each file of `TABLES` that there is, by its name.
    leaves
        The names of a sample's numbers, if `discrepancies.csv` has them.
    folder
        What the folder is called in a command.
    """

    run: Mapping[str, Any]
    tables: Mapping[str, list[Row]]
    leaves: tuple[str, ...]
    folder: str

    def rows(self, name: str) -> list[Row]:
        """Return the rows of a table; none if there is no such file."""
        return self.tables.get(name, [])


def read_files(folder: Path) -> dict[str, str]:
    """Read the files of which a page is made.

    Raises
    ------
    RequestError
        If the folder is none of a sweep's.
    """
    if not folder.is_dir():
        raise RequestError("folder", f"there is no folder {folder}; name one that a sweep wrote")
    contents = {}
    for name in (*TABLES, FACTS):
        path = folder / name
        if path.is_file():
            try:
                contents[name] = path.read_text(encoding="utf-8")
            except (OSError, ValueError) as error:
                raise RequestError("folder", f"{path} cannot be read ({error})") from error
    if missing := [name for name in NEEDED if name not in contents]:
        raise RequestError(
            "folder", f"{folder} has no {' and no '.join(missing)}; name one that a sweep wrote"
        )
    return contents


def parsed(contents: Mapping[str, str], folder: str) -> Results:
    """Make results of the files' texts.

    Raises
    ------
    ValueError
        If `run.json` is no JSON object, or a table lacks what it is of.
    """
    run = json.loads(contents[FACTS])
    if not isinstance(run, dict):
        raise ValueError(f"{FACTS} holds no object")
    for name, wanted in COLUMNS.items():
        header = next(iter(contents[name].splitlines()), "").split(",")
        if missing := [column for column in wanted if column not in header]:
            raise ValueError(f"{name} has no column {missing[0]!r}")
    tables: dict[str, list[Row]] = {
        name: [*read_csv(contents[name])] for name in TABLES if name in contents
    }
    header = next(iter(contents["discrepancies.csv"].splitlines()), "").split(",")
    found = tables["discrepancies.csv"]
    columns = list(found[0]) if found else header
    between = slice(columns.index("truth") + 1, columns.index("element"))
    return Results(run, tables, tuple(columns[between]), folder)
