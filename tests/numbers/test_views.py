"""Views: what is written through one is written to its array, and shown in all others."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gradcheck.numbers.arb import Reals
from gradcheck.numbers.array import Choices, InPlaceError, NoRuleError
from gradcheck.numbers.ball import Ball
from gradcheck.numbers.indexing import Indexed
from gradcheck.numbers.plain import Plain
from gradcheck.numbers.rounding import Rounding
from gradcheck.numbers.stochastic import Noise, Stochastic

FLOAT64 = Rounding(np.dtype(np.float64))
X = np.arange(1.0, 25.0).reshape(2, 3, 4)


def reals(array):
    """Return the numbers of one sample."""
    return Reals.from_value(array)


KINDS: dict[str, Callable[[Any], Any]] = {
    "ball": lambda x: Ball.from_value(x, FLOAT64, 1, Choices(len(x))),
    "stochastic": lambda x: Stochastic.from_value(x, FLOAT64, Noise(0, 0), 1, Choices(len(x))),
    "plain": lambda x: Plain(x.copy(), 1),
    "batched": lambda x: Ball.from_value(x[0].copy(), FLOAT64, 0, Choices(0)),
    "reals": lambda x: reals(x[0]),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def row_then_all(y):
    row = y[0]
    y += 1
    return row * 2


def row_of_row(y):
    part = y[1:][0]
    part[2:] = 7.0
    return y


def number_is_no_view(y):
    first = y[0, 0]
    y[0, 0] = 9.0
    first += 1
    return y[0] * first


def rows(y):
    for row in y:
        row *= 2
    return y


def total_is_kept(y):
    total = y.sum()
    before = total
    total += 1
    return before * total


def two_views(y):
    left, right = y[:, :2], y[:, 1:]
    left += right[:, :2]
    return np.concatenate([left, right], axis=1)


def split(y):
    top, _ = np.split(y, [1])
    top -= 3
    return y


def raveled(y):
    y.ravel()[1:3] = y[0, 0]
    y.T.ravel()[5] = 100.0  # a copy
    return y


def transposed(y):
    y.T[1, :] = 5.0
    y.T[0] *= y.T[1]
    return y


def reshaped(y):
    y.reshape(4, 3)[::2] -= 1
    y.reshape(-1)[[0, 3, 3]] = 8.0
    return y


def flattened(y):
    y.flatten()[:] = 0.0
    y[[0, 1]] *= 0.0  # written back by the statement
    return y


def fancy_is_no_view(y):
    some = y[[0, 1]]
    some += 100
    return y


def out(y):
    np.multiply(y[0], 3.0, out=y[1])
    np.add(y, y[0], out=y)
    return y


def moved(y):
    np.moveaxis(y[None], 0, -1)[1] = 0.0
    np.expand_dims(y, 0)[0, 0] = 1.0
    np.flip(y)[0, 0] = 2.0
    np.swapaxes(y, 0, 1)[3] = y[:, 0]
    return y


def broadcast_follows(y):
    twice = np.broadcast_to(y, (2, *y.shape))
    diagonal = np.diagonal(y)
    y *= 2
    return twice[1, :, 0] * diagonal[0]


def added_at(y):
    column = y[:, 1]
    np.add.at(y, ([0, 0, 2], [1, 1, 3]), np.array([1.0, 2.0, 4.0]))
    np.subtract.at(column, [2, 2], 1.0)
    return y


def zeros_filled(y):
    d = np.zeros_like(y)
    for i in range(3):
        d[i] += y[i] * 2
        d[i, 1:] -= y[i, :-1]
    return d


WRITES = [
    *(row_then_all, row_of_row, number_is_no_view, rows, total_is_kept, two_views, split, raveled),
    *(transposed, reshaped, flattened, fancy_is_no_view, out, moved, broadcast_follows, added_at),
    zeros_filled,
]


def values(number):
    """Return the numbers themselves, float64 of shape `(n, *shape)`."""
    if isinstance(number, Reals):
        return np.asarray([float(one) for one in number.cast(float).values.flat]).reshape(
            1, *number.shape
        )
    found = number.mid if hasattr(number, "mid") else number.array
    return found if number.hidden else found[None]


@every_kind
@pytest.mark.parametrize("write", WRITES, ids=lambda f: f.__name__)
def test_writing_means_what_it_means_to_numpy(write, kind):
    result = values(write(KINDS[kind](X).copy()))
    expected = np.stack([write(x.copy()) for x in X[: len(result)]])
    np.testing.assert_allclose(result, expected, rtol=1e-13)


def test_a_view_that_is_forgotten_is_found(monkeypatch):
    monkeypatch.setattr(Indexed, "_show_in", lambda *_: None)
    y = row_then_all(KINDS["ball"](X).copy())
    assert values(y)[0].tolist() != row_then_all(X[0].copy()).tolist()


@every_kind
def test_what_numpy_does_not_let_one_write_to_is_refused(kind):
    y = KINDS[kind](X).copy()
    for view in (np.broadcast_to(y, (2, *y.shape)), np.diagonal(y)):
        with pytest.raises(ValueError, match="read-only"):
            view[0] = 1.0
    with pytest.raises(NoRuleError, match=r"numpy\.ndarray\.flat; use reshape"):
        _ = y.flat


@every_kind
def test_views_of_an_input_are_frozen_and_its_numbers_are_not(kind):
    x = KINDS[kind](X)
    x.frozen = True
    for view in (x[0], x[1:][0], x.T, x.reshape(-1), x[..., None]):
        with pytest.raises(InPlaceError):
            view += 1.0
    number = x[0, 0]
    number += 1.0
    np.testing.assert_array_equal(values(number), X[: len(values(x)), 0, 0] + 1)


def test_radii_are_written_through_views():
    y = Ball(X, 0 * X + 0.5, FLOAT64, 1, Choices(2))
    y[0][1:] = 2.0
    assert y.rad[0, 0].tolist() == [0.5, 0, 0, 0]


def test_integers_take_in_integers_only():
    label = Ball.from_value(np.array([[1, 2, 0]]), FLOAT64, 1, Choices(1))
    counts = np.zeros_like(label)
    counts[1] = 3.0
    counts += label
    assert counts.is_discrete
    assert counts.mid.tolist() == [[1, 5, 0]]
    with pytest.raises(NoRuleError, match="lose the fractions"):
        counts[0] = 0.5


def test_arb_numbers_are_written_to_zeros_of_theirs():
    x = reals(np.array([0.5, 2.0, 3.0]))
    y = np.zeros_like(x)
    y[0] = x[1] * 2
    y[1:] += x[:2]
    y[2] -= 1
    np.add.at(y, [0, 0], x[0])
    assert values(y).tolist() == [[5.0, 0.5, 1.0]]
    whole = np.zeros_like(x, dtype=int)
    whole[1] = 4
    assert (whole + x).values[1] == 6
