"""One block of samples in one dtype: every adapter beside the hand-written passes."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.adapters import HAND_WRITTEN, Adapter, Gradients
from gradcheck.errors import RequestError, guarded, printable
from gradcheck.harness.expressions import differing_runs, misexpressed
from gradcheck.harness.request import Request
from gradcheck.harness.samples import EVIDENCE, Samples, block_size, choose_audited, draw_block
from gradcheck.judge.mistakes import place
from gradcheck.judge.reference import Passes, Reference
from gradcheck.judge.tally import Tally, tally_comparison, tally_error
from gradcheck.judge.verdict import compare
from gradcheck.model.model import Model
from gradcheck.numbers.rounding import Rounding

Key = tuple[str, str, str]
"""Adapter, dtype, gradient."""
Result = NDArray[Any] | str
"""A gradient of all samples, or why there is none."""


@dataclass
class Block:
    """What one block yielded; the fields are those of `Outcome`."""

    samples: Samples
    tallies: dict[Key, Tally] = field(default_factory=dict)
    misstated: dict[str, str] = field(default_factory=dict)
    expressions: dict[str, str] = field(default_factory=dict)
    unchecked: str = ""
    undefined: int = 0
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add to the time of a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - start


class Bench:
    """A sweep's fixed data, shared by its workers.

    Parameters
    ----------
    block
        How many samples are evaluated at once; unless given, `block_size` chooses.
    """

    def __init__(
        self,
        model: Model,
        request: Request,
        adapters: Mapping[str, Adapter],
        block: int | None = None,
    ) -> None:
        self.model, self.request, self.adapters = model, request, adapters
        self.block = block or block_size(model, request)
        self.always = {*range(min(EVIDENCE, request.samples)), *choose_audited(model, request)}
        self.prepared: dict[tuple[str, str], Gradients] = {}
        # Frameworks keep state of their own: each is entered by one worker at a time.
        self.locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        for adapter in adapters.values():
            self.locks[adapter.framework]

    def run_block(self, start: int, dtype: str) -> Block:
        """Judge every adapter on one block in one dtype."""
        began = time.perf_counter()
        drawn = draw_block(self.model, self.request, dtype, start, self.block)
        block = Block(drawn)
        block.seconds["sampling"] = time.perf_counter() - began
        given = {
            name: array if array.dtype.kind == "i" else array.astype(dtype, copy=False)
            for name, array in drawn.values.items()
        }
        for array in given.values():
            array.flags.writeable = False  # an adapter that would change it fails, and no other
        # All adapters are called before any result is looked at: some compute in the background.
        results = {}
        for name in self.adapters:
            with block.timed(name):
                results[name] = self.call(name, dtype, given)
        count = min(self.block, self.request.samples - start)
        references = _References(self.model, self.request, drawn, start, count, block)
        for name, adapter in self.adapters.items():
            for gradient in adapter.gradients(self.model):
                with block.timed(name):
                    shape = (self.block, *self.model.parameters[gradient])
                    result = _checked(self.model, results[name], gradient, shape, dtype)
                with block.timed("verdicts"):
                    reference = references.get(name, adapter, gradient)
                    block.tallies[name, dtype, gradient] = self._judged(
                        adapter, gradient, result, reference, start, count
                    )
        if start == 0 and not self.model.recorded:
            references.check_definition(block)
            self._check_expressions(block, references, results, given)
        if references.passes is not None:
            block.undefined = int(references.passes.definition.undefined[:count].sum())
        block.samples = drawn.select(self.needed(drawn, block.tallies))
        return block

    def _judged(
        self,
        adapter: Adapter,
        gradient: str,
        result: Result,
        reference: Reference | str,
        start: int,
        count: int,
    ) -> Tally:
        rows = self.request.rows
        if isinstance(reference, str):
            result = reference
        if isinstance(result, str) or isinstance(reference, str):
            size = prod(self.model.parameters[gradient])
            return tally_error(str(result), size, count, start, rows, adapter.judged)
        comparison = compare(result[:count], reference)
        return tally_comparison(comparison, start, rows, adapter.judged, self.request.kinks)

    def _check_expressions(
        self,
        block: Block,
        references: _References,
        results: Mapping[str, Any],
        given: Mapping[str, NDArray[Any]],
    ) -> None:
        """Find out whether what takes the definition's place is random, or something else."""
        dtype = block.samples.dtype
        for name, adapter in self.adapters.items():
            framework = adapter.framework
            if framework not in self.model.expressions or isinstance(results[name], str):
                continue
            again = self.call(name, dtype, given)
            bounds = {
                gradient: reference.bound
                for gradient in adapter.gradients(self.model)
                if not isinstance(reference := references.get(name, adapter, gradient), str)
            }
            found = differing_runs(framework, results[name], again, bounds)
            if not found and adapter.value is not None and references.passes is not None:
                with self.locks[framework]:
                    found = misexpressed(
                        adapter, self.model, given, references.passes.definition, references.count
                    )
            if found:
                block.expressions.setdefault(framework, found)

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
                with guarded():
                    if (name, dtype) not in self.prepared:
                        self.prepared[name, dtype] = adapter.prepare(self.model, np.dtype(dtype))
                    return dict(self.prepared[name, dtype](values))
            except Exception as error:
                return describe(error, self.model)


class _References:
    """The references of a block's gradients, each made once; or why there are none."""

    def __init__(
        self,
        model: Model,
        request: Request,
        drawn: Samples,
        start: int,
        count: int,
        block: Block,
    ) -> None:
        self.count, self.start = count, start
        self.dtype = np.dtype(drawn.dtype)
        self.passes: Passes | None = None
        self.failure = ""
        self._made: dict[Any, Reference] = {}
        with block.timed("reference"):
            try:
                self.passes = Passes(
                    model,
                    drawn.values,
                    Rounding(self.dtype, request.ulps),
                    bars=request.bars,
                    seed=request.seed,
                    start=start,
                    wanted=count,
                )
            except RequestError as error:
                self._fail(error)

    def get(self, name: str, adapter: Adapter, gradient: str) -> Reference | str:
        """Return what an adapter's gradient is to be compared with."""
        own = name == HAND_WRITTEN  # where it compares, it may choose otherwise than on balls
        key = gradient, adapter.normal_range(self.dtype), own
        if self.passes is not None and key not in self._made:
            try:
                self._made[key] = self.passes.gradient(*key[:2], self.count, own)
            except RequestError as error:
                self._fail(error)
        return self._made.get(key, self.failure)

    def _fail(self, error: RequestError) -> None:
        last = self.start + self.count - 1
        self.failure = f"samples {self.start} to {last}: {error.text}"

    def check_definition(self, block: Block) -> None:
        """Compare the definition with the forward pass."""
        if self.passes is None:
            return
        try:
            difference = self.passes.misstatement(self.count)
        except Exception as error:  # the adapters will say what is wrong with the definition
            block.unchecked = describe(error, self.passes.model)
        else:
            block.misstated |= {self.dtype.name: difference} if difference else {}


def _checked(
    model: Model,
    results: Mapping[str, Any] | str,
    gradient: str,
    shape: tuple[int, ...],
    dtype: str,
) -> Result:
    """Return an adapter's gradient, or what is wrong with it."""
    if isinstance(results, str):
        return results
    if gradient not in results:
        return f"no gradient for {gradient}"
    try:
        with guarded():
            result = np.asarray(results[gradient])
    except Exception as error:
        return describe(error, model)
    if result.shape != shape or result.dtype != dtype:
        return f"returned {result.dtype} {result.shape} where {dtype} {shape} was expected"
    return result


def describe(error: Exception, model: Model) -> str:
    """Say in one line what went wrong in a framework, at which line, and what may be the matter."""
    if isinstance(error, RequestError):
        return error.text
    text, kind = str(error), type(error).__name__
    first_line = printable(next(iter(text.splitlines()), ""))
    hint = HINTS_BY_TYPE.get(kind, "")
    hint = hint or next((hint for sign, hint in HINTS_BY_TEXT.items() if sign in text), "")
    return f"{kind}: {first_line}{place(model, error)}{hint and f'; {hint}'}"


NOT_XP = "does the definition use np. where xp. belongs?"
CAST = "cast one of them: xp.astype(…, v.x.dtype)"
HINTS_BY_TYPE = {"TracerArrayConversionError": NOT_XP}
"""What JAX's errors mean more often than not."""
HINTS_BY_TEXT = {
    "data pointer of Tensor": NOT_XP,
    "same dtype": CAST,
    "expected scalar type": CAST,
    ".item()": "pick by a label with xp.where(xp.arange(k) == v.label, …)",
}
"""The same of PyTorch's, which are all of one type."""
