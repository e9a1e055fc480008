"""What `gradcheck.check`, `torch.autograd.gradcheck` and `check_grads` say of the mutants.

A mutant is found if a detector rejects it on inputs on which it accepts the correct pass. All
detectors get the same inputs, once.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from operator import itemgetter

from studies.functions.corpus import DTYPES
from studies.functions.detectors import DETECTORS, OWN, Answer, ask_in_time, check, told_mend
from studies.functions.fates import find_fate
from studies.functions.mutants import KINDS, Mutant, make_mutants
from studies.functions.running import Row
from studies.functions.subjects import FRAMEWORKS, SUBJECTS

SIZES = (6, 3, 5, 2, 4)
"""How many times as long as the smallest inputs are those on which many gradients are compared, by
turns: what is exact for one length may not be for another."""


@dataclass(frozen=True)
class Trial:
    """What is tried.

    Parameters
    ----------
    mutants
        How many mutants in each framework, of all functions together.
    honest
        On how many inputs each function's correct pass is checked, in each format and framework.
    samples
        How many larger inputs like each of them gradcheck draws in search of false alarms.
    seed
        Of the choice of mutants, and the first of the inputs.
    limit
        Seconds for one detector and one mutant; what takes longer is not found.
    """

    mutants: int = 10_000
    honest: int = 20
    samples: int = 8
    seed: int = 0
    limit: float = 60.0


def choose_mutants(trial: Trial, framework: str = "torch") -> list[Mutant]:
    """Draw mutants at random, in turns from the functions and the kinds of fault."""
    ranked: list[tuple[int, int, Mutant]] = []
    for key, subject in SUBJECTS.items():
        if subject.framework != framework:
            continue
        kinds: dict[str, list[Mutant]] = {}
        for mutant in make_mutants(key):
            kinds.setdefault(mutant.kind, []).append(mutant)
        for kind, some in kinds.items():
            random.Random(f"{trial.seed} {key} {kind}").shuffle(some)  # noqa: S311 - a sample
            ranked += [(turn, KINDS.index(kind), mutant) for turn, mutant in enumerate(some)]
    return [mutant for *_, mutant in sorted(ranked, key=itemgetter(0, 1))][: trial.mutants]


def mutants_by_name(
    trial: Trial, frameworks: Sequence[str] = FRAMEWORKS
) -> dict[str, tuple[Trial, Mutant]]:
    """Return what `judge_mutant` takes: the frameworks in turns, so that any part is fair."""
    ranked = [
        (turn, FRAMEWORKS.index(framework), mutant)
        for framework in frameworks
        for turn, mutant in enumerate(choose_mutants(trial, framework))
    ]
    chosen = [mutant for *_, mutant in sorted(ranked, key=itemgetter(0, 1))]
    return {f"{mutant.subject} {mutant.id}": (trial, mutant) for mutant in chosen}


def judge_mutant(task: tuple[Trial, Mutant]) -> list[Row]:
    """Put a mutant before the detectors of its framework, in all formats.

    Returns
    -------
    list
        A row per format. `fate`, `deviation`: see `Fate`. Of those that are wrong, for each
        detector whether it found the mutant, its seconds, and whether it was too late; of
        gradcheck, which line it named and what it said, whether that is the faulty line, and
        whether it told a mend: one of the faulty line, or of another that makes all right as well.
    """
    trial, mutant = task
    subject = SUBJECTS[mutant.subject]
    about = {
        "framework": subject.framework,
        "function": subject.name,
        "id": mutant.id,
        "kind": mutant.kind,
        "exponent": mutant.exponent,
        "line": mutant.line,
        "original": mutant.original,
        "mutated": mutant.mutated,
    }
    rows = []
    for dtype in DTYPES:
        fate = find_fate(mutant, dtype, trial.seed)
        row = about | {"dtype": dtype, "fate": fate.name, "deviation": fate.deviation}
        rows.append(row | (_answers(trial, mutant, dtype) if fate.name == "wrong" else {}))
    return rows


def _answers(trial: Trial, mutant: Mutant, dtype: str) -> Row:
    subject = SUBJECTS[mutant.subject]
    inputs = subject.make_inputs(dtype, trial.seed)
    row: Row = {}
    for name, ask in DETECTORS[subject.framework].items():
        answer = ask_in_time(ask, trial.limit, mutant.function, inputs, trial.seed)
        honest = _honest(mutant.subject, dtype, trial.seed, name)
        row |= {
            name: answer.disagrees and not honest.rejects,
            f"{name}_seconds": round(answer.seconds, 4),
            f"{name}_late": answer.late,
        }
        if name == OWN:
            row |= {
                "named_line": answer.line,
                "named": answer.line == mutant.line,
                "mended": told_mend(answer),
                "explanation": answer.explanation,
            }
    return row


@cache
def _honest(key: str, dtype: str, seed: int, detector: str) -> Answer:
    subject = SUBJECTS[key]
    ask = DETECTORS[subject.framework][detector]
    return ask(subject.function, subject.make_inputs(dtype, seed), seed)


Cell = tuple[Trial, str, str, int]


def honest_by_name(trial: Trial, frameworks: Sequence[str] = FRAMEWORKS) -> dict[str, Cell]:
    """Return what `check_honest` takes."""
    return {
        f"{key} {dtype} {seed}": (trial, key, dtype, seed)
        for seed in range(trial.seed, trial.seed + trial.honest)
        for key, subject in SUBJECTS.items()
        if subject.framework in frameworks
        for dtype in DTYPES
    }


def check_honest(cell: Cell) -> list[Row]:
    """Put a correct pass before the detectors of its framework.

    Returns
    -------
    list
        A row: which rejected it; and for inputs of `SIZES` as well how many `gradients` gradcheck
        compared, whether it called any wrong (`large`), or otherwise did not accept them
        (`abstains`).
    """
    trial, key, dtype, seed = cell
    subject = SUBJECTS[key]
    row: Row = {
        "framework": subject.framework,
        "function": subject.name,
        "dtype": dtype,
        "seed": seed,
    }
    for name in DETECTORS[subject.framework]:
        answer = _honest(key, dtype, seed, name)
        row |= {name: answer.disagrees, f"{name}_seconds": round(answer.seconds, 4)}
        if name == OWN:
            compared = answer.compared
    size = SIZES[seed % len(SIZES)]
    inputs = subject.make_inputs(dtype, seed, size)
    many = check(subject.function, inputs, seed, trial.samples)
    return [
        row
        | {
            "size": size,
            "gradients": compared + many.compared,
            "large": many.disagrees,
            "abstains": many.rejects and not many.disagrees,
            "large_seconds": round(many.seconds, 4),
        }
    ]
