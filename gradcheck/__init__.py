"""Cross-validation of hand-written gradients, with a rounding-error bound on every one.

The public names below are imported when first used, so that `import gradcheck` costs nothing.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False
"""As in `typing`, which takes longer to import than all of this."""
if TYPE_CHECKING:
    from typing import Any

    from gradcheck import sampling, testing
    from gradcheck.adapters import Adapter
    from gradcheck.api import sweep
    from gradcheck.capture.case import Case
    from gradcheck.capture.check import check
    from gradcheck.errors import RequestError
    from gradcheck.harness.request import Request
    from gradcheck.model.loading import load_model
    from gradcheck.model.model import Model
    from gradcheck.numbers.ball import Ball, Rounding
    from gradcheck.reports.tables import Report

__all__ = [
    "Adapter",
    "Ball",
    "Case",
    "Model",
    "Report",
    "Request",
    "RequestError",
    "Rounding",
    "check",
    "load_model",
    "sampling",
    "sweep",
    "testing",
]

_HOMES = {
    "Adapter": "gradcheck.adapters",
    "Ball": "gradcheck.numbers.ball",
    "Case": "gradcheck.capture.case",
    "Model": "gradcheck.model.model",
    "Report": "gradcheck.reports.tables",
    "Request": "gradcheck.harness.request",
    "RequestError": "gradcheck.errors",
    "Rounding": "gradcheck.numbers.ball",
    "check": "gradcheck.capture.check",
    "load_model": "gradcheck.model.loading",
    "sweep": "gradcheck.api",
}


def __getattr__(name: str) -> Any:
    if name in ("sampling", "testing"):
        return importlib.import_module(f"gradcheck.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'gradcheck' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
