"""Constants and terms that a backward pass needs, found by what its gradients lack."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.capture.candidates import Candidates
from gradcheck.capture.edits import Edit, with_argument, with_operand
from gradcheck.capture.program import Ref
from gradcheck.capture.slopes import RESIDUAL, Slope
from gradcheck.capture.swaps import constants
from gradcheck.capture.terms import ORIGINAL, Term, kind_of
from gradcheck.capture.trials import Trials

ROUNDS = 12
"""Of the secant method."""
NEAR = 1e-6
"""How near a simple number must be to what was fitted."""
DENOMINATORS = 64
NAMED = tuple(
    factor * number
    for number in (
        math.pi, math.sqrt(2), math.sqrt(math.pi), math.sqrt(2 / math.pi),
        math.sqrt(2 * math.pi), math.log(2), math.log(10), math.e,
    )
    for factor in (1.0, 0.5, 2.0)
)  # fmt: skip
"""Numbers that constants are made of; their inverses are tried as well."""


def simple_numbers(fitted: float, known: list[float]) -> Iterator[float]:
    """Yield numbers that a fitted one may stand for, the simplest first."""
    fractions = [Fraction(fitted).limit_denominator(n) for n in (1, 2, 10, DENOMINATORS)]
    found = [float(one) for one in fractions]
    found += [*known, *(-one for one in known), *(1 / one for one in known if one)]
    found += [sign * one for one in NAMED for sign in (1, -1)]
    found += [sign / one for one in NAMED for sign in (1, -1)]
    found += [float(f"{fitted:.{digits}g}") for digits in range(1, 17)]
    near = [one for one in found if abs(one - fitted) <= NEAR * abs(fitted)]
    for one in dict.fromkeys(near):
        yield int(one) if float(one).is_integer() else one


def fitted_constants(candidates: Candidates, at: int) -> Iterator[Edit]:
    """Change a constant of an operation so that the gradients are right."""
    trials, step = candidates.trials, candidates.steps[at]
    for place, number in constants(step):

        def edit(other: float, place: int = place) -> Edit:
            return Edit(at, with_argument(step, place, other), 1.2)

        fitted = _fitted(trials, edit, float(number))
        if fitted is not None:
            yield from map(edit, simple_numbers(fitted, candidates.numbers))


def fitted_everywhere(candidates: Candidates, old: float) -> Iterator[Edit]:
    """Change a constant wherever the backward pass has it."""
    trials, split = candidates.trials, len(candidates.trials.program.forward)
    users = tuple(
        at
        for at in range(split, len(candidates.steps))
        if any(number == old for _, number in constants(candidates.steps[at]))
    )
    if len(users) < 2:
        return

    def edit(number: float) -> Edit:
        return Edit(users[0], number, 1.3, users=users, old=old)

    fitted = _fitted(trials, edit, float(old))
    if fitted is not None:
        yield from map(edit, simple_numbers(fitted, candidates.numbers))


def fitted_scale(candidates: Candidates, at: int, gradient: str | None) -> Iterator[Edit]:
    """Multiply what an operation yields by a constant."""
    trials = candidates.trials

    def edit(number: float) -> Edit:
        return Edit(at, scaled(ORIGINAL, number), 3.6, gradient)

    fitted = _fitted(trials, edit, 1.0)
    if fitted is not None:
        known = [*candidates.numbers, *map(float, candidates.lengths)]
        yield from map(edit, simple_numbers(fitted, known))


def scaled(term: Any, number: float) -> Any:
    """Multiply by a number; if it is a simple fraction, without rounding it."""
    if number == 1:
        return term
    if number == -1:
        return Term("neg", (term,))
    fraction = Fraction(number).limit_denominator(DENOMINATORS)
    if float(fraction) != number or fraction.denominator == 1:
        return Term("mul", (term, number))
    over, under = fraction.numerator, fraction.denominator
    return Term("div", (scaled(term, over), under))


def _fitted(trials: Trials, edit: Callable[[float], Edit], start: float) -> float | None:
    """Find the constant that makes the gradients right on the first sample, by secants."""
    sample = trials.samples[0]
    truth = trials.stacked(sample.truth, sample)

    def gradients(number: float) -> NDArray[np.float64]:
        with np.errstate(all="ignore"):
            return trials.stacked(trials.gradients(edit(number), sample), sample)

    try:
        number, other = start, start + max(abs(start), 1.0) / 8
        last = gradients(other)
        for _ in range(ROUNDS):
            found = gradients(number)
            slope = (last - found) / (other - number)
            lacking = truth - found
            steepness = float(slope @ slope)
            if not steepness or not math.isfinite(steepness):
                return None
            move = float(slope @ lacking) / steepness
            other, last, number = number, found, number + move
            if abs(move) <= 1e-13 * abs(number):
                break
        left = float(np.abs(truth - gradients(number)).max(initial=0.0))
        start_left = float(np.abs(truth - gradients(start)).max(initial=0.0))
    except Exception:  # outside what the operation takes
        return None
    return number if left <= 1e-2 * start_left else None


ROWS = 24
"""Combinations of gradients by which terms are told apart."""
CELLS = 4_000_000
"""Most numbers to hold at once."""
SOURCES = 40
"""Most quantities of which products are made."""


def missing_terms(candidates: Candidates, at: int, slope: Slope) -> Iterator[Edit]:
    """Find terms and factors, products of up to three quantities, that explain all gradients.

    The gradients are linear in what the operation yields: of each array it is known at once what
    it would add to them.
    """
    if not slope.explains:
        return
    rng = np.random.default_rng(0)
    mixed = rng.standard_normal((ROWS, len(slope.needed)))
    matrix, needed = mixed @ slope.matrix, mixed @ slope.needed
    whole = needed + matrix @ slope.value
    others = list(_cofactors(candidates, at, slope))
    for terms, arrays, cost in _library(candidates, at, slope):
        if candidates.expired:
            return
        effects = arrays @ matrix.T
        for operand, cofactor in others:
            for i, number in _matches(arrays @ (matrix * cofactor).T, needed, slope):
                term = _added(scaled(terms[i], number), Ref(operand))
                yield Edit(at, with_operand(candidates.steps[at], operand, term), cost + 0.1)
        for wanted, way, far in ((needed, _added, 0.0), (whole, _instead, 0.3)):
            for i, number in _matches(effects, wanted, slope):
                yield Edit(at, way(scaled(terms[i], number)), cost + far)
        factors = (arrays * slope.value) @ matrix.T
        for i, number in _matches(factors, whole, slope):
            if not np.allclose(arrays[i], arrays[i].flat[0]):
                term = Term("mul", (ORIGINAL, terms[i]))
                yield Edit(at, scaled(term, number), cost - 1.0)


def _cofactors(
    candidates: Candidates, at: int, slope: Slope
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Find the operands of a product that nothing wrong made: by what each is multiplied."""
    step = candidates.steps[at]
    pair = step.arguments[:2]
    if kind_of(step.operation) not in ("mul", "div") or len(pair) != 2:
        return
    for one, other in (pair, pair[::-1])[: 1 if kind_of(step.operation) == "div" else 2]:
        if not isinstance(one, Ref) or candidates.shape(one.value) != slope.shape:
            continue
        array = np.asarray(candidates.values[other.value] if isinstance(other, Ref) else other)
        if one != other and array.dtype.kind in "fi":
            factor = np.broadcast_to(array, slope.shape).ravel()
            yield one.value, 1 / factor if kind_of(step.operation) == "div" else factor


def _added(term: Any, to: Any = ORIGINAL) -> Any:
    if isinstance(term, Term) and term.form == "neg":
        return Term("sub", (to, *term.operands))
    return Term("add", (to, term))


def _instead(term: Any) -> Any:
    return term


def _matches(
    effects: NDArray[np.float64], wanted: NDArray[np.float64], slope: Slope
) -> Iterator[tuple[int, float]]:
    """Find which effects are what is wanted, up to a simple constant."""
    squares = np.einsum("ij,ij->i", effects, effects)
    with np.errstate(all="ignore"):
        numbers = effects @ wanted / squares
        left = np.abs(effects * numbers[:, None] - wanted).max(axis=1)
    size = np.abs(wanted).max(initial=0.0)
    if not size:
        return
    for i in np.flatnonzero(left <= RESIDUAL * size):
        number = float(numbers[i])
        for simple in _simple_fractions(number):
            if abs(simple - number) <= NEAR * abs(number):
                yield int(i), simple
                break


def _simple_fractions(number: float) -> Iterator[float]:
    for limit in (1, DENOMINATORS):
        yield float(Fraction(number).limit_denominator(limit))
    if number:
        yield 1 / float(Fraction(1 / number).limit_denominator(1) or 1)


Library = Iterator[tuple[list[Any], NDArray[np.float64], float]]


def _library(candidates: Candidates, at: int, slope: Slope) -> Library:
    """Yield products of quantities and their sums along axes, with their terms, by size."""
    size = max(slope.value.size, 1)
    sources = [
        (term, np.broadcast_to(array, slope.shape).ravel().astype(float))
        for term, array in candidates.fitting(at, slope.shape)
        if array.dtype.kind in "fi" and np.isfinite(array).all()
    ][:SOURCES]
    if not sources:
        return
    sources += [(Term("sub", (1, term)), 1 - array) for term, array in sources[: SOURCES // 2]]
    terms, arrays = [one for one, _ in sources], np.stack([array for _, array in sources])
    yield terms, arrays, 4.4
    pairs = list(combinations_with_replacement(range(len(terms)), 2))
    two = [Term("mul", (terms[i], terms[j])) for i, j in pairs]
    left, right = (np.array(one) for one in zip(*pairs, strict=True))
    products = arrays[left] * arrays[right]
    yield two, products, 5.0
    sums_terms: list[Any] = []
    sums = []
    for term, array in [*zip(terms, arrays, strict=True), *zip(two, products, strict=True)]:
        shaped = array.reshape(slope.shape)
        for axis in {*range(len(slope.shape))} if slope.shape else ():
            sums_terms.append(Term("mean_kept", (term, axis)))
            mean = shaped.mean(axis=axis, keepdims=True)
            sums.append(np.broadcast_to(mean, slope.shape).ravel())
    if not sums:
        return
    reduced = np.stack(sums)
    yield sums_terms, reduced, 5.2
    block = max(CELLS // size // len(sums), 1)
    for begin in range(0, len(terms), block):
        some = arrays[begin : begin + block]
        three = (some[:, None] * reduced[None]).reshape(-1, size)
        names = [
            Term("mul", (term, total))
            for term in terms[begin : begin + block]
            for total in sums_terms
        ]
        yield names, three, 5.5
