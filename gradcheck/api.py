"""The sweep as a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from gradcheck.diagnosis.diagnosis import Finding, diagnose
from gradcheck.errors import RequestError
from gradcheck.harness.check import check_model
from gradcheck.harness.request import Request
from gradcheck.harness.sweep import draw, run_sweep
from gradcheck.model.loading import load_model
from gradcheck.model.model import Model
from gradcheck.reports.tables import Report, tabulate
from gradcheck.suggestions import nearest
from gradcheck.truth.referee import evidence, referee


def sweep(
    model: Model | str = "chain",
    *,
    progress: Callable[[float], None] = lambda fraction: None,
    **settings: Any,
) -> Report:
    """Compare a model's hand-written gradients with those of every adapter on random samples.

    Disagreements are refereed, and a hand-written pass that is to blame is diagnosed.

    Parameters
    ----------
    model
        A `Model`, a built-in name, or `path/to/file.py[:NAME]`.
    progress
        Is told the fraction done.
    **settings
        The fields of `Request`.

    Raises
    ------
    RequestError
        If the request cannot be met; before any work.

    Examples
    --------
    >>> report = gradcheck.sweep("chain-misprint", samples=1000, adapters=["torch"])
    >>> report.agrees
    False
    """
    known = [field.name for field in fields(Request)]
    for name in settings:
        if name not in known:
            raise RequestError("", f"there is no setting {name!r}{nearest(name, known)}")
    request = Request(**settings)
    if isinstance(model, str):
        model = load_model(model)
    check_model(model, draw(model, replace(request, kinks=False), request.dtypes[0], 0, 2))
    outcome = run_sweep(model, request, progress)
    rulings = referee(model, request, outcome)
    findings: tuple[Finding, ...] = ()
    if rulings.blamed or outcome.misstated:
        clues = evidence(model, request, rulings)
        findings = diagnose(model, clues.values, clues.disputed, clues.samples)
    return tabulate(model, request, outcome, rulings, findings)
