"""A sweep on a Dask cluster that somebody else runs; what it finds is the same as anywhere.

A task is some stretches, about `TASK_SECONDS` of work. A few wait at each worker, so that none is
idle and none holds much that is lost with it; what is lost is done again by another.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

from gradcheck.errors import RequestError, UnfinishedError
from gradcheck.errors import told as words
from gradcheck.harness.block import Bench
from gradcheck.harness.facts import code_of, model_files
from gradcheck.harness.judging import judge_stretch
from gradcheck.harness.outcome import Outcome
from gradcheck.harness.process import keep_heap_mapped, share_cores
from gradcheck.harness.stretch import Stretch
from gradcheck.harness.worker import Job
from gradcheck.model.beside import located, model_folder

TASK_SECONDS = 2.0
"""Of work in a task: long beside what it costs to hand one out."""
MOST_IN_TASK = 64
"""Stretches."""
WAITING = 2
"""Tasks at each worker: one that it does, and the next."""
CONNECTING = 10.0
"""Seconds in which a scheduler answers."""
POLL, PATIENCE = 1.0, 60.0
"""Seconds between two looks at who is there, and until there must be somebody."""


@dataclass(frozen=True)
class Task:
    """Some stretches of a sweep, with the model's files by name in case they are not there."""

    job: Job
    files: Mapping[str, bytes]
    stretches: tuple[Stretch, ...]


def judge_on_cluster(
    job: Job,
    address: str,
    frameworks: Sequence[str],
    stretches: Sequence[Stretch],
    told: Callable[[], None],
    note: Callable[[str], None],
) -> Iterator[tuple[Stretch, Outcome]]:
    """Yield what the workers of a cluster find, as it comes.

    Parameters
    ----------
    address
        Of the scheduler: `tcp://host:8786`, or the path of a scheduler's file.
    frameworks
        The packages that the adapters need.
    note
        Is told which workers are refused.

    Raises
    ------
    RequestError
        If there is no such cluster, or the model is not stated as it should be.
    UnfinishedError
        If no worker can be used, or several end over the same task.
    """
    try:
        from distributed import Client
        from distributed.comm.addressing import parse_host_port
    except ImportError:
        raise RequestError(
            "dask",
            "needs Dask, which is not installed; install it with: "
            "python -m pip install 'gradcheck[dask]'",
        ) from None
    in_file = address.endswith(".json")
    try:
        if in_file:
            Path(address).read_bytes()  # distributed would wait for it for ever
        elif not address.startswith("inproc:"):
            parse_host_port(address.rpartition("://")[2])  # a client of none complains at its end
        where = {"scheduler_file" if in_file else "address": address}
        client = Client(**where, timeout=CONNECTING, set_as_default=False)
    except Exception as error:  # whatever Dask makes of it
        raise RequestError(
            "dask", f"there is no scheduler at {address} ({words(error)})"
        ) from error
    with client:
        yield from _Cluster(client, job, frameworks, note).judged(deque(stretches), told)


class _Cluster:
    """The workers that may be used, and the tasks that they have."""

    def __init__(
        self, client: Any, job: Job, frameworks: Sequence[str], note: Callable[[str], None]
    ) -> None:
        self.client, self.frameworks, self.note = client, frameworks, note
        self.job = replace(job, model=located(job.model))
        folder = model_folder(self.job.model)
        self.files = {
            str(path.relative_to(folder)): path.read_bytes()
            for path in model_files(self.job.model)
            if folder is not None
        }
        self.code = code_of(frameworks)
        self.usable: dict[str, bool] = {}
        self.tasks: dict[Any, tuple[Task, list[str]]] = {}
        self.seconds = TASK_SECONDS

    def judged(
        self, waiting: deque[Stretch], told: Callable[[], None]
    ) -> Iterator[tuple[Stretch, Outcome]]:
        from distributed import wait

        last = time.monotonic()
        while waiting or self.tasks:
            present = self._present()
            self._take_back(present, waiting)
            while waiting and len(self.tasks) < WAITING * len(present):
                self._submit(waiting, present)
            finished = [future for future in self.tasks if future.done()]
            if present:
                last = time.monotonic()
            elif time.monotonic() - last > PATIENCE:
                raise UnfinishedError(f"no worker of the cluster can be used for {PATIENCE:g} s")
            for future in finished:
                yield from self._result(future, told)
            if not finished:
                with suppress(TimeoutError, ValueError):  # all have finished just now, or none is
                    wait(list(self.tasks), POLL, return_when="FIRST_COMPLETED")

    def _present(self) -> list[str]:
        """Return which workers are there that may be used; look at those that are new."""
        workers = list(self.client.scheduler_info(n_workers=-1)["workers"])
        new = [worker for worker in workers if worker not in self.usable]
        if new:
            found = self.client.run(code_of, self.frameworks, workers=new, on_error="return")
            for worker, code in found.items():
                self.usable[worker] = self._is_like_here(worker, code)
        return [worker for worker in workers if self.usable.get(worker)]

    def _is_like_here(self, worker: str, code: Any) -> bool:
        if isinstance(code, BaseException):
            self.note(f"worker {worker} is refused: {type(code).__name__}: {code}")
            return False
        differences = [
            f"{name} is {code.get(name)} there, {here} here"
            for name, here in self.code.items()
            if code.get(name) != here
        ]
        if differences:
            self.note(f"worker {worker} is refused: {'; '.join(differences)}")
        return not differences

    def _submit(self, waiting: deque[Stretch], present: list[str]) -> None:
        share = ceil(len(waiting) / (WAITING * len(present)))  # ever less, so that all end together
        count = max(1, min(MOST_IN_TASK, round(TASK_SECONDS / self.seconds), share))
        task = Task(self.job, self.files, tuple(waiting.popleft() for _ in range(count)))
        future = self.client.submit(judge_task, task, workers=present, pure=False)
        self.tasks[future] = task, present

    def _take_back(self, present: list[str], waiting: deque[Stretch]) -> None:
        """Take the tasks back that nobody is left to do."""
        for future, (task, workers) in list(self.tasks.items()):
            if future.status == "pending" and not set(workers) & set(present):
                del self.tasks[future]
                future.cancel()
                waiting.extendleft(reversed(task.stretches))

    def _result(self, future: Any, told: Callable[[], None]) -> Iterator[tuple[Stretch, Outcome]]:
        task, _ = self.tasks.pop(future)
        try:
            outcomes, seconds = future.result()
        except RequestError:
            raise
        except Exception as error:
            samples = task.stretches[0].first * task.job.block
            raise UnfinishedError(
                f"a task of the cluster failed, samples from {samples} on: "
                f"{type(error).__name__}: {error}"
            ) from error
        self.seconds = seconds / len(outcomes)
        for stretch, outcome in zip(task.stretches, outcomes, strict=True):
            for _ in range(len(stretch)):
                told()
            yield stretch, outcome


_ONE_AT_A_TIME = threading.Lock()
"""A worker may have several threads; frameworks keep state of their own."""
_bench: tuple[Job, Mapping[str, bytes], Bench] | None = None
"""The last job, the model's files then, and what was made of them."""


def judge_task(task: Task) -> tuple[list[Outcome], float]:
    """Judge some stretches on a worker; return what was found, and the seconds that it took."""
    global _bench
    with _ONE_AT_A_TIME:
        if _bench is None or _bench[:2] != (task.job, task.files):
            share_cores()
            keep_heap_mapped()
            _bench = task.job, task.files, local_job(task).bench()
        began = time.perf_counter()
        outcomes = [judge_stretch(_bench[2], stretch, lambda: None) for stretch in task.stretches]
        return outcomes, time.perf_counter() - began


def local_job(task: Task) -> Job:
    """Return the job with the model's file where this worker has it, written down if need be."""
    folder = model_folder(task.job.model)
    if folder is None or all(
        (folder / name).is_file() and (folder / name).read_bytes() == content
        for name, content in task.files.items()
    ):
        return task.job
    copy = Path(tempfile.mkdtemp(prefix="gradcheck-"))
    for name, content in task.files.items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(content)
    return replace(task.job, model=str(copy / task.job.model.rpartition("/")[2]))
