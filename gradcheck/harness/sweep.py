"""The sweep: samples → engine on balls and adapters → verdicts → tallies."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np

from gradcheck.adapters import HAND_WRITTEN, choose_adapters
from gradcheck.harness.block import Bench, Block, Key
from gradcheck.harness.request import Request
from gradcheck.harness.samples import Samples
from gradcheck.judge.nans import birth_of_nan
from gradcheck.judge.tally import Case, Tally
from gradcheck.model.model import Model


@dataclass(frozen=True)
class Outcome:
    """What a sweep found.

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
        Spent in each stage, summed over workers.
    """

    tallies: Mapping[Key, Tally]
    samples: Mapping[str, Samples]
    misstated: Mapping[str, str]
    unchecked: str = ""
    expressions: Mapping[str, str] = field(default_factory=dict)
    undefined: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)


def run_sweep(
    model: Model,
    request: Request,
    progress: Callable[[float], None] = lambda fraction: None,
    block: int | None = None,
) -> Outcome:
    """Compare every adapter with the hand-written passes on every sample.

    Parameters
    ----------
    progress
        Is told the fraction done, in the caller's thread.
    block
        How many samples are evaluated at once; unless given, `block_size` chooses.

    Raises
    ------
    RequestError
        If an adapter cannot be had, or the passes do not run on balls.
    """
    bench = Bench(model, request, choose_adapters(request.adapters, model), block)
    keep_heap_mapped()
    starts = range(0, request.samples, bench.block)
    tasks = ((start, dtype) for start in starts for dtype in request.dtypes)
    tallies: dict[Key, Tally] = {}
    samples: dict[str, Samples] = {}
    misstated: dict[str, str] = {}
    unchecked = ""
    expressions: dict[str, str] = {}
    undefined: dict[str, int] = dict.fromkeys(request.dtypes, 0)
    seconds: defaultdict[str, float] = defaultdict(float)
    for done, found in enumerate(_in_order(bench.run_block, tasks, request.workers), start=1):
        for key, tally in found.tallies.items():
            tallies[key] = tallies[key].merge(tally) if key in tallies else tally
        dtype, held = found.samples.dtype, found.samples
        held = samples[dtype].join(held) if dtype in samples else held
        samples[dtype] = held.select(bench.needed(held, tallies))
        misstated |= found.misstated
        unchecked = unchecked or found.unchecked
        expressions = found.expressions | expressions
        undefined[dtype] += found.undefined
        for stage, spent in found.seconds.items():
            seconds[stage] += spent
        progress(done / (len(starts) * len(request.dtypes)))
    order = [
        (adapter, dtype, gradient)
        for adapter in bench.adapters
        for dtype in request.dtypes
        for gradient in bench.adapters[adapter].gradients(model)
    ]
    told = {key: _with_births(model, key, tallies[key], samples[key[1]]) for key in order}
    return Outcome(told, samples, misstated, unchecked, expressions, undefined, dict(seconds))


def _with_births(model: Model, key: Key, tally: Tally, samples: Samples) -> Tally:
    """Say of each NaN kept in which line of the hand-written passes it is born, if it is there."""
    adapter, dtype, _ = key

    def told(case: Case) -> Case:
        if not np.isnan(case.reference) and adapter != HAND_WRITTEN:
            return case
        ran_in = "float64" if np.isnan(case.reference) else dtype
        sample = samples.select([case.sample]).values
        return replace(case, message=birth_of_nan(model, sample, ran_in))

    return replace(tally, nans=tuple(map(told, tally.nans)))


def _in_order(
    work: Callable[..., Block], tasks: Iterator[tuple[int, str]], workers: int
) -> Iterator[Block]:
    """Yield the results in the order of the tasks, a few of them in flight at any time."""
    running: deque[Future[Block]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            while True:
                for task in islice(tasks, 2 * workers - len(running)):
                    running.append(pool.submit(work, *task))
                if not running:
                    return
                yield running.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def keep_heap_mapped() -> None:
    """Free one large array, after which glibc keeps freed memory for the arrays to come.

    A mapping of up to 32 MiB that is freed raises the size from which glibc maps afresh, and
    faults in, every single array: the engine runs 1.7 to 2 times as fast. Elsewhere this is idle.
    """
    np.empty(32 * 2**20 - 2**16, np.uint8)
