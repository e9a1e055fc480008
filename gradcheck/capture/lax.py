"""The rules of JAX's primitives, gathered from the tables of each kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradcheck.capture import (
    lax_arrays,
    lax_elementwise,
    lax_indexing,
    lax_linalg,
    lax_reductions,
    lax_sorting,
    lax_special,
    lax_windows,
)
from gradcheck.capture.program import Rule

RULES: Mapping[str, Rule] = {
    **lax_elementwise.RULES,
    **lax_special.RULES,
    **lax_reductions.RULES,
    **lax_arrays.RULES,
    **lax_indexing.RULES,
    **lax_sorting.RULES,
    **lax_windows.RULES,
    **lax_linalg.RULES,
}
KINDS: Mapping[str, str] = {"b": "bool", "i": "int", "u": "int"}
"""What stands behind the name of a rule for operands of a type."""


def rule_of(equation: Any) -> Rule | None:
    """Return the rule of a primitive for operands of such a type, if there is one."""
    name = equation.primitive.name
    kind = equation.invars[0].aval.dtype.kind if equation.invars else "f"
    return RULES.get(f"{name}.{KINDS.get(kind, 'float')}", RULES.get(name))
