"""One command of the benchmark: its seconds from start to end, and the most memory it held."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

from gradcheck.model.loading import load_model
from gradcheck.options import usable_cores

SCRIPTS = Path(__file__).parents[2]
PROCESSES = Path("/proc")
LOOK = 0.2
"""Seconds between two looks at the memory. What is read is each process's own record of its peak,
so that only the last growth before an end can be missed."""
SESSION = 3
"""Where the session stands in `/proc/N/stat`, counted from behind the command's name."""
STAGES = ("sweep", "referee", "audit", "diagnosis")
"""Of `run.json`, those that follow one another."""


@dataclass(frozen=True)
class Command:
    """A sweep that is timed.

    Parameters
    ----------
    kind
        What for: `sweep`, `network`, `cluster`; the others have all their arguments in `ARGUMENTS`.
    width
        Of the network's layers.
    cluster
        The scheduler's address, and how many workers it has.
    """

    kind: str = "sweep"
    samples: int = 0
    dtypes: tuple[str, ...] = ("float64",)
    workers: int = 0
    width: int = 0
    cluster: tuple[str, int] = ("", 0)

    @property
    def settled(self) -> Command:
        """The same, in which as many processes judge as there are cores, unless it says."""
        return replace(self, workers=self.workers or usable_cores())

    @property
    def model(self) -> str:
        """The model's name."""
        return "network" if self.width else "chain"

    def arguments(self, output: str) -> list[str]:
        """Return the arguments of Python."""
        fixed = ARGUMENTS.get(self.kind)
        if fixed is not None:
            return ["sweep.py", *fixed, "--output", output]
        sizes = ["--option", f"width={self.width}"] if self.width else []
        where = ["--dask", self.cluster[0]] if self.cluster[0] else []
        return [
            "sweep.py", self.model, *sizes, "--adapters", "torch,jax",
            "--dtypes", ",".join(self.dtypes), "--samples", str(self.samples),
            "--workers", str(self.workers), *where, "--output", output,
        ]  # fmt: skip


ARGUMENTS = {
    "default": (),
    "start": ("--samples", "100", "--adapters", "torch"),
    "misprint": ("chain-misprint", "--adapters", "torch"),
}
DISAGREEING = {"misprint"}
"""Kinds that exit with 1."""


def time_sweep(command: Command) -> dict[str, Any]:
    """Run a command; return a row of what was asked for and of what it took.

    Returns
    -------
    dict
        `kind`, `model`, `parameters` (how many numbers), `dtypes`, `samples`, `workers`, `cluster`
        (its workers); `seconds`, `peak_mib`, and the seconds of each of `STAGES`.
    """
    command = command.settled
    with tempfile.TemporaryDirectory() as folder:
        status = int(command.kind in DISAGREEING)
        seconds, peak = run(command.arguments(folder), status)
        stages = json.loads((Path(folder) / "run.json").read_text())["seconds"]
    return {
        "kind": command.kind,
        "model": command.model,
        "parameters": count_parameters(command.model, command.width),
        "dtypes": "+".join(command.dtypes),
        "samples": command.samples,
        "workers": command.workers,
        "cluster": command.cluster[1],
        "seconds": seconds,
        "peak_mib": peak,
        **{stage: stages.get(stage) for stage in STAGES},
    }


def count_parameters(model: str, width: int) -> int:
    """Return how many numbers the parameters of a sample are."""
    loaded = load_model(model, {"width": width} if width else {})
    return sum(map(prod, loaded.parameters.values()))


def run(arguments: Sequence[str], status: int = 0) -> tuple[float, float]:
    """Run Python in the folder of the scripts, as the head of a session of its own.

    Returns
    -------
    seconds, mebibytes
        From start to end; and the sum of what each process of the session held at its own peak,
        0 where the system does not tell.

    Raises
    ------
    RuntimeError
        If it ends with another status.
    """
    with tempfile.TemporaryFile() as said:
        started = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603 - our own scripts
            [sys.executable, *arguments],
            cwd=SCRIPTS,
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
        )
        peaks: dict[int, int] = {}
        ended = threading.Event()
        watcher = threading.Thread(target=_watch, args=(process.pid, peaks, ended))
        watcher.start()
        try:
            process.wait()
            seconds = time.perf_counter() - started
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            ended.set()
            watcher.join()
        if process.returncode != status:
            said.seek(0)
            raise RuntimeError(
                f"{' '.join(arguments)} ended with {process.returncode}, not {status}: "
                f"{said.read().decode(errors='replace')[-2000:]}"
            )
    return seconds, sum(peaks.values()) / 1024


def _watch(session: int, peaks: dict[int, int], ended: threading.Event) -> None:
    """Keep the latest peak, in KiB, of each process of a session.

    A process that was forked and is not yet another program has its parent's; so the latest counts.
    """
    while not ended.wait(LOOK):
        for pid in _members(session):
            try:
                status = (PROCESSES / str(pid) / "status").read_text()
            except OSError:  # it has ended
                continue
            for line in status.splitlines():
                if line.startswith("VmHWM:"):
                    peaks[pid] = int(line.split()[1])


def _members(session: int) -> list[int]:
    found = []
    for entry in PROCESSES.glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[SESSION]) == session:
            found.append(int(entry.name))
    return found
