"""Who is wrong: disagreements, and a share of the agreements, before the rigorous derivative."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from math import prod
from typing import Any

import flint
import numpy as np

from gradcheck.adapters import normal_range
from gradcheck.harness.block import Key
from gradcheck.harness.request import Request
from gradcheck.harness.samples import AUDIT_STREAM, EVIDENCE, Samples, choose_audited, draw_words
from gradcheck.harness.sweep import Outcome
from gradcheck.judge.reference import Passes
from gradcheck.judge.tally import Case
from gradcheck.judge.verdict import Verdict
from gradcheck.model.model import Model
from gradcheck.numbers.rounding import Rounding
from gradcheck.truth.derivative import (
    UnsupportedOperationError,
    decimal,
    enclose_derivative,
    enclose_gradients,
    precision,
    reals,
    working_bits,
)

REFEREE = "referee"
REFERENCE, BOTH, NEITHER = "reference", "both", "neither"
"""Culprits, besides the name of an adapter. `neither` is a defect of the bound."""

PRECISIONS = (128, 256, 512, 1024, 2048, 4096)
"""Bits, tried in turn until the enclosure is narrow."""
NARROW = 2.0**-20
"""An enclosure's width as a fraction of the bar that it is held against."""
AUDIT_WORK, FEWEST_AUDITED = 100_000, 8
"""Derivatives times numbers in a sample that are spent on an audit; gradients at least."""


@dataclass(frozen=True)
class Ruling:
    """The truth about one comparison, in decimal, and who is not within its bar of it."""

    truth: str
    culprit: str


@dataclass(frozen=True)
class Audit:
    """Samples on which everybody agrees, before the referee.

    `proved` counts gradients whose reference is provably within an informative bound of the true
    derivative. `refuted` are those that are provably not, or whose formula is wrong in exact
    arithmetic by more than rounding explains, by gradient; of the others nothing is known.
    """

    samples: int = 0
    proved: int = 0
    refuted: Mapping[str, tuple[Case, ...]] = field(default_factory=dict)


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
    """

    by_case: Mapping[tuple[Key, Case], Ruling] = field(default_factory=dict)
    left: int = 0
    audit: Audit = field(default_factory=Audit)
    unsupported: str = ""

    @property
    def blamed(self) -> tuple[str, ...]:
        """Gradients of which the reference was proved wrong."""
        guilty = [
            gradient
            for ((_, _, gradient), _), ruling in self.by_case.items()
            if ruling.culprit in (REFERENCE, BOTH)
        ]
        return tuple(dict.fromkeys([*guilty, *self.audit.refuted]))


def referee(model: Model, request: Request, outcome: Outcome) -> Rulings:
    """Rule on the tabulated disagreements, and audit a share of the samples."""
    try:
        by_case, left = _rule_on_cases(model, request, outcome)
        return Rulings(by_case, left, _audit(model, request, outcome))
    except UnsupportedOperationError as error:
        return Rulings(unsupported=str(error))


def _rule_on_cases(
    model: Model, request: Request, outcome: Outcome
) -> tuple[dict[tuple[Key, Case], Ruling], int]:
    """Go round adapters, dtypes and gradients, the worst case of each first.

    Adapters that disagree about the same number share one derivative and one unit of the budget.
    """
    groups = [
        [(key, case) for case in tally.disagreements] for key, tally in outcome.tallies.items()
    ]
    in_turn = [entry for turn in zip_longest(*groups) for entry in turn if entry is not None]
    derivatives: dict[Any, tuple[flint.arb, float, flint.arb | None]] = {}
    by_case, left = {}, 0
    for key, case in in_turn:
        adapter, dtype, gradient = key
        number = dtype, gradient, case.sample, case.element
        if number not in derivatives:
            if len(derivatives) == request.referee_limit:
                left += 1
                continue
            derivatives[number] = _derivative(
                model, request, outcome.samples[dtype], *number, width=case.bound
            )
        by_case[key, case] = _rule(case, adapter, *derivatives[number])
    return by_case, left


def _derivative(
    model: Model,
    request: Request,
    samples: Samples,
    dtype: str,
    gradient: str,
    sample: int,
    element: int,
    width: float,
) -> tuple[flint.arb, float, flint.arb | None]:
    """Enclose a derivative; bound honest evaluations in the dtype; enclose the formula's result."""
    values = samples.select([sample]).values
    position = tuple(map(int, np.unravel_index(element, model.parameters[gradient])))
    truth = narrow_derivative(model, values, gradient, position, width)[0]
    bits = working_bits(Rounding(np.dtype(dtype), request.ulps))
    wide = enclose_derivative(model, values, gradient, position, bits)[0]
    formula = _formula(model, values)
    return truth, float(wide.rad()), formula and formula[gradient][(0, *position)]


def _formula(model: Model, values: Mapping[str, Any]) -> dict[str, Any] | None:
    """Run the hand-written passes in Arb: what they say, rounding apart; `None` if Arb cannot."""
    try:
        found = enclose_gradients(model, values, PRECISIONS[1])
        samples = len(next(iter(values.values())))
        return {
            name: np.broadcast_to(_reals(found[name]), (samples, *shape))
            for name, shape in model.parameters.items()
        }
    except (TypeError, AttributeError, ValueError, ZeroDivisionError):
        return None


def _reals(gradient: Any) -> Any:
    return gradient if np.asarray(gradient).dtype.hasobject else reals(gradient)


def narrow_derivative(
    model: Model, values: Mapping[str, Any], name: str, element: tuple[int, ...], width: float
) -> Any:
    """Enclose the derivative, shape `(n,)`, until it is far narrower than `width`."""
    before = np.inf
    for bits in PRECISIONS:
        truth = enclose_derivative(model, values, name, element, bits)
        widest = max(float(derivative.rad()) for derivative in truth)
        if widest <= NARROW * width or widest > before / 2:  # on a kink it cannot be narrow
            break
        before = widest
    return truth


def _rule(
    case: Case, adapter: str, truth: flint.arb, honest: float, formula: flint.arb | None
) -> Ruling:
    """Name whoever is wrong by more than rounding.

    That is whoever is farther from the truth than its share of the bound: half, for the bound
    counts two errors. The reference is innocent if its formula yields the truth in exact
    arithmetic. Where that formula is wrong, so is its bound, and an adapter has `honest` instead.
    """
    share = case.bound / 2
    if case.low <= case.high:  # on a kink; the adapter is outside, or there would be no case
        with precision(PRECISIONS[0]):
            by_hand = flint.arb(case.low).union(flint.arb(case.high))
            given = flint.arb(case.value, share) if np.isfinite(case.value) else None
            if given is not None and given.overlaps(truth):
                culprit = REFERENCE
            else:
                culprit = adapter if by_hand.overlaps(truth) else BOTH
            return Ruling(_one_sided(truth), culprit)
    with precision(PRECISIONS[0]):
        reference_wrong = is_outside(case.reference, truth, share)
        if formula is not None and formula.overlaps(truth):
            reference_wrong = False
        bar = max(share, honest) if reference_wrong else share
        adapter_wrong = is_outside(case.value, truth, bar)
        digits = decimal(truth)
    culprits = {
        (True, True): BOTH,
        (True, False): REFERENCE,
        (False, True): adapter,
        (False, False): NEITHER,
    }
    return Ruling(digits, culprits[reference_wrong, adapter_wrong])


def _one_sided(truth: flint.arb) -> str:
    """Write an enclosure of both one-sided derivatives."""
    if decimal(truth.lower()) == decimal(truth.upper()):
        return decimal(truth)
    return f"{decimal(truth.lower())} to {decimal(truth.upper())}"


def is_outside(value: float, truth: flint.arb, bar: float) -> bool:
    """Tell whether a value is provably more than `bar` away from the enclosed truth."""
    return not np.isfinite(value) or bool(abs(flint.arb(value) - truth) > bar)


def _audit(model: Model, request: Request, outcome: Outcome) -> Audit:
    """Referee the gradients that nobody disputes, on samples chosen at random."""
    disputed = {
        gradient
        for (_, _, gradient), tally in outcome.tallies.items()
        if tally.counts[Verdict.DISAGREE]
    }
    samples, dtype = choose_audited(request), np.dtype(request.dtypes[0])
    if not samples:
        return Audit()
    values = outcome.samples[request.dtypes[0]].select(samples).values
    passes = Passes(model, values, Rounding(dtype, request.ulps))
    formula = _formula(model, values)
    proved = 0
    refuted: defaultdict[str, list[Case]] = defaultdict(list)
    chosen = _audited_elements(model, request, len(samples), disputed)
    for gradient, shape in model.parameters.items():
        reference = passes.gradient(gradient, normal_range(dtype), len(samples))
        for position in chosen[gradient]:
            if reference.kink is not None and reference.kink[position]:
                continue  # whatever lies between the one-sided derivatives is right
            row, *element = position
            value, bound = float(reference.value[position]), float(reference.bound[position])
            sample = {name: array[row : row + 1] for name, array in values.items()}
            truth = narrow_derivative(model, sample, gradient, tuple(element), bound)[0]
            exact = None if formula is None else formula[gradient][position]
            bits = working_bits(passes.rounding)
            honest = enclose_derivative(model, sample, gradient, tuple(element), bits)[0].rad()
            with precision(PRECISIONS[0]):
                # Where a bar is infinite or too wide, the formula still shows in exact arithmetic.
                honest += abs(truth) * 2.0**-bits  # which chance may have left without rounding
                wrong = exact is not None and _differs(exact, truth, honest)
                wrong |= bound < np.inf and is_outside(value, truth, bound)
                inside = bound < np.inf and abs(flint.arb(value) - truth) <= bound
            if not wrong:
                proved += bool(inside and 2 * bound <= abs(value))
                continue
            right = float(truth)
            ulps = abs(right - value) / float(reference.ulp[position])
            flat = int(np.ravel_multi_index(element, shape)) if shape else 0
            case = Case(samples[row], flat, "disagree", right, value, bound, ulps, np.inf)
            refuted[gradient].append(case)
    return Audit(len(samples), proved, {name: tuple(cases) for name, cases in refuted.items()})


def _audited_elements(
    model: Model, request: Request, samples: int, disputed: set[str]
) -> dict[str, list[tuple[int, ...]]]:
    """Choose elements of undisputed gradients: all, or as many at random as can be afforded."""
    places = [
        (gradient, place)
        for gradient, shape in model.parameters.items()
        if gradient not in disputed
        for place in range(samples * prod(shape))
    ]
    numbers = sum(prod(shape) for shape in model.leaves.values())
    affordable = max(FEWEST_AUDITED, AUDIT_WORK // numbers)
    if len(places) > affordable:
        words = draw_words(request.seed, AUDIT_STREAM + 1, 0, affordable)
        places = [places[i] for i in sorted({int(word) % len(places) for word in words})]
    found: dict[str, list[tuple[int, ...]]] = {gradient: [] for gradient in model.parameters}
    for gradient, place in places:
        shape = (samples, *model.parameters[gradient])
        found[gradient].append(tuple(map(int, np.unravel_index(place, shape))))
    return found


def _differs(formula: flint.arb, truth: flint.arb, honest: flint.arb) -> bool:
    """Tell whether a formula is wrong by more than honest rounding, that of its constants too."""
    if not (truth.is_finite() and honest.is_finite()):
        return False
    return not formula.is_finite() or bool(abs(formula - truth) > honest)


@dataclass(frozen=True)
class Evidence:
    """What a diagnosis is based on.

    Parameters
    ----------
    samples, values
        The first samples and some on which the reference is wrong, in turn.
    disputed
        Elements on which it is wrong, by gradient.
    """

    samples: Sequence[int]
    values: Mapping[str, Any]
    disputed: Mapping[str, Sequence[int]]


def evidence(request: Request, outcome: Outcome, rulings: Rulings) -> Evidence:
    """Gather samples for a diagnosis."""
    dtype = request.dtypes[0]
    guilty = [
        (gradient, case)
        for ((_, at, gradient), case), ruling in rulings.by_case.items()
        if at == dtype and ruling.culprit in (REFERENCE, BOTH)
    ]
    guilty += [(name, case) for name, cases in rulings.audit.refuted.items() for case in cases]
    bad = list(dict.fromkeys(case.sample for _, case in guilty))[:EVIDENCE]
    first = range(min(EVIDENCE, request.samples))
    in_turn = [i for pair in zip_longest(first, bad) for i in pair if i is not None]
    chosen = list(dict.fromkeys(in_turn))
    disputed: dict[str, list[int]] = {name: [] for name in rulings.blamed}
    for name, case in guilty:
        disputed[name].append(case.element)
    return Evidence(chosen, outcome.samples[dtype].select(chosen).values, disputed)
