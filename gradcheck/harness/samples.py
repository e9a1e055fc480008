"""Random samples that replay on any machine: sample i is a pure function of the seed and i.

The bits are Philox's, a counter-based generator, so that any sample can be drawn without the ones
before it. Their conversion to numbers uses only additions, multiplications and table look-ups,
which IEEE 754 fixes to the last bit; neither NumPy's distributions nor a system's logarithm, which
change between versions, take part.

References
----------
J. K. Salmon et al., *Parallel random numbers: as easy as 1, 2, 3*, SC11, 2011.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.harness.kinks import place_on_kinks
from gradcheck.harness.request import Request
from gradcheck.judge.evaluation import takes_one_sample
from gradcheck.model.model import Model, label

Bits = NDArray[np.uint64]
Floats = NDArray[np.float64]

WORDS_PER_COUNT = 4
"""Philox yields four 64-bit words for each value of its counter."""

PART = 2**14
"""Words converted at once, which with what is made of them fit a core's cache."""
BLOCK = 65_536
"""Samples evaluated at once: enough to amortise a call, few enough for a core's cache."""
BLOCK_NUMBERS = 10 * BLOCK
"""Inputs and parameters in a block; a model of many has fewer samples in it."""
BLOCK_ONE_BY_ONE = 256
"""Samples in a block where passes, or an expression under test, may have to be called for each."""
BLOCK_ON_KINKS = 1024
"""Samples in a block if they are placed on kinks, which takes many evaluations."""

EVIDENCE = 32
"""How many samples, the first ones, are kept for a diagnosis whatever they show."""
AUDIT_SHARE, AUDITED_AT_LEAST, AUDITED_AT_MOST = 0.001, 20, 200
"""Of the samples, unless a share is asked for."""
AUDITED_NUMBERS, FEWEST_AUDITED = 10_000, 8
"""Inputs and parameters in the audited samples; of a large model at least so many samples."""
AUDIT_STREAM = 2**32
"""Of the seed's random words, and the next one; samples use the streams below."""


@dataclass(frozen=True)
class Samples:
    """Some samples of a sweep in one dtype, drawn once and carried to whoever needs them.

    Parameters
    ----------
    dtype
        The format under judgement, in which every number is exact.
    numbers
        Which samples these are, int64 of shape `(n,)`.
    values
        Inputs and parameters, float64 or int64 of shape `(n, *shape)`.
    """

    dtype: str
    numbers: NDArray[np.int64]
    values: Mapping[str, NDArray[Any]]

    def select(self, numbers: Iterable[int]) -> Samples:
        """Return the samples of these numbers, in this order, each of which is held."""
        chosen = np.array(list(numbers), np.int64)
        order = np.argsort(self.numbers, kind="stable")
        rows = order[np.searchsorted(self.numbers, chosen, sorter=order)]
        return Samples(self.dtype, chosen, {name: a[rows] for name, a in self.values.items()})

    def join(self, later: Samples) -> Samples:
        """Append other samples."""
        return Samples(
            self.dtype,
            np.concatenate([self.numbers, later.numbers]),
            {name: np.concatenate([a, later.values[name]]) for name, a in self.values.items()},
        )

    def labelled(self, number: int) -> dict[str, float]:
        """Return the numbers of one sample by their labels: `x`, `weight[0,1]`."""
        return {
            label(name, position): array[(0, *position)].item()
            for name, array in self.select([number]).values.items()
            for position in np.ndindex(array.shape[1:])
        }


def block_size(model: Model, request: Request) -> int:
    """Return how many samples of a model are evaluated at once, a power of two.

    Blocks are always evaluated whole, so that what a sample yields does not depend on how many were
    asked for: a vectorised loop may round its last few elements differently from the others.
    """
    numbers = sum(prod(shape) for shape in model.leaves.values())
    samples = min(BLOCK, max(1, BLOCK_NUMBERS // numbers))
    if model.expressions or model.recorded or takes_one_sample(model):
        samples = min(samples, BLOCK_ONE_BY_ONE)
    if request.kinks:
        samples = min(samples, BLOCK_ON_KINKS)
    return 1 << (samples.bit_length() - 1)


def draw_block(model: Model, request: Request, dtype: str, start: int, block: int) -> Samples:
    """Draw a block of the samples that a request asks for, placed on kinks if it does."""
    (samples,) = draw_formats(model, request, [dtype], start, block)
    return samples


def draw_formats(
    model: Model, request: Request, dtypes: Iterable[str], start: int, block: int
) -> Iterator[Samples]:
    """Draw a block in each of several dtypes, which share their random numbers.

    See `draw_block`.
    """
    settings = request.distribution, request.scale
    drawn = draw_samples(model.leaves, request.seed, start, block, *settings)
    for dtype in dtypes:
        values: Mapping[str, NDArray[Any]] = _declared(model, drawn, request.seed, start, dtype)
        if request.kinks:
            rounding = request.rounding(dtype)
            values = place_on_kinks(model, values, start, rounding)
        yield Samples(dtype, np.arange(start, start + block), values)


def draw_sample(model: Model, request: Request, dtype: str, number: int) -> Samples:
    """Draw one sample, by way of its block: its numbers are those that a sweep judges."""
    block = block_size(model, request)
    return draw_block(model, request, dtype, number - number % block, block).select([number])


def choose_audited(model: Model, request: Request) -> list[int]:
    """Choose samples at random, one from each of as many equal runs."""
    if request.audit == 0:
        return []
    share = AUDIT_SHARE if request.audit is None else request.audit
    count = max(round(share * request.samples), AUDITED_AT_LEAST)
    if request.audit is None:
        numbers = sum(map(prod, model.leaves.values()))
        fewest = 1 if model.recorded else FEWEST_AUDITED
        count = AUDITED_AT_MOST if model.recorded else min(count, AUDITED_AT_MOST)
        count = min(count, max(fewest, AUDITED_NUMBERS // numbers))
    count = min(count, request.samples)
    words = draw_words(request.seed, AUDIT_STREAM, 0, count)
    edges = [run * request.samples // count for run in range(count + 1)]
    if model.recorded:  # the inputs that were given first of all
        return edges[:-1]
    return [
        low + int(word) % (high - low)
        for word, low, high in zip(words, edges[:-1], edges[1:], strict=True)
    ]


def draw_model(
    model: Model,
    seed: int,
    start: int,
    count: int,
    distribution: str = "normal",
    scale: float = 1.0,
    dtype: Any = np.float64,
) -> dict[str, Floats]:
    """Draw samples of a model's inputs and parameters, each from the domain declared for it.

    See `draw_samples`. Integers are int64, whatever the dtype.
    """
    drawn = draw_samples(model.leaves, seed, start, count, distribution, scale)
    return _declared(model, drawn, seed, start, dtype)


def _declared(
    model: Model, drawn: Mapping[str, Floats], seed: int, start: int, dtype: Any
) -> dict[str, Floats]:
    """Make of numbers of the request's distribution those that a model declares, in a dtype."""
    count = len(next(iter(drawn.values())))
    drawn = {name: _round(numbers, dtype) for name, numbers in drawn.items()}
    for stream, (name, shape) in enumerate(model.leaves.items()):
        domain = model.domain(name)
        if domain is None:
            continue
        numbers = drawn[name]
        if domain.base:
            words = draw_words(seed, stream, start * prod(shape), count * prod(shape))
            numbers = DISTRIBUTIONS[domain.base](words).reshape(count, *shape)
        numbers = domain.transform(numbers)
        drawn[name] = numbers.astype(np.int64) if domain.is_discrete else _round(numbers, dtype)
    if start == 0:
        for name, value in model.given.items():
            drawn[name] = drawn[name].copy()  # in float64 the other dtypes' numbers as well
            drawn[name][0] = _round(np.asarray(value), dtype)
    return drawn


def draw_samples(
    shapes: Mapping[str, tuple[int, ...]],
    seed: int,
    start: int,
    count: int,
    distribution: str = "normal",
    scale: float = 1.0,
    dtype: Any = np.float64,
) -> dict[str, Floats]:
    """Draw samples `start` to `start + count`.

    Parameters
    ----------
    shapes
        Name and shape of each array of a sample, in the order in which they are drawn.
    distribution
        A key of `DISTRIBUTIONS`.
    scale
        Multiplies every number: the standard deviation of `normal`.
    dtype
        Each number is rounded to this dtype, so that it is exact in it.

    Returns
    -------
    dict
        float64 arrays of shape `(count, *shape)`.
    """
    convert, drawn = DISTRIBUTIONS[distribution], {}
    for stream, (name, shape) in enumerate(shapes.items()):
        words = _source(seed, stream, start * prod(shape))
        numbers = np.empty(count * prod(shape))
        for first in range(0, len(numbers), PART):
            part = numbers[first : first + PART]
            np.multiply(convert(words(len(part))), scale, out=part)
        drawn[name] = _round(numbers, dtype).reshape(count, *shape)
    return drawn


def draw_words(seed: int, stream: int, start: int, count: int) -> Bits:
    """Words `start` to `start + count` of one of a seed's streams, each 2¹³⁰ words long."""
    return _source(seed, stream, start)(count)


def _source(seed: int, stream: int, start: int) -> Callable[[int], Bits]:
    """Return what yields so many words of a stream, from `start` on, and then those after them."""
    counter = start // WORDS_PER_COUNT + (stream << 128)
    philox = np.random.Philox(key=seed, counter=counter)
    philox.random_raw(start % WORDS_PER_COUNT)
    return philox.random_raw


def _round(numbers: Floats, dtype: Any) -> Floats:
    with np.errstate(over="ignore", under="ignore"):
        return numbers.astype(dtype, copy=False).astype(np.float64, copy=False)


def normal(words: Bits) -> Floats:
    """Convert to N(0, 1): the top bit is the sign, the lower 52 are a two-sided tail probability.

    The quantiles are interpolated linearly between knots, to within 1e-4 of the exact ones.
    """
    bits = words & MANTISSA
    bits |= ONE
    probability = bits.view(np.float64)
    np.subtract(2, probability, out=probability)  # a multiple of 2⁻⁵² in (0, 1]
    cell = probability.view(np.int64) >> CELL_SHIFT
    cell -= FIRST_CELL
    # No cell is outside the tables; to say what would be done with one spares a copy.
    factor = SLOPES.take(cell, mode="clip")
    probability *= factor
    INTERCEPTS.take(cell, mode="clip", out=factor)
    probability += factor
    return np.copysign(probability, words.view(np.float64), out=probability)


def uniform(words: Bits) -> Floats:
    """Convert to the uniform distribution on [−1, 1)."""
    return _fraction(words) * 2 - 1


def log_uniform(words: Bits) -> Floats:
    """Convert to ±2ᵗ with a random sign and t uniform on [−8, 8)."""
    sign = (words & np.uint64(1)).astype(np.float64) * 2 - 1
    exponent = _fraction(words) * 16 - 8
    whole = np.floor(exponent)
    power = np.zeros_like(exponent)
    for k in reversed(range(1, 16)):  # 2ᶠ = Σ (f·ln 2)ᵏ/k!, of which the rest is below 1e-15
        power = (1 + power) * (exponent - whole) * (LN_2 / k)
    return sign * np.ldexp(1 + power, whole.astype(np.int32))


def _fraction(words: Bits) -> Floats:
    """Return the upper 53 bits as a number in [0, 1)."""
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _quantile_table() -> tuple[Floats, Floats]:
    """Slopes and intercepts of the magnitude of N(0, 1) as a function of its tail probability.

    A cell is a run of probabilities that share their exponent and the next CELL_BITS bits; the
    last holds 1 alone. Knots are rounded to 2⁻²⁴ so that no last bit of a system's logarithm shows.
    """
    edges = [
        2.0**exponent * (1 + step / 2**CELL_BITS)
        for exponent in range(-52, 0)
        for step in range(2**CELL_BITS)
    ] + [1.0, 2.0]
    knots = [round(-NormalDist().inv_cdf(edge / 2) * 2**24) / 2**24 for edge in edges[:-1]] + [0.0]
    slopes = np.diff(knots) / np.diff(edges)
    return slopes, np.array(knots[:-1]) - slopes * edges[:-1]


LN_2 = 0.6931471805599453

MANTISSA = np.uint64(2**52 - 1)  # the bits of a float64 below its exponent
ONE = np.array(1.0).view(np.uint64)
CELL_BITS = 5
CELL_SHIFT = 52 - CELL_BITS
FIRST_CELL = int(np.array(2.0**-52).view(np.int64)) >> CELL_SHIFT
SLOPES, INTERCEPTS = _quantile_table()

DISTRIBUTIONS: dict[str, Callable[[Bits], Floats]] = {
    "normal": normal,
    "uniform": uniform,
    "log-uniform": log_uniform,
}
"""Conversions of 64 random bits to a number of unit scale."""
