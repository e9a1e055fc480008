"""Where a sweep is done, and what of it was done before: nothing of this changes a result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gradcheck.harness.block import Bench
from gradcheck.harness.check import check_drawn
from gradcheck.harness.judging import judge_here
from gradcheck.harness.outcome import Outcome
from gradcheck.harness.pool import Pool
from gradcheck.harness.process import keep_heap_mapped
from gradcheck.harness.request import TIMEOUT
from gradcheck.harness.stretch import Stretch
from gradcheck.harness.worker import Job

Told = Callable[[], None]
Found = Iterator[tuple[Stretch, Outcome]]


@dataclass(frozen=True)
class Execution:
    """Where and how a sweep is done.

    Parameters
    ----------
    model, options
        As given to `load_model`. A model that cannot be loaded by name is judged in this process.
    timeout
        Seconds that a call of an adapter, or of the passes, may take in another process.
    pool
        The processes that judge, if they have been started.
    cluster
        Address of the scheduler of a Dask cluster that does it, if there is one.
    checkpoint
        The file in which is kept what is done, if it is.
    resume
        Whether to go on from there.
    full
        The file to which every comparison is written, if it is.
    note
        Is told what somebody should know who resumes a sweep.
    given
        How the model was named: `model` before it was made to hold anywhere.
    afterwards
        What to call when the results are written; a sweep adds what forgets its traces.
    """

    model: str = ""
    options: Mapping[str, int] = field(default_factory=dict)
    timeout: float = TIMEOUT
    pool: Pool | None = None
    cluster: str = ""
    checkpoint: Path | None = None
    resume: bool = False
    full: Path | None = None
    note: Callable[[str], None] = lambda text: None
    given: str = ""
    afterwards: list[Callable[[], None]] = field(default_factory=list)

    def origin(self, block: int) -> dict[str, Any]:
        """Say of what a sample can be drawn and judged anew, besides the request.

        `block` is how many samples are evaluated at once.
        """
        from gradcheck.harness.facts import digest_of_source

        digest = digest_of_source(self.model) if self.model else ""
        options = dict(self.options)
        return {"model": self.given, "options": options, "block": block, "digest": digest}

    def judged(self, bench: Bench, stretches: Sequence[Stretch], told: Told) -> Found:
        """Judge stretches; `told` is called after each block.

        Raises
        ------
        RequestError
            If the model is not stated as it should be.
        UnfinishedError
            If the processes that do it end.
        """
        if not (self.cluster or (self.model and bench.request.workers > 1)):
            check_drawn(bench.model, bench.request)
            keep_heap_mapped()
            return judge_here(bench, stretches, told)
        request = replace(bench.request, adapters=tuple(bench.adapters))
        job = Job(self.model, request, bench.block, self.options, bench.parts)
        if self.cluster:
            from gradcheck.harness.cluster import judge_on_cluster

            frameworks = [adapter.framework for adapter in bench.adapters.values()]
            return judge_on_cluster(job, self.cluster, frameworks, stretches, told, self.note)
        return self._judged_in_pool(job, stretches, told)

    def _judged_in_pool(self, job: Job, stretches: Sequence[Stretch], told: Told) -> Found:
        if self.pool is not None:
            yield from self.pool.judged(job, stretches, told)
            return
        with Pool(job.request.workers, self.timeout) as pool:
            yield from pool.judged(job, stretches, told)


HERE = Execution()
"""In this process."""
