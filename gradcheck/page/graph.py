"""The computation as a graph: the forward pass above, its adjoints below, gradients at the bottom.

A column for each quantity of the trace, in its order, and under it the gradients of the parameters
that enter there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan

from gradcheck.page.layout import COLUMNS, PITCH, Column, Line, Node, laid_out
from gradcheck.page.reading import Results, Row
from gradcheck.page.words import clipped, float_of, number

MOST_COLUMNS = 32
"""Of a graph; what is in the middle of more is left out."""
MOST_GRADIENTS = 6
"""Of a column; of more, those are shown that are farthest off."""
LONGEST = 15
LEVELS = ((1.0, "beyond"), (0.5, "near"), (0.1, "half"), (-inf, "far"))
"""Above which share of its bar an error is drawn how."""


@dataclass
class Graph:
    """All that a template draws.

    `findings` are the wrong lines as (mark, place, source); `left` says what was left out.
    """

    lines: list[Line]
    width: int
    height: int
    findings: list[tuple[str, str, str]]
    left: str
    sample: str


def graph_of(results: Results) -> Graph:
    """Lay the computation out."""
    quantities = results.rows("quantities.csv")
    looks = _looks(quantities)
    gradients = _gradients(results)
    findings, marks = _findings(results)
    columns = (
        _columns(quantities, looks, gradients, marks)
        if quantities
        else _two_columns(results, gradients, marks)
    )
    left = ""
    if len(columns) > MOST_COLUMNS:
        half = MOST_COLUMNS // 2
        left = f"{len(columns) - MOST_COLUMNS} quantities between {columns[half - 1].quantity} and "
        left += f"{columns[-half].quantity} are left out; quantities.csv has them."
        columns = columns[:half] + columns[-half:]
    lines, height = laid_out(columns)
    sample = quantities[0]["sample"] if quantities else ""
    longest = max((len(f"{where}  {source}") for _, where, source in findings), default=0)
    width = max(PITCH * min(COLUMNS, len(columns)) + 24, 60 + 8 * longest)
    return Graph(lines, width, height, findings, clipped(left, 300), sample)


def _looks(quantities: Sequence[Row]) -> Mapping[tuple[str, str], list[Row]]:
    looks: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in quantities:
        looks[row["direction"], row["quantity"]].append(row)
    return looks


def level_of(ratio: float, wrong: bool = False) -> str:
    """Say how an error is drawn that is this share of its bar."""
    if wrong:
        return "beyond"
    if ratio != ratio:
        return "unknown"
    return next(level for least, level in LEVELS if ratio > least)


def _shown_ratio(ratio: float) -> str:
    if ratio != ratio:
        return "not judged"
    return (
        "error 0" if ratio == 0 else f"{number(ratio, 2)} × bar" if isfinite(ratio) else "∞ × bar"
    )


def _node(
    title: str, looks: Sequence[Row], ratio: float, wrong: bool, more: list[str], mark: str
) -> Node:
    details = [title, *more]
    for look in looks:
        details.append(
            f"{look['dtype']}, sample {look['sample']}{look['element'] and ', element '}"
            f"{look['element']}: {number(look['value'], 6)} ± {number(look['bar'], 2)}"
        )
        if look["truth"]:
            details.append(f"  truth {clipped(look['truth'], 40)}")
        if look["worst_ratio"]:
            details.append(
                f"  worst {number(look['worst_ratio'], 3)} × bar, by {look['worst_party']}, "
                f"sample {look['worst_sample']}"
            )
    name = clipped(title, LONGEST)
    lines = [clipped(line) for line in details]
    return Node(name, _shown_ratio(ratio), level_of(ratio, wrong), lines, mark=mark)


def _worst(looks: Sequence[Row]) -> float:
    ratios = [ratio for look in looks if (ratio := float_of(look["worst_ratio"])) == ratio]
    return max(ratios, default=nan)


@dataclass
class _Gradient:
    """What the sweep counted of one gradient, over all adapters and dtypes."""

    ratio: float = nan
    disagree: int = 0
    samples: int = 0
    by: str = ""


def _gradients(results: Results) -> dict[str, _Gradient]:
    found: dict[str, _Gradient] = {}
    for row in results.rows("summary.csv"):
        gradient = found.setdefault(row["gradient"], _Gradient())
        ratio = float_of(row["max_bound_ratio"])
        gradient.disagree += int(row["disagree"])
        gradient.samples += int(row["agree"]) + int(row["disagree"])
        if ratio == ratio and not ratio <= gradient.ratio:
            gradient.ratio = ratio
            gradient.by = f"{row['adapter']} {row['dtype']}, sample {row['worst_sample']}"
    return found


def _gradient_node(
    name: str,
    gradients: Mapping[str, _Gradient],
    looks: Mapping[tuple[str, str], list[Row]],
    marks: Mapping[str, str],
) -> Node:
    found = gradients.get(name, _Gradient())
    counted = f"{found.disagree:,} of {found.samples:,} comparisons disagree"
    swept = [counted] if found.samples else []
    if found.by:
        swept.append(f"sweep: worst {number(found.ratio, 3)} × bar, by {found.by}")
    some = looks.get(("backward", name), [])
    known = [ratio for ratio in (found.ratio, _worst(some)) if ratio == ratio]
    ratio = max(known, default=nan)
    mark = marks.get(f"d.{name}", "")
    return _node(f"∂ℓ/∂{name}", some, ratio, found.disagree > 0, swept, mark)


def _columns(
    quantities: Sequence[Row],
    looks: Mapping[tuple[str, str], list[Row]],
    gradients: Mapping[str, _Gradient],
    marks: Mapping[str, str],
) -> list[Column]:
    trace = list(dict.fromkeys(r["quantity"] for r in quantities if r["direction"] == "forward"))
    placed: set[str] = set()
    columns = []
    for quantity in trace:
        some = looks["forward", quantity]
        origins = some[0]["origins"].split()
        own = [name for name in origins if name in gradients and name not in placed]
        placed.update(own)
        columns.append(
            _column(quantity, some, own, [o for o in origins if o], looks, gradients, marks)
        )
    lost = [name for name in gradients if name not in placed]  # whose quantity was not found
    if columns and lost:
        columns[0] = _with(columns[0], lost, looks, gradients, marks)
    return columns


def _column(
    quantity: str,
    some: Sequence[Row],
    own: Sequence[str],
    origins: list[str],
    looks: Mapping[tuple[str, str], list[Row]],
    gradients: Mapping[str, _Gradient],
    marks: Mapping[str, str],
) -> Column:
    shown = "ℓ" if quantity == "loss" else quantity
    from_ = [f"made of {', '.join(origins)}"] if origins else []
    ratio = _worst(some)
    forward = _node(shown, some, ratio, ratio > 1, from_, marks.get(f"t.{quantity}", ""))
    adjoint = None
    if below := looks.get(("backward", quantity), []):
        worst = _worst(below)
        mark = marks.get(f"d.{quantity}", "")
        adjoint = _node(f"∂ℓ/∂{quantity}", below, worst, worst > 1, [], mark)
    return _with(Column(quantity, forward, adjoint, [], origins), own, looks, gradients, marks)


def _with(
    column: Column,
    names: Sequence[str],
    looks: Mapping[tuple[str, str], list[Row]],
    gradients: Mapping[str, _Gradient],
    marks: Mapping[str, str],
) -> Column:
    """Add gradients to a column, those that are farthest off if there are too many."""
    nodes = [_gradient_node(name, gradients, looks, marks) for name in names]
    order = {id(node): place for place, node in enumerate(nodes)}
    ranks = {level: place for place, (_, level) in enumerate(LEVELS)}
    ranked = sorted(nodes, key=lambda n: (not n.mark, ranks.get(n.level, len(ranks)), order[id(n)]))
    kept = sorted(ranked[:MOST_GRADIENTS], key=lambda node: order[id(node)])
    column.gradients += kept
    column.left += len(nodes) - len(kept)
    return column


def _two_columns(
    results: Results, gradients: Mapping[str, _Gradient], marks: Mapping[str, str]
) -> list[Column]:
    """Draw a function whose quantities have no names: its inputs, itself, and the loss."""
    name = str(results.run["request"]["model"])
    names = list(gradients)
    inside = Node(
        clipped(name, LONGEST), "function", "unknown", [f"{clipped(name)}: its inside is not drawn"]
    )
    loss = Node("ℓ", "", "unknown", ["ℓ: the outputs, each times its cotangent"])
    groups = [
        names[start : start + MOST_GRADIENTS] for start in range(0, len(names), MOST_GRADIENTS)
    ]
    first = Column(name, inside, None, [], [])
    columns = [_with(first, names, {}, gradients, marks), Column("loss", loss, None, [], [name])]
    if len(groups) > 1:  # beside one another, as there is room
        first.gradients, first.left = [], 0
        _with(first, groups[0], {}, gradients, marks)
        _with(columns[1], groups[1], {}, gradients, marks)
        columns[1].left = len(names) - len(groups[0]) - len(groups[1])
    first.entering = [clipped(each, LONGEST) for each in names]
    return columns


def _findings(results: Results) -> tuple[list[tuple[str, str, str]], dict[str, str]]:
    """Give the wrong lines numbers, and say which quantities they write."""
    shown, marks = [], dict[str, str]()
    for place, row in enumerate(results.rows("diagnosis.csv")[:5], 1):
        where = f"{row['file'].rpartition('/')[2]}:{row['line']}"
        shown.append((str(place), clipped(where, 40), clipped(row["source"], 90)))
        marks.setdefault(row["quantity"].partition("[")[0], str(place))
    return shown, marks
