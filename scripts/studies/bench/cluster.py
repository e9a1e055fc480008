"""Dask clusters on this machine, in processes of their own, whose workers have one thread each."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

DEADLINE = 60.0
"""Seconds in which all workers must be there."""
GRACE = 10.0
"""Seconds in which a process must end that is told to."""


def has_dask() -> bool:
    """Tell whether the extra `dask` is installed."""
    return find_spec("distributed") is not None


@contextmanager
def local_clusters(sizes: tuple[int, ...]) -> Iterator[dict[int, str]]:
    """Start a cluster of each size; yield the files of their schedulers by size."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        yield {size: stack.enter_context(_cluster(folder / str(size), size)) for size in sizes}


@contextmanager
def _cluster(folder: Path, size: int) -> Iterator[str]:
    from distributed import Client

    folder.mkdir()
    file = str(folder / "scheduler.json")
    place = ["--scheduler-file", file, "--no-dashboard"]
    scheduler = ["dask_scheduler", *place, "--host", "127.0.0.1", "--port", "0"]
    worker = [
        "dask_worker", *place, "--host", "127.0.0.1", "--nthreads", "1",
        "--local-directory", str(folder),
    ]  # fmt: skip
    with ExitStack() as stack:
        stack.enter_context(_started(scheduler))
        for _ in range(size):
            stack.enter_context(_started([*worker, "--no-nanny"]))
        with Client(scheduler_file=file, timeout=DEADLINE, set_as_default=False) as client:
            client.wait_for_workers(size, timeout=DEADLINE)
        yield file


@contextmanager
def _started(arguments: list[str]) -> Iterator[None]:
    module, *rest = arguments
    command = [sys.executable, "-m", f"distributed.cli.{module}", *rest]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet)  # noqa: S603 - Dask's own
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
