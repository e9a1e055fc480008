"""Changes of one operation of a program."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import Any

from gradcheck.capture.program import Program, Ref, Rule, Step
from gradcheck.capture.terms import FORMS, Again, Original, Term


@dataclass(frozen=True)
class Edit:
    """A change of one operation.

    Parameters
    ----------
    at
        Which operation, counted through both passes; of what a gradient is made of last, if
        `gradient` is given.
    term
        What is to be there instead.
    gradient
        The parameter whose gradient alone is changed, and not what else is made of the value.
    cost
        How far this is from what was written; the least is tried first.
    result
        Which of the results it is.
    users
        If given, it is the value that these operations take which is changed, for them alone, at
        the first of them; `result` is its number then.
    old
        If given, it is this number among the arguments of the users that is changed.
    repeats
        The operations that the same code asked for at other times: they are changed alike.
    """

    at: int
    term: Any
    cost: float = 1.0
    gradient: str | None = None
    result: int = 0
    users: tuple[int, ...] = ()
    old: float | None = None
    repeats: tuple[int, ...] = ()

    def applied(self, program: Program) -> Program:
        """Return a program with this change; it goes for all that have the same operations."""
        fresh = numbers_after(program)
        if self.gradient is not None:
            value, last = program.gradients[self.gradient], next(fresh)
            line = program.steps[self.at].line
            steps = _steps(self.term, Ref(value or 0), None, fresh, line, last)
            return dataclasses.replace(
                program,
                backward=[*program.backward, *steps],
                gradients={**program.gradients, self.gradient: last},
            )
        split = len(program.forward)
        if self.users:
            steps = self.rerouted(program.steps, fresh)
            backward = [*program.backward[: self.at - split], *steps]
            return dataclasses.replace(program, backward=backward)
        first, steps = program.steps[self.at], program.steps
        changed = [
            self._at(at, first, steps[at]).replacement(steps[at], fresh)
            if at == self.at or at in self.repeats
            else [steps[at]]
            for at in range(len(steps))
        ]
        return dataclasses.replace(
            program, forward=list(chain(*changed[:split])), backward=list(chain(*changed[split:]))
        )

    def _at(self, at: int, first: Step, other: Step) -> Edit:
        """Return the same change of another operation, of its own operands."""
        own = dict(zip(first.operands, other.operands, strict=False))
        return self if at == self.at else dataclasses.replace(self, term=_renamed(self.term, own))

    def rerouted(self, steps: Sequence[Step], fresh: Iterator[int]) -> list[Step]:
        """Return the operations from the first user on, where users take the changed value."""
        found, last = list[Step](), next(fresh)
        if self.old is None:
            line = steps[self.at].line
            found += _steps(self.term, Ref(self.result), None, fresh, line, last)
        for i in range(self.at, len(steps)):
            step = steps[i]
            if i in self.users and self.old is None:
                changed = with_operand(step, self.result, Ref(last))
                step = dataclasses.replace(
                    step, arguments=changed.arguments, options=changed.options
                )
            elif i in self.users:
                arguments = tuple(
                    self.term if isinstance(one, int | float) and one == self.old else one
                    for one in step.arguments
                )
                step = dataclasses.replace(step, arguments=arguments)
            found.append(step)
        return found

    def replacement(self, step: Step, fresh: Iterator[int]) -> list[Step]:
        """Return the operations that take the place of one."""
        target = step.results[self.result]
        if target is None:
            return [step]
        if target in step.operands:  # it is written to in place
            value = next(fresh)
            before = [step] if _has_original(self.term) else []
            steps = _steps(self.term, Ref(target), step, fresh, step.line, value)
            write = Step("write", _written, (Ref(target), Ref(value)), {}, (target,), step.line)
            return [*before, *steps, write]
        own = next(fresh)
        results = tuple(own if i == self.result else n for i, n in enumerate(step.results))
        original = dataclasses.replace(step, results=results)
        needed = _has_original(self.term) or len([n for n in results if n is not None]) > 1
        steps = _steps(self.term, Ref(own), step, fresh, step.line, target)
        return [*([original] if needed else []), *steps]


def _renamed(term: Any, own: Mapping[int, int]) -> Any:
    """Take other values in the place of some."""
    if isinstance(term, Ref):
        return Ref(own.get(term.value, term.value))
    if isinstance(term, Term):
        return Term(term.form, tuple(_renamed(one, own) for one in term.operands))
    if isinstance(term, Again):
        options = {name: _renamed(one, own) for name, one in term.options.items()}
        return Again(tuple(_renamed(one, own) for one in term.arguments), options)
    if isinstance(term, list):
        return [_renamed(one, own) for one in term]
    return term


def _written(x: Any, value: Any) -> Any:
    x[...] = value
    return x


def numbers_after(program: Program) -> Iterator[int]:
    """Count on from the values of a program."""
    taken = [*program.leaves.values(), *program.constants]
    taken += [number for step in program.steps for number in step.results if number is not None]
    number = max(taken, default=-1)
    while True:
        number += 1
        yield number


def _has_original(term: Any) -> bool:
    if isinstance(term, Term):
        return any(map(_has_original, term.operands))
    if isinstance(term, Again):
        return any(map(_has_original, term.arguments))
    return isinstance(term, Original)


def _steps(
    term: Any, original: Ref, step: Step | None, fresh: Iterator[int], line: Any, target: int
) -> list[Step]:
    """Write a term as operations, the last of which yields the target."""
    steps: list[Step] = []

    def operand(one: Any) -> Any:
        if isinstance(one, Original):
            return original
        if isinstance(one, Term | Again):
            number = next(fresh)
            steps.extend(_steps(one, original, step, fresh, line, number))
            return Ref(number)
        if isinstance(one, list) or (isinstance(one, tuple) and not hasattr(one, "_fields")):
            return type(one)(map(operand, one))
        return one

    if isinstance(term, Again) and step is not None:
        arguments = tuple(map(operand, term.arguments))
        last = dataclasses.replace(
            step, arguments=arguments, options=dict(term.options), results=(target,)
        )
        if target not in step.results:
            last = dataclasses.replace(last, rule=_out_of_place(step))
    elif isinstance(term, Term):
        rule = FORMS[term.form][0]
        operands = tuple(map(operand, term.operands))
        last = Step(term.form, rule, operands, {}, (target,), line)
    else:
        last = Step("copy", _copied, (operand(term),), {}, (target,), line)
    return [*steps, last]


def _copied(x: Any) -> Any:
    return x.copy() if hasattr(x, "copy") else x


def _out_of_place(step: Step) -> Rule | None:
    """Return the rule of an operation, on a copy of what it would write to."""
    rule = step.rule
    if rule is None or not set(step.operands) & set(step.results):
        return rule

    def apart(x: Any, *arguments: Any, **options: Any) -> Any:
        return rule(_copied(x), *arguments, **options)

    return apart


def with_argument(step: Step, place: int, value: Any) -> Again:
    """Take another argument."""
    arguments = list(step.arguments)
    arguments[place] = value
    return Again(tuple(arguments), step.options)


def with_operand(step: Step, number: int, value: Any, which: int | None = None) -> Again:
    """Take something else for one value, wherever an operation takes it, or the n-th time."""
    times = count()

    def put(argument: Any) -> Any:
        if isinstance(argument, Ref) and argument.value == number:
            return value if which is None or next(times) == which else argument
        if isinstance(argument, list):
            return [put(item) for item in argument]
        return argument

    return Again(tuple(map(put, step.arguments)), {k: put(v) for k, v in step.options.items()})
