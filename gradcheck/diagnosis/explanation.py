"""What a wrong quantity holds: simple changes of the right one, each tested on every sample.

A change is believed only if the balls of both sides overlap on all samples, and are so narrow on
several that an accident is out of the question. The first that holds is the simplest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from types import MappingProxyType
from typing import Any

import numpy as np

from gradcheck.numbers.ball import EXACT, Ball

SHARP = 2.0**-16
"""A ball is sharp if its radius is at most this fraction of its midpoint."""
FEWEST_SHARP = 6
MULTIPLES = (1, -1, 2, -2, 4, -4)
"""What a term may be multiplied with: by its sign, and by the 2 of a squared residual."""


def explain(
    wrong: Ball,
    truth: Ball,
    quantities: Mapping[str, Ball],
    reads: Sequence[str],
    moved: Mapping[str, Ball] = MappingProxyType({}),
) -> str:
    """Say what `wrong` holds in terms of what it should be, `truth`, and other right quantities.

    All are the same elements, one after the other, of every sample.

    Parameters
    ----------
    quantities
        Right values by name: `v.omega1`, `t.h1`, and `d.f2` for an adjoint.
    reads
        The names that the wrong line reads; what it does not read, it cannot hold.
    moved
        What the wrong array has in the places of these elements if it is moved about, by what may
        then be said of it: "is transposed".

    Returns
    -------
    str
        A predicate, such as "holds ∂ℓ/∂f2"; empty if nothing matches.
    """
    for words, elsewhere in moved.items():
        if matches(elsewhere, truth):
            return words
    return next(_matches(wrong, truth, quantities, reads), "")


def symbol(name: str) -> str:
    """Write `d.f2` as ∂ℓ/∂f2, and the rest as it stands."""
    return f"∂ℓ/∂{name[2:]}" if name.startswith("d.") else name


def matches(a: Ball, b: Ball) -> bool:
    """Tell whether two balls overlap on every sample, and are sharp on several."""
    finite = np.isfinite(a.mid) & np.isfinite(b.mid)
    overlap = np.abs(a.mid - b.mid) <= a.rad + b.rad
    sharp = (a.rad <= SHARP * np.abs(a.mid)) & (b.rad <= SHARP * np.abs(b.mid)) & finite
    sharp &= (a.mid != 0) & (b.mid != 0)
    return bool(overlap[finite].all() and np.count_nonzero(sharp) >= FEWEST_SHARP)


def _matches(
    wrong: Ball, truth: Ball, quantities: Mapping[str, Ball], reads: Sequence[str]
) -> Iterator[str]:
    if not wrong.mid.any():
        yield "is zero"
        return
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

    factors = _factors(quantities)
    for factor in factors:
        for sign, minus in ((truth, ""), (-truth, "−")):
            if matches(wrong * factor.ball, sign):
                yield f"lacks the factor {minus}{factor.words}"
            if matches(wrong, sign * factor.ball):
                yield f"has a factor {minus}{factor.words} too many"
    products = [(held, truth * held.ball) for held in factors if held.base in reads]
    for right in factors:
        if not right.ball.mid.all():
            continue  # where both sides are multiplied with zero, they say nothing
        product = wrong * right.ball
        for held, other in products:
            if held.words == right.words:
                continue
            if matches(product, other):
                yield f"has {held.words} where {right.words} belongs"
            if matches(product, -other):
                yield f"has −{held.words} where {right.words} belongs"
    yield from _terms(wrong - truth, quantities, reads)


def constant_ratio(wrong: Ball, truth: Ball) -> tuple[float, float] | None:
    """Return between which numbers wrong/truth lies if it may be the same on every sample."""
    ratio = wrong / truth
    known = np.isfinite(ratio.rad)
    if np.count_nonzero(known & (ratio.rad <= SHARP * np.abs(ratio.mid))) < FEWEST_SHARP:
        return None
    if not wrong.mid[np.isfinite(truth.mid) & (np.abs(truth.mid) > truth.rad)].all():
        return None
    low, high = (ratio.mid - ratio.rad)[known].max(), (ratio.mid + ratio.rad)[known].min()
    return (float(low), float(high)) if low <= high else None


def _constant_factor(wrong: Ball, truth: Ball) -> Iterator[str]:
    between = constant_ratio(wrong, truth)
    if between is None or between[0] <= 1 <= between[1]:
        return
    low, high = between
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

    if _differ(rounded(truth), truth) and matches(wrong, rounded(truth)):
        yield "is rounded to float32"
    for factor in _factors(quantities):
        if not _differ(rounded(factor.ball), factor.ball):
            continue
        if factor.ball.mid.all() and matches(wrong * factor.ball, truth * rounded(factor.ball)):
            yield f"uses {factor.words} rounded to float32"


def _differ(a: Ball, b: Ball) -> bool:
    return bool((a.mid != b.mid).any())


@dataclass(frozen=True)
class Factor:
    """What a line may multiply with: a quantity `base`, or a simple function of it."""

    words: str
    ball: Ball
    base: str


def _factors(quantities: Mapping[str, Ball]) -> list[Factor]:
    """List the quantities, and the functions of them that derivatives contain."""
    found = [Factor(symbol(name), quantity, name) for name, quantity in quantities.items()]
    for words, function in FUNCTIONS.items():
        found += [
            Factor(words.format(name), function(quantity), name)
            for name, quantity in quantities.items()
            if not name.startswith("d.")
        ]
    found += [
        Factor(f"1[{name} > 0]", _positive(quantity), name)
        for name, quantity in quantities.items()
        if not name.startswith("d.") and _varies(quantity)
    ]
    return found


FUNCTIONS: Mapping[str, Callable[[Any], Any]] = {
    "sin({})": np.sin,
    "cos({})": np.cos,
    "{}²": lambda q: q * q,
    "(1 − {}²)": lambda q: 1 - q * q,
    "(1 − {})": lambda q: 1 - q,
}


def _positive(quantity: Ball) -> Ball:
    """Return 1 where a quantity is positive and 0 elsewhere."""
    return Ball((quantity.mid > 0).astype(np.float64), EXACT, quantity.rounding)


def _varies(quantity: Ball) -> bool:
    """Tell whether a quantity has both signs, and is known well enough to tell which."""
    positive = quantity.mid > 0
    known = np.abs(quantity.mid) > quantity.rad
    return bool(known.all() and positive.any() and not positive.all())


def _signed(multiple: int) -> str:
    return f"{multiple:+d}".replace("-", "−")


def _terms(excess: Ball, quantities: Mapping[str, Ball], reads: Sequence[str]) -> Iterator[str]:
    for name, quantity in quantities.items():
        for multiple in MULTIPLES:
            if matches(excess, multiple * quantity):
                yield f"is {_signed(multiple)}·{symbol(name)} off"
    for one, other in combinations_with_replacement([r for r in reads if r in quantities], 2):
        for multiple in MULTIPLES:
            if matches(excess, multiple * (quantities[one] * quantities[other])):
                yield f"is {_signed(multiple)}·{symbol(one)}·{symbol(other)} off"
    for held in reads:
        for right, quantity in quantities.items():
            if held in quantities and held != right:
                difference = quantities[held] - quantity
                for multiple in MULTIPLES:
                    if matches(excess, multiple * difference):
                        yield f"has {symbol(held)} where {symbol(right)} belongs"
