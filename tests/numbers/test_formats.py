"""Programs in two formats, on every kind of number."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck.numbers.arb import Reals
from gradcheck.numbers.ball import Ball, Rounding
from gradcheck.numbers.choices import Choices
from gradcheck.numbers.errors import NoRuleError
from gradcheck.numbers.formats import cast
from gradcheck.numbers.plain import Plain
from gradcheck.numbers.stochastic import Noise, Stochastic
from gradcheck.truth.enclosures import precision

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
SAMPLES = 40


def written_into(x, y):
    held = np.zeros_like(x)
    held[...] = y
    return held


def added_in_place(x, y):
    total = np.exp(x)
    total += y
    return total


PROGRAMS = {
    "a sum in the finer": lambda x, y: np.sum(cast(x * y, F64)),
    "a norm that is cast back": lambda x, y: x / cast(np.sqrt(np.sum(cast(x, F64) ** 2)), F32),
    "through the coarser": lambda x, y: cast(cast(np.exp(x) - y, F32) * y, F64) / 3,
    "both at once": lambda x, y: cast(x, F32) * cast(y, F64) + 1.5,
    "a sum of both": lambda x, y: np.tanh(cast(x, F32) - cast(y, F64)),
    "chosen from both": lambda x, y: np.where(cast(x > y, bool), cast(x / 3, F32), cast(y, F64)),
    "chosen in one": lambda x, y: np.where(cast(x, F64) > cast(y, F64), cast(x, F32), cast(y, F32)),
    "the larger": lambda x, y: np.maximum(cast(x * y, F32), cast(y, F64)),
    "limited": lambda x, y: np.clip(cast(x * 3, F32), -1.0, cast(abs(y), F64)),
    "joined": lambda x, y: np.concatenate([cast(x / 3, F32), cast(y / 3, F64)]) * 3,
    "stacked": lambda x, y: np.stack([cast(x / 3, F64), cast(y / 3, F32)])[0, 1:],
    "a product": lambda x, y: cast(x[:2], F32) @ np.stack([cast(y, F64), cast(x, F64)]),
    "a mask that scales": lambda x, y: (cast(x, F64) > 0) * cast(y / 3, F32) * 7,
    "a count that scales": lambda x, y: np.sum(cast(x, F64) > 0) * cast(y / 3, F32) * 7,
    "written": lambda x, y: written_into(cast(x, F32), cast(y / 3, F64)) * 5,
    "written to the finer": lambda x, y: written_into(cast(x, F64), cast(y / 3, F32)) * 5,
    "added in place": lambda x, y: added_in_place(cast(x, F32), cast(y / 3, F64)),
    "cast and cast again": lambda x, y: cast(cast(cast(x / y, F64), F32), F64) - x,
    "the error of a cast": lambda x, y: cast(x / 3, F32) - cast(x / 3, F64),
    "a whole number": lambda x, y: cast(x * 8, np.int64) * cast(y / 3, F32),
    "a whole number that is cast": lambda x, y: cast(cast(x * 8, np.int64), F32) * y,
    "a mask that is cast": lambda x, y: cast(x > 0, F32) * cast(y / 3, F32),
}
WHOLE = {"a count that scales", "a whole number"}
"""Integers take the format of what they meet, as in PyTorch, JAX; NumPy makes float64 of them."""
every_program = pytest.mark.parametrize("name", PROGRAMS)
both_formats = pytest.mark.parametrize("dtype", [F32, F64], ids=str)


def drawn(seed, dtype):
    x, y = np.random.default_rng(seed).normal(size=(2, SAMPLES, 3)).astype(dtype)
    return x, y


def evaluated(name, x, y):
    """Run one sample after the other in NumPy."""
    return np.stack([PROGRAMS[name](*pair) for pair in zip(x, y, strict=True)])


def balls(*arrays, dtype):
    choices, rounding = Choices(len(arrays[0])), Rounding(dtype)
    return [Ball.from_value(array, rounding, 1, choices) for array in arrays]


@every_program
@both_formats
@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6))
def test_a_ball_encloses_what_numpy_returns(name, dtype, seed):
    x, y = drawn(seed, dtype)
    expected, found = evaluated(name, x, y), PROGRAMS[name](*balls(x, y, dtype=dtype))
    assert found.dtype == expected.dtype or name in WHOLE
    assert (abs(expected - found.mid) <= found.whole()[1]).all()
    assert (found.whole()[1] <= 2e-4 * (abs(found.mid) + 1)).all()


@every_program
@both_formats
def test_numbers_that_err_at_random_enclose_what_numpy_returns(name, dtype):
    x, y = drawn(0, dtype)
    noise, choices = Noise(1, 0), Choices(SAMPLES)
    numbers = [Stochastic.from_value(a, Rounding(dtype), noise, 1, choices) for a in (x, y)]
    expected, found = evaluated(name, x, y), PROGRAMS[name](*numbers)
    assert found.dtype == expected.dtype or name in WHOLE
    assert (abs(expected - found.mid) <= found.rad).all()
    assert np.median(found.rad) <= 2e-4


@every_program
def test_real_numbers_are_not_rounded(name):
    x, y = drawn(0, F32)
    with precision(200):
        found = [float(getattr(one, "constant", one)) for one in np.ravel(
            PROGRAMS[name](Reals.from_value(x[0]), Reals.from_value(y[0])).reals)]  # fmt: skip
    enclosing = PROGRAMS[name](*balls(x[:1], y[:1], dtype=F32))
    assert (abs(np.ravel(enclosing.mid) - found) <= np.ravel(enclosing.whole()[1])).all()


@every_program
@both_formats
def test_plain_numbers_do_as_numpy_does(name, dtype):
    x, y = drawn(0, dtype)
    found = PROGRAMS[name](Plain(x, 1), Plain(y, 1)).array
    expected = evaluated(name, x, y)
    eps = 20 * np.finfo(F32).eps
    np.testing.assert_allclose(found, expected, rtol=eps, atol=eps)


def test_a_cast_to_a_coarser_format_adds_one_rounding():
    (third,) = balls(np.full((1, 1), 2.0), dtype=F64)
    third = third / 3
    cast_down = third.cast(F32)
    assert cast_down.rad == pytest.approx(2.0**-24 * 2 / 3, rel=1e-6)
    assert (cast_down.cast(F64).rad == cast_down.rad).all()
    assert cast_down.cast(F64).rounding == third.rounding


def test_what_the_coarser_format_holds_stays_exact():
    x = np.array([[0.0, 1.5, -np.inf, 2.0**-130]])
    found = balls(x, dtype=F64)[0].cast(F32)
    assert (found.mid == x).all()
    assert found.whole()[1].tolist() == [[0, 0, 0, 2.0**-130]]  # which may be flushed


def test_what_the_coarser_format_does_not_hold_has_no_bound():
    (huge,) = balls(np.full((1, 1), 1e30), dtype=F64)
    assert np.isinf((huge * huge).cast(F32).rad)
    numbers = Stochastic.from_value(
        np.full((1, 1), 1e30), Rounding(F64), Noise(0, 0), 1, Choices(1)
    )
    assert np.isinf((numbers * numbers).cast(F32).rad)


def test_what_is_undefined_by_proof_stays_so():
    (zero,) = balls(np.zeros((1, 1)), dtype=F64)
    for dtype in (F32, F64):
        assert (zero / zero).cast(dtype).undefined.all()
    unknown = np.exp(balls(np.full((1, 1), 1e5), dtype=F64)[0])
    assert not (unknown - unknown).cast(F32).undefined.any()


def test_a_constant_of_one_format_is_not_that_of_the_other():
    one, other = (balls(np.ones((1, 1)), dtype=dtype)[0] for dtype in (F32, F64))
    other.choices = one.choices
    apart = np.full_like(one, 0.1) - np.full_like(other, 0.1)
    assert apart.rad >= abs(np.float32(0.1) - 0.1)


@pytest.mark.parametrize("forget", ["finest", "in_format"])
def test_a_forgotten_rounding_is_found(forget, monkeypatch):
    x, y = drawn(0, F64)
    if forget == "in_format":
        monkeypatch.setattr(Ball, "in_format", lambda self, dtype: Ball(
            self.mid, self.rad, Rounding(dtype), self.hidden, self.choices))  # fmt: skip
    else:
        monkeypatch.setattr("gradcheck.numbers.ball.finest", lambda *_, **__: Rounding(F64))
    missed = [
        name
        for name in PROGRAMS
        if not (
            abs(evaluated(name, x, y) - (found := PROGRAMS[name](*balls(x, y, dtype=F64))).mid)
            <= found.whole()[1]
        ).all()
    ]
    assert missed


def test_an_integer_that_is_open_chooses_a_branch():
    choices = Choices(2)
    x = Ball(np.array([[1.0], [1.5]]), np.full((2, 1), 0.01), Rounding(F32), 1, choices)
    found = cast(x, np.int64)
    assert found.mid.tolist() == [[1], [1]]
    assert choices.branched.tolist() == [True, False]


def test_a_format_of_unknown_roundings_is_refused_by_name():
    (x,) = balls(np.ones((1, 1)), dtype=F32)
    with pytest.raises(NoRuleError, match=r"longdouble|float128"):
        cast(x, np.longdouble)


def test_what_differentiates_or_has_bits_to_spare_is_not_rounded():
    for array in (np.array([1 + 1e-30j]), np.array([np.longdouble(1) / 3])):
        assert (cast(Plain(array, 1), F32).array == array).all()
    assert cast(Plain(np.array([1 / 3]), 1), F32).array == np.float32(1 / 3)


@both_formats
def test_arrays_are_cast_as_numpy_does(dtype):
    assert cast(np.array([1 / 3]), dtype).dtype == dtype
    assert cast(2, dtype) == 2.0
