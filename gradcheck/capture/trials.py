"""What a program yields in float64 if one of its operations is changed, on all samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.capture.edits import Edit, numbers_after
from gradcheck.capture.program import Program, Ref, Step, Values, begin, proceed
from gradcheck.numbers.ball import Ball
from gradcheck.numbers.errors import NoRuleError
from gradcheck.numbers.rounding import Rounding

Arrays = Mapping[str, NDArray[np.float64]]

ROUNDING = Rounding(np.dtype(np.float64))
ROUGH, FINE = 1e-9, 1e-14
"""Of a gradient's largest element: the most and the least by which one may differ from the truth
for its rounding errors, which balls bound in between."""
MARGIN = 4.0
"""A mend may round differently: how many times the bound of what was recorded it may differ."""


@dataclass
class Sample:
    """A program on one sample, with the truth.

    Attributes
    ----------
    values
        All that it computes. If it writes in place, what they were at last.
    tolerance
        By how much a gradient may differ, element by element.
    """

    program: Program
    leaves: Arrays
    truth: Arrays
    values: Values
    tolerance: Arrays

    def holds(self, parameter: str, gradient: Any) -> bool:
        """Tell whether a gradient is right."""
        truth = self.truth[parameter]
        if np.shape(gradient) != truth.shape:
            return False
        return bool((np.abs(gradient - truth) <= self.tolerance[parameter]).all())


def sampled(program: Program, leaves: Arrays, truth: Arrays) -> Sample:
    """Run a program in float64."""
    values = _begun(program, leaves)
    proceed(program.steps, values)
    tolerance = {}
    balls = _radii(program, leaves)
    for name, true in truth.items():
        size = float(np.abs(true).max(initial=0)) or 1.0
        radius = balls.get(name, np.asarray(np.inf))
        radius = radius if radius.shape == true.shape else np.asarray(np.inf)
        bound = np.minimum(np.nan_to_num(MARGIN * radius, nan=np.inf), ROUGH * size)
        tolerance[name] = np.broadcast_to(np.maximum(bound, FINE * size), true.shape)
    return Sample(program, leaves, truth, values, tolerance)


def _begun(program: Program, leaves: Arrays) -> Values:
    return begin(program, {name: np.array(leaves[name], np.float64) for name in program.leaves})


def _radii(program: Program, leaves: Arrays) -> dict[str, NDArray[np.float64]]:
    """Bound the rounding errors of the gradients; of none if balls cannot follow."""
    balls = {name: Ball.from_value(np.asarray(leaves[name])[None], ROUNDING, 1) for name in leaves}
    try:
        values = begin(program, {name: balls[name] for name in program.leaves})
        proceed(program.steps, values)
    except Exception:
        return {}
    found = {}
    for name, number in program.gradients.items():
        ball = None if number is None else values[number]
        if isinstance(ball, Ball):
            mid, rad = ball.whole()
            found[name] = np.broadcast_to(rad, mid.shape)[0]
    return found


def _root(value: Any) -> int:
    """Identify the memory that an array is, or shows a part of."""
    while isinstance(value, np.ndarray) and isinstance(value.base, np.ndarray):
        value = value.base
    return id(value)


def _filled(argument: Any, values: Values) -> Any:
    if isinstance(argument, Ref):
        return values[argument.value]
    if isinstance(argument, list | tuple) and not hasattr(argument, "_fields"):
        return type(argument)(_filled(one, values) for one in argument)
    return argument


def yielded(step: Step, values: Values) -> Values:
    """Return what an operation adds to the values."""
    if step.rule is None:
        raise NoRuleError(f"there is no rule for {step.operation}", step.operation)
    result = step.rule(
        *(_filled(one, values) for one in step.arguments),
        **{name: _filled(one, values) for name, one in step.options.items()},
    )
    found = result if isinstance(result, tuple | list) else (result,)
    results = zip(step.results, found, strict=False)
    return {number: result for number, result in results if number is not None}


class Trials:
    """Programs of the same operations, each on its sample, of which one operation is changed.

    Attributes
    ----------
    wrong, right
        The parameters whose gradients are wrong on some sample, and those right on all.
    """

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples
        self.program = samples[0].program
        self.steps = self.program.steps
        gradients = self.program.gradients
        present = [name for name in samples[0].truth if gradients.get(name) is not None]
        self.absent = [
            name
            for name in samples[0].truth
            if gradients.get(name) is None and any(one.truth[name].any() for one in samples)
        ]
        self.wrong = [
            name
            for name in present
            if not all(one.holds(name, one.values[gradients[name] or 0]) for one in samples)
        ]
        self.right = [name for name in present if name not in self.wrong]
        self.hopeless: set[int] = set()  # operations of which no change of values explains all
        self.repeats: dict[int, tuple[int, ...]] = {}  # the same code, at other times
        self._roots = {number: _root(value) for number, value in samples[0].values.items()}
        self.writes = any(set(step.operands) & set(step.results) for step in self.steps)
        self.before = {*self.program.leaves.values(), *self.program.constants}
        self.before |= {n for step in self.program.forward for n in step.results if n is not None}
        written = {n for step in self.steps for n in step.operands if n in step.results}
        roots = {self._roots[n] for n in written}
        self.writes_forward = any(self._roots[n] in roots for n in self.before)
        self.fresh = list(islice(numbers_after(self.program), 256))

    def behind(self, targets: Iterable[int | None]) -> set[int]:
        """Return the operations that values came from."""
        waiting, found = set(targets), set()
        for i in reversed(range(len(self.steps))):
            step = self.steps[i]
            if waiting & self._changed(step):
                found.add(i)
                waiting |= set(step.operands)
        return found

    def _changed(self, step: Step) -> set[int | None]:
        """Return what an operation yields; if it writes, also what shares the memory."""
        found: set[int | None] = set(step.results) - {None}
        written = {self._roots[one] for one in step.results if one in step.operands}
        if written:
            found |= {number for number, root in self._roots.items() if root in written}
        return found

    def after(self, at: int) -> list[int]:
        """Return the operations that make gradients of what one yields."""
        changed = {number for number in self.steps[at].results if number is not None}
        needed = self.behind(self.program.gradients.values())
        found = []
        for i in range(at + 1, len(self.steps)):
            if changed & set(self.steps[i].operands):
                changed |= {number for number in self.steps[i].results if number is not None}
                if i in needed:
                    found.append(i)
        return found

    def everywhere(self, edit: Edit) -> Edit:
        """Return a change of an operation as often as its code is run."""
        if edit.users or edit.gradient is not None:
            return edit
        return dataclasses.replace(edit, repeats=self.repeats.get(edit.at, ()))

    def passes(self, edit: Edit) -> bool:
        """Tell whether a change makes all gradients right, on every sample."""
        return all(self._passes(edit, sample) for sample in self.samples)

    def _passes(self, edit: Edit, sample: Sample) -> bool:
        try:
            with np.errstate(all="ignore"):
                gradients = self.gradients(edit, sample)
        except Exception:  # of another shape, or of what is no number
            return False
        return all(sample.holds(name, gradients[name]) for name in (*self.wrong, *self.right))

    def gradients(self, edit: Edit, sample: Sample) -> dict[str, Any]:
        """Return the gradients with a change, on one sample."""
        edit = self.everywhere(edit)
        if self.writes or edit.gradient is not None or edit.users or edit.repeats:
            program = edit.applied(sample.program)
            if edit.at >= len(program.forward) and not self.writes_forward:
                values = {n: value for n, value in sample.values.items() if n in self.before}
                proceed(program.backward, values)
            else:
                values = _begun(program, sample.leaves)
                proceed(program.steps, values)
            return {
                name: values[number]
                for name, number in program.gradients.items()
                if number is not None
            }
        step = sample.program.steps[edit.at]
        return self.rerun(edit.at, sample, edit.replacement(step, iter(self.fresh)))

    def rerun(
        self, at: int, sample: Sample, steps: Sequence[Step] = (), value: Any = None
    ) -> dict[str, Any]:
        """Return the gradients if operations take the place of one, or yield a given value."""
        if self.writes:
            return self._rerun_all(at, sample, value)
        values = dict(sample.values)
        for step in steps:
            values |= yielded(step, values)
        number = self.steps[at].results[0] or 0
        if not steps:
            values[number] = value
        elif at in self.hopeless and np.shape(values[number]) == np.shape(sample.values[number]):
            raise ValueError("no values of this shape make the gradients right")
        for i in self._cone(at):
            values |= yielded(sample.program.steps[i], values)
        return {
            name: values[number]
            for name, number in self.program.gradients.items()
            if number is not None
        }

    def _rerun_all(self, at: int, sample: Sample, value: Any) -> dict[str, Any]:
        program = sample.program
        values = _begun(program, sample.leaves)
        proceed(program.steps[: at + 1], values)
        number = program.steps[at].results[0] or 0
        if number in program.steps[at].operands:
            values[number][...] = value
        else:
            values[number] = value
        proceed(program.steps[at + 1 :], values)
        gradients = program.gradients.items()
        return {name: values[number] for name, number in gradients if number is not None}

    def _cone(self, at: int) -> list[int]:
        cones: dict[int, list[int]] = self.__dict__.setdefault("_cones", {})
        if at not in cones:
            cones[at] = self.after(at)
        return cones[at]

    def stacked(self, gradients: Mapping[str, Any], sample: Sample) -> NDArray[np.float64]:
        """Return all gradients as a vector, each measured by its largest element."""
        names = (*self.wrong, *self.right)
        return np.concatenate(
            [
                np.ravel(gradients[name]) / (np.abs(sample.truth[name]).max(initial=0) or 1.0)
                for name in names
            ]
        )
