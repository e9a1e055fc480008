"""Single faults of backward passes: every one that a list of slips allows, in one expression.

Kinds of fault:

- `sign`: of a term, an operand or a whole right-hand side;
- `operator`: another one between the same operands;
- `dropped`, `added`: a factor or term left out, or there twice; a factor 2 or ½ too many;
- `scaled`: a factor 1 ± 2⁻ᵏ too many;
- `name`: one tensor read for another that could be read there;
- `function`: a related one, such as sin for cos;
- `transpose`: left out, or too many;
- `axis`: of a reduction: another one, all, or the reduction left out;
- `comparison`: turned round;
- `constant`: a number changed.
"""

from __future__ import annotations

import ast
import copy
import inspect
import linecache
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from studies.functions.subjects import SUBJECTS

KINDS = (
    "sign", "operator", "dropped", "added", "scaled", "name", "function", "transpose", "axis",
    "comparison", "constant",
)  # fmt: skip
EXPONENTS = range(1, 31)
"""The k of a factor 1 ± 2⁻ᵏ."""
OPERATORS: dict[type[ast.operator], tuple[type[ast.operator], ...]] = {
    ast.Add: (ast.Sub, ast.Mult),
    ast.Sub: (ast.Add, ast.Mult),
    ast.Mult: (ast.Div, ast.Add),
    ast.Div: (ast.Mult,),
    ast.MatMult: (ast.Mult,),
}
COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.Gt, ast.GtE),
    ast.LtE: (ast.GtE, ast.Gt),
    ast.Gt: (ast.Lt, ast.LtE),
    ast.GtE: (ast.LtE, ast.Lt),
}
RELATED = {
    "sin": "cos", "cos": "sin", "tanh": "sigmoid", "sigmoid": "tanh", "exp": "expm1",
    "sqrt": "square", "tril": "triu", "triu": "tril", "abs": "neg", "sign": "abs",
    "sum": "mean", "mean": "sum", "zeros_like": "ones_like",
}  # fmt: skip
REDUCTIONS = ("sum", "mean")

JAX = ("jax", "jnp", "lax")
"""Under which names JAX's modules are imported."""

FACTOR = "FACTOR"
"""Stands for 1 ± 2⁻ᵏ until the sign and the k are chosen."""

Fault = tuple[str, ast.AST]
"""Kind, and what stands there instead."""


@dataclass(frozen=True)
class Mutant:
    """A backward pass with one fault.

    Parameters
    ----------
    subject
        A key of `SUBJECTS`.
    id
        Its number among the mutants of the subject.
    kind
        Of `KINDS`.
    exponent
        The k of a scaling by 1 ± 2⁻ᵏ.
    line
        Of the fault, counted in the file of the passes.
    original, mutated
        What stands in that line, and what should not.
    """

    subject: str
    id: int
    kind: str
    exponent: int | None
    line: int
    original: str
    mutated: str

    @property
    def file(self) -> str:
        """Under which name tracebacks and `linecache` know the source."""
        return f"<{self.subject} with fault {self.id}>"

    @cached_property
    def function(self) -> Any:
        """The `torch.autograd.Function` with the fault; its lines keep their numbers."""
        honest = SUBJECTS[self.subject].function
        lines = _lines(honest)
        written = lines[self.line - 1]
        lines[self.line - 1] = written.replace(written.strip(), self.mutated)
        linecache.cache[self.file] = sum(map(len, lines)), None, lines, self.file
        definition = _class(honest, "".join(lines))
        module = types.ModuleType(self.file)
        vars(module).update(vars(sys.modules[honest.__module__]))
        vars(module).update(__name__=self.file, __file__=self.file)
        sys.modules[self.file] = module  # where `inspect` looks for the source of the class
        code = compile(ast.Module([definition], []), self.file, "exec")
        exec(code, vars(module))  # noqa: S102 - the pass itself, but for one expression
        return getattr(module, honest.__name__)


@cache
def make_mutants(subject: str) -> tuple[Mutant, ...]:
    """List the mutants of a subject's backward pass, in the order of its lines."""
    honest = SUBJECTS[subject].function
    lines = _lines(honest)
    definition = _class(honest, "".join(lines))
    (backward,) = (node for node in definition.body if _name(node) == "backward")
    assert isinstance(backward, ast.FunctionDef)  # noqa: S101 - for the types
    readable = [argument.arg for argument in backward.args.args[1:]]
    mutants: list[Mutant] = []
    for statement in _simple_statements(backward.body[1:]):
        if (packed := _unpacked(statement)) is not None:
            readable = [name for name in readable if name != packed] + list(_assigned(statement))
            continue
        original = lines[statement.lineno - 1].strip()
        seen = {ast.unparse(statement)}
        for kind, node, replacement in _faults(statement, readable):
            mutated = ast.unparse(copy.deepcopy(statement, {id(node): replacement}))
            for exponent, text in _spelled(mutated):
                if text not in seen:
                    seen.add(text)
                    number, line = len(mutants), statement.lineno
                    mutants.append(Mutant(subject, number, kind, exponent, line, original, text))
        readable += [name for name in _assigned(statement) if name not in readable]
    return tuple(mutants)


def _spelled(text: str) -> Iterator[tuple[int | None, str]]:
    """Yield a line with every factor that may stand in it, and the k."""
    if FACTOR not in text:
        yield None, text
        return
    for k in EXPONENTS:
        for sign in "+-":
            yield k, text.replace(FACTOR, f"(1 {sign} 2**-{k})")


def _lines(function: Any) -> list[str]:
    path = inspect.getsourcefile(function)
    return linecache.getlines(str(path)).copy()


def _class(function: Any, source: str) -> ast.ClassDef:
    (found,) = (node for node in ast.parse(source).body if _name(node) == function.__name__)
    assert isinstance(found, ast.ClassDef)  # noqa: S101 - for the types
    return found


def _name(node: ast.AST) -> str:
    return getattr(node, "name", "")


def _simple_statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        inner = getattr(statement, "body", None)
        if inner is None:
            yield statement
        else:
            yield from _simple_statements(inner)


def _unpacked(statement: ast.stmt) -> str | None:
    """Return the name of a tuple that is taken apart."""
    match statement:
        case ast.Assign([ast.Tuple()], ast.Name(name)):
            return name
    return None


def _assigned(statement: ast.stmt) -> Iterator[str]:
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def _faults(statement: ast.stmt, readable: Sequence[str]) -> Iterator[tuple[str, ast.AST, ast.AST]]:
    """Yield what may be wrong: a kind, a node, and what stands there instead."""
    if isinstance(statement, ast.AugAssign):
        for other in OPERATORS.get(type(statement.op), ()):
            wrong = ast.AugAssign(statement.target, other(), statement.value)
            yield "operator", statement, wrong
    for node in _arithmetic(statement):
        for find in FINDERS:
            for kind, replacement in find(node, readable):
                yield kind, node, replacement


def _arithmetic(node: ast.AST) -> Iterator[ast.expr]:
    """Yield the expressions that numbers are computed with: no index, no target, no axis."""
    if isinstance(node, ast.expr) and not isinstance(node, ast.Tuple | ast.List):
        yield node
    match node:
        case ast.Assign(value=value) | ast.AugAssign(value=value) | ast.Return(value=value):
            inside: list[Any] = [value]
        case ast.Subscript(value=value):
            inside = [value]
        case ast.Call(ast.Attribute(ast.Subscript(ast.Attribute(value, "at"))), args):
            inside = [value, *args]  # JAX's way to write into an array
        case ast.Call(func=ast.Attribute(value=value), args=args) if _is_tensor(value):
            inside = [value, *(arg for arg in args if not _is_axis(arg))]
        case ast.Call(args=args):
            inside = [arg for arg in args if not _is_axis(arg)]
        case ast.Attribute():
            inside = []  # a shape, or a constant of a module
        case ast.BinOp(left, ast.Pow(), _):
            inside = [left]
        case _:
            inside = list(ast.iter_child_nodes(node))
    for each in inside:
        yield from _arithmetic(each)


def _is_tensor(node: ast.expr) -> bool:
    return not (
        isinstance(node, ast.Name) and node.id in ("torch", "functional", "math", "ctx", *JAX)
    )


def _is_axis(node: ast.expr) -> bool:
    """Tell whether an argument is a whole number, or several."""
    if isinstance(node, ast.Tuple | ast.UnaryOp):
        return all(map(_is_axis, getattr(node, "elts", None) or [getattr(node, "operand", node)]))
    return isinstance(node, ast.Constant)


def _signs(node: ast.expr, readable: Sequence[str]) -> Iterator[Fault]:
    match node:
        case ast.UnaryOp(ast.USub(), operand):
            yield "sign", operand
        case ast.BinOp(left, ast.Add() | ast.Sub() as sign, right):
            other = ast.Sub() if isinstance(sign, ast.Add) else ast.Add()
            yield "sign", ast.BinOp(left, other, right)
            yield "sign", ast.BinOp(ast.UnaryOp(ast.USub(), left), sign, right)
        case ast.Name() | ast.BinOp() | ast.Call():
            yield "sign", ast.UnaryOp(ast.USub(), node)


def _operators(node: ast.expr, readable: Sequence[str]) -> Iterator[Fault]:
    if isinstance(node, ast.BinOp):
        for other in OPERATORS.get(type(node.op), ()):
            yield "operator", ast.BinOp(node.left, other(), node.right)


def _factors(node: ast.expr, readable: Sequence[str]) -> Iterator[Fault]:
    match node:
        case ast.BinOp(left, ast.Mult() | ast.MatMult() | ast.Add() | ast.Sub() as op, right):
            yield "dropped", left
            yield (
                "dropped",
                ast.UnaryOp(ast.USub(), right) if isinstance(op, ast.Sub) else right,
            )
            if isinstance(op, ast.Mult):
                yield "added", ast.BinOp(ast.BinOp(left, op, left), op, right)
                yield "added", ast.BinOp(node, op, right)
        case ast.BinOp(left, ast.Div(), right):
            yield "dropped", left
            yield "added", ast.BinOp(node, ast.Div(), right)
    if isinstance(node, ast.Name | ast.BinOp | ast.Call | ast.Subscript):
        yield "added", _times("2", node)
        yield "added", _times("0.5", node)


def _scalings(node: ast.expr, readable: Sequence[str]) -> Iterator[Fault]:
    if isinstance(node, ast.Name | ast.BinOp | ast.Call | ast.Subscript):
        yield "scaled", _times(FACTOR, node)


def _names(node: ast.expr, readable: Sequence[str]) -> Iterator[Fault]:
    if isinstance(node, ast.Name) and node.id in readable:
        for other in readable:
            yield "name", ast.Name(other, ast.Load())


def _functions(node: ast.expr, readable: Sequence[str]) -> Iterator[Fault]:
    match node:
        case ast.Call(ast.Attribute(value, attr), args, keywords) if attr in RELATED:
            function = ast.Attribute(value, RELATED[attr], ast.Load())
            yield "function", ast.Call(function, args, keywords)


def _transposes(node: ast.expr, readable: Sequence[str]) -> Iterator[Fault]:
    match node:
        case ast.Call(ast.Attribute(value, "t"), []) | ast.Attribute(value, "mT" | "T"):
            yield "transpose", value
        case ast.Name() if node.id in readable:
            yield "transpose", ast.Attribute(node, "mT", ast.Load())


def _axes(node: ast.expr, readable: Sequence[str]) -> Iterator[Fault]:
    match node:
        case ast.Call(ast.Attribute(value, attr) as function, args, keywords) if attr in REDUCTIONS:
            yield "axis", value
            yield "axis", ast.Call(function, [], [])
            for axis in ("0", "-1", "(0, 1)"):
                yield "axis", ast.Call(function, [_expression(axis), *args[1:]], keywords)
            if keywords:
                yield "axis", ast.Call(function, args, [])


def _comparisons(node: ast.expr, readable: Sequence[str]) -> Iterator[Fault]:
    match node:
        case ast.Compare(left, [op], right):
            for other in COMPARISONS.get(type(op), ()):
                yield "comparison", ast.Compare(left, [other()], right)
        case ast.Call(ast.Attribute(attr="where") as function, [condition, one, other], []):
            yield "comparison", ast.Call(function, [condition, other, one], [])


def _constants(node: ast.expr, readable: Sequence[str]) -> Iterator[Fault]:
    match node:
        case ast.BinOp(left, ast.Pow(), ast.Constant(int(power))):
            for other in (power - 1, power + 1):
                yield "constant", ast.BinOp(left, ast.Pow(), ast.Constant(other))
        case ast.Constant(int() | float() as number) if not isinstance(number, bool):
            for text in (repr(number + 1), repr(number - 1), repr(2 * number), repr(number / 2)):
                yield "constant", _expression(text)
            yield "constant", _times(FACTOR, node)


FINDERS: tuple[Callable[[ast.expr, Sequence[str]], Iterator[Fault]], ...] = (
    _signs, _operators, _factors, _scalings, _names, _functions, _transposes, _axes, _comparisons,
    _constants,
)  # fmt: skip


def _times(factor: str, node: ast.expr) -> ast.expr:
    return ast.BinOp(_expression(factor), ast.Mult(), node)


def _expression(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body
