"""Expressions that take the definition's place: whether they repeat, and say the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.adapters import Adapter
from gradcheck.errors import guarded
from gradcheck.judge.definition import Definition
from gradcheck.model.model import Model


def differing_runs(
    framework: str, one: Any, other: Any, bounds: Mapping[str, NDArray[np.float64]]
) -> str:
    """Say where two runs on the same samples differ by more than rounding; empty if nowhere.

    Parameters
    ----------
    one, other
        What both returned: gradients by name; the other may be what went wrong.
    bounds
        By gradient, how far apart two honest evaluations of each element may be.
    """
    if isinstance(other, str):
        return f"expressions[{framework!r}] fails when it is run again: {other}"
    for gradient, bound in bounds.items():
        try:
            first, second = (
                np.asarray(run[gradient], np.float64)[: len(bound)] for run in (one, other)
            )
        except (KeyError, ValueError, TypeError):
            continue  # that the adapter returned something else is said elsewhere
        if (message := _random(framework, f"∂ℓ/∂{gradient}", first, second, bound)) != "":
            return message
    return ""


def misexpressed(
    adapter: Adapter,
    model: Model,
    values: Mapping[str, NDArray[Any]],
    definition: Definition,
    count: int,
) -> str:
    """Say where an expression's value is random, or not the definition's; empty if nowhere."""
    if adapter.value is None:
        return ""
    framework = adapter.framework
    try:
        with guarded(), np.errstate(all="ignore"):
            value = adapter.value(model, definition.rounding.dtype)
            first, second = (np.asarray(value(values), np.float64)[:count] for _ in range(2))
    except Exception:  # what it raises, its gradients raise as well, and that is said
        return ""
    definition.look(np.arange(count))
    mid, rad = definition.mid[:count], definition.rad[:count]
    if (message := _random(framework, "the loss", first, second, rad)) != "" or definition.failure:
        return message
    with np.errstate(invalid="ignore"):
        apart = np.abs(first - mid) > rad
    if not apart.any():
        return ""
    sample = int(np.argmax(apart))
    return (
        f"expressions[{framework!r}] of {model.name} returns another value than the definition: "
        f"at sample {sample} the loss is {float(first[sample])!r} by the one, "
        f"{float(mid[sample])!r} by the other"
    )


def _random(
    framework: str,
    quantity: str,
    one: NDArray[np.float64],
    other: NDArray[np.float64],
    bound: NDArray[np.float64],
) -> str:
    bound = np.where(np.isnan(bound), 0.0, bound)
    if one.shape != bound.shape or other.shape != bound.shape:
        return ""
    with np.errstate(invalid="ignore"):
        apart = (np.abs(one - other) > bound) | (np.isnan(one) != np.isnan(other))
    if not apart.any():
        return ""
    place = tuple(np.argwhere(apart)[0].tolist())
    return (
        f"expressions[{framework!r}] is random: run twice on the same samples, {quantity} is "
        f"{float(one[place])!r} and then {float(other[place])!r} at sample {place[0]}; let it "
        f"depend on v alone, or give it a seed or a mask as an input"
    )
