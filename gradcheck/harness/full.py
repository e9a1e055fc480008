"""Every comparison of a sweep as a Parquet file, written piece by piece: it needs no memory.

Each stretch is a file of its own, in a hidden folder beside the target, whoever judges it. In the
end they are joined in the order of the samples.
"""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from gradcheck.errors import RequestError, UnfinishedError
from gradcheck.harness.block import Bench
from gradcheck.harness.facts import digest_of
from gradcheck.harness.stretch import Stretch
from gradcheck.judge.tally import Key
from gradcheck.judge.verdict import LABELS, Comparison, Verdict

SUFFIX = ".parquet"
ROWS_TOGETHER = 2**20
"""In a group: what is told of each group is kept until the file is closed."""
UNJUDGED = len(LABELS)
"""Stands for the verdict on an adapter that is not held to the bound: none."""


def check_target(target: Path) -> None:
    """Find out before any work whether the file can be written.

    Raises
    ------
    RequestError
        If not, or pyarrow is not installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise RequestError("full", "needs pyarrow; install it with: python -m pip install pyarrow")
    if target.suffix != SUFFIX:
        raise RequestError("full", f"expected a name that ends in {SUFFIX}, got {target}")
    try:
        if target.exists() and not target.is_file():
            raise RequestError("full", f"{target} is no file; name another")
        existing = target.parent
        while not existing.exists():
            existing = existing.parent
        Parts(target, digest_of({})).folder.exists()  # its name may be too long
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise RequestError("full", f"{target} cannot be written ({error.strerror})") from error


class Parts:
    """The pieces of a file.

    Parameters
    ----------
    target
        The file.
    digest
        Of all that its content depends on; pieces of another sweep are not taken for its own.
    """

    def __init__(self, target: Path, digest: str) -> None:
        self.target = target
        self.folder = target.with_name(f".{target.name}.{digest}.parts")

    def start(self, resumed: bool) -> None:
        """Make the folder; empty it unless a sweep goes on."""
        if not resumed:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)

    def holds(self, stretch: Stretch) -> bool:
        """Tell whether the comparisons of a stretch are there."""
        return _part(self.folder, stretch).exists()

    def join(self, stretches: Sequence[Stretch]) -> None:
        """Join the pieces in order, and put the file in its place.

        Raises
        ------
        UnfinishedError
            If the disk is full, or a piece is damaged.
        """
        import pyarrow as pa
        import pyarrow.parquet

        fresh = self.folder / "joined"
        held: list[Any] = []
        with written(self.target), pyarrow.parquet.ParquetWriter(fresh, _schema()) as writer:
            for stretch in stretches:
                with pyarrow.parquet.ParquetFile(_part(self.folder, stretch)) as part:
                    for group in range(part.num_row_groups):
                        held.append(part.read_row_group(group))
                        if sum(map(len, held)) >= ROWS_TOGETHER:
                            writer.write_table(pa.concat_tables(held).unify_dictionaries())
                            held.clear()
            if held:
                writer.write_table(pa.concat_tables(held).unify_dictionaries())
        fresh.replace(self.target)

    def remove(self) -> None:
        """Forget the pieces: the sweep has come to its end."""
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def written(target: Path) -> Iterator[None]:
    """Say what file could not be written, if one could not.

    Raises
    ------
    UnfinishedError
        In the place of an error of the system, or of a damaged piece.
    """
    import pyarrow as pa

    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise UnfinishedError(f"{target} cannot be written ({error})") from error


@contextmanager
def recorded(bench: Bench, stretch: Stretch) -> Iterator[None]:
    """Write every comparison of a stretch that is judged meanwhile, if the bench says where."""
    if bench.parts is None:
        yield
        return
    import pyarrow as pa
    import pyarrow.parquet

    part = _part(bench.parts, stretch)
    fresh = part.with_suffix(".fresh")
    schema = _schema()

    def record(key: Key, start: int, count: int, comparison: Comparison | None) -> None:
        size = prod(bench.model.parameters[key[2]])
        rows = count * size
        verdict: Any = np.full(rows, Verdict.ERROR, np.int8)
        numbers = [np.full(rows, np.nan) for _ in range(5)]
        if comparison is not None:
            reference = comparison.reference
            is_judged = bench.adapters[key[0]].judged
            verdict = comparison.verdict.ravel() if is_judged else np.full(rows, UNJUDGED, np.int8)
            numbers = [
                np.asarray(array, np.float64).ravel()
                for array in (
                    comparison.value, reference.value, reference.bound,
                    comparison.ulps, comparison.ratio,
                )
            ]  # fmt: skip
        names = [pa.DictionaryArray.from_arrays(np.zeros(rows, np.int8), [name]) for name in key]
        writer.write_table(
            pa.Table.from_arrays(
                [
                    np.repeat(np.arange(start, start + count), size),
                    *names,
                    np.tile(np.arange(size, dtype=np.int32), count),
                    pa.DictionaryArray.from_arrays(verdict, [*LABELS, ""]),
                    *numbers,
                ],
                schema=schema,
            )
        )

    with written(part), pyarrow.parquet.ParquetWriter(fresh, schema) as writer:
        bench.record = record
        try:
            yield
        finally:
            bench.record = None
    fresh.replace(part)


def _part(folder: Path, stretch: Stretch) -> Path:
    return folder / f"{stretch.first}-{'-'.join(stretch.dtypes)}.parquet"


def _schema() -> Any:
    import pyarrow as pa

    text = pa.dictionary(pa.int8(), pa.string())
    numbers = ("value", "reference", "bound", "ulps", "ratio")
    return pa.schema(
        [
            ("sample", pa.int64()),
            *[(name, text) for name in ("adapter", "dtype", "gradient")],
            ("element", pa.int32()),
            ("verdict", text),
            *[(name, pa.float64()) for name in numbers],
        ]
    )
