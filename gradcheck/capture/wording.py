"""A change of an operation as a change of the line of code that asked for it."""

from __future__ import annotations

import ast
import linecache
import re
from typing import Any

from gradcheck.capture.alignment import Code
from gradcheck.capture.edits import Edit
from gradcheck.capture.program import Line, Ref
from gradcheck.capture.sources import OPERATORS
from gradcheck.capture.terms import Again, Original, bracketed, code_of, kind_of
from gradcheck.errors import file_name


class Wording(Code):
    """Tells changes of a program's operations in the words of its code."""

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
        return f"{file_name(line.file)}, line {line.number}"

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


def _same(old: Any, new: Any) -> bool:
    return type(old) is type(new) and bool(old == new)


def _columns(node: Any, text: str) -> tuple[int, int]:
    """Return where an expression begins and ends in a line, in characters."""
    raw = text.encode()
    return len(raw[: node.col_offset].decode()), len(raw[: node.end_col_offset].decode())
