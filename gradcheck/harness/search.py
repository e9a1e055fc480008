"""The search for the worst: samples that are bred to disagree, in generations.

A fault in a rare region hides from random samples: a wrong term where |x| > 6, a table's last
entry, a branch that needs two numbers to be equal. So samples are changed one or all numbers at a
time, to special values first; then those that came nearest to a goal are changed again, and
crossed. What it finds says nothing about rates, so it is kept apart from the random samples.

References
----------
W. Miller, D. L. Spooner, *Automatic generation of floating-point test data*, IEEE Transactions on
Software Engineering SE-2 (1976): inputs that maximise a function of the comparisons.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from gradcheck.adapters import choose_adapters
from gradcheck.harness.archive import GOALS, Archive
from gradcheck.harness.block import Bench
from gradcheck.harness.branches import observe
from gradcheck.harness.moves import KINK, Dice, Move, Space, all_moves
from gradcheck.harness.outcome import Outcome
from gradcheck.harness.request import Request
from gradcheck.harness.samples import EVIDENCE, Samples, block_size, draw_block
from gradcheck.judge.tally import Key
from gradcheck.judge.verdict import Comparison, Verdict
from gradcheck.model.model import Model
from gradcheck.numbers.rounding import finfo
from gradcheck.stopwatch import Stopwatch

Floats = NDArray[np.float64]

SEARCH_STREAM = 2**64
"""Of the seed's random words, and the next ones by format; samples use the streams below."""
GENERATIONS, LARGEST, SMALLEST = 16, 1024, 64
"""Into how many generations a search is cut, and how many samples one has."""
ATTEMPTS = 8
"""How often a sample is bred anew that was seen before."""


@dataclass(frozen=True)
class Search:
    """What a search found.

    Parameters
    ----------
    outcome
        As of a sweep, on samples whose numbers go on after those of the random ones.
    goals
        What led to the samples that are kept, by dtype and number.
    spent, found
        Samples, and samples that disagree and are not strained, by goal.
    strained
        Samples that disagree where the definition leaves the range of comfort, by dtype and number.
    ratio
        The largest distance as a fraction of its bound, on samples that are not strained.
    branches, new
        Combinations of branches that were seen, and how many of them by the search alone.
    seconds
        Spent.
    """

    outcome: Outcome = field(default_factory=Outcome)
    goals: Mapping[tuple[str, int], str] = field(default_factory=dict)
    spent: Mapping[str, int] = field(default_factory=dict)
    found: Mapping[str, int] = field(default_factory=dict)
    strained: Set[tuple[str, int]] = frozenset()
    ratio: float = 0.0
    branches: int = 0
    new: int = 0
    seconds: float = 0.0

    def beside(self, swept: Outcome) -> Outcome:
        """Return what was found, with the random samples that are kept beside its own."""
        samples = {
            dtype: swept.samples[dtype].join(found) for dtype, found in self.outcome.samples.items()
        }
        return replace(self.outcome, samples=samples)


NO_SEARCH = Search()


def search(
    model: Model,
    request: Request,
    swept: Outcome,
    progress: Callable[[float], None] = lambda fraction: None,
) -> Search:
    """Look for disagreements where random samples seldom come.

    The result depends on model, request and seed alone.

    Parameters
    ----------
    swept
        What the random samples showed: the worst of them are where it begins.
    progress
        Is told the fraction done.
    """
    budget = request.search_samples
    if not budget:
        return NO_SEARCH
    begun, total = time.perf_counter(), budget * len(request.dtypes)
    size = min(LARGEST, max(SMALLEST, budget // GENERATIONS), budget, block_size(model, request))
    size = 1 << (size.bit_length() - 1)
    bench = Bench(
        model, request, choose_adapters(request.adapters, model, request.dtypes), size, extreme=True
    )
    climbs: list[_Climb] = []
    for stream, dtype in enumerate(request.dtypes):
        climb = _Climb(
            bench, dtype, swept.samples[dtype], Dice(request.seed, SEARCH_STREAM + stream)
        )
        climb.run(budget, lambda done: progress((len(climbs) * budget + done) / total))
        climbs.append(climb)
    outcome = Outcome()
    for climb in climbs:
        outcome = outcome.merge(climb.outcome)
    return Search(
        replace(outcome, seconds={}),
        {(climb.dtype, number): climb.goals[number] for climb in climbs for number in climb.kept},
        {goal: sum(climb.spent[goal] for climb in climbs) for goal in GOALS},
        {goal: sum(climb.found[goal] for climb in climbs) for goal in GOALS},
        {(climb.dtype, number) for climb in climbs for number in climb.strained},
        max(climb.ratio for climb in climbs),
        sum(len(climb.archive.patterns) for climb in climbs),
        sum(climb.new for climb in climbs),
        time.perf_counter() - begun,
    )


class _Climb:
    """A search in one format."""

    def __init__(self, bench: Bench, dtype: str, swept: Samples, dice: Dice) -> None:
        self.bench, self.dtype, self.dice = bench, dtype, dice
        self.space, self.archive = Space(bench.model, dtype), Archive()
        self.outcome = Outcome()
        self.goals: dict[int, str] = {}
        self.spent, self.found, self.new = Counter[str](), Counter[str](), 0
        self.strained: set[int] = set()
        self.ratio = 0.0
        self._seen: set[bytes] = set()
        self._judged: list[tuple[Key, Comparison]] = []
        bench.record = self._record
        self._origins = list(self.space.rows(swept.values)[: 2 * EVIDENCE])
        usual = draw_block(bench.model, bench.request, dtype, 0, bench.block)
        self.archive.learn_branches(
            self.space.rows(usual.values), observe(bench.model, usual.values, dtype).leads
        )

    @property
    def kept(self) -> list[int]:
        """The numbers of the samples that are kept."""
        return [int(number) for number in self.outcome.samples[self.dtype].numbers]

    def run(self, budget: int, told: Callable[[int], None]) -> None:
        """Breed and judge so many samples."""
        moves = all_moves(self.space, budget // 2)
        queue = self.dice.shuffled(moves)[: budget // 2]
        done, first = 0, self.bench.request.samples
        while done < budget:
            rows, goals = self._bred(queue, moves, min(self.bench.block, budget - done))
            self._judge(rows, goals, first + done)
            done += len(rows)
            told(done)

    def _bred(self, queue: list[Move], moves: list[Move], count: int) -> tuple[Floats, list[str]]:
        """Return samples and what each leads to; as far as they are found, new ones."""
        goals = [GOALS[place % len(GOALS)] for place in range(count)]
        rows = np.zeros((count, self.space.width))
        again = list(range(count))
        for _ in range(ATTEMPTS):
            for place in again:
                if queue and place // len(GOALS) % 2:  # every other four, while there are some
                    move = queue.pop()
                    goals[place] = move.goal
                    rows[place] = move.applied(self.dice.one_of(self._origins))
                else:
                    rows[place] = self._child(goals[place], moves)
            rows[again] = self.space.rows(self.space.values(rows[again]))
            known = [rows[place].tobytes() for place in again]
            again = [place for place, row in zip(again, known, strict=True) if self._is_old(row)]
            if not again:
                break
        return rows, goals

    def _is_old(self, row: bytes) -> bool:
        """Tell whether a sample was seen, which it is from now on."""
        old = row in self._seen
        self._seen.add(row)
        return old

    def _child(self, goal: str, moves: list[Move]) -> Floats:
        """Change a sample that came near to a goal, or cross it with another."""
        dice, archive = self.dice, self.archive
        if goal == KINK and dice.below(4) and (row := archive.beside_a_kink(dice)) is not None:
            return row
        parents = archive.parents(goal) or self._origins
        parent: Floats = dice.one_of(parents)
        way = dice.below(4)
        if way == 0 and moves:
            move: Move = dice.one_of(moves)
            return move.applied(parent)
        if way == 1:
            other = dice.one_of(archive.parents(dice.one_of(GOALS)) or self._origins)
            return self._crossed(parent, other)
        if not self.space.groups:
            return self._crossed(parent, dice.one_of(self._origins))
        group = dice.one_of(self.space.groups)
        target = group if way == 2 else group[[dice.below(len(group))]]
        reach = 2.0 ** -dice.below(finfo(self.dtype).nmant)
        row = parent.copy()
        with np.errstate(all="ignore"):
            row[target] *= 1 + (4 * dice.fraction() - 2) * reach
        return row

    def _crossed(self, one: Floats, other: Floats) -> Floats:
        """Take each leaf from either sample."""
        row = one.copy()
        for leaf in (*self.space.groups, *self.space.rigid):
            if self.dice.below(2):
                row[leaf] = other[leaf]
        return row

    def _judge(self, rows: Floats, goals: list[str], first: int) -> None:
        """Judge a generation, and take notice of what came near to a goal."""
        count, block = len(rows), self.bench.block
        whole = np.concatenate([rows, np.repeat(rows[-1:], block - count, axis=0)])
        values = self.space.values(whole)
        numbers = np.arange(first, first + block)
        self._judged.clear()
        found = self.bench.judge(Samples(self.dtype, numbers, values), count, Stopwatch())
        self.outcome = self.outcome.merge(found)
        self.goals |= zip(numbers.tolist(), goals, strict=False)
        seen = observe(self.bench.model, values, self.dtype)
        strained = seen.strained[:count]
        wrong = np.zeros(count, bool)
        for key, comparison in self._judged:
            self.archive.learn(rows, key, comparison)
            judged = (comparison.verdict <= Verdict.DISAGREE) & np.isfinite(comparison.ratio)
            ratios = np.where(judged, comparison.ratio, 0.0)[~strained]
            self.ratio = max(self.ratio, float(ratios.max(initial=0.0)))
            fails = np.isin(comparison.verdict, (Verdict.DISAGREE, Verdict.NAN))
            wrong |= fails.reshape(count, -1).any(axis=1)
        self.new += self.archive.learn_branches(rows, seen.leads[:count])
        self.strained.update(numbers[:count][strained & wrong].tolist())
        self.spent.update(goals)
        sure = wrong & ~strained
        self.found.update(goal for goal, fails in zip(goals, sure, strict=True) if fails)

    def _record(self, key: Key, start: int, count: int, comparison: Comparison | None) -> None:
        if comparison is not None and self.bench.adapters[key[0]].judged:
            self._judged.append((key, comparison))
