"""Samples on which everybody agrees, before the rigorous derivative of the definition."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from itertools import chain, islice, zip_longest
from math import ceil, log2, prod
from typing import Any

import numpy as np

from gradcheck.adapters import normal_range
from gradcheck.harness.outcome import Outcome
from gradcheck.harness.request import Request
from gradcheck.harness.samples import AUDIT_STREAM, choose_audited, draw_words, uniform
from gradcheck.judge.reference import Passes
from gradcheck.judge.tally import Case
from gradcheck.judge.verdict import Verdict
from gradcheck.model.model import Model
from gradcheck.truth.confidence import LEVEL, share_below
from gradcheck.truth.identity import Audited
from gradcheck.truth.matter import look_at
from gradcheck.truth.together import Gradients, prove_together
from gradcheck.truth.witness import Witness, affordable

REFEREE = "referee"
CHEAPER = 8
"""How many times as much an evaluation takes by itself as among many, at least."""


@dataclass(frozen=True)
class Audit:
    """Samples on which everybody agrees, before the referee.

    Parameters
    ----------
    samples
        How many were looked at.
    identities
        On how many the derivative in a random direction was that of the formulas.
    proved
        Gradients whose reference is within an informative bound of the formula's enclosure where
        the identity holds, or of the true derivative.
    refuted
        Those that are provably outside, or whose formula is wrong in exact arithmetic by more than
        rounding explains, by dtype and gradient.
    open
        On samples on which the identity provably fails, how many elements were not ruled on one by
        one, by dtype and gradient.
    unknown
        Gradients of which nothing was found out: near a kink, beyond Arb, or for lack of budget.
    unexplained
        Samples on which the identity fails by more than `BLUR`, but no gradient was found wrong.
    """

    samples: int = 0
    identities: int = 0
    proved: int = 0
    refuted: Mapping[tuple[str, str], tuple[Case, ...]] = field(default_factory=dict)
    open: Mapping[tuple[str, str], int] = field(default_factory=dict)
    unknown: int = 0
    unexplained: int = 0

    def join(self, other: Audit) -> Audit:
        """Add the audit of another format."""
        return Audit(
            self.samples + other.samples,
            self.identities + other.identities,
            self.proved + other.proved,
            {**self.refuted, **other.refuted},
            {**self.open, **other.open},
            self.unknown + other.unknown,
            self.unexplained + other.unexplained,
        )

    @property
    def facts(self) -> dict[str, Any]:
        """Counts, and a bound on the share of samples with a wrong formula if none was found.

        Were it as large as `wrong_share_below`, n samples without a wrong one would have had a
        probability of 1 − `LEVEL` at most.
        """
        wrong = sum(map(len, self.refuted.values()))
        bound = None
        if self.identities and not wrong:
            bound = share_below(0, self.identities)
        return {
            "samples": self.samples,
            "identities": self.identities,
            "proved": self.proved,
            "refuted": wrong,
            "unknown": self.unknown,
            "unexplained": self.unexplained,
            "wrong_share_below": bound,
            "confidence": LEVEL,
        }


def audit(
    model: Model,
    request: Request,
    outcome: Outcome,
    progress: Callable[[float], None] = lambda fraction: None,
) -> Audit:
    """Referee the gradients that nobody disputes, on samples chosen at random.

    A formula written by hand is the same in every format; what a function computes need not be.
    """
    formats = request.dtypes if model.recorded else request.dtypes[:1]
    found = []
    for i, dtype in enumerate(formats):

        def told(done: float, before: int = i) -> None:
            progress((before + done) / len(formats))

        found.append(_audit_format(model, request, outcome, dtype, told))
    return reduce(Audit.join, found)


def _audit_format(
    model: Model,
    request: Request,
    outcome: Outcome,
    dtype: str,
    progress: Callable[[float], None],
) -> Audit:
    numbers = choose_audited(model, request)
    disputed = {
        gradient
        for (_, at, gradient), tally in outcome.tallies.items()
        if tally.counts[Verdict.DISAGREE] and (at == dtype or not model.recorded)
    }
    shapes = {name: s for name, s in model.parameters.items() if name not in disputed}
    if not numbers or not shapes:
        return Audit(len(numbers))
    values = outcome.samples[dtype].select(numbers).values
    rounding = request.rounding(dtype)
    passes = Passes(model, values, rounding)
    references = [
        passes.gradient(name, normal_range(rounding.dtype), len(numbers)) for name in shapes
    ]
    flat = {
        part: np.concatenate([getattr(r, part).reshape(len(numbers), -1) for r in references], 1)
        for part in ("value", "bound", "ulp")
    }
    kinks = np.concatenate(
        [
            np.zeros(r.value.shape, bool).reshape(len(numbers), -1)
            if r.kink is None
            else r.kink.reshape(len(numbers), -1)
            for r in references
        ],
        1,
    )
    size = flat["value"].shape
    words = draw_words(request.seed, AUDIT_STREAM + 1, 0, prod(size))
    gradients = Gradients(shapes, uniform(words).reshape(size), kinks, **flat)
    proved = prove_together(model, values, rounding, gradients)
    left = np.flatnonzero(proved < 0).tolist()
    audited = []
    for done, row in enumerate(left, start=len(numbers) - len(left) + 1):
        one = {name: array[row : row + 1] for name, array in values.items()}
        audited.append(Audited(Witness(model, one, rounding), *gradients.rows(row).columns))
        audited[-1].check()
        progress(done / len(numbers))
    alone = Audit()
    if audited:
        alone = _settled(dtype, [numbers[row] for row in left], audited)
    progress(1.0)
    together = len(numbers) - len(left)
    return Audit(together, together, int(proved[proved > 0].sum())).join(alone)


def _settled(dtype: str, numbers: list[int], audited: list[Audited]) -> Audit:
    """Rule on what the identities left open, as far as can be afforded.

    Samples on which the identity provably fails come first, one to its end before the next, so that
    a gradient is named; then the others in turn.
    """
    suspects = [one for one in audited if one.fails]
    budget, size = affordable(audited[0].witness), audited[0].value.size
    few = suspects[: budget * CHEAPER // size]
    look_at([one.matter(place) for one in few for place in range(size)])
    for one in few:
        one.looked_at = True
        for _ in one.rule():
            pass
    others = [one.rule() for one in audited if not one.fails]
    steps = chain(
        chain.from_iterable(one.rule() for one in suspects if not one.looked_at),
        (step for turn in zip_longest(*others) for step in turn if step is not None),
    )
    halvings = 2 * ceil(log2(1 + size))  # to name one number among all
    for _ in islice(steps, max(budget, halvings + 1)):
        pass
    refuted: defaultdict[tuple[str, str], list[Case]] = defaultdict(list)
    left: Counter[tuple[str, str]] = Counter()
    for number, one in zip(numbers, audited, strict=True):
        for place, truth in one.refuted.items():
            gradient, case = one.case(number, place, truth)
            refuted[dtype, gradient].append(case)
        if one.fails:
            left.update((dtype, gradient) for gradient in one.left)
    proved = sum(len(one.proved) for one in audited)
    wrong = sum(map(len, refuted.values()))
    return Audit(
        len(audited),
        sum(one.holds for one in audited),
        proved,
        {key: tuple(cases) for key, cases in refuted.items()},
        left,
        sum(one.value.size - len(one.told | one.proved) for one in audited) - wrong,
        sum(not one.refuted for one in suspects),
    )
