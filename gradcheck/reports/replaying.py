"""The commands that show one case in full."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradcheck.harness.request import Request

SAMPLE_SETTINGS = ("seed", "scale", "distribution", "kinks", "bars", "ulps", "recipe")
"""Settings of a sweep on which a sample and its bars depend."""
FEW_NUMBERS = 12
"""Numbers in a sample up to which a command gives them all."""


def case_command(
    run: Mapping[str, Any], source: str, sample: int, dtype: str, point: Mapping[str, str]
) -> str:
    """Return the command that shows a sample: its point, or its number if that is long.

    Parameters
    ----------
    source
        What the model goes by on the command line.
    point
        The sample's numbers as text, if they are tabulated.
    """
    if 0 < len(point) <= FEW_NUMBERS:
        numbers = ",".join(f"{name}={number}" for name, number in point.items())
        return f"gradcheck trace {source} --dtypes {dtype} --at {numbers}"
    if sample >= run["request"]["samples"]:
        return ""  # a search's, of which search.csv has the numbers
    return sample_command(run, source, sample, dtype)


def sample_command(run: Mapping[str, Any], source: str, sample: int, dtype: str) -> str:
    """Return the command that draws a sample again and shows it."""
    request = run["request"]
    settings = [
        f" --{name}" if request[name] is True else f" --{name} {request[name]}"
        for name in SAMPLE_SETTINGS
        if request[name] != getattr(Request, name)
    ]
    return f"gradcheck trace {source} --dtypes {dtype} --sample {sample}{''.join(settings)}"
