"""The numbers that a JAX function spells out, as they were before they were rounded.

JAX rounds what is spelled out, such as 1/3, to the format of the arrays. What that was is seen
where the function is traced in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gradcheck.capture.jax_constants import is_float


def spelled(narrow: Sequence[Any], trace: Callable[[], Sequence[Any]]) -> dict[int, float]:
    """Return the numbers that literals of float32 programs are roundings of.

    Parameters
    ----------
    narrow
        Closed jaxprs.
    trace
        Returns those of the same functions in float64. Where the two part, literals stay as they
        are.

    Returns
    -------
    dict
        By the identity of the literal that stands for a number.
    """
    try:
        wide = trace()
    except Exception:  # the function insists on its format
        return {}
    return {
        place: value
        for one, other in zip(narrow, wide, strict=True)
        for place, value in _pairs(one.jaxpr, other.jaxpr)
    }


def _pairs(narrow: Any, wide: Any) -> Iterator[tuple[int, float]]:
    for one, other in zip(_equations(narrow), _equations(wide), strict=False):
        if one.primitive is not other.primitive or len(one.invars) != len(other.invars):
            return
        for mine, its in zip(one.invars, other.invars, strict=True):
            if hasattr(mine, "val") and hasattr(its, "val") and is_float(mine.aval):
                value = float(its.val)
                if np.float32(value) == np.float32(mine.val):
                    yield id(mine), value
        for mine, its in zip(_inner(one.params), _inner(other.params), strict=False):
            yield from _pairs(mine, its)


def _equations(jaxpr: Any) -> list[Any]:
    """Leave out conversions, which there are more of in one format than in the other."""
    return [one for one in jaxpr.eqns if one.primitive.name != "convert_element_type"]


def _inner(params: Any) -> Iterator[Any]:
    """Yield the programs that an operation calls."""
    if isinstance(params, Mapping):
        params = list(params.values())
    for one in params:
        if hasattr(one, "eqns"):
            yield getattr(one, "jaxpr", one)
        elif isinstance(one, tuple | list):
            yield from _inner(one)
