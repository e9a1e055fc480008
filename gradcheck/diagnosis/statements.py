"""Which statement is at work while a pass runs, and what came to it through variables.

A tracer follows the passes line by line. Numbers remember the statement that computes or moves
them; a statement that merely renames something (`out = h`, `grads["w"] = g`, an argument, `return
h`) touches no number, so the tracer carries it along with the name until the name is used.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np
from executing import Source

from gradcheck.diagnosis.syntax import loads, moves, stores
from gradcheck.model.board import Blackboard
from gradcheck.numbers.array import Batched

ROOMS = Path(__file__).parents[1]
NOT_FOLLOWED = tuple(
    f"{path}/" for path in (Path(np.__file__).parent, *(p for p in ROOMS.iterdir() if p.is_dir()))
    if path != ROOMS / "examples"
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A statement: its file, the number of its first line and the text of that.

    `through` are other lines on the way to what it writes that may hold the fault instead: numbers,
    or `file:number` if they are in another file.
    """

    file: str
    number: int
    source: str = ""
    through: tuple[int | str, ...] = ()


@dataclass(frozen=True)
class _Statement:
    """What is known of a statement without running it.

    Parameters
    ----------
    bit
        Which it is.
    loads, stores
        The variables and containers that it reads and writes, as `x`, `d.h`, `grads['w']`; of
        what it writes also whether that is all of it, and not some item of a container.
    moves
        Whether what it stores is what it loads.
    updates
        Whether it adds to what it stores, and the like.
    returns
        Whether it ends a function.
    enclosing
        The `if` and `while` statements that it is in, as bits.
    """

    bit: int
    loads: tuple[str, ...] = ()
    stores: tuple[tuple[str, bool], ...] = ()
    moves: bool = False
    updates: bool = False
    returns: bool = False
    enclosing: int = 0


_UNKNOWN = _Statement(0)


@dataclass
class _Activation:
    """A call of a function: the statement at work in it, and what its variables came through."""

    caller: _Activation | None
    free: frozenset[str]
    statement: _Statement = _UNKNOWN
    mask: int = 0
    returned: int = 0
    carried: dict[str, int] = field(default_factory=dict)


class Statements:
    """All statements met, and the one at work. A context in which the calls of passes are traced.

    Attributes
    ----------
    current
        The statement at work and those that what it uses came through, as bits.
    """

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.current = 0
        self._bits: dict[tuple[str, int], int] = {}
        self._known: dict[tuple[CodeType, int], _Statement] = {}
        self._followed: dict[str, bool] = {}
        self._branches = 0
        self._running: _Activation | None = None

    def __enter__(self) -> Statements:
        self._before = sys.gettrace()
        self.current, self._running = 0, None
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)
        self.current, self._running = 0, None

    def branch(self) -> None:
        """Note that the statement at work branches on a number."""
        if self._running is not None:
            self._branches |= self._running.statement.bit

    def at(self, mask: int) -> list[Line]:
        """Return the lines of some statements, in the order in which they were met."""
        return [line for i, line in enumerate(self.lines) if mask >> i & 1]

    def _call(self, frame: FrameType, event: str, _: Any) -> Any:
        file = frame.f_code.co_filename
        followed = self._followed.get(file)
        if followed is None:
            followed = self._followed[file] = not (
                file.startswith(NOT_FOLLOWED) or file.startswith("<frozen")
            )
        if not followed:
            return None
        caller = self._running
        activation = _Activation(caller, frozenset(frame.f_code.co_freevars))
        if caller is not None and caller.mask:
            activation.carried = {
                name: caller.mask for name, value in frame.f_locals.items() if _holds_numbers(value)
            }
        self._running = activation
        return self._local(activation)

    def _local(self, activation: _Activation) -> Callable[..., Any]:
        def local(frame: FrameType, event: str, arg: Any) -> Any:
            if event == "line":
                statement = self._statement(frame)
                if statement is not activation.statement:
                    self._finish(activation, frame)
                    activation.statement, activation.returned = statement, 0
                self._begin(activation)
            elif event == "return":
                self._finish(activation, frame)
                caller = self._running = activation.caller
                if caller is not None and _holds_numbers(arg):
                    # What it returns is used by the statement that called.
                    passed = activation.mask if activation.statement.returns else 0
                    passed &= -1 if activation.statement.moves else 0
                    caller.returned |= passed | caller.statement.bit
                    self._begin(caller)
                else:
                    self.current = 0 if caller is None else caller.mask
            return local

        return local

    def _begin(self, activation: _Activation) -> None:
        """Set what is at work."""
        statement = activation.statement
        mask = statement.bit | statement.enclosing & self._branches | activation.returned
        for path in statement.loads:
            mask |= self._carried(activation, path)
        self.current = activation.mask = mask
        self._running = activation

    def _carried(self, activation: _Activation, path: str) -> int:
        mask = 0
        scope: _Activation | None = activation
        while scope is not None:
            for name, carried in scope.carried.items():
                if _is_within(name, path) or _is_within(path, name):
                    mask |= carried
            root = path.partition(".")[0].partition("[")[0]
            scope = scope.caller if root in scope.free else None
        return mask

    def _finish(self, activation: _Activation, frame: FrameType) -> None:
        """Let names that were bound without touching a number carry the statement along."""
        statement, carried = activation.statement, activation.carried
        if not statement.stores:
            return
        variables = frame.f_locals
        for path, exact in statement.stores:
            root = path.partition(".")[0].partition("[")[0]
            if not exact:  # some item of a list or a dict
                bound = path == root and isinstance(variables.get(root), list | dict)
            elif path == root:
                bound = _holds_numbers(variables.get(root))
            else:  # arrays and boards make nodes of what they take in
                bound = not isinstance(variables.get(root), Batched | Blackboard)
            if bound and (statement.moves or activation.returned):
                mask = activation.mask if statement.moves else activation.returned
                carried[path] = mask if exact else carried.get(path, 0) | mask
            elif exact and not statement.updates:
                for name in [name for name in carried if _is_within(name, path)]:
                    del carried[name]

    def _statement(self, frame: FrameType) -> _Statement:
        key = frame.f_code, frame.f_lineno
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._look_up(frame)
        return known

    def _look_up(self, frame: FrameType) -> _Statement:
        source = Source.for_frame(frame)
        file, number = frame.f_code.co_filename, frame.f_lineno
        nodes = [node for node in source.statements_at_line(number) if isinstance(node, ast.stmt)]
        if not nodes:
            return _Statement(self._bit(source, file, number))
        node = min(nodes, key=lambda one: (one.end_lineno or one.lineno) - one.lineno)
        enclosing, above = 0, node
        while above := getattr(above, "parent", None):  # type: ignore[assignment]
            if isinstance(above, ast.If | ast.While):
                enclosing |= self._bit(source, file, above.lineno)
        return _Statement(
            self._bit(source, file, node.lineno),
            tuple(dict.fromkeys(loads(node))),
            tuple(dict.fromkeys(stores(node))),
            moves(node),
            isinstance(node, ast.AugAssign),
            isinstance(node, ast.Return),
            enclosing,
        )

    def _bit(self, source: Source, file: str, number: int) -> int:
        if (file, number) not in self._bits:
            self._bits[file, number] = 1 << len(self.lines)
            text = source.lines[number - 1].strip() if number <= len(source.lines) else ""
            self.lines.append(Line(file, number, text))
        return self._bits[file, number]


def _holds_numbers(value: Any) -> bool:
    return isinstance(value, Batched) or (isinstance(value, list | tuple | dict) and bool(value))


def _is_within(path: str, whole: str) -> bool:
    return path == whole or path.startswith((f"{whole}[", f"{whole}."))
