"""A sample of an earlier run, evaluated again as it was then, and held against what was written.

Libraries round the last elements of an array otherwise than the others, so the sample's whole block
is evaluated: then the same machine returns the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gradcheck.adapters import Adapter, choose_adapters
from gradcheck.errors import RequestError
from gradcheck.harness.block import Bench
from gradcheck.harness.facts import digest_of_source
from gradcheck.harness.outcome import Outcome
from gradcheck.harness.samples import Samples
from gradcheck.history.results import Results
from gradcheck.history.sample import Subject, make_block, same_bits
from gradcheck.judge.measures import ulp_of
from gradcheck.judge.tally import Case, Key, case_at
from gradcheck.judge.verdict import Comparison, Verdict
from gradcheck.model.beside import located
from gradcheck.model.model import label
from gradcheck.numbers.rounding import Rounding
from gradcheck.reports.run import machine, versions
from gradcheck.stopwatch import Stopwatch
from gradcheck.trace import MOST_ROWS, Trace, trace_values
from gradcheck.truth.derivative import UnsupportedOperationError
from gradcheck.truth.referee import BOTH, REFERENCE, Ruling, rule_on

NO_RULING = Ruling("", "")
FAILS = (Verdict.DISAGREE.label, Verdict.NAN.label, Verdict.ERROR.label)
COMPARED = ("value", "reference", "bound")


@dataclass(frozen=True)
class Line:
    """One gradient's element by one adapter.

    Parameters
    ----------
    case
        What was compared, and the verdict.
    ruling
        The truth, and who is not within its bar of it, where the referee was asked.
    written
        The numbers that are not, to the bit, what the run wrote, and how many ulps of the latter
        they are off; `None` if it wrote nothing of this.
    """

    adapter: str
    gradient: str
    element: str
    case: Case
    ruling: Ruling = NO_RULING
    written: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Replay:
    """A sample in one format.

    Parameters
    ----------
    rows
        How many rows the run wrote of it, by the adapters that are replayed.
    differing
        Names of its numbers that are drawn otherwise than the row has them.
    lines
        Every gradient by every adapter; of large ones evenly spaced elements, and all that failed
        or that the run wrote of.
    trace
        Its intermediate values and adjoints; `None` of a recorded function.
    unsupported
        What the referee cannot follow.
    """

    dtype: str
    rows: int
    differing: Sequence[str]
    lines: Sequence[Line]
    trace: Trace | None
    unsupported: str = ""

    @property
    def failing(self) -> list[Line]:
        """What disagrees, is not a number, or failed; and where all agree and are proved wrong."""
        return [
            line
            for line in self.lines
            if line.case.verdict in FAILS or line.ruling.culprit in (REFERENCE, BOTH)
        ]

    @property
    def moved(self) -> list[Line]:
        """What is not as the run wrote it."""
        return [line for line in self.lines if line.written]

    @property
    def agrees(self) -> bool:
        """Whether nothing of this sample disagrees."""
        return not self.failing and (self.trace is None or self.trace.agrees)


def changed_since(results: Results, subject: Subject) -> dict[str, tuple[str, str]]:
    """Return what of versions, machine and the model's source is otherwise than it was."""
    if not (results.folder / "run.json").exists():
        return {}
    then = {**results.run["versions"], **results.run["machine"]}
    now = {**versions(), **machine()}
    source = results.run.get("source", {})
    if source.get("digest") and subject.source:
        then["the model's source"] = source["digest"]
        now["the model's source"] = digest_of_source(located(subject.source))
    return {
        name: (then[name], now[name]) for name in now if name in then and then[name] != now[name]
    }


def replay(
    subject: Subject, dtype: str, progress: Callable[[float], None] = lambda fraction: None
) -> Replay:
    """Evaluate a sample again, with its block, in a format.

    Raises
    ------
    RequestError
        If an adapter cannot be had, or the rows are not of this model.
    """
    judged = judge_block(subject, dtype)
    progress(0.3)
    lines, row = list(judged.lines(subject)), judged.row(subject)
    sample = {name: array[row : row + 1] for name, array in judged.drawn.values.items()}
    lines, unsupported = _settled(
        subject, lines, Samples(dtype, np.array([subject.number]), sample)
    )
    progress(0.6)
    trace = None
    if not subject.model.recorded:
        failed = {line.adapter for line in lines if line.case.verdict == Verdict.ERROR.label}
        working = tuple(name for name in judged.adapters if name not in failed)
        request = replace(subject.request, dtypes=(dtype,), adapters=working)
        trace = trace_values(subject.model, request, sample)
    rows = [row for row in subject.rows if row["dtype"] == dtype]
    held = sum(row["adapter"] in judged.adapters for row in rows)
    return Replay(dtype, held, judged.differing, lines, trace, unsupported)


@dataclass(frozen=True)
class JudgedBlock:
    """A sample's block, judged as in a sweep.

    Parameters
    ----------
    drawn
        The samples.
    differing
        Names of the sample's numbers that are drawn otherwise than its row has them.
    adapters
        Those that were called, by name.
    found
        Every comparison; `None` where there is none, for an adapter failed.
    outcome
        What the sweep keeps of it.
    """

    drawn: Samples
    differing: Sequence[str]
    adapters: Mapping[str, Adapter]
    found: Mapping[Key, Comparison | None]
    outcome: Outcome

    def row(self, subject: Subject) -> int:
        """Return the place of a sample in the block."""
        return subject.number - int(self.drawn.numbers[0])

    def lines(self, subject: Subject) -> Iterator[Line]:
        """Look a sample up in the comparisons."""
        for key, comparison in self.found.items():
            if comparison is None:
                (case,) = self.outcome.tallies[key].errors
                yield Line(key[0], key[2], "", replace(case, sample=subject.number))
            else:
                judged = self.adapters[key[0]].judged
                yield from _lines(subject, key, comparison, self.row(subject), judged)


def judge_block(subject: Subject, dtype: str) -> JudgedBlock:
    """Evaluate and judge the block of a sample as a sweep does."""
    drawn, differing = make_block(subject, dtype)
    request = subject.request
    chosen = choose_adapters(request.adapters, subject.model, request.dtypes)
    adapters = {name: one for name, one in chosen.items() if one.works_in(dtype)}
    block, start = len(drawn.numbers), int(drawn.numbers[0])
    searched = subject.number >= request.samples
    bench = Bench(subject.model, request, adapters, block, extreme=searched)
    found: dict[Key, Comparison | None] = {}
    bench.record = lambda key, start, count, comparison: found.update({key: comparison})
    count = min(block, request.samples - start) if subject.drawn else block
    outcome = bench.judge(drawn, count, Stopwatch())
    return JudgedBlock(drawn, differing, adapters, found, outcome)


def _lines(
    subject: Subject, key: Key, comparison: Comparison, row: int, judged: bool
) -> Iterator[Line]:
    """Look up a sample in the comparisons of one gradient by one adapter.

    Of a large one, elements are shown that are evenly spaced, that failed or were written.
    """
    adapter, _, gradient = key
    shape = subject.model.parameters[gradient]
    size = math.prod(shape)
    written = {
        _place(line["element"], shape): line
        for line in subject.rows
        if (line["adapter"], line["dtype"], line["gradient"]) == key
    }
    each = max(1, MOST_ROWS // len(subject.model.parameters))
    even = np.linspace(0, size - 1, min(each, size)).astype(int)
    verdicts = comparison.verdict.reshape(len(comparison.verdict), -1)[row]
    failed = np.flatnonzero(np.isin(verdicts, [Verdict.DISAGREE, Verdict.NAN]))[:MOST_ROWS]
    for place in sorted({*even.tolist(), *written, *(failed.tolist() if judged else ())}):
        case = case_at(comparison, row * size + place, subject.number - row, judged)
        moved = _moved(written.get(place), case, subject)
        element = label("", map(int, np.unravel_index(place, shape)))
        yield Line(adapter, gradient, element, case, written=moved)


def _place(element: str, shape: tuple[int, ...]) -> int:
    """Return where an element, `[0,2]` or the empty text of a scalar, lies in a flat array."""
    numbers = [int(part) for part in element.strip("[]").split(",") if part]
    try:
        return int(np.ravel_multi_index(numbers, shape)) if shape else 0
    except ValueError as error:
        raise RequestError(
            "number", f"a row is of element {element!r} of a gradient of the shape {shape}"
        ) from error


def _moved(
    written: Mapping[str, str] | None, case: Case, subject: Subject
) -> dict[str, float] | None:
    """Return how far the numbers of a case are from those of the row that the run wrote of it."""
    if written is None:
        return None
    # Of a function's own formula that was refuted, a row has the truth in the reference's place.
    names: Sequence[str] = COMPARED
    if subject.model.own == written["adapter"]:
        names = COMPARED[:1]
    if written["bar"] != "ball" and not subject.drawn:
        names = COMPARED[:2]  # a stochastic bar depends on the sample's place in its block
    rounding = Rounding(np.dtype(written["dtype"]), subject.request.ulps)
    moved = {}
    for name in names:
        before, now = float(written[name] or "nan"), float(getattr(case, name))
        if not same_bits(before, now):
            ulp = float(ulp_of(np.array([before]), rounding)[0])
            moved[name] = abs(before - now) / ulp if math.isfinite(before) else math.inf
    return moved


def _settled(subject: Subject, lines: Sequence[Line], sample: Samples) -> tuple[list[Line], str]:
    """Have the referee look at the lines, those that failed first; return what it cannot follow."""
    model, dtype = subject.model, sample.dtype
    request = replace(subject.request, referee_limit=MOST_ROWS)
    asked = sorted(
        (line for line in lines if line.case.verdict != Verdict.ERROR.label),
        key=lambda line: (line.case.verdict not in FAILS, line.written is None),
    )
    in_turn = [((line.adapter, dtype, line.gradient), line.case) for line in asked]
    try:
        outcome = Outcome(samples={dtype: sample})
        ruled, _ = rule_on(model, request, outcome, in_turn, lambda fraction: None)
    except UnsupportedOperationError as error:
        return list(lines), error.operation
    settled = []
    for line in lines:
        key = line.adapter, dtype, line.gradient
        settled.append(_ruled(line, ruled.get((key, line.case), NO_RULING), model.own))
    return settled, ""


def _ruled(line: Line, ruling: Ruling, own: str) -> Line:
    """Take from a ruling what the sweep's contract has: its audit holds the reference to the truth.

    A function whose own formula is the reference is wrong itself where that is.
    """
    wrong = ruling.culprit in (REFERENCE, BOTH)
    if own and own == line.adapter and wrong:
        case = replace(line.case, verdict=Verdict.DISAGREE.label)
        return replace(line, case=case, ruling=replace(ruling, culprit=own))
    if line.case.verdict in FAILS or (wrong and line.case.verdict == Verdict.AGREE.label):
        return replace(line, ruling=ruling)
    return replace(line, ruling=replace(ruling, culprit=""))
