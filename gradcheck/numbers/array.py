"""Arrays of all samples at once, which code written for one sample takes for that one's.

The first axes of the storage, those of the samples, are hidden: `shape`, axes and indices are one
sample's. NumPy hands every function that is applied to such an array to it, by name. What only
moves numbers about (reshape, concatenate, an index, …) is applied to an array of positions, and the
numbers are fetched from there; sums of products are all one operation; the functions that can be
written with others are; and what is left, elementwise functions and comparisons, each kind of
number knows for itself. A function that nobody knows is refused by name.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Storage = NDArray[Any]
Function = Callable[..., Any]


class NoRuleError(TypeError):
    """These numbers cannot follow a NumPy function.

    Parameters
    ----------
    operation
        Its full name, such as `numpy.cbrt`; empty if the message alone says what is missing.
    """

    def __init__(self, message: str, operation: str = "") -> None:
        super().__init__(message)
        self.operation = operation


class OneSampleError(NoRuleError):
    """Code that can only run on one sample at a time."""


class InPlaceError(TypeError):
    """An input or a parameter was to be changed in place."""


class Choices:
    """Comparisons that rounding, or a tie, leaves open.

    Parameters
    ----------
    both
        Whether an open comparison is answered by the interval from 0 to 1; else by its midpoints.
    samples
        How many there are.

    Attributes
    ----------
    open
        On which samples there was one, shape `(samples,)`.
    branched
        On which samples an `if` or an index depended on one, so that not all that may be computed
        was followed, shape `(samples,)`.
    arguments
        What was compared with zero and how far from it is open, each of shape `(samples, …)`;
        `None` unless wanted.
    """

    def __init__(self, samples: int, both: bool = True) -> None:
        self.both, self.samples = both, samples
        self.open = np.zeros(samples, bool)
        self.branched = np.zeros(samples, bool)
        self.arguments: list[tuple[Storage, Storage]] | None = None

    def branch(self, left_open: NDArray[np.bool_]) -> None:
        """Mark the samples of an array, `(samples, …)`, whose open comparisons choose a branch."""
        before, self.open = self.open, np.zeros(self.samples, bool)
        self.note(left_open)
        self.branched |= self.open
        self.open |= before

    def note(self, left_open: NDArray[np.bool_]) -> None:
        """Mark the samples of an array, `(samples, …)`, in which something is open."""
        if left_open.any():
            if left_open.ndim and len(left_open) == self.samples:
                self.open |= left_open.reshape(self.samples, -1).any(axis=1)
            else:
                self.open[:] = True


class Batched(np.lib.mixins.NDArrayOperatorsMixin):
    """An array per sample; the base of every kind of number that a pass runs on.

    Parameters
    ----------
    hidden
        How many leading axes of the storage are hidden. There are none if the code itself
        broadcasts over a leading sample axis.
    """

    __slots__ = ("choices", "extremum_of", "frozen", "hidden", "settled", "write_back")
    __hash__ = None  # type: ignore[assignment]

    hidden: int
    choices: Choices
    frozen: bool
    extremum_of: tuple[Storage, tuple[int, ...]] | None
    """Whose largest or smallest elements these are, and along which axes."""
    settled: NDArray[np.bool_] | None
    """Where these are constants for certain, whatever the inputs; `None` if nowhere or unknown."""
    write_back: Callable[[Any], None] | None
    """How the array of which this is a view follows its changes."""

    def begin(self, hidden: int, choices: Choices | None) -> None:
        """Set what all kinds have."""
        self.hidden, self.choices = hidden, choices or Choices(0)
        self.frozen, self.extremum_of, self.write_back = False, None, None
        self.settled = None

    # What a kind of number says about itself.

    @property
    @abstractmethod
    def parts(self) -> tuple[Storage, ...]:
        """The storage arrays, of one shape."""

    @abstractmethod
    def whole(self) -> tuple[Storage, ...]:
        """Return all that there may be: with zeros for what `parts` leaves out."""

    @abstractmethod
    def with_parts(self, parts: Sequence[Storage], hidden: int | None = None) -> Self:
        """Return a number of this kind and context made of other storage."""

    @abstractmethod
    def constant(self, value: Any) -> Self:
        """Return a number or an array of numbers as a number of this kind."""

    @abstractmethod
    def elementwise(self, ufunc: np.ufunc, operands: Sequence[Self]) -> Self:
        """Apply an elementwise function to operands whose storage broadcasts."""

    @abstractmethod
    def contract(self, function: Function, operands: Sequence[Self], terms: int) -> Self:
        """Apply a multilinear function of the storage, a sum of so many products."""

    @abstractmethod
    def compared(
        self, ufunc: np.ufunc, a: Self, b: Self, closed: Any, extremum: tuple[int, ...] | None
    ) -> Self:
        """Compare; 1 stands for true, 0 for false. Where it is `closed`, a tie is none.

        If one operand is the other's own extremum along the axes `extremum`, it is equal to one of
        its elements for certain.
        """

    @abstractmethod
    def choose(self, condition: Self, a: Self, b: Self) -> Self:
        """Take `a` where the condition holds and `b` elsewhere; both where it is open."""

    # What follows from that.

    @property
    def shape(self) -> tuple[int, ...]:
        """One sample's."""
        return self.parts[0].shape[self.hidden :]

    @property
    def ndim(self) -> int:
        """Number of axes of one sample."""
        return self.parts[0].ndim - self.hidden

    @property
    def size(self) -> int:
        """Number of elements of one sample."""
        return prod(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The storage's."""
        return self.parts[0].dtype

    @property
    def is_mask(self) -> bool:
        """Whether it holds nothing but the answers to comparisons."""
        if self.dtype.kind == "b":
            return True
        values, errors = self.whole()[0], self.whole()[-1] if len(self.whole()) > 1 else 0
        within = (values >= 0) & (values <= 1)
        return bool((within & ((values == 0) | (values == 1) | (errors != 0))).all())

    @property
    def is_discrete(self) -> bool:
        """Whether it holds integers or truth values, which no rounding touches."""
        return self.dtype.kind in "iub"

    @property
    def T(self) -> Any:  # noqa: N802
        """The transpose."""
        return np.transpose(self)

    @property
    def mT(self) -> Any:  # noqa: N802
        """The transpose of the last two axes."""
        return np.swapaxes(self, -1, -2)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a number without axes")
        return self.shape[0]

    def __iter__(self) -> Iterator[Self]:
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise NoRuleError(
            "numpy.asarray, and any array of plain numbers, would lose the error bounds of what it "
            "is made of, filled or indexed with; start from numpy.zeros_like(v.x), numpy.stack or "
            "numpy.concatenate, and pick by a label with numpy.arange(k) == label"
        )

    @property
    def decisive(self) -> Storage:
        """What an `if` looks at."""
        return self.parts[0]

    @property
    def left_open(self) -> NDArray[np.bool_]:
        """Of the answer to a comparison, where it is open."""
        return np.zeros(self.decisive.shape, bool)

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

    def __getitem__(self, index: Any) -> Any:
        indices = index if isinstance(index, tuple) else (index,)
        if any(isinstance(i, Batched) for i in indices):
            return self._gather(indices)
        basic = all(i is None or i is Ellipsis or isinstance(i, int | slice) for i in indices)
        if not basic:
            return self.rearranged(lambda array: array[index], (self,), {})
        behind = (slice(None),) * self.hidden + indices
        result = self._mapped(lambda part: part[behind], self.hidden)
        if all(i is None or i == slice(None) for i in indices):
            result.extremum_of = self.extremum_of
        result.write_back = lambda new: self.__setitem__(index, new)
        return result

    def _places(self, indices: tuple[Any, ...]) -> NDArray[np.int64]:
        """Return where integers that differ from sample to sample point, shape `(n, …)`."""
        ndim = max(np.ndim(i) for i in indices if not isinstance(i, slice))
        plain = []
        for i in indices:
            if isinstance(i, Batched):
                if not i.is_discrete or i.dtype.kind == "b" or i.hidden != self.hidden:
                    raise NoRuleError(
                        "an index must be integers; for a mask use numpy.where, or x[mask] = …"
                    )
                # Integers are the same in every run of what is evaluated several times.
                run = i.parts[0][(0,) * max(0, self.hidden - 1)]
                i = insert_axes(run, min(1, self.hidden), ndim)
            elif isinstance(i, slice) or i is None or i is Ellipsis:
                raise NoRuleError("an index of integers per sample cannot stand beside a slice")
            plain.append(i)
        return np.asarray(np.arange(self.size).reshape(self.shape)[tuple(plain)])

    def _gather(self, indices: tuple[Any, ...]) -> Self:
        """Index with integers that differ from sample to sample."""
        places = self._places(indices)
        lead = self.parts[0].shape[: self.hidden]

        def fetch(part: Storage) -> Storage:
            flat = part.reshape(*lead, self.size)
            if not self.hidden:
                return np.asarray(flat[places])
            rows = places.reshape(len(places), prod(places.shape[1:]))
            rows = np.broadcast_to(rows, (*lead, rows.shape[-1]))
            return np.take_along_axis(flat, rows, -1).reshape(*lead, *places.shape[1:])

        return self._mapped(fetch, self.hidden)

    def __setitem__(self, index: Any, value: Any) -> None:
        self.check_writeable()
        indices = index if isinstance(index, tuple) else (index,)
        if isinstance(index, Batched) and index.dtype.kind not in "iu":
            missing = self.ndim - index.ndim
            mask = index[(..., *(None,) * missing)] if missing > 0 else index
            self.become(np.where(mask, value, self))  # type: ignore[arg-type]
        elif any(isinstance(i, Batched) for i in indices):
            places = self._places(indices)
            self._scatter(places, value, per_sample=bool(self.hidden))
        else:
            self._scatter(np.arange(self.size).reshape(self.shape)[index], value)

    def _scatter(self, places: Any, value: Any, per_sample: bool = False) -> None:
        """Write to places of the flattened array; the same of every sample, or each its own."""
        new = self.lifted(value)
        if new.hidden > self.hidden:
            raise NoRuleError("numbers of several samples cannot be written to a constant")
        inner = np.shape(places)[1 if per_sample else 0 :]
        parts = []
        for mine, other in zip(self.whole(), new.whole(), strict=True):
            lead = mine.shape[: self.hidden]
            flat = np.array(mine, dtype=np.result_type(mine, other)).reshape(*lead, self.size)
            given = np.broadcast_to(
                insert_axes(other, new.hidden, len(inner)), (*lead, *inner)
            ).reshape(*lead, prod(inner))
            if per_sample:
                rows = np.broadcast_to(places.reshape(len(places), prod(inner)), given.shape)
                np.put_along_axis(flat, rows, given, -1)
            else:
                flat[..., np.ravel(places)] = given
            parts.append(flat.reshape(mine.shape))
        self.become(self.with_parts(parts))

    def check_writeable(self) -> None:
        """Refuse to change what was given.

        Raises
        ------
        InPlaceError
            If this is an input or a parameter.
        """
        if self.frozen:
            raise InPlaceError("an input or a parameter is changed in place; work on a copy of it")

    def become(self, other: Self) -> None:
        """Take another's numbers, here and in the array of which this is a view."""
        write_back = self.write_back
        for name in (*Batched.__slots__, *type(self).__slots__):
            setattr(self, name, getattr(other, name))
        self.write_back = write_back
        if write_back is not None:
            write_back(self)

    def lifted(self, value: Any) -> Self:
        """Return a number of this kind as it is, and anything else as a constant."""
        if isinstance(value, type(self)):
            return value
        constant = self.constant(value)
        constant.settled = np.ones((), bool)
        return constant

    def _mapped(self, function: Callable[[Storage], Storage], hidden: int) -> Self:
        """Move the numbers of every part in the same way."""
        return self.with_parts([function(part) for part in self.parts], hidden)

    def rearranged(self, function: Function, args: Any, kwargs: Any) -> Any:
        """Apply a function that only moves numbers about, or adds zeros.

        Only its first argument holds numbers of this kind: an array, or a sequence of them.
        """
        array, *rest = args
        if any(isinstance(a, Batched) for a in (*rest, *kwargs.values())):
            raise NoRuleError(
                f"balls have no rule for numpy.{function.__name__} by numbers of theirs"
            )
        if function is np.pad and (rest[1:] or [kwargs.get("mode", "constant")])[0] not in PADDING:
            raise NoRuleError(f"balls have no rule for numpy.pad unless by {', '.join(PADDING)}")
        if kwargs.get("constant_values", 0) != 0:
            raise NoRuleError("balls have no rule for numpy.pad by anything but zero")
        operands = [self.lifted(item) for item in array] if function in JOINING else [array]

        def apply(arrays: Sequence[Any]) -> Any:
            given = list(arrays) if function in JOINING else arrays[0]
            return function(given, *rest, **kwargs)

        hidden = max(operand.hidden for operand in operands)
        if not hidden:
            return _each(lambda *new: self.with_parts(new, 0), *map(apply, columns_of(operands)))
        starts = np.cumsum([1, *(operand.size for operand in operands)])
        places = apply(
            [
                (start + np.arange(operand.size)).reshape(operand.shape)
                for start, operand in zip(starts, operands, strict=False)
            ]
        )
        lead = np.broadcast_shapes(*(o.parts[0].shape[: o.hidden] for o in operands if o.hidden))
        flats = [
            np.concatenate(
                [np.zeros((*lead, 1), column[0].dtype)]
                + [
                    np.broadcast_to(
                        part.reshape(*part.shape[: operand.hidden], operand.size),
                        (*lead, operand.size),
                    )
                    for part, operand in zip(column, operands, strict=True)
                ],
                axis=-1,
            )
            for column in columns_of(operands)
        ]
        return _each(
            lambda where: self.with_parts([flat[..., where] for flat in flats], hidden), places
        )

    def _view(self, function: Function, args: Any, kwargs: Any) -> Any:
        """Rearrange one array into another through which it can be changed."""
        result = self.rearranged(function, args, kwargs)
        if isinstance(result, Batched):
            base, *rest = args

            def write_back(new: Any) -> None:
                places = function(np.arange(base.size).reshape(base.shape), *rest, **kwargs)
                base.write(places, new)

            result.write_back = write_back
        return result

    def write(self, places: Any, value: Any) -> None:
        """Write to places of the flattened array, through a view of it."""
        self.check_writeable()
        self._scatter(places, value)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *operands: Any, **options: Any) -> Any:
        """Apply a NumPy function by its rule; one that has no rule is refused by name."""
        out = options.pop("out", (None,))[0]
        with np.errstate(all="ignore"):
            if method == "reduce" and ufunc in REDUCTIONS and options.pop("dtype", None) is None:
                options.setdefault("axis", 0)
                result = called(REDUCTIONS[ufunc], f"{ufunc.__name__}.reduce", operands, options)
            elif method != "__call__" or options or ufunc.nout > 1:
                call = ufunc.__name__ + ("" if method == "__call__" else f".{method}")
                raise refused(call, options)
            else:
                result = self._called(ufunc, operands)
        return result if out is None else written(out, result)

    def _called(self, ufunc: np.ufunc, operands: Sequence[Any]) -> Any:
        if ufunc in FUNCTIONS:
            return FUNCTIONS[ufunc](*operands)
        discrete = all(
            operand.is_discrete if isinstance(operand, Batched) else _is_integer(operand)
            for operand in operands
        )
        aligned = aligned_operands([self.lifted(operand) for operand in operands])
        if ufunc in COMPARISONS:
            a, b = aligned
            closed: Any = discrete
            if a.settled is not None and b.settled is not None:
                closed = closed | (a.settled & b.settled)
            answer = self.compared(ufunc, a, b, closed, _extremum_axes(ufunc, operands))
            answer.settled = ~answer.left_open
            return answer
        if discrete and ufunc in INTEGER:
            hidden = max(operand.hidden for operand in aligned)
            integers = (operand.parts[0].astype(np.int64) for operand in aligned)
            return self.with_parts([ufunc(*integers)], hidden)
        result = aligned[0].elementwise(ufunc, aligned)
        settle(ufunc, aligned, result)
        return result

    def __array_function__(self, function: Function, types: Any, args: Any, kwargs: Any) -> Any:
        """Apply a NumPy function that is not a ufunc, or refuse it by name."""
        out = kwargs.pop("out", None)
        name = function.__name__
        with np.errstate(all="ignore"):
            if function in FUNCTIONS:
                result = called(FUNCTIONS[function], name, args, kwargs)
            elif function in VIEWS:
                result = self._view(function, args, kwargs)
            elif function in REARRANGEMENTS or function in JOINING:
                result = self.rearranged(function, args, kwargs)
            elif function in ABOUT_SHAPE:
                result = function(np.empty(args[0].shape), *args[1:], **kwargs)
            else:
                raise refused(name)
        return result if out is None else written(out, result)

    # Methods of arrays, as far as passes use them.

    def sum(self, axis: Any = None, keepdims: bool = False) -> Any:
        """Add up."""
        return np.sum(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Any:
        """Add up and divide."""
        return np.mean(self, axis=axis, keepdims=keepdims)

    def var(self, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
        """Mean square of the deviations from the mean."""
        return np.var(self, axis=axis, ddof=ddof, keepdims=keepdims)

    def std(self, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
        """Root of the variance."""
        return np.std(self, axis=axis, ddof=ddof, keepdims=keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Any:
        """Return the largest."""
        return np.max(self, axis=axis, keepdims=keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> Any:
        """Return the smallest."""
        return np.min(self, axis=axis, keepdims=keepdims)

    def prod(self, axis: Any = None, keepdims: bool = False) -> Any:
        """Multiply."""
        return np.prod(self, axis=axis, keepdims=keepdims)

    def cumsum(self, axis: Any = None) -> Any:
        """Add up as far as each place."""
        return np.cumsum(self, axis=axis)

    def reshape(self, *shape: Any) -> Any:
        """Return another shape of the same elements."""
        return np.reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Any:
        """Permute the axes."""
        order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes or None
        return np.transpose(self, order)

    def ravel(self) -> Any:
        """Return all in one axis."""
        return np.ravel(self)

    def flatten(self) -> Any:
        """Return a copy of all in one axis."""
        return np.ravel(self).copy()

    def swapaxes(self, one: int, other: int) -> Any:
        """Exchange two axes."""
        return np.swapaxes(self, one, other)

    def squeeze(self, axis: Any = None) -> Any:
        """Drop axes of length one."""
        return np.squeeze(self, axis)

    def dot(self, other: Any) -> Any:
        """Matrix product."""
        return np.dot(self, other)

    def clip(self, low: Any = None, high: Any = None) -> Any:
        """Limit to a range."""
        return np.clip(self, low, high)

    def astype(self, dtype: Any, copy: bool = True) -> Self:
        """Return a copy, for a bound belongs to one format; only masks can become integers."""
        if np.dtype(dtype).kind != "f" and not (self.is_discrete or self.is_mask):
            raise NoRuleError(f"an array with bounds cannot be cast to {np.dtype(dtype)}")
        return self.copy()

    def copy(self) -> Self:
        """Return a copy that may be written to."""
        return self.with_parts(self.parts)

    def fill(self, value: Any) -> None:
        """Write one value everywhere."""
        self[...] = value


def refused(call: str, options: Any = ()) -> NoRuleError:
    """Name the function that is missing, and those that there are."""
    given = f" with {', '.join(options)}" if options else ""
    known = sorted({function.__name__ for function in KNOWN})
    return NoRuleError(
        f"balls have no rule for numpy.{call}{given}; they have: {', '.join(known)}",
        f"numpy.{call}{given}",
    )


def _is_integer(value: Any) -> bool:
    return np.asarray(value).dtype.kind in "iub"


def _each(function: Function, *results: Any) -> Any:
    """Apply to arrays, or to lists of them, as `numpy.split` returns."""
    if isinstance(results[0], list | tuple):
        return [function(*items) for items in zip(*results, strict=True)]
    return function(*results)


def insert_axes(part: Storage, hidden: int, ndim: int) -> Storage:
    """Insert axes behind the hidden ones, so that the others line up at the end."""
    missing = ndim - (part.ndim - hidden)
    if not hidden or missing <= 0:
        return part
    return part.reshape(part.shape[:hidden] + (1,) * missing + part.shape[hidden:])


def aligned_operands(operands: Sequence[Any]) -> list[Any]:
    """Give all operands as many axes as the one with most, so that their storage broadcasts."""
    ndim = max(operand.ndim for operand in operands)
    hidden = max(operand.hidden for operand in operands)
    return [
        operand
        if operand.hidden == 0 or operand.ndim == ndim
        else operand._mapped(lambda part, o=operand: insert_axes(part, o.hidden, ndim), hidden)
        for operand in operands
    ]


def columns_of(operands: Sequence[Any]) -> list[tuple[Storage, ...]]:
    """Return the first parts of all operands, the second parts, and so on."""
    if len({len(operand.parts) for operand in operands}) == 1:
        return list(zip(*(operand.parts for operand in operands), strict=True))
    return list(zip(*(operand.whole() for operand in operands), strict=True))


def _extremum_axes(ufunc: np.ufunc, operands: Sequence[Any]) -> tuple[int, ...] | None:
    """Return along which axes one of two operands is the other's largest or smallest element."""
    for x, extremum in (operands, operands[::-1]):
        if isinstance(x, Batched) and isinstance(extremum, Batched) and extremum.extremum_of:
            source, axes = extremum.extremum_of
            if _is_same(source, x.parts[0]) and extremum.ndim in (0, x.ndim):
                return axes
    return None


def _is_same(a: Storage, b: Storage) -> bool:
    """Tell whether two arrays are one, or the same view of one."""
    starts = [array.__array_interface__["data"] for array in (a, b)]
    return starts[0] == starts[1] and a.shape == b.shape and a.strides == b.strides


def settle(ufunc: np.ufunc, operands: Sequence[Any], result: Any) -> None:
    """Note where a result is a constant: one that was surely chosen, or a product with zero.

    What it depends on has no part in it there, so that to compare it with its equal is no kink.
    """
    if all(operand.settled is None for operand in operands) or result.dtype.hasobject:
        return
    exact = ~result.left_open
    if ufunc in (np.maximum, np.minimum):
        for chosen, other in (operands, operands[::-1]):
            if chosen.settled is not None:
                taken = (result.decisive == chosen.decisive) & (other.decisive != chosen.decisive)
                found = chosen.settled & taken & exact
                result.settled = found if result.settled is None else result.settled | found
    elif ufunc is np.multiply:
        for operand in operands:
            if operand.settled is not None:
                found = operand.settled & (operand.decisive == 0) & exact
                result.settled = found if result.settled is None else result.settled | found


def called(function: Function, name: str, args: Any, kwargs: Any) -> Any:
    """Call a function; an option that it does not have is refused by name."""
    try:
        return function(*args, **kwargs)
    except TypeError as error:
        if "unexpected keyword" in str(error) or "positional argument" in str(error):
            raise refused(name, kwargs) from error
        raise


def written(out: Any, result: Any) -> Any:
    """Write a result to where it is wanted."""
    target = out[0] if isinstance(out, tuple) else out
    if not isinstance(target, Batched):
        raise NoRuleError(
            "an array of plain numbers cannot take in numbers with bounds: start from "
            "numpy.zeros_like of an input"
        )
    target.check_writeable()
    shape = target.parts[0].shape
    aligned = insert_axes(result.parts[0], result.hidden, target.ndim).ndim - result.parts[0].ndim
    spread = result[(None,) * aligned] if aligned else result
    target.become(
        target.with_parts([np.broadcast_to(part, shape) for part in spread.parts], target.hidden)
    )
    return target


COMPARISONS: frozenset[np.ufunc] = frozenset(
    {np.greater, np.greater_equal, np.less, np.less_equal, np.equal, np.not_equal}
)
INTEGER: frozenset[np.ufunc] = frozenset(
    {np.add, np.subtract, np.multiply, np.negative, np.floor_divide, np.remainder}
)
"""Functions of integers that are integers."""
VIEWS: frozenset[Function] = frozenset(
    {
        np.reshape, np.ravel, np.transpose, np.matrix_transpose, np.swapaxes, np.moveaxis,
        np.expand_dims, np.squeeze, np.flip, np.fliplr, np.flipud, np.rot90,
    }
)  # fmt: skip
"""Functions that only move numbers about, and through whose results their arrays are changed."""
REARRANGEMENTS: frozenset[Function] = VIEWS | {
    np.broadcast_to, np.roll, np.repeat, np.tile, np.diag, np.diagonal, np.tril, np.triu,
    np.pad, np.split, np.array_split, np.atleast_1d, np.atleast_2d, np.delete, np.resize,
}  # fmt: skip
"""Functions that only move numbers about, or add zeros."""
PADDING = ("constant", "edge", "wrap", "reflect", "symmetric")
"""Ways of padding that do the same."""
JOINING: frozenset[Function] = frozenset(
    {np.concatenate, np.stack, np.vstack, np.hstack, np.column_stack, np.dstack}
)
ABOUT_SHAPE: frozenset[Function] = frozenset({np.shape, np.ndim, np.size})
FUNCTIONS: dict[Function, Function] = {}
"""Functions that are written with others, by what they stand for."""
REDUCTIONS: dict[np.ufunc, Function] = {}
"""Functions along axes, by the ufunc that they repeat."""
KNOWN: set[Function] = {*REARRANGEMENTS, *JOINING, *ABOUT_SHAPE, *COMPARISONS}
"""All that arrays of any kind know; each kind adds its elementwise functions."""
