"""A folder of results, which change as one: it never holds files of two runs.

The new files are written into a folder of their own beside the old one, and the two folders are
exchanged in one step. What else the old one held is then carried over; a run that is killed before
it has done so leaves it beside, in a hidden folder that the next run finds.

Where folders cannot be exchanged (a mount point, the working folder, another system than Linux, a
parent that may not be written to) the old files are removed before the new ones, which were written
whole, are put in their place, `run.json` last. A run that is killed in between leaves files of one
run still, but perhaps not all of them, and then no `run.json`.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from gradcheck.errors import FULL, RequestError, UnfinishedError, one_line
from gradcheck.reports.exchange import LockedError, exchange, flush, is_at, lock
from gradcheck.signals import tidied, undisturbed

FACTS = "run.json"
PAGE = "report.html"
FIGURES = ("graph.svg", "heat.svg", "errors.svg", "ulps.svg")
TABLES = (
    "summary.csv", "discrepancies.csv", "diagnosis.csv", "contract.csv", "search.csv",
    "histogram.csv", "points.csv", "quantities.csv",
)  # fmt: skip
FILES = (*TABLES, PAGE, *FIGURES, FACTS)
"""All that a run may write. What else lies in the folder is somebody's own, and stays."""
INCOMING = "incoming-"
NOT_HERE = (
    errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EXDEV, errno.EBUSY, errno.EPERM,
    errno.EACCES, errno.EROFS, errno.ENAMETOOLONG, errno.ENOTEMPTY,
)  # fmt: skip
"""Why two folders may not be exchanged, though files may be written."""

UNTOUCHED = "earlier results are untouched"
WRITTEN = "the results are written"
INCOMPLETE = f"the results are incomplete, without {FACTS}; run it again"


class OutputFolder:
    """Where a run writes; nobody else does while this is entered.

    Parameters
    ----------
    path
        Of the folder, which is made unless it exists, and removed again if nothing was written.

    Raises
    ------
    RequestError
        On entering: if the path is a file, lies below one or cannot be written, or another run is
        writing there.
    UnfinishedError
        On entering or writing: if the disk is full, or the like.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.aftermath = UNTOUCHED
        self._stack = ExitStack()
        self._descriptor = -1
        self._made: list[Path] = []
        self._fresh: Path | None = None

    def __enter__(self) -> Self:
        self._stack.enter_context(tidied(self._tidy))
        self._stack.callback(self._tidy)
        try:
            self._real = Path(os.path.realpath(self.path))  # a model's file may change the folder
            self._hold(self.path)
            with tempfile.TemporaryFile(dir=self._real):
                pass
        except BaseException as error:
            self._stack.close()
            if isinstance(error, OSError | ValueError) and not isinstance(error, RequestError):
                raise self._refusal(error) from error
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()
        if error is not None:
            error.add_note(self.aftermath)

    @property
    def checkpoint(self) -> Path:
        """Where to keep what a run needs that goes on later; it is carried over like any other."""
        return self._real / ".checkpoint"

    def write(self, contents: Mapping[str, str | bytes]) -> list[Path]:
        """Put these files in the place of all that an earlier run wrote, by their names.

        Raises
        ------
        UnfinishedError
            If that cannot be done; what the folder then holds is told as well.
        """
        if unknown := set(contents) - set(FILES):
            raise ValueError(f"a run writes {', '.join(FILES)}, not {', '.join(unknown)}")
        try:
            if not is_at(self._descriptor, self._real):
                print(
                    f"gradcheck: {one_line(str(self.path))} was removed meanwhile; it is made anew",
                    file=sys.stderr,
                )
                self._hold(self._real)
            if not self._exchanged(contents):
                self._replace(contents)
        except (OSError, RequestError) as error:
            why = getattr(error, "strerror", None) or error
            raise UnfinishedError(f"{self.path} cannot be written ({why})") from error
        self._made.clear()
        return [self.path / name for name in contents]

    def _refusal(self, error: OSError | ValueError) -> RequestError | UnfinishedError:
        """Say what stands in the way, and whether another path would do."""
        code, why = getattr(error, "errno", None), getattr(error, "strerror", None) or error
        if code in FULL:
            refusal = UnfinishedError(f"{self.path} cannot be written ({why})")
            refusal.add_note(UNTOUCHED)
            return refusal
        lowest = next(filter(_exists, (self.path, *self.path.parents)), self.path)
        shown = self.path if code == errno.ENAMETOOLONG else lowest
        return RequestError("output", f"{shown} cannot be written ({why}); name another folder")

    def _hold(self, path: Path) -> None:
        """Make the folder and lock it; bring home what a killed run left beside it."""
        _refuse_files(path)
        for folder in reversed((self._real, *self._real.parents)):
            if not folder.exists():
                folder.mkdir(exist_ok=True)
                self._made.append(folder)
        try:
            self._take(lock(self._real))
        except LockedError:
            raise RequestError(
                "output", f"another sweep is writing to {self.path}; name another folder, or wait"
            ) from None
        for left in (*_left_in(self._real, f".{INCOMING}"), *_left_beside(self._real)):
            _carry(left, self._real)
            _discard(left)

    def _take(self, descriptor: int) -> None:
        """Hold this lock and no other."""
        if self._descriptor != -1:
            os.close(self._descriptor)
        self._descriptor = descriptor

    def _exchanged(self, contents: Mapping[str, str | bytes]) -> bool:
        """Exchange the folder for a fresh one, unless that cannot be done here."""
        real = self._real
        if os.path.ismount(real) or _working_folder() == real:
            return False
        try:
            self._fresh = fresh = Path(tempfile.mkdtemp("", _prefix(real), real.parent))
            _make_alike(real, fresh)
        except OSError as error:
            if error.errno in NOT_HERE:
                return self._tidy_fresh()
            raise
        _fill(fresh, contents)
        descriptor = lock(fresh)
        try:
            with undisturbed():
                exchange(fresh, real)
                try:
                    _carry(fresh, real)
                except OSError:
                    exchange(fresh, real)
                    _carry(fresh, real)
                    raise
                self.aftermath = WRITTEN
        except OSError as error:
            if descriptor != -1:
                os.close(descriptor)
            if error.errno in NOT_HERE:
                return self._tidy_fresh()
            raise
        self._take(descriptor)
        self._tidy_fresh()
        flush(real.parent)
        return True

    def _replace(self, contents: Mapping[str, str | bytes]) -> None:
        """Remove the old files, and only then put the new ones in their place."""
        self._fresh = fresh = Path(tempfile.mkdtemp("", f".{INCOMING}", self._real))
        _fill(fresh, contents)
        with undisturbed():
            for name in (FACTS, *FILES):
                (self._real / name).unlink(missing_ok=True)
                self.aftermath = INCOMPLETE
            for name in sorted(contents, key=FACTS.__eq__):
                (fresh / name).rename(self._real / name)
            self.aftermath = WRITTEN
        self._tidy_fresh()
        flush(self._real)

    def _tidy_fresh(self) -> bool:
        """Remove what was being written, or was replaced; return that nothing was exchanged."""
        if self._fresh is not None:
            _discard(self._fresh)
            self._fresh = None
        return False

    def _tidy(self) -> str:
        """Leave nothing that was not asked for; say what the folder holds."""
        self._tidy_fresh()
        self._take(-1)
        for folder in reversed(self._made):
            with suppress(OSError):
                folder.rmdir()
        return self.aftermath


def _exists(path: Path) -> bool:
    with suppress(OSError, ValueError):
        return path.exists()
    return False


def _working_folder() -> Path | None:
    """Return where the process is: whoever started it may stay there, and see what is written."""
    with suppress(OSError):  # it has been deleted
        return Path.cwd()
    return None


def _refuse_files(path: Path) -> None:
    """Refuse a path that is a file or lies below one, or in which a folder has a file's name."""
    lowest = next(p for p in (path, *path.parents) if p.exists() or p.is_symlink())
    if not lowest.is_dir():
        what = "a link to nothing" if lowest.is_symlink() else "a file"
        raise RequestError("output", f"{lowest} is {what}; name a folder")
    for name in FILES:
        if (path / name).is_dir():
            raise RequestError("output", f"{path / name} is a folder; name another folder")


def _prefix(real: Path) -> str:
    return f".{real.name}.{INCOMING}"


def _left_beside(real: Path) -> list[Path]:
    """Find what a killed run left that was exchanging this folder."""
    return [] if real == real.parent else _left_in(real.parent, _prefix(real))


def _left_in(folder: Path, prefix: str) -> list[Path]:
    """Find folders of one's own of such a name."""
    with suppress(OSError):  # a parent that may be passed, but not read
        user = os.geteuid() if hasattr(os, "geteuid") else None
        with os.scandir(folder) as entries:
            return [
                Path(entry.path)
                for entry in entries
                if entry.name.startswith(prefix)
                and entry.is_dir(follow_symlinks=False)
                and user in (None, entry.stat(follow_symlinks=False).st_uid)
            ]
    return []


def _fill(folder: Path, contents: Mapping[str, str | bytes]) -> None:
    for name, content in contents.items():
        data = content if isinstance(content, bytes) else content.encode(errors="backslashreplace")
        (folder / name).write_bytes(data)
        flush(folder / name)
    flush(folder)


def _make_alike(folder: Path, fresh: Path) -> None:
    """Let a fresh folder belong to whom the other belongs, with the same rights."""
    found = folder.stat()
    if hasattr(os, "chown") and (found.st_uid, found.st_gid) != (os.geteuid(), os.getegid()):
        with suppress(PermissionError):
            os.chown(fresh, found.st_uid, found.st_gid)
    shutil.copystat(folder, fresh)


def _carry(source: Path, target: Path) -> None:
    """Move what is somebody's own, unless there is one of that name already."""
    for path in list(source.iterdir()):
        there = target / path.name
        if path.name not in FILES and not (there.exists() or there.is_symlink()):
            path.rename(there)


def _discard(folder: Path) -> None:
    """Remove a folder with what a run wrote; if there is more in it, leave that."""
    with suppress(OSError):
        for name in FILES:
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()
