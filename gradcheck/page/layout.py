"""Where the nodes of a graph stand: columns in rows, as many as a page is wide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

COLUMNS = 8
"""In a row."""
PITCH, TALL = 136, 44
"""Units from column to column, and the height of a node."""
FORWARD, ADJOINT, GRADIENT = 56, 168, 258
"""Of a row, where the nodes of each kind begin."""
APART = 52
"""From one gradient to the next."""


@dataclass
class Node:
    """A quantity, an adjoint or a gradient.

    Parameters
    ----------
    name, below
        What is written in it.
    level
        How it is drawn: one of `LEVELS`, or `unknown`.
    details
        Lines that tell the rest.
    mark
        Number of the wrong line that writes it, if there is one.
    """

    name: str
    below: str
    level: str
    details: list[str]
    x: int = 0
    y: int = 0
    mark: str = ""

    @property
    def text(self) -> str:
        """All that it says."""
        return "\n".join(self.details)


@dataclass
class Column:
    """A quantity of the trace, its adjoint, and the gradients of what enters there."""

    quantity: str
    forward: Node
    adjoint: Node | None
    gradients: list[Node]
    entering: list[str]
    left: int = 0
    x: int = 0


@dataclass
class Line:
    """A row of columns, its arrows, and what is said under it."""

    columns: list[Column]
    top: int
    height: int
    arcs: list[tuple[int, int, int]] = field(default_factory=list)


def laid_out(columns: Sequence[Column]) -> tuple[list[Line], int]:
    """Give every node its place; return the rows, and how high they are together."""
    lines, top = [], 0
    for start in range(0, len(columns), COLUMNS):
        some = list(columns[start : start + COLUMNS])
        for place, column in enumerate(some):
            column.x = 12 + place * PITCH
            column.forward.x, column.forward.y = column.x, top + FORWARD
            if column.adjoint:
                column.adjoint.x, column.adjoint.y = column.x, top + ADJOINT
            begin = GRADIENT if any(c.adjoint for c in some) else ADJOINT - 20
            for rank, node in enumerate(column.gradients):
                node.x, node.y = column.x, top + begin + rank * APART
        deepest = max(
            [
                node.y + TALL + 20 * bool(column.left)
                for column in some
                for node in [column.forward, column.adjoint, *column.gradients]
                if node
            ]
        )
        line = Line(some, top, deepest - top)
        at = {column.quantity: column.x for column in some}
        before = [column.quantity for column in columns]
        for column in some:
            reached = [at[name] for name in column.entering if name in at]
            line.arcs += [(x, column.x, column.x - x) for x in reached if column.x - x > PITCH]
            shown = set(at) | {before[before.index(column.quantity) - 1]}
            column.entering = [n for n in column.entering if n not in shown]
        lines.append(line)
        top = deepest + 34
    return lines, top
