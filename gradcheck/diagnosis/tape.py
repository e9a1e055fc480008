"""Real numbers that remember how they came about: from which others, and by which statements.

Every element of every array is a node of a graph. Followed back from a number, the graph shows all
statements that it came through, whatever they kept it in: a variable, a list, a view, an array that
was changed in place. That is dynamic slicing. Swept back from the loss, it yields the adjoints of
all nodes at once. The partial derivatives are slopes of Arb's power series.

References
----------
H. Agrawal and J. R. Horgan, *Dynamic program slicing*, PLDI 1990.
A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd edition, SIAM 2008, chapter 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flint
import numpy as np

from gradcheck.diagnosis.statements import Statements
from gradcheck.numbers.arb import Real, Side

CONSTANT_ERROR = 2.0**-50
"""Relative error of a constant that its mantissa shows to be rounded, by a few operations."""
ZERO, ONE, MINUS = flint.arb(0), flint.arb(1), flint.arb(-1)


class OverBudgetError(RuntimeError):
    """A recording takes more operations than are allowed."""


class Node(Real):
    """A real number, the numbers that it was made of, and the statements that made it.

    Parameters
    ----------
    real
        The value. What is only moved about keeps it, and so is known to be equal to itself.
    operands, partials
        Other nodes, and the derivatives by them.
    statements
        As bits.
    """

    __slots__ = (
        "adjoint", "is_constant", "operands", "order", "partials", "real", "statements", "tape",
    )  # fmt: skip

    def __init__(
        self,
        tape: Tape,
        real: Real,
        operands: tuple[Node, ...] = (),
        partials: tuple[Any, ...] = (),
        statements: int = 0,
    ) -> None:
        super().__init__(real.constant, None, real.undefined)
        self.tape, self.real = tape, real
        self.operands, self.partials, self.statements = operands, partials, statements
        self.is_constant = not (operands or statements)
        self.order = tape.operations
        self.adjoint: Any = None

    __eq__, __hash__ = object.__eq__, object.__hash__  # type: ignore[assignment]

    # What sums of products need; the rest goes by whole arrays.

    def __add__(self, other: Any) -> Node:
        return self if isinstance(other, int) else self.tape.add(self, other)

    def __mul__(self, other: Any) -> Node:
        return self.tape.multiply(self, other)

    __radd__, __rmul__ = __add__, __mul__


class Tape:
    """All nodes of a recording, in order.

    Parameters
    ----------
    budget
        How many operations may be recorded.
    dtype
        The format under judgement, for code that asks for it.
    """

    def __init__(self, statements: Statements, budget: int, dtype: Any = np.float64) -> None:
        self.statements, self.budget, self.side = statements, budget, Side(dtype=dtype)
        self.nodes: list[Node] = []
        self.differentiating = True
        self.operations = 0

    def record(self, real: Real, operands: tuple[Node, ...], partials: tuple[Any, ...]) -> Node:
        """Make a node. Constants are no operands: they come from nowhere else."""
        self.operations += 1
        if self.operations > self.budget:
            raise OverBudgetError
        for operand in operands:
            if operand.is_constant:
                varying = [i for i, one in enumerate(operands) if not one.is_constant]
                operands = tuple(operands[i] for i in varying)
                partials = tuple(partials[i] for i in varying)
                break
        if not self.differentiating:
            return Node(self, real, operands, (), self.statements.current)
        node = Node(self, real, operands, partials, self.statements.current)
        self.nodes.append(node)
        return node

    def leaf(self, value: Any) -> Node:
        """Make a node of an input or a parameter, which is no constant."""
        node = Node(self, Real(flint.arb(value)))
        node.is_constant = False
        return node

    def constant(self, value: Any) -> Node:
        """Make a node of a constant, which may be rounded."""
        number = float(value)
        short = number.is_integer() or float(np.float32(number)) == number
        short |= not np.isfinite(number)
        error = 0.0 if short else abs(number) * CONSTANT_ERROR
        return Node(self, Real(flint.arb(number, error)))

    def add(self, a: Node, b: Node) -> Node:
        """Add; what adds nothing, such as the zeros that a sum begins with, has no part in it."""
        for term, other in ((a, b), (b, a)):
            if term.is_constant and term.series.is_zero():
                return self.moved(other)
        return self.record(Real(a.series + b.series), (a, b), (ONE, ONE))

    def subtract(self, a: Node, b: Node) -> Node:
        """Subtract."""
        return self.record(Real(a.series - b.series), (a, b), (ONE, MINUS))

    def multiply(self, a: Node, b: Node) -> Node:
        """Multiply."""
        return self.record(Real(a.series * b.series), (a, b), (b.series, a.series))

    def moved(self, node: Node, also: Sequence[Node] = ()) -> Node:
        """Note that the statement at work moves a number, by the decision of others maybe."""
        current = self.statements.current
        if not also and (node.is_constant or not current & ~node.statements):
            return node
        return self.record(node.real, (node, *also), (ONE, *(ZERO,) * len(also)))

    def written(self, value: Any) -> Node:
        """Make a node of its own for what a statement writes on the trace."""
        node = value if isinstance(value, Node) else self.constant(value)
        return self.record(node.real, (node,), (ONE,))

    def sweep(self, loss: Node) -> None:
        """Fill in the adjoint ∂loss/∂node of every node that the loss depends on."""
        loss.adjoint = flint.arb(1)
        for node in reversed(self.nodes):
            if node.adjoint is None:
                continue
            for operand, partial in zip(node.operands, node.partials, strict=True):
                share = node.adjoint * partial
                operand.adjoint = share if operand.adjoint is None else operand.adjoint + share
