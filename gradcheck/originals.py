"""What those functions share that take the place of the frameworks' own checks of gradients."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from dataclasses import replace

import pandas as pd

from gradcheck.capture.situations import NOT_DEFINED
from gradcheck.reports.tables import Report

_TOLD: set[str] = set()


def note_idle(names: Sequence[str]) -> None:
    """Say once of each argument that it has no effect."""
    new = [name for name in names if name not in _TOLD]
    _TOLD.update(new)
    if new:
        warnings.warn(
            f"{', '.join(new)}: no effect, for every gradient has a bound of its own",
            stacklevel=3,
        )


def insisting(report: Report, needed: Collection[str], ignored: Collection[str] = ()) -> Report:
    """Take it for a fault if some situations are not defined, and leave others out.

    Parameters
    ----------
    needed, ignored
        Situations of the calling contract.
    """
    points = [
        {**point, "verdict": "error"}
        if point["verdict"] == NOT_DEFINED and point["situation"] in needed
        else point
        for point in report.run["contract"]
        if point["situation"] not in ignored
    ]
    return replace(
        report,
        run={**report.run, "contract": points},
        contract=pd.DataFrame(points, columns=report.contract.columns),
    )
