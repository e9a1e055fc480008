"""Expressions of source code, as the operations that they ask for."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from gradcheck.capture.terms import SYNONYMS

OPERATORS: Mapping[Any, str] = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.MatMult: "matmul",
    ast.Pow: "pow", ast.USub: "neg", ast.Invert: "not", ast.BitAnd: "and", ast.BitOr: "or",
    ast.Gt: "gt", ast.GtE: "ge", ast.Lt: "lt", ast.LtE: "le", ast.Eq: "eq", ast.NotEq: "ne",
}  # fmt: skip
MODULES = ("torch", "jnp", "np", "jax", "lax", "nn", "F", "functional", "special")
ALIKE = {"rsub": "sub", "addmm": "matmul", "numpy_T": "transpose", "T": "transpose"}
ALIKE |= {"mT": "transpose", "adjoint": "transpose", "swapaxes": "transpose"}


@dataclass(frozen=True)
class Place:
    """An operation in the code.

    Parameters
    ----------
    node
        The expression, or the statement that changes a variable in place.
    operands
        What it takes, in the order of the operation's arguments; `None` for what is unknown.
    parent
        What it is a part of.
    scope
        The function that it is in.
    in_loop
        Whether it may be performed several times in a call of this.
    """

    node: Any
    operands: tuple[Any, ...]
    parent: Any
    scope: Any
    in_loop: bool = False


@dataclass
class SourceFile:
    """A file's operations, by line, in the order in which they are performed."""

    tree: ast.AST | None = None
    saved: list[tuple[Any, Any, Any, Any]] = field(default_factory=list)
    places: dict[int, list[tuple[str, Place]]] = field(default_factory=dict)

    def scope(self, number: int) -> ast.AST | None:
        """Return the innermost function around a line."""
        around = [
            node
            for node in ast.walk(self.tree or ast.Module([], []))
            if isinstance(node, ast.FunctionDef | ast.Lambda)
            and node.lineno <= number <= (node.end_lineno or 0)
        ]
        return max(around, key=lambda node: node.lineno, default=None)


@cache
def parsed(name: str) -> SourceFile:
    """Find the operations that a file's expressions stand for."""
    lines = linecache.getlines(name)
    file = SourceFile()
    try:
        file.tree = ast.parse("".join(lines))
    except (SyntaxError, ValueError):
        return file
    _visit(file.tree, None, None, file)
    for node in ast.walk(file.tree):
        if isinstance(node, ast.ClassDef):
            file.saved += _saved(node)
    return file


def _saved(owner: ast.ClassDef) -> Iterator[tuple[Any, Any, Any, Any]]:
    """Find what is saved in one function and had in another: functions and names."""
    given, taken = [], []
    for scope in owner.body:
        for node in ast.walk(scope):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "save_for_backward":
                given += [(scope, node.args)]
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Attribute):
                targets = getattr(node.targets[0], "elts", None)
                if node.value.attr == "saved_tensors" and targets is not None:
                    taken += [(scope, targets)]
    for scope, names in given:
        for other, targets in taken:
            for one, target in zip(names, targets, strict=False):
                if isinstance(one, ast.Name) and isinstance(target, ast.Name):
                    yield scope, one.id, other, target.id


LOOPS = ast.For | ast.While | ast.ListComp | ast.GeneratorExp | ast.SetComp | ast.DictComp


def _visit(
    node: ast.AST,
    parent: ast.AST | None,
    scope: ast.AST | None,
    file: SourceFile,
    in_loop: bool = False,
) -> None:
    inner = node if isinstance(node, ast.FunctionDef | ast.Lambda) else scope
    within = isinstance(node, LOOPS) or (in_loop and inner is scope)
    # indices are computed with Python's integers
    children = [node.value] if isinstance(node, ast.Subscript) else ast.iter_child_nodes(node)
    for child in children:
        _visit(child, node, inner, file, within)
    for kind, operands in _operations(node):
        place = Place(node, tuple(operands), parent, scope, in_loop)
        file.places.setdefault(node.lineno, []).append((kind, place))  # type: ignore[attr-defined]


def _operations(node: ast.AST) -> Iterator[tuple[str, Sequence[Any]]]:
    """Say which operations an expression stands for, and on what."""
    if is_constant(node):
        return
    if isinstance(node, ast.BinOp | ast.AugAssign):
        kind = OPERATORS.get(type(node.op), "")
        left, right = (
            (node.left, node.right) if isinstance(node, ast.BinOp) else (node.target, node.value)
        )
        if kind == "div" and is_constant(left):
            yield "reciprocal", (right,)
            yield "mul", (None, left)
        elif kind in ("add", "mul", "sub") and is_constant(left):
            yield kind, (right, left)
        elif kind:
            yield kind, (left, right)
    elif isinstance(node, ast.UnaryOp):
        if type(node.op) in OPERATORS and not isinstance(node.operand, ast.Constant):
            yield OPERATORS[type(node.op)], (node.operand,)
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        yield OPERATORS.get(type(node.ops[0]), ""), (node.left, node.comparators[0])
    elif isinstance(node, ast.Attribute) and ALIKE.get(node.attr) == "transpose":
        yield "transpose", (node.value,)
    elif isinstance(node, ast.Call):
        function = node.func
        name = getattr(function, "attr", getattr(function, "id", ""))
        owner = getattr(function, "value", None)
        is_method = owner is not None and getattr(owner, "id", getattr(owner, "attr", "")) not in (
            MODULES
        )
        kind = SYNONYMS.get(name.rstrip("_"), name.rstrip("_"))
        yield ALIKE.get(kind, kind), [*([owner] if is_method else []), *node.args]


def is_constant(node: ast.AST) -> bool:
    """Tell whether an expression is made of numbers alone."""
    if isinstance(node, ast.UnaryOp):
        return is_constant(node.operand)
    if isinstance(node, ast.BinOp):
        return is_constant(node.left) and is_constant(node.right)
    return isinstance(node, ast.Constant)
