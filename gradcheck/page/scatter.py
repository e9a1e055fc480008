"""Error against bar: everything below the diagonal is rounding, anything above a fault."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil, floor, log10, nan
from typing import TYPE_CHECKING

from matplotlib.patches import PathPatch
from matplotlib.path import Path

from gradcheck.page.drawing import LONGEST, drawing, power
from gradcheck.page.theme import AGREE, FAINT, FAULT, INK, adapted
from gradcheck.page.words import clipped, count, float_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gradcheck.page.reading import Results, Row

MOST_DRAWN = 6000
"""Points of a figure."""
MOST_BEYOND = 200
"""Points beyond the bar, the farthest, that are drawn in a panel whatever is thinned."""
MOST_PANELS = 4


def errors(results: Results) -> tuple[str, str]:
    """Draw error against bar, a panel for each dtype, with the diagonal."""
    points = results.rows("points.csv")
    dtypes = list(dict.fromkeys(point["dtype"] for point in points))[:MOST_PANELS]
    with drawing("errors", 4.4 * ceil(len(dtypes) / 2)) as (figure, written):
        rows = ceil(len(dtypes) / 2)
        for place, dtype in enumerate(dtypes):
            left, down = place % 2, place // 2
            box = (
                0.075 + 0.5 * left,
                (rows - 1 - down) / rows + 0.145 / rows,
                0.4,
                0.77 / rows,
            )
            axes = figure.add_axes(box)
            some = [point for point in points if point["dtype"] == dtype]
            _scatter(axes, some[:: ceil(len(some) * len(dtypes) / MOST_DRAWN)] + _beyond(some))
            axes.set_title(clipped(dtype, LONGEST), loc="left", fontsize=11)
            axes.set_ylabel("error: distance from the reference")
            axes.set_xlabel("bar: the largest honest distance")
    disagree = sum(point["verdict"] == "disagree" for point in points)
    return adapted(written[0], "Error against bar on logarithmic axes, with the diagonal"), (
        f"{count(len(points), 'point')}, {disagree:,} of them beyond the bar."
    )


def _beyond(points: Iterable[Row]) -> list[Row]:
    worst = [point for point in points if point["verdict"] == "disagree"]
    return sorted(worst, key=lambda point: -float_of(point["error"]))[:MOST_BEYOND]


def _scatter(axes: Axes, points: Sequence[Row]) -> None:
    bars = [log10(bar) for point in points if (bar := float_of(point["bound"])) > 0]
    sizes = [log10(error) for point in points if (error := float_of(point["error"])) > 0]
    low_x, high_x = _range(bars)
    low, high = _range([*sizes, *([low_x, high_x] if bars else [])])
    floor_y = low - 0.06 * (high - low) - 0.3
    groups: dict[str, list[tuple[float, float]]] = {
        "agree": [],
        "disagree": [],
        "uninformative": [],
    }
    for point in points:
        bar, error = float_of(point["bound"]), float_of(point["error"])
        x = log10(bar) if bar > 0 else low_x
        groups.setdefault(point["verdict"], []).append((x, log10(error) if error > 0 else floor_y))
    axes.plot([low_x, high_x], [low_x, high_x], color=INK, lw=1.2)
    axes.axhline(floor_y + 0.25 * (low - floor_y), color=FAINT, lw=0.5, ls=(0, (2, 3)))
    for verdict, colour, size in (
        ("agree", AGREE, 2.6), ("uninformative", FAINT, 2.6), ("disagree", FAULT, 4.2),
    ):  # fmt: skip
        axes.add_artist(_dots(groups[verdict], colour, size))
    axes.set_xlim(low_x, high_x)
    axes.set_ylim(floor_y - 0.05 * (high - low), high)
    for setter, labels, (first, last) in (
        (axes.set_xticks, axes.set_xticklabels, (low_x, high_x)),
        (axes.set_yticks, axes.set_yticklabels, (low, high)),
    ):
        step = max(1, ceil((last - first) / 6))
        powers = range(ceil(first / step) * step, floor(last) + 1, step)
        ticks, names = [float(power) for power in powers], list(map(power, powers))
        if setter == axes.set_yticks:
            ticks, names = [floor_y, *ticks], ["0", *names]
        setter(ticks)
        labels(names)
    axes.set_title("above the diagonal: a fault", loc="right", color=FAULT, fontsize=10)
    axes.text(
        high_x, low + 0.03 * (high - low), "below: rounding", color=AGREE, ha="right", fontsize=10
    )


def _dots(places: Sequence[tuple[float, float]], colour: str, size: float) -> PathPatch:
    """Draw all dots as one path of lines without a length, whose caps are round: few bytes each."""
    vertices = [place for place in places for _ in range(2)] or [(nan, nan)]
    codes = [Path.MOVETO, Path.LINETO] * len(places) or [Path.MOVETO]
    path = Path(vertices, codes)
    path.should_simplify = False
    return PathPatch(path, fill=False, ec=colour, lw=size, capstyle="round", alpha=0.7, snap=False)


def _range(numbers: Sequence[float]) -> tuple[float, float]:
    if not numbers:
        return -1.0, 1.0
    return floor(min(numbers) - 0.2), ceil(max(numbers) + 0.2)
