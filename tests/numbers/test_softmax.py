"""The softmax on balls: it contains what is honest, and stays between 0 and 1."""

import ml_dtypes
import numpy as np
import pytest

from gradcheck.numbers.ball import Ball
from gradcheck.numbers.rounding import Rounding
from gradcheck.numbers.softmax import softmax

FORMATS = ("float64", "float32", "float16", "bfloat16")
RANDOM = np.random.default_rng(0)


def honest(x, dtype, *, fused):
    """Evaluate in a format, rounding each step, or only the result."""
    working = np.float64 if dtype == np.float64 else np.float32
    kept = working if fused else dtype

    def rounded(number):
        return number.astype(kept).astype(working)

    x = x.astype(working)
    powers = rounded(np.exp(rounded(x - x.max(-1, keepdims=True))))
    return (powers / rounded(powers.sum(-1, keepdims=True))).astype(dtype).astype(np.float64)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("radius", [0.0, 0.01, 0.3, 3.0])
@pytest.mark.parametrize("fused", [True, False])
def test_it_contains_what_is_honest(name, radius, fused):
    dtype = np.dtype(getattr(ml_dtypes, name, name))
    mid = (RANDOM.normal(size=(2_000, 6)) * 3).astype(dtype).astype(np.float64)
    ball = softmax(Ball(mid, np.full(mid.shape, radius), Rounding(dtype), 1), -1)
    ends = mid + radius * RANDOM.choice([-1, 1], size=mid.shape)
    exact = radius or name in ("float64", "float32")
    moved = ends if not exact else ends.astype(np.float32 if name != "float64" else dtype)
    found = honest(np.asarray(moved, np.float64), dtype, fused=fused)
    assert (np.abs(found - ball.mid) <= ball.rad).all()
    assert (ball.rad <= np.maximum(ball.mid, 1 - ball.mid) * 1.02).all()


def test_the_bound_is_not_far_from_what_is_reached():
    """Two arguments, moved apart: the odds change by e^2R."""
    radius = 0.1
    x = Ball(np.array([[0.2, 0.0]]), np.full((1, 2), radius), Rounding(np.dtype(np.float64)), 1)
    ball = softmax(x, -1)
    moved = honest(np.array([[0.2 - radius, radius]]), np.dtype(np.float64), fused=True)
    reached = np.abs(moved - ball.mid) / ball.rad
    assert (reached > 0.7).all()
    assert (reached <= 1).all()


def test_a_hidden_argument_stays_exactly_zero():
    x = Ball(
        np.array([[0.5, -np.inf, 1.0]]), np.array([[0.1, 0.0, 0.1]]), Rounding(np.dtype("f4")), 1
    )
    ball = softmax(x, -1)
    assert ball.mid[0, 1] == 0
    assert ball.rad[0, 1] <= 1e-30
    assert np.isfinite(ball.rad).all()


def test_of_what_may_be_infinite_nothing_is_known():
    x = Ball(np.array([[0.5, 1.0]]), np.array([[np.inf, 0.1]]), Rounding(np.dtype("f4")), 1)
    assert np.isinf(softmax(x, 0).rad).all()


def test_of_a_row_of_hidden_arguments_nothing_is_said():
    mid = np.full((1, 3), -np.inf)
    with np.errstate(invalid="ignore"):
        shares = softmax(Ball(mid, np.zeros((1, 3)), Rounding(np.dtype("f4")), 1), -1)
    assert np.isnan(shares.mid).all()
