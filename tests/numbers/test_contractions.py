"""Sums, products of matrices and what is made of them, held against Arb and against honest code."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import flint
import numpy as np
import pytest

from gradcheck.numbers import enclosure, products
from gradcheck.numbers.ball import EXACT, Ball, Choices
from gradcheck.numbers.elementary import ELEMENTARY
from gradcheck.numbers.rounding import Rounding
from gradcheck.truth.enclosures import precision

FLOAT32, FLOAT64 = Rounding(np.dtype(np.float32)), Rounding(np.dtype(np.float64))
both_formats = pytest.mark.parametrize("rounding", [FLOAT32, FLOAT64], ids=["float32", "float64"])
BITS = 2500  # sums and products of what is drawn here are exact in so many


class Honest:
    """A number that errs in every operation by as much as correct rounding may, flushes included.

    `sign` says in which direction: away from zero, towards it, or drawn anew.
    """

    rounding: ClassVar[Rounding]
    sign: ClassVar[Callable[[], int]]

    def __init__(self, value: Any) -> None:
        self.value = flint.arb(value)

    @classmethod
    def rounded(cls, exact: flint.arb, roundoffs: float = 1.0) -> "Honest":
        u = cls.rounding.unit_roundoff
        if exact != 0 and abs(exact) < cls.rounding.smallest_normal and cls.sign() < 0:
            return cls(0)
        return cls(exact * (1 + cls.sign() * flint.arb(u * roundoffs)))

    def __add__(self, other):
        return self.rounded(self.value + exact_value(other))

    def __sub__(self, other):
        return self.rounded(self.value - exact_value(other))

    def __mul__(self, other):
        return self.rounded(self.value * exact_value(other))

    def __truediv__(self, other):
        return self.rounded(self.value / exact_value(other))

    __radd__, __rmul__ = __add__, __mul__

    def sqrt(self):
        allowance = ELEMENTARY[np.sqrt].accuracy(self.rounding)
        return self.rounded(self.value.sqrt(), 2 * allowance)


def exact_value(number):
    return number.value if isinstance(number, Honest) else flint.arb(number)


@dataclass(frozen=True)
class Sum:
    """What balls are asked for, the shapes of its operands, and the same in simple steps."""

    call: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    simply: Callable[..., Any] | None = None

    def steps(self, *arrays):
        return np.asarray((self.simply or self.call)(*arrays), dtype=object)


def variance(x):
    deviation = x - x.sum() / 6
    return (deviation * deviation).sum() / 6


def running(x):
    return np.stack([x[: i + 1].sum(axis=0) for i in range(len(x))])


SUMS = {
    "sum": Sum(np.sum, ((7,),)),
    "sum of one": Sum(lambda x: x.sum(axis=0), ((1, 3),)),
    "sum along an axis": Sum(lambda x: x.sum(axis=1), ((3, 4),)),
    "sum along two axes": Sum(lambda x: np.sum(x, axis=(0, -1), keepdims=True), ((2, 3, 4),)),
    "sum along no axis": Sum(lambda x: np.sum(x, axis=()), ((2, 3),)),
    "mean": Sum(np.mean, ((3, 2),), lambda x: x.sum() / 6),
    "mean along an axis": Sum(lambda x: x.mean(axis=-1), ((3, 5),), lambda x: x.sum(axis=-1) / 5),
    "var": Sum(np.var, ((6,),), variance),
    "var, unbiased": Sum(
        lambda x: x.var(ddof=1),
        ((2, 3),),
        lambda x: ((x - x.sum() / 6) * (x - x.sum() / 6)).sum() / 5,
    ),
    "std": Sum(np.std, ((6,),), lambda x: variance(x).sqrt()),
    "matmul": Sum(lambda a, b: a @ b, ((2, 5), (5, 3))),
    "matmul of vectors": Sum(lambda a, b: a @ b, ((5,), (5,))),
    "matrix by vector": Sum(np.matmul, ((3, 4), (4,))),
    "vector by matrix": Sum(np.matmul, ((4,), (4, 3))),
    "stacks of matrices": Sum(np.matmul, ((2, 3, 4), (2, 4, 2))),
    "stack by matrix": Sum(np.matmul, ((2, 3, 4), (4, 2))),
    "vector by stack": Sum(np.matmul, ((3,), (2, 3, 4))),
    "dot": Sum(np.dot, ((4,), (4,))),
    "dot of matrices": Sum(np.dot, ((2, 3), (3, 2))),
    "dot with a number": Sum(np.dot, ((), (3,)), lambda a, b: a * b),
    "dot as a method": Sum(lambda a, b: a.dot(b), ((2, 3), (3,))),
    "inner": Sum(np.inner, ((4,), (4,))),
    "vdot": Sum(np.vdot, ((2, 2), (2, 2)), lambda a, b: a.ravel() @ b.ravel()),
    "vecdot": Sum(np.vecdot, ((4,), (4,)), lambda a, b: a @ b),
    "outer": Sum(np.outer, ((3,), (2,))),
    "tensordot": Sum(np.tensordot, ((2, 3, 4), (3, 4, 2))),
    "tensordot 1": Sum(lambda a, b: np.tensordot(a, b, axes=1), ((2, 3), (3, 4))),
    "tensordot of axes": Sum(
        lambda a, b: np.tensordot(a, b, axes=([0, -1], [2, 0])), ((2, 3, 4), (4, 5, 2))
    ),
    "einsum": Sum(lambda a, b: np.einsum("ij,kj->ik", a, b), ((2, 4), (3, 4))),
    "einsum, implicit": Sum(lambda a, b: np.einsum("ij,jk", a, b), ((2, 4), (4, 3))),
    "einsum of one": Sum(lambda a: np.einsum("iij->j", a), ((3, 3, 2),)),
    "einsum, transposing": Sum(lambda a: np.einsum("ij->ji", a), ((3, 2),)),
    "einsum of three": Sum(
        lambda a, b, c: np.einsum("ij,jk,k->i", a, b, c),
        ((2, 3), (3, 2), (2,)),
        lambda a, b, c: (a @ b) @ c,
    ),
    "trace": Sum(np.trace, ((4, 4),)),
    "cumsum": Sum(lambda x: np.cumsum(x, axis=0), ((5, 2),), running),
    "cumsum of all": Sum(np.cumsum, ((2, 3),), lambda x: running(x.ravel())),
    "prod": Sum(np.prod, ((5,),)),
    "prod along an axis": Sum(lambda x: np.prod(x, axis=1, keepdims=True), ((2, 4),)),
    "norm": Sum(np.linalg.norm, ((2, 3),), lambda x: (x * x).sum().sqrt()),
    "norms of rows": Sum(
        lambda x: np.linalg.norm(x, axis=-1, keepdims=True),
        ((2, 3),),
        lambda x: np.sqrt((x * x).sum(axis=-1, keepdims=True)),
    ),
}
every_sum = pytest.mark.parametrize("name", SUMS)
SAMPLES = 3


def values(kind: str, shape: tuple[int, ...], rounding: Rounding, random: Any, factors: int) -> Any:
    """Draw numbers of the format.

    They are ordinary, nearly cancelling, one large among small ones, or tiny: products of so many
    factors are near the smallest normal number then.
    """
    if kind == "tiny":
        exponents = random.integers(-6, 6, shape)
        drawn = np.ldexp(random.normal(size=shape), exponents)
        drawn *= rounding.smallest_normal ** (1 / factors)
        drawn = np.where(abs(drawn) < rounding.smallest_normal, 0, drawn)
    elif kind == "one large":
        drawn = np.full(shape, 2.0**-30) * random.uniform(0.5, 1, shape)
        drawn[..., :1] = 1.0
    else:
        drawn = random.normal(size=shape) * np.exp2(random.integers(-20, 20, shape))
        if kind == "cancelling" and drawn.shape[-1:] > (1,):
            drawn[..., 1::2] = -drawn[..., : drawn.shape[-1] // 2 * 2 : 2] * (1 + 1e-3)
    return drawn.astype(rounding.dtype).astype(np.float64)


KINDS = ["ordinary", "cancelling", "one large", "tiny"]


def escapes(name: str, rounding: Rounding, kind: str, rad: float) -> list[str]:
    """Say which honest evaluations, of points in the operands' balls, leave the result."""
    case, random, flips = SUMS[name], np.random.default_rng(0), np.random.default_rng(1)
    factors = len(case.shapes)
    mids = [values(kind, (SAMPLES, *shape), rounding, random, factors) for shape in case.shapes]
    rads = [abs(mid) * rad * random.integers(0, 2, mid.shape) if rad else EXACT for mid in mids]
    result = case.call(*make(mids, rads, rounding, 1, Choices(SAMPLES)))
    radii, found = np.broadcast_to(result.rad, result.mid.shape), []
    Honest.rounding = rounding
    with precision(BITS):
        for sample in range(SAMPLES):
            for corner in (-1, 0, 1, None):
                points = []
                for mid, width in zip(mids, rads, strict=True):
                    at = random.uniform(-1, 1, mid.shape) if corner is None else corner
                    points.append((mid + width * at * (1 - 1e-9))[sample])
                for direction in (0, 1, -1, None):
                    Honest.sign = sign_of(direction, flips)
                    honest = case.steps(*(np.asarray(EACH_HONEST(p), object) for p in points))
                    assert honest.shape == result.shape
                    found += [
                        f"{name}, corner {corner}, {direction}: {m} ± {r} misses {y.value}"
                        for y, m, r in zip(
                            honest.flat, result.mid[sample].flat, radii[sample].flat, strict=True
                        )
                        if not (r == np.inf or abs(y.value - float(m)) <= float(r))
                    ]
    return found


EACH_HONEST = np.frompyfunc(Honest, 1, 1)


def make(mids, rads, rounding, hidden, choices):
    return [
        Ball(np.asarray(mid), rad if rad is EXACT else np.asarray(rad), rounding, hidden, choices)
        for mid, rad in zip(mids, rads, strict=True)
    ]


def sign_of(direction, flips):
    if direction is None:
        return lambda: int(flips.integers(0, 2)) * 2 - 1
    return lambda: direction


@both_formats
@every_sum
def test_a_sum_encloses_every_honest_evaluation(name, rounding):
    for kind, rad in [("ordinary", 0), ("cancelling", 2.0**-12), ("one large", 0), ("tiny", 0.25)]:
        assert escapes(name, rounding, kind, rad) == []


@pytest.mark.parametrize("name", ["dot", "matmul", "einsum", "tensordot"])
def test_a_sum_of_products_that_underflow_is_no_exact_zero(name):
    tiny = [Ball(np.full((1, *shape), 1e-200), EXACT, FLOAT64, 1) for shape in SUMS[name].shapes]
    assert (SUMS[name].call(*tiny).rad >= FLOAT64.smallest_normal).all()


@both_formats
@pytest.mark.parametrize("call", [np.sum, np.var, np.linalg.norm, lambda x: x @ x])
def test_a_total_without_a_hidden_axis_is_a_number(call, rounding):
    assert call(Ball(np.ones(3), EXACT, rounding)).shape == ()


@both_formats
@every_sum
def test_samples_do_not_meet(name, rounding):
    """All at once, one by one, and, unless the result is one number, without a hidden axis."""
    case, random = SUMS[name], np.random.default_rng(0)
    mids = [random.normal(size=(SAMPLES, *shape)) for shape in case.shapes]
    rads = [abs(mid) / 8 for mid in mids]
    together = case.call(*make(mids, rads, rounding, 1, Choices(SAMPLES)))
    for i in range(SAMPLES):
        row = [m[i : i + 1] for m in mids], [r[i : i + 1] for r in rads]
        alone = case.call(*make(*row, rounding, 1, Choices(1)))
        assert_close(together, i, alone, 0)
        if together.shape:
            row = [m[i] for m in mids], [r[i] for r in rads]
            shown = case.call(*make(*row, rounding, 0, Choices(1)))
            assert_close(together, i, shown, ...)


def assert_close(together, i, alone, j):
    assert together.shape == alone.shape
    np.testing.assert_allclose(together.mid[i], alone.mid[j], rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(together.rad[i], alone.rad[j], rtol=1e-9)


@every_sum
def test_an_operand_may_be_a_plain_array(name):
    """Every operand but one in turn, which is the same for all samples."""
    case, random = SUMS[name], np.random.default_rng(0)
    arrays = [random.normal(size=shape) for shape in case.shapes]
    expected = case.call(*arrays)
    for i in range(len(arrays)):
        operands = list(arrays)
        mid = np.broadcast_to(arrays[i], (SAMPLES, *arrays[i].shape))
        operands[i] = Ball(mid, EXACT, FLOAT64, 1, Choices(SAMPLES))
        if name == "dot as a method" and i == 1:
            continue  # that method is the plain array's own
        result = case.call(*operands)
        assert result.hidden == 1
        np.testing.assert_allclose(result.mid, np.broadcast_to(expected, result.mid.shape))


def test_a_sum_of_many_is_no_wider_than_the_additions_ask_for():
    ones = Ball(np.ones((1, 1000)), EXACT, FLOAT32, 1, Choices(1))
    u = FLOAT32.unit_roundoff
    assert ones.sum().rad <= 1.001 * 2 * 999 * 1000 * u
    assert (ones @ ones).rad <= 1.001 * 2 * 1000 * 1000 * u


@both_formats
def test_a_sum_of_exact_zeros_is_an_exact_zero(rounding):
    zeros = Ball(np.zeros((2, 3, 3)), EXACT, rounding, 1, Choices(2))
    wide = Ball(np.ones((2, 3, 3)), np.ones((2, 3, 3)), rounding, 1, Choices(2))
    for result in (
        zeros.sum(axis=0),
        zeros @ wide,
        wide @ zeros,
        np.einsum("ij,ij->", zeros, wide),
    ):
        assert not np.any(result.mid)
        assert not np.any(result.rad)


@both_formats
def test_a_sum_that_may_overflow_on_the_way_has_no_bound(rounding):
    large = np.array([[1.0, -1.0, 1.0]]) * rounding.largest * 0.75
    ball = Ball(large, EXACT, rounding, 1, Choices(1))
    assert np.sum(ball).rad == np.inf
    assert (ball @ np.ones(3)).rad == np.inf


@pytest.mark.parametrize("method", ["sum", "mean", "var", "std", "cumsum"])
def test_methods_are_as_quiet_as_functions(method):
    large = np.array([[1.0, 1.0, 1.0]]) * FLOAT64.largest * 0.75
    assert getattr(Ball(large, EXACT, FLOAT64, 1, Choices(1)), method)().rad.max() == np.inf


@pytest.mark.parametrize("axis", [2, -3, (0, 2)])
def test_an_axis_that_is_not_there_is_named(axis):
    x = Ball(np.ones((2, 3, 4)), EXACT, FLOAT64, 1, Choices(2))
    for call in (np.sum, np.mean, np.max, np.var, np.prod):
        with pytest.raises(np.exceptions.AxisError):
            call(x, axis=axis)


@pytest.mark.parametrize("shapes", [((2, 3), (2, 3)), ((3,), (4,)), ((2, 3), ())], ids=str)
def test_matrices_that_do_not_match_are_refused(shapes):
    a, b = (Ball(np.ones((2, *s)), EXACT, FLOAT64, 1, Choices(2)) for s in shapes)
    with pytest.raises(ValueError, match="matmul"):
        a @ b


# Tests of the tests


def another_count(change):
    def contract(function, operands, terms, rounding, honest=enclosure.contract):
        return honest(function, operands, change(terms), rounding)

    return contract


def exact_operands(which):
    def contract(function, operands, terms, rounding, honest=enclosure.contract):
        operands = [
            Ball(o.mid, EXACT, o.rounding) if i == which else o for i, o in enumerate(operands)
        ]
        return honest(function, operands, terms, rounding)

    return contract


def no_flush(function, operands, terms, rounding, honest=enclosure.contract):
    mistaken = Rounding(rounding.dtype, rounding.ulps)
    vars(mistaken)["smallest_normal"] = 0.0
    return honest(function, operands, terms, mistaken)


def magnitude_of_the_sum(function, operands, terms, rounding):
    mid = function(*(o.mid for o in operands))
    return mid, rounding.two_errors(terms) * np.abs(mid)


FAULTS = {
    "one addition": ("sum", another_count(lambda n: min(n, 2)), "one large", 0.0),
    "a third of the additions": ("dot", another_count(lambda n: 1), "one large", 0.0),
    "an exact left": ("matmul", exact_operands(0), "ordinary", 0.25),
    "an exact right": ("einsum", exact_operands(1), "ordinary", 0.25),
    "no flush": ("matmul", no_flush, "tiny", 0.0),
    "no cancellation": ("sum", magnitude_of_the_sum, "cancelling", 0.0),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault, monkeypatch):
    name, faulty, kind, rad = FAULTS[fault]
    monkeypatch.setattr("gradcheck.numbers.ball.contract", faulty)
    assert escapes(name, FLOAT32, kind, rad)


def test_a_forgotten_axis_is_found(monkeypatch):
    def without_axes(part, hidden, ndim):
        return part

    monkeypatch.setattr(products, "insert_axes", without_axes)
    with pytest.raises((AssertionError, ValueError)):
        test_samples_do_not_meet("stack by matrix", FLOAT64)
