"""What JAX computes, primitive by primitive: forward, and the whole of the reverse pass.

Calls are entered and loops unrolled, so that what is left are primitives on arrays. Where a branch
is taken or a loop ends by what the inputs are, the numbers given decide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from fractions import Fraction
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradcheck.capture import lax_arrays, lax_elementwise, lax_linalg, lax_windows
from gradcheck.capture.program import Line, Program, Ref, Rule, Step, Values, proceed
from gradcheck.errors import RequestError
from gradcheck.numbers.errors import NoRuleError

Arrays = Mapping[str, NDArray[Any]]
RULES: Mapping[str, Rule] = {
    **lax_elementwise.RULES,
    **lax_arrays.RULES,
    **lax_windows.RULES,
    **lax_linalg.RULES,
}
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
MOVING = frozenset(
    {"broadcast_in_dim", "reshape", "squeeze", "expand_dims", "transpose", "slice", "rev", "copy"}
)
"""Primitives of which a constant yields a constant, exactly."""
KINDS: Mapping[str, str] = {"b": "bool", "i": "int", "u": "int"}
"""What stands behind the name of a rule for operands of a type."""
EXACT = frozenset({"neg", "abs", "sign", "max", "min", "clamp", "floor", "ceil", "select_n"})
"""Primitives that round nothing."""
SUMS = frozenset({"add", "sub", "mul"})
"""Primitives that may happen to round nothing."""
MOST = 1000
"""Of the results of one of these, how many are looked at."""
ORDERS: Mapping[str, Rule] = {"max": RULES["ge"], "min": RULES["le"]}
"""How a number stands to another where it is the one that is taken."""
LONGEST = 100_000
"""Steps, after which a loop is taken for endless."""


class Known(NamedTuple):
    """A value that depends on no input."""

    value: Any
    literal: bool = False


class Traced(NamedTuple):
    """A value of the program."""

    number: int


Value = Known | Traced


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
        bits = [np.finfo(leaf.dtype).nmant for leaf in leaves.values()]
        self._digits = min(bits, default=0)

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
            literal = getattr(variable, "val", None)
            return known[variable] if literal is None else _literal(variable)

        for equation in jaxpr.eqns:
            results = self._performed(equation, [read(one) for one in equation.invars])
            known |= zip(equation.outvars, results, strict=True)
        return [read(one) for one in jaxpr.outvars]

    def _performed(self, equation: Any, operands: list[Value]) -> Sequence[Value]:
        name = equation.primitive.name
        if _is_folded(equation, operands):
            return self._folded(equation, operands)
        exact = _exact(equation, operands)
        if exact is not None:
            return [exact]
        if name in INLINED:
            inner = equation.params[INLINED[name]]
            if hasattr(inner, "consts"):
                return self.run(inner, operands)
            return self._enter(inner, (), operands)
        if name in CONTROL:
            return CONTROL[name](self, equation, operands)
        narrow = [one.aval.dtype for one in equation.outvars if self._is_narrow(one.aval)]
        if narrow:
            return self.emit(equation, f"{name} in {narrow[0]}", None, operands, equation.params)
        return self.emit(equation, name, _rule(equation), operands, equation.params)

    def _folded(self, equation: Any, operands: list[Any]) -> list[Value]:
        primitive, values = equation.primitive, [operand.value for operand in operands]
        params = primitive.get_bind_params(equation.params)
        results = primitive.bind(*values, **params)
        return [
            Known(_plain(one)) for one in (results if primitive.multiple_results else [results])
        ]

    def _is_narrow(self, aval: Any) -> bool:
        """Tell whether a format has fewer digits than that of the leaves, or no bounds at all."""
        if _is_float(aval):
            return _digits(aval.dtype) < self._digits
        return getattr(aval.dtype, "kind", "V") not in "iub"

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
        line = _line(equation.source_info.traceback)
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


def _cond(recorder: Recorder, equation: Any, operands: list[Value]) -> Sequence[Value]:
    branches = equation.params["branches"]
    which = int(np.clip(recorder.decided(operands[0]), 0, len(branches) - 1))
    return recorder.run(branches[which], operands[1:])


def _while(recorder: Recorder, equation: Any, operands: list[Value]) -> Sequence[Value]:
    params, rest = equation.params, iter(operands)
    tested = list(islice(rest, params["cond_nconsts"]))
    used = list(islice(rest, params["body_nconsts"]))
    carried: Sequence[Value] = list(rest)
    while recorder.decided(recorder.run(params["cond_jaxpr"], [*tested, *carried])[0]):
        carried = recorder.run(params["body_jaxpr"], [*used, *carried])
        if len(recorder.steps) > LONGEST:
            raise RequestError("function", f"a loop takes more than {LONGEST} operations")
    return carried


def _scan(recorder: Recorder, equation: Any, operands: list[Value]) -> Sequence[Value]:
    params, rest = equation.params, iter(operands)
    used = list(islice(rest, params["num_consts"]))
    carried = list(islice(rest, params["num_carry"]))
    columns, length = list(rest), params["length"]
    rows: list[list[Value]] = []

    def part(column: Value, i: int) -> Value:
        if isinstance(column, Known):
            return Known(column.value[i])
        return recorder.emit(equation, "scan", _part, [column], {"index": i}, 1)[0]

    def whole(column: Sequence[Value], aval: Any) -> Value:
        if not column:
            return Known(np.zeros(aval.shape, aval.dtype))
        if all(isinstance(one, Known) for one in column):
            return Known(np.stack([one.value for one in column if isinstance(one, Known)]))
        return recorder.emit(equation, "scan", _stacked, column, {}, 1)[0]

    order = range(length)
    for i in reversed(order) if params["reverse"] else order:
        results = recorder.run(
            params["jaxpr"], [*used, *carried, *(part(column, i) for column in columns)]
        )
        carried = list(results[: params["num_carry"]])
        rows.append(list(results[params["num_carry"] :]))
    rows = rows[::-1] if params["reverse"] else rows
    avals = [one.aval for one in equation.outvars[params["num_carry"] :]]
    stacked = [whole([row[k] for row in rows], aval) for k, aval in enumerate(avals)]
    return [*carried, *stacked]


def _part(column: Any, *, index: int) -> Any:
    return column[index]


def _stacked(*rows: Any) -> Any:
    return np.stack(rows)


def _linear_solve(recorder: Recorder, equation: Any, operands: list[Value]) -> Sequence[Value]:
    """Follow how it is solved, whatever it solves."""
    lengths, rest = equation.params["const_lengths"], iter(operands)
    consts = {name: list(islice(rest, getattr(lengths, name))) for name in lengths._fields}
    return recorder.run(equation.params["jaxprs"].solve, [*consts["solve"], *rest])


CONTROL: Mapping[str, Callable[[Recorder, Any, list[Value]], Sequence[Value]]] = {
    "cond": _cond,
    "while": _while,
    "scan": _scan,
    "custom_linear_solve": _linear_solve,
}
"""Primitives that decide what is computed."""


def _is_folded(equation: Any, operands: Sequence[Value]) -> bool:
    """Tell whether the results are constants: integers, or floats that no operation rounded."""
    if not all(isinstance(operand, Known) for operand in operands):
        return False
    if not any(_is_float(one.aval) for one in equation.outvars):
        return bool(equation.outvars)
    name = equation.primitive.name
    if name in MOVING:
        return True
    entered = name in INLINED or name in CONTROL
    return not entered and not any(_is_float(one.aval) for one in equation.invars)


def _rule(equation: Any) -> Rule | None:
    """Return the rule of a primitive for operands of such a type, if there is one."""
    name = equation.primitive.name
    kind = equation.invars[0].aval.dtype.kind if equation.invars else "f"
    return RULES.get(f"{name}.{KINDS.get(kind, 'float')}", RULES.get(name))


def _exact(equation: Any, operands: Sequence[Value]) -> Known | None:
    """Return what constants yield, if no rounding is involved."""
    name = equation.primitive.name
    if name not in (*EXACT, *SUMS) or not all(isinstance(one, Known) for one in operands):
        return None
    values = [one.value for one in operands if isinstance(one, Known)]
    with np.errstate(all="ignore"):
        result = RULES[name](*values, **equation.params)
    if name in SUMS:
        many = [np.broadcast_to(one, np.shape(result)).ravel().tolist() for one in values]
        if len(many[0]) > MOST or not np.all(np.isfinite([*many, np.ravel(result)])):
            return None
        for found, *terms in zip(np.ravel(result).tolist(), *many, strict=True):
            if Fraction(found) != RULES[name](*map(Fraction, terms)):
                return None
    literal = all(isinstance(one, Known) and one.literal for one in operands)
    return Known(result, literal and not np.ndim(result))


def _is_float(aval: Any) -> bool:
    from jax import dtypes, numpy

    dtype = aval.dtype
    return not dtypes.issubdtype(dtype, dtypes.extended) and numpy.issubdtype(dtype, numpy.floating)


def _digits(dtype: Any) -> int:
    from jax import numpy

    return int(numpy.finfo(dtype).nmant)


def _plain(value: Any) -> Any:
    """Return an array of NumPy, unless it holds what NumPy has no type for."""
    from jax import dtypes

    dtype = getattr(value, "dtype", None)
    extended = dtype is not None and dtypes.issubdtype(dtype, dtypes.extended)
    return value if extended else np.asarray(value)


def _literal(variable: Any) -> Known:
    """Return a number that is spelled out, in its format: Python's own where that is the same."""
    value = np.asarray(variable.val).astype(variable.aval.dtype)[()]
    return Known(value.item() if value.dtype in (np.float64, np.bool_) else value, literal=True)


@cache
def _home() -> str:
    import gradcheck

    return f"{Path(str(gradcheck.__file__)).parent}/"


def _line(traceback: Any) -> Line | None:
    """Return the innermost line that is neither JAX's nor ours."""
    from jax._src import source_info_util

    for frame in source_info_util.user_frames(traceback) if traceback else ():
        if not frame.file_name.startswith(_home()):
            return Line(frame.file_name, frame.start_line)
    return None


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

    with precision(leaves):
        forward, shapes = jax.make_jaxpr(function, return_shape=True)(dict(leaves))
        given = [
            np.asarray(one, dtype=like.dtype) for one, like in zip(cotangents, shapes, strict=True)
        ]

        def pulled(leaves: Any, cotangents: Any) -> Any:
            return jax.vjp(function, leaves)[1](cotangents)[0]

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
    return program, bool(recorder.decisions)
