"""A folder of results, read back: every number as it was written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradcheck.errors import RequestError, one_line
from gradcheck.reports.folder import FACTS

if TYPE_CHECKING:
    import pandas as pd

SUMMARY = "summary.csv"
KEY = ("adapter", "dtype", "gradient")
COUNTS = (
    "samples", "agree", "disagree", "uninformative", "overflow", "kink", "error", "nan", "defect",
    "judged_samples", "disagreeing_samples",
)  # fmt: skip
KNOWN = "known"
"""A count that folders written earlier do not have, and then is zero."""
CASE_COLUMNS = (
    "sample",
    *KEY,
    "verdict",
    "value",
    "reference",
    "bound",
    "culprit",
    "truth",
    "element",
)
FACTS_NEEDED = ("request", "counts", "judged", "audit", "versions", "machine", "contract", "search")
SETTINGS_NEEDED = ("model", "samples", "seed", "scale", "distribution", "kinks", "bars", "ulps")
OLDER = "written by another version; sweep again"


@dataclass(frozen=True)
class Row:
    """One row of `summary.csv`, as far as it is compared.

    `counts` are by column, `judged` tells whether the adapter is held to the bound, `ratio` is the
    largest distance over its bound, NaN if there is none.
    """

    counts: Mapping[str, int]
    judged: bool
    ratio: float

    def unaccepted(self, verdict: str) -> int:
        """Return how often a verdict was given that is not excused as known."""
        known = self.counts[KNOWN]
        both = self.counts["disagree"] + self.counts["nan"]
        excused = verdict in ("disagree", "nan") and known in (both, self.counts[verdict])
        return 0 if excused else self.counts[verdict]


@dataclass(frozen=True)
class Results:
    """What a sweep wrote into a folder, read when it is asked for.

    Parameters
    ----------
    folder
        Where it lies.
    field
        The argument that names it, for messages.

    Raises
    ------
    RequestError
        On asking, if a file is missing, is damaged or lacks what is needed.
    """

    folder: Path
    field: str

    @cached_property
    def run(self) -> Mapping[str, Any]:
        """What `run.json` holds."""
        path, text = self.folder / FACTS, self._text(FACTS)
        try:
            run = json.loads(text)
        except ValueError as error:
            raise self.damaged(FACTS, str(error)) from error
        if not isinstance(run, dict) or not isinstance(run.get("request"), dict):
            raise self.damaged(FACTS, "it holds no request")
        self._need(path, FACTS_NEEDED, run)
        self._need(path, SETTINGS_NEEDED, run["request"])
        return run

    @cached_property
    def rows(self) -> dict[tuple[str, str, str], Row]:
        """The rows of `summary.csv`, by adapter, dtype and gradient."""
        table = self.table(SUMMARY, (*KEY, *COUNTS, "bar", "max_bound_ratio"))
        rows = {}
        for row in table.to_dict("records"):
            key = (row["adapter"], row["dtype"], row["gradient"])
            try:
                counts = {name: int(row[name]) for name in COUNTS} | {KNOWN: int(row.get(KNOWN, 0))}
                ratio = float(row["max_bound_ratio"] or "nan")
            except (TypeError, ValueError) as error:
                raise self.damaged(SUMMARY, f"{', '.join(map(str, key))}: {error}") from error
            if min(counts.values()) < 0 or counts["disagreeing_samples"] > counts["judged_samples"]:
                raise self.damaged(SUMMARY, f"the counts of {', '.join(key)} do not fit together")
            if key in rows:
                raise self.damaged(SUMMARY, f"two rows of {', '.join(key)}")
            rows[key] = Row(counts, row["bar"] != "", ratio)
        if not rows:
            raise self.damaged(SUMMARY, "it has no rows")
        return rows

    def cases(self, name: str) -> pd.DataFrame:
        """Read the rows of `discrepancies.csv`, or of a table like it, as text."""
        return self.table(name, CASE_COLUMNS)

    def table(self, name: str, columns: Iterable[str]) -> pd.DataFrame:
        """Read a table that has at least these columns, every cell as text."""
        import pandas as pd

        self._text(name)
        try:
            table = pd.read_csv(self.folder / name, dtype=str, keep_default_na=False)
        except ValueError as error:  # of the parser, of an empty file, of what is no UTF-8
            raise self.damaged(name, str(error)) from error
        self._need(self.folder / name, columns, table.columns)
        if table.isna().any(axis=None):
            raise self.damaged(name, "a row is cut short")
        return table

    def _text(self, name: str) -> str:
        path = self.folder / name
        if not self.folder.is_dir():
            raise RequestError(self.field, f"there is no folder {self.folder}")
        try:
            return path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise RequestError(
                self.field, f"{self.folder} holds no {name}; name a folder that a sweep wrote"
            ) from None
        except OSError as error:
            raise RequestError(self.field, f"{path} cannot be read ({error.strerror})") from error
        except UnicodeDecodeError as error:
            raise self.damaged(name, str(error)) from error

    def _need(self, path: Path, names: Iterable[str], found: Iterable[str]) -> None:
        held = set(found)
        for name in names:
            if name not in held:
                raise RequestError(self.field, f"{path} has no {name!r}: {OLDER}")

    def damaged(self, name: str, why: str) -> RequestError:
        """Return what to raise of a file that is not as a sweep wrote it."""
        return RequestError(self.field, f"{self.folder / name} is damaged: {one_line(why)}")
