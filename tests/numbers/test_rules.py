"""Every rule of ball arithmetic, held against Arb."""

import dataclasses
import importlib
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

import flint
import numpy as np
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

import gradcheck.numbers.elementary as table
from gradcheck.numbers import ingredients, rules
from gradcheck.numbers.ball import EXACT, Ball
from gradcheck.numbers.elementary import ELEMENTARY, elementary
from gradcheck.numbers.ingredients import LOG1P_DIP
from gradcheck.numbers.rounding import Rounding
from gradcheck.truth.enclosures import precision

FLOAT32, FLOAT64 = Rounding(np.dtype(np.float32)), Rounding(np.dtype(np.float64))
both_formats = pytest.mark.parametrize("rounding", [FLOAT32, FLOAT64], ids=["float32", "float64"])

SEARCH = settings(max_examples=40, deadline=None, derandomize=True)

EXACT_BITS = 4400  # in which any sum or product of two float64 numbers is exact
LIBRARY_BITS = 1500  # 1024 of them reduce the largest argument modulo π


@dataclass(frozen=True)
class Law:
    """A function in Arb, and by how many ulps an honest evaluation of it may err.

    Parameters
    ----------
    ulps
        A number, or "library" for those of the record.
    also
        How many ulps more, by rounding and points, if that depends on them.
    near
        Between which numbers it is interesting.
    power
        The constant second operand, if it has one.
    order
        The constant first operand, if it has one.
    early
        Whether an honest evaluation may overflow at a quarter of the largest number.
    """

    ufunc: np.ufunc
    truth: Callable[..., flint.arb]
    operands: int = 1
    ulps: float | str = 0.5
    bits: int = LIBRARY_BITS
    also: Callable[..., float] = lambda *_: 0.0
    near: tuple[float, float] = (-12.0, 12.0)
    power: float | None = None
    order: float | None = None
    early: bool = False

    def __call__(self, *operands):
        before, after = ([] if one is None else [one] for one in (self.order, self.power))
        with np.errstate(all="ignore"):
            return self.ufunc(*before, *operands, *after)

    def allowed(self, rounding):
        """Ulps, but for what depends on the points."""
        return elementary(self.ufunc).accuracy(rounding) if self.ulps == "library" else self.ulps


def library(ufunc, truth, **options):
    return Law(ufunc, truth, ulps="library", **options)


def argument_in_ulps(rounding, x):
    """PyTorch's sinh and cosh round the argument of an exponential, till it is 0 or infinite."""
    return min(float(abs(x).upper()), 1100.0)


def log1p_dip(rounding, x):
    low, high, ulps = LOG1P_DIP
    return ulps if rounding is FLOAT64 and low < x and x < high else 0.0


def cancelled(rounding, a, b):
    """The larger operand and a logarithm cancel: ulps of the operand, in those of the result."""
    result, size = logaddexp(a, b), float(abs(a.max(b)).upper())
    smallest = max(float(abs(result).lower()), rounding.smallest_normal)
    return rounding.ulps / 2 * min((size + 2) / smallest, 2.0**1000)  # lest it overflow


def logaddexp(a, b):
    nearest, farthest = (a - b).abs_lower(), (a - b).abs_upper()
    return a.max(b) + flint.arb.union((-nearest).exp(), (-farthest).exp()).log1p()


def logarithm(rounding, x):
    """JAX's cbrt takes the logarithm."""
    return abs(math.log2(max(float(abs(x).lower()), 5e-324))) / 6


def of_one(ulps, truth, also=lambda *_: 0.0):
    """Ulps of 1, in those of the result, and others besides."""

    def ulps_of_one(rounding, *operands):
        smallest = max(float(abs(truth(*operands)).lower()), rounding.smallest_normal)
        return min(ulps / smallest, 2.0**1000) + also(*operands)

    return ulps_of_one


def trigamma_cut_short(rounding, q):
    """PyTorch's series ends early."""
    truth = float(abs(flint.arb(2).zeta(q)).lower())
    lost = (float(q.lower()) + 6) ** -9.0 / 30
    return lost / max(2 * rounding.unit_roundoff * truth, 1e-290)


def square_rounded(rounding, x):
    """JAX's erfinv rounds 1 − x²: half an ulp of it moves the result by its slope's."""
    y = float(abs(x.erfinv()).lower())
    slope = min(math.exp(min(y * y, 700)) * 0.886, 2.0**1000)
    return slope / max(2 * y, rounding.smallest_normal)


def normal(x):
    return (-x / flint.arb(2).sqrt()).erfc() / 2


def tail(x):
    """The exponent x²/2 is rounded."""
    return min(float(abs(x.min(0)).upper()), 40.0) ** 2


def logit(p):
    return p.log() - (-p).log1p()


def cbrt(x):
    return x.root(3) if x > 0 else x if x == 0 else -((-x).root(3))


def power(p, truth, **options):
    return Law(np.power, truth, ulps="library", power=p, early=True, **options)


LAWS = {
    "add": Law(np.add, operator.add, operands=2, bits=EXACT_BITS),
    "subtract": Law(np.subtract, operator.sub, operands=2, bits=EXACT_BITS),
    "multiply": Law(np.multiply, operator.mul, operands=2, bits=EXACT_BITS),
    "divide": Law(np.divide, operator.truediv, operands=2, bits=EXACT_BITS),
    "negative": Law(np.negative, operator.neg, ulps=0, bits=EXACT_BITS),
    "positive": Law(np.positive, operator.pos, ulps=0, bits=EXACT_BITS),
    "absolute": Law(np.absolute, abs, ulps=0, bits=EXACT_BITS),
    "maximum": Law(np.maximum, flint.arb.max, operands=2, ulps=0, bits=EXACT_BITS),
    "minimum": Law(np.minimum, flint.arb.min, operands=2, ulps=0, bits=EXACT_BITS),
    "square": Law(np.square, lambda a: a * a, bits=EXACT_BITS),
    "reciprocal": Law(np.reciprocal, lambda a: 1 / a, bits=EXACT_BITS),
    "power 2": Law(np.power, lambda a: a * a, power=2, bits=EXACT_BITS),
    "power 3": power(3, lambda a: a * a * a),
    "power 0": Law(np.power, lambda a: flint.arb(1), ulps=0, power=0),
    "power 0.5": power(0.5, flint.arb.sqrt, near=(0, 4)),
    "power -0.5": power(-0.5, flint.arb.rsqrt, near=(0, 4)),
    "power 1.5": power(1.5, lambda a: a * a.sqrt(), near=(0, 4)),
    "power -1": power(-1, lambda a: 1 / a),
    "power -2": power(-2, lambda a: 1 / (a * a)),
    "power 1/3": power(
        1 / 3, lambda a: a ** flint.arb(1 / 3) if a != 0 else flint.arb(0), near=(0, 4)
    ),
    "sqrt": library(np.sqrt, flint.arb.sqrt, near=(0, 4)),
    "sin": library(np.sin, flint.arb.sin),
    "cos": library(np.cos, flint.arb.cos),
    "tan": library(np.tan, flint.arb.tan),
    "exp": library(np.exp, flint.arb.exp, early=True),
    "expm1": library(np.expm1, lambda a: a.expm1()),
    "log": library(np.log, flint.arb.log, near=(0, 4)),
    "log1p": library(np.log1p, lambda a: a.log1p(), near=(-1, 0.1), also=log1p_dip),
    "tanh": library(np.tanh, flint.arb.tanh),
    "sinh": library(np.sinh, flint.arb.sinh, also=argument_in_ulps, early=True),
    "cosh": library(np.cosh, flint.arb.cosh, also=argument_in_ulps, early=True),
    "arctan": library(np.arctan, flint.arb.atan),
    "cbrt": library(np.cbrt, cbrt, also=logarithm),
    "exp2": library(
        np.exp2, lambda x: flint.arb(2) ** x, also=argument_in_ulps, near=(-1080, 1030), early=True
    ),
    "log2": library(np.log2, lambda x: x.log() / flint.arb(2).log(), near=(0, 4)),
    "log10": library(np.log10, lambda x: x.log() / flint.arb(10).log(), near=(0, 4)),
    "arcsin": library(np.arcsin, flint.arb.asin, near=(-1, 1)),
    "arccos": library(np.arccos, flint.arb.acos, near=(-1, 1)),
    "arcsinh": library(np.arcsinh, flint.arb.asinh),
    "arccosh": library(np.arccosh, flint.arb.acosh, near=(1, 3)),
    "arctanh": library(
        np.arctanh, flint.arb.atanh, near=(-1, 1), also=lambda r, x: log1p_dip(r, -abs(x))
    ),
    "arctan2": library(np.arctan2, lambda y, x: flint.arb.atan2(y, x), operands=2),
    "deg2rad": library(np.deg2rad, lambda x: x * flint.arb.pi() / 180),
    "hypot": library(np.hypot, lambda a, b: (a * a + b * b).sqrt(), operands=2, early=True),
    "logaddexp": library(np.logaddexp, logaddexp, operands=2, also=cancelled, bits=300),
}
SCIPY = {
    "erf": flint.arb.erf,
    "erfc": flint.arb.erfc,
    "expit": lambda x: x.exp() / (1 + x.exp()) if x < 0 else 1 / (1 + (-x).exp()),
    "log_expit": lambda x: x - x.exp().log1p() if x < 0 else -(-x).exp().log1p(),
}
if find_spec("scipy"):
    special = importlib.import_module("scipy.special")
    LAWS |= {
        name: library(getattr(special, name), truth, near=(-40, 40), bits=300)
        for name, truth in SCIPY.items()
    }
    POSITIVE = {"near": (0, 12), "bits": 300}
    zeta = special._ufuncs._zeta
    LAWS |= {
        "gammaln": library(
            special.gammaln, flint.arb.lgamma, **POSITIVE, also=of_one(22, flint.arb.lgamma)
        ),
        "digamma": library(
            special.psi, flint.arb.digamma, **POSITIVE, also=of_one(12, flint.arb.digamma)
        ),
        "trigamma": library(
            zeta, lambda q: flint.arb(2).zeta(q), order=2.0, **POSITIVE, also=trigamma_cut_short
        ),
        "zeta 3": library(zeta, lambda q: flint.arb(3).zeta(q), order=3.0, **POSITIVE),
        "i0": library(special.i0, lambda x: x.bessel_i(0), bits=300, early=True),
        "i1": library(special.i1, lambda x: x.bessel_i(1), bits=300, early=True),
        "i0e": library(special.i0e, lambda x: abs(x).bessel_i(0, scaled=True), bits=300),
        "i1e": library(special.i1e, lambda x: abs(x).bessel_i(1, scaled=True) * x.sgn(), bits=300),
        "erfinv": library(special.erfinv, flint.arb.erfinv, near=(-1, 1), also=square_rounded),
        "ndtri": library(
            special.ndtri,
            lambda p: -(2 * p).erfcinv() * flint.arb(2).sqrt(),
            near=(0, 1),
        ),
        "ndtr": library(
            special.ndtr, normal, near=(-40, 10), bits=300, also=of_one(1, normal, tail)
        ),
        "logit": library(special.logit, logit, near=(0, 1), also=of_one(2, logit)),
    }
    LAWS["erfc"] = dataclasses.replace(
        LAWS["erfc"], also=lambda rounding, x: min(float(abs(x.max(0)).upper()), 40.0) ** 2
    )
every_function = pytest.mark.parametrize("name", LAWS)


def violations(name: str, operands: list[Ball], positions: list[np.ndarray]) -> list[str]:
    """Say where the rule's ball misses an honest result at the given points of its operands.

    A position is where a point lies in its ball, from −1 to 1; NaN stands for zero if the ball
    holds it, and for the midpoint otherwise.
    """
    law, rounding = LAWS[name], operands[0].rounding
    result = law(*operands)
    plain = law(*(a.mid for a in operands))
    np.testing.assert_array_equal(result.mid, plain, strict=True)

    def numbers_in(*arrays):
        broadcast = (np.broadcast_to(array, result.mid.shape) for array in arrays)
        return zip(*(array.ravel().tolist() for array in broadcast), strict=True)

    found = []
    with precision(law.bits):
        triples = (numbers_in(a.mid, a.rad, at) for a, at in zip(operands, positions, strict=True))
        for (mid, rad), *places in zip(numbers_in(result.mid, result.rad), *triples, strict=True):
            if rad == math.inf:
                continue
            points = [point(*place) for place in places]
            if math.isnan(mid):  # undefined by proof
                if rad != 0 or law.truth(*points).is_finite():
                    found.append(f"{name} at {places} is defined")
                continue
            ulps = law.allowed(rounding) + law.also(rounding, *points)
            honest = honest_results(law.truth(*points), ulps, rounding)
            if not all(abs(y - mid) <= rad for y in honest):
                found.append(f"{name} at {places}: {mid} ± {rad} misses one of {honest}")
    return found


def point(mid: float, rad: float, position: float) -> flint.arb:
    if rad == math.inf:
        return flint.arb("nan")  # an overflow may have made it so
    if math.isnan(position):
        return flint.arb(0 if abs(mid) <= rad else mid)
    return mid + flint.arb(rad) * position


def honest_results(truth: flint.arb, ulps: float, rounding: Rounding) -> list[flint.arb]:
    """Return the extremes of what an evaluation may yield; infinity if it may overflow."""
    if not abs(truth) <= rounding.largest:
        return [flint.arb("inf")]
    if ulps == 0 or truth == 0:
        return [truth]
    magnitude = max(float(abs(truth).lower()), rounding.smallest_normal)
    binade = 2.0 ** (math.frexp(magnitude)[1] - 1)
    error = 2 * rounding.unit_roundoff * ulps * flint.arb(binade)
    if not abs(truth) + error <= rounding.largest:
        return [flint.arb("inf")]
    flushed = [flint.arb(0)] if abs(truth) - error < rounding.smallest_normal else []
    return [truth - error, truth + error, *flushed]


POSITIONS = [*np.linspace(-1, 1, 17).tolist(), math.nan]


@cache
def cases(name: str, rounding: Rounding) -> st.SearchStrategy:
    """Operands, equally long, and positions in them: all binades, zeros, straddled zeros."""
    number = numbers(rounding, LAWS[name].near)
    if LAWS[name].order is not None:
        number = number.map(abs)
    relative = st.one_of(st.just(0.0), st.integers(-60, 2).map(lambda k: 2.0**k))
    absolute = st.one_of(st.just(0.0), number.map(abs), st.just(math.inf))
    operand = st.tuples(number, relative, absolute, st.sampled_from(POSITIONS))
    elements = st.lists(st.tuples(*[operand] * LAWS[name].operands), min_size=1, max_size=3)
    return st.builds(assemble, elements, st.booleans(), st.just(rounding))


def numbers(rounding: Rounding, near: tuple[float, float]) -> st.SearchStrategy:
    largest, smallest = rounding.largest, rounding.smallest_normal
    least, most = (math.frexp(end)[1] for end in (smallest, largest))
    return st.one_of(
        st.floats(*near),
        st.floats(-largest, largest),
        st.floats(-12, 12),
        st.builds(math.ldexp, st.floats(-1, 1), st.integers(least - 60, most - 1)),
        st.sampled_from([0.0, -0.0, 1.0, smallest, largest, 2 * rounding.unit_roundoff, math.pi]),
    )


def assemble(elements, compact, rounding):
    operands, positions = [], []
    for mid, relative, absolute, position in np.moveaxis(np.array(elements), 0, -1):
        with np.errstate(over="ignore"):
            rad = abs(mid) * relative + absolute
            rad[(rad > 0) & (abs(mid) + rad >= rounding.largest)] = np.inf  # as every rule has it
        operands.append(Ball(mid, EXACT if compact and not rad.any() else rad, rounding))
        positions.append(position)
    return operands, positions


def check(name, rounding):
    @SEARCH
    @given(cases(name, rounding))
    def search(case):
        assert violations(name, *case) == []

    search()


@both_formats
@every_function
def test_a_rule_encloses_every_honest_evaluation(name, rounding):
    check(name, rounding)


@pytest.mark.parametrize("name", ["sin", "cos", "exp", "tan", "log", "tanh"])
@pytest.mark.parametrize("ulps", [1, 1000])
def test_a_library_function_errs_by_as_much_as_it_is_allowed(name, ulps):
    check(name, Rounding(np.dtype(np.float32), ulps))


def test_every_rule_is_held_against_arb():
    assert {law.ufunc for law in LAWS.values()} >= set(ELEMENTARY)


def test_a_quotient_near_the_underflow_threshold_has_its_whole_radius():
    numerator = Ball(np.array(2.2250738585e-313), np.array(0.0), FLOAT64)
    denominator = Ball(np.array(2.0**-126), np.array(2.7369110631344083e-48), FLOAT64)
    least = [np.array(0.0), np.array(-1.0)]
    assert violations("divide", [numerator, denominator], least) == []


@pytest.mark.parametrize(
    ("name", "size"), [("power -0.5", 0.75), ("power -1", 0.6), ("power -2", 0.4)]
)
@pytest.mark.parametrize("share", [1e-12, 1e-3, 0.5])
def test_the_slope_of_a_power_may_underflow(name, size, share):
    mid = FLOAT64.largest**size
    ball = Ball(np.array([mid]), np.array([share * mid]), FLOAT64)
    assert violations(name, [ball], [np.array([-1.0])]) == []


@pytest.mark.parametrize("position", [0.0, 1.0])
@pytest.mark.parametrize("name", ["exp", "sinh", "cosh", "power 3", "power -1", "power -2"])
def test_what_some_library_overflows_early_has_no_bound(name, position):
    """PyTorch's sinh and JAX's x⁻² are infinite from a quarter of the largest number onwards."""
    law, rad = LAWS[name], 2.0**-8
    inverse = {"power 3": lambda y: y ** (1 / 3), "power -1": lambda y: 1 / y}
    inverse |= {"power -2": lambda y: y**-0.5, "exp": math.log}
    with precision(100):
        at = inverse.get(name, lambda y: math.log(2 * y))(1.0001 * FLOAT32.largest / 4)
        mid = at + position * rad * at * (1 if name.startswith("power -") else -1)
        ball = law(Ball(np.array([mid]), np.array([rad * abs(at)]), FLOAT32))
    assert ball.rad[0] == math.inf


@both_formats
@pytest.mark.parametrize("p", [1 / 3, 0.1, 2.2, -0.7])
def test_a_power_may_be_rounded_to_the_format_first(p, rounding):
    a = np.array([1e-6, 0.3, 1.0, 2.7, 4e5])
    for rad in (0.0, 1e-3):
        balls = Ball(a, a * rad, rounding)
        result = balls**p
        for exponent in (p, float(rounding.dtype.type(p))):
            for at in (a * (1 - rad), a, a * (1 + rad)):
                apart = abs(np.power(at, exponent) - result.mid)
                assert (apart <= result.rad).all()
    held = Ball(a, EXACT, rounding) ** 0.5
    if rounding is FLOAT32:
        assert (result.rad / abs(result.mid) > held.rad / held.mid).all()


@both_formats
@pytest.mark.parametrize("rad", [0.0, 1e-3])
@every_function
def test_a_radius_is_hardly_larger_than_needed(name, rad, rounding):
    law = LAWS[name]
    mids = [1.7 if name == "arccosh" else 0.7, -1.9][: law.operands]
    result = law(*(Ball(np.array(mid), np.array(rad), rounding) for mid in mids))
    corners = np.meshgrid(*([mid - rad, mid + rad] for mid in mids))
    spread = np.abs(law(*corners) - law(*mids)).max()
    if name == "arctan2":  # whose rule is that of the circle around the corners
        spread *= 1.5
    ulps = law.allowed(rounding) + 2 * law.also(rounding, *map(flint.arb, mids))
    rounding_errors = 2 * ulps * (2 * rounding.unit_roundoff) * abs(result.mid)
    if law.power == 1 / 3:
        rounding_errors *= 2
    assert result.rad <= 1.01 * (spread + rounding_errors)


@pytest.mark.parametrize(
    "shapes",
    [
        ((), (3,)),
        ((2, 3), (3,)),
        ((4, 2, 3), (2, 1)),
    ],
    ids=str,
)
@pytest.mark.parametrize("radii", ["exact exact", "exact wide", "wide exact", "wide wide"])
@pytest.mark.parametrize("name", [name for name, law in LAWS.items() if law.operands == 2])
def test_operands_of_different_shapes_broadcast(name, radii, shapes):
    random = np.random.default_rng(0)
    operands = [
        Ball(random.normal(size=shape), EXACT if kind == "exact" else np.full(shape, 0.1), FLOAT32)
        for shape, kind in zip(shapes, radii.split(), strict=True)
    ]
    result = LAWS[name](*operands)
    assert result.mid.shape == np.broadcast_shapes(*shapes)
    assert result.rad is EXACT or result.rad.shape == result.mid.shape
    assert violations(name, operands, [np.array(1.0), np.array(-1.0)]) == []


OUTSIDE = [
    *("log", "log2", "log10", "log1p", "sqrt", "power 0.5", "power 1.5", "power -0.5"),
    *("arcsin", "arccos", "arccosh", "arctanh"),
]


@both_formats
@pytest.mark.parametrize("name", OUTSIDE)
def test_a_ball_outside_a_domain_is_undefined_by_proof_unlike_one_across_its_end(name, rounding):
    outside = LAWS[name](Ball(np.array([-2.0, -1.5]), np.array([0.25, 0.0]), rounding))
    assert outside.undefined.all()
    end = float(elementary(LAWS[name].ufunc).domain[0]) if LAWS[name].power is None else 0.0
    for centre in (end - 0.125, end, end + 0.125):
        across = LAWS[name](Ball(np.array([centre]), np.array([0.25]), rounding))
        assert across.rad == np.inf
        assert not across.undefined.any()


@both_formats
def test_what_is_undefined_by_proof_stays_so_and_an_overflow_proves_nothing(rounding):
    zero, infinity = (Ball.from_value(np.array([x]), rounding) for x in (0.0, np.inf))
    one = Ball(np.array([1.0]), np.array([0.1]), rounding)
    proved = [zero / zero, infinity - infinity, zero * infinity, np.sin(infinity)]
    for broken in proved:
        assert broken.undefined.all()
        for after in (np.exp(broken), broken * one, one - broken, np.maximum(one, broken), -broken,
                      np.arctan2(one, broken), np.sum(np.stack([one, broken])),
                      np.stack([one, broken], -1) @ np.ones(2), 0 * broken):  # fmt: skip
            assert after.undefined.all()
        assert not np.where(np.array([True]), one, broken).undefined.any()
    huge = np.exp(one * 1e6)
    wide = Ball(np.array([0.0]), np.array([0.5]), rounding)
    for unknown in (huge - huge, huge / huge, huge * zero, zero / wide, np.sum(huge - huge)):
        assert (unknown.rad == np.inf).all()
        assert not unknown.undefined.any()


@both_formats
@pytest.mark.parametrize("name", ["tan", "divide", "reciprocal", "power -1", "power -2"])
def test_a_ball_that_holds_a_pole_has_no_bound(name, rounding):
    pole = np.array([math.pi / 2 if name == "tan" else 0.0])
    for off in (-0.01, 0.0, 0.01):
        operands = [Ball(pole + off, np.array([0.02]), rounding)]
        if LAWS[name].operands == 2:
            operands.insert(0, Ball(np.ones(1), EXACT, rounding))
        assert LAWS[name](*operands).rad == np.inf


def test_an_extremum_is_as_wide_as_the_larger_unless_either_may_be():
    a = Ball(np.array([1.0, 1.0, 5.0]), np.array([0.5, 0.5, 0.1]), FLOAT64)
    b = Ball(np.array([3.0, 1.2, 1.0]), np.array([0.25, 0.25, 9.0]), FLOAT64)
    assert np.maximum(a, b).rad.tolist() == pytest.approx([0.25, 0.3, 5.0])
    assert np.minimum(a, b).rad.tolist() == pytest.approx([0.5, 0.5, 9.0])
    assert np.maximum(Ball(np.array([-5.0]), np.array([6.0]), FLOAT64), 0).rad == pytest.approx(1)


# Where a function is bounded, so is its ball

BOUNDED = {
    "exp": (lambda x: np.exp(-abs(x)), 1),
    "expm1": (lambda x: np.expm1(-abs(x)), 1),
    "tanh": (np.tanh, 2),
    "sin": (np.sin, 2),
    "arctan": (np.arctan, math.pi),
    "arctan2": (lambda x: np.arctan2(x, 1.0), 2 * math.pi),
    "sigmoid": (lambda z: 1 / (1 + np.exp(abs(z))), 1),
    "sigmoid of a negative number": (lambda z: np.exp(-abs(z)) / (1 + np.exp(-abs(z))), 1),
    "sigmoid by tanh": (lambda z: 0.5 * (1 + np.tanh(z / 2)), 1),
}


@both_formats
@pytest.mark.parametrize("name", BOUNDED)
@settings(SEARCH, max_examples=25)
@given(mid=st.floats(-300, 300), exponent=st.integers(-40, 300), off=st.floats(0, 2))
def test_the_ball_of_a_bounded_function_is_no_wider_than_its_range(
    name, rounding, mid, exponent, off
):
    """At any size of argument, for balls that are far narrower or wider than it."""
    function, width = BOUNDED[name]
    if name == "sigmoid":
        mid, exponent = mid / 10, min(exponent, 0)  # else the exponential overflows
    size = min(2.0**exponent, rounding.largest * 2.0**-20)
    x = Ball(np.array([mid * size]), np.array([off * size]), rounding)
    if name not in ("tanh", "sin", "arctan", "arctan2", "sigmoid by tanh"):  # on one side of zero
        most = 0.25 if name == "sigmoid" else np.inf
        x = Ball(x.mid, np.minimum(np.minimum(x.rad, 0.9 * abs(x.mid)), most), rounding)
    with np.errstate(all="ignore"):
        result = function(x)
    assert result.rad <= width * 1.001 + 4 * rounding.smallest_normal


@both_formats
def test_a_huge_negative_exponent_is_zero_with_a_tiny_radius(rounding):
    far = Ball(np.array([-1e30]), np.array([1e14]), rounding)
    for function in (np.exp, np.exp2):
        assert function(far).mid == 0
        assert 0 < function(far).rad <= 4 * rounding.smallest_normal
    for function, limit in ((np.expm1, -1), (np.tanh, -1)):
        assert abs(function(far).mid - limit) + function(far).rad < 64 * rounding.unit_roundoff


# Tests of the tests: the very search above must find every one of these faults


def scaled_error(factor):
    def enclose(mid, spread, error, zero, rounding, operands=(), honest=rules.enclose):
        return honest(mid, spread, factor * error, zero, rounding, operands)

    return enclose


def scaled_slope(factor):
    def spread(slope, rad, rounding, honest=rules._circular_spread):
        return honest(factor * slope, rad, rounding)

    return spread


def with_another_range(**ends):
    def enclose(mid, spread, error, zero, rounding, operands=(), honest=rules.enclose):
        mistaken = Rounding(rounding.dtype, rounding.ulps)
        vars(mistaken).update(ends)
        return honest(mid, spread, error, zero, mistaken, operands)

    return enclose


def divide_by_the_midpoint(record, a, b, rounding):
    quotient = a.mid / b.mid
    spread = (a.rad + abs(quotient) * b.rad) / abs(b.mid)
    return rules.enclose(quotient, spread, rounding.arithmetic_error, lambda: False, rounding)


def altered(name, **fields):
    """Plant a record with other fields."""
    ufunc = LAWS[name].ufunc
    return ufunc, dataclasses.replace(ELEMENTARY[ufunc], **fields)


def without_spread(name):
    """Make the rule for exact operands serve all."""
    honest = ELEMENTARY[LAWS[name].ufunc].rule

    def rule(record, *operands, rounding):
        exact = (Ball(a.mid, EXACT, a.rounding) for a in operands)
        return honest(record, *exact, rounding=rounding)

    return altered(name, rule=rule)


def first_radius(record, a, b, rounding):
    return np.maximum(a.mid, b.mid), np.broadcast_to(a.rad, np.broadcast(a.mid, b.mid).shape)


FAULTS = {
    "a dropped rounding term": ("add", "enclose", scaled_error(0)),
    "one error for two": ("multiply", "enclose", scaled_error(0.5)),
    "half the slope of cos": ("cos", "_circular_spread", scaled_slope(0.5)),
    "no curvature": (
        "sin",
        "_circular_spread",
        lambda slope, rad, rounding: np.minimum(abs(slope) * rad, 2),
    ),
    "a straight exponential": ("exp", "_expm1_bound", lambda r: r),
    "no product of radii": (
        "multiply",
        "_product_spread",
        lambda a, b: abs(a.mid) * b.rad + abs(b.mid) * a.rad,
    ),
    "a sum of one radius": ("subtract", "_sum_spread", lambda a, b: a.rad + 0 * b.rad),
    "division by the midpoint": ("divide", *altered("divide", rule=divide_by_the_midpoint)),
    "every zero exact": ("multiply", "is_zero", lambda a: True),
    "no flush": ("multiply", "enclose", with_another_range(smallest_normal=0.0)),
    "no overflow": ("square", "enclose", with_another_range(largest=math.inf)),
    "the radius of the first": ("maximum", *altered("maximum", rule=first_radius)),
    "a log1p's slope at the far end": (
        "log1p",
        *altered("log1p", slope=lambda low, high: 1 / (1 + high)),
    ),
    "a sinh's slope at the near end": (
        "sinh",
        *altered("sinh", slope=lambda low, high: np.cosh(ingredients.nearest(low, high))),
    ),
    "a logarithm of balls across zero": (
        "log",
        *altered("log", slope=lambda low, high: 1 / np.maximum(low, 1e-3), domain=(-9, math.inf)),
    ),
    "too narrow a range": ("tanh", *altered("tanh", range=(0, 1))),
    "an arcsin of the whole line": ("arcsin", *altered("arcsin", domain=(-math.inf, math.inf),
                                                       slope=lambda low, high: 0 * low)),
    "all logarithms undefined": ("log", *altered("log", domain=(1, math.inf))),
    "the dip of log1p forgotten": ("log1p", *altered("log1p", also=lambda *_: 0.0)),
    **{f"no spread of {law}": (law, *without_spread(law)) for law in
       ("sqrt", "tan", "tanh", "arctan", "power 3", "power 0.5", "power -1", "power 1/3", "hypot",
        "arctan2", "logaddexp", "cbrt", "arcsin")},
}  # fmt: skip
IN_FLOAT64_ALONE = {
    "one error for two",
    "the dip of log1p forgotten",
}
"""The midpoints are float64: in float32 their own error is next to nothing."""


def plant(monkeypatch, place, faulty):
    if isinstance(place, str):
        monkeypatch.setattr(rules, place, faulty)
    else:
        monkeypatch.setitem(ELEMENTARY, place, faulty)
        table.elementary.cache_clear()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault, monkeypatch):
    name, place, faulty = FAULTS[fault]
    rounding = FLOAT64 if fault in IN_FLOAT64_ALONE else FLOAT32
    plant(monkeypatch, place, faulty)
    effort = settings(SEARCH, max_examples=1000, phases=[Phase.generate])
    operands, positions = find(
        cases(name, rounding), lambda case: violations(name, *case), settings=effort
    )
    monkeypatch.undo()
    table.elementary.cache_clear()
    assert violations(name, operands, positions) == []
