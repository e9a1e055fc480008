"""Which line is wrong, and what it holds instead of what it should."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from gradcheck.diagnosis.counterexample import clearness, simplest_counterexample
from gradcheck.diagnosis.findings import Diagnosis, Finding
from gradcheck.diagnosis.forward import departure
from gradcheck.diagnosis.recording import Recording, record
from gradcheck.diagnosis.search import Judgement, Suspicion, as_floats, held, suspect
from gradcheck.diagnosis.statements import Line, Statements
from gradcheck.diagnosis.tape import OverBudgetError
from gradcheck.diagnosis.words import FLOAT64, Explainer
from gradcheck.errors import file_name
from gradcheck.judge.evaluation import Values
from gradcheck.judge.reference import Passes
from gradcheck.model.model import Model, each_sample
from gradcheck.truth.derivative import (
    UnsupportedOperationError,
    enclose_derivative,
)
from gradcheck.truth.enclosures import precision

BUDGET = 10**6
"""Operations on numbers that a diagnosis may take: some 30 seconds."""
ENOUGH, FEWEST_SAMPLES = 20_000, 3
"""Operations after which there is evidence enough, unless from fewer samples than these."""
BITS = 192
SAME_LOSS = 2.0**-30
"""Relative difference of two losses that the rounding of constants can explain."""


def diagnose(
    model: Model,
    values: Values,
    disputed: Mapping[str, Sequence[int]] | None = None,
    samples: Sequence[int] | None = None,
    *,
    progress: Callable[[float], None] = lambda fraction: None,
    budget: int = BUDGET,
    dtype: Any = np.float64,
) -> Diagnosis:
    """Name the wrong lines; those that only inherit are left out.

    The passes run in Arb's arithmetic, sample by sample. What they hold is compared with the true
    adjoints, which a reverse sweep over the recorded forward pass yields, and which the referee's
    own derivative of the definition must confirm. The backward pass is judged only if the forward
    pass agrees with the definition.

    Parameters
    ----------
    values
        Samples, float64 of shape `(n, *shape)`.
    disputed
        Elements of gradients that are known to be disputed, by parameter; they are looked at first.
        Given, other parameters' gradients are taken for right.
    samples
        What the samples are numbered; from 0 on, unless given.
    progress
        Is told the fraction done.
    budget
        Most operations on numbers.
    dtype
        The format under judgement, for code that asks for it.
    """
    statements = Statements()
    recordings: dict[int, Recording] = {}
    left = ""
    with precision(BITS), np.errstate(all="ignore"):
        try:
            for row, recording in _recordings(model, values, statements, budget, dtype):
                recordings[row] = recording
                progress(len(recordings) / _enough(recording, values))
        except OverBudgetError:
            left = f"one sample takes more than the {budget} operations of a diagnosis"
            if recordings:
                left = f"{len(recordings)} samples take all of the {budget} operations"
        except UnsupportedOperationError as error:  # Arb cannot follow the passes
            left = f"the passes cannot be followed: {error}"
        if not recordings:
            return Diagnosis((), left, np.dtype(dtype).name)
        chosen = {name: array[list(recordings)] for name, array in values.items()}
        parts = list(recordings.values())
        numbers = list(recordings) if samples is None else [samples[row] for row in recordings]
        if any(_losses_differ(one) for one in parts) or _misstated(model, values):
            found = _forward_findings(model, chosen, parts, statements)
        else:
            found = _backward_findings(model, chosen, parts, statements, disputed, dtype)
    progress(1.0)
    told = tuple(replace(finding, clearest=numbers[finding.clearest]) for finding in found)
    return Diagnosis(told, left, np.dtype(dtype).name)


def _recordings(
    model: Model, values: Values, statements: Statements, budget: int, dtype: Any
) -> Iterator[tuple[int, Recording]]:
    """Record as many samples as it takes; one on which something is undefined is left out."""
    spent, taken = 0, 0
    for row, sample in enumerate(each_sample(model, values)):
        if taken and ((spent >= ENOUGH and taken >= FEWEST_SAMPLES) or spent * 2 > budget):
            return
        try:
            recording = record(
                model, sample, statements, budget - spent, loss=taken < FEWEST_SAMPLES, dtype=dtype
            )
        except (ValueError, ArithmeticError):
            continue
        except (TypeError, AttributeError) as error:
            raise UnsupportedOperationError(str(error)) from error
        spent, taken = spent + recording.operations, taken + 1
        yield row, recording


def _enough(recording: Recording, values: Values) -> int:
    """Return how many samples will be recorded, if all take as long as one, and one step more."""
    count = max(FEWEST_SAMPLES, ENOUGH // recording.operations + 1)
    return min(count, len(next(iter(values.values())))) + 1


def _losses_differ(recording: Recording) -> bool:
    """Tell whether definition and forward pass are provably not the same function."""
    if recording.loss is None:
        return False
    one, other = recording.loss.series, recording.t["loss"].item().series
    return bool(abs(one - other) > abs(one) * SAME_LOSS)


def _misstated(model: Model, values: Values) -> bool:
    """Tell whether definition and forward pass differ by more than rounding explains."""
    with suppress(TypeError, AttributeError):  # a definition that balls cannot follow
        passes = Passes(model, values, FLOAT64)
        return bool(passes.misstatement(passes.samples))
    return False


def _backward_findings(
    model: Model,
    values: Values,
    recordings: Sequence[Recording],
    statements: Statements,
    disputed: Mapping[str, Sequence[int]] | None,
    dtype: Any,
) -> list[Finding]:
    judgements = [Judgement(recording) for recording in recordings]
    blamed = [
        name
        for name in (disputed or model.parameters)
        if _is_confirmed(model, values, name, judgements)
    ]
    suspicions = suspect(judgements, blamed, model.parameters)
    if not suspicions:
        return []
    explainer = Explainer(model, recordings, disputed or {})
    return [
        _finding(model, values, judgements, statements, explainer, suspicion, dtype)
        for suspicion in suspicions
    ]


def _is_confirmed(model: Model, values: Values, name: str, judgements: Sequence[Judgement]) -> bool:
    """Tell whether a gradient is wrong, and the referee's derivative is the one found here."""
    for row, judgement in enumerate(judgements):
        if name not in judgement.wrong or not judgement.wrong[name].any():
            continue
        place = int(np.argmax(judgement.wrong[name]))
        shape = model.parameters[name]
        element = tuple(map(int, np.unravel_index(place, shape))) if shape else ()
        sample = {leaf: array[row : row + 1] for leaf, array in values.items()}
        truth = enclose_derivative(model, sample, name, element, BITS)[0]
        if truth.is_finite():
            return bool(truth.overlaps(judgement.recording.truth[name].flat[place]))
    return False


def _finding(
    model: Model,
    values: Values,
    judgements: Sequence[Judgement],
    statements: Statements,
    explainer: Explainer,
    suspicion: Suspicion,
    dtype: Any,
) -> Finding:
    name = suspicion.adjoints[0]
    wrong = [one for one in judgements if name in one.wrong and one.wrong[name].any()]
    reads = sorted(set[str]().union(*(one.reads(name) for one in wrong)))
    words = explainer.explain(name, reads)
    if steps := _steps(suspicion.adjoints):
        words = f"{words or 'nothing simple matches what it holds'}; {steps}"
    row, element, clarity = max(
        (_clearest(row, one, name) for row, one in enumerate(judgements)),
        key=lambda item: item[2],
    )
    return Finding(
        "backward",
        f"d.{name}",
        _line(statements, suspicion.statements, wrong[0].recording.written[f"d.{name}"]),
        words,
        len(wrong),
        len(judgements),
        simplest_counterexample(model, values, row, name, element, clarity, dtype)
        if clarity
        else {},
        row,
    )


def _clearest(row: int, judgement: Judgement, name: str) -> tuple[int, int, float]:
    """Return sample, element and relative error of the worst element of an adjoint."""
    recording = judgement.recording
    mine = held(recording, name) if name in judgement.wrong else None
    if mine is None:
        return row, 0, 0.0
    errors = [clearness(a, b) for a, b in zip(mine.flat, recording.truth[name].flat, strict=True)]
    return row, int(np.argmax(errors)), max(errors)


def _steps(adjoints: Collection[str]) -> str:
    """Say in which steps the same line is wrong, if it writes a numbered quantity in each."""
    family = next(iter(adjoints)).rpartition(".")[0]
    numbers = sorted(
        int(name.rpartition(".")[2])
        for name in adjoints
        if family and name.rpartition(".")[0] == family and name.rpartition(".")[2].isdigit()
    )
    if len(numbers) < 2:
        return ""
    if numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"in each of steps {numbers[0]} to {numbers[-1]}"
    return f"in each of steps {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


def _line(statements: Statements, suspects: int, writes: int) -> Line:
    """Name the line that writes, if it is suspect, and the others in which the fault may be."""
    lines = statements.at(suspects)
    main = (statements.at(suspects & writes) or lines)[-1]
    others = [line for line in lines if line is not main]
    numbers = sorted(line.number for line in others if line.file == main.file)
    elsewhere = [
        f"{file_name(line.file)}:{line.number}" for line in others if line.file != main.file
    ]
    return replace(main, through=(*numbers, *elsewhere))


def _forward_findings(
    model: Model, values: Values, recordings: Sequence[Recording], statements: Statements
) -> list[Finding]:
    order = [key[2:] for key in recordings[0].written if key.startswith("t.")]
    trace: dict[str, Any] = {}
    for name in order:
        arrays = [as_floats(one.t[name])[0] for one in recordings]
        trace[name] = np.concatenate(arrays) if model.batched else np.stack(arrays)
    found = departure(model, values, trace)
    if found is None:
        return []
    first = recordings[0]

    def line(name: str) -> Line:
        return _line(statements, first.steps_to(name, found.right), first.written[f"t.{name}"])

    before = "".join(
        f"; the definition does not compute {name} (line {line(name).number}), and the fault may "
        f"be there"
        for name in found.unseen
    )
    quantity = f"t.{found.quantity}"
    words = found.explanation + before
    return [Finding("forward", quantity, line(found.quantity), words, found.wrong, len(recordings))]
