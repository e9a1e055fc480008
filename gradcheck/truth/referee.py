"""Who is wrong: disagreements before the rigorous derivative of the definition."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import flint
import numpy as np

from gradcheck.harness.outcome import Outcome
from gradcheck.harness.request import Request
from gradcheck.judge.tally import Case, Key
from gradcheck.model.model import Model
from gradcheck.truth.audit import Audit, audit
from gradcheck.truth.derivative import (
    PRECISIONS,
    UnsupportedOperationError,
)
from gradcheck.truth.enclosures import is_outside, precision
from gradcheck.truth.matter import Matter, look_at
from gradcheck.truth.witness import Witness, affordable

REFERENCE, BOTH, NEITHER, DEFINITION = "reference", "both", "neither", "definition"
"""Culprits, besides the name of an adapter. `neither` is a defect of the bound."""
HAND_WRITTEN = "hand-written"
"""The adapter that runs the passes themselves, so that the definition excuses nothing in it."""

UNKNOWN, UNDEFINED = "unknown", "undefined"
"""What a truth is called that is no number."""
LOSES_DIGITS = "the definition loses digits here"
OVERFLOWS = "the definition overflows here"
IS_UNKNOWN = "the derivative is not known here"
IS_UNDEFINED = "the definition is undefined here"
NEAR_A_KINK = "the definition is so near a kink that rounding may choose its side"
ON_A_KINK = "both lie between the one-sided derivatives"
REASONS = (LOSES_DIGITS, OVERFLOWS, IS_UNKNOWN, IS_UNDEFINED, NEAR_A_KINK, ON_A_KINK)


@dataclass(frozen=True)
class Ruling:
    """The truth about one comparison, in decimal, and who is not within its bar of it.

    Parameters
    ----------
    truth
        `unknown` or `undefined` if it is no number.
    culprit
        Empty if nothing is proved.
    reason
        Why it is neither the reference nor an adapter, of `REASONS`; else empty.
    """

    truth: str
    culprit: str
    reason: str = ""


@dataclass(frozen=True)
class Rulings:
    """What the referee found.

    Parameters
    ----------
    by_case
        A ruling for each refereed disagreement.
    left
        How many tabulated disagreements were not refereed, for lack of budget.
    unsupported
        The operation of the definition that the referee cannot follow; empty if there is none.
    seconds
        Spent on disagreements and on the audit.
    """

    by_case: Mapping[tuple[Key, Case], Ruling] = field(default_factory=dict)
    left: int = 0
    audit: Audit = field(default_factory=Audit)
    unsupported: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def blamed(self) -> tuple[str, ...]:
        """Gradients of which the reference was proved wrong."""
        guilty = [
            gradient
            for ((_, _, gradient), _), ruling in self.by_case.items()
            if ruling.culprit in (REFERENCE, BOTH)
        ]
        found = (gradient for _, gradient in self.audit.refuted)
        return tuple(dict.fromkeys([*guilty, *found]))

    @property
    def facts(self) -> dict[str, Any]:
        """How many disagreements were refereed and left, and how often which reason was given."""
        given = [ruling.reason for ruling in self.by_case.values() if ruling.reason]
        return {
            "refereed": len(self.by_case),
            "left": self.left,
            "unsupported": self.unsupported,
            "reasons": {reason: given.count(reason) for reason in REASONS if reason in given},
        }


def referee(
    model: Model,
    request: Request,
    outcome: Outcome,
    progress: Callable[[float], None] = lambda fraction: None,
) -> Rulings:
    """Rule on the tabulated disagreements, and audit a share of the samples.

    Parameters
    ----------
    progress
        Is told the fraction done.
    """
    times = [time.perf_counter()]
    by_case: dict[tuple[Key, Case], Ruling] = {}
    left, audited, unsupported = 0, Audit(), ""
    try:
        by_case, left = rule_on(
            model, request, outcome, _in_turn(outcome), lambda done: progress(done / 2)
        )
        times.append(time.perf_counter())
        audited = audit(model, request, outcome, lambda done: progress((1 + done) / 2))
    except UnsupportedOperationError as error:
        unsupported = error.operation
    times.append(time.perf_counter())
    spent = dict(zip(("referee", "audit"), np.diff(times).tolist(), strict=False))
    return Rulings(by_case, left, audited, unsupported, spent)


def _in_turn(outcome: Outcome) -> list[tuple[Key, Case]]:
    """Go round adapters, dtypes and gradients, the worst case of each first."""
    groups = [
        [(key, case) for case in (*tally.nans, *tally.disagreements)]
        for key, tally in outcome.tallies.items()
    ]
    return [entry for turn in zip_longest(*groups) for entry in turn if entry is not None]


def rule_on(
    model: Model,
    request: Request,
    outcome: Outcome,
    in_turn: Sequence[tuple[Key, Case]],
    progress: Callable[[float], None],
) -> tuple[dict[tuple[Key, Case], Ruling], int]:
    """Rule on cases in this order; return also how many were left, for lack of budget.

    Adapters that disagree about the same number share one derivative and one unit of the budget.
    """
    witnesses: dict[tuple[str, int], Witness] = {}
    matters: dict[tuple[str, str, int, int], Matter] = {}
    brought = []
    budget = request.referee_limit
    for key, case in in_turn:
        _, dtype, gradient = key
        number = dtype, gradient, case.sample, case.element
        if number not in matters:
            if len(matters) >= budget:
                continue
            if (dtype, case.sample) not in witnesses:
                values = outcome.samples[dtype].select([case.sample]).values
                rounding = request.rounding(dtype)
                witnesses[dtype, case.sample] = Witness(model, values, rounding)
            witness = witnesses[dtype, case.sample]
            if not matters:
                budget = min(budget, affordable(witness))
            matters[number] = Matter(witness, gradient, case.element, case.bound)
        brought.append((key, case, matters[number]))
    look_at(list(matters.values()))
    by_case = {}
    for done, (key, case, matter) in enumerate(brought, start=1):
        by_case[key, case] = rule(case, key[0], matter)
        progress(done / len(brought))
    return by_case, len(in_turn) - len(brought)


def rule(case: Case, adapter: str, matter: Matter) -> Ruling:
    """Name whoever is wrong by more than rounding.

    That is whoever is farther from the truth than its share of the bound: half, for the bound
    counts two errors. The reference is innocent if its formula yields the truth in exact
    arithmetic. Adapters differentiate the definition, not the passes: one that is within what the
    definition's own rounding allows is innocent too, and the definition itself is to blame.
    """
    slope, share = matter.slope, case.bound / 2
    if slope.undefined:
        return Ruling(UNDEFINED, "", IS_UNDEFINED)
    if not slope.is_known:
        return Ruling(UNKNOWN, "", IS_UNKNOWN)
    truth = slope.enclosure
    with precision(PRECISIONS[0]):
        if slope.two_sided or case.low <= case.high:
            return _rule_on_kink(case, adapter, matter)
        reference_wrong = is_outside(case.reference, truth, share)
        formula = matter.formula
        if formula is not None and formula.overlaps(truth) and np.isfinite(case.reference):
            reference_wrong = False
        adapter_wrong = is_outside(case.value, truth, share)
        digits = str(slope)
    if not adapter_wrong:
        return Ruling(digits, REFERENCE if reference_wrong else NEITHER)
    if adapter == HAND_WRITTEN:
        return Ruling(digits, REFERENCE if reference_wrong else adapter)
    if reference_wrong:  # and so is its bar
        excuse = _excuse(case, matter, matter.honest_width())
        return Ruling(digits, REFERENCE if excuse else BOTH)
    excuse = _excuse(case, matter, matter.definition_bar(share))
    return Ruling(digits, DEFINITION, excuse) if excuse else Ruling(digits, adapter)


def _excuse(case: Case, matter: Matter, bar: float) -> str:
    """Say what in the definition makes an honest derivative of it as wrong as this."""
    witness = matter.witness
    if witness.loss_is_lost or (witness.definition_breaks and not np.isfinite(case.value)):
        return OVERFLOWS
    with precision(PRECISIONS[0]):
        is_honest = not is_outside(case.value, matter.slope.enclosure, bar)
    return LOSES_DIGITS if is_honest else ""


def _rule_on_kink(case: Case, adapter: str, matter: Matter) -> Ruling:
    """Hold both against the one-sided derivatives of the definition.

    Where the definition has an exact tie, whatever lies between these is right. Near one, rounding
    may honestly put an evaluation on the other side, of which nothing is known.
    """
    slope, share = matter.slope, case.bound / 2
    adapter_wrong = slope.excludes(case.value, share)
    if slope.tie:
        reference_wrong = slope.excludes(case.reference, case.bound)
    else:
        by_hand = flint.arb(case.low).union(flint.arb(case.high))
        reference_wrong = bool(np.isfinite(case.low + case.high)) and not by_hand.overlaps(
            slope.enclosure
        )
        if adapter_wrong and not reference_wrong and matter.witness.is_open:
            return Ruling(str(slope), "", NEAR_A_KINK)
    if adapter_wrong:
        return Ruling(str(slope), BOTH if reference_wrong else adapter)
    if reference_wrong:
        return Ruling(str(slope), REFERENCE)
    return Ruling(str(slope), "", ON_A_KINK)
