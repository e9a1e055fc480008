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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.adapters import choose_adapters
from gradcheck.harness.archive import GOALS, KINK, Archive
from gradcheck.harness.block import Bench
from gradcheck.harness.branches import compared
from gradcheck.harness.moves import Dice, Move, Space, all_moves
from gradcheck.harness.outcome import Outcome
from gradcheck.harness.request import Request
from gradcheck.harness.samples import EVIDENCE, Samples, block_size, draw_block
from gradcheck.judge.tally import Key
from gradcheck.judge.verdict import Comparison, Verdict
from gradcheck.model.model import Model
from gradcheck.stopwatch import Stopwatch

Floats = NDArray[np.float64]

SEARCH_STREAM = 2**64
"""Of the seed's random words, and the next ones by format; samples use the streams below."""
GENERATIONS, LARGEST, SMALLEST = 16, 1024, 16
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
        Samples, and samples that disagree, by goal.
    branches, new
        Combinations of branches that were seen, and how many of them by the search alone.
    seconds
        Spent.
    """

    outcome: Outcome = field(default_factory=Outcome)
    goals: Mapping[tuple[str, int], str] = field(default_factory=dict)
    spent: Mapping[str, int] = field(default_factory=dict)
    found: Mapping[str, int] = field(default_factory=dict)
    branches: int = 0
    new: int = 0
    seconds: float = 0.0

    @property
    def facts(self) -> dict[str, Any]:
        """What `run.json` holds."""
        ratios = [tally.max_ratio for tally in self.outcome.tallies.values() if tally.judged]
        return {
            "samples": sum(self.spent.values()),
            "disagreeing_samples": sum(self.found.values()),
            "goals": {
                goal: {"samples": spent, "disagreeing_samples": self.found[goal]}
                for goal, spent in self.spent.items()
            },
            "errors": sorted({key[0] for key, t in self.outcome.tallies.items() if t.errors}),
            "branches": self.branches,
            "new_branches": self.new,
            "max_bound_ratio": float(np.nanmax(ratios)) if np.isfinite(ratios).any() else None,
        }


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
    size = min(LARGEST, max(SMALLEST, budget // GENERATIONS), block_size(model, request))
    size = 1 << (size.bit_length() - 1)
    bench = Bench(model, request, choose_adapters(request.adapters, model), size, extreme=True)
    climbs = []
    for stream, dtype in enumerate(request.dtypes):
        climb = _Climb(bench, dtype, swept.samples[dtype], Dice(request.seed, SEARCH_STREAM + stream))
        climb.run(budget, lambda done, before=stream * budget: progress((before + done) / total))
        climbs.append(climb)
    outcome = Outcome()
    for climb in climbs:
        outcome = outcome.merge(climb.outcome)
    return Search(
        replace(outcome, seconds={}),
        {(climb.dtype, number): climb.goals[number] for climb in climbs for number in climb.kept},
        {goal: sum(climb.spent[goal] for climb in climbs) for goal in GOALS},
        {goal: sum(climb.found[goal] for climb in climbs) for goal in GOALS},
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
        self._seen: set[bytes] = set()
        self._judged: list[tuple[Key, Comparison]] = []
        bench.record = self._record
        self._origins = list(self.space.rows(swept.values)[: 2 * EVIDENCE])
        usual = draw_block(bench.model, bench.request, dtype, 0, bench.block)
        self.archive.learn_branches(
            self.space.rows(usual.values), compared(bench.model, usual.values, dtype)
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
            count = min(self.bench.block, budget - done)
            rows, goals = [], []
            for place in range(count):
                goal, row = self._bred(queue, moves, GOALS[place % len(GOALS)], place)
                rows.append(row)
                goals.append(goal)
            self._judge(np.stack(rows), goals, first + done)
            done += count
            told(done)

    def _bred(
        self, queue: list[Move], moves: list[Move], goal: str, place: int
    ) -> tuple[str, Floats]:
        """Return a sample that was not seen before, if one is found."""
        for _ in range(ATTEMPTS):
            if queue and place // len(GOALS) % 2:  # of every other four, as long as there are some
                move = queue.pop()
                goal, row = move.goal, move.applied(self.dice.one_of(self._origins))
            else:
                row = self._child(goal, moves)
            row = self.space.rows(self.space.values(row[None]))[0]
            if row.tobytes() not in self._seen:
                break
        self._seen.add(row.tobytes())
        return goal, row

    def _child(self, goal: str, moves: list[Move]) -> Floats:
        """Change a sample that came near to a goal, or cross it with another."""
        dice, archive = self.dice, self.archive
        if goal == KINK and dice.below(4) and (row := archive.beside_a_kink(dice)) is not None:
            return row
        parents = archive.parents(goal) or self._origins
        parent: Floats = dice.one_of(parents)
        way = dice.below(4)
        if way == 0 and moves:
            return dice.one_of(moves).applied(parent)
        if way == 1:
            other = dice.one_of(archive.parents(dice.one_of(GOALS)) or self._origins)
            return self._crossed(parent, other)
        if not self.space.groups:
            return self._crossed(parent, dice.one_of(self._origins))
        group = dice.one_of(self.space.groups)
        target = group if way == 2 else group[[dice.below(len(group))]]
        reach = 2.0 ** -dice.below(np.finfo(self.dtype).nmant)
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
        wrong = np.zeros(count, bool)
        for key, comparison in self._judged:
            self.archive.learn(rows, key, comparison)
            fails = np.isin(comparison.verdict, (Verdict.DISAGREE, Verdict.NAN))
            wrong |= fails.reshape(count, -1).any(axis=1)
        leads = compared(self.bench.model, values, self.dtype)[:count]
        self.new += self.archive.learn_branches(rows, leads)
        self.spent.update(goals)
        self.found.update(goal for goal, fails in zip(goals, wrong, strict=True) if fails)

    def _record(self, key: Key, start: int, count: int, comparison: Comparison | None) -> None:
        if comparison is not None and self.bench.adapters[key[0]].judged:
            self._judged.append((key, comparison))
