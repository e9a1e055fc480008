"""What NumPy's composed functions yield on every kind of number contains what NumPy computes."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import flint
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck.numbers import linalg
from gradcheck.numbers.arb import Real, Reals, series_of
from gradcheck.numbers.array import Choices, NoRuleError
from gradcheck.numbers.ball import Ball
from gradcheck.numbers.plain import Plain
from gradcheck.numbers.rounding import Rounding
from gradcheck.numbers.stochastic import Noise, Stochastic
from gradcheck.truth.enclosures import precision

FLOAT32, FLOAT64 = Rounding(np.dtype(np.float32)), Rounding(np.dtype(np.float64))
SEARCH = settings(max_examples=25, deadline=None, derandomize=True)


def ball(x, rounding=FLOAT64):
    return Ball.from_value(x, rounding, 1, Choices(len(x)))


def stochastic(x, rounding=FLOAT64):
    return Stochastic.from_value(x, rounding, Noise(0, 0), 1, Choices(len(x)))


def spd(x):
    """Return a positive definite matrix."""
    return x @ x.T + 2 * np.eye(len(x))


def at(write, *rest):
    def call(x):
        y = x * 1.0
        write(y, *rest)
        return y

    return call


MATRIX: dict[str, Callable[[Any], Any]] = {
    "add.at": at(np.add.at, [0, 1, 0], np.arange(9.0).reshape(3, 3)),
    "add.at of places": at(np.add.at, ([0, 0, 2], [1, 1, 1]), 0.5),
    "subtract.at": at(np.subtract.at, (slice(None), 0), np.ones(3)),
    "put_along_axis": at(np.put_along_axis, np.array([[0], [2], [1]]), 7.0, 1),
    "fill_diagonal": at(np.fill_diagonal, 0.25),
    "copyto": at(np.copyto, np.arange(3.0)),
    "diff": np.diff,
    "diff twice": lambda x: np.diff(x, n=2, axis=0),
    "diff with ends": lambda x: np.diff(x, axis=0, prepend=0.0, append=x[:1]),
    "sort": np.sort,
    "sort along": lambda x: np.sort(x, axis=0),
    "sort all": lambda x: np.sort(x, axis=None),
    "x.sort": at(lambda y: y.sort(axis=0)),
    "argsort": lambda x: np.argsort(x) * 1.0,
    "take_along_axis": lambda x: np.take_along_axis(x, np.argsort(-x, axis=1), 1),
    "largest two": lambda x: np.sum(np.where(x >= np.sort(x, axis=1)[:, -2:-1], x, 0.0), axis=1),
    "partition": lambda x: np.partition(x, 1)[:, 1],
    "argpartition": lambda x: np.take_along_axis(x, np.argpartition(x, 1, axis=1), 1)[:, 1],
    "argmax": lambda x: np.argmax(x, axis=1) * 1.0,
    "solve": lambda x: np.linalg.solve(spd(x), x[0]),
    "solve a matrix": lambda x: np.linalg.solve(x + 3 * np.eye(3)[::-1], x.T),
    "solve stacks": lambda x: np.linalg.solve(np.stack([spd(x), spd(x.T)]), x),
    "inv": lambda x: np.linalg.inv(spd(x)),
    "det": lambda x: np.linalg.det(x + np.eye(3)[[1, 2, 0]]),
    "slogdet": lambda x: np.linalg.slogdet(x - 2 * np.eye(3)[::-1]).logabsdet,
    "sign of slogdet": lambda x: np.linalg.slogdet(x - 4 * np.eye(3)[::-1])[0],
    "cholesky": lambda x: np.linalg.cholesky(spd(x)),
    "convolve": lambda x: np.convolve(x[0], x[1, :2]),
    "convolve same": lambda x: np.convolve(x[0, :2], np.ravel(x), mode="same"),
    "convolve valid": lambda x: np.convolve(np.ravel(x), [1.0, -2.0, 0.5], "valid"),
    "correlate": lambda x: np.correlate(np.ravel(x), x[0]),
    "correlate full": lambda x: np.correlate(x[0], x[1], "full"),
    "logaddexp": lambda x: np.logaddexp(x, x.T),
    "ptp": lambda x: np.ptp(x, axis=1),
    "count_nonzero": lambda x: np.count_nonzero(x > 0, axis=0) * 1.0,
    "any": lambda x: np.where(np.any(x > 1, axis=0), x[0], 0.0),
    "all": lambda x: np.where((x > -1).all(axis=1), x[0], 0.0),
    "isfinite": lambda x: np.where(np.isfinite(x), x, 0.0),
    "isnan": lambda x: np.where(np.isnan(x) | np.isinf(x), 0.0, x),
    "einsum with an ellipsis": lambda x: np.einsum("...i,...i->...", x, x),
    "einsum, ellipsis last": lambda x: np.einsum("i...,ij->j...", x, x),
    "einsum, ellipsis alone": lambda x: np.einsum("...,...", x, x),
    "kron": lambda x: np.kron(x[:2], x[0]),
    "cross": lambda x: np.cross(x[0], x),
    "select": lambda x: np.select([x > 1, x > 0], [x * x, -x], 0.5),
    "piecewise": lambda x: np.piecewise(x, [x < 0, x > 1], [lambda u: -u, 3.0, lambda u: u * u]),
    "vecdot": lambda x: np.vecdot(x, x.T),
    "logical_xor": lambda x: np.where(np.logical_xor(x > 0, x > 1), x, 0.0),
    "zeros of its dtype": lambda x: x + np.zeros(3, dtype=x.dtype),
    "empty_like": lambda x: at(lambda y: y.fill(2.0))(np.empty_like(x, dtype=x.dtype)),
}
every_operation = pytest.mark.parametrize("name", MATRIX)


def drawn(seed, samples=4):
    """Return matrices whose elements are apart, in float32."""
    random = np.random.default_rng(seed)
    values = random.permuted(np.tile(np.arange(9) / 3 - 1.4, (samples, 1)), axis=1)
    values = values + random.uniform(-0.1, 0.1, values.shape)
    return values.reshape(samples, 3, 3).astype(np.float32).astype(np.float64)


def escapes(name, make, rounding):
    """Tell which of NumPy's results lie outside, or are not told at all."""
    x, call = drawn(len(name)), MATRIX[name]
    result = call(make(x, rounding))
    expected = np.stack([call(sample) for sample in x.astype(rounding.dtype)])
    bar = np.broadcast_to(result.rad, result.mid.shape)
    assert result.mid.shape == expected.shape
    apart = np.abs(result.mid - expected)
    scale = np.abs(expected) + 1
    return (apart > bar) | ~(bar < 1e6 * rounding.unit_roundoff * scale)


@pytest.mark.parametrize("rounding", [FLOAT32, FLOAT64], ids=["float32", "float64"])
@pytest.mark.parametrize("make", [ball, stochastic])
@every_operation
def test_numpys_result_is_inside(name, make, rounding):
    assert not escapes(name, make, rounding).any()


@every_operation
def test_plain_numbers_yield_it(name):
    x, call = drawn(len(name)), MATRIX[name]
    expected = np.stack([call(sample) for sample in x])
    np.testing.assert_allclose(call(Plain(x, 1)).array, expected, rtol=1e-12, atol=1e-13)


@every_operation
def test_arb_numbers_are_close_to_it_and_balls_contain_them(name):
    x, call = drawn(len(name)), MATRIX[name]
    bars = call(ball(x))
    with precision(200):
        for sample in range(2):
            exact = call(Reals.from_value(x[sample])).reals
            for index in np.ndindex(exact.shape):
                one = exact[index]
                truth = one.constant if isinstance(one, Real) else flint.arb(series_of(one))
                assert truth.rad() < 1e-40
                distance = float(abs(truth - float(bars.mid[(sample, *index)])))
                bar = np.broadcast_to(bars.rad, bars.mid.shape)[(sample, *index)]
                assert distance <= bar * (1 + 1e-9)


def test_an_elimination_that_forgets_a_row_is_found(monkeypatch):
    honest = linalg._reordered
    monkeypatch.setattr(linalg, "_reordered", lambda x, order: honest(x, 0 * order))
    assert escapes("inv", ball, FLOAT64).any()


def test_a_determinant_that_forgets_its_sign_is_found(monkeypatch):
    honest = linalg._eliminated
    monkeypatch.setattr(linalg, "_eliminated", lambda a, b: (honest(a, b)[0], 1))
    assert escapes("det", ball, FLOAT64).any()


@SEARCH
@given(st.lists(st.integers(-9, 9), min_size=9, max_size=9))
def test_a_determinant_contains_the_exact_one(numbers):
    a = np.array(numbers, float).reshape(3, 3) / 8
    f = [[Fraction(x) for x in row] for row in a.tolist()]
    exact = sum(
        f[0][i] * (f[1][(i + 1) % 3] * f[2][(i + 2) % 3] - f[1][(i + 2) % 3] * f[2][(i + 1) % 3])
        for i in range(3)
    )
    found = np.linalg.det(ball(a[None]))
    rad = float(np.broadcast_to(found.rad, found.mid.shape)[0])
    assert rad == np.inf or abs(Fraction(float(found.mid[0])) - exact) <= Fraction(rad)


@pytest.mark.parametrize("make", [ball, stochastic])
def test_labels_of_each_sample_say_where_to_add(make):
    label = np.array([[0, 2, 0], [1, 1, 1]])
    x = make(np.array([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]]))
    y = np.zeros_like(x)
    np.add.at(y, Ball.from_value(label, FLOAT64, 1) if make is ball else make(label), x)
    assert y.mid.tolist() == [[5, 0, 2], [0, 56, 0]]


@pytest.mark.parametrize("make", [ball, stochastic])
def test_an_order_that_is_open_is_a_branch(make):
    x = make(np.array([[1.0, 2.0], [1.0, 1.0]])) / 3
    np.sort(x)
    assert x.choices.branched.tolist() == [False, True]
    same = make(np.ones((1, 3)))
    np.argsort(np.zeros_like(same))
    assert not same.choices.branched.any()


def test_the_dtype_is_that_of_the_format():
    x = ball(drawn(0), FLOAT32)
    assert x.dtype == np.float32
    assert x.dtype.type is np.float32
    assert (np.zeros_like(x).dtype, (x * 2).T.dtype) == (np.float32, np.float32)
    assert stochastic(drawn(0), FLOAT32).dtype == np.float32
    assert Plain(drawn(0), 1).dtype == np.float64
    assert Reals.from_value(1.5).dtype == np.float64
    assert ball(np.array([1, 2])).dtype == np.int64
    assert np.zeros_like(ball(np.array([[1, 2]]))).dtype == np.int64
    assert np.ones_like(x, dtype=int).is_discrete


# Infinities and masks


BIG = (-np.inf, -1e30, -1e15, np.inf, 1e300)
REDUCING: dict[str, Callable[[Any], Any]] = {
    "max": lambda s: np.max(s, axis=-1),
    "min, keepdims": lambda s: np.min(s, axis=-1, keepdims=True),
    "softmax": lambda s: np.exp(s - np.max(s, axis=-1, keepdims=True)),
    "sum": lambda s: np.sum(s, axis=0),
    "matmul": lambda s: s @ np.ones(s.shape[-1]),
    "logaddexp": lambda s: np.logaddexp(s, s[..., ::-1]),
    "sort": lambda s: np.sort(s),
    "argmax": lambda s: np.argmax(s, axis=-1) * 1.0,
    "compare": lambda s: (s >= np.max(s)) * 1.0,
    "pairs": lambda s: np.where(s[..., None] > s[..., None, :], 1.0, 0.0).sum(axis=-1),
    "finite": lambda s: np.where(np.isfinite(s), s, 0.0),
    "written": at(lambda y: y.__setitem__(..., np.maximum(y, -1.0))),
    "diff": lambda s: np.diff(s),
    "products": lambda s: np.einsum("...i,...j->...", s, s),
    "clip": lambda s: np.clip(s, -2, 2),
    "ptp": lambda s: np.ptp(s),
    "cumsum": lambda s: np.cumsum(s, axis=-1),
    "mean": lambda s: s.mean(axis=-1),
}


@pytest.mark.parametrize("make", [ball, stochastic])
@pytest.mark.parametrize("name", REDUCING)
@settings(SEARCH, max_examples=12)
@given(
    shape=st.lists(st.integers(1, 3), min_size=1, max_size=2),
    big=st.sampled_from(BIG),
    seed=st.integers(0, 99),
)
def test_masks_and_infinities_are_followed(make, name, shape, big, seed):
    random = np.random.default_rng(seed)
    mask, x = random.random(shape) < 0.5, random.normal(size=(2, *shape))
    call = REDUCING[name]
    result = call(np.where(mask, make(x), big))
    with np.errstate(all="ignore"):
        expected = np.stack([call(np.where(mask, sample, big)) for sample in x])
        bar = np.broadcast_to(result.rad, result.mid.shape)
        apart = np.abs(result.mid - expected)
    assert result.mid.shape == expected.shape
    both = np.isfinite(expected) & np.isfinite(result.mid)
    assert (apart[both] <= bar[both]).all()
    assert (~np.isnan(expected) | (bar == np.inf) | np.isnan(result.mid)).all()
    if name in ("max", "sort", "clip") and big == -np.inf:
        assert (bar[expected == -np.inf] == 0).all()


def test_a_product_of_masks_of_integers_and_numbers_is_refused_or_right():
    with pytest.raises(NoRuleError):
        ball(np.array([[1, 2]])) & ball(np.array([[3, 4]]))


def test_what_is_surely_undefined_stays_so_where_it_is_chosen():
    undefined = Ball(np.array([[np.nan, 1.0]]), np.zeros((1, 2)), FLOAT64, 1, Choices(1))
    chosen = np.where(np.array([False, True]), undefined, 2.0)
    assert chosen.mid.tolist() == [[2.0, 1.0]]
    total = np.sum(undefined)
    assert np.isnan(total.mid).all()
    assert (total.rad == 0).all()
    wide = Ball(np.zeros((1, 2)), np.ones((1, 2)), FLOAT64, 1, Choices(1)) > 0
    assert np.where(wide, undefined, 2.0).rad[0, 0] == np.inf


@pytest.mark.parametrize("value", [1j, np.array([1j, 2.0])])
def test_complex_constants_are_refused_and_not_cut(value):
    x = Ball.from_value(np.array([[1.0, 2.0]]), FLOAT64, 1)
    with pytest.raises(NoRuleError, match="complex numbers"):
        x + value
