"""What a function computed, as a list of operations that every kind of number can follow.

A recorder writes the list while the function runs, in the words of its framework. Each operation
carries the rule that says in NumPy's functions what it does, so that the list runs on plain arrays,
on balls and on Arb's numbers alike. Views share memory and writes in place are seen through them,
as in the framework.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradcheck.numbers.array import Batched
from gradcheck.numbers.dispatch import Number
from gradcheck.numbers.errors import NoRuleError

Rule = Callable[..., Any]
"""From numbers, and whatever else the framework gives its operation, to numbers."""


CASTS = ("aten._to_copy.default", "prims.convert_element_type.default", "convert_element_type")
"""Operations that only change the format, by PyTorch's names and JAX's."""
LINE = "line_of_program"
"""The attribute in which an exception says which line of the user's code it concerns."""


class Line(NamedTuple):
    """A line of the user's code."""

    file: str
    number: int


@dataclass(frozen=True)
class Ref:
    """Stands for a value of the program where an operation takes it."""

    value: int


@dataclass(frozen=True)
class Step:
    """One operation.

    Parameters
    ----------
    operation
        The framework's name of it, such as `aten.mul.Tensor` or `dot_general`.
    rule
        What it does; `None` if there is no rule for it.
    arguments, options
        As the framework was given them, with a `Ref` for each array.
    results
        The numbers of the values it yields, `None` for one that is no array.
    line
        Where it was asked for; `None` if not by the user's code.
    near
        Where what it takes was asked for, if it was not itself: a framework's derivative of that.
    format
        In which it computes, where what it takes has others, or is no real number.
    """

    operation: str
    rule: Rule | None
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]
    results: tuple[int | None, ...]
    line: Line | None = None
    near: Line | None = None
    format: np.dtype[Any] | None = None

    @cached_property
    def is_arithmetic(self) -> bool:
        """Whether it adds, subtracts, multiplies or divides."""
        name = self.operation.removeprefix("aten.").removeprefix("prims.").partition(".")[0]
        return name.rstrip("_") in ("add", "sub", "rsub", "mul", "div")

    @property
    def cast_to(self) -> str:
        """The floating-point format to which it does nothing but cast; empty if it does more."""
        given = self.options.get("dtype", self.options.get("new_dtype"))
        name = str(given).removeprefix("torch.")
        return name if self.operation in CASTS and "float" in name else ""

    @property
    def operands(self) -> tuple[int, ...]:
        """The values that it takes, in order."""
        return tuple(_refs((self.arguments, dict(self.options))))


@dataclass
class Program:
    """A function's forward and backward pass, on one sample.

    Attributes
    ----------
    leaves
        Inputs, parameters and cotangents by name: which values they are.
    constants
        Values that came from elsewhere: buffers, tables, integers; as arrays of the program's
        formats.
    forward, backward
        The operations of each pass, in order. The backward pass goes on where the forward ended.
    outputs
        The differentiable results of the forward pass.
    gradients
        By parameter, which value its gradient is; `None` where the framework yields none.
    """

    leaves: dict[str, int] = field(default_factory=dict)
    constants: dict[int, NDArray[Any]] = field(default_factory=dict)
    forward: list[Step] = field(default_factory=list)
    backward: list[Step] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    gradients: dict[str, int | None] = field(default_factory=dict)

    @property
    def steps(self) -> list[Step]:
        """All operations."""
        return [*self.forward, *self.backward]

    @property
    def casts(self) -> list[str]:
        """Where it casts to another format, each line once, in order."""
        steps = [step for step in self.steps if step.cast_to and step.line]
        return list(dict.fromkeys(f"to {step.cast_to}{place_of(step.line)}" for step in steps))

    @property
    def refused(self) -> list[str]:
        """The operations that no rule is known for, each once, in order."""
        return list(dict.fromkeys(step.operation for step in self.steps if step.rule is None))


def without_rule(steps: Sequence[Step], targets: Iterable[int]) -> list[Step]:
    """Return the steps without a rule on the way to some values."""
    wanted, found = set(targets), []
    for step in reversed(steps):
        if not wanted.isdisjoint(step.results):
            wanted.update(step.operands)
            found += [step] if step.rule is None else []
    return found


@dataclass(frozen=True)
class _Missing:
    """Takes the place of what an operation without a rule would yield."""

    step: Step


Values = dict[int, Any]
"""By its number, a value of a program."""


def begin(program: Program, leaves: Mapping[str, Any]) -> Values:
    """Return the values that a run starts from.

    Parameters
    ----------
    leaves
        By name, all of one kind of number, or plain arrays.
    """
    like = next((leaf for leaf in leaves.values() if isinstance(leaf, Batched)), None)
    values: Values = {number: leaves[name] for name, number in program.leaves.items()}
    for number, constant in program.constants.items():
        values[number] = _spread(constant, like)
    return values


def proceed(steps: Sequence[Step], values: Values) -> None:
    """Perform operations, adding what they yield to the values.

    Raises
    ------
    NoRuleError
        Naming an operation that has no rule, where something needs its result.
    """
    like = next((value for value in values.values() if isinstance(value, Batched)), None)
    for step in steps:
        for number, result in zip(step.results, performed(step, values, like), strict=False):
            if number is not None:
                values[number] = result


def performed(step: Step, values: Values, like: Any = None) -> tuple[Any, ...]:
    """Return what one operation yields."""
    if step.rule is None:
        return tuple(_Missing(step) for _ in step.results)
    for number in step.operands:
        needed(values, number)
    if step.format is not None:
        values = values | {n: _in_format(values[n], step.format) for n in step.operands}
    arguments = _filled(step.arguments, values)
    if isinstance(like, Number) and step.is_arithmetic:
        arguments = [like.literal(a) if isinstance(a, float) else a for a in arguments]
    try:
        result = step.rule(
            *arguments,
            **{name: _filled(option, values) for name, option in step.options.items()},
        )
    except Exception as error:
        vars(error).setdefault(LINE, step.line or step.near)
        raise
    results = result if isinstance(result, tuple | list) else (result,)
    if step.format is not None and like is not None:
        like = _in_format(like, step.format)
    return tuple(_lifted(one, like) for one in results)


def needed(values: Values, number: int) -> Any:
    """Return a value.

    Raises
    ------
    NoRuleError
        If an operation without a rule would have yielded it.
    """
    value = values[number]
    if isinstance(value, _Missing):
        operation, line = value.step.operation, value.step.line or value.step.near
        raise NoRuleError(f"there is no rule for {operation}{place_of(line)}", operation)
    return value


def place_of(line: Line | None) -> str:
    """Say where a line is: ` (mine.py, line 12)`; nothing if it is not known."""
    return f" ({line.file.rpartition('/')[2]}, line {line.number})" if line else ""


def _lifted(value: Any, like: Any) -> Any:
    """Make numbers of an array of floats, so that what is computed of it has a bound."""
    is_plain = isinstance(value, np.ndarray | np.generic) and value.dtype.kind == "f"
    return like.lifted(value) if is_plain and like is not None else value


def _in_format(value: Any, dtype: np.dtype[Any]) -> Any:
    """Return real numbers in the format of an operation."""
    if isinstance(value, Number):
        is_exact = value.is_discrete or value.format is None
        return value if is_exact or value.format == dtype else value.cast(dtype)
    is_other = isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.dtype != dtype
    return value.astype(dtype) if is_other else value


def _spread(constant: NDArray[Any], like: Any) -> Any:
    """Make numbers of a constant, for every sample its own: the program may write into it."""
    if constant.dtype.kind != "f" or like is None:
        return constant.copy()
    like = _in_format(like, constant.dtype)
    return np.full_like(like, constant, shape=constant.shape)


def _refs(argument: Any) -> Iterator[int]:
    if isinstance(argument, Ref):
        yield argument.value
    elif isinstance(argument, Mapping):
        for item in argument.values():
            yield from _refs(item)
    elif isinstance(argument, tuple | list):
        for item in argument:
            yield from _refs(item)


def _filled(argument: Any, values: Values) -> Any:
    if isinstance(argument, Ref):
        return values[argument.value]
    if isinstance(argument, tuple | list) and not hasattr(argument, "_fields"):
        return type(argument)(_filled(item, values) for item in argument)
    return argument
