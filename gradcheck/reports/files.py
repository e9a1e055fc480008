"""A sweep's tables as files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gradcheck.reports.folder import FACTS, OutputFolder

if TYPE_CHECKING:
    from gradcheck.reports.tables import Report


def contents_of(report: Report) -> dict[str, str]:
    """Return what to write: `summary.csv`, `discrepancies.csv`, `diagnosis.csv` and `run.json`.

    Of a function of PyTorch or JAX `contract.csv` as well, and `search.csv` if there was a search.
    """
    contract = {"contract.csv": report.contract.to_csv(index=False)}
    search = {"search.csv": report.search.to_csv(index=False)}
    return {
        "summary.csv": report.summary.to_csv(index=False),
        "discrepancies.csv": report.discrepancies.to_csv(index=False),
        "diagnosis.csv": report.diagnosis.to_csv(index=False),
        **(contract if len(report.contract) else {}),
        **(search if report.run["search"]["samples"] else {}),
        FACTS: json.dumps(report.run, indent=2) + "\n",
    }


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write the files of a report into a folder, in the place of an earlier one's."""
    with OutputFolder(folder) as output:
        return output.write(contents_of(report))


def write_files(contents: Mapping[Path, str | bytes]) -> list[Path]:
    """Write each file beside its target first; rename only when all have been written."""
    temporary = {path: path.with_name(f".{path.name}.{os.getpid()}") for path in contents}
    try:
        for path, content in contents.items():
            temporary[path].write_bytes(content.encode() if isinstance(content, str) else content)
        for path in contents:
            temporary[path].replace(path)
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)
    return list(contents)
