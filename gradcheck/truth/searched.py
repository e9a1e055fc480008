"""What of a search's findings is a disagreement, and what the definition itself does to its digits.

A search goes where a naive definition overflows, or loses its digits; there no framework's
derivative of it is to blame. The referee tells the two apart, so that its word decides here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import zip_longest

from gradcheck.harness.outcome import Outcome
from gradcheck.harness.request import Request
from gradcheck.harness.search import Search
from gradcheck.judge.tally import Case, Key
from gradcheck.model.model import Model
from gradcheck.truth.derivative import UnsupportedOperationError
from gradcheck.truth.referee import BOTH, DEFINITION, REFERENCE, Rulings, rule_on


def rule_on_findings(
    model: Model,
    request: Request,
    search: Search,
    progress: Callable[[float], None] = lambda fraction: None,
) -> Rulings:
    """Rule on what a search found: each sample once, before any twice; strained samples last."""
    groups = [
        [(key, case) for case in (*tally.nans, *tally.disagreements)]
        for key, tally in search.outcome.tallies.items()
    ]
    cases = [entry for turn in zip_longest(*groups) for entry in turn if entry is not None]
    times: dict[tuple[str, int], int] = {}

    def rank(entry: tuple[Key, Case]) -> tuple[bool, int]:
        (_, dtype, _), case = entry
        sample = dtype, case.sample
        times[sample] = times.get(sample, 0) + 1
        return sample in search.strained, times[sample]

    try:
        in_turn = sorted(cases, key=rank)
        by_case, left = rule_on(model, request, search.outcome, in_turn, progress)
    except UnsupportedOperationError as error:
        return Rulings(unsupported=error.operation)
    return Rulings(by_case, left)


def disputed(search: Search, rulings: Rulings) -> Outcome:
    """Leave out what is the definition's own doing, or may be: it is no disagreement.

    That is, cases ruled so, and others of the same sample. On a strained sample some step of an
    honest derivative may overflow or underflow, so that only the passes can be wrong there, and
    only if that is proved.
    """
    ruled: dict[tuple[str, int], list[str]] = {}
    for ((_, dtype, _), case), ruling in rulings.by_case.items():
        ruled.setdefault((dtype, case.sample), []).append(ruling.culprit)

    def stands(key: Key, case: Case) -> bool:
        sample = key[1], case.sample
        ruling = rulings.by_case.get((key, case))
        if sample in search.strained:
            return ruling is not None and ruling.culprit in (REFERENCE, BOTH)
        if ruling is not None:
            return ruling.culprit not in ("", DEFINITION)
        known = ruled.get(sample, [])
        return not known or not set(known) <= {"", DEFINITION}

    tallies = {
        key: replace(
            tally,
            nans=tuple(case for case in tally.nans if stands(key, case)),
            disagreements=tuple(case for case in tally.disagreements if stands(key, case)),
        )
        for key, tally in search.outcome.tallies.items()
    }
    return replace(search.outcome, tallies=tallies)
