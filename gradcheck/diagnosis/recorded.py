"""Arrays of recorded numbers, for passes to run on: they change in place as NumPy's do."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import flint
import numpy as np
from numpy.typing import NDArray

from gradcheck.diagnosis.tape import MINUS, ONE, ZERO, Node, Tape
from gradcheck.numbers.arb import Real, Reals
from gradcheck.numbers.array import Function, NoRuleError, Storage
from gradcheck.numbers.comparisons import Comparison
from gradcheck.numbers.dispatch import Number
from gradcheck.numbers.elementary import elementary
from gradcheck.numbers.identity import Places
from gradcheck.numbers.real import applied
from gradcheck.numbers.record import Elementary


class Recorded(Number):
    """An array of nodes; or of integers or truth values, which came about together.

    Parameters
    ----------
    array
        Of nodes, as objects; or of integers or truth values.
    origin
        A node that integers or truth values came from.
    """

    __slots__ = ("aliases", "array", "origin", "tape")

    def __init__(self, tape: Tape, array: Storage, origin: Node | None = None) -> None:
        self.tape, self.array = tape, array
        self.origin = None if array.dtype.hasobject else origin
        self.aliases = [self]
        self.begin(0, tape.side)

    @property
    def parts(self) -> tuple[Storage, ...]:
        """The numbers."""
        return (self.array,)

    def whole(self) -> tuple[Storage, ...]:
        """Return the numbers."""
        return (self.array,)

    @property
    def dtype(self) -> np.dtype[Any]:
        """What stands for real numbers, or that of integers and truth values."""
        return self.stored if self.is_discrete else self.tape.side.dtype

    @property
    def nodes(self) -> NDArray[np.object_]:
        """The numbers as nodes."""
        if self.array.dtype.hasobject:
            return self.array
        behind = () if self.origin is None else (self.origin,)

        def node(number: Any) -> Node:
            constant = self.tape.constant(number)
            return self.tape.moved(constant, behind) if behind else constant

        return each(node, self.array)

    @property
    def decisive(self) -> Storage:
        """Midpoints."""
        return each(midpoint, self.array, float) if self.array.dtype.hasobject else self.array

    @property
    def is_mask(self) -> bool:
        """Whether it holds truth values."""
        return self.array.dtype.kind == "b"

    def with_parts(self, parts: Sequence[Storage], hidden: int | None = None) -> Recorded:
        """Return other numbers; those that somebody else computed came by this statement."""
        array = np.asarray(parts[0])
        if array.dtype.kind == "f":
            array = each(self.tape.constant, array)
        elif array.dtype.hasobject:
            array = each(self._own, array)
        return Recorded(self.tape, array, self.origin)

    def _own(self, number: Any) -> Node:
        if isinstance(number, Node):
            return number
        if isinstance(number, Real):
            return self.tape.record(number, (), ())
        return self.tape.constant(number)

    def in_format(self, dtype: np.dtype[Any]) -> Recorded:
        """Return the same numbers, for no format rounds them."""
        return self.copy()

    def constant(self, value: Any) -> Recorded:
        """Return constants."""
        if isinstance(value, list | tuple):
            return np.stack([self.lifted(item) for item in value])  # type: ignore[return-value]
        array = np.asarray(value)
        if array.dtype.kind not in "iub":
            array = each(self.tape.constant, array)
        return Recorded(self.tape, array)

    def elementwise(self, ufunc: np.ufunc, operands: Sequence[Recorded]) -> Recorded:
        """Apply to each number."""
        nodes: list[Any] = [operand.nodes for operand in operands]
        own = ARITHMETIC.get(ufunc)
        if own is not None:
            return Recorded(self.tape, _array(np.frompyfunc(own, ufunc.nin, 1)(*nodes)))
        rule = elementary(ufunc)
        if rule is not None and rule.arb is not None:
            call = np.frompyfunc(partial(_applied, rule), ufunc.nin, 1)
            return Recorded(self.tape, _array(call(*nodes)))
        nodes = list(np.broadcast_arrays(*nodes))
        reals: list[Any] = [each(_real, some) for some in nodes]
        values: Any = self._reals(reals[0]).elementwise(ufunc, [*map(self._reals, reals)]).reals
        slopes = [
            self._slopes(ufunc, nodes, reals, i)
            if self.tape.differentiating
            else np.full(values.shape, None)
            for i in range(len(nodes))
        ]
        found = np.empty(values.shape, dtype=object)
        for index in np.ndindex(values.shape):
            value: Any = values[index]
            partials = tuple(some[index] for some in slopes)
            chosen = [some[index].is_known_to_be(value) for some in reals]
            if any(chosen):  # maximum, minimum: it is one of them, and of equal ones the first
                first = chosen.index(True)
                partials = tuple(ONE if i == first else ZERO for i in range(len(chosen)))
            found[index] = self.tape.record(value, tuple(some[index] for some in nodes), partials)
        return Recorded(self.tape, found)

    def _slopes(
        self, ufunc: np.ufunc, nodes: Sequence[Any], reals: Sequence[Any], moving: int
    ) -> NDArray[Any]:
        """Differentiate by one operand: with x + ε in its place, the coefficient of ε."""
        if all(node.is_constant for node in nodes[moving].flat):
            return np.full(nodes[moving].shape, None)
        series = each(lambda real: Real(flint.arb_series([real.series, 1])), reals[moving])
        operands = [self._reals(series if i == moving else some) for i, some in enumerate(reals)]
        result = operands[0].elementwise(ufunc, operands).reals
        return each(lambda real: real.slope, result)

    def _reals(self, array: Storage) -> Reals:
        return Reals.of(array, self.tape.side)

    def contract(self, function: Function, operands: Sequence[Recorded], terms: int) -> Recorded:
        """Add up products."""
        return Recorded(self.tape, _array(function(*(operand.nodes for operand in operands))))

    def compared(self, ufunc: np.ufunc, a: Recorded, b: Recorded, known: Comparison) -> Recorded:
        """Compare; the answers come from all that was compared."""
        answer = a._values().compared(ufunc, a._values(), b._values(), known)
        return Recorded(self.tape, answer.values, self._behind(a, b))

    def classified(self, ufunc: np.ufunc) -> Recorded:
        """Answer `isfinite`, `isinf` or `isnan`."""
        return Recorded(self.tape, self._values().classified(ufunc).values, self._behind(self))

    def _values(self) -> Reals:
        return self._reals(each(_real, self.array) if self.array.dtype.hasobject else self.array)

    def _behind(self, *arrays: Recorded) -> Node | None:
        """Make a node that stands for arrays from which a decision is made."""
        behind: list[Node] = []
        for array in arrays:
            behind += array.array.flat if array.array.dtype.hasobject else ()
            behind += () if array.origin is None else (array.origin,)
        behind = [node for node in behind if not node.is_constant]
        if not behind:
            return None
        return self.tape.record(Real(ZERO), tuple(behind), (ZERO,) * len(behind))

    def choose(self, condition: Recorded, a: Recorded, b: Recorded) -> Recorded:
        """Take `a` where the condition holds."""
        holds = condition.array if condition.is_mask else condition.array != 0
        if not any(case.array.dtype.hasobject for case in (a, b)):
            chosen = np.where(holds.astype(bool), a.array, b.array)
            return Recorded(self.tape, chosen, self._behind(condition, a, b))
        also = () if condition.origin is None else (condition.origin,)
        chosen = np.where(holds.astype(bool), a.nodes, b.nodes)
        return Recorded(self.tape, each(lambda node: self.tape.moved(node, also), chosen))

    def __bool__(self) -> bool:
        self.tape.statements.branch()
        if self.decisive.size != 1:
            raise NoRuleError("an if statement needs a single number")
        return bool(self.decisive.ravel()[0] != 0)

    # What moves numbers about is done by a statement, too.

    def passed(self) -> Recorded:
        """Return the same numbers, moved by the statement at work."""
        if self.array.dtype.hasobject:
            return Recorded(self.tape, each(self.tape.moved, self.array))
        origin = None if self.origin is None else self.tape.moved(self.origin)
        return Recorded(self.tape, self.array, origin)

    def alias(self, array: Storage) -> Recorded:
        """Return the same numbers as other nodes; either follows if the other is changed."""
        other = Recorded(self.tape, array)
        other.aliases = self.aliases
        self.aliases.append(other)
        return other

    def take_over(self, parts: Sequence[Storage]) -> None:
        """Hold other numbers, here and wherever this is known by another name."""
        for one in self.aliases:
            (one.array,) = parts

    def become(self, other: Recorded) -> None:
        """Take another's numbers, and where truth values among them came from."""
        super().become(other)
        for one in self.aliases:
            one.origin = other.origin

    def _note(self, result: Any) -> Any:
        if isinstance(result, list | tuple):
            noted = [self._note(item) for item in result]
            return type(result)(*noted) if hasattr(result, "_fields") else type(result)(noted)
        if isinstance(result, Recorded):
            moved = result.passed()
            result.array, result.origin = moved.array, moved.origin
        return result

    def __getitem__(self, index: Any) -> Any:
        return self._note(super().__getitem__(index))

    def scatter(self, places: Places, value: Any) -> None:
        """Write to places of the flattened array."""
        new = self.lifted(value).passed()
        if self.array.dtype.hasobject:
            new = Recorded(self.tape, new.nodes)
        super().scatter(places, new)

    def __array_function__(self, function: Function, types: Any, args: Any, kwargs: Any) -> Any:
        """Apply a NumPy function that is not a ufunc, or refuse it by name."""
        moved = "out" not in kwargs
        result = super().__array_function__(function, types, args, kwargs)
        return self._note(result) if moved else result

    def copy(self) -> Recorded:
        """Return a copy that may be written to."""
        return self.passed() if self.tape.statements.current else super().copy()


def _divided(a: Node, b: Node) -> Node:
    quotient, inverse = a.series / b.series, 1 / b.series
    return a.tape.record(Real(quotient), (a, b), (inverse, -quotient * inverse))


def _applied(rule: Elementary, *nodes: Node) -> Node:
    """Apply a function: with x + ε in the place of an operand, a value and a partial are found."""
    tape = nodes[0].tape
    moving = [i for i, node in enumerate(nodes) if tape.differentiating and not node.is_constant]
    found = {
        i: applied(
            rule,
            *(
                Real(node.real.constant, ONE if i == j else None, node.real.undefined)
                for j, node in enumerate(nodes)
            ),
        )
        for i in moving or [-1]
    }
    value = next(iter(found.values()))
    partials = tuple(found[i].slope if i in found else None for i in range(len(nodes)))
    return tape.record(Real(value.constant, None, value.undefined), nodes, partials)


ARITHMETIC: dict[np.ufunc, Function] = {
    np.add: lambda a, b: a.tape.add(a, b),
    np.subtract: lambda a, b: a.tape.subtract(a, b),
    np.multiply: lambda a, b: a.tape.multiply(a, b),
    np.divide: _divided,
    np.negative: lambda a: a.tape.record(Real(-a.series), (a,), (MINUS,)),
}
"""What is common enough to be done number by number."""


def each(function: Function, array: Any, dtype: Any = object) -> NDArray[Any]:
    """Apply a function to each element."""
    array = np.asarray(array)
    result = np.empty(array.size, dtype=dtype)
    for index, item in enumerate(array.ravel().tolist()):
        result[index] = function(item)
    return result.reshape(array.shape)


def _real(node: Node) -> Real:
    return node.real


def midpoint(node: Node) -> float:
    """Return the float64 nearest to a value."""
    return float(node.series.mid())


def _array(result: Any) -> NDArray[np.object_]:
    """Keep a single number an array."""
    if isinstance(result, np.ndarray):
        return result
    array = np.empty((), dtype=object)
    array[()] = result
    return array
