"""What JAX computes, primitive by primitive: forward, and the whole of the reverse pass.

Calls are entered and loops unrolled, so that what is left are primitives on arrays. Where a branch
is taken or a loop ends by what the inputs are, the numbers given decide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.capture.jax_constants import (
    Known,
    Traced,
    Value,
    chosen,
    exact,
    is_float,
    is_folded,
    literal,
    plain,
)
from gradcheck.capture.jax_control import CONTROL
from gradcheck.capture.jax_lines import line_of, own_lines
from gradcheck.capture.lax import RULES, rule_of
from gradcheck.capture.program import Program, Ref, Rule, Step, Values, proceed
from gradcheck.numbers.dispatch import FORMATS
from gradcheck.numbers.errors import NoRuleError

Arrays = Mapping[str, NDArray[Any]]
INLINED: Mapping[str, str] = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "core_closed_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr",
    "checkpoint": "jaxpr",
    "remat": "jaxpr",
    "remat2": "jaxpr",
}
"""Primitives that call a program of their own, and which parameter it is."""
ORDERS: Mapping[str, Rule] = {"max": RULES["ge"], "min": RULES["le"]}
"""How a number stands to another where it is the one that is taken."""


class Recorder:
    """Writes the steps of jaxprs into one program.

    Parameters
    ----------
    leaves
        Values of the program's leaves, by name.

    Attributes
    ----------
    decisions
        Values by which a branch was chosen or a loop ended.
    """

    def __init__(self, leaves: Arrays) -> None:
        self.program = Program(leaves={name: i for i, name in enumerate(leaves)})
        self.decisions: set[int] = set()
        self.steps: list[Step] = []
        self._made: dict[int, Step] = {}
        self._values: Values = dict(enumerate(leaves.values()))
        self._done = 0
        self._count = len(leaves)
        self._kept: dict[int, tuple[Known, int]] = {}

    def run(self, closed: Any, operands: Sequence[Value]) -> list[Value]:
        """Enter a closed jaxpr; return its results."""
        return self._enter(closed.jaxpr, [Known(one) for one in closed.consts], operands)

    def number_of(self, value: Value) -> int:
        """Return which value of the program it is; a constant may have to be added."""
        if isinstance(value, Traced):
            return value.number
        key = id(value.value)
        if key not in self._kept:
            self._kept[key] = value, self._new()
            self.program.constants[self._kept[key][1]] = np.array(value.value)
        return self._kept[key][1]

    def _new(self) -> int:
        self._count += 1
        return self._count - 1

    def _enter(self, jaxpr: Any, consts: Sequence[Value], operands: Sequence[Value]) -> list[Value]:
        known: dict[Any, Value] = dict(zip(jaxpr.constvars, consts, strict=True))
        known |= zip(jaxpr.invars, operands, strict=True)

        def read(variable: Any) -> Value:
            return literal(variable) if hasattr(variable, "val") else known[variable]

        for equation in jaxpr.eqns:
            results = self._performed(equation, [read(one) for one in equation.invars])
            known |= zip(equation.outvars, results, strict=True)
        return [read(one) for one in jaxpr.outvars]

    def _performed(self, equation: Any, operands: list[Value]) -> Sequence[Value]:
        name = equation.primitive.name
        if is_folded(equation, operands, name in INLINED or name in CONTROL):
            return self._folded(equation, operands)
        if equation.outvars and all(0 in one.aval.shape for one in equation.outvars):
            return [Known(np.zeros(one.aval.shape, one.aval.dtype)) for one in equation.outvars]
        unrounded = chosen(equation, operands) or exact(equation, operands)
        if unrounded is not None:
            return [unrounded]
        if name in INLINED:
            inner = equation.params[INLINED[name]]
            if hasattr(inner, "consts"):
                return self.run(inner, operands)
            return self._enter(inner, (), operands)
        if name in CONTROL:
            return CONTROL[name](self, equation, operands)
        if name == "concatenate":
            sizes = [one.aval.size for one in equation.invars]
            operands = [one for one, size in zip(operands, sizes, strict=True) if size]
        unknown = [one.aval.dtype for one in equation.outvars if _has_no_bars(one.aval)]
        if unknown:
            return self.emit(equation, f"{name} in {unknown[0]}", None, operands, equation.params)
        return self.emit(equation, name, rule_of(equation), operands, equation.params)

    def _folded(self, equation: Any, operands: list[Any]) -> list[Value]:
        primitive, values = equation.primitive, [operand.value for operand in operands]
        params = primitive.get_bind_params(equation.params)
        results = primitive.bind(*values, **params)
        return [Known(plain(one)) for one in (results if primitive.multiple_results else [results])]

    def emit(
        self,
        equation: Any,
        operation: str,
        rule: Rule | None,
        operands: Sequence[Value],
        options: Mapping[str, Any],
        count: int | None = None,
    ) -> list[Value]:
        """Add a step."""
        spelled = any(not (isinstance(one, Known) and one.literal) for one in operands)
        arguments: tuple[Any, ...] = tuple(
            one.value
            if isinstance(one, Known) and one.literal and spelled
            else Ref(self.number_of(one))
            for one in operands
        )
        if operation == "eq":
            rule, arguments = self._told_apart(rule, arguments)
        count = len(equation.outvars) if count is None else count
        results = tuple(self._new() for _ in range(count))
        line = line_of(equation.source_info.traceback)
        step = Step(operation, rule, arguments, options, results, line)
        self.steps.append(step)
        self._made |= dict.fromkeys(results, step)
        return [Traced(number) for number in results]

    def _told_apart(self, rule: Rule | None, arguments: tuple[Any, ...]) -> tuple[Any, Any]:
        """Compare two numbers where one of them is compared with the larger or smaller of both.

        JAX asks in the reverse pass which of the two it was; the answer is the same, and does not
        hang on whether a number equals itself.
        """
        for one, other in (arguments, arguments[::-1]):
            made = self._made.get(other.value) if isinstance(other, Ref) else None
            if made is not None and made.operation in ORDERS and one in made.arguments:
                rest = made.arguments[1 - made.arguments.index(one)]
                return ORDERS[made.operation], (one, rest)
        return rule, arguments

    def decided(self, value: Value) -> Any:
        """Return the number that a value is, for control flow to follow."""
        if isinstance(value, Known):
            return value.value
        self.decisions.add(value.number)
        for number, constant in self.program.constants.items():
            self._values.setdefault(number, constant)
        with np.errstate(all="ignore"):
            proceed(self.steps[self._done :], self._values)
        self._done = len(self.steps)
        found = self._values[value.number]
        if hasattr(found, "operation"):
            raise NoRuleError(f"there is no rule for {found.operation}", found.operation)
        return found

    def finished(self, wanted: Sequence[Value]) -> tuple[list[Step], list[int]]:
        """Return the steps that matter and the values asked for; begin with new steps."""
        numbers = [self.number_of(one) for one in wanted]
        needed, kept = {*numbers, *self.decisions}, []
        for step in reversed(self.steps):
            if not needed.isdisjoint(step.results):
                needed.update(step.operands)
                kept.append(step)
        self.steps, self._done = [], 0
        return kept[::-1], numbers


def precision(leaves: Arrays) -> AbstractContextManager[Any]:
    """Return the context in which JAX computes in the format of these."""
    import jax

    wide = any(np.asarray(leaf).dtype == np.float64 for leaf in leaves.values())
    return jax.enable_x64(True) if wide else nullcontext()


def record(
    function: Callable[[dict[str, Any]], list[Any]],
    leaves: Arrays,
    cotangents: Sequence[NDArray[Any]],
) -> tuple[Program, bool]:
    """Record a function and its reverse pass, which begins again from the leaves.

    Parameters
    ----------
    function
        From a dictionary of arrays to a list of arrays of floats.
    leaves
        What it is differentiated by, float64 or float32.
    cotangents
        One for each array that it returns.

    Returns
    -------
    program : Program
    dependent : bool
        Whether control flow depended on data, so that the program holds for these inputs alone.
    """
    import jax

    def called(leaves: Any) -> list[Any]:  # new each time: JAX would take constants of one
        return function(leaves)  # precision from its cache for those of another

    with precision(leaves):
        forward, shapes = jax.make_jaxpr(called, return_shape=True)(dict(leaves))
        given = [
            np.asarray(one, dtype=like.dtype) for one, like in zip(cotangents, shapes, strict=True)
        ]

        def pulled(leaves: Any, cotangents: Any) -> Any:
            return jax.vjp(called, leaves)[1](cotangents)[0]

        with own_lines(pulled):
            backward = jax.make_jaxpr(pulled)(dict(leaves), given)
        named = {f"cotangent.{i}": one for i, one in enumerate(given)}
        recorder = Recorder({**leaves, **named})
        program = recorder.program
        names = sorted(leaves)  # the order in which JAX has the items of a dictionary
        inputs = [Traced(program.leaves[name]) for name in names]
        upstream = [Traced(program.leaves[name]) for name in named]
        program.forward, program.outputs = recorder.finished(recorder.run(forward, inputs))
        gradients = recorder.run(backward, [*inputs, *upstream])
        program.backward, numbers = recorder.finished(gradients)
    program.gradients = dict(zip(names, numbers, strict=True))
    used = {*program.outputs, *numbers}.union(*(step.operands for step in program.steps))
    program.constants = {key: one for key, one in program.constants.items() if key in used}
    return program, bool(recorder.decisions)


def _has_no_bars(aval: Any) -> bool:
    """Tell whether numbers are of a format in which no bar can be told."""
    if is_float(aval):
        return aval.dtype not in FORMATS
    return getattr(aval.dtype, "kind", "V") not in "iub"
