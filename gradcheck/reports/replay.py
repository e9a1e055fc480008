"""A replayed sample as tables: what every party says of every gradient, and what it said before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby

from rich.table import Table

from gradcheck.history.replay import Line, Replay
from gradcheck.history.sample import Subject
from gradcheck.reports.plain import Plain
from gradcheck.reports.terminal import WIDTH
from gradcheck.reports.trace import print_trace

COLUMNS = ("gradient", "party", "value", "error / bar", "verdict", "proved wrong", "as swept")
LEFT = ("gradient", "party", "verdict", "proved wrong", "as swept")


def print_subject(subject: Subject, folder: str, changed: Mapping[str, tuple[str, str]]) -> None:
    """Print which sample it is, and what is not as it was."""
    request, console = subject.request, Plain(width=WIDTH)
    where = (
        f"seed {request.seed}, {request.distribution}, scale {request.scale:g}"
        if subject.drawn
        else "from its row alone"
    )
    title = f"{subject.model.name}, sample {subject.number} of {folder}: {where}"
    console.print(title, soft_wrap=True)
    for name, (then, now) in changed.items():
        console.print(f"{name} {then} → {now}", soft_wrap=True)
    if subject.missing:
        console.print(f"Not installed, so not replayed: {', '.join(subject.missing)}")


def print_replay(replay: Replay, subject: Subject) -> None:
    """Print a sample's trace, its gradients, and whether they are what was written."""
    console = Plain(width=WIDTH)
    if replay.trace is not None:
        print_trace(replay.trace, subject.model.name)
    place = f"block of {subject.block:,} samples" if subject.drawn else "block of its own"
    table = Table(
        title=f"{subject.model.name}, {replay.dtype}, gradients as swept, in a {place}",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    for name in COLUMNS:
        table.add_column(
            name,
            justify="left" if name in LEFT else "right",
            overflow="fold",
            no_wrap=name == "value",
        )
    for _, lines in groupby(
        sorted(replay.lines, key=_place(replay.lines)),
        key=lambda line: (line.gradient, line.element),
    ):
        for row in _rows(list(lines), "formula" if subject.model.own else "reference"):
            table.add_row(*row, style="red" if row[-2] or row[-3] in ("nan", "error") else None)
    console.print(table)
    for line in (line for line in replay.lines if line.case.message):
        console.print(f"{line.adapter}: {line.case.message}", soft_wrap=True)
    if replay.unsupported:
        console.print(f"No referee: Arb cannot follow {replay.unsupported}.", soft_wrap=True)
    console.print(_origin(replay, subject), soft_wrap=True)
    if replay.rows:
        console.print(_recurrence(replay), soft_wrap=True)
    console.print(_outcome(replay, subject), style="bold", soft_wrap=True)


def _place(lines: Sequence[Line]) -> Callable[[Line], int]:
    """Order lines by gradient and element, as the model has them; adapters keep their order."""
    order = {(line.gradient, line.element): 0 for line in lines}
    ranks = {place: rank for rank, place in enumerate(order)}
    return lambda line: ranks[line.gradient, line.element]


def _rows(lines: Sequence[Line], reference: str) -> Iterator[tuple[str, ...]]:
    """Write the reference with its bar and the truth, and then every adapter."""
    first = lines[0]
    name = f"{first.gradient}{first.element}"
    informed = next((line for line in lines if line.case.reference == line.case.reference), first)
    if informed.case.verdict != "error":
        bar = f"± {informed.case.bound:.1e}"
        yield name, reference, f"{informed.case.reference!r}", bar, "", "", ""
        name = ""
    if truth := next((line.ruling.truth for line in lines if line.ruling.truth), ""):
        yield name, "truth", truth, "", "", "", ""
    for line in lines:
        ratio = "" if line.case.ratio != line.case.ratio else f"{line.case.ratio:.2g}"
        value = "" if line.case.verdict == "error" else f"{line.case.value!r}"
        yield (
            name, line.adapter, value, ratio, line.case.verdict, line.ruling.culprit, _moved(line),
        )  # fmt: skip
        name = ""


def _moved(line: Line) -> str:
    """Say how far a line is from what was written of it."""
    if line.written is None:
        return ""
    return ", ".join(f"{name} {ulps:.2g} ulps" for name, ulps in line.written.items()) or "same"


def _origin(replay: Replay, subject: Subject) -> str:
    """Say where the sample's numbers came from."""
    if not subject.drawn:
        return f"The numbers are those of its row in {replay.dtype}."
    if not replay.rows:
        return f"No row was written of it in {replay.dtype}; its numbers are drawn from the seed."
    if replay.differing:
        some = ", ".join(replay.differing[:3]) + " …" * (len(replay.differing) > 3)
        return f"Its numbers are not those of its row: {some} differ. The row is replayed."
    return "Its numbers, drawn from the seed, are those of its row, bit for bit."


def _recurrence(replay: Replay) -> str:
    """Say whether what the run wrote is what was found now."""
    held = sum(line.written is not None for line in replay.lines)
    if not replay.moved:
        return f"As the run wrote it, bit for bit: {held} of {replay.rows} rows in {replay.dtype}."
    most = max(ulps for line in replay.moved for ulps in (line.written or {}).values())
    return (
        f"Not as the run wrote it: {len(replay.moved)} of {held} rows in {replay.dtype} differ, "
        f"by up to {most:.2g} ulps."
    )


def _outcome(replay: Replay, subject: Subject) -> str:
    failing = len(replay.failing)
    if failing:
        return f"In sample {subject.number}, {replay.dtype}, {failing} gradients disagree or fail."
    if not replay.agrees:
        return f"In sample {subject.number}, {replay.dtype}, an intermediate value disagrees."
    return f"Nothing disagrees in sample {subject.number}, {replay.dtype}."
