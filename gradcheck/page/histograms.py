"""How far apart values are, in ulps: a histogram for each adapter and dtype."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from math import ceil, log2
from typing import TYPE_CHECKING

from matplotlib.patches import PathPatch
from matplotlib.path import Path

from gradcheck.page.drawing import LONGEST, drawing, power
from gradcheck.page.theme import AGREE, FAINT, adapted
from gradcheck.page.words import clipped, float_of

if TYPE_CHECKING:
    from gradcheck.page.reading import Results

MOST_ADAPTERS, MOST_PANELS = 24, 4
LOWEST = -10
"""The binade, 2⁻¹⁰ ulps, that counts zeros and all below."""
VISIBLE = 0.03
"""Of a row, how high a bar is at least, so that one sees that there is something."""
Column = tuple[str, str]
"""Adapter and dtype."""


def histograms(results: Results) -> tuple[str, str]:
    """Draw for each adapter how its distances are spread, in ulps, by powers of two."""
    counts: dict[Column, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for row in results.rows("histogram.csv"):
        start = float_of(row["ulps_from"])
        binade = LOWEST if start == 0 else round(log2(start))
        counts[row["adapter"], row["dtype"]][binade] += int(row["count"])
    dtypes = list(dict.fromkeys(dtype for _, dtype in counts))[:MOST_PANELS]
    adapters = list(dict.fromkeys(adapter for adapter, _ in counts))
    shown = adapters[:MOST_ADAPTERS]
    note = f"{len(adapters) - len(shown)} adapters left out" if len(shown) < len(adapters) else ""
    if not dtypes:
        return "", "Nothing was measured."
    last = max(max(some) for some in counts.values())
    first = min((b for some in counts.values() for b in some if b > LOWEST), default=0) - 1
    height = 0.42 * len(shown) + 1.1
    with drawing("ulps", height) as (figure, written):
        share = 0.86 / len(dtypes)
        for place, dtype in enumerate(dtypes):
            box = (0.13 + place * share, 0.62 / height, share - 0.02, (height - 1.0) / height)
            axes = figure.add_axes(box)
            for y, adapter in enumerate(shown):
                found = counts.get((adapter, dtype), {})
                axes.axhline(-y, color=FAINT, lw=0.4)
                if found:
                    axes.add_artist(_steps(found, -y, first, max(found.values())))
            axes.set_xlim(first - 0.2, last + 1.2)
            axes.set_ylim(-len(shown) + 0.9, 1)
            step = max(1, ceil((last - first) / 8))
            begin = ceil((first + 3) / step) * step
            ticks: list[float] = [0.5 + first, *range(begin, last + 1, step)]
            axes.set_xticks(ticks)
            axes.set_xticklabels(["0", *(power(round(tick), 2) for tick in ticks[1:])], fontsize=9)
            axes.set_yticks([-y for y in range(len(shown))] if place == 0 else [])
            axes.set_yticklabels([clipped(name, LONGEST) for name in shown] if place == 0 else [])
            axes.set_title(clipped(dtype, LONGEST), loc="left", fontsize=11)
            axes.set_xlabel("ulps from the reference")
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
    return adapted(written[0], "Histograms of the distance in ulps for each adapter"), note


def _steps(found: Mapping[int, int], base: float, first: int, most: int) -> PathPatch:
    """Outline a histogram on a base line, the smallest distances at the left end."""
    vertices = []
    for binade, times in sorted(found.items()):
        x = first if binade == LOWEST else binade
        top = base + max(0.82 * times / most, VISIBLE)
        vertices += [(x + 0.06, base), (x + 0.06, top), (x + 0.94, top), (x + 0.94, base)]
    codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO] * len(found)
    return PathPatch(Path(vertices, codes), facecolor=AGREE, lw=0)
