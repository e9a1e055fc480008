"""All elementwise functions, a record each: what every kind of number knows of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np

from gradcheck.numbers import ingredients as of
from gradcheck.numbers import rules, special
from gradcheck.numbers.record import EXACTLY, INFINITY, LINEAR, ROUNDED, Elementary
from gradcheck.numbers.transcendental import FUNCTIONS, SPECIAL

ARITHMETIC = (
    Elementary(
        ufunc=np.add,
        partials=lambda y, a, b: (1.0, 1.0),
        rule=rules.sum_rule,
        accuracy=ROUNDED,
        bends=of.never,
    ),
    Elementary(
        ufunc=np.subtract,
        partials=lambda y, a, b: (1.0, -1.0),
        rule=rules.sum_rule,
        accuracy=ROUNDED,
        bends=of.never,
    ),
    Elementary(
        ufunc=np.multiply,
        partials=lambda y, a, b: (b, a),
        rule=rules.multiply,
        accuracy=ROUNDED,
        bends=of.both,
    ),
    Elementary(
        ufunc=np.divide,
        partials=lambda y, a, b: (1 / b, -y / b),
        rule=rules.divide,
        accuracy=ROUNDED,
        undefined=of.by_zero,
        bends=lambda wide, mids: wide[1] > LINEAR * np.abs(mids[1]),
    ),
    Elementary(
        ufunc=np.negative,
        partials=lambda y, x: (-1.0,),
        rule=rules.unrounded,
        accuracy=EXACTLY,
        bends=of.never,
    ),
    Elementary(
        ufunc=np.positive,
        partials=lambda y, x: (1.0,),
        rule=rules.unrounded,
        accuracy=EXACTLY,
        bends=of.never,
    ),
    Elementary(
        ufunc=np.absolute,
        partials=lambda y, x: (np.sign(x),),
        rule=rules.unrounded,
        accuracy=EXACTLY,
        range=(0, INFINITY),
        bends=of.never,
    ),
    Elementary(
        ufunc=np.maximum,
        partials=lambda y, a, b: (of.larger(a, b), 1.0 - of.larger(a, b)),
        rule=rules.extremum,
        accuracy=EXACTLY,
        bends=of.never,
    ),
    Elementary(
        ufunc=np.minimum,
        partials=lambda y, a, b: (of.larger(b, a), 1.0 - of.larger(b, a)),
        rule=rules.extremum,
        accuracy=EXACTLY,
        bends=of.never,
    ),
    Elementary(
        ufunc=np.power,
        partials=lambda y, a, p: (p * a ** (p - 1), y * np.log(a)),
        rule=rules.power,
        arb=lambda a, p: a**p,
        accuracy=of.power_ulps,
        undefined=of.no_power,
        bends=of.by_size,
    ),
)

ELEMENTARY: Mapping[np.ufunc, Elementary] = {
    record.ufunc: record for record in (*ARITHMETIC, *FUNCTIONS)
}
"""The elementwise functions of NumPy."""


@cache
def elementary(ufunc: np.ufunc) -> Elementary | None:
    """Return the record of a function, if there is one."""
    if ufunc in ELEMENTARY:
        return ELEMENTARY[ufunc]
    record = SPECIAL.get(ufunc.__name__) or special.SPECIAL.get(ufunc.__name__)
    return None if record is None else record(ufunc)
