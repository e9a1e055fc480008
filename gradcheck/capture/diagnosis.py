"""The wrong line of a recorded backward pass, and what should stand there, proved."""

from __future__ import annotations

import linecache
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.capture.edits import Edit
from gradcheck.capture.mend import find_mend
from gradcheck.capture.model import CapturedModel, cotangents_of, passes_of
from gradcheck.capture.program import Program, begin, proceed
from gradcheck.diagnosis.findings import Diagnosis, Finding
from gradcheck.diagnosis.statements import Line
from gradcheck.harness.samples import draw_words, uniform
from gradcheck.numbers.plain import Plain
from gradcheck.numbers.rounding import Rounding
from gradcheck.truth.enclosures import Enclosures
from gradcheck.truth.identity import Audited
from gradcheck.truth.witness import Witness

STEP = 2.0**-500
"""Of the complex step; its square underflows against any number."""
AT_ONCE = 2**22
"""Numbers of all leaves that are differentiated at once."""
MOST = 2**24
"""Numbers of all leaves times directions, beyond which no mend is looked for."""
SAMPLES = 3
SECONDS = 5.0
"""For the search."""


def diagnose_recorded(
    model: CapturedModel, values: Mapping[str, NDArray[Any]], wrong: Sequence[str], dtype: str
) -> Diagnosis:
    """Look for a single edit of the recorded backward pass that makes every gradient right.

    Parameters
    ----------
    values
        Some samples, float64 arrays of shape `(n, *shape)`.
    wrong
        Gradients that were proved wrong.
    """
    samples = [
        {name: array[row] for name, array in values.items()}
        for row in range(min(SAMPLES, len(next(iter(values.values())))))
    ]
    size = sum(array.size for array in samples[0].values())
    moved = sum(prod(shape) for shape in model.parameters.values())
    if size * moved > MOST:
        return Diagnosis(left=f"no mend was looked for among {moved:,} numbers", dtype=dtype)
    given = [{name: a[None] for name, a in sample.items()} for sample in samples]
    programs = [model.programs.of(one, dtype) for one in samples]
    truths = [_truth(model, program, one) for program, one in zip(programs, samples, strict=True)]

    def prove(edit: Edit) -> bool:
        return all(
            _holds(model, edit.applied(program), one, dtype)
            for program, one in zip(programs, given, strict=True)
        )

    suspects = find_mend(programs, samples, truths, prove, SECONDS)
    findings = [
        Finding(
            part="backward",
            quantity="d." + ", d.".join(wrong),
            line=Line(
                suspect.line.file,
                suspect.line.number,
                linecache.getline(suspect.line.file, suspect.line.number).strip(),
            ),
            explanation=suspect.explanation,
            wrong=len(samples),
            samples=len(samples),
        )
        for suspect in suspects[:1]
        if suspect.line is not None
    ]
    return Diagnosis(tuple(findings), dtype=dtype)


def _truth(
    model: CapturedModel, program: Program, sample: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Differentiate the forward pass by complex steps, in all directions at once."""
    found = {}
    size = sum(array.size for array in sample.values())
    for name in model.parameters:
        count = sample[name].size
        slopes = np.empty(count)
        for start in range(0, count, max(1, AT_ONCE // size)):
            some = np.arange(start, min(count, start + max(1, AT_ONCE // size)))
            leaves: dict[str, Any] = {
                key: Plain(np.broadcast_to(a, (len(some), *a.shape)).astype(complex), 1)
                for key, a in sample.items()
            }
            leaves[name].array.reshape(len(some), -1)[np.arange(len(some)), some] += 1j * STEP
            values = begin(program, leaves)
            with np.errstate(all="ignore"):
                proceed(program.forward, values)
                total: Any = sum(
                    np.sum(values[output] * cotangent)
                    for output, cotangent in zip(
                        program.outputs, cotangents_of(leaves), strict=True
                    )
                )
            slopes[some] = np.imag(np.broadcast_to(total.array, len(some))) / STEP
        found[name] = slopes.reshape(sample[name].shape)
    return found


def _holds(
    model: CapturedModel, edited: Program, sample: Mapping[str, NDArray[Any]], dtype: str
) -> bool:
    """Tell whether the edited pass yields the derivative of the function, in exact arithmetic."""
    loss, forward, backward = passes_of(_One(edited))
    other = replace(model, loss=loss, forward=forward, backward=backward)
    witness = Witness(other, sample, Rounding(np.dtype(dtype)))
    formula = witness.formula(128)
    if formula is None:
        return False
    size = sum(prod(shape) for shape in model.parameters.values())
    flat: Enclosures = np.concatenate([formula[name].reshape(-1) for name in model.parameters])
    audited = Audited(
        witness,
        model.parameters,
        uniform(draw_words(0, 0, 0, size)),
        np.zeros(size, bool),
        np.array([float(one.mid()) for one in flat]),
        np.full(size, np.inf),
        np.ones(size),
    )
    audited.check()
    return audited.holds and not audited.alone


class _One:
    """One program, whatever the sample."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def of(self, leaves: Any, dtype: str) -> Program:
        """Return it."""
        return self.program
