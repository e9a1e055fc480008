"""Gradients × adapters and dtypes: worst errors, and what the bars guarantee."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf, isfinite, log2, nan
from statistics import median

from gradcheck.page.reading import Results, Row
from gradcheck.page.words import clipped, count, float_of, number

MOST_GRADIENTS, MOST_COLUMNS = 40, 28
LONGEST = 18
"""Characters of a name."""
LEFT, WIDE, WIDEST, TALL = 122, 968, 60, 22
"""Units: of the names at the left, of all cells, of a cell at most, and a row's height."""
TITLE, NAMES, TITLED = 56, 82, 480
"""Units above a panel, below the lower one, and along a title."""
ULPS_COLOURS = ((238, 244, 250), (158, 196, 230), (47, 127, 193), (11, 60, 111))
BITS_COLOURS = ((243, 234, 216), (217, 192, 138), (143, 174, 122), (42, 111, 94))
"""From one end of a scale to the other, as far apart in lightness as in hue: red, green, blue."""
FORMAT_BITS = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}
Column = tuple[str, str]
"""Adapter and dtype."""
Colour = tuple[int, int, int]
Written = tuple[float, str, bool]
"""Where on the scale, 0 to 1 or not at all; what is written there; whether something is wrong."""


@dataclass(frozen=True)
class Cell:
    """A cell as it is drawn: its fill and its text's colour, if it has a place on the scale."""

    x: float
    y: float
    text: str
    wrong: bool
    fill: str = ""
    ink: str = ""


@dataclass(frozen=True)
class Panel:
    """A title, and the cells below it."""

    title: str
    top: int
    cells: list[Cell]


@dataclass(frozen=True)
class HeatMap:
    """All that a template draws; `formats` are dtypes, and where their columns begin."""

    panels: list[Panel]
    gradients: list[tuple[str, int]]
    columns: list[tuple[str, float]]
    formats: list[tuple[str, float]]
    cell: float
    width: float
    height: int
    left: str


def heat_map_of(results: Results) -> HeatMap:
    """Lay out gradients × adapters and dtypes by worst ulps, and by the bits of the bar."""
    summary = results.rows("summary.csv")
    dtypes = list(dict.fromkeys(row["dtype"] for row in summary))
    columns = [
        column
        for dtype in dtypes
        for column in dict.fromkeys((row["adapter"], row["dtype"]) for row in summary)
        if column[1] == dtype
    ]
    gradients = list(dict.fromkeys(row["gradient"] for row in summary))
    chosen, shown = _worst_gradients(summary, gradients), columns[:MOST_COLUMNS]
    width = min(WIDEST, WIDE / max(1, len(shown)))
    found = {(row["gradient"], (row["adapter"], row["dtype"])): _ulps_cell(row) for row in summary}
    bits = _certified_bits(results.rows("points.csv"))
    apart = TITLE + TALL * len(chosen)
    panels = [
        Panel(title, TITLE + place * apart, _cells(chosen, shown, cells, colours, width))
        for place, (title, cells, colours) in enumerate(
            (
                ("worst error, in ulps", found, ULPS_COLOURS),
                (
                    "certified bits: what the bar guarantees, median over samples",
                    bits,
                    BITS_COLOURS,
                ),
            )
        )
    ]
    dropped = len(gradients) - len(chosen), len(columns) - len(shown)
    left = [
        f"{count(dropped[0], 'gradient')} with smaller errors left out" * bool(dropped[0]),
        f"{count(dropped[1], 'column')} left out" * bool(dropped[1]),
    ]
    starts = [
        (clipped(column[1], LONGEST), LEFT + x * width)
        for x, column in enumerate(shown)
        if not x or shown[x - 1][1] != column[1]
    ]
    return HeatMap(
        panels,
        [(clipped(f"∂ℓ/∂{name}", LONGEST), y * TALL) for y, name in enumerate(chosen)],
        [(clipped(name, LONGEST), LEFT + x * width) for x, (name, _) in enumerate(shown)],
        starts,
        width,
        max(LEFT + width * len(shown), LEFT + TITLED) + 12,
        2 * apart + NAMES,
        "; ".join(filter(None, left)),
    )


def _cells(
    gradients: Sequence[str],
    columns: Sequence[Column],
    cells: Mapping[tuple[str, Column], Written],
    colours: Sequence[Colour],
    width: float,
) -> list[Cell]:
    drawn = []
    for y, gradient in enumerate(gradients):
        for x, column in enumerate(columns):
            scale, text, wrong = cells.get((gradient, column), (nan, "–", False))
            place = LEFT + x * width, y * TALL
            if scale != scale:
                drawn.append(Cell(*place, text, wrong))
            else:
                fill = _between(colours, scale)
                hexadecimal = "#" + "".join(f"{part:02x}" for part in fill)
                drawn.append(Cell(*place, text, wrong, hexadecimal, _legible_on(fill)))
    return drawn


def _between(colours: Sequence[Colour], scale: float) -> Colour:
    """Mix the two colours between which a place on a scale is."""
    steps = list(pairwise(colours))
    step = min(int(scale * len(steps)), len(steps) - 1)
    share = scale * len(steps) - step
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(*steps[step], strict=True))
    return red, green, blue


def _legible_on(fill: Colour) -> str:
    """Choose black or white: by WCAG's relative luminance, whichever has the higher contrast."""
    parts = [part / 255 for part in fill]
    linear = [((c + 0.055) / 1.055) ** 2.4 if c > 0.04045 else c / 12.92 for c in parts]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000" if luminance > 0.179 else "#fff"


def _ulps_cell(row: Row) -> Written:
    if int(row["error"]):
        return nan, "error", True
    if int(row.get("nan") or 0):
        return nan, "NaN", True
    ulps = float_of(row["max_ulps"])
    wrong = int(row["disagree"]) > 0
    if not isfinite(ulps):
        return (1.0, "✗ ∞" if wrong else "∞", wrong) if ulps == inf else (nan, "–", wrong)
    return min(1.0, log2(1 + ulps) / 53), f"✗{number(ulps, 1)}" if wrong else number(ulps, 2), wrong


def _certified_bits(points: Sequence[Row]) -> dict[tuple[str, Column], Written]:
    found: dict[tuple[str, Column], list[float]] = defaultdict(list)
    for point in points:
        bound, reference = float_of(point["bound"]), abs(float_of(point["reference"]))
        most = FORMAT_BITS.get(point["dtype"], 53)
        certain = log2(reference) - log2(bound) if bound > 0 and reference > 0 else nan
        if bound == 0:
            certain = most
        if certain == certain:
            column = point["adapter"], point["dtype"]
            found[point["gradient"], column].append(min(most, max(0.0, certain)))
    cells: dict[tuple[str, Column], Written] = {}
    for (gradient, column), bits in found.items():
        middle = median(bits)
        cells[gradient, column] = middle / 53, f"{middle:.0f}", False
    return cells


def _worst_gradients(summary: Sequence[Row], gradients: Sequence[str]) -> list[str]:
    """Choose the gradients that are farthest beyond, or nearest to, their bars; in their order."""
    worst: dict[str, tuple[int, float]] = {}
    for row in summary:
        failures = int(row["disagree"]) + int(row["error"]) + int(row.get("nan") or 0)
        ratio = float_of(row["max_bound_ratio"])
        found = (failures, ratio if ratio == ratio else -1.0)
        worst[row["gradient"]] = max(found, worst.get(row["gradient"], (0, -1.0)))
    order = {gradient: place for place, gradient in enumerate(gradients)}
    ranked = sorted(gradients, key=lambda g: (-worst[g][0], -worst[g][1], order[g]))
    return sorted(ranked[:MOST_GRADIENTS], key=order.__getitem__)
