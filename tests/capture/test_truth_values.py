"""Numbers between 0 and 1 are no truth values, however wide their bars."""

import numpy as np
import pytest

from gradcheck.capture.aten import rule_of
from gradcheck.numbers.ball import Ball, Rounding

FLOAT64 = Rounding(np.dtype(np.float64))
SHARES = np.exp([[-1.0, -2.0, 0.0], [-0.5, -3.0, -0.25]])


@pytest.fixture
def shares():
    return np.exp(Ball.from_value(np.log(SHARES), FLOAT64))


def test_shares_are_added_up(shares):
    total = rule_of("aten.sum.dim_IntList")(shares, [-1], True)
    np.testing.assert_allclose(total.mid, SHARES.sum(-1, keepdims=True), rtol=1e-15)


def test_shares_are_copied_to_another_format(shares):
    copy = rule_of("aten._to_copy.default")(shares, dtype="torch.float64")
    np.testing.assert_allclose(copy.mid, SHARES, rtol=1e-15)


def test_answers_are_counted_and_become_floats(shares):
    answers = shares > 0.5
    assert rule_of("aten.sum.default")(answers).mid == (SHARES > 0.5).sum()
    copy = rule_of("aten._to_copy.default")(answers, dtype="torch.float64")
    np.testing.assert_array_equal(copy.mid, SHARES > 0.5)
