"""Random samples that replay on any machine: sample i is a pure function of the seed and i.

The bits are Philox's, a counter-based generator, so that any sample can be drawn without the ones
before it. Their conversion to numbers uses only additions, multiplications and table look-ups,
which IEEE 754 fixes to the last bit; neither NumPy's distributions nor a system's logarithm, which
change between versions, take part.

References
----------
J. K. Salmon et al., *Parallel random numbers: as easy as 1, 2, 3*, SC11, 2011.
"""

from collections.abc import Callable, Mapping
from math import factorial, prod
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint64]
Floats = NDArray[np.float64]

DRAWS_PER_COUNT = 4
"""Philox yields four 64-bit words for each value of its counter."""

SEED_LIMIT = 2**128
"""Philox's key has 128 bits."""

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
    sizes = {name: prod(shape) for name, shape in shapes.items()}
    stride = -(-sum(sizes.values()) // DRAWS_PER_COUNT)
    bits = np.random.Philox(key=seed).advance(start * stride)
    words = bits.random_raw(count * stride * DRAWS_PER_COUNT).reshape(count, -1)
    samples, column = {}, 0
    for name, size in sizes.items():
        drawn = np.ascontiguousarray(words[:, column : column + size].T)
        numbers = DISTRIBUTIONS[distribution](drawn) * scale
        with np.errstate(over="ignore", under="ignore"):
            rounded = numbers.astype(dtype).astype(np.float64)
        samples[name] = np.ascontiguousarray(rounded.T).reshape(count, *shapes[name])
        column += size
    return samples


def normal(words: Bits) -> Floats:
    """Convert to N(0, 1): the lowest bit is the sign, the upper 52 are a two-sided tail probability.

    The quantiles are interpolated linearly between knots, to within 2e-4 of the exact ones.
    """
    probability = ((words >> np.uint64(12)) | np.uint64(1)).astype(np.float64) * 2.0**-52
    cell = (probability.view(np.int64) >> CELL_SHIFT) - FIRST_CELL
    magnitude = probability * SLOPES[cell] + INTERCEPTS[cell]
    sign = (words & np.uint64(1)).astype(np.float64) * 2 - 1
    return magnitude * sign


def uniform(words: Bits) -> Floats:
    """Convert to the uniform distribution on [−1, 1)."""
    return _fraction(words) * 2 - 1


def log_uniform(words: Bits) -> Floats:
    """Convert to ±2ᵗ with a random sign and t uniform on [−8, 8)."""
    sign = (words & np.uint64(1)).astype(np.float64) * 2 - 1
    exponent = _fraction(words) * 16 - 8
    whole = np.floor(exponent)
    power = np.zeros_like(exponent)
    for k in reversed(range(16)):  # Horner's rule for 2ᶠ = Σ (f·ln 2)ᵏ/k!; the rest is below 1e-15
        power = power * (exponent - whole) + LN_2**k / factorial(k)
    return sign * np.ldexp(power, whole.astype(np.int32))


def _fraction(words: Bits) -> Floats:
    """The upper 53 bits as a number in [0, 1)."""
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _quantile_table() -> tuple[Floats, Floats]:
    """Slopes and intercepts of the magnitude of N(0, 1) as a function of its tail probability.

    A cell is a run of probabilities that share their exponent and the next CELL_BITS bits. Knots
    are rounded to 2⁻⁴⁰ so that no last bit of a system's logarithm shows.
    """
    edges = [
        2.0**exponent * (1 + step / 2**CELL_BITS)
        for exponent in range(-52, 0)
        for step in range(2**CELL_BITS)
    ] + [1.0]
    knots = [round(-NormalDist().inv_cdf(edge / 2) * 2**40) / 2**40 for edge in edges]
    slopes = np.diff(knots) / np.diff(edges)
    return slopes, np.array(knots[:-1]) - slopes * edges[:-1]


LN_2 = 0.6931471805599453

CELL_BITS = 5
CELL_SHIFT = 52 - CELL_BITS  # a float64 has 52 bits below its exponent
FIRST_CELL = int(np.array(2.0**-52).view(np.int64)) >> CELL_SHIFT
SLOPES, INTERCEPTS = _quantile_table()

DISTRIBUTIONS: dict[str, Callable[[Bits], Floats]] = {
    "normal": normal,
    "uniform": uniform,
    "log-uniform": log_uniform,
}
"""Conversions of 64 random bits to a number of unit scale."""
