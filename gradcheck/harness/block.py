"""One block of samples in one dtype: every adapter beside the hand-written passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.adapters import HAND_WRITTEN, Adapter, Gradients
from gradcheck.errors import RequestError, guarded, one_line
from gradcheck.harness.call import Call, every_call
from gradcheck.harness.expressions import differing_runs, misexpressed
from gradcheck.harness.outcome import Outcome, keep_needed
from gradcheck.harness.request import Request
from gradcheck.harness.samples import EVIDENCE, Samples, block_size, choose_audited, draw_formats
from gradcheck.judge.mistakes import place
from gradcheck.judge.reference import Passes, Reference
from gradcheck.judge.tally import Key, Tally, tally_comparison, tally_error
from gradcheck.judge.thinning import Thinning, thinning
from gradcheck.judge.verdict import Comparison, compare, excuse_overflows
from gradcheck.model.model import Model
from gradcheck.stopwatch import Stopwatch

Result = NDArray[Any] | str
"""A gradient of all samples, or why there is none."""


class Bench:
    """A sweep's fixed data: it judges a block of samples.

    Parameters
    ----------
    block
        How many samples are evaluated at once; unless given, `block_size` chooses.
    told
        Is told of every call of somebody else's code before it is made.
    extreme
        Whether samples are so large on purpose that to overflow to a NaN is honest.

    Attributes
    ----------
    lost
        Why a call is not to be made, or `every_call` of an adapter: it did not return, or ended
        its process.
    parts
        The folder in which every comparison is written down, if there is one.
    record
        Is given every comparison, or that there is none: its key, the first sample and how many.
    """

    def __init__(
        self,
        model: Model,
        request: Request,
        adapters: Mapping[str, Adapter],
        block: int | None = None,
        told: Callable[[Call], None] = lambda call: None,
        extreme: bool = False,
    ) -> None:
        self.model, self.request, self.adapters, self.told = model, request, adapters, told
        self.extreme = extreme
        self.block = block or block_size(model, request)
        self.always = {*range(min(EVIDENCE, request.samples)), *choose_audited(model, request)}
        self.prepared: dict[tuple[str, str], Gradients] = {}
        self.lost: Mapping[Call, str] = {}
        self.parts: Path | None = None
        self.record: Callable[[Key, int, int, Comparison | None], None] | None = None

    def run_block(self, start: int, dtypes: Sequence[str]) -> Iterator[Outcome]:
        """Draw a block, and judge it in each of several dtypes."""
        drawn = draw_formats(self.model, self.request, dtypes, start, self.block)
        for _ in dtypes:
            watch = Stopwatch()
            with watch.timed("sampling"):
                samples = next(drawn)
            yield self.judge(samples, min(self.block, self.request.samples - start), watch)

    def judge(self, drawn: Samples, count: int, watch: Stopwatch) -> Outcome:
        """Judge every adapter on the first `count` of a block of samples."""
        dtype, start = drawn.dtype, int(drawn.numbers[0])
        given = {
            name: array if array.dtype.kind == "i" else array.astype(dtype, copy=False)
            for name, array in drawn.values.items()
        }
        for array in given.values():
            array.flags.writeable = False  # an adapter that would change it fails, and no other
        # All adapters are called before any result is looked at: some compute in the background.
        adapters = {n: one for n, one in self.adapters.items() if one.works_in(dtype)}
        results: dict[str, Any] = {}
        for name in adapters:
            with watch.timed(name):
                results[name] = self.call(Call(name, dtype, start), given)
        checked: dict[str, dict[str, Result]] = {}
        for name in adapters:
            with watch.timed(name):
                checked[name] = self._checked(Call(name, dtype, start), results[name])
        references = _References(self, drawn, count, watch)
        tallies: dict[Key, Tally] = {}
        for name, adapter in adapters.items():
            for gradient, result in checked[name].items():
                with watch.timed("verdicts"):
                    reference = references.get(name, adapter, gradient)
                    key = name, dtype, gradient
                    tallies[key] = self._judged(key, result, reference, start, count)
        misstated = unchecked = ""
        expressions: Mapping[str, str] = {}
        if start == 0 and not self.model.recorded:
            misstated, unchecked = references.check_definition()
            expressions = self._check_expressions(references, results, given)
        undefined = 0
        if references.passes is not None:
            undefined = int(references.passes.definition.undefined[:count].sum())
        return Outcome(
            tallies,
            {dtype: keep_needed(drawn, tallies, self.always)},
            {dtype: misstated} if misstated else {},
            unchecked,
            expressions,
            {dtype: undefined},
            watch.seconds,
        )

    def _checked(self, call: Call, results: Mapping[str, Any] | str) -> dict[str, Result]:
        """Look at each of an adapter's gradients, which may have to be computed for it."""
        self.told(call)
        return {
            gradient: _checked(
                self.model,
                results,
                gradient,
                (self.block, *self.model.parameters[gradient]),
                call.dtype,
            )
            for gradient in self.adapters[call.adapter].gradients(self.model)
        }

    def _judged(
        self, key: Key, result: Result, reference: Reference | str, start: int, count: int
    ) -> Tally:
        rows, judged = self.request.rows, self.adapters[key[0]].judged
        if isinstance(reference, str):
            result = reference
        comparison = None
        if not (isinstance(result, str) or isinstance(reference, str)):
            comparison = compare(result[:count], reference)
            if self.extreme:
                comparison = excuse_overflows(comparison)
        if self.record is not None:
            self.record(key, start, count, comparison)
        if comparison is not None:
            kinks, chosen = self.request.kinks, self._thinning(key)
            return tally_comparison(comparison, start, rows, judged, kinks, chosen)
        size = prod(self.model.parameters[key[2]])
        return tally_error(str(result), size, count, start, rows, judged)

    def _thinning(self, key: Key) -> Thinning:
        """Choose the samples of which a gradient's error and bound are kept for a picture."""
        gradients = list(self.adapters[key[0]].gradients(self.model))
        return thinning(self.request.samples, gradients.index(key[2]), len(gradients))

    def _check_expressions(
        self, references: _References, results: Mapping[str, Any], given: Mapping[str, NDArray[Any]]
    ) -> dict[str, str]:
        """Find out whether what takes the definition's place is random, or something else."""
        expressions: dict[str, str] = {}
        for name, result in results.items():
            adapter = self.adapters[name]
            framework = adapter.framework
            if framework not in self.model.expressions or isinstance(result, str):
                continue
            again = self.call(Call(name, references.dtype.name, 0), given)
            bounds = {
                gradient: reference.bound
                for gradient in adapter.gradients(self.model)
                if not isinstance(reference := references.get(name, adapter, gradient), str)
            }
            found = differing_runs(framework, result, again, bounds)
            if not found and adapter.value is not None and references.passes is not None:
                found = misexpressed(
                    adapter, self.model, given, references.passes.definition, references.count
                )
            if found:
                expressions.setdefault(framework, found)
        return expressions

    def call(self, call: Call, values: Mapping[str, NDArray[Any]]) -> Mapping[str, Any] | str:
        """Call an adapter; if it raises, return what it raised."""
        name, dtype, _ = call
        if problem := self.enter(call):
            return problem
        with np.errstate(all="ignore"):
            try:
                with guarded():
                    if (name, dtype) not in self.prepared:
                        adapter = self.adapters[name]
                        self.prepared[name, dtype] = adapter.prepare(self.model, np.dtype(dtype))
                    return dict(self.prepared[name, dtype](values))
            except Exception as error:
                return describe(error, self.model)

    def enter(self, call: Call) -> str:
        """Tell of a call that is about to be made, or return why it is not to be made."""
        if problem := self.lost.get(call) or self.lost.get(every_call(call.adapter)):
            return problem
        self.told(call)
        return ""


class _References:
    """The references of a block's gradients, each made once; or why there are none."""

    def __init__(self, bench: Bench, drawn: Samples, count: int, watch: Stopwatch) -> None:
        self.count, self.start = count, int(drawn.numbers[0])
        self.dtype = np.dtype(drawn.dtype)
        self.passes: Passes | None = None
        self.failure = bench.enter(Call("", drawn.dtype, self.start))
        self._made: dict[Any, Reference] = {}
        if self.failure:
            return
        with watch.timed("reference"):
            try:
                self.passes = Passes(
                    bench.model,
                    drawn.values,
                    bench.request.rounding(self.dtype),
                    bars=bench.request.bars,
                    seed=bench.request.seed,
                    start=self.start,
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

    def check_definition(self) -> tuple[str, str]:
        """Return where definition and forward pass differ, and why they could not be compared."""
        if self.passes is None:
            return "", ""
        try:
            return self.passes.misstatement(self.count), ""
        except Exception as error:  # the adapters will say what is wrong with the definition
            return "", describe(error, self.passes.model)


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
    first_line = one_line(next(iter(text.splitlines()), ""))
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
