"""Functions that jump from one whole number to the next, and powers to exponents that vary.

Both are written with what every number knows. A jump is a comparison, which is left open where the
bars hold one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gradcheck.numbers.array import Batched, Function, NoRuleError

_np: Any = np
"""NumPy, whose functions take more than they are declared to."""
FEW = 16
"""Up to how many exponents are taken one by one."""


def plain(x: Any) -> Any:
    """Return the numbers by which an `if` would go, as floats."""
    held = x.decisive
    if held.dtype != object:
        return held
    numbers: list[Any] = [getattr(one, "constant", one) for one in held.ravel()]
    return np.array([float(one) for one in numbers]).reshape(held.shape)


def _near(x: Any, whole: Any) -> Any:
    """Return whole numbers near those by which an `if` would go, exact ones."""
    return x.with_parts([np.broadcast_to(whole(plain(x)), x.parts[0].shape)])


def floor(x: Any) -> Any:
    """Return the largest whole number that is not above."""
    if x.is_discrete:
        return x
    k = _near(x, np.floor)
    return _np.where(x < k, k - 1.0, _np.where(x >= k + 1.0, k + 1.0, k))


def ceil(x: Any) -> Any:
    """Return the smallest whole number that is not below."""
    return x if x.is_discrete else -floor(-x)


def trunc(x: Any) -> Any:
    """Return the whole number next towards zero."""
    return x if x.is_discrete else _np.where(x < 0, ceil(x), floor(x))


def rint(x: Any) -> Any:
    """Return the nearest whole number."""
    if x.is_discrete:
        return x
    k = _near(x, np.rint)
    return _np.where(x < k - 0.5, k - 1.0, _np.where(x > k + 0.5, k + 1.0, k))


def remainder(a: Any, b: Any) -> Any:
    """Return what is left of a number when another is taken away as often as its sign allows."""
    return a - _np.floor(a / b) * b


def fmod(a: Any, b: Any) -> Any:
    """Return what is left of a division towards zero."""
    return a - _np.trunc(a / b) * b


def varies(exponent: Any) -> bool:
    """Tell whether an exponent is more than one constant."""
    return bool(np.ndim(exponent)) or (isinstance(exponent, Batched) and exponent.hidden > 0)


def power(a: Any, b: Any) -> Any:
    """Raise numbers to a few given powers, one by one, or positive ones to powers that vary.

    The latter as exp(b·log a): the bound is that of this formula, which no library's exceeds.
    """
    given = _given(b)
    if given is not None:
        return _one_by_one(a, b, np.unique(given).tolist())
    base = a if isinstance(a, Batched) else b.lifted(np.asarray(a, dtype=float))
    if not (plain(base) > 0).all():
        raise NoRuleError("no rule for powers that vary of numbers that are not positive")
    return _np.exp(b * _np.log(base))


def _given(exponent: Any) -> Any:
    """Return exponents that are no result of a computation, if they are few."""
    if isinstance(exponent, Batched):
        if not exponent.is_discrete:
            return None
        exponent = exponent.parts[0]
    return exponent if 0 < np.unique(exponent).size <= FEW else None


def _one_by_one(a: Any, b: Any, powers: Sequence[float]) -> Any:
    result: Any = None
    for p in powers:
        one = a if p == 1 else _np.power(a, float(p))
        result = one + 0 * b if result is None else _np.where(_np.equal(b, p), one, result)
    return result


def float_power(a: Any, b: Any) -> Any:
    """Raise to powers in double precision."""
    return _np.power(*(one.cast(np.float64) if hasattr(one, "cast") else one for one in (a, b)))


def round_to(x: Any, decimals: int = 0) -> Any:
    """Return the nearest number of so many decimals."""
    if decimals == 0:
        return rint(x)
    scale = 10.0 ** abs(decimals)
    return rint(x * scale) / scale if decimals > 0 else rint(x / scale) * scale


def signbit(x: Any) -> Any:
    """Tell where numbers are negative; no number knows the sign of its zero."""
    return x < 0


def copysign(a: Any, b: Any) -> Any:
    """Return numbers with the signs of others."""
    return _np.where(b < 0, -abs(a), abs(a))


FUNCTIONS: Mapping[Function, Function] = {
    np.floor: floor,
    np.ceil: ceil,
    np.trunc: trunc,
    np.rint: rint,
    np.fix: trunc,
    np.round: round_to,
    np.around: round_to,
    np.fmod: fmod,
    np.signbit: signbit,
    np.copysign: copysign,
    np.float_power: float_power,
}
"""The functions of this module, by what they stand for."""
