"""Which line is wrong, and what it holds instead of what it should."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.arithmetic.arb import distance_above
from gradcheck.arithmetic.ball import Ball, Rounding
from gradcheck.engine.model import Blackboard, Model
from gradcheck.engine.recording import Line, record_lines
from gradcheck.engine.taps import tap_name, with_taps
from gradcheck.harness.explanation import explain, matches, symbol
from gradcheck.harness.referee import narrow_derivative
from gradcheck.harness.reference import Passes

Values = Mapping[str, NDArray[np.float64]]

CLEARLY = 8.0
"""A counterexample's error in multiples of its bar, unless no sample fails that clearly."""
PLAIN_NUMBERS = (0.0, 1.0, 2.0, -1.0, 3.0, 0.5, -2.0)
MENDED = 2.0**-30
"""Relative difference of two losses that counts as none, when a forward line is mended."""


@dataclass(frozen=True)
class Finding:
    """One wrong line.

    Parameters
    ----------
    part
        `forward` or `backward`.
    quantity
        What the line writes: `t.f1`, `d.beta1`.
    line
        Where it stands.
    explanation
        What it holds, and what it should, in words; empty if no simple change matched.
    wrong, samples
        On how many of how many samples the quantity is provably wrong.
    counterexample
        A sample of plain numbers on which it still is; `None` for a forward line.
    """

    part: str
    quantity: str
    line: Line
    explanation: str
    wrong: int
    samples: int
    counterexample: dict[str, float] | None = None


def diagnose(model: Model, values: Values) -> tuple[Finding, ...]:
    """Name the wrong lines, in the order of the pass; those that only inherit are left out.

    An adjoint is wrong if its ball does not meet the enclosure of the true one on some sample. A
    line is to blame if what it writes is wrong while every adjoint that it reads is right. The
    backward pass is judged only if the forward pass agrees with the definition.

    Parameters
    ----------
    values
        Samples, float64 of shape `(n, *shape)`.
    """
    passes = Passes(model, values, Rounding(np.dtype(np.float64)))
    with suppress(TypeError, AttributeError):  # a definition that balls cannot follow
        if passes.misstatement(passes.samples):
            return tuple(_wrong_forward_line(model, values, passes))
    return tuple(_wrong_backward_lines(model, values, passes))


def _wrong_backward_lines(model: Model, values: Values, passes: Passes) -> list[Finding]:
    _, lines = record_lines(model)
    truths = true_adjoints(model, values, passes, lines)
    wrong = {
        name: np.abs(passes.d[name].mid - truth.mid) > passes.d[name].rad + truth.rad
        for name, truth in truths.items()
    }
    quantities = {f"v.{name}": passes.v[name] for name in passes.v}
    quantities |= {f"t.{name}": passes.t[name] for name in passes.t}
    quantities |= {f"d.{name}": truth for name, truth in truths.items()}
    findings: list[Finding] = []
    for name, line in lines.items():
        if name not in truths or not wrong[name].any():
            continue
        if any(wrong[other].any() for other in _adjoints_read(name, lines) if other in truths):
            continue
        if any(set(finding.line.through) & set(line.through) for finding in findings):
            continue  # it may be the same fault
        held = explain(passes.d[name], truths[name], quantities, sorted(line.reads))
        count = int(np.count_nonzero(wrong[name]))
        findings.append(
            Finding(
                "backward",
                f"d.{name}",
                line,
                _in_words(model, name, held, truths, passes.samples),
                count,
                passes.samples,
                _simplest_counterexample(model, values, name, passes.d[name], truths[name]),
            )
        )
    return findings


def _adjoints_read(name: str, lines: Mapping[str, Line]) -> set[str]:
    """Name the adjoints that a line reads, itself or through what else was written to `d`."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        line = lines.get(waiting.pop())
        new = {read[2:] for read in line.reads if read.startswith("d.")} - found if line else set()
        found |= new
        waiting += new
    return found - {name}


def true_adjoints(
    model: Model, values: Values, passes: Passes, names: Iterable[str]
) -> dict[str, Ball]:
    """Enclose the named adjoints of the trace and the parameters by tapping the forward pass.

    A name that is neither is left out. Each ball is as wide as the enclosure.
    """
    shapes = {name: passes.t[name].mid.shape[1:] for name in passes.t if name != "loss"}
    shapes = {name: shape for name, shape in shapes.items() if name in passes.d}
    tapped = with_taps(model, shapes)
    zeros = {tap_name(name): np.zeros((passes.samples, *shapes[name])) for name in shapes}
    truths = {}
    for name in names:
        if name in model.parameters:
            parameter = name
        elif name in shapes:
            parameter = tap_name(name)
        else:
            continue
        truths[name] = _enclose(tapped, {**values, **zeros}, parameter, passes.d[name])
    return truths


def _enclose(model: Model, values: Values, parameter: str, ball: Ball) -> Ball:
    shape = model.parameters[parameter]
    mid = np.empty((len(next(iter(values.values()))), *shape))
    rad = np.empty_like(mid)
    for row, *element in np.ndindex(mid.shape):
        position = (row, *element)
        sample = {name: array[row : row + 1] for name, array in values.items()}
        width = float(np.broadcast_to(ball.rad, mid.shape)[position])
        derivative = narrow_derivative(model, sample, parameter, tuple(element), width)[0]
        mid[position] = float(derivative)
        rad[position] = distance_above(mid[position], derivative)
    return Ball(mid, rad, ball.rounding)


def _in_words(model: Model, name: str, held: str, truths: Mapping[str, Ball], samples: int) -> str:
    """Make a sentence; if the right value of a parameter's gradient has another name, say it."""
    if not held:
        return ""
    same = [
        other
        for other in truths
        if other not in model.parameters and matches(truths[other], truths[name])
    ]
    right = (
        f"; the true value is {symbol('d.' + same[0])}" if name in model.parameters and same else ""
    )
    return f"{name} {held} on all {samples} samples{right}"


def _simplest_counterexample(
    model: Model, values: Values, name: str, held: Ball, truth: Ball
) -> dict[str, float] | None:
    """Make the numbers of the clearest failure plain, one after the other, while it still fails."""
    if any(model.leaves.values()):
        return None
    with np.errstate(all="ignore"):
        ratio = np.abs(held.mid - truth.mid) / (held.rad + truth.rad)
    start = int(np.argmax(np.nan_to_num(ratio, posinf=0.0)))
    needed = min(CLEARLY, float(ratio[start]) / 2)
    sample = {leaf: float(array[start]) for leaf, array in values.items()}

    def fails(candidate: Mapping[str, float]) -> bool:
        single = {leaf: np.array([number]) for leaf, number in candidate.items()}
        passes = Passes(model, single, held.rounding)
        right, ball = true_adjoints(model, single, passes, [name])[name], passes.d[name]
        distance = np.abs(ball.mid - right.mid)
        return bool(np.isfinite(distance) and distance > needed * (ball.rad + right.rad))

    for leaf, number in sample.items():
        rounded = (round(number, digits) for digits in range(4))
        for plain in (*PLAIN_NUMBERS, *rounded):
            if fails({**sample, leaf: plain}):
                sample[leaf] = plain
                break
    return sample


def _wrong_forward_line(model: Model, values: Values, passes: Passes) -> list[Finding]:
    """Name the first line which, given a value that the definition computes, mends the loss."""
    lines, _ = record_lines(model)
    target, computed = _definition_steps(model, values)
    shapes = {name: passes.t[name].mid.shape[1:] for name in lines if name != "loss"}
    tapped = with_taps(model, shapes)
    zeros = {tap_name(name): np.zeros((passes.samples, *shapes[name])) for name in shapes}
    differs = int(np.count_nonzero(~_close(passes.t["loss"].mid, target)))
    earlier = list(values.values())
    for name in shapes:
        held = passes.t[name].mid
        copied = _among(held, earlier)
        earlier.append(held)
        if not copied and _among(held, computed):
            continue  # the definition computes it too
        for value in computed:
            if value.shape != held.shape or _close(value, held).all():
                continue
            with np.errstate(all="ignore"):
                mended = tapped.loss(
                    np, Blackboard(**{**values, **zeros, tap_name(name): value - held})
                )
            if _close(mended, target).all():
                words = (
                    f"{name} is not what the definition computes; with that value in its place "
                    f"the pass agrees with the definition on all {passes.samples} samples"
                )
                return [
                    Finding("forward", f"t.{name}", lines[name], words, differs, passes.samples)
                ]
    if all(_among(passes.t[name].mid, computed) for name in shapes):
        words = "loss differs from the definition, though all that it is computed from is right"
        return [Finding("forward", "t.loss", lines["loss"], words, differs, passes.samples)]
    return []


def _among(value: NDArray[Any], others: Iterable[NDArray[Any]]) -> bool:
    return any(other.shape == value.shape and _close(other, value).all() for other in others)


def _close(a: Any, b: Any) -> NDArray[np.bool_]:
    """Compare values of which a difference by rounding alone is not in question here."""
    close = np.abs(a - b) <= MENDED * np.maximum(np.abs(a), np.abs(b))
    return np.asarray(close | ~np.isfinite(a) | ~np.isfinite(b))


class _Noting(np.ndarray[Any, Any]):
    """An array of which every result computed from it is noted in a list that they share."""

    noted: list[NDArray[Any]]

    def __array_finalize__(self, source: Any) -> None:
        self.noted = getattr(source, "noted", [])

    def __array_ufunc__(self, ufunc: Any, method: str, *operands: Any, **options: Any) -> Any:
        plain = [a.view(np.ndarray) if isinstance(a, _Noting) else a for a in operands]
        result = np.asarray(getattr(ufunc, method)(*plain, **options))
        self.noted.append(result)
        noting = result.view(_Noting)
        noting.noted = self.noted
        return noting


def _definition_steps(model: Model, values: Values) -> tuple[NDArray[Any], list[NDArray[Any]]]:
    """Return the definition's loss, and the result of every operation on the way to it."""
    noted: list[NDArray[Any]] = []
    leaves = {name: array.view(_Noting) for name, array in values.items()}
    for leaf in leaves.values():
        leaf.noted = noted
    with np.errstate(all="ignore"):
        loss = model.loss(np, Blackboard(**leaves))
    return np.asarray(loss), noted
