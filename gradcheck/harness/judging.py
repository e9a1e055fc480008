"""Stretches of a sweep, judged one block after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from gradcheck.harness.block import Bench
from gradcheck.harness.full import recorded
from gradcheck.harness.outcome import Outcome
from gradcheck.harness.stretch import Stretch


def judge_stretch(bench: Bench, stretch: Stretch, told: Callable[[], None]) -> Outcome:
    """Judge its blocks one by one; `told` is called after each."""
    found = Outcome()
    with recorded(bench, stretch):
        for number in range(stretch.first, stretch.last):
            for outcome in bench.run_block(number * bench.block, stretch.dtypes):
                found = found.merge(outcome, bench.always)
                told()
    return found


def judge_here(
    bench: Bench, stretches: Sequence[Stretch], told: Callable[[], None]
) -> Iterator[tuple[Stretch, Outcome]]:
    """Judge one stretch after the other in this process."""
    for stretch in stretches:
        yield stretch, judge_stretch(bench, stretch, told)
