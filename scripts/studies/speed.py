"""What a sweep costs, next to the bare work that it cannot do without."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gradcheck.adapters import Gradients, choose_adapters
from gradcheck.harness.request import Request
from gradcheck.harness.samples import BLOCK, draw_samples
from gradcheck.harness.sweep import keep_heap_mapped, run_sweep
from gradcheck.model.model import Model, run_passes

ADAPTERS = ("torch", "jax")
BLOCKS_DRAWN = 8
"""The bare work goes round these; drawing samples is no part of it."""


def compare_with_bare_work(model: Model, samples: int, repeats: int) -> pd.DataFrame:
    """Time a float64 sweep over torch and jax against the same calls and the float engine alone.

    Both run in one process, in turn, on blocks of the same size. `cold` prepares the adapters
    anew, as a sweep does, so that JAX compiles in both; `warm` leaves that out.

    Returns
    -------
    pandas.DataFrame
        Seconds, a row per repeat: `cold`, `warm`, `sweep`, and the sweep over either.
    """
    request = Request(samples=samples, dtypes=("float64",), adapters=ADAPTERS)
    keep_heap_mapped()
    blocks = [draw_samples(model.leaves, 0, i * BLOCK, BLOCK) for i in range(BLOCKS_DRAWN)]
    rows = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        calls = [
            adapter.prepare(model, np.dtype(np.float64))
            for adapter in choose_adapters(ADAPTERS, model).values()
        ]
        _bare_work(model, calls, blocks[:1])
        prepared = time.perf_counter()
        _bare_work(model, calls, [blocks[i % BLOCKS_DRAWN] for i in range(-(-samples // BLOCK))])
        worked = time.perf_counter()
        run_sweep(model, request)
        swept = time.perf_counter()
        rows.append((worked - started, worked - prepared, swept - worked))
    frame = pd.DataFrame(rows[1:], columns=["cold", "warm", "sweep"])  # the first warms caches up
    return frame.assign(
        sweep_over_cold=frame["sweep"] / frame["cold"],
        sweep_over_warm=frame["sweep"] / frame["warm"],
    )


def _bare_work(
    model: Model,
    calls: Sequence[Gradients],
    blocks: Sequence[dict[str, NDArray[np.float64]]],
) -> None:
    for values in blocks:
        for call in calls:
            for gradient in call(values).values():
                np.asarray(gradient)  # waits for what is computed in the background
        run_passes(model, np, values)


def time_command(*arguments: str, repeats: int = 5) -> float:
    """Return the median seconds of `python arguments`, start to end."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)  # noqa: S603
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


def peak_memory(samples: int) -> float:
    """Return the peak resident memory, in MiB, of a float64 sweep over torch and jax."""
    with tempfile.TemporaryDirectory() as folder:
        program = (
            "import resource; from gradcheck.cli import main; "
            f"main(['sweep', '--samples', '{samples}', '--dtypes', 'float64', '--adapters', "
            f"'{','.join(ADAPTERS)}', '--output', {folder!r}]); "
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        command = [sys.executable, "-c", program]
        run = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    return int(run.stdout.split()[-1]) / 1024
