"""The figures: what `gradcheck.check` and `torch.autograd.gradcheck` say of the mutants.

A mutant is found if a detector rejects it on inputs on which it accepts the correct pass. Both
detectors get the same inputs, once.
"""

from __future__ import annotations

import importlib.metadata
import platform
import random
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from operator import itemgetter
from typing import Any

import pandas as pd
import torch

from studies.functions.corpus import DTYPES, SUBJECTS, gradients
from studies.functions.detectors import DETECTORS, Answer, check, told_mend
from studies.functions.mutants import KINDS, Mutant, make_mutants

PACKAGES = ("gradcheck", "numpy", "torch", "python-flint")
EQUAL = 1e-13
"""Gradients are equal that differ by less, in parts of the largest, on all `COMPARED` inputs."""
COMPARED = range(1000, 1008)
"""Seeds of inputs on which mutants are compared with the correct pass."""
CHUNK = 8
"""How many mutants a process gets at a time."""


@dataclass(frozen=True)
class Trial:
    """What is tried.

    Parameters
    ----------
    mutants
        How many mutants, of all functions together.
    honest
        On how many inputs each function's correct pass is checked, in each format.
    samples
        How many inputs like them gradcheck draws for each of these in search of false alarms.
    seed
        Of the choice of mutants, and the first of the inputs.
    """

    mutants: int = 10_000
    honest: int = 20
    samples: int = 100
    seed: int = 0

    def facts(self) -> dict[str, Any]:
        """Return the settings and the versions, for a file beside the tables."""
        versions = {name: importlib.metadata.version(name) for name in PACKAGES}
        return {
            "trial": vars(self),
            "versions": {"python": platform.python_version(), **versions},
            "system": f"{platform.system()} {platform.machine()}",
        }


def choose_mutants(trial: Trial) -> list[Mutant]:
    """Draw mutants at random, in turns from the functions and the kinds of fault."""
    ranked: list[tuple[int, int, Mutant]] = []
    for subject in SUBJECTS:
        kinds: dict[str, list[Mutant]] = {}
        for mutant in make_mutants(subject):
            kinds.setdefault(mutant.kind, []).append(mutant)
        for kind, some in kinds.items():
            random.Random(f"{trial.seed} {subject} {kind}").shuffle(some)  # noqa: S311 - a sample
            ranked += [(turn, KINDS.index(kind), mutant) for turn, mutant in enumerate(some)]
    return [mutant for *_, mutant in sorted(ranked, key=itemgetter(0, 1))][: trial.mutants]


def fate(mutant: Mutant) -> str:
    """Tell whether a pass `fails`, is `equal` to the correct one in float64, or is `wrong`."""
    subject = SUBJECTS[mutant.subject]
    for seed in COMPARED:
        inputs = subject.make_inputs("float64", seed)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # such as that a scalar has no transpose
                found = gradients(mutant.function.apply, inputs, seed)
        except Exception:  # whatever the fault leads to
            return "fails"
        if not all(map(_equal, found, gradients(subject.function.apply, inputs, seed))):
            return "wrong"
    return "equal"


def _equal(a: Any, b: Any) -> bool:
    return bool(((a - b).abs() <= EQUAL * b.abs().max()).all())  # false where one is NaN


def judge_mutants(trial: Trial, workers: int = 1) -> pd.DataFrame:
    """Put mutants before all detectors, in all formats.

    Returns
    -------
    pandas.DataFrame
        A row per mutant and format, of mutants that fail or are equal one row without a format.
        `fate`: see `fate`. For each detector whether it found the mutant, and its seconds; of
        gradcheck, which line it named and what it said, whether it is the faulty one, and whether
        it told a mend: one of the faulty line, or of another that makes all right as well.
    """
    rows = _in_order(partial(_judge, trial), choose_mutants(trial), workers)
    table = pd.DataFrame([row for several in rows for row in several])
    return table.astype({"exponent": "Int64", "named_line": "Int64"})


def check_honest(trial: Trial, workers: int = 1) -> pd.DataFrame:
    """Put the correct passes before all detectors, on many inputs.

    Returns
    -------
    pandas.DataFrame
        A row per function, format and inputs: `gradients` that gradcheck compared, and which
        detectors rejected.
    """
    cells = [
        (subject, dtype, trial.seed + i)
        for subject in SUBJECTS
        for dtype in DTYPES
        for i in range(trial.honest)
    ]
    return pd.DataFrame(list(_in_order(partial(_check_honest, trial), cells, workers)))


def summarise(mutants: pd.DataFrame) -> pd.DataFrame:
    """Give the shares found, named and mended, by format, function and kind of fault."""
    judged = mutants[mutants["fate"] == "wrong"]
    rows = []
    for dtype, of_dtype in judged.groupby("dtype"):
        groups: list[tuple[str, Any, pd.DataFrame]] = [("all", "all", of_dtype)]
        groups += [("function", name, some) for name, some in of_dtype.groupby("function")]
        groups += [("kind", kind, some) for kind, some in of_dtype.groupby("kind")]
        groups += [("2^-k", k, some) for k, some in of_dtype.groupby("exponent")]
        rows += [
            {"dtype": dtype, "by": by, "value": value, "mutants": len(some), **_shares(some)}
            for by, value, some in groups
        ]
    return pd.DataFrame(rows)


def summarise_honest(honest: pd.DataFrame) -> pd.DataFrame:
    """Count the false alarms of every detector, and give its median seconds."""
    grouped = honest.groupby(["function", "dtype"], sort=False)
    alarms = {f"{name}_alarms": (name, "sum") for name in DETECTORS}
    seconds = {f"{name}_seconds": (f"{name}_seconds", "median") for name in DETECTORS}
    counts = {"checks": ("seed", "size"), "gradients": ("gradients", "sum")}
    return grouped.agg(**counts, **alarms, **seconds).reset_index()


def _shares(some: pd.DataFrame) -> dict[str, Any]:
    found = some[some["gradcheck"]]
    return {
        **{name: some[name].mean() for name in DETECTORS},
        "named": found["named"].mean(),
        "mended": found["mended"].mean(),
        **{f"{name}_seconds": some[f"{name}_seconds"].median() for name in DETECTORS},
    }


def _judge(trial: Trial, mutant: Mutant) -> list[dict[str, Any]]:
    about = {
        "function": mutant.subject,
        "id": mutant.id,
        "kind": mutant.kind,
        "exponent": mutant.exponent,
        "line": mutant.line,
        "original": mutant.original,
        "mutated": mutant.mutated,
        "fate": fate(mutant),
    }
    if about["fate"] != "wrong":
        return [about | {"named_line": None}]
    return [about | _answers(trial, mutant, dtype) for dtype in DTYPES]


def _answers(trial: Trial, mutant: Mutant, dtype: str) -> dict[str, Any]:
    inputs = SUBJECTS[mutant.subject].make_inputs(dtype, trial.seed)
    answers = {name: ask(mutant.function, inputs, trial.seed) for name, ask in DETECTORS.items()}
    found = {
        name: answer.disagrees and not _honest(mutant.subject, dtype, trial.seed, name).rejects
        for name, answer in answers.items()
    }
    answer = answers["gradcheck"]
    return {
        "dtype": dtype,
        **found,
        "named_line": answer.line,
        "explanation": answer.explanation,
        "named": answer.line == mutant.line,
        "mended": told_mend(answer),
        **{f"{name}_seconds": answer.seconds for name, answer in answers.items()},
    }


@cache
def _honest(subject: str, dtype: str, seed: int, detector: str) -> Answer:
    inputs = SUBJECTS[subject].make_inputs(dtype, seed)
    return DETECTORS[detector](SUBJECTS[subject].function, inputs, seed)


def _check_honest(trial: Trial, cell: tuple[str, str, int]) -> dict[str, Any]:
    subject, dtype, seed = cell
    answers = {name: _honest(subject, dtype, seed, name) for name in DETECTORS}
    inputs = SUBJECTS[subject].make_inputs(dtype, seed)
    many = check(SUBJECTS[subject].function, inputs, seed, trial.samples)
    rejects = {name: answer.rejects for name, answer in answers.items()}
    return {
        "function": subject,
        "dtype": dtype,
        "seed": seed,
        "gradients": many.compared,
        **(rejects | {"gradcheck": rejects["gradcheck"] or many.rejects}),
        **{f"{name}_seconds": answer.seconds for name, answer in answers.items()},
    }


def _in_order(work: Callable[[Any], Any], tasks: Iterable[Any], workers: int) -> Iterator[Any]:
    """Map in fresh processes, results in the order of the tasks; in this process if one is all."""
    if workers == 1:
        yield from map(work, tasks)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), _use_one_thread) as pool:
        yield from pool.map(work, tasks, chunksize=CHUNK)


def _use_one_thread() -> None:
    """Keep PyTorch of a process to itself, so that processes do not compete."""
    torch.set_num_threads(1)
