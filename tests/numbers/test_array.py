"""The hidden sample axis: what a function does to all samples is what NumPy does to each."""

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gradcheck.numbers.array import Batched, Choices, InPlaceError, NoRuleError, OneSampleError
from gradcheck.numbers.ball import EXACT, Ball
from gradcheck.numbers.dispatch import JOINING, REARRANGEMENTS, Number
from gradcheck.numbers.plain import Plain
from gradcheck.numbers.rounding import Rounding
from gradcheck.numbers.stochastic import RUNS, Noise, Stochastic

FLOAT32, FLOAT64 = Rounding(np.dtype(np.float32)), Rounding(np.dtype(np.float64))


def ball(mid, rad=None, hidden=1, both=True, rounding=FLOAT64):
    mid = np.asarray(mid)
    rad = EXACT if rad is None else np.broadcast_to(np.float64(rad), mid.shape)
    return Ball(mid, rad, rounding, hidden, Choices(len(mid) if mid.ndim else 0, both))


def stochastic(values, hidden=1):
    values = np.asarray(values)
    choices = Choices(len(values) if values.ndim else 0)
    return Stochastic.from_value(values, FLOAT32, Noise(0, 0), hidden, choices)


# What only moves numbers about


def written(write: Callable[..., None]) -> Callable[..., Any]:
    """Make a function of one that writes to a copy."""

    def function(x, c):
        y = x.copy()
        write(y, c)
        return y

    return function


def write_to(*index):
    def write(y, c):
        y[index] = c(2.5)

    return written(write)


def write_own(target, source):
    def write(y, c):
        y[target] = y[source]

    return written(write)


def fill(y, c):
    y.fill(c(3.5))


MOVES: dict[str, tuple[str, Callable[..., Any]]] = {
    "x[0]": ("ab", lambda x, c: x[0]),
    "x[:, 0]": ("ab", lambda x, c: x[:, 0]),
    "x[1:, ::-1]": ("ab", lambda x, c: x[1:, ::-1]),
    "x[None]": ("ab", lambda x, c: x[None]),
    "x[..., 0]": ("abc", lambda x, c: x[..., 0]),
    "x[...] of a number": ("", lambda x, c: x[...]),
    "x[[0, -1]]": ("ab", lambda x, c: x[[0, -1]]),
    "x[[0, -1], [0, -1]]": ("ab", lambda x, c: x[[0, -1], [0, -1]]),
    "x[[0], :, [-1, 0]]": ("abc", lambda x, c: x[[0], :, [-1, 0]]),
    "x[np.ix_]": ("ab", lambda x, c: x[np.ix_([0, -1], [0])]),
    "x[plain mask]": ("ab", lambda x, c: x[np.arange(x.shape[0]) % 2 == 0]),
    "x[:, plain mask]": ("ab", lambda x, c: x[:, np.arange(x.shape[1]) > 0]),
    "iteration": ("ab", lambda x, c: list(x)),
    "x[0] = c": ("ab", write_to(0)),
    "x[0, -1] = c": ("ab", write_to(0, -1)),
    "x[[0, -1]] = c": ("ab", write_to([0, -1])),
    "x[plain mask] = c": ("ab", written(lambda y, c: y.__setitem__(np.eye(*y.shape) > 0, c(2.0)))),
    "x[1:] = x[:-1]": ("ab", write_own(slice(1, None), slice(-1))),
    "x[::-1] = x": ("ab", write_own(slice(None, None, -1), slice(None))),
    "x[...] = x[0]": ("ab", write_own(..., 0)),
    "x[[0, 0]] = x[[0, -1]]": ("ab", write_own([0, 0], [0, -1])),
    "fill": ("ab", written(fill)),
    "reshape": ("ab", lambda x, c: np.reshape(x, -1)),
    "x.reshape(tuple)": ("ab", lambda x, c: x.reshape((x.shape[1], x.shape[0]))),
    "x.reshape(numbers)": ("abc", lambda x, c: x.reshape(x.shape[0], -1)),
    "ravel": ("abc", lambda x, c: x.ravel()),
    "flatten": ("ab", lambda x, c: x.flatten()),
    "T": ("abc", lambda x, c: x.T),
    "mT": ("abc", lambda x, c: x.mT),
    "matrix_transpose": ("abc", lambda x, c: np.matrix_transpose(x)),
    "transpose": ("abc", lambda x, c: np.transpose(x, (1, 2, 0))),
    "x.transpose(tuple)": ("abc", lambda x, c: x.transpose((0, 2, 1))),
    "swapaxes": ("abc", lambda x, c: np.swapaxes(x, 0, -1)),
    "moveaxis": ("abc", lambda x, c: np.moveaxis(x, 0, -1)),
    "expand_dims": ("ab", lambda x, c: np.expand_dims(x, (0, -1))),
    "squeeze": ("ab", lambda x, c: np.squeeze(x[:1, None])),
    "x.squeeze(axis)": ("ab", lambda x, c: x[None].squeeze(0)),
    "broadcast_to": ("ab", lambda x, c: np.broadcast_to(x, (2, *x.shape))),
    "flip": ("ab", lambda x, c: np.flip(x, axis=0)),
    "fliplr": ("ab", lambda x, c: np.fliplr(x)),
    "flipud": ("ab", lambda x, c: np.flipud(x)),
    "rot90": ("ab", lambda x, c: np.rot90(x)),
    "roll an axis": ("ab", lambda x, c: np.roll(x, -1, axis=1)),
    "repeat along an axis": ("ab", lambda x, c: np.repeat(x, 3, axis=-1)),
    "tile": ("ab", lambda x, c: np.tile(x, (2, 1, 2))),
    "take": ("ab", lambda x, c: np.take(x, [0, -1], axis=1)),
    "rollaxis": ("abc", lambda x, c: np.rollaxis(x, 2)),
    "hsplit": ("ab", lambda x, c: np.hsplit(x[:, [0, 0]], 2)),
    "vsplit": ("ab", lambda x, c: np.vsplit(x[[0, 0]], 2)),
    "linalg.matrix_transpose": ("ab", lambda x, c: np.linalg.matrix_transpose(x)),
    "linalg.diagonal": ("ab", lambda x, c: np.linalg.diagonal(x)),
    "diag of a vector": ("a", lambda x, c: np.diag(x)),
    "diag above": ("a", lambda x, c: np.diag(x, 1)),
    "diagonal": ("abc", lambda x, c: np.diagonal(x, axis1=0, axis2=2)),
    "tril": ("ab", lambda x, c: np.tril(x)),
    "triu": ("abc", lambda x, c: np.triu(x, 1)),
    "pad": ("ab", lambda x, c: np.pad(x, 1)),
    "pad one side": ("ab", lambda x, c: np.pad(x, ((1, 0), (0, 2)))),
    "pad by the edge": ("ab", lambda x, c: np.pad(x, 1, mode="edge")),
    "split": ("ab", lambda x, c: np.split(x, [1], axis=1)),
    "array_split": ("ab", lambda x, c: np.array_split(x, 2)),
    "atleast_1d": ("", lambda x, c: np.atleast_1d(x)),
    "atleast_2d": ("a", lambda x, c: np.atleast_2d(x)),
    "delete": ("ab", lambda x, c: np.delete(x, 0, axis=0)),
    "resize": ("ab", lambda x, c: np.resize(x, (3, 2))),
    "concatenate along an axis": ("ab", lambda x, c: np.concatenate((x, x[:, ::-1]), axis=-1)),
    "concatenate all": ("ab", lambda x, c: np.concatenate([x, x], axis=None)),
    "concatenate with numbers": ("a", lambda x, c: np.concatenate([x, [c(1.0), c(2.0)]])),
    "stack": ("ab", lambda x, c: np.stack([x, x[::-1]], axis=1)),
    "stack of numbers": ("a", lambda x, c: np.stack([x[0], c(1.0), x[-1]])),
    "vstack": ("a", lambda x, c: np.vstack([x, x])),
    "hstack": ("ab", lambda x, c: np.hstack([x, x])),
    "column_stack": ("a", lambda x, c: np.column_stack([x, x])),
    "dstack": ("ab", lambda x, c: np.dstack([x, x])),
    "copy": ("ab", lambda x, c: np.copy(x)),
    "zeros_like": ("ab", lambda x, c: np.zeros_like(x)),
    "zeros_like of a shape": ("ab", lambda x, c: np.zeros_like(x, shape=(2,))),
    "ones_like": ("ab", lambda x, c: c(np.ones_like(x))),
    "full_like": ("ab", lambda x, c: np.full_like(x, c(2.5))),
}
every_move = pytest.mark.parametrize("name", MOVES)


def numbers_of(kind: str, shape: tuple[int, ...], n: int) -> Batched:
    """Return as many different numbers, for n samples, of some kind; one axis at least is hidden.

    `shown` has no hidden axis, and then a single sample.
    """
    lead = {"stochastic": (RUNS + 1, n), "shown": ()}.get(kind, (n,))
    mid = 1.0 + np.arange(math.prod(lead) * math.prod(shape)).reshape((*lead, *shape))
    if kind == "plain":
        return Plain(mid.astype(np.float32), 1)
    if kind == "complex":
        return Plain(mid + 1e-3j, 1)
    if kind == "stochastic":
        return Stochastic(mid, FLOAT32, Noise(0, 0), 2, Choices(n))
    if kind == "integers":
        return Ball.from_value(mid.astype(np.int64), FLOAT64, 1, Choices(n))
    rad = EXACT if kind == "exact" else 1000 + mid
    return Ball(mid, rad, FLOAT64, len(lead), Choices(n))


KINDS = ["wide", "exact", "integers", "stochastic", "plain", "complex", "shown"]


def differences(call: Callable[..., Any], x: Batched) -> list[str]:
    """Compare with NumPy on each sample and each part; constants have no radius."""
    results = call(x, lambda value: value)
    several = isinstance(results, list)
    found = []
    for which, result in enumerate(results if several else [results]):
        assert isinstance(result, type(x))
        for part, (before, after) in enumerate(zip(x.whole(), result.whole(), strict=True)):
            lead = before.shape[: x.hidden]
            for i in np.ndindex(*lead):
                zero = part == 1
                expected = call(np.array(before[i]), lambda v, zero=zero: v * 0 if zero else v)
                expected = np.asarray(expected[which] if several else expected)
                if result.shape != expected.shape or not np.array_equal(after[i], expected):
                    found.append(f"part {part} of sample {i}: {after[i]} for {expected}")
            assert after.shape[: x.hidden] == lead
    return found


@pytest.mark.parametrize("kind", KINDS)
@every_move
def test_all_samples_at_once_are_each_alone(name, kind):
    letters, call = MOVES[name]
    if kind == "integers" and (name in ("full_like", "fill") or " = c" in name):
        return  # NumPy truncates what is written

    random = np.random.default_rng(sum(map(ord, name)))
    for n in (2, 3, 1) if kind == "wide" else (2,):
        shape = tuple(random.integers(1, 5, len(letters)).tolist())
        assert differences(call, numbers_of(kind, shape, n)) == []


def test_no_samples_at_all_are_no_trouble():
    assert np.stack([numbers_of("wide", (2,), 0)] * 3).shape == (3, 2)


def test_every_function_that_moves_numbers_is_tried(monkeypatch):
    tried = set()
    for owner in (Number,):
        honest = owner.__dict__.get("__array_function__")
        if honest is None:
            continue

        def spy(self, function, types, args, kwargs, honest=honest):
            tried.add(function)
            return honest(self, function, types, args, kwargs)

        monkeypatch.setattr(owner, "__array_function__", spy)
    for letters, call in MOVES.values():
        call(numbers_of("wide", (2,) * len(letters), 1), lambda value: value)
    assert tried >= REARRANGEMENTS | JOINING


def test_a_move_into_the_next_sample_is_found():
    def wrong(x, c):
        if not isinstance(x, Ball):
            return x
        return x.with_parts([np.roll(part, 1, axis=0) for part in x.parts])

    assert differences(wrong, numbers_of("wide", (2,), 2)) != []


# Integers of each sample as indices


GATHERS = {
    "x[i]": lambda x, i, j: x[i],
    "x[i, j]": lambda x, i, j: x[i, j],
    "x[i, 0]": lambda x, i, j: x[i, 0],
    "x[-1, j]": lambda x, i, j: x[-1, j],
}


def gathered(name, make, index_shape, rows):
    call, random = GATHERS[name], np.random.default_rng(0)
    shape = (4,) if name == "x[i]" else (4, 3)
    x = random.normal(size=(rows, *shape))
    i, j = random.integers(0, 4, (rows, *index_shape)), random.integers(-3, 3, (rows, *index_shape))
    result = call(make(x), make(i), make(j))
    return result, np.stack([call(*sample) for sample in zip(x, i, j, strict=True)])


@pytest.mark.parametrize("rows", [1, 2, 4, 5])
@pytest.mark.parametrize("index_shape", [(), (2,), (4,), (2, 3)], ids=str)
@pytest.mark.parametrize("name", GATHERS)
def test_each_sample_is_indexed_with_its_own_integers(name, index_shape, rows):
    wide = lambda a: ball(a) if a.dtype.kind == "i" else ball(a, abs(a))  # noqa: E731
    result, expected = gathered(name, wide, index_shape, rows)
    np.testing.assert_array_equal(result.mid, expected, strict=True)
    np.testing.assert_array_equal(result.rad, abs(expected), strict=True)
    result, expected = gathered(name, lambda a: Plain(a, 1), index_shape, rows)
    np.testing.assert_array_equal(result.array, expected, strict=True)


@pytest.mark.parametrize("index_shape", [(), (2,)], ids=str)
@pytest.mark.parametrize("name", GATHERS)
def test_each_sample_of_every_run_is_indexed_with_its_own_integers(name, index_shape):
    result, expected = gathered(name, stochastic, index_shape, 3)
    np.testing.assert_array_equal(result.mid, expected, strict=True)


@pytest.mark.parametrize("rows", [2, 3, 5])
def test_a_label_for_each_row_of_a_sample_is_an_index(rows):
    x, label = np.random.default_rng(0).normal(size=(rows, 3, 4)), np.arange(rows * 3) % 4
    label = label.reshape(rows, 3)
    result = ball(x)[np.arange(3), ball(label)]
    expected = [a[np.arange(3), b] for a, b in zip(x, label, strict=True)]
    np.testing.assert_array_equal(result.mid, expected)


def test_one_label_of_a_sample_goes_with_every_row():
    """As many samples as rows: nothing but the result shows the mistake."""
    x, label = np.arange(12.0).reshape(2, 2, 3), np.array([0, 2])
    result = ball(x)[np.arange(2), ball(label)]
    expected = [a[np.arange(2), b] for a, b in zip(x, label, strict=True)]
    np.testing.assert_array_equal(result.mid, expected)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (lambda x: x[x * 2], "for a mask use numpy.where"),
        (lambda x: x[:1, ball(np.array([0]))], "cannot stand beside a slice"),
        (lambda x: x[None, ball(np.array([0]))], "cannot stand beside a slice"),
    ],
)
def test_an_index_that_is_no_integer_is_refused(index, message):
    with pytest.raises(NoRuleError, match=message):
        index(ball(np.ones((1, 2, 2))))


# Masks


MASKS = {
    "x > 0": lambda x: x > 0,
    "(x > 0) & (x < 1)": lambda x: (x > 0) & (x < 1),
    "(x < 0) | (x > 1)": lambda x: (x < 0) | (x > 1),
    "~(x > 0)": lambda x: ~(x > 0),
    "np.logical_not(x >= 1)": lambda x: np.logical_not(x >= 1),
    "np.logical_and": lambda x: np.logical_and(x > 0, x != 0.5),
    "np.logical_or": lambda x: np.logical_or(x > 1, x <= -1),
    "~((x > 0) & ~(x > 1))": lambda x: ~((x > 0) & ~(x > 1)),
}
MAKERS = {"ball": ball, "stochastic": stochastic, "plain": lambda a: Plain(a, 1)}


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("name", MASKS)
def test_masks_are_written_through_as_numpy_does(kind, name):
    make, mask = MAKERS[kind], MASKS[name]
    x = np.random.default_rng(0).normal(size=(5, 3, 4)) * 2
    expected = x.copy()
    expected[mask(x)] = 9.0
    number = make(x).copy()
    number[mask(number)] = 9.0
    np.testing.assert_array_equal(number.parts[0].reshape(-1, 5, 3, 4)[0], expected)
    chosen = np.where(mask(make(x)), 1.5, make(x))
    np.testing.assert_array_equal(
        chosen.parts[0].reshape(-1, 5, 3, 4)[0], np.where(mask(x), 1.5, x)
    )
    product = mask(make(x)) * make(x)
    np.testing.assert_array_equal(product.parts[0].reshape(-1, 5, 3, 4)[0], mask(x) * x)


# Comparisons

COMPARISONS = [np.greater, np.greater_equal, np.less, np.less_equal, np.equal, np.not_equal]
every_comparison = pytest.mark.parametrize("ufunc", COMPARISONS, ids=lambda u: u.__name__)


@every_comparison
def test_a_comparison_of_balls_that_are_apart_is_certain(ufunc):
    a, b = np.array([[1.0, 3.0]]), np.array([[2.0, 1.0]])
    result = ufunc(ball(a, 0.4), ball(b, 0.4))
    assert result.rad is EXACT
    assert result.mid.tolist() == ufunc(a, b).tolist()
    assert not result.choices.open.any()


@every_comparison
@pytest.mark.parametrize("rads", [(0.6, 0.6), (1.0, 0.0), (np.inf, 0.0), (np.nan, 0.0)], ids=str)
def test_a_comparison_of_balls_that_meet_is_open(ufunc, rads):
    a, b = np.array([[1.0], [9.0]]), np.array([[2.0], [1.0]])
    rad = np.array([[1.0], [0.0]])
    left, right = (ball(x, np.where(rad > 0, r, 0)) for x, r in zip((a, b), rads, strict=True))
    right.choices = left.choices
    result = ufunc(left, right)
    assert result.mid.tolist() == [[0.5], [float(ufunc(9.0, 1.0))]]
    assert result.rad.tolist() == [[0.5], [0.0]]
    assert left.choices.open.tolist() == [True, False]


@every_comparison
def test_an_open_comparison_may_be_answered_by_midpoints(ufunc):
    x = ball(np.array([[1.0], [9.0]]), 5.0, both=False)
    result = ufunc(x, 2.0)
    assert result.mid.tolist() == [[float(ufunc(1.0, 2.0))], [float(ufunc(9.0, 2.0))]]
    assert not np.any(result.rad)
    assert x.choices.open.tolist() == [True, False]


@pytest.mark.parametrize("ufunc", COMPARISONS[:4], ids=lambda u: u.__name__)
def test_an_exact_tie_of_numbers_is_open_for_a_kink_is_there(ufunc):
    x = ball(np.zeros((1, 1)))
    assert ufunc(x, 0.0).rad.tolist() == [[0.5]]
    assert x.choices.open.all()


def test_an_exact_equality_of_exact_numbers_is_certain():
    x = ball(np.array([[0.0, 1.0]]))
    assert (x == 0).mid.tolist() == [[1.0, 0.0]]
    assert (x != 0).mid.tolist() == [[0.0, 1.0]]
    assert not x.choices.open.any()


@every_comparison
def test_a_comparison_of_integers_is_never_open(ufunc):
    label = ball(np.array([0, 1, 2]))
    result = ufunc(label, 1)
    assert result.mid.tolist() == ufunc(np.arange(3), 1).tolist()
    assert not label.choices.open.any()
    rows = ufunc(np.arange(2), label[..., None])
    assert rows.mid.tolist() == ufunc(np.arange(2), np.arange(3)[:, None]).tolist()
    assert not label.choices.open.any()


def test_a_sum_of_integers_is_an_integer():
    label = ball(np.array([0, 1]))
    assert (label + 1).is_discrete


EXTREMA = {np.max: COMPARISONS, np.min: COMPARISONS}


@pytest.mark.parametrize("keepdims", [True, False])
@pytest.mark.parametrize("extremum", EXTREMA, ids=["max", "min"])
@pytest.mark.parametrize(
    "ufunc", [np.equal, np.not_equal, np.greater_equal, np.less_equal], ids=lambda u: u.__name__
)
def test_one_element_is_the_extremum_for_certain(ufunc, extremum, keepdims):
    values = np.array([[1.0, 3.0, 2.0], [5.0, 4.0, 6.0]])
    x = ball(values, 0.25)
    result = ufunc(x, extremum(x, keepdims=keepdims))
    assert result.rad is EXACT
    assert result.mid.tolist() == ufunc(values, extremum(values, axis=1, keepdims=True)).tolist()
    assert not x.choices.open.any()


def test_either_of_two_that_meet_may_be_the_extremum():
    x = ball(np.array([[1.0, 3.0, 3.25], [1.0, 3.0, 5.0]]), 0.25)
    result = x == x.max(axis=-1, keepdims=True)
    assert result.mid.tolist() == [[0.0, 0.5, 0.5], [0.0, 0.0, 1.0]]
    assert x.choices.open.tolist() == [True, False]


def test_an_extremum_lies_in_its_ball_and_is_no_wider_than_the_widest():
    random = np.random.default_rng(0)
    mid, rad = random.normal(size=(40, 3, 5)), random.uniform(0, 0.5, (40, 3, 5))
    x = ball(mid, rad)
    for axis in (None, 0, -1, (0, 1)):
        inner = None if axis is None else axis
        result = np.max(x, axis=inner)
        axes = (1, 2) if axis in (None, (0, 1)) else axis % 2 + 1
        assert (result.mid == mid.max(axis=axes)).all()
        for at in (-1, 0, 1):
            moved = mid + at * rad * random.integers(0, 2, rad.shape)
            assert (abs(moved.max(axis=axes) - result.mid) <= result.rad * (1 + 1e-12)).all()
        assert (result.rad <= rad.max(axis=axes)).all()
    assert x.min(axis=0).mid.tolist() == mid.min(axis=1).tolist()


def test_an_open_choice_contains_both():
    x = ball(np.array([[0.1], [7.0]]), np.array([[0.25], [0.25]]))
    a, b = ball(np.array([[1.0], [1.0]]), 0.5), ball(np.array([[4.0], [4.0]]), 1.0)
    chosen = np.where(x > 0, a, b)
    low, high = chosen.mid - chosen.rad, chosen.mid + chosen.rad
    assert low[0] <= 0.5
    assert high[0] >= 5.0
    assert (chosen.mid[1], chosen.rad[1]) == (1.0, 0.5)


@pytest.mark.parametrize(
    ("mask", "low", "high"),
    [
        (lambda u: ~u, 0, 1),
        (lambda u: u & True, 0, 1),
        (lambda u: u & False, 0, 0),
        (lambda u: u | True, 1, 1),
        (lambda u: u | False, 0, 1),
        (lambda u: 1 - u, 0, 1),
        (lambda u: u * u, 0, 1),
    ],
)
def test_a_mask_of_an_open_one_is_open_or_certain(mask, low, high):
    result = mask(ball(np.zeros((1, 1)), 1.0) > 0)
    rad = np.broadcast_to(result.rad, result.mid.shape)
    assert result.mid - rad <= low
    assert result.mid + rad >= high
    if low == high:
        assert (result.mid, rad) == (low, 0)


@pytest.mark.parametrize("mask", [lambda u, v: u * v, lambda u, v: 1 - u * v, lambda u, v: u + v])
def test_what_is_made_of_open_masks_is_open_to_where(mask):
    x = ball(np.zeros((1, 1)), 1.0)
    chosen = np.where(mask(x > 0, x > 0.1), 10.0, 20.0)
    assert chosen.mid - chosen.rad <= 10
    assert chosen.mid + chosen.rad >= 20


@pytest.mark.parametrize("value", [-1, 0.3, -0.5])
def test_any_number_but_zero_is_true(value):
    x = ball(np.array([value]))
    try:
        chosen, branch = np.where(x, 1.0, 2.0), bool(x)
    except NoRuleError:
        return
    assert chosen.mid == 1.0
    assert branch


@pytest.mark.parametrize(
    "call", [lambda i: i & 1, lambda i: i | 4, lambda i: ~i], ids=["&", "|", "~"]
)
def test_bits_of_integers_are_not_taken_for_truth_values(call):
    i = np.array([2, 5])
    try:
        result = call(ball(i))
    except NoRuleError:
        return
    assert result.mid.tolist() == call(i).tolist()


def test_an_if_needs_one_sample_and_tells_if_it_was_open():
    x = ball(np.array([1.0]), 2.0)
    assert isinstance(bool(x > 0), bool)
    assert x.choices.branched
    certain = ball(np.array([1.0]), 0.5)
    assert bool(certain > 0)
    assert not certain.choices.branched
    with pytest.raises(OneSampleError, match="one sample at a time"):
        bool(ball(np.ones(2)) > 0)


def test_an_integer_of_one_sample_counts():
    assert list(range(ball(np.array([3])))) == [0, 1, 2]
    assert ["a", "b"][ball(np.array([1]))] == "b"
    with pytest.raises(OneSampleError):
        range(ball(np.array([3, 4])))
    with pytest.raises(OneSampleError):
        range(ball(np.array([3.0])))


# Functions that are refused


REFUSED: dict[str, Callable[[Any], Any]] = {
    "array": np.array,
    "asarray": np.asarray,
    "array of several": lambda x: np.array([x, x]),
    "float": float,
    "int": int,
    "math.exp": lambda x: math.exp(x),
    "math.sqrt": lambda x: math.sqrt(x),
    "numpy.linalg.svd": np.linalg.svd,
    "numpy.linalg.eigh": np.linalg.eigh,
    "numpy.fft.fft": np.fft.fft,
    "numpy.ndarray.flat": lambda x: x.flat,
    "floor_divide": lambda x: x // 2,
    "divmod": lambda x: divmod(x, 2),
    "modf": np.modf,
    "allclose": lambda x: np.allclose(x, x),
    "nan_to_num": np.nan_to_num,
    "cumprod": np.cumprod,
    "median": np.median,
    "add.accumulate": np.add.accumulate,
    "add.outer": lambda x: np.add.outer(x, x),
    "subtract.reduce": np.subtract.reduce,
    "sin with where": lambda x: np.sin(x, where=[True, False]),
    "vectorize": lambda x: np.vectorize(lambda number: number + 1)(x),
    "apply_along_axis": lambda x: np.apply_along_axis(np.sum, 0, x),
    "interp": lambda x: np.interp(x, [0, 1], [0, 1]),
    "to an integer": lambda x: x.astype(int),
    "ord": lambda x: np.linalg.norm(x, ord=1),
    "norm of order 2": lambda x: np.linalg.norm(x, 2),
    "dot of stacks": lambda x: np.dot(x[None], x[None]),
    "a plain array that takes in": lambda x: operator.iadd(np.zeros((2, 2)), x),
    "a plain array to add to": lambda x: np.add.at(np.zeros(2), [0], x[0]),
    "a plain out": lambda x: np.add(x, x, out=np.zeros((2, 2))),
}
UNNAMED = {"norm", "math.exp", "math.sqrt", "to", "a", "an", "int", "vectorize"}
"""Calls that Python or NumPy does not pass on by their names."""


@pytest.mark.parametrize("kind", ["wide", "shown", "stochastic"])
@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_rule_is_refused(name, kind):
    """Nothing computes on midpoints alone."""
    if kind == "stochastic" and "power" in name:
        return  # every run raises its own number to its own power
    x = numbers_of(kind, (2, 2), 3)
    with pytest.raises(NoRuleError) as caught:
        REFUSED[name](x)
    first = name.split()[0]
    assert first in str(caught.value) or first in UNNAMED


@pytest.mark.parametrize(
    ("call", "function", "hint"),
    [
        (np.linalg.svd, "numpy.linalg.svd", ""),
        (np.fft.fft, "numpy.fft.fft", ""),
        (np.cumprod, "numpy.cumprod", "; use a loop"),
        (np.nanmax, "numpy.nanmax", "; use numpy.max"),
        (np.add.accumulate, "numpy.add.accumulate", "; use numpy.cumsum"),
    ],
)
def test_a_refusal_has_the_full_name_and_one_substitute_at_most(call, function, hint):
    with pytest.raises(NoRuleError) as caught:
        call(numbers_of("wide", (2, 2), 1))
    assert caught.value.operation == function
    assert str(caught.value) == f"balls have no rule for {function}{hint}"


def right_or_refused(call, arrays):
    """Say whether NumPy's result comes out for each sample, an open answer, or a refusal."""
    expected = [call(*sample) for sample in zip(*arrays, strict=True)]
    try:
        result = call(*(ball(array) for array in arrays))
    except (NoRuleError, InPlaceError):
        return True
    near = result.mid.shape == np.shape(expected) and abs(result.mid - expected) <= result.rad
    return bool(np.all(near) and np.all(result.rad < 1))


X = np.arange(12.0).reshape(2, 2, 3)
LABEL = np.array([1, 0])


def clipped_into(x):
    y = x.copy()
    np.clip(y, 1, 2, out=y)
    return y


def written_by_label(x, label):
    y = np.zeros_like(x)
    y[label] = 1.0
    return y


def written_by_labels(x, order):
    y = np.zeros_like(x)
    y[order] = x
    return y


def row_masked(x):
    y = x.copy()
    y[x[:, 0] > 2] = 0.0
    return y


def count_in_place(x):
    m = x.max()
    x = x.copy()
    top = x.max()
    x += np.arange(3.0)[::-1] * m
    return (x == top) * 1.0


SILENT = {
    "clip with out": (clipped_into, (X,)),
    "y[label] = 1": (written_by_label, (X[:, 0], LABEL)),
    "y[order] = x": (written_by_labels, (X[:, 0], np.array([[2, 0, 1], [1, 2, 0]]))),
    "y[mask of rows] = 0": (row_masked, (X,)),
    "pad with a constant": (
        lambda x: np.pad(x, 1, constant_values=1.0),
        (X[:, 0],),
    ),
    "pad by the mean": (lambda x: np.pad(x, 1, mode="mean"), (X[:, 0],)),
    "pad by a ramp": (lambda x: np.pad(x, 2, mode="linear_ramp"), (X[:, 0],)),
    "roll by a label": (np.roll, (X[:, 0], LABEL)),
    "take a label": (np.take, (X[:, 0], LABEL)),
    "repeat by a label": (np.repeat, (X[:, 0], np.array([2, 2]))),
    "add.reduce": (np.add.reduce, (X,)),
    "maximum.reduce": (np.maximum.reduce, (X,)),
    "multiply.reduce": (np.multiply.reduce, (X,)),
    "spectral norm": (lambda x: np.linalg.norm(x, 2, axis=(0, 1)), (X,)),
    "row of the identity": (lambda label: np.eye(3)[label], (LABEL,)),
    "einsum that begins with constants": (
        lambda x: np.einsum("ij,jk,k->i", np.eye(2), np.ones((2, 3)), x),
        (X[:, 0],),
    ),
    "trace off the diagonal": (lambda x: np.trace(x, offset=1), (X,)),
    "sum with dtype": (lambda x: np.sum(x, axis=0, dtype=float), (X,)),
    "sum with out": (lambda x: np.sum(x, axis=0, out=np.zeros(3)), (X,)),
    "max with initial": (lambda x: np.max(x, initial=5.0), (X,)),
    "an extremum of what it was": (count_in_place, (X[:, 0],)),
}


@pytest.mark.parametrize("name", SILENT)
def test_unusual_code_is_right_or_refused_by_name(name):
    call, arrays = SILENT[name]
    assert right_or_refused(call, arrays)


# In place


def test_an_input_is_not_changed_in_place():
    x = ball(np.ones((2, 3)))
    x.frozen = True
    changes = [
        lambda: operator.iadd(x, 1.0),
        lambda: operator.imul(x, x),
        lambda: operator.setitem(x, 0, 1.0),
        lambda: operator.setitem(x, x > 0, 1.0),
        lambda: np.add(x, x, out=x),
        lambda: x.fill(0.0),
    ]
    for change in changes:
        with pytest.raises(InPlaceError, match="in place"):
            change()
    assert (x.mid == 1).all()
    y = x.copy()
    y += 1.0
    y[0] = 5.0
    assert (x.mid == 1).all()
    assert y.mid.tolist() == [[5.0, 2.0, 2.0]] * 2


IN_PLACE = {
    "+=": (operator.iadd, operator.add),
    "-=": (operator.isub, operator.sub),
    "*=": (operator.imul, operator.mul),
    "/=": (operator.itruediv, operator.truediv),
}


@pytest.mark.parametrize("kind", ["wide", "exact", "plain", "shown"])
@pytest.mark.parametrize("name", IN_PLACE)
def test_an_operator_in_place_is_the_operator(name, kind):
    change, compute = IN_PLACE[name]
    x, other = numbers_of(kind, (2, 3), 2), numbers_of(kind, (3,), 2)
    for operand in (2.0, np.arange(1.0, 4.0), other):
        y = alias = x.copy()
        y = change(y, operand)
        assert y is alias
        for new, expected in zip(y.whole(), compute(x, operand).whole(), strict=True):
            np.testing.assert_array_equal(new, expected)


def test_out_is_written_to():
    x = numbers_of("wide", (3,), 2)
    y = np.zeros_like(x)
    assert np.multiply(x, 2.0, out=y) is y
    assert y.mid.tolist() == (2 * x.mid).tolist()
    with pytest.raises(ValueError, match=r"broadcast|dimensions"):
        y += numbers_of("wide", (4, 3), 2)


# Elementwise operations on operands of different shapes


@pytest.mark.parametrize(
    "shapes",
    [((), (3,)), ((3,), (2, 3)), ((2, 1), (3,)), ((2, 3), ()), ((4, 1, 3), (2, 1))],
    ids=str,
)
@pytest.mark.parametrize("kind", ["wide", "stochastic", "plain"])
def test_shapes_of_one_sample_broadcast(kind, shapes):
    a, b = (numbers_of(kind, shape, 3) for shape in shapes)
    for ufunc in (np.add, np.maximum, np.multiply):
        result = ufunc(a, b)
        assert result.shape == np.broadcast_shapes(*shapes)
        for i in range(3):
            row = (i,) if kind != "stochastic" else (0, i)
            expected = ufunc(a.parts[0][row], b.parts[0][row])
            np.testing.assert_array_equal(result.parts[0][row], expected)
    plain = np.arange(6.0).reshape(2, 3)
    assert (a + plain).shape == np.broadcast_shapes(a.shape, (2, 3))
    assert (plain + a).shape == np.broadcast_shapes(a.shape, (2, 3))


def test_what_is_asked_about_an_array_is_about_one_sample():
    x = numbers_of("wide", (2, 3), 5)
    assert (x.shape, x.ndim, x.size, len(x)) == ((2, 3), 2, 6, 2)
    assert (np.shape(x), np.ndim(x), np.size(x), np.size(x, 1)) == ((2, 3), 2, 6, 3)
    with pytest.raises(TypeError, match="without axes"):
        len(numbers_of("wide", (), 5))
    with pytest.raises(IndexError):
        x[2]
    with pytest.raises(IndexError):
        x[0, 0, 0]


COMPOSED = {
    "logaddexp": lambda x: np.logaddexp(x, x[::-1]),
    "hypot": lambda x: np.hypot(x, 2.0),
    "heaviside": lambda x: np.heaviside(x, 0.5),
    "fabs": np.fabs,
    "sign": np.sign,
    "clip": lambda x: np.clip(x, -0.5, 0.75),
    "x.clip": lambda x: x.clip(-0.5, 0.75),
    "clip by keywords": lambda x: np.clip(x, min=-0.5, max=0.25),
    "clip from below": lambda x: np.clip(x, 0.0, None),
    "clip by arrays": lambda x: np.clip(x, -np.ones(4), x[::-1]),
    "square": np.square,
    "reciprocal": np.reciprocal,
    "std": lambda x: x.std(),
    "x.max": lambda x: x.max(0),
    "np.min": lambda x: np.min(x, axis=0, keepdims=True),
}


@pytest.mark.parametrize("name", COMPOSED)
def test_functions_that_are_written_with_others_are_numpys(name):
    x = np.random.default_rng(0).normal(size=(3, 4))
    result = COMPOSED[name](ball(x))
    expected = np.stack([COMPOSED[name](row) for row in x])
    np.testing.assert_allclose(result.mid, expected, rtol=1e-14)
    assert (np.broadcast_to(result.rad, result.mid.shape) <= 1e-13 * (1 + abs(expected))).all()


@pytest.mark.parametrize(
    ("relu", "name"),
    [
        (lambda x: np.maximum(x, 0.0), "maximum"),
        (lambda x: np.where(x > 0, x, 0.0), "where"),
        (lambda x: x * (x > 0), "product"),
        (lambda x: np.clip(x, 0, None), "clip"),
    ],
)
def test_a_rectified_ball_contains_its_rectified_points(relu, name):
    mid = np.linspace(-2, 2, 41)[:, None]
    x = ball(mid, 0.5)
    result = relu(x)
    for at in np.linspace(-1, 1, 9):
        honest = np.maximum(mid + at * 0.5, 0)
        assert (abs(honest - result.mid) <= result.rad * (1 + 1e-12)).all()
    assert (result.rad[mid < -0.5001] == 0).all()
