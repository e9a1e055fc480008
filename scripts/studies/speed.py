"""What a sweep costs, from the start of its process to its last file, next to the bare work.

The bare work is what nobody can do without: the same calls of the same frameworks, and the passes
on plain floats, on blocks of the same size, in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from gradcheck import load_model
from gradcheck.adapters import choose_adapters
from gradcheck.harness.process import keep_heap_mapped
from gradcheck.harness.samples import BLOCK, draw_samples
from gradcheck.model.model import run_passes

ADAPTERS = ("torch", "jax")
SCRIPTS = Path(__file__).parents[1]
BLOCKS_DRAWN = 8
"""The bare work goes round these; drawing samples is no part of it."""


def compare_with_bare_work(sizes: Sequence[int], repeats: int) -> pd.DataFrame:
    """Time `sweep.py --adapters torch,jax --dtypes float64` and the bare work, in turn.

    Parameters
    ----------
    sizes
        Numbers of samples.

    Returns
    -------
    pandas.DataFrame
        Seconds: a row per repeat and size, with the columns `samples`, `sweep`, `bare` and one for
        each stage that the sweep's own `run.json` tells (summed over its workers).
    """
    rows = []
    for _ in range(repeats):
        for samples in sizes:
            with tempfile.TemporaryDirectory() as folder:
                swept = time_command(*_sweep_command(samples, folder))
                stages = json.loads((Path(folder) / "run.json").read_text())["seconds"]
            bare = time_command("-c", f"from studies.speed import bare_work; bare_work({samples})")
            rows.append({"samples": samples, "sweep": swept, "bare": bare, **stages})
    return pd.DataFrame(rows)


def summarise(timings: pd.DataFrame) -> pd.DataFrame:
    """Take medians by size, and what a million samples more cost from the smallest to the largest.

    Returns
    -------
    pandas.DataFrame
        The columns of `timings` and `ratio`, of the sweep to the bare work; a row per size, and
        `each million more`.
    """
    medians = timings.groupby("samples").median()
    first, last = medians.iloc[0], medians.iloc[-1]
    millions = (medians.index[-1] - medians.index[0]) / 1e6
    medians.index = pd.Index([f"{samples:,} samples" for samples in medians.index])
    medians.loc["each million more"] = (last - first) / millions
    medians.insert(2, "ratio", medians["sweep"] / medians["bare"])
    return medians


def bare_work(samples: int) -> None:
    """Differentiate `chain` by torch and jax, and run its passes on floats, in float64."""
    model, dtype = load_model("chain"), np.dtype(np.float64)
    keep_heap_mapped()
    calls = [adapter.prepare(model, dtype) for adapter in choose_adapters(ADAPTERS, model).values()]
    blocks = [draw_samples(model.leaves, 0, i * BLOCK, BLOCK) for i in range(BLOCKS_DRAWN)]
    for block in range(-(-samples // BLOCK)):
        values = blocks[block % BLOCKS_DRAWN]
        for call in calls:
            for gradient in call(values).values():
                np.asarray(gradient)  # waits for what is computed in the background
        run_passes(model, np, values)


def time_command(*arguments: str) -> float:
    """Return the seconds of `python arguments` in the folder of the scripts, start to end."""
    command = [sys.executable, *arguments]
    started = time.perf_counter()
    subprocess.run(command, cwd=SCRIPTS, check=True, capture_output=True)  # noqa: S603
    return time.perf_counter() - started


def peak_memory(samples: int) -> float:
    """Return the peak resident memory, in MiB, of a float64 sweep over torch and jax."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = list(_sweep_command(samples, folder))[1:]
        program = (
            f"import resource; from gradcheck.cli import main; main({['sweep', *arguments]!r}); "
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        command = [sys.executable, "-c", program]
        run = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    return int(run.stdout.split()[-1]) / 1024


def _sweep_command(samples: int, folder: str) -> Iterator[str]:
    yield "sweep.py"
    yield from ("--adapters", ",".join(ADAPTERS), "--dtypes", "float64")
    yield from ("--samples", str(samples), "--output", folder)
