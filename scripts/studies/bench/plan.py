"""What the benchmark measures, how often and in which order: one after the other, in rounds.

Whatever is compared with something else is measured beside it in each round, so that a machine that
is busy for a while is so for both.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import pandas as pd

from gradcheck.harness.request import DTYPES
from gradcheck.model.loading import load_model
from gradcheck.options import usable_cores
from studies.bench.cluster import has_dask, local_clusters
from studies.bench.commands import SCRIPTS, Command, count_parameters, time_sweep

LARGER = 10
"""By how much the larger of two sweeps is larger whose difference tells the marginal cost."""


@dataclass(frozen=True)
class Plan:
    """Sizes of a benchmark.

    Parameters
    ----------
    repeats
        Rounds.
    curves
        Rounds, the first ones, in which costs against samples, workers and parameters are measured.
    samples
        Of the largest sweep; `LARGER` times as many as of the one that it is compared with.
    fewest
        Of the smallest sweep.
    widths
        Of networks.
    numbers
        Inputs and parameters in the larger sweep of a network, all samples together.
    rounds
        In which the bare work is done on one block, within one process.
    block
        Samples in it; 0 for the sweep's own.
    looped
        Samples that others are asked about one by one.
    workers
        Of the larger cluster.
    """

    repeats: int = 5
    curves: int = 2
    samples: int = 10_000_000
    fewest: int = 1_000
    widths: tuple[int, ...] = (2, 8, 32)
    numbers: int = 20_000_000
    rounds: int = 8
    block: int = 0
    looped: int = 24
    workers: int = 2

    @property
    def pair(self) -> tuple[int, int]:
        """The two sizes whose difference tells the marginal cost."""
        return self.samples // LARGER, self.samples

    def commands(self) -> Iterator[Command]:
        """List what is run in every round, less the clusters."""
        yield from (Command("default"), Command("start"), Command("misprint"))
        for dtypes in (DTYPES[:1], DTYPES):
            for samples in self.pair:
                yield Command("sweep", samples, dtypes)

    def curve_commands(self) -> Iterator[Command]:
        """List what is run in the first rounds alone."""
        samples = self.fewest
        while samples < self.pair[0]:
            yield Command("sweep", samples)
            samples *= LARGER
        for workers in range(1, usable_cores()):
            for samples in self.pair:
                yield Command("sweep", samples, workers=workers)
        for width in self.widths:
            large = self.numbers // _numbers(width)
            for samples in (max(1, large // LARGER), large):
                yield Command("network", samples, width=width)


QUICK = Plan(
    repeats=2, curves=1, samples=200_000, widths=(2, 4), numbers=200_000, rounds=2, block=4096,
    looped=2,
)  # fmt: skip
"""Seconds rather than minutes; what it tells is only that everything runs."""


def measure(
    plan: Plan, note: Callable[[str], None] = lambda text: None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Carry a plan out.

    Returns
    -------
    commands, kernels
        A row per round and command, of `time_sweep`; and a row per round and kernel, with `model`,
        `parameters`, `dtype`, `kernel`, `samples` and `ns`, nanoseconds a sample.
    """
    commands: list[dict[str, Any]] = []
    kernels: list[dict[str, Any]] = []
    sizes = (1, plan.workers) if has_dask() else ()
    if not sizes:
        note("left out: Dask workers, for Dask is not installed (extra dask)")
    with local_clusters(sizes) as addresses:
        for address in addresses.items():  # so that every worker has imported what it needs
            time_sweep(_on_cluster(plan.pair[0], *address))
        for repeat in range(plan.repeats):
            note(f"round {repeat + 1} of {plan.repeats}")
            curves = repeat < plan.curves
            todo = list(plan.commands())
            todo += [_on_cluster(size, *a) for a in addresses.items() for size in plan.pair]
            todo += plan.curve_commands() if curves else ()
            commands += [{"repeat": repeat, **time_sweep(command)} for command in todo]
            widths = plan.widths if curves else ()
            kernels += [{"repeat": repeat, **row} for row in time_kernels(plan, widths)]
    return pd.DataFrame(commands), pd.DataFrame(kernels)


def time_kernels(plan: Plan, widths: tuple[int, ...]) -> Iterator[Mapping[str, Any]]:
    """Time the bare work and the loops in a process of their own."""
    asked = {"rounds": plan.rounds, "looped": plan.looped, "block": plan.block, "widths": widths}
    done = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", "studies.bench.kernels", json.dumps(asked)],
        cwd=SCRIPTS,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    for row in json.loads(done.stdout):
        width = row.pop("width")
        model = "network" if width else "chain"
        yield {"model": model, "parameters": count_parameters(model, width), **row}


def _on_cluster(samples: int, workers: int, address: str) -> Command:
    return replace(Command("cluster", samples), cluster=(address, workers))


def _numbers(width: int) -> int:
    return sum(map(prod, load_model("network", {"width": width}).leaves.values()))
