"""What a statement reads and binds, and whether it computes anything, by its syntax."""

from __future__ import annotations

import ast
from collections.abc import Iterator

GROWING = frozenset({"append", "appendleft", "extend", "insert", "setdefault", "update"})
"""Methods by which containers take something in."""


def _path(node: ast.AST) -> str:
    """Name a variable, or something in it; as far as that can be said without running."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = _path(node.value)
        return f"{inner}.{node.attr}" if inner else ""
    if isinstance(node, ast.Subscript):
        inner = _path(node.value)
        if isinstance(node.slice, ast.Constant) and inner:
            return f"{inner}[{node.slice.value!r}]"
        return inner
    return ""


def loads(node: ast.AST) -> Iterator[str]:
    """Name what a statement reads; of one with a body, its head."""
    if isinstance(node, ast.For):
        yield from loads(node.iter)
        return
    if isinstance(node, ast.If | ast.While):
        yield from loads(node.test)
        return
    if isinstance(node, ast.stmt) and hasattr(node, "body"):
        return
    if isinstance(node, ast.AugAssign):
        yield _path(node.target)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        yield from loads(node.func.value)
        for inner in [*node.args, *(keyword.value for keyword in node.keywords)]:
            yield from loads(inner)
        return
    if isinstance(node, ast.Name | ast.Attribute | ast.Subscript):
        path = _path(node)
        if path:
            if isinstance(node.ctx, ast.Load):
                yield path
            while not isinstance(node, ast.Name):  # an index may be a variable
                if isinstance(node, ast.Subscript):
                    yield from loads(node.slice)
                node = node.value  # type: ignore[attr-defined]
            return
    for child in ast.iter_child_nodes(node):
        yield from loads(child)


def stores(node: ast.stmt) -> Iterator[tuple[str, bool]]:
    """Name what a statement binds, and whether it is all of that."""
    if isinstance(node, ast.Expr) and _grows(node.value):
        yield _path(node.value.func.value), False  # type: ignore[attr-defined]
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = list(node.targets)
    elif isinstance(node, ast.For | ast.AnnAssign | ast.AugAssign):
        targets = [node.target]
    while targets:
        target = targets.pop()
        if isinstance(target, ast.Tuple | ast.List):
            targets += target.elts
        elif isinstance(target, ast.Starred):
            targets.append(target.value)
        elif path := _path(target):
            yield path, not isinstance(target, ast.Subscript) or path.endswith("]")


def moves(node: ast.stmt) -> bool:
    """Tell whether what a statement binds, or returns, is something that it reads."""
    if isinstance(node, ast.For):
        return True
    if isinstance(node, ast.Expr):
        return _grows(node.value)
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.Return):
        return node.value is not None and _is_plain(node.value)
    return False


def _grows(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in GROWING
        and bool(_path(node.func.value))
    )


def _is_plain(node: ast.expr) -> bool:
    """Tell whether an expression computes nothing."""
    if isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
        return _is_plain(node.value)
    if isinstance(node, ast.Tuple | ast.List):
        return any(_is_plain(item) for item in node.elts)
    if isinstance(node, ast.Dict):
        return any(_is_plain(item) for item in node.values)
    return isinstance(node, ast.Name)
