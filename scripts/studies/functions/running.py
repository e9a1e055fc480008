"""Long work in processes, of which nothing is lost when it is stopped."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from itertools import chain, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from gradcheck.errors import RequestError
from gradcheck.reports.files import write_files

Row = dict[str, Any]
Keyed = Mapping[str, Any]
"""Tasks by a name that tells them apart from all others."""
AHEAD = 4
"""How many tasks wait for each process, so that none is idle."""

RENEWED = 500
"""Tasks after which a process gives way to a fresh one, since JAX keeps all that it compiled."""


class Journal:
    """The rows that are known already, on disk: a line of JSON per task, in the order they came.

    Parameters
    ----------
    path
        Of the file.
    about
        What the rows depend on; rows that depend on something else are not taken over.
    resume
        Whether to go on with what is there.

    Raises
    ------
    RequestError
        If what is there was made otherwise.
    """

    def __init__(self, path: Path, about: Mapping[str, Any], resume: bool) -> None:
        self.path = path
        self.rows: dict[str, list[Row]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        header = json.dumps(about)
        lines = path.read_text().splitlines(keepends=True) if resume and path.exists() else []
        whole = [line for line in lines if line.endswith("\n")]  # the last may have been cut off
        if whole and whole[0].strip() != header:
            raise RequestError("resume", f"{path} was made with {whole[0].strip()}, not {header}")
        self.rows = dict(map(json.loads, whole[1:]))
        write_files({path: "".join(whole) or header + "\n"})

    def add(self, task: str, rows: list[Row]) -> None:
        """Keep the rows of a task."""
        self.rows[task] = rows
        with self.path.open("a") as file:
            file.write(json.dumps([task, rows]) + "\n")


def run_all(
    work: Callable[[Any], list[Row]],
    tasks: Keyed,
    journal: Journal,
    workers: int,
    seconds: float,
    show: Callable[[int, int], None],
) -> list[Row]:
    """Do all tasks that the journal lacks, and return the rows of all in the order of the tasks.

    Parameters
    ----------
    workers
        Fresh processes; 0 for this one.
    seconds
        After which no more are begun.
    show
        Is told how many of how many tasks are done.
    """
    left = {name: task for name, task in tasks.items() if name not in journal.rows}
    end = time.monotonic() + seconds
    in_time = (item for item in left.items() if time.monotonic() < end)
    done = len(tasks) - len(left)
    for name, rows in _results(work, in_time, workers):
        journal.add(name, rows)
        done += 1
        show(done, len(tasks))
    return [row for name in tasks for row in journal.rows.get(name, ())]


def _results(
    work: Callable[[Any], list[Row]], tasks: Iterator[tuple[str, Any]], workers: int
) -> Iterator[tuple[str, list[Row]]]:
    if not workers:
        for name, task in tasks:
            yield name, work(task)
        return
    os.environ["OMP_NUM_THREADS"] = "1"  # for PyTorch in the processes, which do not compete then
    for first in tasks:
        some = chain([first], islice(tasks, RENEWED * workers - 1))
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            yield from _results_of(pool, work, some, AHEAD * workers)


def _results_of(
    pool: ProcessPoolExecutor,
    work: Callable[[Any], list[Row]],
    tasks: Iterator[tuple[str, Any]],
    ahead: int,
) -> Iterator[tuple[str, list[Row]]]:
    begun = ((name, pool.submit(work, task)) for name, task in tasks)
    try:
        waiting = deque(islice(begun, ahead))
        while waiting:
            name, future = waiting.popleft()
            yield name, future.result()
            waiting.extend(islice(begun, 1))
    finally:
        pool.shutdown(cancel_futures=True)
