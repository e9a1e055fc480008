"""The sweep: samples → engine on balls and adapters → verdicts → tallies."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.adapters import Adapter, Gradients, choose_adapters
from gradcheck.harness.request import Request
from gradcheck.harness.samples import EVIDENCE, Samples, block_size, choose_audited, draw_block
from gradcheck.judge.reference import Passes, Reference
from gradcheck.judge.tally import Tally, tally_comparison, tally_error
from gradcheck.judge.verdict import compare
from gradcheck.model.model import Model
from gradcheck.numbers.rounding import Rounding

Key = tuple[str, str, str]
"""Adapter, dtype, gradient."""


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
    seconds
        Spent in each stage, summed over workers.
    """

    tallies: Mapping[Key, Tally]
    samples: Mapping[str, Samples]
    misstated: Mapping[str, str]
    unchecked: str
    seconds: Mapping[str, float]


@dataclass
class _Block:
    samples: Samples
    tallies: dict[Key, Tally] = field(default_factory=dict)
    misstated: dict[str, str] = field(default_factory=dict)
    unchecked: str = ""
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - start


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
    sweep = _Sweep(model, request, choose_adapters(request.adapters, model), block)
    keep_heap_mapped()
    starts = range(0, request.samples, sweep.block)
    tasks = ((start, dtype) for start in starts for dtype in request.dtypes)
    tallies: dict[Key, Tally] = {}
    samples: dict[str, Samples] = {}
    misstated: dict[str, str] = {}
    unchecked = ""
    seconds: defaultdict[str, float] = defaultdict(float)
    for done, found in enumerate(_in_order(sweep.run_block, tasks, request.workers), start=1):
        for key, tally in found.tallies.items():
            tallies[key] = tallies[key].merge(tally) if key in tallies else tally
        dtype, held = found.samples.dtype, found.samples
        held = samples[dtype].join(held) if dtype in samples else held
        samples[dtype] = held.select(sweep.needed(held, tallies))
        misstated |= found.misstated
        unchecked = unchecked or found.unchecked
        for stage, spent in found.seconds.items():
            seconds[stage] += spent
        progress(done / (len(starts) * len(request.dtypes)))
    order = [
        (adapter, dtype, gradient)
        for adapter in sweep.adapters
        for dtype in request.dtypes
        for gradient in sweep.adapters[adapter].gradients(model)
    ]
    return Outcome(
        {key: tallies[key] for key in order}, samples, misstated, unchecked, dict(seconds)
    )


class _Sweep:
    """A sweep's fixed data, shared by its workers."""

    def __init__(
        self,
        model: Model,
        request: Request,
        adapters: Mapping[str, Adapter],
        block: int | None = None,
    ) -> None:
        self.model, self.request, self.adapters = model, request, adapters
        self.block = block or block_size(model, request)
        self.always = {*range(min(EVIDENCE, request.samples)), *choose_audited(request)}
        self.prepared: dict[tuple[str, str], Gradients] = {}
        # Frameworks keep state of their own: each is entered by one worker at a time.
        self.locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        for adapter in adapters.values():
            self.locks[adapter.framework]

    def run_block(self, start: int, dtype: str) -> _Block:
        """Judge every adapter on one block in one dtype."""
        request, model = self.request, self.model
        count, began = min(self.block, request.samples - start), time.perf_counter()
        drawn = draw_block(model, request, dtype, start, self.block)
        block, values = _Block(drawn), drawn.values
        block.seconds["sampling"] = time.perf_counter() - began
        # All adapters are called before any result is looked at: some compute in the background.
        given = {
            name: array if array.dtype.kind == "i" else array.astype(dtype, copy=False)
            for name, array in values.items()
        }
        for array in given.values():
            array.flags.writeable = False  # an adapter that would change it fails, and no other
        results = {}
        for name in self.adapters:
            with block.timed(name):
                results[name] = self.call(name, dtype, given)
        with block.timed("reference"):
            passes = Passes(
                model,
                values,
                Rounding(np.dtype(dtype), request.ulps),
                bars=request.bars,
                seed=request.seed,
                start=start,
                wanted=count,
            )
        if start == 0:
            try:
                difference = passes.misstatement(count)
            except Exception as error:  # the adapters will say what is wrong with the definition
                block.unchecked = describe(error)
            else:
                block.misstated |= {dtype: difference} if difference else {}

        references: dict[Any, Reference] = {}
        for name, adapter in self.adapters.items():
            normal_range = adapter.normal_range(np.dtype(dtype))
            for gradient in adapter.gradients(model):
                shape = (self.block, *model.parameters[gradient])
                with block.timed(name):
                    result = _checked(results[name], gradient, shape, dtype)
                with block.timed("verdicts"):
                    if isinstance(result, str):
                        size = int(np.prod(shape[1:]))
                        tally = tally_error(
                            result, size, count, start, request.rows, adapter.judged
                        )
                    else:
                        key = gradient, normal_range
                        if key not in references:
                            references[key] = passes.gradient(*key, count)
                        comparison = compare(result[:count], references[key])
                        tally = tally_comparison(comparison, start, request.rows, adapter.judged)
                    block.tallies[name, dtype, gradient] = tally
        block.samples = drawn.select(self.needed(drawn, block.tallies))
        return block

    def needed(self, held: Samples, tallies: Mapping[Key, Tally]) -> list[int]:
        """Tell which of the samples held something later may ask for."""
        cases = {
            case.sample
            for (_, dtype, _), tally in tallies.items()
            if dtype == held.dtype
            for case in tally.cases
        }
        first, last = held.numbers[[0, -1]].tolist()
        return sorted(number for number in cases | self.always if first <= number <= last)

    def call(
        self, name: str, dtype: str, values: Mapping[str, NDArray[Any]]
    ) -> Mapping[str, Any] | str:
        """Call an adapter; if it raises, return what it raised."""
        adapter = self.adapters[name]
        with self.locks[adapter.framework], np.errstate(all="ignore"):
            try:
                if (name, dtype) not in self.prepared:
                    self.prepared[name, dtype] = adapter.prepare(self.model, np.dtype(dtype))
                return dict(self.prepared[name, dtype](values))
            except Exception as error:
                return describe(error)


def _checked(
    results: Mapping[str, Any] | str, gradient: str, shape: tuple[int, ...], dtype: str
) -> NDArray[Any] | str:
    """Return an adapter's gradient, or what is wrong with it."""
    if isinstance(results, str):
        return results
    if gradient not in results:
        return f"no gradient for {gradient}"
    try:
        result = np.asarray(results[gradient])
    except Exception as error:
        return describe(error)
    if result.shape != shape or result.dtype != dtype:
        return f"returned {result.dtype} {result.shape} where {dtype} {shape} was expected"
    return result


def describe(error: Exception) -> str:
    """Say in one line what went wrong in a framework, and what may be the matter."""
    text = str(error)
    first_line = next(iter(text.splitlines()), "")
    hint = next((hint for sign, hint in HINTS.items() if sign in text + type(error).__name__), "")
    return f"{type(error).__name__}: {first_line}{hint and f' ({hint})'}"


HINTS = {
    "TracerArrayConversion": "does the definition use np. where xp. belongs?",
    "data pointer of Tensor": "does the definition use np. where xp. belongs?",
    ".item()": "pick by a label with xp.where(xp.arange(k) == v.label, …)",
}
"""What errors of the frameworks mean more often than not, by a part of their text."""


def _in_order(
    work: Callable[..., _Block], tasks: Iterator[tuple[int, str]], workers: int
) -> Iterator[_Block]:
    """Yield the results in the order of the tasks, a few of them in flight at any time."""
    running: deque[Future[_Block]] = deque()
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
