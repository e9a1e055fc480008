"""The methods of NumPy's arrays, as far as passes use them: each is the function of that name."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from gradcheck.numbers.errors import NoRuleError

_np: Any = np
"""NumPy, whose functions take more than they are declared to."""


class Methods:
    """What `x.sum()` and its like mean."""

    __slots__ = ()

    @property
    def T(self) -> Any:  # noqa: N802
        """The transpose."""
        return _np.transpose(self)

    @property
    def mT(self) -> Any:  # noqa: N802
        """The transpose of the last two axes."""
        return _np.swapaxes(self, -1, -2)

    @property
    def flat(self) -> NoReturn:
        """Refuse."""
        raise NoRuleError("balls have no rule for numpy.ndarray.flat; use reshape(-1)")

    def sum(self, axis: Any = None, keepdims: bool = False) -> Any:
        """Add up."""
        return _np.sum(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Any:
        """Add up and divide."""
        return _np.mean(self, axis=axis, keepdims=keepdims)

    def var(self, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
        """Mean square of the deviations from the mean."""
        return _np.var(self, axis=axis, ddof=ddof, keepdims=keepdims)

    def std(self, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
        """Root of the variance."""
        return _np.std(self, axis=axis, ddof=ddof, keepdims=keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Any:
        """Return the largest."""
        return _np.max(self, axis=axis, keepdims=keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> Any:
        """Return the smallest."""
        return _np.min(self, axis=axis, keepdims=keepdims)

    def any(self, axis: Any = None, keepdims: bool = False) -> Any:
        """Tell whether one holds."""
        return _np.any(self, axis=axis, keepdims=keepdims)

    def all(self, axis: Any = None, keepdims: bool = False) -> Any:
        """Tell whether all hold."""
        return _np.all(self, axis=axis, keepdims=keepdims)

    def prod(self, axis: Any = None, keepdims: bool = False) -> Any:
        """Multiply."""
        return _np.prod(self, axis=axis, keepdims=keepdims)

    def argmax(self, axis: Any = None, keepdims: bool = False) -> Any:
        """Return where the largest is."""
        return _np.argmax(self, axis=axis, keepdims=keepdims)

    def argmin(self, axis: Any = None, keepdims: bool = False) -> Any:
        """Return where the smallest is."""
        return _np.argmin(self, axis=axis, keepdims=keepdims)

    def argsort(self, axis: Any = -1) -> Any:
        """Return from where the sorted elements come."""
        return _np.argsort(self, axis=axis)

    def argpartition(self, kth: Any, axis: Any = -1) -> Any:
        """Return from where the sorted elements come."""
        return _np.argpartition(self, kth, axis=axis)

    def cumsum(self, axis: Any = None) -> Any:
        """Add up as far as each place."""
        return _np.cumsum(self, axis=axis)

    def take(self, indices: Any, axis: Any = None) -> Any:
        """Return elements."""
        return _np.take(self, indices, axis=axis)

    def repeat(self, repeats: Any, axis: Any = None) -> Any:
        """Return each element several times."""
        return _np.repeat(self, repeats, axis=axis)

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
        """Return the diagonal."""
        return _np.diagonal(self, offset=offset, axis1=axis1, axis2=axis2)

    def trace(self) -> Any:
        """Add up the diagonal."""
        return _np.trace(self)

    def nonzero(self) -> Any:
        """Return where elements are not zero."""
        return _np.nonzero(self)

    def ravel(self) -> Any:
        """Return all in one axis."""
        return _np.ravel(self)

    def swapaxes(self, one: int, other: int) -> Any:
        """Exchange two axes."""
        return _np.swapaxes(self, one, other)

    def squeeze(self, axis: Any = None) -> Any:
        """Drop axes of length one."""
        return _np.squeeze(self, axis=axis)

    def dot(self, other: Any) -> Any:
        """Matrix product."""
        return _np.dot(self, other)

    def clip(self, low: Any = None, high: Any = None) -> Any:
        """Limit to a range."""
        return _np.clip(self, low, high)

    def reshape(self, *shape: Any) -> Any:
        """Return another shape of the same elements."""
        return _np.reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Any:
        """Permute the axes."""
        order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes or None
        return _np.transpose(self, order)

    def flatten(self) -> Any:
        """Return a copy of all in one axis."""
        return _np.ravel(self).copy()

    def fill(self, value: Any) -> None:
        """Write one value everywhere."""
        self[...] = value  # type: ignore[index]

    def sort(self, axis: int = -1) -> None:
        """Sort in place."""
        self[...] = _np.sort(self, axis=axis)  # type: ignore[index]
