"""A sweep's tables as files, written so that an interruption leaves the last good ones."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from gradcheck.errors import RequestError
from gradcheck.reports.tables import Report

FILES = ("summary.csv", "discrepancies.csv", "diagnosis.csv", "run.json")


def check_folder(folder: Path) -> None:
    """Find out before any work whether results can be written.

    Raises
    ------
    RequestError
        If the path is a file, lies below one, or cannot be written.
    """
    existing = folder
    try:
        for name in FILES:
            if (folder / name).is_dir():
                raise RequestError("output", f"{folder / name} is a folder; name another folder")
        while not (existing.exists() or existing.is_symlink()):
            existing = existing.parent
        if not existing.is_dir():
            raise RequestError("output", f"{existing} is a file; name a folder")
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise RequestError(
            "output", f"{existing} cannot be written ({error.strerror}); name another folder"
        ) from error


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write `summary.csv`, `discrepancies.csv`, `diagnosis.csv` and `run.json`.

    Of a function of PyTorch or JAX `contract.csv` as well, and `search.csv` if there was a search.
    """
    folder.mkdir(parents=True, exist_ok=True)
    search = {folder / "search.csv": report.search.to_csv(index=False)}
    contract = {folder / "contract.csv": report.contract.to_csv(index=False)}
    return write_files(
        {
            folder / "summary.csv": report.summary.to_csv(index=False),
            folder / "discrepancies.csv": report.discrepancies.to_csv(index=False),
            folder / "diagnosis.csv": report.diagnosis.to_csv(index=False),
            **(contract if len(report.contract) else {}),
            **(search if report.run["search"]["samples"] else {}),
            folder / "run.json": json.dumps(report.run, indent=2) + "\n",
        }
    )


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
