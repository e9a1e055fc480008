"""Inputs for the functions of JAX: for most by trying, for the others by a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Call:
    """What a function is called with.

    Parameters
    ----------
    arguments
        Pytrees; arrays of floats among them are differentiated, or else Python's floats.
    options
        Other arguments by name, no arrays.
    via
        Calls the function that it is given first, where an argument depends on another.
    """

    arguments: tuple[Any, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    via: Callable[..., Any] | None = None

    def bound(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with its options."""
        if self.via is not None:
            return partial(self.via, function)

        def called(*arguments: Any) -> Any:
            return function(*arguments, **self.options)

        return called


def call(*arguments: Any, via: Callable[..., Any] | None = None, **options: Any) -> Call:
    """Write a call as it would be written."""
    return Call(arguments, options, via)


def normal(*shape: int, seed: int = 0) -> Array:
    """Return numbers of both signs."""
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def within(*shape: int, seed: int = 0) -> Array:
    """Return numbers between 0 and 1."""
    return np.random.default_rng([seed, *shape]).uniform(0.1, 0.9, size=shape)


def above(*shape: int, seed: int = 0) -> Array:
    """Return numbers above 1."""
    return np.random.default_rng([seed, *shape]).uniform(1.1, 3.0, size=shape)


def square(size: int, seed: int = 0) -> Array:
    """Return a matrix that is far from singular."""
    return normal(size, size, seed=seed) + 3 * np.eye(size)


def positive(size: int) -> Array:
    """Return a positive definite matrix."""
    matrix = square(size)
    return np.asarray(matrix @ matrix.T / 3)


X, Y, MASK = normal(3, 4), normal(3, 4, seed=1), normal(3, 4, seed=2) > 0
V, W = normal(4), normal(4, seed=1)
S, T = square(3), square(3, seed=1)
SCALAR, LARGE, SMALL = normal(), above(), within()
PLACES = np.array([0, 2, 2])
ROWS = np.array([[0], [3], [1]])
FLAGS = np.array([True, False, True])

COMMON: Sequence[Sequence[Call]] = [
    [call(X), call(within(4)), call(above(2, 3))],
    [
        call(X, Y),
        call(within(3, 1), within(4)),
        call(above(2, 3), above(2, 3, seed=1)),
        call(V, W),
    ],
]
"""For functions that have no inputs of their own, of one argument and of two."""
OF_MATRICES: Sequence[Sequence[Call]] = [
    [call(S), call(positive(3)), call(X)],
    [call(S, T), call(X, Y), call(V, W)],
]
"""The same, for linear algebra."""


def _branches(piecewise: Any, x: Any) -> Any:
    return piecewise(x, [x < 0, x >= 0], [lambda x: x * x, lambda x: 3 * x])


def _total(row: Any) -> Any:
    return (row * row).sum()


def _kept_total(array: Any, axis: int) -> Any:
    return (array * array).sum(axis, keepdims=True)


_PROBABILITIES = [call(within(4), within(4, seed=1)), call(within(2, 3), within(3, seed=1))]
_LARGE_PAIRS = [call(above(4), above(4, seed=1)), call(above(2, 3), above(3, seed=1))]
_PART = [call(X, 0.3), call(X, 0.3, 1)]
_PERCENT = [call(X, 30.0), call(X, 30.0, 1)]
_PARTS = [call(X, 2, 1), call(normal(4, 4), 2)]

GIVEN: Mapping[str, Sequence[Call]] = {
    # Shapes and places
    "apply_along_axis": [call(_total, 0, X)],
    "apply_over_axes": [call(_kept_total, X, [0, 1])],
    "array_split": [call(X, 3, 1)],
    "astype": [call(X, float)],
    "block": [call([[X, Y], [Y, X]])],
    "broadcast_arrays": [call(X, V)],
    "broadcast_to": [call(V, (3, 4))],
    "choose": [call(np.array([0, 1, 1, 0]), [V, W], mode="clip")],
    "column_stack": [call([V, W]), call([X, Y])],
    "compress": [call(FLAGS, X, axis=0, size=2)],
    "concat": [call([X, Y]), call([X, Y], axis=1)],
    "concatenate": [call([X, Y]), call([X, Y], 1)],
    "delete": [call(X, 1, 0), call(V, np.array([0, 2]))],
    "dsplit": [call(normal(2, 2, 4), 2)],
    "dstack": [call([X, Y])],
    "expand_dims": [call(X, 0), call(X, (0, 2))],
    "extract": [call(MASK, X, size=4)],
    "fill_diagonal": [call(S, SCALAR, inplace=False)],
    "full": [call((2, 3), SCALAR)],
    "full_like": [call(X, SCALAR)],
    "hsplit": _PARTS,
    "hstack": [call([X, Y]), call([V, W])],
    "insert": [call(V, 1, SCALAR), call(X, 1, V, axis=0)],
    "linspace": [call(SCALAR, LARGE, 5)],
    "logspace": [call(SCALAR, LARGE, 5)],
    "geomspace": [call(SMALL, LARGE, 5)],
    "meshgrid": [call(V, normal(3))],
    "moveaxis": [call(X, 0, 1)],
    "pad": [
        call(X, 1),
        call(X, ((0, 1), (2, 1)), "reflect"),
        call(X, 1, "edge"),
        call(X, 1, "linear_ramp"),
        call(X, 1, "mean"),
    ],
    "permute_dims": [call(X, (1, 0))],
    "place": [call(X, MASK, V, inplace=False)],
    "put": [call(V, np.array([0, 2]), normal(2), inplace=False)],
    "put_along_axis": [call(X, ROWS, normal(3, 1), 1, inplace=False)],
    "repeat": [call(X, 2), call(X, 2, 1)],
    "reshape": [call(X, (4, 3)), call(X, (2, -1), "F")],
    "resize": [call(X, (2, 5))],
    "roll": [call(X, 1), call(X, 1, 1)],
    "rollaxis": [call(X, 1)],
    "rot90": [call(X), call(X, 2)],
    "select": [call([MASK, ~MASK], [X, Y])],
    "split": [call(X, 2, 1), call(X, 3)],
    "squeeze": [call(normal(1, 4)), call(normal(2, 1), 1)],
    "stack": [call([X, Y]), call([X, Y], 1)],
    "swapaxes": [call(X, 0, 1)],
    "take": [call(X, PLACES), call(X, PLACES, 1)],
    "take_along_axis": [call(X, ROWS, 1)],
    "tile": [call(X, 2), call(X, (2, 1, 2))],
    "trim_zeros": [call(V)],
    "vsplit": [call(normal(4, 2), 2)],
    "vstack": [call([X, Y]), call([V, W])],
    "where": [call(MASK, X, Y), call(MASK, X, SCALAR)],
    **{
        name: [call(X, size=12)]
        for name in ("unique", "unique_all", "unique_counts", "unique_inverse", "unique_values")
    },
    **{name: [call(V, W, size=8)] for name in ("intersect1d", "setdiff1d", "setxor1d", "union1d")},
    # Numbers
    "average": [call(X), call(X, 1, within(4))],
    "bincount": [call(PLACES, normal(3), length=3)],
    "clip": [call(X, -0.5, 0.5), call(X, Y, Y + 1)],
    "cumulative_sum": [call(V), call(X, axis=1)],
    "cumulative_prod": [call(V), call(X, axis=1)],
    "float_power": [call(above(4), W)],
    "power": [call(above(4), W), call(X, 3)],
    "pow": [call(above(4), W), call(X, 3)],
    "histogram": [call(V, 3), call(V, W, via=lambda f, v, w: f(v, 3, weights=w))],
    "interp": [call(3 * within(5), np.arange(4.0), V)],
    "kaiser": [call(4, float(LARGE))],
    "ldexp": [call(V, np.array([1, 2, 0, -1]))],
    "lexsort": [call((V, W))],
    "partition": [call(X, 2)],
    "percentile": _PERCENT,
    "nanpercentile": _PERCENT,
    "quantile": _PART,
    "nanquantile": _PART,
    "piecewise": [call(X, via=_branches)],
    "polydiv": [call(V, normal(2))],
    "polyfit": [call(V, W, 1)],
    "polyval": [call(V, X)],
    "trapezoid": [call(X), call(X, np.sort(W))],
    "vander": [call(V)],
    # Products
    "cross": [call(normal(2, 3), normal(2, 3, seed=1)), call(normal(3), normal(3, seed=1))],
    "dot": [call(X, normal(4, 2)), call(V, W)],
    "einsum": [call("ij,jk->ki", X, normal(4, 2)), call("ii->i", S), call("ij,ij->", X, Y)],
    "matmul": [call(X, normal(4, 2)), call(normal(2, 3, 4), V)],
    "matvec": [call(X, V)],
    "vecmat": [call(normal(3), X)],
    "tensordot": [call(X, normal(4, 2), axes=1), call(X, Y, axes=2)],
    "multi_dot": [call([X, normal(4, 2), normal(2, 3)])],
    # Linear algebra
    "cholesky": [call(positive(3)), call(positive(2))],
    "lstsq": [call(normal(4, 2), V)],
    "matrix_power": [call(S, 3), call(S, -2)],
    "solve": [call(S, normal(3, 2)), call(S, normal(3))],
    "tensorinv": [call(square(4).reshape(4, 2, 2), 1)],
    "tensorsolve": [call(square(4).reshape(2, 2, 4), normal(2, 2))],
    "qr": [call(S), call(normal(4, 2))],
    # Networks
    "dot_product_attention": [
        call(normal(1, 3, 2, 4), normal(1, 3, 2, 4, seed=1), normal(1, 3, 2, 4, seed=2))
    ],
    "one_hot": [call(PLACES, 3)],
    "scaled_matmul": [call(normal(1, 3, 4), normal(1, 2, 4), within(1, 3, 1), within(1, 2, 1))],
    "scaled_dot_general": [call(X, normal(4, 2), (((1,), (0,)), ((), ())))],
    # Special functions
    "bessel_jn": [call(above(4), v=2)],
    "beta": _LARGE_PAIRS,
    "betainc": [call(within(4), via=lambda betainc, x: betainc(1.5, 2.5, x))],
    "betaln": _LARGE_PAIRS,
    "expn": [call(2, above(4)), call(3, within(4))],
    "gammainc": _LARGE_PAIRS,
    "gammaincc": _LARGE_PAIRS,
    "hyp1f1": [call(above(3), above(3, seed=1), within(3))],
    "hyp2f1": [call(above(3), above(3, seed=1), above(3, seed=2), within(3))],
    "kl_div": _PROBABILITIES,
    "rel_entr": _PROBABILITIES,
    "multigammaln": [call(3 + within(4), 2)],
    "polygamma": [call(1, above(4)), call(2, within(4)), call(0, above(4))],
    "sph_harm_y": [call(np.array([1, 2]), np.array([0, 1]), within(2), above(2), n_max=2)],
    "zeta": [call(above(4), above(4, seed=1)), call(2, above(4))],
}
"""By the name of a function; the module's name before it where two modules differ."""
