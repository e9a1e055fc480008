"""A recorded function as a model: its forward pass is the definition, its backward pass the other.

From here on it goes the way of every model: balls give the bar, Arb the truth and the formula.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from gradcheck.adapters import Adapter, Arrays, Gradients
from gradcheck.capture.program import (
    Program,
    Step,
    Values,
    begin,
    needed,
    place_of,
    proceed,
    without_rule,
)
from gradcheck.capture.subject import Captured, Ran, Subject
from gradcheck.errors import EndedError, RequestError, guarded
from gradcheck.model.domains import Domain, near
from gradcheck.model.model import Model
from gradcheck.numbers.array import Batched, OneSampleError
from gradcheck.numbers.rounding import finfo

COTANGENT = "cotangent"
NUDGE = 2.0**-20
"""By which share inputs are moved to see whether what was taken for a constant is one."""


@dataclass(frozen=True)
class CapturedModel(Model):
    """A model whose passes were recorded.

    Parameters
    ----------
    subject
        Whose gradients are judged.
    programs
        What the definition and the reference compute.
    definition
        The function that states it.
    parties
        By name, all functions that are to return the same.
    """

    subject: Subject = None  # type: ignore[assignment]
    definition: Subject = None  # type: ignore[assignment]
    parties: Mapping[str, Subject] = field(default_factory=dict)
    programs: Programs = field(default=None)  # type: ignore[assignment]

    def casts(self, dtype: str) -> list[str]:
        """Say where the definition, as it was recorded in a format, casts to others."""
        return self.programs.casts(dtype)

    @property
    def own(self) -> str:
        """The adapter whose own backward pass is the reference; empty if it is another's."""
        return self.subject.framework if self.programs.subject is self.subject else ""


class Programs:
    """The programs of a function: one for all samples, or one for each if its flow depends on data.

    Parameters
    ----------
    subject
        The function to be recorded.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self._kept: dict[tuple[str, bytes], Captured] = {}
        self._common: dict[str, Captured] = {}

    def of(self, leaves: Mapping[str, Any], dtype: str) -> Program:
        """Return the program for what may be several samples at once.

        Raises
        ------
        OneSampleError
            If the flow depends on data, and these are several.
        RequestError
            If the function cannot be recorded.
        """
        if dtype in self._common and not self._common[dtype].branches:
            return self._common[dtype].program
        samples = {name: _plain(leaf) for name, leaf in leaves.items()}
        first = {name: array[0].astype(dtype) for name, array in samples.items()}
        captured = self._captured(first, dtype)
        if captured.branches and max(map(len, samples.values())) > 1:
            raise OneSampleError("what is computed may depend on data")
        return captured.program

    def casts(self, dtype: str) -> list[str]:
        """Say where what was recorded in a format casts to others."""
        return self._common[dtype].program.casts if dtype in self._common else []

    def _captured(self, arrays: Mapping[str, NDArray[Any]], dtype: str) -> Captured:
        key = dtype, b"".join(array.tobytes() for array in arrays.values())
        if key not in self._kept:
            captured = self._record(arrays)
            if dtype not in self._common:
                captured = self._checked(arrays, captured)
                self._common[dtype] = captured
            self._kept[key] = captured
        return self._kept[key]

    def _checked(self, arrays: Mapping[str, NDArray[Any]], captured: Captured) -> Captured:
        """Return a record that can be followed: of the forward pass alone, if there is no other."""
        try:
            self._look_into(arrays, captured)
        except _UnseenError as error:
            if not error.in_backward:
                raise
            whole, self.subject = self.subject, self.subject.forward_alone()
            try:
                captured = self._record(arrays)
                self._look_into(arrays, captured)
            except RequestError:
                self.subject = whole
                raise
        return captured

    def _check_repeats(self, arrays: Mapping[str, NDArray[Any]], captured: Captured) -> None:
        """Find out whether the same call computes the same again."""
        one, other = captured.program, self._record(arrays).program
        if len(one.steps) != len(other.steps) or all(
            _scalars(step) == _scalars(its)
            for step, its in zip(one.steps, other.steps, strict=True)
        ):
            return
        raise RequestError(
            "function",
            "two calls on the same inputs compute with other numbers: it is random, by a generator "
            "that no seed of the framework governs; draw with the framework's, or outside",
        )

    def _look_into(self, arrays: Mapping[str, NDArray[Any]], captured: Captured) -> None:
        """Find out whether something is computed where nobody sees it."""
        try:
            self._check_constants(arrays, captured)
        except _UnseenError:
            self._check_repeats(arrays, captured)
            raise
        program = captured.program
        gradients = [number for number in program.gradients.values() if number is not None]
        passes = (program.forward, program.outputs), (program.steps, gradients)
        for in_backward, (steps, targets) in enumerate(passes):
            for step in without_rule(steps, targets):
                if self.subject.is_kernel(step.operation):
                    how = f"it calls {step.operation}{place_of(step.line or step.near)}, a kernel "
                    raise self._unseen(f"{how}that cannot be looked into", bool(in_backward))

    def _record(self, arrays: Mapping[str, NDArray[Any]]) -> Captured:
        given = {name: arrays[name] for name in self.subject.given}
        try:
            with guarded():
                captured = self.subject.capture(given, cotangents_of(arrays))
        except (RequestError, EndedError):
            raise
        except Exception as error:
            text = next(iter(str(error).splitlines()), "")
            raise RequestError("function", f"it fails: {type(error).__name__}: {text}") from error
        if captured.random:
            raise RequestError(
                "function",
                f"its backward pass draws random numbers of its own{place_of(captured.random[0])}: "
                f"the gradients are random, right or wrong; save what the forward pass drew",
            )
        return captured

    def _check_constants(self, arrays: Mapping[str, NDArray[Any]], captured: Captured) -> None:
        """See whether something enters that depends on the inputs, though it is taken for fixed."""
        moved = {
            name: _nudged(array) if name in self.subject.given else array
            for name, array in arrays.items()
        }
        again = self._record(moved)
        one, other = captured.program, again.program
        if len(one.steps) != len(other.steps):
            object.__setattr__(captured, "branches", True)
            return
        begin = len(one.forward)
        for i, (step, its) in enumerate(zip(one.steps, other.steps, strict=True)):
            if _scalars(step) != _scalars(its):
                raise self._unseen(_entering(step, "read out, as by .item()"), i >= begin)
        for number, constant in one.constants.items():
            if constant.dtype.kind == "f" and not np.array_equal(
                constant, other.constants.get(number, np.nan), equal_nan=True
            ):
                users = [i for i, step in enumerate(one.steps) if number in step.operands]
                user = one.steps[users[0]] if users else None
                how = "computed where it cannot be recorded"
                raise self._unseen(_entering(user, how), not users or users[0] >= begin)

    def _unseen(self, what: str, in_backward: bool) -> _UnseenError:
        plain = f"state the function in plain {self.subject.framework} as definition="
        error = _UnseenError("function", f"{what}; {plain}")
        error.in_backward = in_backward
        return error


def _nudged(array: NDArray[Any]) -> NDArray[Any]:
    """Move numbers by a share of theirs that their format notices."""
    share = max(NUDGE, 4 * float(finfo(array.dtype).eps))
    moved: NDArray[Any] = array * array.dtype.type(1 + share)
    return moved


def _entering(step: Step | None, how: str) -> str:
    where = place_of(step.line) if step else ""
    return f"numbers enter{where} that depend on the inputs but were {how}"


class _UnseenError(RequestError):
    """Something is computed where nobody sees it."""

    in_backward: bool = False


def _scalars(step: Step) -> list[float]:
    """Return the numbers that an operation is given by Python."""

    def found(argument: Any) -> Iterator[float]:
        if isinstance(argument, float):
            yield argument
        elif isinstance(argument, tuple | list):
            for item in argument:
                yield from found(item)

    return list(found((step.arguments, tuple(step.options.values()))))


def _plain(leaf: Any) -> NDArray[Any]:
    """Return the values of a leaf on all samples, shape `(n, *shape)`."""
    if isinstance(leaf, Batched):
        if hasattr(leaf, "mid"):
            return np.asarray(leaf.mid) if leaf.hidden == 1 else np.asarray(leaf.mid)[None]
        held = leaf.parts[0]
        if held.dtype == object:
            return np.array([float(value.mid()) for value in held.ravel()]).reshape(
                1, *held.shape[leaf.hidden :] if leaf.hidden else held.shape
            )
        return np.asarray(held) if leaf.hidden == 1 else np.asarray(held)[None]
    return np.asarray(leaf)[None]


def cotangents_of(arrays: Mapping[str, Any]) -> list[Any]:
    """Return the cotangents among named arrays, in order."""
    count = sum(name.startswith(f"{COTANGENT}.") for name in arrays)
    return [arrays[f"{COTANGENT}.{i}"] for i in range(count)]


def captured_model(
    name: str,
    subjects: Mapping[str, Subject],
    definition: Subject,
    cotangents: Sequence[NDArray[Any]],
    sampling: Mapping[str, Domain],
) -> CapturedModel:
    """Make a model of functions that shall compute the same.

    Parameters
    ----------
    subjects
        By name, whose gradients are judged; the first one's inputs are everybody's.
    definition
        What is recorded: its forward pass is the definition, its backward pass the reference.
    cotangents
        Of the differentiable outputs, on sample 0.
    sampling
        What inputs and cotangents are drawn from, by name, unless near those given.
    """
    subject = next(iter(subjects.values()))
    programs = Programs(definition)
    shapes = {key: value.shape for key, value in subject.given.items()}
    given = dict(subject.given) | {f"{COTANGENT}.{i}": c for i, c in enumerate(cotangents)}
    domains = {key: near(value) for key, value in subject.given.items()} | dict(sampling)
    loss, forward, backward = passes_of(programs)
    return CapturedModel(
        name=name,
        inputs={f"{COTANGENT}.{i}": c.shape for i, c in enumerate(cotangents)},
        parameters=shapes,
        loss=loss,
        forward=forward,
        backward=backward,
        sampling=domains,
        given=given,
        adapters={key: adapter_of(one) for key, one in subjects.items()},
        recorded=True,
        subject=subject,
        definition=definition,
        parties=subjects,
        programs=programs,
    )


def passes_of(programs: Any) -> tuple[Any, Any, Any]:
    """Return the definition and both passes that programs amount to.

    Parameters
    ----------
    programs
        Has a method `of(leaves, dtype)` that returns the program for a sample.
    """

    def started(v: Any) -> tuple[Program, Values]:
        leaves = {key: v[key] for key in v}
        dtype = np.dtype(getattr(next(iter(leaves.values())), "dtype", np.float64)).name
        program = programs.of(leaves, dtype)
        return program, begin(program, leaves)

    def total(program: Program, values: Values) -> Any:
        terms = [
            np.sum(needed(values, output) * values[program.leaves[f"{COTANGENT}.{i}"]])
            for i, output in enumerate(program.outputs)
        ]
        return sum(terms[1:], terms[0])

    def loss(xp: Any, v: Any) -> Any:
        program, values = started(v)
        proceed(program.forward, values)
        return total(program, values)

    runs: WeakKeyDictionary[Any, tuple[Program, Values]] = WeakKeyDictionary()

    def forward(xp: Any, v: Any, t: Any) -> None:
        runs[t] = program, values = started(v)
        proceed(program.forward, values)
        _write(t, values, program)
        t["loss"] = total(program, values)

    def backward(xp: Any, v: Any, t: Any, d: Any) -> None:
        program, values = runs.pop(t)
        proceed(program.backward, values)
        _write(t, values, program)
        for key, number in program.gradients.items():
            d[key] = np.zeros_like(v[key]) if number is None else needed(values, number)

    return loss, forward, backward


def _write(t: Any, values: Values, program: Program) -> None:
    """Show what was computed on a board, so that overflows and undefined quantities are seen."""
    given = {*program.leaves.values(), *program.constants}
    for number, value in values.items():
        computed = isinstance(value, Batched) and number not in given
        if computed and value.size and not value.is_discrete:
            t[f"quantity.{number}"] = value


def adapter_of(subject: Subject) -> Adapter:
    """Let a function's own gradients be judged."""

    def prepare(model: Model, dtype: np.dtype[Any]) -> Gradients:
        def gradients(values: Arrays) -> Arrays:
            rows = [
                _gradients(subject, {name: array[row] for name, array in values.items()})
                for row in range(len(next(iter(values.values()))))
            ]
            return {name: np.stack([row[name] for row in rows]) for name in model.parameters}

        return gradients

    return Adapter(prepare, "its own gradients", subject.framework)


def _gradients(subject: Subject, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    given = {name: arrays[name] for name in subject.given}
    ran: Ran = subject.run(given, cotangents_of(arrays))
    return {
        name: np.zeros_like(arrays[name]) if one is None else one
        for name, one in ran.gradients.items()
    }
