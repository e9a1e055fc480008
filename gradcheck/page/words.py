"""Numbers, names and sentences for people who did not write the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan, nan
from typing import Any

from gradcheck.adapters import HAND_WRITTEN
from gradcheck.errors import printable
from gradcheck.page.reading import Results
from gradcheck.reports.run import audit_sentence, find_reasons, share_sentence
from gradcheck.reports.terminal import UNPROVED
from gradcheck.truth.confidence import LEVEL

LONGEST_CELL = 160


def clipped(text: str, longest: int = LONGEST_CELL) -> str:
    """Leave out the middle of a text that is too long; what steers a terminal is escaped."""
    text = printable(text).replace("\n", " ")
    if len(text) <= longest:
        return text
    ahead = (longest - 1) * 2 // 3
    return f"{text[:ahead]}…{text[ahead + 1 - longest :]}"


def count(number: int, thing: str, things: str = "") -> str:
    """Count things: `1 point`, `2,000 points`."""
    return f"{number:,} {thing if number == 1 else things or f'{thing}s'}"


def number(value: float | str, digits: int = 4) -> str:
    """Write a number in few digits; a text that is none as it is."""
    try:
        value = float(value)
    except ValueError:
        return clipped(str(value))
    if isnan(value):
        return ""
    text = f"{value:.{digits}g}"
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if e else text


def float_of(text: Any) -> float:
    """Read a number of a table; NaN where a cell is empty."""
    return float(text) if text else nan


def status_of(results: Results) -> str:
    """Say in a word how the run ended."""
    if not find_reasons(results.run):
        return "agrees"
    return "disagrees" if results.run["counts"]["disagree"] else "not passed"


def verdict_of(results: Results) -> str:
    """Say in one sentence what the harness decided."""
    run = results.run
    reasons, counts = find_reasons(run), run["counts"]
    name, samples = clipped(run["request"]["model"], 60), count(run["request"]["samples"], "sample")
    others = run["judged"]["adapters"]
    if not reasons and others:
        ways = "one independent way" if others == 1 else f"{others} independent ways"
        return (
            f"The gradients of {name} agree: on {samples} drawn at random, {ways} of computing "
            f"them came to the same numbers, up to the rounding that no computer avoids."
        )
    if not reasons:
        return f"Nothing disagrees in {name}, but nothing independent confirmed its gradients."
    findings = results.rows("diagnosis.csv")
    if counts["disagree"] and findings:
        first = findings[0]
        surely = "may come" if first["explanation"].endswith(UNPROVED) else "comes"
        return (
            f"{_wrong_gradients(results, name)} wrong: the fault {surely} from line "
            f"{first['line']} of {clipped(first['file'].rpartition('/')[2], 60)}, "
            f"“{clipped(first['source'], 100)}”."
        )
    if counts["disagree"]:
        judged = counts["agree"] + counts["disagree"]
        return (
            f"Gradients of {name} are in dispute: {counts['disagree']:,} of {judged:,} comparisons "
            f"differ by more than rounding can explain{_blamed(results)}."
        )
    return f"{name} has not passed: {'; '.join(clipped(reason, 200) for reason in reasons)}."


def _totals(results: Results) -> dict[str, int]:
    """Count the disagreements of each gradient that has some, most first."""
    totals: dict[str, int] = {}
    for row in results.rows("summary.csv"):
        totals[row["gradient"]] = totals.get(row["gradient"], 0) + int(row["disagree"])
    return {name: totals[name] for name in sorted(totals, key=lambda n: -totals[n]) if totals[name]}


def _wrong_gradients(results: Results, model: str) -> str:
    names = list(_totals(results))
    shown = ", ".join(clipped(name, 40) for name in names[:3])
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    several = len(names) > 1
    return f"The gradient{'s' * several} {shown}{more} of {model} {'are' if several else 'is'}"


def _blamed(results: Results) -> str:
    culprits = [row["culprit"] for row in results.rows("discrepancies.csv") if row["culprit"]]
    names = sorted(set(culprits) - {"neither"})
    return f"; proved to be at fault: {', '.join(clipped(n, 40) for n in names[:5])}" * bool(names)


def confidence_of(results: Results) -> list[str]:
    """Say what the sample shows of all samples."""
    run = results.run
    if not find_reasons(run):
        return [said for said in (share_sentence(run), audit_sentence(run)) if said]
    wrong, shares = _totals(results), list[float]()
    most: dict[str, tuple[int, int]] = {}
    for row in results.rows("summary.csv"):
        name = row["gradient"]
        if name in wrong:
            found = int(row["disagreeing_samples"]), int(row["judged_samples"])
            most[name] = max(found, most.get(name, (0, 0)))
        elif row["disagree_share_below"] and row["adapter"] != HAND_WRITTEN:
            shares.append(float(row["disagree_share_below"]))
    said = [
        f"∂ℓ/∂{clipped(name, 40)} disagrees on {found:,} of the {count(among, 'sample')} on which "
        f"it was judged."
        for name, (found, among) in list(most.items())[:3]
    ]
    if shares and max(shares) < 1:
        each = "every other" if wrong else "each"
        said.append(
            f"Of {each} gradient, with {LEVEL:.0%} confidence, fewer than {max(shares):.2g} of the "
            f"samples that can be judged disagree."
        )
    return said


def reasons_of(results: Results) -> Sequence[str]:
    """Say why the run is no agreement, as the harness has it."""
    return [clipped(reason, 300) for reason in find_reasons(results.run)]


def facts_of(results: Results) -> list[tuple[str, str]]:
    """List what was asked for, and where it ran, by name."""
    run = results.run
    request: Mapping[str, Any] = run["request"]
    shown = [(name.replace("_", " "), _value(value)) for name, value in request.items()]
    machine = [("system", run["machine"]["system"]), ("processor", run["machine"]["cpu"])]
    return [*shown, *run["versions"].items(), *machine]


def _value(value: Any) -> str:
    if isinstance(value, list):
        return clipped(", ".join(map(str, value)), 400)
    return (
        {None: "–", True: "yes", False: "no"}.get(value, f"{value}")
        if not isinstance(value, int | float) or isinstance(value, bool)
        else f"{value:,}"
    )
