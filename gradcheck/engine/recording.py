"""Which line of a pass wrote a quantity, and from what: seen by running it once."""

from __future__ import annotations

import ast
import linecache
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from gradcheck.engine.model import Model


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


class _Recorder:
    """What the statement that is being executed has read so far.

    What a statement reads without writing to a board may be in any variable from then on, and is
    `carried` to every later line.
    """

    def __init__(self) -> None:
        self.statement = ("", 0)
        self.reads: set[str] = set()
        self.carried: set[str] = set()
        self.carriers: list[int] = []
        self.wrote = False

    def enter(self, frame: Any) -> None:
        file = frame.f_code.co_filename
        statement = file, _statement_start(file, frame.f_lineno)
        if statement != self.statement:
            if self.reads and not self.wrote:
                self.carried |= self.reads
                self.carriers.append(self.statement[1])
            self.statement, self.reads, self.wrote = statement, set(), False


class _RecordingBoard:
    """A blackboard that tells a recorder of every read and write."""

    def __init__(self, name: str, recorder: _Recorder, values: Mapping[str, Any]) -> None:
        vars(self).update(_name=name, _recorder=recorder, _values=dict(values), _lines={})

    def __getattr__(self, quantity: str) -> Any:
        if quantity not in self._values:
            raise AttributeError(f"{self._name} has no {quantity}")
        self._recorder.enter(sys._getframe(1))
        self._recorder.reads.add(f"{self._name}.{quantity}")
        return self._values[quantity]

    def __setattr__(self, quantity: str, value: Any) -> None:
        self._recorder.enter(sys._getframe(1))
        self._recorder.wrote = True
        self._values[quantity] = value
        before = self._lines.pop(quantity, None)  # so that the order is that of the last writes
        reads = self._recorder.reads | self._recorder.carried
        itself = f"{self._name}.{quantity}"
        through = list(self._recorder.carriers)
        if before is not None and itself in reads:  # an update: it depends on all that came in
            reads = reads | before.reads
            through += [*before.through, before.number]
        file, number = self._recorder.statement
        self._lines[quantity] = Line(
            file, number, frozenset(reads - {itself}), tuple(sorted({*through} - {number}))
        )


def record_lines(model: Model) -> tuple[dict[str, Line], dict[str, Line]]:
    """Run both passes once and note the lines.

    Returns
    -------
    forward, backward
        The line that wrote each quantity of the trace, and each adjoint, in order.
    """
    recorder = _Recorder()
    ones = {name: np.ones((1, *shape)) for name, shape in model.leaves.items()}
    v = _RecordingBoard("v", recorder, ones)
    t = _RecordingBoard("t", recorder, {})
    d = _RecordingBoard("d", recorder, {})
    with np.errstate(all="ignore"):
        model.forward(np, v, t)
        model.backward(np, v, t, d)
    return vars(t)["_lines"], vars(d)["_lines"]


def _statement_start(file: str, line: int) -> int:
    """Return the first line of the innermost statement that covers a line."""
    starts = [
        (end - start, start) for start, end in _simple_statements(file) if start <= line <= end
    ]
    return min(starts, default=(0, line))[1]


@lru_cache
def _simple_statements(file: str) -> tuple[tuple[int, int], ...]:
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:
        return ()
    return tuple(
        (node.lineno, node.end_lineno or node.lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt) and not hasattr(node, "body")
    )
