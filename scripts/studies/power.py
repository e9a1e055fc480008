"""How good four detectors are: the mutants that they kill, and their false alarms.

A mutant is killed if a detector rejects it on a sample on which it accepts the correct pass. All
detectors get the same samples, one verdict each; what a detector calls is in
`studies.detectors`.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product
from multiprocessing import get_context
from typing import Any

import numpy as np
import pandas as pd

from gradcheck.diagnosis.diagnosis import diagnose
from gradcheck.harness.request import DTYPES, Request
from gradcheck.harness.samples import EVIDENCE, draw_samples
from gradcheck.harness.sweep import run_sweep
from gradcheck.judge.verdict import Verdict
from gradcheck.model.loading import load_model
from gradcheck.model.model import Model
from gradcheck.truth.derivative import enclose_gradients
from gradcheck.truth.enclosures import reals
from studies.detectors import DETECTORS, Values
from studies.mutants import EXPONENTS, KINDS, Mutant, make_mutants

SCALES = (0.5, 1.0, 2.0, 3.0, 6.0)
SWEPT = ("torch", "jax")
"""The adapters of the sweeps that look for false alarms."""
ABSTENTIONS = [Verdict.UNINFORMATIVE, Verdict.OVERFLOW, Verdict.KINK]
FLOAT64 = np.dtype(np.float64)
PACKAGES = ("gradcheck", "numpy", "torch", "jax", "jaxlib", "python-flint")


@dataclass(frozen=True)
class Trial:
    """What is tried.

    Parameters
    ----------
    model
        Whose backward pass gets the faults.
    samples
        How many N(0, 1) samples each detector gets.
    more_samples
        How many gradcheck gets for its own target; the first `samples` are the same.
    many_samples
        On how many gradcheck and `numpy.allclose` may raise false alarms.
    seed
        Of all samples.
    """

    model: str = "chain"
    samples: int = 200
    more_samples: int = 1000
    many_samples: int = 320_000
    seed: int = 0

    def facts(self) -> dict[str, Any]:
        """Return the settings and the versions, for a file beside the tables."""
        versions = {name: importlib.metadata.version(name) for name in PACKAGES}
        return {
            "trial": vars(self),
            "versions": {"python": platform.python_version(), **versions},
            "system": f"{platform.system()} {platform.machine()}",
        }


def judge_mutants(
    trial: Trial, workers: int = 1, chosen: Iterable[int] | None = None
) -> pd.DataFrame:
    """Put mutants before all detectors, in float64.

    Parameters
    ----------
    workers
        Processes; the result does not depend on their number.
    chosen
        Which mutants, by id; all if `None`.

    Returns
    -------
    pandas.DataFrame
        A row per mutant. For every detector: whether it kills the mutant, and on which sample
        first. `gradcheck_1000`, with the number of `trial`, is on the larger number of samples, and
        so is `gradcheck_first`. `equivalent`: at 256 bits, the enclosures of all gradients overlap
        those of the correct pass on all of these samples, so that nothing tells the two apart;
        where it is false, they are proved to differ. `named`, `claim`: the quantity whose line the
        diagnosis names (compare `quantity`), and what that is said to hold; empty if not killed.
    """
    ids = range(len(make_mutants(load_model(trial.model)))) if chosen is None else chosen
    table = pd.DataFrame(list(_in_order(partial(_judge, trial), ids, workers)))
    whole = [name for name in table if name == "exponent" or str(name).endswith("_first")]
    return table.astype(dict.fromkeys(whole, "Int64"))


def count_false_alarms(trial: Trial, workers: int = 1) -> pd.DataFrame:
    """Put the correct pass before all detectors, at every scale and in both formats.

    Returns
    -------
    pandas.DataFrame
        A row per detector, scale and dtype: on how many of how many samples the correct pass was
        rejected. For gradcheck, which sweeps over two adapters, also how many gradients were
        compared, and on how many of these it abstained.
    """
    cells = product(DETECTORS, SCALES, DTYPES)
    table = pd.DataFrame(list(_in_order(partial(_alarms, trial), cells, workers)))
    return table.convert_dtypes()


def summarise(mutants: pd.DataFrame) -> pd.DataFrame:
    """Count the mutants killed, by kind of fault, and their total; equivalent ones are left out."""
    told_apart = mutants[~mutants["equivalent"]]
    verdicts = told_apart.select_dtypes(bool).columns.drop("equivalent")
    scaled = told_apart["exponent"].notna()
    rows = {kind: told_apart[(told_apart["kind"] == kind) & ~scaled] for kind in KINDS}
    rows |= {f"× (1 + 2^-{k})": told_apart[told_apart["exponent"] == k] for k in EXPONENTS}
    rows["all"] = told_apart
    return pd.DataFrame(
        [
            {"fault": fault, "mutants": len(some), **some[verdicts].sum()}
            for fault, some in rows.items()
            if len(some)
        ]
    )


def indistinguishable(enclosures: Mapping[str, Any], truth: Mapping[str, Any]) -> bool:
    """Tell whether all of two passes' enclosures overlap; a number stands for all samples."""
    return all(
        true.overlaps(other)
        for name, known in truth.items()
        for true, other in zip(
            known.flat, np.broadcast_to(_reals(enclosures[name]), known.shape).flat, strict=True
        )
    )


def named_line(model: Model, values: Values, rejected: Sequence[int]) -> tuple[str, str]:
    """Diagnose a mutant as a sweep does: from the first samples, and some on which it fails.

    Returns
    -------
    named, claim
        The quantity whose line is named first, and what it is said to hold; empty if none is.
    """
    count = len(next(iter(values.values())))
    chosen = sorted({*range(min(EVIDENCE, count)), *rejected[:EVIDENCE]})
    findings = diagnose(model, {name: array[chosen] for name, array in values.items()}).findings
    return (findings[0].quantity[2:], findings[0].explanation) if findings else ("", "")


def _reals(gradient: Any) -> Any:
    return gradient if np.asarray(gradient).dtype.hasobject else reals(gradient)


@dataclass(frozen=True)
class _Stage:
    """What every mutant of a trial needs."""

    model: Model
    mutants: list[Mutant]
    values: Values
    alarms: dict[str, list[bool]]
    truth: dict[str, Any]


@cache
def _stage(trial: Trial) -> _Stage:
    model = load_model(trial.model)
    values = draw_samples(model.leaves, trial.seed, 0, trial.more_samples)
    alarms = {
        name: list(detector(model, _given(trial, name, values), FLOAT64))
        for name, detector in DETECTORS.items()
    }
    return _Stage(model, make_mutants(model), values, alarms, enclose_gradients(model, values))


def _given(trial: Trial, detector: str, values: Values) -> Values:
    count = trial.more_samples if detector == "gradcheck" else trial.samples
    return {name: array[:count] for name, array in values.items()}


def _judge(trial: Trial, number: int) -> dict[str, Any]:
    stage = _stage(trial)
    mutant = stage.mutants[number]
    model = replace(stage.model, name=mutant.filename, backward=mutant.backward)
    first: dict[str, int | None] = {}
    named = claim = ""
    for name, detector in DETECTORS.items():
        verdicts = detector(model, _given(trial, name, stage.values), FLOAT64)
        pairs = zip(verdicts, stage.alarms[name], strict=True)
        killing = (i for i, (rejected, alarm) in enumerate(pairs) if rejected and not alarm)
        first[name] = sample = next(killing, None)
        if name == "gradcheck" and sample is not None:
            named, claim = named_line(model, stage.values, [sample, *killing])
    mutated = enclose_gradients(model, stage.values)
    killed = {name: sample is not None for name, sample in first.items()}
    soon = first["gradcheck"] is not None and first["gradcheck"] < trial.samples
    return {
        "id": mutant.id,
        "kind": mutant.kind,
        "exponent": mutant.exponent,
        "line": mutant.line,
        "quantity": mutant.quantity,
        "original": mutant.original,
        "mutated": mutant.mutated,
        "equivalent": indistinguishable(mutated, stage.truth),
        f"gradcheck_{trial.more_samples}": killed["gradcheck"],
        **{**killed, "gradcheck": soon},
        **{f"{name}_first": sample for name, sample in first.items()},
        "named": named,
        "claim": claim,
    }


def _alarms(trial: Trial, cell: tuple[str, float, str]) -> dict[str, Any]:
    detector, scale, dtype = cell
    model = load_model(trial.model)
    count = trial.many_samples if detector in ("gradcheck", "allclose") else trial.samples
    row = {"detector": detector, "scale": scale, "dtype": dtype, "samples": count}
    if detector == "gradcheck":
        request = Request(
            samples=count, seed=trial.seed, scale=scale, dtypes=(dtype,), adapters=SWEPT,
            rows=count, workers=1,
        )  # fmt: skip
        tallies = run_sweep(model, request).tallies.values()
        cases = (case for tally in tallies for case in (*tally.disagreements, *tally.errors))
        return row | {
            "false_alarms": len({case.sample for case in cases}),
            "comparisons": sum(tally.compared for tally in tallies),
            "abstained": sum(int(tally.counts[ABSTENTIONS].sum()) for tally in tallies),
        }
    values = draw_samples(model.leaves, trial.seed, 0, count, scale=scale, dtype=dtype)
    return row | {"false_alarms": sum(DETECTORS[detector](model, values, np.dtype(dtype)))}


def _in_order(
    work: Callable[[Any], dict[str, Any]], tasks: Iterable[Any], workers: int
) -> Iterator[dict[str, Any]]:
    """Map in fresh processes, results in the order of the tasks; in this process if one is all."""
    if workers == 1:
        yield from map(work, tasks)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), _use_one_thread) as pool:
        yield from pool.map(work, tasks)


def _use_one_thread() -> None:
    """Keep PyTorch of a process to itself, so that processes do not compete."""
    import torch

    torch.set_num_threads(1)
