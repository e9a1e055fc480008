"""The line of a recorded backward pass that is wrong, and what belongs there.

Suspects are operations that a wrong gradient came from and no right one. Of each, single changes
are tried in float64 on all samples, the nearest first. One that makes every wrong gradient right
and leaves the right ones as they are is proved by the caller, and only then claimed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gradcheck.capture.candidates import Candidates
from gradcheck.capture.edits import Edit
from gradcheck.capture.fits import fitted_constants, fitted_scale, missing_terms
from gradcheck.capture.program import Line, Program
from gradcheck.capture.sources import Wording
from gradcheck.capture.trials import Sample, Slope, Trials, sampled, slope_of

SECONDS = 10.0
"""For which changes are tried."""
PROOFS = 8
"""Most changes that are tried to be proved."""
LINES = 5
"""Most lines to name where nothing is proved."""


@dataclass(frozen=True)
class Suspect:
    """A line in which the fault may be.

    Attributes
    ----------
    line
        `None` if the operation was not asked for by a line.
    source
        The line's code.
    operation
        Which of the line's operations it is.
    explanation
        A sentence without its full stop: what is right instead, or why this is suspected.
    proved
        Whether what it says is right instead was proved to be.
    edit
        The change of the program.
    """

    line: Line | None
    source: str
    operation: str
    explanation: str
    proved: bool = False
    edit: Edit | None = None


@dataclass(frozen=True)
class _Place:
    """An operation that may be wrong; or what a gradient alone is made of last."""

    at: int
    gradient: str | None = None
    slope: Slope | None = None


def find_mend(
    programs: Sequence[Program],
    leaves: Sequence[Mapping[str, NDArray[np.float64]]],
    truths: Sequence[Mapping[str, NDArray[np.float64]]],
    prove: Callable[[Edit], bool],
    seconds: float = SECONDS,
) -> tuple[Suspect, ...]:
    """Find the wrong line of a backward pass, and what belongs there.

    Parameters
    ----------
    programs, leaves, truths
        Of each sample: what was recorded; inputs, parameters and cotangents by name; and by
        parameter the true gradient, in float64. Samples on which other operations were performed
        than on the first wrong one are left out.
    prove
        Tells whether a change makes all gradients right, provably, on every sample:
        `edit.applied(program)` is a program with the change.
    seconds
        How long to search.

    Returns
    -------
    suspects
        The best first. If one is proved, only such; empty if no gradient is wrong.

    Raises
    ------
    NoRuleError
        If the programs cannot be run.
    """
    deadline = time.monotonic() + seconds
    with np.errstate(all="ignore"):
        samples = [sampled(*one) for one in zip(programs, leaves, truths, strict=True)]
    trials = Trials(_alike(samples))
    if not trials.wrong:
        return ()
    places = _places(trials)
    places = [
        replace(one, slope=slope_of(trials, one.at, trials.samples[0]))
        if one.gradient is None and time.monotonic() < deadline
        else one
        for one in places
    ]
    possible = [one for one in places if one.slope is None or one.slope.explains]
    candidates = Candidates(trials)
    wording = Wording(trials, candidates)
    tried = 0
    for stage in STAGES:
        passing = list(_passing(trials, candidates, possible, stage, deadline))
        passing.sort(key=lambda edit: (edit.cost, edit.at))
        proved = []
        for edit in passing[: PROOFS - tried]:
            tried += 1
            if prove(edit):
                proved.append(edit)
                break
        if proved:
            return tuple(_told(trials, wording, edit) for edit in proved)
        if time.monotonic() > deadline or tried >= PROOFS:
            break
    return _unproved(trials, wording, places)


def _alike(samples: Sequence[Sample]) -> list[Sample]:
    """Take the samples of the same operations, one with a wrong gradient first."""
    first = next((one for one in samples if Trials([one]).wrong), samples[0])
    operations = _operations(first.program)
    return [
        first,
        *(one for one in samples if one is not first and _operations(one.program) == operations),
    ]


def _operations(program: Program) -> list[tuple[object, ...]]:
    return [(one.operation, one.operands, one.results, one.line) for one in program.steps]


def _places(trials: Trials) -> list[_Place]:
    """Find the operations in which the fault can be, in order."""
    gradients = trials.program.gradients
    innocent = trials.behind(gradients[name] for name in trials.right)
    innocent |= trials.behind(trials.program.outputs)
    behind = trials.behind(gradients[name] for name in trials.wrong)
    found = [_Place(at) for at in sorted(behind - innocent) if trials.steps[at].line]
    made = {n: i for i, step in enumerate(trials.steps) for n in step.results if n is not None}
    own = {one.at for one in found}
    for name in trials.wrong:
        at = made.get(gradients[name] or 0, len(trials.steps) - 1)
        if at not in own or gradients[name] not in trials.steps[at].results:
            found.append(_Place(at, name))
    return found


Stage = Callable[[Candidates, _Place], Iterator[Edit]]


def _near(candidates: Candidates, place: _Place) -> Iterator[Edit]:
    if place.gradient is None:
        yield from candidates.near(place.at)


def _constants(candidates: Candidates, place: _Place) -> Iterator[Edit]:
    if place.gradient is None:
        yield from fitted_constants(candidates, place.at)


def _operands(candidates: Candidates, place: _Place) -> Iterator[Edit]:
    if place.gradient is None:
        yield from candidates.operands(place.at)


def _results(candidates: Candidates, place: _Place) -> Iterator[Edit]:
    return candidates.results(place.at, place.gradient)


def _scale(candidates: Candidates, place: _Place) -> Iterator[Edit]:
    return fitted_scale(candidates, place.at, place.gradient)


def _terms(candidates: Candidates, place: _Place) -> Iterator[Edit]:
    return candidates.terms(place.at, place.gradient)


def _products(candidates: Candidates, place: _Place) -> Iterator[Edit]:
    if place.slope is not None:
        yield from missing_terms(candidates, place.at, place.slope)


STAGES: tuple[Stage, ...] = (
    _near,
    _constants,
    _operands,
    _results,
    _scale,
    _terms,
    _products,
)
"""What is tried, one after the other."""


def _passing(
    trials: Trials,
    candidates: Candidates,
    places: Sequence[_Place],
    stage: Stage,
    deadline: float,
) -> Iterator[Edit]:
    """Yield the changes that make all gradients right."""
    for place in places:
        for edit in stage(candidates, place):
            if time.monotonic() > deadline:
                return
            if trials.passes(edit):
                yield edit


def _told(trials: Trials, wording: Wording, edit: Edit) -> Suspect:
    step = trials.steps[edit.at]
    return Suspect(
        step.line, wording.source(step.line), step.operation, wording.mend(edit), True, edit
    )


def _unproved(trials: Trials, wording: Wording, places: Sequence[_Place]) -> tuple[Suspect, ...]:
    """Rank lines by whether a change of what they yield can explain all wrong gradients."""
    explaining = [one for one in places if one.slope is not None and one.slope.explains]
    unknown = [one for one in places if one.slope is None]
    ranked = [*reversed(explaining), *reversed(unknown)]
    ranked += [one for one in reversed(places) if one not in ranked]
    found: dict[Line | None, Suspect] = {}
    for place in ranked:
        step = trials.steps[place.at]
        if step.line in found:
            continue
        if place in explaining:
            reason = "if this line yielded something else, all gradients could be right"
        elif place in unknown:
            reason = "a wrong gradient comes from here, and no right one"
        else:
            reason = "wrong gradients come from here, but no change here alone makes all right"
        found[step.line] = Suspect(
            step.line,
            wording.source(step.line),
            step.operation,
            f"{wording.place(step.line)}: {reason}; nothing was proved",
        )
    return tuple(found.values())[:LINES]
