"""The page and its figures, as files: a function of the other files of the folder alone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from gradcheck.errors import quoted
from gradcheck.page import words
from gradcheck.page.graph import graph_of
from gradcheck.page.heat import heat_map_of
from gradcheck.page.histograms import histograms
from gradcheck.page.reading import Results, parsed
from gradcheck.page.scatter import errors
from gradcheck.page.tables import again_of, cases_of, findings_of, sheets_of
from gradcheck.page.theme import alone
from gradcheck.reports.folder import PAGE

TEMPLATES = Path(__file__).parent / "templates"
LARGEST = 900_000
"""Bytes of a page."""
MOST_ROWS = (400, 150, 50, 10)
"""Of a table; the next one is tried while the page is larger than that."""
OWN = (
    "The reference is the function's own formula, without roundoff: a fault of the formula itself "
    "is no distance here. It was held against the truth apart."
)
"""What a point shows of a function whose own backward pass is the reference."""
MISSING = "was not written by the version of gradcheck that swept; sweep again to see it."


def rendered(contents: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Make `report.html` and the figures.

    Parameters
    ----------
    contents
        Texts of the folder's files, by name.
    folder
        What it is called in commands.

    Raises
    ------
    ValueError, LookupError, TypeError
        If they are not what a sweep writes.
    """
    results = parsed(contents, quoted(str(folder)))
    heat = heat_map_of(results)
    heat_svg = Markup(_environment().get_template("heat.svg").render(heat=heat))  # noqa: S704
    drawings = {
        "heat": {"svg": heat_svg, "note": heat.left, "title": "Heat map"},
        **{name: _drawn(results, *figure) for name, figure in FIGURES.items()},
    }
    graph = graph_of(results)
    graph_svg = _environment().get_template("graph.svg").render(graph=graph)
    cases, cases_left = cases_of(results)
    recorded = results.run["audit"]["recorded"]
    context: dict[str, Any] = {
        "model": words.clipped(results.run["request"]["model"], 80),
        "status": words.status_of(results),
        "verdict": words.verdict_of(results),
        "confidence": words.confidence_of(results),
        "reasons": words.reasons_of(results),
        "graph": graph,
        "graph_svg": Markup(graph_svg),  # noqa: S704, escaped by its template
        "graph_width": min(graph.width, 1100),
        "no_quantities": "A recorded function has no named quantities; its gradients stand for it."
        if recorded
        else "The quantities in between were not looked at.",
        **drawings,
        "own": OWN if results.run["audit"]["own"] else "",
        "findings": findings_of(results),
        "cases": cases,
        "cases_left": cases_left,
        "again": again_of(results),
        "facts": words.facts_of(results),
        "script": Markup((TEMPLATES / "script.js").read_text(encoding="utf-8")),  # noqa: S704
    }
    context["style"] = Markup(_environment().get_template("style.css").render(context))  # noqa: S704
    page = ""
    for most in MOST_ROWS:
        sheets = sheets_of(results, most)
        page = _environment().get_template("report.html").render(context, tables=sheets)
        if len(page.encode(errors="backslashreplace")) <= LARGEST:
            break
    files = {PAGE: page, "graph.svg": alone(graph_svg)}
    for name, drawing in drawings.items():
        if drawing["svg"]:
            files[f"{name}.svg"] = alone(str(drawing["svg"]))
    return files


FIGURES = {
    "errors": (errors, "points.csv", "Error against bar"),
    "ulps": (histograms, "histogram.csv", "Histograms of ulps"),
}
"""What draws each figure, of which file, and its title."""


def _drawn(results: Results, draw: Any, source: str, title: str) -> dict[str, Any]:
    if source not in results.tables:
        return {"svg": "", "note": f"{source} {MISSING}", "title": title}
    if not results.rows(source):
        return {"svg": "", "note": "Nothing could be measured.", "title": title}
    svg, note = draw(results)
    return {"svg": Markup(svg), "note": note, "title": title}  # noqa: S704, by matplotlib


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES, encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["clipped"] = words.clipped
    return environment
