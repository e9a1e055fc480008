"""Which expression of the source code asked for which operation of a program."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gradcheck.capture.candidates import Candidates
from gradcheck.capture.program import Line, Ref
from gradcheck.capture.sources import ALIKE, Place, is_constant, parsed
from gradcheck.capture.terms import kind_of
from gradcheck.capture.trials import Trials

WORDS: Mapping[bool, Mapping[str, str]] = {
    True: {"xp": "torch", "nn": "torch", "keepdim": "keepdim", "unsqueeze": "unsqueeze"},
    False: {"xp": "jnp", "nn": "jax.nn", "keepdim": "keepdims", "unsqueeze": "expand_dims"},
}
"""What PyTorch calls things, and what JAX does."""


class Code:
    """Which code asked for which operation, and what values are called in it."""

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
                    for other, place in parsed(line.file).places.get(line.number, ())
                    if other == kind and (certain or self._has_array(place.node))
                ]
                rounds, left = divmod(len(steps), len(places) or len(steps) + 1)
                once = rounds == 1 or all(place.in_loop for place in places)
                if steps[0] not in found and rounds and not left and once:
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
            yield from (target for *_, target in parsed(file).saved)

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
                scope = parsed(line.file).scope(line.number)
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
            for scope, name, other, target in parsed(file).saved:
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
        if kind == "rsub" and not (len(nodes) == 2 and is_constant(nodes[1])):
            return nodes[::-1]
        if kind in ("add", "mul") and len(nodes) == 2 and self._is_turned(at, nodes):
            return nodes[::-1]
        if kind == "sub" and len(nodes) == 2 and is_constant(nodes[1]):
            # a constant on the left is written first but asked for as `rsub`
            place = self._places[at].node
            if isinstance(place, ast.BinOp) and place.left is nodes[1]:
                return nodes[::-1]
        return nodes

    def _is_turned(self, at: int, nodes: tuple[Any, ...]) -> bool:
        """Tell whether a number stands on the other side than where the framework gives it."""
        first, second = self.steps[at].arguments[:2]
        if not isinstance(first, Ref) and isinstance(second, Ref):
            return is_constant(nodes[1]) and not is_constant(nodes[0])
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

    def source(self, line: Line | None) -> str:
        """Return the code of a line."""
        return "" if line is None else linecache.getline(line.file, line.number).strip()

    def _backward(self) -> Any:
        """Return the function that the last operations are in."""
        return next((self._places[at].scope for at in sorted(self._places, reverse=True)), None)

    def _name(self, number: int, at: int, within: Any = None) -> str:
        """Name a value as the function does in which an operation is; describe it otherwise."""
        line = self.steps[at].line
        own = None if line is None else parsed(line.file).scope(line.number)
        for scope, name in self._names.get(self._key(number), ()):
            if within is not None and scope is within:
                return name
            here = within is None and own is not None and scope is own
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
