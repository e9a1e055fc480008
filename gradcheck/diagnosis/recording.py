"""One sample in full: what both passes hold, what they should, and where each number came from."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

import flint
import numpy as np
from numpy.typing import NDArray

from gradcheck.diagnosis.recorded import Recorded, each
from gradcheck.diagnosis.statements import Statements
from gradcheck.diagnosis.tape import Node, Tape
from gradcheck.model.board import Blackboard, Given
from gradcheck.model.model import Model

Nodes = NDArray[Any]
"""An array of nodes."""


@dataclass(frozen=True)
class Recording:
    """Both passes on one sample.

    Parameters
    ----------
    v, t, d
        The nodes that each quantity holds at the end, by name; the adjoints in the order in which
        they were written last.
    written
        The statements, as bits, that wrote a quantity of the trace or an adjoint: `t.h`, `d.h`.
    truth
        The true adjoints, of the trace's quantities and the parameters, as far as the forward pass
        is right; arrays of Arb numbers.
    loss
        By the definition; `None` if it is not known.
    begin, operations
        How many the forward pass, and both passes, took.
    """

    v: dict[str, Nodes]
    t: dict[str, Nodes]
    d: dict[str, Nodes]
    written: dict[str, int]
    truth: dict[str, Nodes]
    loss: Any
    begin: int
    operations: int

    def behind(self, nodes: Iterable[Node], stop: Container[Node] = ()) -> set[Node]:
        """Return nodes, and what they came from in the backward pass as far as those to stop at."""
        return _behind(nodes, stop, self.begin)

    def came_through(self, nodes: Iterable[Node], stop: Container[Node]) -> dict[Node, int]:
        """Return the statements behind each node, as bits; and behind those that it came from."""
        found: dict[Node, int] = {}
        for node in sorted(self.behind(nodes, stop), key=lambda one: one.order):
            before = (found.get(operand, 0) for operand in node.operands)
            found[node] = reduce(or_, before, node.statements)
        return found

    def steps_to(self, quantity: str, right: Iterable[str]) -> int:
        """Return the statements between right quantities of the trace and another, as bits."""
        known = [node for name in right for node in self.t[name].flat]
        written = reduce(or_, (self.written[f"t.{name}"] for name in right), 0)
        through = statements_of(_behind(self.t[quantity].flat, set(known), -1))
        through |= self.written[f"t.{quantity}"]
        return through & ~(statements_of(_behind(known, (), -1)) | written) or through


def _behind(nodes: Iterable[Node], stop: Container[Node], begin: int) -> set[Node]:
    found: set[Node] = set()
    waiting = [node for node in nodes if node.order > begin]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += [one for one in node.operands if one.order > begin and one not in stop]
    return found


def statements_of(nodes: Iterable[Node]) -> int:
    """Return all statements that made some nodes, as bits."""
    return reduce(or_, (node.statements for node in nodes), 0)


class _RecordedBoard(Blackboard):
    """A board that notes which statements write."""

    def __init__(self, tape: Tape, written: dict[str, int], letter: str, held: list[Any]) -> None:
        super().__init__()
        vars(self).update(_tape=tape, _written=written, _letter=letter, _held=held)

    def _write(self, name: str, value: Any) -> None:
        key = f"{self._letter}.{name}"
        self._written.pop(key, None)  # so that the order is that of the last writes
        self._written[key] = self._tape.statements.current
        value = self._renewed(value)
        self._held.append(value)
        super()._write(name, value)

    def _renewed(self, value: Any) -> Any:
        """Make nodes of their own for what is written, so that it is told from what it was."""
        tape: Tape = self._tape
        if not isinstance(value, Recorded):
            array = np.asarray(value)
            if array.dtype.kind not in ("f" if self._letter == "t" else "fiu"):
                return value
            return Recorded(tape, each(tape.written, array))
        if not value.stored.hasobject:
            return value
        renewed = each(tape.written, value.array)
        if self._letter == "d" or any(value is other for other in self._held):
            return value.alias(renewed)
        value.array = renewed  # so that it is this quantity by which a variable acts, too
        return value


def record(
    model: Model,
    sample: Mapping[str, Any],
    statements: Statements,
    budget: int,
    *,
    loss: bool,
    dtype: Any = np.float64,
) -> Recording:
    """Run both passes on one sample, as the model takes it.

    Parameters
    ----------
    loss
        Whether the definition is wanted as well.
    dtype
        The format under judgement, for code that asks for it.

    Raises
    ------
    OverBudgetError
        If it takes more operations than the budget.
    """
    tape = Tape(statements, budget, dtype)
    leaves = {name: _leaf(tape, np.asarray(array)) for name, array in sample.items()}
    for leaf in leaves.values():
        leaf.frozen = True
    v, written = Given(leaves), dict[str, int]()
    held = list(leaves.values())
    t = _RecordedBoard(tape, written, "t", held)
    d = _RecordedBoard(tape, written, "d", held)
    with statements:
        model.forward(np, v, t)
    trace = {name: _nodes(tape, t[name]) for name in t}
    judged = {name for name in t if isinstance(t[name], Recorded) and t[name].stored.hasobject}
    tape.sweep(trace["loss"].item())
    tape.nodes.clear()
    tape.differentiating, begin = False, tape.operations
    with statements:
        model.backward(np, v, t, d)
    adjoints = [key[2:] for key in written if key.startswith("d.")]
    given = {name: leaf.nodes for name, leaf in leaves.items()}
    truth = {
        **{name: each(_adjoint, trace[name]) for name in trace if name in judged},
        **{name: each(_adjoint, given[name]) for name in model.parameters},
    }
    defined = _nodes(tape, model.loss(np, v)).item() if loss else None
    return Recording(
        given,
        trace,
        {name: _nodes(tape, d[name]) for name in adjoints},
        written,
        truth,
        defined,
        begin,
        tape.operations,
    )


def _leaf(tape: Tape, array: NDArray[Any]) -> Recorded:
    if array.dtype.kind in "iub":
        return Recorded(tape, array)
    return Recorded(tape, each(tape.leaf, array))


def _nodes(tape: Tape, value: Any) -> Nodes:
    """Return what a board holds as nodes."""
    if isinstance(value, Recorded):
        return value.nodes
    return each(tape.constant, np.asarray(value))


def _adjoint(node: Node) -> flint.arb:
    return flint.arb(0) if node.adjoint is None else node.adjoint
