"""Which line of a pass wrote a quantity, and from what: seen by running it once."""

from __future__ import annotations

import ast
import linecache
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeGuard

import numpy as np

from gradcheck.model import model as model_module
from gradcheck.model.model import Blackboard, Model

MODEL_FILE = model_module.__file__


@dataclass(frozen=True)
class Line:
    """The statement that wrote a quantity last, and what it read: `t.h1`, board and name.

    `through` are the lines by which some of that may have come: earlier writes of a quantity that
    is updated, and statements that read from a board into a variable.
    """

    file: str
    number: int
    reads: frozenset[str]
    through: tuple[int, ...] = ()

    @property
    def source(self) -> str:
        """The first line of the statement."""
        return linecache.getline(self.file, self.number).strip()


@dataclass
class _Statement:
    """A statement that is being executed, and what it has read so far, in calls as well."""

    file: str
    number: int
    reads: set[str] = field(default_factory=set)
    wrote: bool = False


class _Recorder:
    """What the statements that are being executed have read, from the outermost to the innermost.

    A statement that reads without writing to a board may carry what it read, in a variable, to
    every later line that uses the variable, or one made of it.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin another function, in which the variables of the one before are not known."""
        self.running: dict[int, _Statement] = {}
        self.carriers: list[_Statement] = []

    def read(self, quantity: str) -> None:
        """Note what every statement that is being executed reads."""
        for statement in self._enter():
            if statement.wrote:  # executed again, in a loop
                statement.reads, statement.wrote = set(), False
            statement.reads.add(quantity)

    def write(self) -> _Statement:
        """Return the innermost statement, which writes."""
        statements = self._enter()
        for statement in statements:
            statement.wrote = True
        return statements[-1]

    def carriers_of(self, statement: _Statement) -> list[_Statement]:
        """Return the statements whose variables a statement uses."""
        used = _dependencies(statement.file, statement.number)
        return [
            carrier
            for carrier in self.carriers
            if carrier.file != statement.file or carrier.number in used
        ]

    def _enter(self) -> list[_Statement]:
        """Find the statements that are being executed; others have come to their end."""
        before, self.running = self.running, {}
        for frame in reversed(_frames_outside()):
            file = frame.f_code.co_filename
            number = _statement_start(file, frame.f_lineno)
            statement = before.get(id(frame))
            if statement is None or (statement.file, statement.number) != (file, number):
                if statement is not None and statement.reads and not statement.wrote:
                    self.carriers.append(statement)
                statement = _Statement(file, number)
            self.running[id(frame)] = statement
        return list(self.running.values())


class _RecordingBoard(Blackboard):
    """A blackboard that tells a recorder of every read and write."""

    def __init__(self, name: str, recorder: _Recorder, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        vars(self).update(_name=name, _recorder=recorder, _lines={})

    def _found(self, name: str) -> Any:
        if name in self._values:
            self._recorder.read(f"{self._name}.{name}")
        return super()._found(name)

    def _write(self, name: str, value: Any) -> None:
        statement = self._recorder.write()
        super()._write(name, value)
        before = self._lines.pop(name, None)  # so that the order is that of the last writes
        came = self._recorder.carriers_of(statement)
        reads = statement.reads.union(*(carrier.reads for carrier in came))
        itself = f"{self._name}.{name}"
        through = [carrier.number for carrier in came]
        if before is not None and itself in reads:  # an update: it depends on all that came in
            reads = reads | before.reads
            through += [*before.through, before.number]
        self._lines[name] = Line(
            statement.file,
            statement.number,
            frozenset(reads - {itself}),
            tuple(sorted({*through} - {statement.number})),
        )


def _frames_outside() -> list[Any]:
    """Return the frames of the code that uses a board, the innermost first."""
    frame: Any = sys._getframe(1)
    frames = []
    while frame is not None and frame.f_code.co_name != "record_lines":
        if frame.f_code.co_filename not in (__file__, MODEL_FILE):
            frames.append(frame)
        frame = frame.f_back
    return frames


def record_lines(
    model: Model, sample: Mapping[str, Any] | None = None
) -> tuple[dict[str, Line], dict[str, Line]]:
    """Run both passes once and note the lines.

    Parameters
    ----------
    sample
        Inputs and parameters as the model takes them; all ones unless given.

    Returns
    -------
    forward, backward
        The line that wrote each quantity of the trace, and each adjoint, in order.
    """
    recorder = _Recorder()
    ones: dict[str, Any] = {
        name: np.ones((1, *shape) if model.batched else shape, _kind(model, name))
        for name, shape in model.leaves.items()
    }
    v = _RecordingBoard("v", recorder, ones if sample is None else sample)
    t = _RecordingBoard("t", recorder, {})
    d = _RecordingBoard("d", recorder, {})
    with np.errstate(all="ignore"):
        model.forward(np, v, t)
        recorder.forget()
        model.backward(np, v, t, d)
    return vars(t)["_lines"], vars(d)["_lines"]


def _kind(model: Model, leaf: str) -> type:
    domain = model.domain(leaf)
    return int if domain is not None and domain.is_discrete else float


def _statement_start(file: str, line: int) -> int:
    """Return the first line of the innermost statement that covers a line."""
    starts = [
        (end - start, start) for start, end in _simple_statements(file) if start <= line <= end
    ]
    return min(starts, default=(0, line))[1]


@lru_cache
def _dependencies(file: str, line: int) -> frozenset[int]:
    """Return the lines of a function whose variables its statement on a line uses, in any order."""
    for function in _functions(file):
        statements = [node for node in ast.walk(function) if _is_simple(node)]
        own = [node for node in statements if node.lineno == line]
        if not own:
            continue
        found: set[int] = set()
        needed = set().union(*(_names(node, ast.Load) for node in own))
        while True:
            more = {
                node.lineno: node
                for node in statements
                if node.lineno not in found and _names(node, ast.Store) & needed
            }
            if not more:
                return frozenset(found)
            found |= set(more)
            needed = needed.union(*(_names(node, ast.Load) for node in more.values()))
    return frozenset(node.lineno for node in ast.walk(_tree(file)) if _is_simple(node))


def _names(statement: ast.stmt, context: type[ast.expr_context]) -> set[str]:
    """Name the variables that a statement reads or changes; `x[i] = …` changes `x`."""
    names = {
        node.id
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, context)
    }
    if context is ast.Store:
        for node in ast.walk(statement):
            if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
                names |= {n.id for n in ast.walk(node.value) if isinstance(n, ast.Name)}
    elif isinstance(statement, ast.AugAssign):
        names |= {n.id for n in ast.walk(statement.target) if isinstance(n, ast.Name)}
    return names


@lru_cache
def _simple_statements(file: str) -> tuple[tuple[int, int], ...]:
    return tuple(
        (node.lineno, node.end_lineno or node.lineno)
        for node in ast.walk(_tree(file))
        if _is_simple(node)
    )


def _functions(file: str) -> list[ast.FunctionDef]:
    """Return the functions of a file, the inner ones first."""
    found = [node for node in ast.walk(_tree(file)) if isinstance(node, ast.FunctionDef)]
    return sorted(found, key=lambda node: (node.end_lineno or node.lineno) - node.lineno)


def _is_simple(node: ast.AST) -> TypeGuard[ast.stmt]:
    return isinstance(node, ast.stmt) and not hasattr(node, "body")


def _tree(file: str) -> ast.Module:
    try:
        return ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:
        return ast.Module([], [])
