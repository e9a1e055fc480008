"""Arrays of all samples at once, which code written for one sample takes for that one's.

The first axes of the storage, those of the samples, are hidden: `shape`, axes and indices are one
sample's. Here is what such an array holds and knows of itself; indices, functions and the kinds of
numbers are built upon it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Hashable, Sequence
from math import prod
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from gradcheck.numbers.choices import Choices, Storage
from gradcheck.numbers.errors import InPlaceError, NoRuleError, OneSampleError
from gradcheck.numbers.identity import Quantity, digest

__all__ = ["Batched", "Choices", "InPlaceError", "NoRuleError", "OneSampleError", "Storage"]

Function = Callable[..., Any]
Move = Callable[[Storage, int], Storage]
"""What moves the numbers of a storage array behind so many hidden axes."""


class Batched:
    """An array per sample; the base of every kind of number that a pass runs on.

    Attributes
    ----------
    hidden
        How many leading axes of the storage are hidden. There are none if the code itself
        broadcasts over a leading sample axis.
    choices
        What all numbers of one evaluation share.
    frozen
        Whether it is an input or a parameter, or a view of one, which nothing may change.
    settled
        Where these are constants for certain, whatever the inputs, shape `(n, *shape)` or `()`;
        `None` if nowhere or unknown.
    """

    __slots__ = ("__weakref__", "_quantity", "choices", "frozen", "hidden", "settled")
    __hash__ = None  # type: ignore[assignment]

    tracks: ClassVar[bool] = True
    """Whether comparisons may be open, so that it matters what is the same quantity."""

    hidden: int
    choices: Choices
    frozen: bool
    settled: NDArray[np.bool_] | None

    def begin(self, hidden: int, choices: Choices | None) -> None:
        """Set what all kinds have."""
        self.hidden, self.choices = hidden, Choices(0) if choices is None else choices
        self.frozen, self.settled = False, None
        self._quantity: Quantity | None = None

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
    def take_over(self, parts: Sequence[Storage]) -> None:
        """Hold other storage from now on."""

    @abstractmethod
    def constant(self, value: Any) -> Self:
        """Return a number or an array of numbers as a number of this kind."""

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
    def stored(self) -> np.dtype[Any]:
        """The storage's type."""
        return self.parts[0].dtype

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what the numbers stand for: the format under judgement, unless they are integers."""
        return self.stored

    @property
    def is_discrete(self) -> bool:
        """Whether it holds integers or truth values, which no rounding touches."""
        return self.stored.kind in "iub"

    @property
    def is_mask(self) -> bool:
        """Whether it holds nothing but the answers to comparisons."""
        if self.stored.kind == "b":
            return True
        values, errors = self.whole()[0], self.whole()[-1] if len(self.whole()) > 1 else 0
        within = (values >= 0) & (values <= 1)
        return bool((within & ((values == 0) | (values == 1) | (errors != 0))).all())

    @property
    def decisive(self) -> Storage:
        """What an `if` looks at."""
        return self.parts[0]

    @property
    def left_open(self) -> NDArray[np.bool_]:
        """Of the answer to a comparison, where it is open."""
        return np.zeros(self.decisive.shape, bool)

    @property
    def heights(self) -> Storage:
        """Magnitudes by which pivots are chosen, those of a sample."""
        return np.asarray(np.abs(self.decisive))

    def order(self, axis: int) -> NDArray[np.int64]:
        """Return from where the sorted elements come along an axis, a negative number."""
        return np.argsort(self.decisive, axis=axis, kind="stable")

    @property
    def constants(self) -> NDArray[np.bool_] | None:
        """Where these are `settled`, which integers are."""
        return np.ones((), bool) if self.is_discrete else self.settled

    @property
    def largest_integer(self) -> float:
        """Up to which every evaluation has integers exactly."""
        return 2.0**53

    def pin(self, where: NDArray[np.bool_]) -> None:
        """Take what is decisive for exact."""

    def promoted(self, operands: Sequence[Any]) -> Self:
        """Take on the finest format of the numbers of which this is made."""
        return self

    @property
    def quantity(self) -> Quantity:
        """What the array holds in all samples."""
        if self._quantity is None:
            self._quantity = Quantity(self.shape)
        return self._quantity

    def is_result_of(
        self,
        operation: Hashable,
        operands: Sequence[Batched],
        *,
        elementwise: bool = False,
        commutes: bool = False,
        places: Callable[[], Storage] | None = None,
    ) -> Self:
        """Say how it was computed; who computes the same again gets the same quantity."""
        if self.tracks:
            self._quantity = self.choices.numbering.computed(
                operation,
                [operand.quantity for operand in operands],
                self.shape,
                elementwise=elementwise,
                commutes=commutes,
                places=places,
            )
        return self

    def lifted(self, value: Any) -> Self:
        """Return a number of this kind as it is, and anything else as a constant."""
        if isinstance(value, type(self)):
            return value
        if np.iscomplexobj(value) and self.stored.kind != "c":
            raise NoRuleError("balls have no rule for complex numbers; keep both parts apart")
        constant = self.constant(value)
        if not isinstance(value, list | tuple):
            constant.settled = np.ones((), bool)
            if self.tracks:
                kind = constant.dtype.char
                constant._quantity = self.choices.numbering.constant(np.asarray(value), kind)
        return constant

    def decided(self) -> NDArray[np.bool_]:
        """Return a mask of one sample as truth values; one that is open is a branch."""
        samples = self.decisive.shape[0] if self.hidden else self.choices.samples
        if samples > 1:
            raise OneSampleError("an index by a mask needs one sample at a time; use numpy.where")
        self.choices.branch(self.left_open)
        return np.asarray(self.decisive.reshape(self.shape) > 0.5)

    def moved(self, move: Move) -> Self:
        """Move the numbers of every part in the same way."""
        result = self.with_parts([move(part, self.hidden) for part in self.parts], self.hidden)
        result.settled = self.settled
        if self.settled is not None and self.settled.ndim:
            result.settled = move(self.settled, self.settled.ndim - self.ndim)
        return result

    def spread_settled(self) -> NDArray[np.bool_]:
        """Return where these are constants, in full."""
        settled = False if self.settled is None else self.settled
        return np.broadcast_to(settled, self.decisive.shape)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a number without axes")
        return self.shape[0]

    def copy(self) -> Self:
        """Return a copy that may be written to."""
        result = self.with_parts(self.parts)
        result.settled, result._quantity = self.settled, self._quantity
        return result


def columns_of(operands: Sequence[Any]) -> list[tuple[Storage, ...]]:
    """Return the first parts of all operands, the second parts, and so on."""
    if len({len(operand.parts) for operand in operands}) == 1:
        return list(zip(*(operand.parts for operand in operands), strict=True))
    return list(zip(*(operand.whole() for operand in operands), strict=True))


def insert_axes(part: Storage, hidden: int, ndim: int) -> Storage:
    """Insert axes behind the hidden ones, so that the others line up at the end."""
    missing = ndim - (part.ndim - hidden)
    if not hidden or missing <= 0:
        return part
    return part.reshape(part.shape[:hidden] + (1,) * missing + part.shape[hidden:])


def aligned_operands(operands: Sequence[Any]) -> list[Any]:
    """Give all operands as many axes as the one with most, so that their storage broadcasts."""
    ndim = max(operand.ndim for operand in operands)
    return [
        operand
        if operand.hidden == 0 or operand.ndim == ndim
        else operand.moved(lambda part, lead: insert_axes(part, lead, ndim))
        for operand in operands
    ]


def joined(operands: Sequence[Any], places: Storage) -> Any:
    """Return elements of several arrays, at places of all of them flattened one after the other."""
    leading = max(operands, key=lambda operand: operand.hidden)
    lead = np.broadcast_shapes(*(o.parts[0].shape[: o.hidden] for o in operands))

    def flat(part: Storage, hidden: int, size: int, lead: tuple[int, ...]) -> Storage:
        return np.broadcast_to(part.reshape(*part.shape[:hidden], size), (*lead, size))

    result = leading.with_parts(
        [
            np.concatenate(
                [flat(p, o.hidden, o.size, lead) for p, o in zip(column, operands, strict=True)], -1
            )[..., places]
            for column in columns_of(operands)
        ],
        leading.hidden,
    )
    if any(operand.settled is not None for operand in operands):
        rows = lead[len(lead) - min(1, len(lead)) :]
        result.settled = np.concatenate(
            [
                flat(s, s.ndim - o.ndim, o.size, rows)
                for s, o in ((operand.spread_settled(), operand) for operand in operands)
            ],
            -1,
        )[..., places]
    return result.promoted(operands).is_result_of(("joined", digest(places)), operands)
