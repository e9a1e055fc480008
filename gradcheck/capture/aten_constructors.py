"""ATen's operations that make, copy, cast and fill arrays, and what writes in place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradcheck.capture.program import Rule
from gradcheck.numbers.formats import cast

_np: Any = np
"""NumPy, whose functions take more than they are declared to."""


def _copied(x: Any, *_: Any, **__: Any) -> Any:
    return x.copy() if hasattr(x, "copy") else x


def _kind(x: Any, dtype: Any) -> Any:
    """Return the type of storage for a format; floats keep that of other floats."""
    name = str(dtype).removeprefix("torch.")
    if dtype is None or ("float" in name and np.dtype(x.dtype).kind == "f"):
        return None
    return np.dtype(float if "float" in name else name)


def _to_copy(x: Any, *, dtype: Any = None, **_: Any) -> Any:
    """Copy, in another format."""
    return _copied(x) if dtype is None else cast(x, str(dtype).removeprefix("torch."))


def _filled_like(value: float) -> Rule:
    def rule(x: Any, *_: Any, dtype: Any = None, **__: Any) -> Any:
        return _np.full_like(x, value, dtype=_kind(x, dtype))

    return rule


def _full_like(x: Any, value: Any, *_: Any, dtype: Any = None, **__: Any) -> Any:
    return _np.full_like(x, value, dtype=_kind(x, dtype))


def _new(value: float) -> Rule:
    def rule(x: Any, shape: Any, *_: Any, dtype: Any = None, **__: Any) -> Any:
        return _np.full_like(x, value, dtype=_kind(x, dtype), shape=tuple(shape))

    return rule


def _new_full(x: Any, shape: Any, value: Any, *_: Any, dtype: Any = None, **__: Any) -> Any:
    return _np.full_like(x, value, dtype=_kind(x, dtype), shape=tuple(shape))


def write(x: Any, value: Any, *_: Any) -> Any:
    """Write into an array; a scalar of NumPy's, which cannot be written to, gives way."""
    if isinstance(x, np.generic):
        return np.full_like(x, value)
    x[...] = value
    return x


def in_place(rule: Rule) -> Rule:
    """Write what a rule yields into its first operand."""

    def writing(x: Any, *arguments: Any, **options: Any) -> Any:
        return write(x, rule(x, *arguments, **options))

    return writing


def with_in_place(rules: Mapping[str, Rule]) -> dict[str, Rule]:
    """Add the operations that end in an underscore."""
    return {**rules, **{f"{name}_": in_place(rule) for name, rule in rules.items()}}


RULES: Mapping[str, Rule] = {
    f"aten.{name}": rule
    for name, rule in dict[str, Rule](
        {
            "detach": lambda x: x,
            "alias": lambda x: x,
            "lift_fresh": lambda x: x,
            "lift_fresh_copy": _copied,
            "contiguous": lambda x, **_: x,
            "clone": _copied,
            "_to_copy": _to_copy,
            "zeros_like": _filled_like(0.0),
            "ones_like": _filled_like(1.0),
            "empty_like": _filled_like(0.0),
            "full_like": _full_like,
            "new_zeros": _new(0.0),
            "new_ones": _new(1.0),
            "new_empty": _new(0.0),
            "new_empty_strided": _new(0.0),
            "new_full": _new_full,
            "copy": lambda x, source, *_: _np.broadcast_to(source, x.shape).copy(),
            "copy_": write,
            "fill_": write,
            "fill": lambda x, value: _np.full_like(x, value),
            "zero_": lambda x: write(x, 0.0),
        }
    ).items()
}
"""The rules, by the names of ATen."""
