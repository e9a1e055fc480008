"""Which NumPy function means what to numbers with a hidden sample axis: the tables, and the class.

NumPy hands every function that is applied to such numbers to them. What only moves numbers about
is applied to positions (indexing.py); sums of products are all one operation (products.py); what
can be written with others is (functions.py, sorting.py, linalg.py); and what is left, elementwise
functions and comparisons, each kind of number knows for itself. A function that nobody knows is
refused by name.
"""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np

from gradcheck.numbers import functions, jumps, linalg, products, sorting, special
from gradcheck.numbers.array import (
    Function,
    NoRuleError,
    OneSampleError,
    aligned_operands,
)
from gradcheck.numbers.comparisons import Comparison, settle
from gradcheck.numbers.indexing import Indexed
from gradcheck.numbers.methods import Methods

FORMATS = tuple(
    np.dtype(name)
    for name in ("float32", "float64", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")
)
"""Those in which bounds are known."""
COMPARISONS: frozenset[np.ufunc] = frozenset(
    {np.greater, np.greater_equal, np.less, np.less_equal, np.equal, np.not_equal}
)
INTEGER: frozenset[np.ufunc] = frozenset(
    {np.add, np.subtract, np.multiply, np.negative, np.floor_divide, np.remainder}
)
"""Functions of integers that are integers."""
KINKED: frozenset[np.ufunc] = frozenset({np.absolute, np.maximum, np.minimum})
"""Elementwise functions that compare."""
COMMUTATIVE: frozenset[np.ufunc] = frozenset({np.add, np.multiply})
"""Functions that do not mind in which order they are given their operands."""
REARRANGEMENTS: frozenset[Function] = frozenset(
    {
        np.reshape, np.ravel, np.transpose, np.matrix_transpose, np.swapaxes, np.moveaxis,
        np.expand_dims, np.squeeze, np.flip, np.fliplr, np.flipud, np.rot90, np.rollaxis,
        np.broadcast_to, np.roll, np.repeat, np.tile, np.diag, np.diagonal, np.tril, np.triu,
        np.pad, np.split, np.array_split, np.hsplit, np.vsplit, np.atleast_1d, np.atleast_2d,
        np.delete, np.resize, np.linalg.matrix_transpose, np.linalg.diagonal,
    }
)  # fmt: skip
"""Functions that only move numbers about, or add zeros."""
JOINING: frozenset[Function] = frozenset(
    {np.concatenate, np.stack, np.vstack, np.hstack, np.column_stack, np.dstack}
)
ABOUT_SHAPE: frozenset[Function] = frozenset({np.shape, np.ndim, np.size})
FUNCTIONS: Mapping[Function, Function] = {
    **functions.FUNCTIONS,
    **jumps.FUNCTIONS,
    **products.FUNCTIONS,
    **sorting.FUNCTIONS,
    **linalg.FUNCTIONS,
}
"""Functions that are written with others, by what they stand for."""
REDUCTIONS: Mapping[np.ufunc, Function] = {
    np.add: products.sum_along,
    np.multiply: products.product_along,
    np.maximum: FUNCTIONS[np.max],
    np.minimum: FUNCTIONS[np.min],
    np.logical_or: FUNCTIONS[np.any],
    np.logical_and: FUNCTIONS[np.all],
}
"""Functions along axes, by the ufunc that they repeat."""
ADDED: Mapping[np.ufunc, Function] = {np.add: functions.add_at, np.subtract: functions.subtract_at}
"""Functions that change elements in place, by the ufunc that they apply."""
SUBSTITUTES: Mapping[str, str] = {
    "numpy.linalg.pinv": "numpy.linalg.solve",
    "numpy.linalg.lstsq": "numpy.linalg.solve of the normal equations",
    "numpy.nan_to_num": "numpy.where",
    "numpy.nanmax": "numpy.max",
    "numpy.nanmin": "numpy.min",
    "numpy.nansum": "numpy.sum",
    "numpy.average": "numpy.mean",
    "numpy.quantile": "numpy.sort",
    "numpy.digitize": "numpy.sum of comparisons",
    "numpy.searchsorted": "numpy.sum of comparisons",
    "numpy.median": "numpy.sort",
    "numpy.apply_along_axis": "a loop",
    "numpy.vectorize": "a loop",
    "numpy.cumprod": "a loop",
    "numpy.array_equal": "numpy.all of ==",
    "numpy.allclose": "numpy.all of a comparison",
    "numpy.add.accumulate": "numpy.cumsum",
}
"""What does the same, of functions that there are not."""


class Number(Indexed, Methods, np.lib.mixins.NDArrayOperatorsMixin):
    """An array per sample to which NumPy's functions and operators can be applied."""

    __slots__ = ()

    # What each kind of number knows for itself.

    @abstractmethod
    def elementwise(self, ufunc: np.ufunc, operands: Sequence[Self]) -> Self:
        """Apply an elementwise function to operands whose storage broadcasts."""

    @abstractmethod
    def contract(self, function: Function, operands: Sequence[Self], terms: int) -> Self:
        """Apply a multilinear function of the storage, a sum of so many products."""

    @abstractmethod
    def compared(self, ufunc: np.ufunc, a: Self, b: Self, known: Comparison) -> Self:
        """Compare; 1 stands for true, 0 for false."""

    @abstractmethod
    def choose(self, condition: Self, a: Self, b: Self) -> Self:
        """Take `a` where the condition holds and `b` elsewhere; both where it is open."""

    @abstractmethod
    def classified(self, ufunc: np.ufunc) -> Self:
        """Answer `isfinite`, `isinf` or `isnan`."""

    @property
    def format(self) -> np.dtype[Any] | None:
        """To which real numbers are rounded; `None` for those that no operation rounds."""
        return None

    def still(self) -> Self:
        """Return the same numbers for constants, to whoever differentiates."""
        return self.copy()

    def literal(self, value: float) -> Any:
        """Return a number that a program spells out, as these take it."""
        return value

    @abstractmethod
    def in_format(self, dtype: np.dtype[Any]) -> Self:
        """Return what an evaluation in another format is given of these."""

    def written_down(self) -> Self:
        """Return what is left of these when they are written in the format under judgement."""
        return self

    def cast(self, dtype: Any) -> Self:
        """Return the numbers in another floating-point format: rounded if it is coarser."""
        kind = np.dtype(dtype)
        if kind not in FORMATS:
            raise NoRuleError(f"there is no rule for numbers of the format {kind}", str(kind))
        result = self.in_format(kind)
        result.settled = self.constants
        if kind == self.dtype:
            result._quantity = self._quantity
            return result
        return result.is_result_of(("cast", kind.name), [self], elementwise=True)

    def cancel(self, operand: Self) -> None:
        """Take this for an operand that was subtracted from itself."""

    def record(self, operands: Sequence[Self], known: Comparison) -> None:
        """Let the choices take notice of what a function with a kink compares."""

    # What NumPy asks.

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise NoRuleError(
            "numpy.asarray, and any array of plain numbers, would lose the error bounds of what it "
            "is made of, filled or indexed with; start from numpy.zeros_like(v.x), numpy.stack or "
            "numpy.concatenate, and pick by a label with numpy.arange(k) == label"
        )

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *operands: Any, **options: Any) -> Any:
        """Apply a NumPy function by its rule; one that has no rule is refused by name."""
        out = options.pop("out", (None,))[0]
        name = f"numpy.{ufunc.__name__}" + ("" if method == "__call__" else f".{method}")
        with np.errstate(all="ignore"):
            if method == "reduce" and ufunc in REDUCTIONS and options.pop("dtype", None) is None:
                options.setdefault("axis", 0)
                result = called(REDUCTIONS[ufunc], name, operands, options)
            elif method == "at" and ufunc in ADDED:
                return ADDED[ufunc](_target(operands[0]), *operands[1:])
            elif method != "__call__" or options or ufunc.nout > 1:
                raise refused(name, options)
            else:
                result = self._called(ufunc, operands)
        return result if out is None else written(out, result)

    def _called(self, ufunc: np.ufunc, operands: Sequence[Any]) -> Any:
        composed = FUNCTIONS.get(ufunc) or special.COMPOSED.get(ufunc.__name__)
        if composed is not None:
            return composed(*operands)
        if ufunc is np.power and jumps.varies(operands[1]):
            return jumps.power(*operands)
        lifted = [self.lifted(operand) for operand in operands]
        aligned = aligned_operands(lifted)
        leading = max(aligned, key=lambda operand: operand.hidden)
        if ufunc in COMPARISONS:
            result = leading.compared(ufunc, *aligned, Comparison(lifted, aligned))
            if self.tracks:
                result.settled = ~result.left_open
        elif ufunc in INTEGER and all(operand.is_discrete for operand in lifted):
            integers = (operand.parts[0].astype(np.int64) for operand in aligned)
            result = leading.with_parts([np.asarray(ufunc(*integers))])
        else:
            if ufunc is np.remainder:
                return jumps.remainder(*operands)
            result = leading.elementwise(ufunc, aligned)
            result.choices = leading.choices
            if self.tracks:
                self._settle(ufunc, lifted, aligned, result)
        return result.is_result_of(ufunc, lifted, elementwise=True, commutes=ufunc in COMMUTATIVE)

    @staticmethod
    def _settle(ufunc: np.ufunc, lifted: Any, aligned: Any, result: Any) -> None:
        settle(ufunc, aligned, result)
        if ufunc is np.subtract and lifted[0].quantity is lifted[1].quantity:
            result.cancel(aligned[0])
        if ufunc in KINKED and result.choices.records:
            pair = [*lifted, result.lifted(0.0)][:2], [*aligned, result.lifted(0.0)][:2]
            result.record(pair[1], Comparison(*pair))

    def __array_function__(self, function: Function, types: Any, args: Any, kwargs: Any) -> Any:
        """Apply a NumPy function that is not a ufunc, or refuse it by name."""
        out = kwargs.pop("out", None)
        name = f"{function.__module__}.{function.__name__}"
        with np.errstate(all="ignore"):
            if function in FUNCTIONS:
                result = called(FUNCTIONS[function], name, args, kwargs)
            elif function in REARRANGEMENTS:
                result = args[0].rearranged(function, args, kwargs)
            elif function in JOINING:
                result = products.join(function, self, *args, **kwargs)
            elif function in ABOUT_SHAPE:
                result = function(np.empty(args[0].shape), *args[1:], **kwargs)
            else:
                raise refused(name)
        return result if out is None else written(out, result)

    def _in_place(ufunc: np.ufunc) -> Callable[[Any, Any], Any]:  # type: ignore[misc]  # noqa: N805
        """Change an array; a number, which NumPy does not change, gives way to a new one."""

        def operator(self: Any, other: Any) -> Any:
            return ufunc(self, other, out=(self,)) if self.ndim else ufunc(self, other)

        return operator

    __iadd__ = _in_place(np.add)
    __isub__ = _in_place(np.subtract)
    __imul__ = _in_place(np.multiply)
    __itruediv__ = _in_place(np.divide)
    __ipow__ = _in_place(np.power)
    __imatmul__ = _in_place(np.matmul)

    # What Python asks.

    def __bool__(self) -> bool:
        if self.decisive.size != 1:
            raise OneSampleError("an if statement needs one sample at a time")
        value = self.decisive.ravel()[0]
        if value == 0.5:  # an open comparison, as far as one can tell
            self.choices.branched[:] = True
            return False
        return bool(value != 0)

    def __float__(self) -> float:
        raise NoRuleError("float() and the functions of math would lose the error bounds")

    __int__ = __float__

    def __index__(self) -> int:
        if not (self.is_discrete and self.decisive.size == 1):
            raise OneSampleError("range() and lists need one sample's integer at a time")
        return int(self.decisive.ravel()[0])

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        """Return a copy, for a bound belongs to one format; only masks can become integers."""
        kind = np.dtype(dtype)
        if kind.kind != "f" and not (self.is_discrete or self.is_mask):
            raise NoRuleError(f"an array with bounds cannot be cast to {kind}")
        return self if not copy and kind == self.dtype else self.copy()


def refused(name: str, options: Any = ()) -> NoRuleError:
    """Name the function that is missing, and what does the same."""
    given = f" with {', '.join(options)}" if options else ""
    hint = f"; use {SUBSTITUTES[name]}" if name in SUBSTITUTES and not options else ""
    return NoRuleError(f"balls have no rule for {name}{given}{hint}", name)


def called(function: Function, name: str, args: Any, kwargs: Any) -> Any:
    """Call a function; an option that it does not have is refused by name."""
    try:
        return function(*args, **kwargs)
    except TypeError as error:
        try:
            inspect.signature(function).bind(*args, **kwargs)
        except TypeError:
            raise refused(name, kwargs) from error
        raise


def _target(out: Any) -> Any:
    if not isinstance(out, Number):
        raise NoRuleError(
            "an array of plain numbers cannot take in numbers with bounds: start from "
            "numpy.zeros_like of an input"
        )
    return out


def written(out: Any, result: Any) -> Any:
    """Write a result to where it is wanted."""
    target = _target(out[0] if isinstance(out, tuple) else out)
    if np.broadcast_shapes(result.shape, target.shape) != target.shape:
        raise ValueError(
            f"numbers of shape {result.shape} cannot be broadcast to the {target.shape} of out"
        )
    admitted = target.admitted(result)
    if (target.shape, target.hidden) == (result.shape, result.hidden):
        target.become(admitted)
    else:
        target[...] = admitted
    return target
