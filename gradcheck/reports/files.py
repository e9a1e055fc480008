"""A sweep's tables as files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradcheck.reports.folder import FACTS, OutputFolder
from gradcheck.reports.sheets import as_csv

if TYPE_CHECKING:
    from gradcheck.reports.tables import Report

DIGITS = "%.6g"
"""Of points, of which one sees three."""


def contents_of(report: Report) -> dict[str, str]:
    """Return what to write: tables, those for pictures among them, and `run.json`.

    Of a function of PyTorch or JAX `contract.csv` as well, and `search.csv` if there was a search.
    """
    contract = {"contract.csv": as_csv(report.contract)}
    search = {"search.csv": as_csv(report.search)}
    return {
        "summary.csv": as_csv(report.summary),
        "discrepancies.csv": as_csv(report.discrepancies),
        "diagnosis.csv": as_csv(report.diagnosis),
        **(contract if len(report.contract) else {}),
        **(search if report.run["search"]["samples"] else {}),
        "histogram.csv": as_csv(report.histogram),
        "points.csv": as_csv(report.points, DIGITS),
        **({"quantities.csv": as_csv(report.quantities)} if len(report.quantities) else {}),
        FACTS: as_json(report.run),
    }


def as_json(facts: Mapping[str, Any]) -> str:
    """Write the facts of a run."""
    return json.dumps(facts, indent=2) + "\n"


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write the files of a report into a folder, in the place of an earlier one's."""
    with OutputFolder(folder) as output:
        return output.write(contents_of(report))


def write_files(contents: Mapping[Path, str | bytes]) -> list[Path]:
    """Write each file beside its target first; rename only when all have been written."""
    temporary = {path: path.with_name(f".{path.name}.{os.getpid()}") for path in contents}
    try:
        for path, content in contents.items():
            if isinstance(content, str):
                content = content.encode(errors="backslashreplace")
            temporary[path].write_bytes(content)
        for path in contents:
            temporary[path].replace(path)
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)
    return list(contents)
