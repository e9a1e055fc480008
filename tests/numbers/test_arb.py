"""The definition in power series: elementary functions, kinks, integers, samples."""

import flint
import numpy as np
import pytest

from gradcheck.model.model import Model
from gradcheck.numbers.arb import Real, Reals, UndecidedError
from gradcheck.truth.derivative import enclose_derivative
from gradcheck.truth.enclosures import precision

NAMES = [
    *("sin", "cos", "tan", "exp", "log", "sqrt", "tanh", "sinh", "cosh", "arctan", "arcsin"),
    *("arccos", "expm1", "log1p", "log2", "exp2", "square", "reciprocal"),
    *("log10", "cbrt", "arcsinh", "arctanh", "deg2rad"),
]


def never(*_):
    raise AssertionError("a pass was run")


def model(loss, *, batched=False, inputs=None, **parameters):
    return Model(
        "definition",
        inputs=inputs or {},
        parameters=parameters,
        loss=loss,
        forward=never,
        backward=never,
        batched=batched,
    )


def derivative(loss, at, element=(), shape=(), **options):
    values = {"x": np.asarray([at], dtype=np.float64)}
    return enclose_derivative(model(loss, x=shape, **options), values, "x", element, 128)[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_function_and_its_derivative_are_numpys(name):
    function, at, step = getattr(np, name), 0.375, 2.0**-20
    with precision(128):
        value = function(Real(flint.arb_series([at, 1])))
        slope = (function(at + step) - function(at - step)) / (2 * step)
        assert float(value.constant) == pytest.approx(function(at), rel=1e-14)
        assert float(value.slope) == pytest.approx(slope, rel=1e-8)
        assert value.constant.rad() < 1e-30


@pytest.mark.parametrize("at", [-900.0, -20.0, -1e-9, 0.0, 1e-9, 20.0, 900.0])
def test_tanh_is_enclosed_closely_everywhere(at):
    with precision(128):
        value = Real(flint.arb_series([at, 1])).tanh()
        assert value.constant.overlaps(flint.arb(at).tanh())
        assert value.slope.overlaps(1 - flint.arb(at).tanh() ** 2)
        assert value.constant.rad() < 1e-30


@pytest.mark.parametrize("name", ["tanh", "sinh", "expm1", "log1p", "arctan", "arcsin", "arcsinh"])
def test_a_tiny_argument_keeps_all_its_digits(name):
    with precision(128):
        value = getattr(np, name)(Real(flint.arb("1e-90"), flint.arb(1)))
        assert value.constant.rel_accuracy_bits() > 100
        assert value.slope.rel_accuracy_bits() > 100


def test_what_is_proved_undefined_says_so_and_what_is_unknown_does_not():
    minus, zero, x = (Real(flint.arb(one), flint.arb(1)) for one in (-1, 0, 2))
    unknown = Real(flint.arb(0, 1), flint.arb(1))
    for broken in (np.log(minus), np.sqrt(minus), minus**0.5, x / zero, 1 / zero, zero**-1):
        for after in (
            broken,
            broken + x,
            np.exp(broken),
            x * broken,
            0 * broken,
            np.hypot(x, broken),
        ):
            assert after.undefined
            assert not after.constant.is_finite()
            assert not after.slope.is_finite()
    for open_ in (np.log(unknown), np.sqrt(unknown), 1 / unknown, np.sqrt(zero)):
        assert not open_.undefined
        assert not open_.slope.is_finite()
    chosen = np.where(
        Reals.from_value([True]), Reals.of(np.array([x])), np.log(Reals.of(np.array([minus])))
    )
    assert not chosen.reals[0].undefined


def test_a_zero_that_is_fixed_has_a_root_that_is():
    x, zero = Real(flint.arb(3), flint.arb(1)), Real(flint.arb(0), flint.arb(1))
    fixed = (0 * x) * (0 * x)
    assert fixed.fixed
    assert np.sqrt(fixed).slope == 0
    assert not np.sqrt(zero * zero).slope.is_finite()  # |ε|, as far as one can tell


KINKS = {
    "abs at 0": (lambda xp, v: xp.abs(v.x), 0.0, (-1, 1)),
    "relu at 0": (lambda xp, v: xp.maximum(v.x, 0.0), 0.0, (0, 1)),
    "relu by where": (lambda xp, v: xp.where(v.x > 0, v.x, 0.0), 0.0, (0, 1)),
    "minimum": (lambda xp, v: xp.minimum(3 * v.x, -v.x), 0.0, (-1, 3)),
    "clip above": (lambda xp, v: xp.clip(v.x, -1.0, 1.0), 1.0, (0, 1)),
    "clip below": (lambda xp, v: xp.clip(v.x, -1.0, 1.0), -1.0, (0, 1)),
    "a kink inside": (lambda xp, v: xp.exp(xp.abs(v.x - 2.0)), 2.0, (-1, 1)),
    "two kinks": (lambda xp, v: xp.abs(v.x) + 2 * xp.maximum(v.x, 0.0), 0.0, (-1, 3)),
}


@pytest.mark.parametrize("kink", KINKS)
def test_on_a_kink_both_one_sided_derivatives_are_enclosed(kink):
    loss, at, (left, right) = KINKS[kink]
    found = derivative(loss, at)
    assert found.contains(left)
    assert found.contains(right)
    assert found.rad() <= (right - left) / 2 * 1.001
    off = derivative(loss, at + 2.0**-30)
    assert off.rad() < 1e-20


@pytest.mark.parametrize("at", [-0.5, 0.5])
@pytest.mark.parametrize("kink", KINKS)
def test_off_a_kink_there_is_one_derivative(kink, at):
    loss, where, _ = KINKS[kink]
    assert derivative(loss, where + at).rad() < 1e-20


@pytest.mark.parametrize("element", [(0,), (1,), (2,)])
def test_ties_of_the_largest_leave_both_sides(element):
    found = derivative(lambda xp, v: xp.max(v.x), [3.0, 3.0, 1.0], element, (3,))
    if element == (2,):
        assert found == 0
    else:
        assert found.contains(0)
        assert found.contains(1)
        assert found.rad() < 0.51


def test_what_cannot_be_decided_is_unknown():
    def loss(xp, v):
        return xp.maximum(xp.sin(v.x) ** 2 + xp.cos(v.x) ** 2, 1.0) * v.x

    assert not derivative(loss, 0.5).is_finite()


def test_comparisons_need_a_certain_sign():
    with precision(64):
        third = Real(flint.arb(1) / 3)
        assert third < 0.5
        assert third > 0
        assert not third >= 1
        assert third != 1
        with pytest.raises(UndecidedError):
            _ = third * 3 > 1
        assert Real(flint.arb(2)) == 2
        assert Real(flint.arb(2)) <= 2


def test_the_largest_equals_itself():
    def loss(xp, v):
        y = xp.exp(v.x)
        return xp.sum(xp.where(y == xp.max(y), y, 0.0))

    assert derivative(loss, [1.0, 2.0], (1,), (2,)).is_finite()


def test_logarithms_of_negative_numbers_are_unknown():
    assert not derivative(lambda xp, v: xp.log(v.x), -1.0).is_finite()


def test_integers_are_indices():
    definition = model(lambda xp, v: v.x[v.label] ** 2, inputs={"label": ()}, x=(3,))
    values = {"label": np.array([2, 0]), "x": np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])}
    last = enclose_derivative(definition, values, "x", (2,), 64)
    assert [float(one) for one in last] == [6.0, 0.0]


def test_one_sample_and_a_batch_have_the_same_derivative():
    values = {"x": np.random.default_rng(0).normal(size=(3, 2, 2))}
    one = model(lambda xp, v: xp.sum(xp.tanh(v.x @ v.x)), x=(2, 2))
    many = model(lambda xp, v: xp.sum(xp.tanh(v.x @ v.x), axis=(1, 2)), x=(2, 2), batched=True)
    for element in np.ndindex(2, 2):
        a, b = (enclose_derivative(m, values, "x", element, 128) for m in (one, many))
        assert all(x.overlaps(y) and x.rad() < 1e-30 for x, y in zip(a, b, strict=True))


def test_a_constant_loss_has_no_slope():
    assert derivative(lambda xp, v: 1.0, 2.0) == 0


def test_a_kink_of_one_sample_is_no_kink_of_another():
    definition = model(lambda xp, v: xp.abs(v.x), x=())
    found = enclose_derivative(definition, {"x": np.array([0.0, 2.0, -2.0])}, "x", (), 64)
    assert found[0].contains(-1)
    assert found[0].contains(1)
    assert (found[1], found[2]) == (1, -1)
