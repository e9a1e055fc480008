"""Every rule of ball arithmetic, held against Arb."""

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import flint
import numpy as np
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from gradcheck.arithmetic import ball as rules
from gradcheck.arithmetic.arb import distance, enclose_gradients, precision
from gradcheck.arithmetic.ball import EXACT, RULES, Ball, Rounding
from gradcheck.engine.chain import MODEL
from gradcheck.engine.model import run_passes
from gradcheck.harness.sampling import draw_samples

FLOAT32, FLOAT64 = Rounding(np.dtype(np.float32)), Rounding(np.dtype(np.float64))
both_formats = pytest.mark.parametrize("rounding", [FLOAT32, FLOAT64], ids=["float32", "float64"])

SEARCH = settings(max_examples=60, deadline=None, derandomize=True)

EXACT_BITS = 4400  # in which any sum or product of two float64 numbers is exact
LIBRARY_BITS = 1500  # 1024 of them reduce the largest argument modulo π


@dataclass(frozen=True)
class Law:
    """A function in Arb, and by how many ulps an honest evaluation of it may err."""

    truth: Callable[..., flint.arb]
    operands: int = 1
    ulps: float | None = 0.5  # correct rounding; None for a library function's allowance
    bits: int = EXACT_BITS


LAWS = {
    np.add: Law(operator.add, operands=2),
    np.subtract: Law(operator.sub, operands=2),
    np.multiply: Law(operator.mul, operands=2),
    np.divide: Law(operator.truediv, operands=2),
    np.negative: Law(operator.neg, ulps=0),
    np.positive: Law(operator.pos, ulps=0),
    np.square: Law(lambda a: a * a),
    np.power: Law(lambda a: a * a),  # the rule is for a²
    np.sin: Law(flint.arb.sin, ulps=None, bits=LIBRARY_BITS),
    np.cos: Law(flint.arb.cos, ulps=None, bits=LIBRARY_BITS),
    np.exp: Law(flint.arb.exp, ulps=None, bits=LIBRARY_BITS),
}
every_function = pytest.mark.parametrize("ufunc", LAWS, ids=lambda ufunc: ufunc.__name__)


def apply(ufunc: np.ufunc, *operands):
    exponent = [2] if ufunc is np.power else []
    with np.errstate(all="ignore"):
        return ufunc(*operands, *exponent)


def violations(ufunc: np.ufunc, operands: list[Ball], positions: list[np.ndarray]) -> list[str]:
    """Say where the rule's ball misses an honest result at the given points of its operands.

    A position is where a point lies in its ball, from −1 to 1; NaN stands for zero if the ball
    holds it, and for the midpoint otherwise.
    """
    law, rounding, result = LAWS[ufunc], operands[0].rounding, apply(ufunc, *operands)
    plain = apply(ufunc, *(a.mid for a in operands))
    np.testing.assert_array_equal(result.mid, plain, strict=True)

    def numbers_in(*arrays):
        broadcast = (np.broadcast_to(array, result.mid.shape) for array in arrays)
        return zip(*(array.ravel().tolist() for array in broadcast), strict=True)

    ulps = rounding.ulps if law.ulps is None else law.ulps
    found = []
    with precision(law.bits):
        triples = (numbers_in(a.mid, a.rad, at) for a, at in zip(operands, positions, strict=True))
        for (mid, rad), *places in zip(numbers_in(result.mid, result.rad), *triples, strict=True):
            truth = law.truth(*(point(*place) for place in places))
            honest = honest_results(truth, ulps, rounding)
            if not (rad == math.inf or all(abs(y - mid) <= rad for y in honest)):
                found.append(f"{ufunc.__name__} at {places}: {mid} ± {rad} misses one of {honest}")
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
    error = ulps * 2 * rounding.unit_roundoff * flint.arb(binade)
    if not abs(truth) + error <= rounding.largest:
        return [flint.arb("inf")]
    flushed = [flint.arb(0)] if abs(truth) - error < rounding.smallest_normal else []
    return [truth - error, truth + error, *flushed]


POSITIONS = [*np.linspace(-1, 1, 17).tolist(), math.nan]


@cache
def cases(ufunc: np.ufunc, rounding: Rounding) -> st.SearchStrategy:
    """Operands, equally long, and positions in them: all binades, zeros, straddled zeros."""
    number = numbers(rounding)
    relative = st.one_of(st.just(0.0), st.integers(-60, 2).map(lambda k: 2.0**k))
    absolute = st.one_of(st.just(0.0), number.map(abs), st.just(math.inf))
    operand = st.tuples(number, relative, absolute, st.sampled_from(POSITIONS))
    elements = st.lists(st.tuples(*[operand] * LAWS[ufunc].operands), min_size=1, max_size=3)
    return st.builds(assemble, elements, st.booleans(), st.just(rounding))


def numbers(rounding: Rounding) -> st.SearchStrategy:
    largest, smallest = rounding.largest, rounding.smallest_normal
    least, most = (math.frexp(end)[1] for end in (smallest, largest))
    return st.one_of(
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


@both_formats
@every_function
def test_a_rule_encloses_every_honest_evaluation(ufunc, rounding):
    check(ufunc, rounding)


@pytest.mark.parametrize("ufunc", [np.sin, np.cos, np.exp], ids=lambda ufunc: ufunc.__name__)
@pytest.mark.parametrize("ulps", [1, 1000])
def test_a_library_function_errs_by_as_much_as_it_is_allowed(ufunc, ulps):
    check(ufunc, Rounding(np.dtype(np.float32), ulps))


def check(ufunc, rounding):
    @SEARCH
    @given(cases(ufunc, rounding))
    def search(case):
        assert violations(ufunc, *case) == []

    search()


def test_a_quotient_near_the_underflow_threshold_has_its_whole_radius():
    numerator = Ball(np.array(2.2250738585e-313), np.array(0.0), FLOAT64)
    denominator = Ball(np.array(2.0**-126), np.array(2.7369110631344083e-48), FLOAT64)
    least = [np.array(0.0), np.array(-1.0)]
    assert violations(np.divide, [numerator, denominator], least) == []


def test_every_rule_is_held_against_arb():
    assert set(LAWS) == set(RULES)


@both_formats
@pytest.mark.parametrize("rad", [0.0, 1e-3])
@every_function
def test_a_radius_is_hardly_larger_than_needed(ufunc, rad, rounding):
    law = LAWS[ufunc]
    mids = [0.7, -1.9][: law.operands]
    result = apply(ufunc, *(Ball(np.array(mid), np.array(rad), rounding) for mid in mids))
    corners = np.meshgrid(*([mid - rad, mid + rad] for mid in mids))
    spread = np.abs(apply(ufunc, *corners) - apply(ufunc, *mids)).max()
    ulps = rounding.ulps if law.ulps is None else law.ulps
    rounding_errors = 2 * ulps * (2 * rounding.unit_roundoff) * abs(result.mid)
    assert result.rad <= 1.01 * (spread + rounding_errors)


@pytest.mark.parametrize(
    "shapes",
    [
        ((), (3,)),
        ((3,), ()),
        ((1,), (3,)),
        ((3,), (1,)),
        ((2, 3), (3,)),
        ((3,), (2, 3)),
        ((2, 1), (1, 3)),
        ((4, 2, 3), (2, 1)),
    ],
    ids=str,
)
@pytest.mark.parametrize("radii", ["exact exact", "exact wide", "wide exact", "wide wide"])
@pytest.mark.parametrize(
    "ufunc", [np.add, np.subtract, np.multiply, np.divide], ids=lambda ufunc: ufunc.__name__
)
def test_operands_of_different_shapes_broadcast(ufunc, radii, shapes):
    random = np.random.default_rng(0)
    operands = [
        Ball(random.normal(size=shape), EXACT if kind == "exact" else np.full(shape, 0.1), FLOAT32)
        for shape, kind in zip(shapes, radii.split(), strict=True)
    ]
    result = ufunc(*operands)
    assert result.mid.shape == result.rad.shape == np.broadcast_shapes(*shapes)
    assert violations(ufunc, operands, [np.array(1.0), np.array(-1.0)]) == []


@every_function
def test_no_samples_at_all_are_no_trouble(ufunc):
    none = Ball.from_value(np.zeros((0, 2)), FLOAT32)
    assert apply(ufunc, *[none] * LAWS[ufunc].operands).mid.shape == (0, 2)


# Zeros, constants and formats


@pytest.mark.parametrize(
    "zero",
    [
        lambda x: 0 * x,
        lambda x: x * 0.0,
        lambda x: 0 / x,
        lambda x: x - x,
        lambda x: np.sin(0 * x),
        lambda x: 3 * (x - x) ** 2,
    ],
)
@both_formats
def test_an_exact_zero_stays_exact(zero, rounding):
    result = zero(Ball.from_value(np.array([0.75, -3.0]), rounding))
    assert (result.mid == 0).all()
    assert (result.rad == 0).all()


def test_a_product_that_underflows_is_no_exact_zero():
    tiny = Ball.from_value(np.array([1e-30]), FLOAT32)
    assert (tiny * tiny).rad >= FLOAT32.smallest_normal
    least = Ball.from_value(np.array([1e-200]), FLOAT64)
    assert (least * least).mid == 0
    assert (least * least).rad >= FLOAT64.smallest_normal


@both_formats
@SEARCH
@given(value=st.floats())
def test_a_constant_may_be_kept_rounded_or_flushed(value, rounding):
    ball = Ball.from_value(value, rounding)
    with np.errstate(over="ignore"):
        rounded = float(rounding.dtype.type(value))
    if not math.isfinite(rounded):
        assert ball.rad == np.inf
    else:
        honest = {value, rounded} | ({0.0} if abs(value) < rounding.smallest_normal else set())
        with precision(EXACT_BITS):
            assert all(abs(flint.arb(x) - value) <= float(ball.rad) for x in honest)


def test_a_tenth_is_a_tenth_in_float64_and_a_rounded_tenth_in_float32():
    assert Ball.from_value(0.1, FLOAT64).rad == 0
    assert Ball.from_value(0.1, FLOAT32).rad == abs(0.1 - float(np.float32(0.1)))


WITH_A_TENTH = [lambda x: x + 0.1, lambda x: 0.1 - x, lambda x: 0.1 * x, lambda x: x / 0.1]


def escapes(formula):
    """Say whether NumPy's float32 arithmetic leaves the ball, cancellation included."""
    x = np.append(np.linspace(-4, 4, 1001), [-0.1, 0.1]).astype(np.float32)
    ball = formula(Ball.from_value(x, FLOAT32))
    return (abs(formula(x) - ball.mid) > ball.rad).any()


@pytest.mark.parametrize("formula", WITH_A_TENTH)
def test_float32_arithmetic_with_a_tenth_stays_inside(formula):
    assert not escapes(formula)


@pytest.mark.parametrize("formula", WITH_A_TENTH[:2])
def test_a_tenth_taken_for_exact_is_found(formula, monkeypatch):
    exact = classmethod(lambda cls, value, r: cls(np.asarray(value, np.float64), EXACT, r))
    monkeypatch.setattr(Ball, "from_value", exact)
    assert escapes(formula)


@pytest.mark.parametrize(
    "other",
    [
        Ball.from_value(1.0, FLOAT64),
        Ball.from_value(1.0, Rounding(np.dtype(np.float32), ulps=2)),
    ],
    ids=["dtype", "ulps"],
)
def test_balls_of_two_formats_refuse_to_mix(other):
    with pytest.raises(TypeError, match="balls of two formats meet"):
        Ball.from_value(1.0, FLOAT32) + other


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (np.tanh, r"numpy\.tanh;"),
        (np.sum, r"numpy\.sum$"),
        (lambda a: np.dot(a, a), r"numpy\.dot$"),
        (np.add.reduce, r"numpy\.add\.reduce;"),
        (np.add.accumulate, r"numpy\.add\.accumulate;"),
        (lambda a: operator.iadd(a, 1), r"numpy\.add with out;"),
        (lambda a: np.sin(a, where=[True, False]), r"numpy\.sin with where;"),
        (abs, r"numpy\.absolute;"),
        (lambda a: a @ a, r"numpy\.matmul;"),
        (lambda a: a < 1, r"numpy\.less;"),
        (lambda a: a**3, "power 3"),
        (lambda a: a ** np.array([2, 2]), r"power \[2"),
        (lambda a: a**a, r"power \[1"),
    ],
)
def test_what_has_no_rule_is_refused_by_name(call, name):
    ball = Ball.from_value(np.ones(2), FLOAT32)
    with pytest.raises(TypeError, match=name):
        call(ball)


# A whole engine


def outside(values, rounding, bits=2000):
    """Which gradients of `chain` leave their balls: of the truth, and of the dtype's engine."""
    _, _, d = run_passes(MODEL, np, {k: Ball.from_value(x, rounding) for k, x in values.items()})
    with np.errstate(all="ignore"):
        given = {name: x.astype(rounding.dtype) for name, x in values.items()}
        _, _, evaluated = run_passes(MODEL, np, given)
        truth = enclose_gradients(MODEL, values, bits)
        return [
            (name, party)
            for name in MODEL.parameters
            for party, apart in {
                "truth": distance(d[name].mid, truth[name]),
                "engine": np.abs(evaluated[name] - d[name].mid),
            }.items()
            if not ((apart <= d[name].rad) | (d[name].rad == np.inf)).all()
        ]


@both_formats
@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0, 6.0])
@settings(SEARCH, max_examples=3)
@given(seed=st.integers(0, 2**64))
def test_balls_of_the_chain_enclose_the_truth_and_the_engine(scale, rounding, seed):
    values = draw_samples(MODEL.leaves, seed, 0, 150, scale=scale, dtype=rounding.dtype)
    assert outside(values, rounding) == []


@pytest.mark.parametrize(("scale", "ulps"), [(0.5, 65), (1.0, 90), (3.0, 355), (6.0, 2185)])
def test_the_median_bound_of_the_chain_is_as_narrow_as_measured(scale, ulps):
    values = draw_samples(MODEL.leaves, 0, 0, 5000, scale=scale)
    _, _, d = run_passes(MODEL, np, {k: Ball.from_value(x, FLOAT64) for k, x in values.items()})
    bounds = np.concatenate(
        [d[name].rad / np.spacing(abs(d[name].mid)) for name in MODEL.parameters]
    )
    assert np.median(bounds) < 1.3 * ulps


# Tests of the tests: the very search above must find every one of these faults


def scaled_error(factor):
    def enclose(mid, spread, error, zero, rounding, honest=rules._enclose):
        return honest(mid, spread, factor * error, zero, rounding)

    return enclose


def scaled_slope(factor):
    def spread(slope, rad, rounding, honest=rules._circular_spread):
        return honest(factor * slope, rad, rounding)

    return spread


def with_another_range(**ends):
    def enclose(mid, spread, error, zero, rounding, honest=rules._enclose):
        mistaken = Rounding(rounding.dtype, rounding.ulps)
        vars(mistaken).update(ends)
        result = honest(mid, spread, error, zero, mistaken)
        return Ball(result.mid, result.rad, rounding)

    return enclose


def divide_by_the_midpoint(a, b, rounding):
    quotient = a.mid / b.mid
    spread = (a.rad + abs(quotient) * b.rad) / abs(b.mid)
    return rules._enclose(quotient, spread, rounding.arithmetic_error, lambda: False, rounding)


FAULTS = {
    "a dropped rounding term": (np.add, "_enclose", scaled_error(0)),
    "a dropped library error": (np.exp, "_enclose", scaled_error(0)),
    "one error for two": (np.multiply, "_enclose", scaled_error(0.5)),
    "one library error for two": (np.sin, "_enclose", scaled_error(0.5)),
    "half the slope of cos": (np.cos, "_circular_spread", scaled_slope(0.5)),
    "half the slope of sin": (np.sin, "_circular_spread", scaled_slope(0.5)),
    "no curvature": (
        np.sin,
        "_circular_spread",
        lambda slope, rad, rounding: np.minimum(abs(slope) * rad, 2),
    ),
    "a straight exponential": (np.exp, "_expm1_bound", lambda r: r),
    "no product of radii": (
        np.multiply,
        "_product_spread",
        lambda a, b: abs(a.mid) * b.rad + abs(b.mid) * a.rad,
    ),
    "a sum of one radius": (np.subtract, "_sum_spread", lambda a, b: a.rad + 0 * b.rad),
    "division by the midpoint": (np.divide, np.divide, divide_by_the_midpoint),
    "every zero exact": (np.multiply, "_is_zero", lambda a: True),
    "no flush": (np.multiply, "_enclose", with_another_range(smallest_normal=0.0)),
    "no overflow": (np.square, "_enclose", with_another_range(largest=math.inf)),
}
IN_FLOAT64_ALONE = {"one error for two", "one library error for two"}
"""The midpoints are float64: in float32 their own error is next to nothing."""
IN_FLOAT32_ALONE = {"no overflow"}
"""Midpoints of float64 overflow by themselves."""


def plant(monkeypatch, place, faulty):
    if isinstance(place, str):
        monkeypatch.setattr(rules, place, faulty)
    else:
        monkeypatch.setitem(RULES, place, faulty)


@pytest.mark.parametrize(
    ("fault", "rounding"),
    [(fault, FLOAT32) for fault in FAULTS if fault not in IN_FLOAT64_ALONE]
    + [(fault, FLOAT64) for fault in FAULTS if fault not in IN_FLOAT32_ALONE],
    ids=lambda value: value if isinstance(value, str) else str(value.dtype),
)
def test_a_planted_fault_is_found(fault, rounding, monkeypatch):
    ufunc, place, faulty = FAULTS[fault]
    plant(monkeypatch, place, faulty)
    effort = settings(SEARCH, max_examples=1000, phases=[Phase.generate])
    operands, positions = find(
        cases(ufunc, rounding), lambda case: violations(ufunc, *case), settings=effort
    )
    monkeypatch.undo()
    assert violations(ufunc, operands, positions) == []


@pytest.mark.parametrize(
    ("rounding", "party"), [(FLOAT32, "engine"), (FLOAT64, "truth")], ids=["float32", "float64"]
)
@pytest.mark.parametrize(
    ("place", "faulty"),
    [("_enclose", scaled_error(0)), ("_circular_spread", scaled_slope(0))],
    ids=["a dropped rounding term", "no slope of sin and cos"],
)
def test_a_planted_fault_shows_in_the_chain(place, faulty, rounding, party, monkeypatch):
    values = draw_samples(MODEL.leaves, 0, 0, 200, dtype=rounding.dtype)
    plant(monkeypatch, place, faulty)
    assert party in {who for _, who in outside(values, rounding)}
