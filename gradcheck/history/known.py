"""A file of known disagreements, checked in beside the code: what is accepted, and why."""

from __future__ import annotations

import platform
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from gradcheck.adapters import registered_names
from gradcheck.errors import RequestError, echoed, one_line
from gradcheck.harness.request import ALL_DTYPES
from gradcheck.suggestions import nearest

if TYPE_CHECKING:
    from gradcheck.model.model import Model

FIELD, TABLE = "known", "known"
REFERENCE, DEFINITION = "reference", "definition"
"""Who may be wrong besides an adapter; they are excused only by name."""
OWN_ADAPTERS = ("torch", "jax", "against")
"""Those of a function, besides the registered ones."""
VERDICTS = ("disagree", "nan")
TEXTS = ("model", "adapter", "dtype", "gradient", "verdict", "reason")
NEEDED = ("model", "reason")
HEADER = re.compile(rf"\s*\[\[\s*{TABLE}\s*\]\]")


@dataclass(frozen=True)
class Entry:
    """A disagreement that is known.

    Parameters
    ----------
    line
        Where it stands in the file; 0 if that cannot be told.
    model, reason
        Whose gradients, and why it is accepted.
    adapter
        Who is wrong: an adapter, `reference` or `definition`; empty for any adapter.
    dtype, gradient
        In which format, with respect to which parameter; empty for any.
    verdict
        Of `VERDICTS`.
    versions
        Of packages, or `python`, with which it occurs: a specifier by name.
    """

    line: int
    model: str
    reason: str
    adapter: str = ""
    dtype: str = ""
    gradient: str = ""
    verdict: str = VERDICTS[0]
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_current(self) -> bool:
        """Whether the versions installed are those with which it occurs."""
        return all(
            found is not None and SpecifierSet(wanted).contains(found, prereleases=True)
            for wanted, found in ((text, _installed(name)) for name, text in self.versions.items())
        )

    def __str__(self) -> str:
        """Say whose gradient it is about, and where it stands."""
        parts = (self.model, self.adapter or "any adapter", self.dtype, self.gradient)
        where = f"line {self.line}: " if self.line else ""
        verdict = "" if self.verdict == VERDICTS[0] else f" {self.verdict}"
        return f"{where}{' '.join(part for part in parts if part)}{verdict}"


@dataclass(frozen=True)
class Known:
    """What a file lists."""

    file: str = ""
    entries: Sequence[Entry] = ()

    def of(self, model: Model) -> Known:
        """Return what concerns a model, with the versions that are installed.

        Raises
        ------
        RequestError
            If an entry names a gradient that the model does not have.
        """
        own = [entry for entry in self.entries if entry.model == model.name]
        for entry in own:
            if entry.gradient and entry.gradient not in model.parameters:
                hint = nearest(entry.gradient, model.parameters)
                raise RequestError(
                    FIELD, f"{self.file}, {entry}: there is no gradient {entry.gradient!r}{hint}"
                )
        return Known(self.file, [entry for entry in own if entry.is_current])


NOTHING_KNOWN = Known()


def read_known(path: Path | str | None) -> Known:
    """Read a file of known disagreements; nothing is known where there is none.

    Raises
    ------
    RequestError
        If it cannot be read, or an entry is not as it should be: with the entry's line.
    """
    if path is None:
        return NOTHING_KNOWN
    if not isinstance(path, str | Path):
        raise RequestError(FIELD, f"expected the path of a file, got {echoed(path)}")
    try:
        text = Path(path).read_text(encoding="utf-8")
        held = tomllib.loads(text)
    except OSError as error:
        raise RequestError(FIELD, f"{path} cannot be read ({error.strerror})") from error
    except ValueError as error:  # what is no UTF-8, or no TOML
        raise RequestError(FIELD, f"{path} is no TOML: {one_line(str(error))}") from error
    for name in held:
        if name != TABLE:
            raise RequestError(FIELD, f"{path}: unknown {name!r}; entries begin with [[{TABLE}]]")
    tables = held.get(TABLE, [])
    if not isinstance(tables, list):
        raise RequestError(FIELD, f"{path}: expected entries that begin with [[{TABLE}]]")
    lines = [n for n, line in enumerate(text.splitlines(), 1) if HEADER.match(line)]
    if len(lines) != len(tables):  # inline tables, or a text that looks like an entry
        lines = [0] * len(tables)
    entries = []
    for number, (line, table) in enumerate(zip(lines, tables, strict=True), 1):
        try:
            entries.append(_entry(table, line))
        except ValueError as error:
            where = f"entry {number}, line {line}" if line else f"entry {number}"
            raise RequestError(FIELD, f"{path}, {where}: {error}") from error
    return Known(str(path), entries)


def _entry(table: Any, line: int) -> Entry:
    """Make an entry of a table; say in words of its own what is wrong with it."""
    if not isinstance(table, dict):
        raise ValueError(f"expected a table, got {echoed(table)}")
    for name in table:
        if name not in (*TEXTS, "versions"):
            raise ValueError(f"unknown {name!r}{nearest(name, (*TEXTS, 'versions'))}")
    for name in TEXTS:
        if name in NEEDED and name not in table:
            raise ValueError(f"no {name}; say {name} = …")
        if name in table and not (isinstance(table[name], str) and table[name].strip()):
            raise ValueError(f"expected {name} to be a text, got {echoed(table[name])}")
    _refuse_unknown("adapter", table, {*registered_names(), *OWN_ADAPTERS, REFERENCE, DEFINITION})
    _refuse_unknown("dtype", table, ALL_DTYPES)
    _refuse_unknown("verdict", table, VERDICTS)
    versions = table.get("versions", {})
    if not isinstance(versions, dict):
        raise ValueError(f"expected versions to be a table of specifiers, got {echoed(versions)}")
    for name, wanted in versions.items():
        try:
            if not isinstance(wanted, str):
                raise InvalidSpecifier
            SpecifierSet(wanted)
        except InvalidSpecifier:
            raise ValueError(
                f"versions: expected a specifier such as '>=2.4,<3' of {name}, got {echoed(wanted)}"
            ) from None
    return Entry(line, **table)


def _refuse_unknown(name: str, table: Mapping[str, Any], known: Any) -> None:
    if name in table and table[name] not in known:
        raise ValueError(f"there is no {name} {table[name]!r}{nearest(table[name], sorted(known))}")


def _installed(name: str) -> str | None:
    try:
        return platform.python_version() if name == "python" else version(name)
    except (PackageNotFoundError, ValueError):
        return None
