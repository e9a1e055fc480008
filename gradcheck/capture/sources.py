"""A change of an operation as a change of the line of code that asked for it."""

from __future__ import annotations

import ast
import linecache
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from gradcheck.capture.candidates import Candidates
from gradcheck.capture.edits import (
    SYNONYMS,
    Again,
    Edit,
    Original,
    bracketed,
    code_of,
    kind_of,
)
from gradcheck.capture.program import Line, Ref
from gradcheck.capture.trials import Trials

WORDS: Mapping[bool, Mapping[str, str]] = {
    True: {"xp": "torch", "nn": "torch", "keepdim": "keepdim", "unsqueeze": "unsqueeze"},
    False: {"xp": "jnp", "nn": "jax.nn", "keepdim": "keepdims", "unsqueeze": "expand_dims"},
}
"""What PyTorch calls things, and what JAX does."""
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
    """

    node: Any
    operands: tuple[Any, ...]
    parent: Any
    scope: Any


@dataclass
class _File:
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
def _parsed(name: str) -> _File:
    lines = linecache.getlines(name)
    file = _File()
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


def _visit(node: ast.AST, parent: ast.AST | None, scope: ast.AST | None, file: _File) -> None:
    inner = node if isinstance(node, ast.FunctionDef | ast.Lambda) else scope
    for child in ast.iter_child_nodes(node):
        _visit(child, node, inner, file)
    for kind, operands in _operations(node):
        place = Place(node, tuple(operands), parent, scope)
        file.places.setdefault(node.lineno, []).append((kind, place))  # type: ignore[attr-defined]


def _operations(node: ast.AST) -> Iterator[tuple[str, Sequence[Any]]]:
    """Say which operations an expression stands for, and on what."""
    if _is_constant(node):
        return
    if isinstance(node, ast.BinOp | ast.AugAssign):
        kind = OPERATORS.get(type(node.op), "")
        left, right = (
            (node.left, node.right) if isinstance(node, ast.BinOp) else (node.target, node.value)
        )
        if kind == "div" and _is_constant(left):
            yield "reciprocal", (right,)
            yield "mul", (None, left)
        elif kind in ("add", "mul", "sub") and _is_constant(left):
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


def _is_constant(node: ast.AST) -> bool:
    """Tell whether an expression is made of numbers alone."""
    if isinstance(node, ast.UnaryOp):
        return _is_constant(node.operand)
    if isinstance(node, ast.BinOp):
        return _is_constant(node.left) and _is_constant(node.right)
    return isinstance(node, ast.Constant)


class Wording:
    """Tells changes of a program's operations in the words of its code."""

    def __init__(self, trials: Trials, candidates: Candidates) -> None:
        self.trials, self.values = trials, candidates.values
        self.steps, self._numbers = trials.steps, candidates.numbers
        torch = any(step.operation.startswith("aten.") for step in self.steps)
        self.words = WORDS[torch]
        self._places = self._matched()
        self._computed = {id(place.node) for place in self._places.values()}
        self._names = self._named()

    def _matched(self) -> dict[int, Place]:
        """Find the code of operations: the n-th of a kind on a line is the n-th in the code."""
        asked: dict[tuple[bool, Line, str], list[int]] = {}
        for i, step in enumerate(self.steps):
            if step.line is not None:
                kind = kind_of(step.operation)
                key = i < len(self.trials.program.forward), step.line, ALIKE.get(kind, kind)
                asked.setdefault(key, []).append(i)
        found: dict[int, Place] = {}
        for certain in (True, False):
            for (_, line, kind), steps in asked.items():
                places = [
                    place
                    for other, place in _parsed(line.file).places.get(line.number, ())
                    if other == kind and (certain or self._has_array(place.node))
                ]
                if steps[0] not in found and places and len(steps) % len(places) == 0:
                    found |= {at: places[j % len(places)] for j, at in enumerate(steps)}
            self._places = found
            self._arrays = set(self._array_names())
        return found

    def _has_array(self, node: Any) -> bool:
        """Tell whether an expression has an array in it, and is not made of numbers alone."""
        names = {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
        return bool(names & self._arrays)

    def _array_names(self) -> Iterator[str]:
        """Find names that certainly stand for arrays."""
        for at, place in self._places.items():
            arguments = self.steps[at].arguments
            if all(isinstance(one, Ref) for one in arguments):
                yield from (node.id for node in place.operands if isinstance(node, ast.Name))
            if isinstance(place.parent, ast.Assign):
                yield from (one.id for one in place.parent.targets if isinstance(one, ast.Name))
        for file in {step.line.file for step in self.steps if step.line is not None}:
            yield from (target for *_, target in _parsed(file).saved)

    def foreign(self) -> set[int]:
        """Find operations of the backward pass that the framework asked for, not its code.

        Their lines are where the backward pass was called: no expression on them fits, and no
        other operation of the pass is in the same function.
        """
        split = len(self.trials.program.forward)
        own = {
            (self.steps[at].line.file, id(place.scope))  # type: ignore[union-attr]
            for at, place in self._places.items()
            if at >= split
        }
        found = set()
        for at in range(split, len(self.steps)) if own else ():
            line = self.steps[at].line
            if line is not None and at not in self._places:
                scope = _parsed(line.file).scope(line.number)
                if (line.file, id(scope)) not in own:
                    found.add(at)
        return found

    def groups(self) -> list[list[int]]:
        """Return the operations that the same code asked for, time after time."""
        found: dict[tuple[int, str], list[int]] = {}
        for at, place in sorted(self._places.items()):
            kind = kind_of(self.steps[at].operation)
            if at >= len(self.trials.program.forward):
                found.setdefault((id(place.node), kind), []).append(at)
        return [group for group in found.values() if len(group) > 1]

    def returning(self) -> Line | None:
        """Return the line on which the backward pass returns its gradients."""
        split = len(self.trials.program.forward)
        for at in sorted(self._places, reverse=True):
            line, scope = self.steps[at].line, self._places[at].scope
            if at >= split and line is not None and scope is not None:
                lines = [one.lineno for one in ast.walk(scope) if isinstance(one, ast.Return)]
                return Line(line.file, lines[-1]) if lines else None
        return None

    def _named(self) -> dict[tuple[Any, ...], list[tuple[Any, str]]]:
        """Find what values are called, where it is certain: the same name for no other value."""
        seen: dict[tuple[Any, str], set[tuple[Any, ...]]] = {}
        for i, place in self._places.items():
            for value, node in self._operands(i):
                if isinstance(node, ast.Name):
                    seen.setdefault((place.scope, node.id), set()).add(self._key(value))
            parent, result = place.parent, self.steps[i].results[0]
            if isinstance(parent, ast.Assign) and parent.value is place.node:
                for target in parent.targets:
                    if isinstance(target, ast.Name) and result is not None:
                        seen.setdefault((place.scope, target.id), set()).add(self._key(result))
        self._add_saved(seen)
        found: dict[tuple[Any, ...], list[tuple[Any, str]]] = {}
        for (scope, name), keys in seen.items():
            if len(keys) == 1:
                found.setdefault(next(iter(keys)), []).append((scope, name))
        return found

    def _add_saved(self, seen: dict[tuple[Any, str], set[tuple[Any, ...]]]) -> None:
        """Find what values are called that are saved under one name and had by another."""
        leaves = self.trials.program.leaves
        for file in {step.line.file for step in self.steps if step.line is not None}:
            for scope, name, other, target in _parsed(file).saved:
                keys = set(seen.get((scope, name), ()))
                arguments = {one.arg for one in ast.walk(scope) if isinstance(one, ast.arg)}
                if name in leaves and name in arguments:
                    keys.add(self._key(leaves[name]))
                if len(keys) == 1:
                    seen.setdefault((other, target), set()).update(keys)

    def _operands(self, at: int) -> Iterator[tuple[int, Any]]:
        """Yield the values that an operation takes, and their code."""
        for argument, node in zip(self.steps[at].arguments, self._nodes(at), strict=False):
            if isinstance(argument, Ref) and node is not None:
                yield argument.value, node

    def _nodes(self, at: int) -> tuple[Any, ...]:
        """Return the code of an operation's arguments."""
        nodes = self._places[at].operands if at in self._places else ()
        kind = kind_of(self.steps[at].operation)
        if kind == "addmm":
            return (None, *nodes)
        if kind == "rsub" and not (len(nodes) == 2 and _is_constant(nodes[1])):
            return nodes[::-1]
        if kind in ("add", "mul") and len(nodes) == 2 and self._is_turned(at, nodes):
            return nodes[::-1]
        if kind == "sub" and len(nodes) == 2 and _is_constant(nodes[1]):
            # a constant on the left is written first but asked for as `rsub`
            place = self._places[at].node
            if isinstance(place, ast.BinOp) and place.left is nodes[1]:
                return nodes[::-1]
        return nodes

    def _is_turned(self, at: int, nodes: tuple[Any, ...]) -> bool:
        """Tell whether a number stands on the left: the framework gives it on the right."""
        first, second = self.steps[at].arguments[:2]
        if not isinstance(first, Ref) or isinstance(second, Ref):
            return False
        return self._is_array(nodes[1]) and not self._is_array(nodes[0])

    def _is_array(self, node: Any) -> bool:
        """Tell whether code is known to yield an array."""
        if id(node) in self._computed:
            return True
        return isinstance(node, ast.Name) and node.id in self._arrays

    def _key(self, number: int) -> tuple[Any, ...]:
        array = np.asarray(self.values[number])
        return array.shape, array.dtype.kind, array.tobytes()

    def is_code(self, edit: Edit) -> bool:
        """Tell whether a change can be written as code, of known names and simple numbers."""
        told = self.mend(edit)
        known = {repr(number) for number in self._numbers}
        odd = [one for one in re.findall(r"\d+\.\d{8,}", told) if one not in known]
        return not odd and not any(word in told for word in ("[the ", "[it]", "[a constant]"))

    def place(self, line: Line | None) -> str:
        """Name a line."""
        if line is None:
            return "the gradients that are returned"
        return f"{Path(line.file).name}, line {line.number}"

    def source(self, line: Line | None) -> str:
        """Return the code of a line."""
        return "" if line is None else linecache.getline(line.file, line.number).strip()

    def mend(self, edit: Edit) -> str:
        """Tell what is right instead."""
        step, source = self.steps[edit.at], self.source(self.steps[edit.at].line)
        if edit.users:
            return self._rerouted(edit)
        if edit.gradient is not None:
            code = code_of(edit.term, lambda one: self._leaf(one, edit), self.words)
            line = self.line(edit)
            what = f"`{self.source(line)}` is right if the gradient of {edit.gradient}"
            return f"{self.place(line)}: {what} is `{code}`"
        mended = self._mended(edit)
        where = self.place(step.line)
        if mended is not None and mended != source:
            return f"{where}: `{source}` is right as `{mended}`"
        code = code_of(edit.term, lambda one: self._leaf(one, edit, False), self.words)
        what = kind_of(step.operation)
        return f"{where}: in `{source}`, what comes of {what} is right as `{code}`"

    def line(self, edit: Edit) -> Line | None:
        """Return the line that is to be changed."""
        step = self.steps[edit.at]
        if edit.gradient is not None:
            return self.returning() or step.line
        assignment = self._assignment(edit)
        if assignment is None or step.line is None:
            return step.line
        return Line(step.line.file, assignment.lineno)

    def _assignment(self, edit: Edit) -> ast.Assign | None:
        """Find where a value got the name by which it is taken, and nothing was computed."""
        place = self._places.get(edit.at)
        if not edit.users or place is None or place.scope is None:
            return None
        for node in self._meant(edit):
            if not isinstance(node, ast.Name):
                continue
            for one in ast.walk(place.scope):
                if isinstance(one, ast.Assign) and (
                    edit.old is not None or isinstance(one.value, ast.Name | ast.Attribute)
                ):
                    target = one.targets[0]
                    if isinstance(target, ast.Name) and target.id == node.id:
                        return one
        return None

    def _meant(self, edit: Edit) -> list[Any]:
        """Return the code of the value, or the number, that is changed for several operations."""
        if edit.old is None:
            return [node for value, node in self._operands(edit.at) if value == edit.result]
        arguments = self.steps[edit.at].arguments
        return [
            node
            for argument, node in zip(arguments, self._nodes(edit.at), strict=False)
            if isinstance(argument, int | float) and argument == edit.old and node is not None
        ]

    def _rerouted(self, edit: Edit) -> str:
        """Tell what is right instead of a value that several operations take."""
        assignment, line = self._assignment(edit), self.line(edit)
        if assignment is not None:
            name = ast.unparse(assignment.value)
            code = self._reading(edit, name)
            target = ast.unparse(assignment.targets[0])
            return f"{self.place(line)}: `{self.source(line)}` is right as `{target} = {code}`"
        lines = sorted({one.number for i in edit.users if (one := self.steps[i].line) is not None})
        name = next(map(ast.unparse, self._meant(edit)), "")
        name = name or (self._name(edit.result, edit.at) if edit.old is None else f"{edit.old!r}")
        where = f"line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines))}"
        code = self._reading(edit, name)
        return f"{self.place(line)}: what {where} take as `{name}` is right as `{code}`"

    def _reading(self, edit: Edit, name: str) -> str:
        return code_of(
            edit.term,
            lambda one: name if isinstance(one, Original) else self._leaf(one, edit),
            self.words,
        )

    def _mended(self, edit: Edit) -> str | None:
        """Write the changed line, if the operation is one expression on it."""
        place, line = self._places.get(edit.at), self.steps[edit.at].line
        if place is None or line is None or place.node.end_lineno != line.number:
            return None
        try:
            code = code_of(edit.term, lambda one: self._leaf(one, edit), self.words)
        except LookupError:
            return None
        text = linecache.getline(line.file, line.number)
        if isinstance(place.node, ast.AugAssign):
            target, form = ast.unparse(place.node.target), getattr(edit.term, "form", "")
            sign = {"add": "+", "sub": "-", "mul": "*", "div": "/"}.get(form, "")
            begun = f"{target} {sign} "
            code = (
                f"{target} {sign}= {code.removeprefix(begun)}"
                if sign and code.startswith(begun)
                else f"{target} = {code}"
            )
        elif isinstance(place.parent, ast.BinOp | ast.UnaryOp | ast.Attribute | ast.Compare):
            first = getattr(place.parent, "left", None) is place.node
            form = OPERATORS.get(type(getattr(place.parent, "op", None)), "pow")
            begin, end = _columns(place.node, text)
            if not (text[:begin].rstrip().endswith("(") and text[end:].lstrip().startswith(")")):
                code = bracketed(code, form, first)
        begin, end = _columns(place.node, text)
        if isinstance(place.parent, ast.stmt):  # it needs no brackets
            while text[:begin].endswith("(") and text[end:].startswith(")"):
                begin, end = begin - 1, end + 1
        return (text[:begin] + code + text[end:]).strip()

    def _leaf(self, term: Any, edit: Edit, in_code: bool = True) -> str:
        place = self._places.get(edit.at) if in_code else None
        if isinstance(term, Original):
            if edit.gradient is not None:
                number = self.trials.program.gradients[edit.gradient]
                return self._name(number or 0, edit.at, self._backward())
            if edit.users:
                return self._name(edit.result, edit.at)
            if place is None:
                return "[it]"
            if isinstance(place.node, ast.AugAssign):
                return ast.unparse(ast.BinOp(place.node.target, place.node.op, place.node.value))
            return self._segment(place.node, edit)
        if isinstance(term, Ref):
            if in_code:
                for value, node in self._operands(edit.at):
                    if value == term.value:
                        return self._segment(node, edit)
            scope = self._backward() if edit.gradient is not None else None
            return self._name(term.value, edit.at, scope)
        if isinstance(term, Again):
            return self._again(term, edit, in_code)
        if isinstance(term, tuple):
            return ", ".join(map(str, term)) if len(term) == 1 else str(term)
        return "" if term is None else f"{term!r}"

    def _segment(self, node: Any, edit: Edit) -> str:
        line = self.steps[edit.at].line
        if line is not None and node.lineno == node.end_lineno:
            text = linecache.getline(line.file, node.lineno)
            begin, end = _columns(node, text)
            return text[begin:end]
        return ast.unparse(node)

    def _again(self, term: Again, edit: Edit, in_code: bool) -> str:
        """Write an operation with the code of some arguments replaced."""
        step = self.steps[edit.at]
        place = self._places.get(edit.at) if in_code else None
        changed = [
            (i, new)
            for i, (old, new) in enumerate(zip(step.arguments, term.arguments, strict=True))
            if not _same(old, new)
        ]
        if place is None or isinstance(place.node, ast.AugAssign):
            inner = [self._code(one, edit, in_code) for one in term.arguments]
            return f"{kind_of(step.operation)}({', '.join(inner)})"
        nodes = self._nodes(edit.at)
        text = self._segment(place.node, edit)
        base = place.node.col_offset
        spans = []
        for i, new in changed:
            node = nodes[i] if i < len(nodes) else None
            if node is None:
                raise LookupError
            code = self._code(new, edit, in_code)
            if isinstance(place.node, ast.BinOp | ast.UnaryOp | ast.Compare):
                form = OPERATORS.get(type(getattr(place.node, "op", None)), "pow")
                begin, end = node.col_offset - base, node.end_col_offset - base
                enclosed = text[:begin].rstrip().endswith("(") and text[end:].lstrip()[:1] == ")"
                first = getattr(place.node, "left", None) is node
                code = code if enclosed else bracketed(code, form, first)
            elif isinstance(place.node, ast.Attribute) or getattr(place.node, "func", None) is node:
                code = bracketed(code, "pow", True)
            spans.append((node.col_offset - base, node.end_col_offset - base, code))
        for begin, end, code in sorted(spans, reverse=True):
            text = text[:begin] + code + text[end:]
        return text

    def _code(self, term: Any, edit: Edit, in_code: bool) -> str:
        return code_of(term, lambda one: self._leaf(one, edit, in_code), self.words)

    def _backward(self) -> Any:
        """Return the function that the last operations are in."""
        return next((self._places[at].scope for at in sorted(self._places, reverse=True)), None)

    def _name(self, number: int, at: int, within: Any = None) -> str:
        """Name a value as the function does in which an operation is; describe it otherwise."""
        place, line = self._places.get(at), self.steps[at].line
        for scope, name in self._names.get(self._key(number), ()):
            if within is not None and scope is within:
                return name
            here = within is None and place is not None and scope is place.scope
            if here and line is not None and _is_bound(scope, name, line.number):
                return name
        for name, leaf in self.trials.program.leaves.items():
            if self._key(leaf) == self._key(number):
                kind, _, which = name.partition(".")
                cotangent = kind == "cotangent" and which.isdigit()
                return f"[the cotangent of output {which}]" if cotangent else f"[the input {name}]"
        for step in self.steps:
            if number in step.results and step.line is not None:
                return f"[the result of line {step.line.number}]"
        return "[a constant]"


def _same(old: Any, new: Any) -> bool:
    return type(old) is type(new) and bool(old == new)


def _columns(node: Any, text: str) -> tuple[int, int]:
    """Return where an expression begins and ends in a line, in characters."""
    raw = text.encode()
    return len(raw[: node.col_offset].decode()), len(raw[: node.end_col_offset].decode())


def _is_bound(scope: Any, name: str, line: int) -> bool:
    """Tell whether a function knows a name before a line."""
    if scope is None:
        return False
    arguments = {one.arg for one in ast.walk(scope.args) if isinstance(one, ast.arg)}
    stored = [
        node.lineno
        for node in ast.walk(scope)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == name
    ]
    return name in arguments or (bool(stored) and min(stored) < line)
