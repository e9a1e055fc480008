"""The rules of ATen's operations, gathered from the tables of each kind."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec

from gradcheck.capture.program import Rule

TABLES = (
    "aten_constructors",
    "aten_elementwise",
    "aten_reductions",
    "aten_fused",
    "aten_views",
    "aten_indexing",
    "aten_segments",
    "aten_windows",
    "aten_pooling",
    "aten_resizing",
    "aten_sampling",
    "aten_linalg",
    "aten_factors",
)


@cache
def rules() -> Mapping[str, Rule]:
    """Return all rules, by the name of an overload or of all overloads of an operation."""
    found: dict[str, Rule] = {}
    for table in TABLES:
        if find_spec(f"gradcheck.capture.{table}"):
            found |= import_module(f"gradcheck.capture.{table}").RULES
    return found


def rule_of(name: str) -> Rule | None:
    """Return the rule of an overload, such as `aten.mul.Tensor`; `None` if there is none."""
    found = rules()
    packet = ".".join(name.split(".")[:2])
    return found.get(name) or (None if " " in name else found.get(packet))
