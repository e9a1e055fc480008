"""What a sweep found, as a sum over its parts: in whichever order they are done."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from operator import add
from typing import TypeVar

import numpy as np

from gradcheck.harness.samples import Samples
from gradcheck.judge.tally import Key, Tally

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True)
class Outcome:
    """What a sweep, or a part of one, found.

    Parameters
    ----------
    tallies
        By adapter, dtype and gradient.
    samples
        By dtype, the samples that something later may ask for: those of every case that a tally
        keeps, those to be audited, and the first `EVIDENCE`.
    misstated
        By dtype, where the model's definition and its forward pass were seen to differ.
    unchecked
        Why they could not be compared; empty if they were.
    expressions
        By framework, in what way the expression that takes the definition's place was seen to be
        random, or to have another value.
    undefined
        By dtype, on how many samples the definition was seen to be undefined.
    seconds
        Spent in each stage, summed over processes.
    """

    tallies: Mapping[Key, Tally] = field(default_factory=dict)
    samples: Mapping[str, Samples] = field(default_factory=dict)
    misstated: Mapping[str, str] = field(default_factory=dict)
    unchecked: str = ""
    expressions: Mapping[str, str] = field(default_factory=dict)
    undefined: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)

    def merge(self, other: Outcome, always: Collection[int] = ()) -> Outcome:
        """Combine with what was found on other samples, or in other formats.

        Associative and commutative, but for the last bits of `seconds`. Of samples, those of the
        cases kept and those in `always` remain.
        """
        tallies = _union(self.tallies, other.tallies, Tally.merge)
        held = _union(self.samples, other.samples, Samples.join)
        return Outcome(
            tallies,
            {dtype: keep_needed(samples, tallies, always) for dtype, samples in held.items()},
            _union(self.misstated, other.misstated, min),
            min(filter(None, (self.unchecked, other.unchecked)), default=""),
            _union(self.expressions, other.expressions, min),
            _union(self.undefined, other.undefined, add),
            _union(self.seconds, other.seconds, add),
        )


def keep_needed(held: Samples, tallies: Mapping[Key, Tally], always: Collection[int]) -> Samples:
    """Return those of the samples held that something later may ask for, in order of number."""
    needed = set(always)
    for (_, dtype, _), tally in tallies.items():
        if dtype == held.dtype:
            needed.update(case.sample for case in tally.cases)
    numbers = np.array(sorted(needed), np.int64)
    return held.select(numbers[np.isin(numbers, held.numbers)].tolist())


def _union(one: Mapping[K, V], other: Mapping[K, V], combine: Callable[[V, V], V]) -> dict[K, V]:
    """Return all entries; those of a key that both have are combined."""
    both = {key: combine(one[key], other[key]) for key in one.keys() & other.keys()}
    return {**one, **other, **both}
