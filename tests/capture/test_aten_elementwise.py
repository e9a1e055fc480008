import numpy as np
import pytest

from gradcheck.capture.aten import rule_of
from gradcheck.numbers.ball import Ball
from gradcheck.numbers.errors import NoRuleError
from gradcheck.numbers.rounding import Rounding
from tests.capture.recording import (
    LABELS,
    MASK,
    POSITIVE,
    SHARES,
    SMALL,
    WIDE,
    X,
    Y,
    check_arrays,
    check_balls,
    check_reals,
    recorder,
    torch,
)

FLOAT64 = Rounding(np.dtype(np.float64))
INFINITY = float("inf")

ANYWHERE = """abs asinh atan cos deg2rad erf erfc exp exp2 expm1 neg rad2deg reciprocal sigmoid sign
    sin sinc sinh square tan tanh cosh floor ceil trunc round frac nan_to_num positive"""
OF_SMALL = "acos asin atanh"
OF_POSITIVE = "log log10 log1p log2 rsqrt sqrt"
PAIRS = """add sub mul div atan2 hypot logaddexp logaddexp2 maximum minimum fmax fmin fmod copysign
    ldexp max min"""


def bounded(x, y):
    return torch.clamp(x, min=y) + torch.clamp(x, max=y) + x.clamp(-1, 1) + x.clamp_min(0.1)


def in_place(x, y):
    z = x.clone().add_(y, alpha=2.5).mul_(y).sub_(x, alpha=3).div_(2).clamp_(-1, 1.5)
    return z.addcmul_(x, y, value=0.7).addcdiv_(x, y, value=0.3).lerp_(y, 0.9).neg_().exp_()


def compared(x, y):
    return x * (x > y) + y * (x <= 0) + x * (x == y) + y * (x != y) + x * (x >= 0) * (y < 1)


def with_masks(x, y):
    a, b = x > 0, y > 0
    return x * (a & b) + y * (a | ~b) + x * (a ^ b) + y * a.logical_xor(b) * 2 + x * a.double()


def of_floats(x, y):
    """Ask of floats between 0 and 1 whether they are not zero."""
    return x * x.logical_not() + y * x.logical_and(y) + x * x.logical_or(y) + y * x.bool()


def to_integers(x):
    return x * (x * 2).long() + x * (x > 0).long() + x * x.round().int() + x * (x.int() > 0)


def of_integers(x):
    k = torch.tensor([-3, 3, 5])
    return x * (k // 2) + x * k.div(2, rounding_mode="trunc") * k.remainder(2) + x / k + x * (k ^ 6)


def constructed(x):
    filled = x.new_full((3,), 2.0) + torch.full_like(x, 0.3) + torch.full((3,), 0.3, dtype=x.dtype)
    ones = torch.ones_like(x) + x.new_ones(2, 3) + torch.ones_like(x, dtype=torch.bool)
    zeros = torch.zeros_like(x, dtype=torch.long) + x.new_zeros(3) + torch.zeros_like(x > 0)
    return x * (filled + ones) + zeros + x * torch.arange(3) + x * torch.eye(2, 3, dtype=x.dtype)


def copied(x, y):
    z = torch.empty_like(x).copy_(y) * x + torch.empty_like(x).copy_(x > 0) * y
    return z + x.clone().fill_(0.3) * y + y.clone().zero_() + x.detach() * y + x.type_as(y)


CASES = {
    **{name: (getattr(torch, name), X) for name in ANYWHERE.split()},
    **{name: (getattr(torch, name), SMALL) for name in OF_SMALL.split()},
    **{name: (getattr(torch, name), POSITIVE) for name in OF_POSITIVE.split()},
    **{name: (getattr(torch, name), X, Y) for name in PAIRS.split()},
    **{
        f"{name} of wide": (getattr(torch, name), WIDE)
        for name in ("sigmoid", "tanh", "erf", "erfc", "atan", "asinh", "sin")
    },
    **{
        f"power {p}": (lambda x, p=p: x**p, POSITIVE)
        for p in (0, 1, 2, 3, -1, -2, 0.5, -0.5, 1.5, 2.5)
    },
    "acosh": (torch.acosh, POSITIVE + 1),
    "logit": (torch.logit, SHARES),
    "xlogy": (torch.xlogy, POSITIVE, SHARES),
    "xlog1py": (torch.special.xlog1py, POSITIVE, SHARES),
    "entr": (torch.special.entr, SHARES),
    "negative cubed": (lambda x: x**3 + x**0 + x**-2, X),
    "powers of numbers": (lambda x: 2.5**x + 2**x, X),
    "power of tensors": (torch.pow, POSITIVE, Y),
    "whole powers of negative numbers": (lambda x: x ** torch.tensor([0, 1, 2]), X),
    "constant powers of negative numbers": (
        lambda x: x ** torch.tensor([2.0, 3.0, 1.0], dtype=x.dtype) + x ** torch.tensor(2.0),
        X,
    ),
    "power in place": (lambda x, y: x.clone().pow_(3).pow_(y), POSITIVE, Y),
    "sum with a factor": (lambda x, y: x.add(y, alpha=2.5) + x.sub(y, alpha=0.5), X, Y),
    "numbers": (lambda x: (2 - x * 3 + 1) / 4 - 1 / x, X),
    "floored quotient": (lambda x, y: x.div(y, rounding_mode="floor") * x, X, Y),
    "truncated quotient": (lambda x, y: x.div(y, rounding_mode="trunc") * x, X, Y),
    "remainder": (lambda x: torch.remainder(x, 0.7) + torch.fmod(x, 0.7), X),
    "round to digits": (lambda x: x * x.round(decimals=1) + (x * 9).round(decimals=-1) * x, X),
    "addcmul": (lambda x, y, z: torch.addcmul(x, y, z, value=0.7), X, Y, POSITIVE),
    "addcdiv": (lambda x, y, z: torch.addcdiv(x, y, z, value=0.7), X, Y, POSITIVE),
    "lerp": (lambda x, y: torch.lerp(x, y, 0.3) + torch.lerp(x, y, 0.8), X, Y),
    "lerp by tensors": (torch.lerp, X, Y, SHARES),
    "clamp": (bounded, X, Y),
    "in place": (in_place, X, Y),
    "a number in place": (lambda x: x.sum().add_(1).mul_(x.mean()).clamp_(min=0) * x, X),
    "where": (lambda x, y: torch.where(x > y, x * x, y) + torch.where(x > 0, 1.0, x), X, Y),
    "where by a mask": (lambda x, y, m: torch.where(m, x, y), X, Y, MASK),
    "masked_fill": (lambda x, m: x.masked_fill(m, 0.3) + x.clone().masked_fill_(m, 2.0), X, MASK),
    "comparisons": (compared, X, Y),
    "masks": (with_masks, X, Y),
    "truth of floats": (of_floats, SHARES, SHARES + 0.1),
    "isnan": (lambda x: x * x.isnan().logical_not() + x * x.isinf() + x * x.isfinite(), X),
    "signbit": (lambda x: x * x.signbit(), X),
    "integers of floats": (to_integers, X),
    "integers": (of_integers, X),
    "rows by an integer": (lambda x, i: x[:, i] * i, X, LABELS),
    "constructors": (constructed, X),
    "copies": (copied, X, Y),
}
FORMATS = [(name, dtype) for name in CASES for dtype in ("float64", "float32")]
KINKED = {"integers of floats"}
"""What jumps at numbers of which it is asked exactly; Arb takes a side there."""

SPECIAL = {
    "lgamma": (torch.lgamma, POSITIVE),
    "digamma": (torch.digamma, POSITIVE),
    "trigamma": (lambda x: torch.polygamma(1, x), POSITIVE),
    "polygamma": (lambda x: torch.polygamma(2, x), POSITIVE),
    "trigamma of negative numbers": (lambda x: torch.polygamma(1, x), X),
    "erfinv": (torch.erfinv, SMALL),
    "i0": (torch.i0, X),
    "i0e": (torch.special.i0e, X),
    "i1": (torch.special.i1, X),
    "i1e": (torch.special.i1e, X),
    "ndtri": (torch.special.ndtri, SHARES),
}
SERIES = 1e-8
"""How far PyTorch's series of trigamma, which it cuts off, and its like may be from the truth."""

recorded = recorder(CASES | SPECIAL)


@pytest.mark.parametrize("name", CASES)
def test_a_program_computes_what_torch_computes(name):
    check_arrays(recorded(name))


@pytest.mark.parametrize("name", SPECIAL)
def test_a_program_computes_special_functions(name):
    check_arrays(recorded(name), rtol=SERIES)


@pytest.mark.parametrize(("name", "dtype"), FORMATS)
def test_balls_contain_what_torch_computes(name, dtype):
    check_balls(recorded(name, dtype))


@pytest.mark.parametrize("name", sorted(CASES.keys() - KINKED))
def test_balls_contain_what_arb_computes(name):
    check_reals(recorded(name))


def ball(values):
    return Ball.from_value(np.array(values), FLOAT64)


def about(values):
    """Return numbers with bars of some ulps."""
    return np.exp(ball(np.log(values)))


@pytest.mark.parametrize("kind", ["logical_and", "logical_or", "logical_xor"])
def test_numbers_between_0_and_1_are_no_answers(kind):
    shares, other = about([0.3, 0.4]), np.array([True, False])
    answer = rule_of(f"aten.{kind}.default")(shares, other)
    np.testing.assert_array_equal(answer.mid, getattr(np, kind)([0.3, 0.4], other))
    assert not answer.left_open.any()


def test_what_cannot_be_another_integer_is_one():
    far = rule_of("aten._to_copy.default")(-about([3.5]), dtype="torch.int64")
    assert far.is_discrete
    assert far.mid == -3


def test_copies_have_the_digits_of_their_format():
    to_copy = rule_of("aten._to_copy.default")
    assert to_copy(np.array([1 / 3]), dtype="torch.float32") == np.float32(1 / 3)
    assert to_copy(np.array([True]), dtype="torch.float64").dtype == np.float64


def test_the_sign_of_zero_is_refused():
    with pytest.raises(NoRuleError, match="the sign of zero"):
        rule_of("aten.copysign.Tensor")(ball([1.0]), ball([0.0]))


def test_what_is_made_like_integers_is_of_integers():
    for name in ("zeros_like", "ones_like", "empty_like"):
        assert rule_of(f"aten.{name}.default")(np.arange(3)).dtype.kind == "i"
    made = rule_of("aten.new_full.default")(ball([0.5]), [2], 3, dtype="torch.int64")
    assert made.is_discrete


def test_a_scalar_of_numpy_gives_way_where_an_array_is_written_to():
    assert rule_of("aten.add_.Tensor")(np.float64(1.0), 2.0) == 3.0
    array = np.ones(())
    assert rule_of("aten.add_.Tensor")(array, 2.0) is array
    assert array == 3.0
