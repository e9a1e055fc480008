"""What a wrong quantity holds: simple changes of the right one, each tested on every sample.

A change is believed only if the balls of both sides overlap on all samples, and are so narrow on
several that an accident is out of the question. The first that holds is the simplest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from gradcheck.arithmetic.ball import Ball

SHARP = 2.0**-16
"""A ball is sharp if its radius is at most this fraction of its midpoint."""
FEWEST_SHARP = 6
MULTIPLES = (1, -1, 2, -2, 4, -4)
"""What a term may be multiplied with: by its sign, and by the 2 of a squared residual."""


def explain(wrong: Ball, truth: Ball, quantities: Mapping[str, Ball], reads: Sequence[str]) -> str:
    """Say what `wrong` holds in terms of what it should be, `truth`, and other right quantities.

    Parameters
    ----------
    quantities
        Right values by name: `v.omega1`, `t.h1`, and `d.f2` for an adjoint.
    reads
        The names that the wrong line reads; what it does not read, it cannot hold.

    Returns
    -------
    str
        A predicate, such as "holds ∂ℓ/∂f2"; empty if nothing matches.
    """
    return next(_matches(wrong, truth, quantities, reads), "")


def symbol(name: str) -> str:
    """Write `d.f2` as ∂ℓ/∂f2, and the rest as it stands."""
    return f"∂ℓ/∂{name[2:]}" if name.startswith("d.") else name


def matches(a: Ball, b: Ball) -> bool:
    """Tell whether two balls overlap on every sample, and are sharp on several."""
    finite = np.isfinite(a.mid) & np.isfinite(b.mid)
    overlap = np.abs(a.mid - b.mid) <= a.rad + b.rad
    sharp = (a.rad <= SHARP * np.abs(a.mid)) & (b.rad <= SHARP * np.abs(b.mid)) & finite
    return bool(overlap[finite].all() and np.count_nonzero(sharp) >= FEWEST_SHARP)


def _matches(
    wrong: Ball, truth: Ball, quantities: Mapping[str, Ball], reads: Sequence[str]
) -> Iterator[str]:
    if not wrong.mid.any():
        yield "is zero"
    others = {name: q for name, q in quantities.items() if not matches(q, truth)}
    for name, quantity in others.items():
        if matches(wrong, quantity):
            yield f"holds {symbol(name)}"
        if matches(wrong, -quantity):
            yield f"holds −{symbol(name)}"
    if matches(wrong, -truth):
        yield "has the opposite sign"
    yield from _constant_factor(wrong, truth)
    yield from _float32(wrong, truth, quantities)

    factors = _with_functions(quantities)
    for name, factor in factors.items():
        for sign, minus in ((truth, ""), (-truth, "−")):
            if matches(wrong * factor, sign):
                yield f"lacks the factor {minus}{name}"
            if matches(wrong, sign * factor):
                yield f"has a factor {minus}{name} too many"
    used = {
        name: factor
        for name, factor in factors.items()
        if any(name == symbol(read) or f"({read})" in name for read in reads)
    }
    products = {name: truth * factor for name, factor in used.items()}
    for right, factor in factors.items():
        product = wrong * factor
        for held, other in products.items():
            if held == right:
                continue
            if matches(product, other):
                yield f"has {held} where {right} belongs"
            if matches(product, -other):
                yield f"has −{held} where {right} belongs"
    yield from _terms(wrong - truth, quantities, reads)


def _constant_factor(wrong: Ball, truth: Ball) -> Iterator[str]:
    ratio = wrong / truth
    known = np.isfinite(ratio.rad)
    if np.count_nonzero(known & (ratio.rad <= SHARP * np.abs(ratio.mid))) < FEWEST_SHARP:
        return
    low, high = (ratio.mid - ratio.rad)[known].max(), (ratio.mid + ratio.rad)[known].min()
    if low > high or low <= 1 <= high:
        return
    plain = next((c for c in (2.0, 0.5, -2.0, -0.5, 4.0, 0.25) if low <= c <= high), None)
    if plain is not None:
        yield f"is {plain:g} times what it should be"
    else:
        excess = (low + high) / 2 - 1
        factor = f"1 {'+' if excess > 0 else '−'} {abs(excess):.3g}"
        yield f"is {factor if abs(excess) < 0.5 else f'{1 + excess:.6g}'} times what it should be"


def _float32(wrong: Ball, truth: Ball, quantities: Mapping[str, Ball]) -> Iterator[str]:
    def rounded(ball: Ball) -> Ball:
        with np.errstate(over="ignore"):
            return Ball(ball.mid.astype(np.float32).astype(np.float64), ball.rad, ball.rounding)

    if matches(wrong, rounded(truth)):
        yield "is rounded to float32"
    for name, quantity in _with_functions(quantities).items():
        if matches(wrong * quantity, truth * rounded(quantity)):
            yield f"uses {name} rounded to float32"


def _with_functions(quantities: Mapping[str, Ball]) -> dict[str, Ball]:
    """Add sine and cosine of whatever is no adjoint; these are the factors that lines contain."""
    plain = {name: q for name, q in quantities.items() if not name.startswith("d.")}
    return (
        {symbol(name): quantity for name, quantity in quantities.items()}
        | {f"sin({name})": np.sin(quantity) for name, quantity in plain.items()}
        | {f"cos({name})": np.cos(quantity) for name, quantity in plain.items()}
    )


def _terms(excess: Ball, quantities: Mapping[str, Ball], reads: Sequence[str]) -> Iterator[str]:
    for name, quantity in quantities.items():
        for multiple in MULTIPLES:
            if matches(excess, multiple * quantity):
                yield f"is {multiple:+d}·{symbol(name)} off"
    for held in reads:
        for right, quantity in quantities.items():
            if held in quantities and held != right:
                difference = quantities[held] - quantity
                for multiple in MULTIPLES:
                    if matches(excess, multiple * difference):
                        yield f"has {symbol(held)} where {symbol(right)} belongs"
