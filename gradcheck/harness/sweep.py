"""The sweep: samples → engine on balls and adapters → verdicts → tallies."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.adapters import Adapter, Gradients, choose_adapters
from gradcheck.arithmetic.ball import Ball, Rounding
from gradcheck.engine.model import Blackboard, Model, run_passes
from gradcheck.errors import RequestError
from gradcheck.harness.request import Request
from gradcheck.harness.sampling import draw_samples
from gradcheck.harness.tally import Tally, tally_comparison, tally_error
from gradcheck.harness.verdict import Reference, compare, reference_of

BLOCK = 65_536
"""Samples evaluated at once: enough to amortise a call, few enough for a core's cache.

Blocks are always evaluated whole, so that what a sample yields does not depend on how many were
asked for: a vectorised loop may round its last few elements differently from the others.
"""

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
    seconds
        Spent in each stage, summed over workers.
    """

    tallies: Mapping[Key, Tally]
    misstated: Mapping[str, str]
    seconds: Mapping[str, float]


@dataclass
class _Block:
    tallies: dict[Key, Tally] = field(default_factory=dict)
    misstated: dict[str, str] = field(default_factory=dict)
    seconds: Counter[str] = field(default_factory=Counter)

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
    _keep_heap_mapped()
    tasks = [
        (start, dtype) for start in range(0, request.samples, BLOCK) for dtype in request.dtypes
    ]
    tallies: dict[Key, Tally] = {}
    misstated: dict[str, str] = {}
    seconds: Counter[str] = Counter()
    for done, block in enumerate(_in_order(sweep.run_block, tasks, request.workers), start=1):
        for key, tally in block.tallies.items():
            tallies[key] = tallies[key].merge(tally) if key in tallies else tally
        misstated |= block.misstated
        seconds += block.seconds
        progress(done / len(tasks))
    order = [
        (adapter, dtype, gradient)
        for adapter in sweep.adapters
        for dtype in request.dtypes
        for gradient in sweep.adapters[adapter].gradients(model)
    ]
    return Outcome({key: tallies[key] for key in order}, misstated, dict(seconds))


class _Sweep:
    """A sweep's fixed data, shared by its workers."""

    def __init__(self, model: Model, request: Request, adapters: Mapping[str, Adapter]) -> None:
        self.model, self.request, self.adapters = model, request, adapters
        self.prepared: dict[tuple[str, str], Gradients] = {}
        # Frameworks keep state of their own: each is entered by one worker at a time.
        self.locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        for adapter in adapters.values():
            self.locks[adapter.framework]

    def run_block(self, start: int, dtype: str) -> _Block:
        """Judge every adapter on one block in one dtype."""
        block, request, model = _Block(), self.request, self.model
        count = min(BLOCK, request.samples - start)
        with block.timed("sampling"):
            values = draw_samples(
                model.leaves, request.seed, start, BLOCK, request.distribution, request.scale, dtype
            )
        # All adapters are called before any result is looked at: some compute in the background.
        given = {name: array.astype(dtype, copy=False) for name, array in values.items()}
        results = {}
        for name in self.adapters:
            with block.timed(name):
                results[name] = self.call(name, dtype, given)
        with block.timed("reference"):
            rounding = Rounding(np.dtype(dtype), request.ulps)
            balls = {name: Ball.from_value(array, rounding) for name, array in values.items()}
            v, t, d = passes_on_balls(model, balls)
            largest = _largest([*vars(v).values(), *vars(t).values(), *vars(d).values()])
        if start == 0:
            block.misstated = {dtype: text for text in [_misstatement(model, v, t)] if text}

        references: dict[Any, Reference] = {}
        for name, adapter in self.adapters.items():
            normal_range = adapter.normal_range(np.dtype(dtype))
            for gradient in adapter.gradients(model):
                shape = (BLOCK, *model.parameters[gradient])
                with block.timed(name):
                    result = _checked(results[name], gradient, shape, dtype)
                with block.timed("verdicts"):
                    if isinstance(result, str):
                        size = int(np.prod(shape[1:]))
                        tally = tally_error(result, size, count, start, request.rows)
                    else:
                        key = gradient, normal_range
                        if key not in references:
                            references[key] = reference_of(
                                d[gradient], largest, normal_range, shape, count
                            )
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
                return _describe(error)


def passes_on_balls(model: Model, balls: Mapping[str, Ball]) -> tuple[Any, Any, Any]:
    """Run the hand-written passes on balls.

    Raises
    ------
    RequestError
        If they raise, or leave a parameter's gradient out.
    """
    try:
        v, t, d = run_passes(model, np, balls)
    except Exception as error:
        raise RequestError(
            f"MODEL: the passes of {model.name} fail on balls: {type(error).__name__}: {error}"
        ) from error
    for name in model.parameters:
        if name not in d:
            raise RequestError(f"MODEL: the backward pass of {model.name} leaves out d.{name}")
    return v, t, d


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
        return _describe(error)
    if result.shape != shape or result.dtype != dtype:
        return f"returned {result.dtype} {result.shape} where {dtype} {shape} was expected"
    return result


def _describe(error: Exception) -> str:
    first_line = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first_line}"


def _largest(quantities: list[Ball]) -> NDArray[np.float64]:
    """Per sample, a bound on the magnitude of all quantities, shape `(n,)`."""
    largest = np.zeros(1)
    for ball in {id(ball): ball for ball in quantities}.values():
        magnitude = ball.magnitude
        if magnitude.ndim > 1:
            magnitude = magnitude.reshape(len(magnitude), -1).max(axis=1)
        largest = np.maximum(largest, magnitude)
    return np.where(np.isnan(largest), np.inf, largest)


def _misstatement(model: Model, v: Blackboard, t: Blackboard) -> str:
    """Say where the definition and the forward pass cannot both be right; empty if nowhere."""
    definition, stepwise = model.loss(np, v), t["loss"]
    apart = np.abs(definition.mid - stepwise.mid) > definition.rad + stepwise.rad
    if not apart.any():
        return ""
    sample = int(np.argmax(apart))
    return (
        f"the definition and the forward pass of {model.name} differ: at sample {sample} the loss "
        f"is {definition.mid[sample]!r} by the one, {stepwise.mid[sample]!r} by the other"
    )


def _in_order(
    work: Callable[..., _Block], tasks: list[tuple[int, str]], workers: int
) -> Iterator[_Block]:
    """Yield the results in the order of the tasks, a few of them in flight at any time."""
    waiting = deque(tasks)
    running: deque[Future[_Block]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            while waiting or running:
                while waiting and len(running) < 2 * workers:
                    running.append(pool.submit(work, *waiting.popleft()))
                yield running.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _keep_heap_mapped() -> None:
    """Free one large array, after which glibc keeps freed memory for the arrays to come.

    A mapping of up to 32 MiB that is freed raises the size from which glibc maps afresh, and
    faults in, every single array. The engine runs 1.7 to 2 times as fast. Elsewhere it does nothing.
    """
    np.empty(32 * 2**20 - 2**16, np.uint8)
