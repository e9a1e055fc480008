"""Every single-fault mutant of a hand-written backward pass, generated from its syntax tree.

A mutant differs from the pass in the right-hand side of one assignment. Kinds of fault:

- `name`: a quantity read is replaced by another one that could be read there;
- `index`: the same, where the other is the neighbour in number, such as f1 for f2;
- `dropped`, `doubled`: a factor of a product is left out, or stands there twice;
- `sign`: of a term, an operand or the whole right-hand side;
- `function`: sin for cos, cos for sin;
- `float32`: something read or computed is rounded to float32 on the way;
- `constant`, `adjoint`: a number, or the whole right-hand side, is scaled by 1 + 2⁻ᵏ.

References
----------
R. A. DeMillo, R. J. Lipton, F. G. Sayward, *Hints on test data selection: help for the practicing
programmer*, Computer 11 (1978).
"""

from __future__ import annotations

import ast
import inspect
import linecache
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import flint
import numpy as np

from gradcheck.model.model import Model, run_passes
from gradcheck.numbers.arb import Real
from gradcheck.numbers.array import Batched
from gradcheck.numbers.ball import Ball

KINDS = (
    "name", "index", "dropped", "doubled", "sign", "function", "float32", "constant", "adjoint",
)  # fmt: skip
EXPONENTS = tuple(range(4, 49, 4))
"""The k of a factor 1 + 2⁻ᵏ."""
EXCHANGED = {"sin": "cos", "cos": "sin"}

Fault = tuple[str, ast.expr, int | None]
"""Kind, what stands there instead, and the k of a scaling."""


@dataclass(frozen=True)
class Mutant:
    """A backward pass with one fault.

    Parameters
    ----------
    id
        Its number among the mutants of the pass.
    kind
        Of `KINDS`.
    exponent
        The k of a scaling by 1 + 2⁻ᵏ.
    line
        Of the fault, counted in the file of the original pass.
    quantity
        Whose adjoint is assigned wrongly.
    original, mutated
        The two right-hand sides.
    assigned
        The left-hand side, such as `d.h2`.
    function
        Name of the pass.
    source
        The whole file, with the fault.
    namespace
        What the pass finds in its module.
    """

    id: int
    kind: str
    exponent: int | None
    line: int
    quantity: str
    original: str
    mutated: str
    assigned: str
    function: str
    source: str
    namespace: Mapping[str, Any]

    @property
    def description(self) -> str:
        """The fault, as `d.h2 = v.omega2 * d.f2 → v.omega2 * d.f1`."""
        return f"{self.assigned} = {self.original} → {self.mutated}"

    @property
    def filename(self) -> str:
        """Under which name tracebacks and `linecache` know the source."""
        return f"<{self.namespace['__name__']} with fault {self.id}>"

    @cached_property
    def backward(self) -> Callable[[Any, Any, Any, Any], None]:
        """The faulty pass; its lines have the numbers of the original's."""
        lines = self.source.splitlines(keepends=True)
        linecache.cache[self.filename] = len(self.source), None, lines, self.filename
        definition = _definition(ast.parse(self.source), self.function)
        namespace = {**self.namespace, "float32": round_to_float32}
        code = compile(ast.Module([definition], []), self.filename, "exec")
        exec(code, namespace)  # noqa: S102 - the pass itself, but for one expression
        backward: Callable[[Any, Any, Any, Any], None] = namespace[self.function]
        return backward


def make_mutants(model: Model) -> list[Mutant]:
    """Generate the mutants of a model's backward pass, in the order of its lines.

    The pass is a run of assignments to the adjoints, `d.q = …` or `d.p, d.q = …, …`.
    """
    path = inspect.getsourcefile(model.backward)
    if path is None:
        raise ValueError(f"the backward pass of {model.name} has no source file")
    source = Path(path).read_text(encoding="utf-8")
    definition = _definition(ast.parse(source), model.backward.__name__)
    xp, v, t, d = (argument.arg for argument in definition.args.args)
    _, trace, _ = run_passes(model, np, model.example)
    readable = [*(f"{v}.{name}" for name in model.leaves), *(f"{t}.{name}" for name in trace)]
    mutants: list[Mutant] = []
    for statement in definition.body:
        if not isinstance(statement, ast.Assign):
            continue
        pairs = list(_assignments(statement))
        for target, value in pairs:
            original = ast.unparse(value)
            seen = {original}
            for kind, mutated, exponent in _faults(value, xp, readable):
                text = ast.unparse(mutated)
                if text in seen:
                    continue
                seen.add(text)
                mutants.append(
                    Mutant(
                        len(mutants), kind, exponent, value.lineno, target.attr, original, text,
                        ast.unparse(target), definition.name, _splice(source, value, text),
                        model.backward.__globals__,
                    )
                )  # fmt: skip
        readable += [f"{d}.{target.attr}" for target, _ in pairs]
    return mutants


def round_to_float32(value: Any) -> Any:
    """Round any kind of number to float32 and back; a ball's or an Arb number's midpoint."""
    if isinstance(value, Ball):
        return value.with_parts([round_to_float32(value.mid), *value.parts[1:]])
    if isinstance(value, Batched):
        return value.with_parts([round_to_float32(part) for part in value.parts])
    if isinstance(value, Real):
        return Real(round_to_float32(value.constant))
    if isinstance(value, flint.arb):
        return flint.arb(float(np.float32(float(value.mid()))), value.rad())
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        return np.asarray(np.frompyfunc(round_to_float32, 1, 1)(value), dtype=object)
    if hasattr(value, "to"):  # a torch tensor has no astype
        return value.float().to(value.dtype)
    return value.astype(np.float32).astype(value.dtype)


def _definition(tree: ast.Module, name: str) -> ast.FunctionDef:
    return next(
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name
    )


def _assignments(statement: ast.Assign) -> Iterator[tuple[ast.Attribute, ast.expr]]:
    """Pair each adjoint with its right-hand side."""
    (target,) = statement.targets
    if isinstance(target, ast.Tuple) and isinstance(statement.value, ast.Tuple):
        pairs = list(zip(target.elts, statement.value.elts, strict=True))
    else:
        pairs = [(target, statement.value)]
    for left, right in pairs:
        if isinstance(left, ast.Attribute):
            yield left, right


def _faults(value: ast.expr, xp: str, readable: list[str]) -> Iterator[Fault]:
    """Yield right-hand sides with one fault."""
    for node in ast.walk(value):
        if isinstance(node, ast.expr):
            for kind, replacement, exponent in _local_faults(node, xp, readable):
                yield kind, _substitute(value, node, replacement), exponent
    if not ast.unparse(value).startswith("-"):
        yield "sign", ast.UnaryOp(ast.USub(), value), None
    for exponent in EXPONENTS:
        yield "adjoint", _scaled(value, exponent), exponent


def _local_faults(node: ast.expr, xp: str, readable: list[str]) -> Iterator[Fault]:
    """Yield what may stand in the place of one expression."""
    if (name := ast.unparse(node)) in readable:
        for other in readable:
            yield "index" if _neighbours(name, other) else "name", _expression(other), None
    match node:
        case ast.Attribute(value=ast.Name(id=module), attr=function) if module == xp:
            if function in EXCHANGED:
                yield "function", ast.Attribute(node.value, EXCHANGED[function], node.ctx), None
        case ast.Constant():
            for exponent in EXPONENTS:
                yield "constant", _scaled(node, exponent), exponent
        case ast.BinOp(left, ast.Mult(), right):
            yield "dropped", right, None
            yield "dropped", left, None
            yield "doubled", ast.BinOp(ast.BinOp(left, ast.Mult(), left), ast.Mult(), right), None
            yield "doubled", ast.BinOp(node, ast.Mult(), right), None
        case ast.BinOp(left, ast.Add() | ast.Sub() as sign, right):
            other_sign = ast.Sub() if isinstance(sign, ast.Add) else ast.Add()
            yield "sign", ast.BinOp(left, other_sign, right), None
            yield "sign", ast.BinOp(ast.UnaryOp(ast.USub(), left), sign, right), None
        case ast.UnaryOp(ast.USub(), operand):
            yield "sign", operand, None
    if name in readable or isinstance(node, ast.BinOp | ast.Call):
        yield "float32", ast.Call(ast.Name("float32"), [node], []), None


def _scaled(node: ast.expr, exponent: int) -> ast.expr:
    return ast.BinOp(node, ast.Mult(), _expression(f"1 + 2 ** -{exponent}"))


def _neighbours(name: str, other: str) -> bool:
    """Tell whether two names differ by one in their number and in nothing else."""
    (stem, number), (other_stem, other_number) = (
        re.fullmatch(r"(.*?)(\d*)", text).groups()  # type: ignore[union-attr]  # always matches
        for text in (name, other)
    )
    if not (number and other_number):
        return False
    return stem == other_stem and abs(int(number) - int(other_number)) == 1


def _expression(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _substitute(tree: Any, node: ast.expr, replacement: ast.expr) -> Any:
    """Return the tree with one node replaced; the tree itself stays as it is."""
    if tree is node:
        return replacement
    if isinstance(tree, list):
        return [_substitute(item, node, replacement) for item in tree]
    if not isinstance(tree, ast.AST):
        return tree
    return type(tree)(
        **{name: _substitute(child, node, replacement) for name, child in ast.iter_fields(tree)}
    )


def _splice(source: str, node: ast.expr, text: str) -> str:
    """Write `text` where `node` stands in the source, on as many lines."""
    lines = source.split("\n")
    first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
    head = lines[first].encode()[: node.col_offset].decode()  # columns count bytes
    tail = lines[last].encode()[node.end_col_offset :].decode()
    lines[first : last + 1] = [head + text + "\n" * (last - first) + tail]
    return "\n".join(lines)
