"""One sample of an earlier run, made again: drawn from the seed, or read from its row.

Both are done where both can be, and compared bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck.adapters import all_adapters
from gradcheck.errors import RequestError, echoed
from gradcheck.harness.request import MOST_SAMPLES, Request
from gradcheck.harness.samples import Samples, block_size, draw_block
from gradcheck.history.results import Results
from gradcheck.model.loading import BUILT_IN, load_model
from gradcheck.model.model import Model, label
from gradcheck.reports.folder import FACTS
from gradcheck.suggestions import nearest
from gradcheck.truth.audit import REFEREE

if TYPE_CHECKING:
    import pandas as pd

SEARCHED, DISCREPANCIES = "search.csv", "discrepancies.csv"
COPIES = 1024
"""Of a sample that is not drawn, at most: many times what a processor computes at once."""
AFTER_TRUTH, BEFORE_REST = "truth", "element"
"""Columns between which a table has the numbers of a sample."""


@dataclass(frozen=True)
class Subject:
    """What is to be replayed: the model, the request as it was, and the rows of a sample.

    Parameters
    ----------
    adapters
        Those to be called, which are installed.
    missing
        Those of the run that are not.
    block
        How many samples the run evaluated at once.
    source
        How the model is named.
    rows
        What tables hold of the sample, as text; none, if it agreed everywhere and was no worst.
    drawn
        Whether the sample can be drawn from the seed: its row is all there is otherwise.
    """

    model: Model
    request: Request
    adapters: tuple[str, ...]
    missing: tuple[str, ...]
    block: int
    number: int
    source: str
    rows: Sequence[Mapping[str, str]]
    drawn: bool


def find_subject(
    results: Results,
    number: int,
    *,
    model: str = "",
    row_alone: bool = False,
    adapters: Sequence[str] | None = None,
    dtypes: Sequence[str] | None = None,
) -> Subject:
    """Read what a folder holds about a sample.

    Parameters
    ----------
    model
        How it is named, if the run's own name for it does not hold here, or is not known.
    row_alone
        Whether to do without the seed, as where there is no `run.json`.
    adapters, dtypes
        Those to be replayed; all of the run unless given.

    Raises
    ------
    RequestError
        If the folder, the model, the sample or one of these cannot be had.
    """
    if not 0 <= number < MOST_SAMPLES:
        raise RequestError("number", f"expected 0 to 2**53 - 1, got {echoed(number)}")
    rows = _rows(results, number)
    alone = not (results.folder / FACTS).exists()
    row_alone = row_alone or alone
    request, source = _of_rows(rows, number) if alone else _of_run(results)
    if model:
        source = {**source, "model": model}
    elif not source.get("model"):
        name = "" if alone else results.run["request"]["model"]
        if name not in BUILT_IN:
            raise RequestError(
                "model", f"{results.folder} does not say which it is; name it by --model"
            )
        source = {**source, "model": name}
    try:
        found = load_model(source["model"], source.get("options"))
    except RequestError as error:
        if model or error.field != "model":
            raise
        raise RequestError("model", f"{error.text}; name it by --model") from error
    asked = _those("dtypes", dtypes, request.dtypes)
    searched = number >= request.samples
    if not rows and (searched or row_alone):
        count = f"0 to {request.samples - 1:,}" if not alone else "those in its tables"
        raise RequestError(
            "number", f"{results.folder} has no row of {number}; its samples are {count}"
        )
    if searched or row_alone:  # in the formats of its rows alone
        held = {row["dtype"] for row in rows}
        asked = tuple(dtype for dtype in asked if dtype in held)
        if not asked:
            raise RequestError("dtypes", f"sample {number} has rows in {', '.join(sorted(held))}")
    chosen = _those("adapters", adapters, request.adapters or ())
    known = found.adapters or all_adapters(chosen)
    missing = tuple(name for name in chosen if name not in known or not known[name].installed)
    here = chosen
    if not adapters:
        here = tuple(
            name for name in chosen if name not in missing and any(map(known[name].works_in, asked))
        )
    if not here:
        raise RequestError("adapters", f"none of the run's is installed: {', '.join(missing)}")
    block = int(source.get("block") or block_size(found, request))
    return Subject(
        model=found,
        request=_request(results, {**vars(request), "adapters": here, "dtypes": asked}),
        adapters=here,
        missing=() if adapters else missing,
        block=block,
        number=number,
        source=source["model"],
        rows=rows,
        drawn=not (searched or row_alone),
    )


def _those(field: str, asked: Sequence[str] | None, known: Sequence[str]) -> tuple[str, ...]:
    """Return what was asked for, each of which the run has; all if nothing was."""
    for name in asked or ():
        if name not in known:
            raise RequestError(field, f"the run has no {name!r}{nearest(name, known)}")
    return tuple(dict.fromkeys(asked)) if asked else tuple(known)


def _rows(results: Results, number: int) -> list[Mapping[str, str]]:
    """Return the rows of a sample, the adapters' own ones."""
    rows: list[Mapping[str, str]] = []
    for name in (DISCREPANCIES, SEARCHED):
        if name == SEARCHED and not (results.folder / name).exists():
            continue
        table: pd.DataFrame = results.cases(name)
        rows += table[table["sample"] == str(number)].to_dict("records")  # type: ignore[arg-type]
    return rows


def _of_run(results: Results) -> tuple[Request, Mapping[str, Any]]:
    source = results.run.get("source", {})
    if not isinstance(source, dict):
        raise results.damaged(FACTS, f"its source is {echoed(source)}")
    return _request(results, results.run["request"]), source


def _of_rows(rows: Sequence[Mapping[str, str]], number: int) -> tuple[Request, Mapping[str, Any]]:
    """Make a request of what rows alone tell."""
    own = [row for row in rows if row["adapter"] != REFEREE]
    dtypes = tuple(dict.fromkeys(row["dtype"] for row in rows)) or Request.dtypes
    adapters = tuple(dict.fromkeys(row["adapter"] for row in own))
    return Request(samples=number + 1, dtypes=dtypes, adapters=adapters or None), {}


def _request(results: Results, facts: Mapping[str, Any]) -> Request:
    names = {one.name for one in fields(Request)}
    try:
        return Request(**{name: value for name, value in facts.items() if name in names})
    except (RequestError, TypeError) as error:
        raise results.damaged(FACTS, str(error)) from error


def make_block(subject: Subject, dtype: str) -> tuple[Samples, list[str]]:
    """Make the block of samples in which a run evaluated this one, in a format.

    Where it cannot be drawn, the block is filled with the sample: a vectorised loop rounds its
    elements alike, wherever they are, but for the last few of an array that is no block.

    Returns
    -------
    Samples
        The block.
    list of str
        Names of numbers that the row has otherwise than they are drawn; the row's are taken.

    Raises
    ------
    RequestError
        If the row is not one of this model.
    """
    number, model = subject.number, subject.model
    read = _read(subject, dtype)
    if not subject.drawn:
        if read is None:
            raise RequestError(
                "number", f"the row of {number} has no numbers, for a sample has too many of them"
            )
        copies = 1 if model.recorded else min(COPIES, subject.block)
        values = {name: np.repeat(array[None], copies, axis=0) for name, array in read.items()}
        return Samples(dtype, np.full(copies, number), values), []
    start = number - number % subject.block
    block = draw_block(model, subject.request, dtype, start, subject.block)
    if read is None:
        return block, []
    row, differing = number - start, list[str]()
    values = {name: np.array(array) for name, array in block.values.items()}
    for name, array in read.items():
        differing += [
            label(name, at)
            for at in np.ndindex(array.shape)
            if not same_bits(values[name][(row, *at)], array[at])
        ]
        values[name][row] = array
    return Samples(dtype, block.numbers, values), differing


def _read(subject: Subject, dtype: str) -> dict[str, Any] | None:
    """Read the numbers of a sample from its row; `None` if there is none, or it has none."""
    rows = [row for row in subject.rows if row["dtype"] == dtype]
    if not rows:
        return None
    row, columns = rows[0], list(rows[0])
    columns = columns[columns.index(AFTER_TRUTH) + 1 : columns.index(BEFORE_REST)]
    leaves = subject.model.leaves
    if not columns and leaves:
        return None
    wanted = [label(name, at) for name, shape in leaves.items() for at in np.ndindex(shape)]
    if columns != wanted:
        other = next(iter({*columns} ^ {*wanted}), "their order")
        raise RequestError(
            "model",
            f"the row of sample {subject.number} is of another model than {subject.model.name}: "
            f"they differ in {other}",
        )
    if any(row[name] != other[name] for other in rows for name in columns):
        raise RequestError(
            "number", f"the rows of {subject.number} in {dtype} differ from one another"
        )
    found = {}
    for name, shape in leaves.items():
        domain = subject.model.domain(name)
        kind = np.int64 if domain is not None and domain.is_discrete else np.float64
        try:
            numbers = [kind(row[label(name, at)]) for at in np.ndindex(shape)]
        except ValueError as error:
            raise RequestError("number", f"the row of {subject.number}: {error}") from error
        found[name] = np.array(numbers, kind).reshape(shape)
    return found


def same_bits(one: Any, other: Any) -> bool:
    """Tell whether two numbers are the same, the sign of a zero included; one NaN is as another."""
    return bool(one == other and np.signbit(one) == np.signbit(other)) or bool(
        np.isnan(one) and np.isnan(other)
    )
