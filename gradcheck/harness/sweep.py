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
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.adapters import Adapter, Gradients, choose_adapters
from gradcheck.harness.kinks import place_on_kinks
from gradcheck.harness.request import Request
from gradcheck.harness.samples import draw_model
from gradcheck.judge.evaluation import Values
from gradcheck.judge.reference import Passes, Reference
from gradcheck.judge.tally import Tally, tally_comparison, tally_error
from gradcheck.judge.verdict import compare
from gradcheck.model.model import Model
from gradcheck.numbers.rounding import Rounding

BLOCK = 65_536
"""Samples evaluated at once: enough to amortise a call, few enough for a core's cache."""
BLOCK_NUMBERS = 10 * BLOCK
"""Inputs and parameters in a block; a model of many has fewer samples in it."""
BLOCK_ONE_BY_ONE = 256
"""Samples in a block where an expression under test may have to be called for each."""
BLOCK_ON_KINKS = 1024
"""Samples in a block if they are placed on kinks, which takes many evaluations."""


def block_size(model: Model, request: Request) -> int:
    """Return how many samples of a model are evaluated at once, a power of two.

    Blocks are always evaluated whole, so that what a sample yields does not depend on how many were
    asked for: a vectorised loop may round its last few elements differently from the others.
    """
    numbers = sum(prod(shape) for shape in model.leaves.values())
    samples = min(BLOCK, max(1, BLOCK_NUMBERS // numbers))
    if model.expressions:
        samples = min(samples, BLOCK_ONE_BY_ONE)
    if request.kinks:
        samples = min(samples, BLOCK_ON_KINKS)
    return 1 << (samples.bit_length() - 1)


Key = tuple[str, str, str]
"""Adapter, dtype, gradient."""


@dataclass(frozen=True)
class Outcome:
    """What a sweep found.

    Parameters
    ----------
    tallies
        By adapter, dtype and gradient.
    misstated
        By dtype, where the model's definition and its forward pass were seen to differ.
    unchecked
        Why they could not be compared; empty if they were.
    seconds
        Spent in each stage, summed over workers.
    """

    tallies: Mapping[Key, Tally]
    misstated: Mapping[str, str]
    unchecked: str
    seconds: Mapping[str, float]


@dataclass
class _Block:
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
    model: Model, request: Request, progress: Callable[[float], None] = lambda fraction: None
) -> Outcome:
    """Compare every adapter with the hand-written passes on every sample.

    Parameters
    ----------
    progress
        Is told the fraction done, in the caller's thread.

    Raises
    ------
    RequestError
        If an adapter cannot be had, or the passes do not run on balls.
    """
    sweep = _Sweep(model, request, choose_adapters(request.adapters, model))
    keep_heap_mapped()
    starts = range(0, request.samples, sweep.block)
    tasks = ((start, dtype) for start in starts for dtype in request.dtypes)
    tallies: dict[Key, Tally] = {}
    misstated: dict[str, str] = {}
    unchecked = ""
    seconds: defaultdict[str, float] = defaultdict(float)
    for done, block in enumerate(_in_order(sweep.run_block, tasks, request.workers), start=1):
        for key, tally in block.tallies.items():
            tallies[key] = tallies[key].merge(tally) if key in tallies else tally
        misstated |= block.misstated
        unchecked = unchecked or block.unchecked
        for stage, spent in block.seconds.items():
            seconds[stage] += spent
        progress(done / (len(starts) * len(request.dtypes)))
    order = [
        (adapter, dtype, gradient)
        for adapter in sweep.adapters
        for dtype in request.dtypes
        for gradient in sweep.adapters[adapter].gradients(model)
    ]
    return Outcome({key: tallies[key] for key in order}, misstated, unchecked, dict(seconds))


class _Sweep:
    """A sweep's fixed data, shared by its workers."""

    def __init__(self, model: Model, request: Request, adapters: Mapping[str, Adapter]) -> None:
        self.model, self.request, self.adapters = model, request, adapters
        self.block = block_size(model, request)
        self.prepared: dict[tuple[str, str], Gradients] = {}
        # Frameworks keep state of their own: each is entered by one worker at a time.
        self.locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        for adapter in adapters.values():
            self.locks[adapter.framework]

    def run_block(self, start: int, dtype: str) -> _Block:
        """Judge every adapter on one block in one dtype."""
        block, request, model = _Block(), self.request, self.model
        count = min(self.block, request.samples - start)
        with block.timed("sampling"):
            values = draw(model, request, dtype, start, self.block)
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
        return block

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


def draw(model: Model, request: Request, dtype: Any, start: int, count: int) -> Values:
    """Draw the samples that a request asks for.

    On kinks they are placed in whole blocks, as a rounding in a block may differ from another's.
    """

    def drawn(start: int, count: int) -> Values:
        settings = request.distribution, request.scale, dtype
        return draw_model(model, request.seed, start, count, *settings)

    if not request.kinks:
        return drawn(start, count)
    block = block_size(model, request)
    first = start - start % block
    rounding = Rounding(np.dtype(dtype), request.ulps)
    placed = place_on_kinks(model, drawn(first, block), first, rounding)
    return {name: array[start - first : start - first + count] for name, array in placed.items()}


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
