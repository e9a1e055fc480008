"""The line of a recorded backward pass that is wrong, and what belongs there.

Suspects are operations that a wrong gradient came from and no right one. Of each, single changes
are tried in float64 on all samples, the nearest first. One that makes every wrong gradient right
and leaves the right ones as they are is proved by the caller, and only then claimed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from gradcheck.capture.adjoints import known_right, repeated
from gradcheck.capture.candidates import Candidates
from gradcheck.capture.edits import Edit
from gradcheck.capture.fits import fitted_constants, fitted_everywhere, fitted_scale, missing_terms
from gradcheck.capture.program import Line, Program
from gradcheck.capture.slopes import Slope, slope_of
from gradcheck.capture.swaps import constants
from gradcheck.capture.terms import kind_of
from gradcheck.capture.trials import Sample, Trials, sampled
from gradcheck.capture.wording import Wording

SECONDS = 5.0
"""For which changes are tried."""
PROOFS = 8
"""Most changes that are tried to be proved."""
REPEATED = 0.5
"""By how much farther changes are of what repeats the forward pass."""
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
    value: int | None = None
    users: tuple[int, ...] = ()


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
    deadline = time.process_time() + seconds
    with np.errstate(all="ignore"):
        samples = [sampled(*one) for one in zip(programs, leaves, truths, strict=True)]
    trials = Trials(_alike(samples))
    if not trials.wrong and not trials.absent:
        return ()
    search = _Search(trials, Candidates(trials, deadline))
    wording = Wording(trials, search.candidates)
    absent = _absent(trials, wording)
    if not trials.wrong:
        return absent
    places = _places(trials, wording.foreign(), wording.groups())
    places = [
        replace(one, slope=slope_of(trials, one.at, trials.samples[0]))
        if one.gradient is None and not one.users and one.at not in trials.repeats
        else one
        for one in places
    ]
    trials.hopeless = {one.at for one in places if one.slope is not None and not one.slope.explains}
    edit = _first_proved(search.edits(places, wording), prove)
    if edit is not None:
        return _told(trials, wording, edit), *absent
    return *_unproved(trials, wording, places), *absent


def _absent(trials: Trials, wording: Wording) -> tuple[Suspect, ...]:
    """Tell which gradients are not there and are not zero."""
    line = wording.returning()
    where, source = wording.place(line), wording.source(line)
    return tuple(
        Suspect(line, source, "return", f"{where}: `{source}` returns no gradient of {name}")
        for name in trials.absent
    )


def _first_proved(edits: Iterator[Edit], prove: Callable[[Edit], bool]) -> Edit | None:
    return next(filter(prove, islice(edits, PROOFS)), None)


@dataclass(frozen=True)
class _Search:
    """Changes that make all gradients right, in the order in which they are to be proved."""

    trials: Trials
    candidates: Candidates

    def edits(self, places: Sequence[_Place], wording: Wording) -> Iterator[Edit]:
        """Yield changes; what behind true adjoints or cannot be written as code is put off."""
        sample = self.trials.samples[0]
        right, again = known_right(self.trials, sample), repeated(self.trials, sample)
        doubtful = [one for one in places if one.at not in right or one.users]
        believed = [one for one in places if one not in doubtful]
        wordy = []
        for some in (doubtful, believed):
            for stage in STAGES:
                passing = list(self._passing(some, stage))
                order = -1 if some is believed else 1  # what is missing comes after what is right
                passing.sort(
                    key=lambda edit: (
                        edit.cost + REPEATED * (edit.at in again),
                        order * edit.at,
                    )
                )
                for edit in passing:
                    if wording.is_code(edit):
                        yield edit
                    else:
                        wordy.append(edit)
        yield from wordy

    def _passing(self, places: Sequence[_Place], stage: Stage) -> Iterator[Edit]:
        for place in places:
            for edit in stage(self.candidates, place):
                if self.candidates.expired:
                    return
                if self.trials.passes(edit):
                    yield self.trials.everywhere(edit)


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


def _places(
    trials: Trials, foreign: Collection[int], groups: Sequence[Sequence[int]]
) -> list[_Place]:
    """Find the operations in which the fault can be, in order."""
    gradients = trials.program.gradients
    innocent = trials.behind(gradients[name] for name in trials.right)
    innocent |= trials.behind(trials.program.outputs)
    behind = trials.behind(gradients[name] for name in trials.wrong)
    suspects = [
        at
        for at in sorted(behind - innocent)
        if trials.steps[at].line
        and at not in foreign
        and kind_of(trials.steps[at].operation) not in SAME
    ]
    own, later = set(suspects), set[int]()
    for group in groups:
        first, *others = group if own.issuperset(group) else group[:1]
        if others:
            trials.repeats[first] = tuple(others)
            later |= set(others)
    found = [_Place(at) for at in suspects if at not in later]
    made = {n: i for i, step in enumerate(trials.steps) for n in step.results if n is not None}
    for name in trials.wrong:
        at = made.get(gradients[name] or 0, len(trials.steps) - 1)
        if at not in own or gradients[name] not in trials.steps[at].results:
            found.append(_Place(at, name))
    return [*found, *_shared(trials, suspects)]


SAME = ("detach", "alias", "lift_fresh", "view_of")
"""Operations that the framework adds, and that do nothing."""


def _shared(trials: Trials, suspects: Sequence[int]) -> Iterator[_Place]:
    """Find the values that are right, as far as they made what is right, and several suspects take.

    What was to be done with them before may be missing altogether.
    """
    split, own = len(trials.program.forward), set(suspects)
    made = {number for at in own for number in trials.steps[at].results}
    users: dict[int, list[int]] = {}
    for at in suspects:
        for number in set(trials.steps[at].operands) - made if at >= split else ():
            users.setdefault(number, []).append(at)
    for number, some in users.items():
        if len(some) > 1 and np.asarray(trials.samples[0].values[number]).dtype.kind == "f":
            yield _Place(some[0], value=number, users=tuple(some))


Stage = Callable[[Candidates, _Place], Iterator[Edit]]


def _near(candidates: Candidates, place: _Place) -> Iterator[Edit]:
    if place.gradient is None and not place.users:
        yield from candidates.near(place.at)


def _constants(candidates: Candidates, place: _Place) -> Iterator[Edit]:
    if place.gradient is None and not place.users:
        yield from fitted_constants(candidates, place.at)
        for _, number in constants(candidates.steps[place.at]):
            yield from fitted_everywhere(candidates, number)


def _operands(candidates: Candidates, place: _Place) -> Iterator[Edit]:
    if place.gradient is None and not place.users:
        yield from candidates.operands(place.at)


def _results(candidates: Candidates, place: _Place) -> Iterator[Edit]:
    if place.value is not None:
        return candidates.values_for(place.at, place.value, place.users)
    if place.gradient is None:
        return chain(candidates.results(place.at), candidates.factors(place.at))
    return candidates.results(place.at, place.gradient)


def _scale(candidates: Candidates, place: _Place) -> Iterator[Edit]:
    if place.value is None:
        yield from fitted_scale(candidates, place.at, place.gradient)


def _terms(candidates: Candidates, place: _Place) -> Iterator[Edit]:
    if place.value is None:
        yield from candidates.terms(place.at, place.gradient)


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


def _told(trials: Trials, wording: Wording, edit: Edit) -> Suspect:
    line, step = wording.line(edit), trials.steps[edit.at]
    return Suspect(line, wording.source(line), step.operation, wording.mend(edit), True, edit)


def _unproved(trials: Trials, wording: Wording, places: Sequence[_Place]) -> tuple[Suspect, ...]:
    """Rank lines by whether a change of what they yield can explain all wrong gradients."""
    explaining = [one for one in places if one.slope is not None and one.slope.explains]
    unknown = [one for one in places if one.slope is None]
    ranked = [
        *reversed(explaining),
        *sorted(unknown, key=lambda one: (bool(one.gradient), -one.at)),
    ]
    ranked += [one for one in reversed(places) if one not in ranked]
    found: dict[Line | None, Suspect] = {}
    for place in ranked:
        if place.users:
            continue
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
