"""The sweep: samples → engine on balls and adapters → verdicts → tallies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from gradcheck.adapters import HAND_WRITTEN, choose_adapters
from gradcheck.harness.block import Bench
from gradcheck.harness.execution import HERE, Execution
from gradcheck.harness.ledger import Ledger
from gradcheck.harness.outcome import Outcome
from gradcheck.harness.request import Request
from gradcheck.harness.samples import Samples
from gradcheck.harness.stretch import cut
from gradcheck.judge.nans import birth_of_nan
from gradcheck.judge.tally import Case, Key, Tally
from gradcheck.model.model import Model


def run_sweep(
    model: Model,
    request: Request,
    progress: Callable[[float], None] = lambda fraction: None,
    block: int | None = None,
    execution: Execution = HERE,
) -> Outcome:
    """Compare every adapter with the hand-written passes on every sample.

    Parameters
    ----------
    progress
        Is told the fraction done.
    block
        How many samples are evaluated at once; unless given, `block_size` chooses.
    execution
        Where it is done; in this process unless given. It changes no result.

    Raises
    ------
    RequestError
        If an adapter cannot be had, or the passes do not run on balls.
    UnfinishedError
        If the processes that do it end.
    """
    bench = Bench(model, request, choose_adapters(request.adapters, model, request.dtypes), block)
    stretches = cut(request, bench.block)
    ledger = Ledger(bench, execution)
    total, done = sum(map(len, stretches)), sum(map(len, ledger.done))

    def told() -> None:
        nonlocal done
        done += 1
        progress(min(1.0, done / total))  # what was lost with a process is done again

    left = [stretch for stretch in stretches if stretch not in ledger.done]
    for stretch, found in execution.judged(bench, left, told):
        ledger.enter(stretch, found)
    ledger.close(stretches)
    outcome = ledger.outcome
    order = [
        (adapter, dtype, gradient)
        for adapter in bench.adapters
        for dtype in request.dtypes
        if bench.adapters[adapter].works_in(dtype)
        for gradient in bench.adapters[adapter].gradients(model)
    ]
    return replace(
        outcome,
        tallies={
            key: _with_births(model, key, outcome.tallies[key], outcome.samples[key[1]])
            for key in order
        },
        samples={dtype: outcome.samples[dtype] for dtype in request.dtypes},
        undefined={dtype: outcome.undefined[dtype] for dtype in request.dtypes},
    )


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
