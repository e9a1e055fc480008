"""What is the same quantity, what is a constant, and which comparisons that closes."""

import flint
import numpy as np
import pytest

from gradcheck.numbers.arb import Real, Reals, Side
from gradcheck.numbers.array import Choices, OneSampleError
from gradcheck.numbers.ball import EXACT, Ball
from gradcheck.numbers.choices import RecordedChoices
from gradcheck.numbers.identity import Numbering
from gradcheck.numbers.rounding import Rounding
from gradcheck.numbers.stochastic import Noise, Stochastic
from gradcheck.truth.enclosures import precision

FLOAT32, FLOAT64 = Rounding(np.dtype(np.float32)), Rounding(np.dtype(np.float64))
VALUES = np.array([[0.3, -1.2, 0.7], [2.1, 0.4, -0.9]])


def ball(values=VALUES, rad=None):
    values = np.asarray(values)
    rad = EXACT if rad is None else np.full(values.shape, rad)
    return Ball(values, rad, FLOAT64, 1, Choices(len(values)))


def stochastic(values=VALUES):
    return Stochastic.from_value(values, FLOAT32, Noise(0, 0), 1, Choices(len(values)))


both_kinds = pytest.mark.parametrize("make", [ball, stochastic])

SAME = {
    "itself": lambda x: (x, x),
    "computed twice": lambda x: (np.sin(x * x), np.sin(x * x)),
    "a product turned round": lambda x: (x * x[::-1], x[::-1] * x),
    "a copy": lambda x: (x * 3, (x * 3).copy()),
    "moved there and back": lambda x: (x * 3, (x * 3)[::-1][::-1]),
    "a sum": lambda x: (np.sum(x * 3), (3 * x).sum()),
    "a matrix product": lambda x: (np.outer(x, x) @ x, np.outer(x, x) @ x),
    "einsum": lambda x: (np.einsum("i,j->ij", x, x), np.einsum("i,j->ij", x, x)),
    "moved after and before": lambda x: (np.exp(x)[1:], np.exp(x[1:])),
    "cast": lambda x: (x / 3, (x / 3).astype(x.dtype)),
    "chosen": lambda x: (np.where(x > 0, x, 0.0), np.where(x > 0, x, 0.0)),
    "sorted": lambda x: (np.sort(x * 3), (x * 3)[np.argsort(x * 3)]),
}
DIFFERENT = {
    "another function": lambda x: (np.sin(x), np.tan(np.arctan(np.sin(x)))),
    "another element": lambda x: (x * 0 + x[0], x[::-1] * 0 + x[0] * 1),
    "changed in place": lambda x: changed(x),
    "a constant more": lambda x: (x + 0.0, x + -0.0),
}


def changed(x):
    y = x * 3
    before = y * 1.0
    y[0] += 0.0
    return before, y * 1.0


@both_kinds
@pytest.mark.parametrize("name", SAME)
def test_a_quantity_is_equal_to_itself(name, make):
    x = make()
    a, b = SAME[name](x)
    for ufunc in (np.equal, np.not_equal, np.less, np.greater_equal):
        result = ufunc(a, b)
        assert not result.left_open.any()
        assert (result.mid == ufunc(0, 0)).all()
    assert not x.choices.open.any()


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_is_computed_otherwise_may_differ(name):
    a, b = DIFFERENT[name](ball(rad=0.01))
    assert (a >= b).left_open.any()


def test_a_numbering_that_takes_all_for_one_is_found(monkeypatch):
    honest = Numbering.computed
    monkeypatch.setattr(
        Numbering, "computed", lambda self, _, sources, *a, **k: honest(self, 0, (), *a, **k)
    )
    x = ball(rad=0.01)
    a, b = DIFFERENT["another function"](x)
    assert not (a >= b).left_open.any()


@both_kinds
def test_elements_know_themselves_among_all_pairs(make):
    x = make()
    for a, b in (
        ((x * x)[None, :], (x * x)[:, None]),
        (np.exp(x[None, :] * 2), np.exp(x[:, None] * 2)),
    ):
        above = a > b
        assert not above.left_open.any()
        assert (above.sum(axis=1).mid == np.argsort(np.argsort(-a.mid[:, 0]))).all()


@both_kinds
def test_a_difference_from_itself_is_an_exact_zero(make):
    x = make() * 3
    zero = x - x
    assert (zero.mid == 0).all()
    assert np.all(zero.rad == 0)
    assert not (zero >= 0).left_open.any()
    assert not (x * x - x * x > 0).left_open.any()


def test_what_overflows_minus_itself_is_not_known():
    x = Ball(np.array([[1.0]]), np.array([[np.inf]]), FLOAT64, 1, Choices(1))
    assert (x - x).rad[0, 0] != 0


@both_kinds
@pytest.mark.parametrize("keepdims", [True, False])
def test_an_extremum_of_the_same_computed_again_is_one_of_its_elements(make, keepdims):
    x = make()
    top = np.max(x * 3, axis=0, keepdims=keepdims)
    for largest in (top, top[None] if not keepdims else top):
        found = x * 3 == largest
        assert not found.left_open.any()
        assert (found.mid == (x.mid == x.mid.max(axis=1, keepdims=True))).all()


def test_the_extremum_of_rows_meets_its_rows():
    x = ball(np.arange(9.0).reshape(1, 3, 3), 0.1)
    rows = x == np.max(x, axis=1)[:, None]
    assert not rows.left_open.any()
    assert (x == np.max(x, axis=1)[None, :]).left_open.any()


# Constants


COUNTS = {
    "a sum": lambda x: (x > 0).sum(),
    "cast": lambda x: np.sum(np.astype(x > 0, x.dtype)),
    "a matrix product": lambda x: (x > 0) @ np.ones(3),
    "sums of sums": lambda x: np.sum((x > 0)[None] * 1.0 + (x > 5)[:, None]) - 4,
    "counted": lambda x: np.count_nonzero(x > 0),
}


@both_kinds
@pytest.mark.parametrize("name", COUNTS)
def test_a_count_compared_with_an_integer_is_decided(name, make):
    x = make()
    count = COUNTS[name](x)
    assert count.mid.tolist() == [2.0, 2.0]
    assert not (count >= 2).left_open.any()
    assert not x.choices.open.any()


@both_kinds
def test_a_count_of_what_is_open_is_open_on_that_sample_alone(make):
    x = make(np.array([[0.0, 1.0], [3.0, 1.0]]))
    assert ((x * 3 > 0).sum() >= 2).left_open.tolist() == [True, False]


def test_integers_beyond_the_format_are_no_exact_count():
    x = stochastic() > 5
    assert ((x + 2.0**24) + 1.0 >= 2.0**24 + 1).left_open.any()


@both_kinds
@pytest.mark.parametrize("big", [-1e30, -np.inf])
def test_what_a_mask_throws_away_opens_nothing(make, big):
    x = make()
    masked = np.where(np.arange(3) < 1, x * 3, big)
    pairs = masked[None, :] >= masked[:, None]
    assert not pairs.left_open.any()
    assert not (masked >= np.sort(masked)[-1]).left_open.any()
    assert not (masked >= np.max(masked)).left_open.any()
    assert not x.choices.branched.any()


def test_masked_ties_are_no_kinks_to_be_reached():
    x = ball()
    x.choices = RecordedChoices(2)
    masked = np.where(np.arange(3) < 1, x, -1e30)
    np.max(masked)
    leads = np.concatenate([np.ravel(lead) for lead, _ in x.choices.arguments])
    assert len(leads)
    assert (leads != 0).all()


# Branches


def test_an_index_by_a_mask_takes_one_sample():
    x = ball()
    with pytest.raises(OneSampleError):
        x[x > 0]
    one = ball(VALUES[:1])
    assert one[one > 0].mid.tolist() == [[0.3, 0.7]]
    assert [i.tolist() for i in np.nonzero(one > 0)] == [[0, 2]]
    one = one * 1
    one[one > 0] = np.array([5.0, 6.0])
    assert one.mid.tolist() == [[5.0, -1.2, 6.0]]
    assert not one.choices.branched.any()
    wide = ball(VALUES[:1], 0.5)
    np.where(wide > 0)
    assert wide.choices.branched.all()


# Arb


def test_arb_decides_by_what_is_the_same_where_enclosures_meet():
    with precision(64):
        side = Side(-1)
        x = Reals.from_value(VALUES[0], side) / 3
        a, b = np.exp(x), np.exp(x)
        assert (a == b).values.all()
        assert (b == np.max(a)).values.tolist() == [False, False, True]
        assert all(one.constant.is_zero() for one in (a - b).reals)
        assert side.ties == 0


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_side_decides_ties_and_counts_them(sign):
    with precision(64):
        side = Side(sign)
        moving = np.empty(1, object)
        moving[0] = Real(flint.arb_series([0, 1]))
        x = Reals.of(moving, side)
        assert (x > 0).values.tolist() == [sign > 0]
        assert abs(x).reals[0].slope == sign
        assert np.maximum(2 * x, -x).reals[0].slope == (2 if sign > 0 else -1)
        assert side.ties == 3
        assert Side().ties == 0
