"""What all figures have in common: how they are drawn by matplotlib, as SVG."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from gradcheck.page.theme import FAINT, INK

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "text.color": INK,
    "font.size": 10.0,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
}
WIDTH = 10.4
"""Inches, of 72 units each: what a page is wide on a desk."""
LONGEST = 18
"""Characters of a name."""
OWN_SETTINGS = ("backend", "backend_fallback", "interactive", "timezone", "toolbar")
"""Of matplotlib's, those that say where it shows a figure; this one it shows nowhere."""


@contextmanager
def drawing(name: str, height: float) -> Iterator[tuple[Figure, list[str]]]:
    """Yield a figure, and a list to which its SVG is appended.

    Whatever the reader's own settings of matplotlib are, it is the same to the last byte.
    """
    written: list[str] = []
    defaults: Any = {k: v for k, v in mpl.rcParamsDefault.items() if k not in OWN_SETTINGS}
    with (
        warnings.catch_warnings(action="ignore"),  # a sign that the font lacks, the reader's has
        mpl.rc_context({**defaults, **STYLE, "svg.hashsalt": name}),
    ):
        figure = Figure(figsize=(WIDTH, height))
        yield figure, written
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
        written.append(file.getvalue())


def power(exponent: int, base: int = 10) -> str:
    """Write a power of ten, or of another base."""
    digits = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return "1" if exponent == 0 else f"{base}{digits}"
