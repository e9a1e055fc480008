"""Two runs of one model, held against each other: what got worse, better, appeared, vanished.

Honest gradients never disagree, so where both runs judged the same samples one disagreement more is
a change. Where the samples differ, so may the counts by chance, and Fisher's exact test judges.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gradcheck.errors import RequestError
from gradcheck.history.results import Results, Row
from gradcheck.history.significance import fisher_tail, holm
from gradcheck.reports.run import FAILS, reasons_by_kind

LEVEL = 0.01
"""The probability that chance alone makes any of the tested counts significant."""
SETTINGS = ("samples", "seed", "scale", "distribution", "kinks", "bars", "ulps")
"""Those that decide which samples there are, and how wide their bars."""
FAILING = ("disagree", "nan", "error", "defect")
"""Verdicts that an honest run never gives."""
WIDER = 2.0
"""How many times as large a worst ratio must be to be told; it fails nothing below 1."""
SMALL = 1 / 64
"""A ratio below which nobody need know of one."""
ELSEWHERE = ("disagree", "nan", "error", "defect", "short", "contract", "stale")
"""Reasons to fail that are compared row by row; what is known and stale got better."""
Key = tuple[str, str, str]
Share = tuple[int, int]
"""How many of how many."""


class Kind(StrEnum):
    """What became of a row; the order is that in which they are told."""

    WORSE = "worse"
    VANISHED = "vanished"
    BETTER = "better"
    APPEARED = "appeared"
    TOLD = "told"


@dataclass(frozen=True)
class Change:
    """A difference: of a row, or of a run if the row's names are empty."""

    kind: Kind
    key: Key
    what: str
    fails: bool = False


@dataclass(frozen=True)
class Comparison:
    """What is different in a later run.

    Parameters
    ----------
    model
        Whose gradients both runs judged.
    versions, settings
        What was changed between them: before and after, by name.
    changes
        Those that fail first, then by kind.
    rows
        How many rows both runs have.
    """

    model: str
    versions: Mapping[str, tuple[str, str]]
    settings: Mapping[str, tuple[Any, Any]]
    changes: Sequence[Change]
    rows: int

    @property
    def worse(self) -> bool:
        """Whether anything got worse."""
        return any(change.fails for change in self.changes)


def compare(old: Results, new: Results, allow_vanished: bool = False) -> Comparison:
    """Compare two runs of a model.

    `allow_vanished` accepts that rows which were judged before are there no more.

    Raises
    ------
    RequestError
        If a folder cannot be read, or the runs are of different models.
    """
    _refuse_other_model(old, new)
    settings = _differences(old.run["request"], new.run["request"], SETTINGS)
    both = [key for key in new.rows if key in old.rows]
    changes = [
        *_of_whole_runs(old, new),
        *_vanished(old, new, allow_vanished),
        *_appeared(old, new),
        *_tested(old, new, both, same=not settings),
    ]
    for key in both:
        changes += _of_row(key, old.rows[key], new.rows[key], same=not settings)
    order = list(Kind)
    return Comparison(
        new.run["request"]["model"],
        _differences(
            {**old.run["versions"], **_processor(old)}, {**new.run["versions"], **_processor(new)}
        ),
        settings,
        sorted(changes, key=lambda change: (not change.fails, order.index(change.kind))),
        len(both),
    )


def _refuse_other_model(old: Results, new: Results) -> None:
    names = []
    for results in (old, new):
        options = results.run.get("source", {}).get("options", {})
        sizes = "".join(f" {name}={size}" for name, size in sorted(options.items()))
        names.append(f"{results.run['request']['model']}{sizes}")
    if names[0] != names[1]:
        raise RequestError(
            new.field, f"it is a run of {names[1]}, the other of {names[0]}; compare one model"
        )


def _processor(results: Results) -> dict[str, str]:
    return {"CPU": str(results.run["machine"].get("cpu", "unknown"))}


def _differences(
    old: Mapping[str, Any], new: Mapping[str, Any], names: Sequence[str] = ()
) -> dict[str, tuple[Any, Any]]:
    names = names or list(dict.fromkeys([*old, *new]))
    return {
        name: (old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)
    }


def _of_whole_runs(old: Results, new: Results) -> list[Change]:
    """Compare what is said of a run as a whole, if it is said as a sweep says it."""
    try:
        return list(_of_runs(old, new))
    except (KeyError, TypeError, AttributeError) as error:
        raise RequestError(
            "", f"run.json of {old.folder} or {new.folder} is damaged: {error!r} is amiss"
        ) from error


def _of_runs(old: Results, new: Results) -> Iterator[Change]:
    """Compare what is said of a run as a whole: its audit, its search, the calling contract."""
    before, after = reasons_by_kind(old.run), reasons_by_kind(new.run)
    for kind, reason in after.items():
        if kind not in (*before, *ELSEWHERE):
            yield Change(Kind.WORSE, ("", "", ""), reason, fails=True)
    for kind, reason in before.items():
        if kind not in (*after, *ELSEWHERE):
            yield Change(Kind.BETTER, ("", "", ""), f"no longer: {reason}")
    failed = [
        {point["situation"] for point in results.run["contract"] if point["verdict"] in FAILS}
        for results in (old, new)
    ]
    for situation in sorted(failed[1] - failed[0]):
        yield Change(Kind.WORSE, ("", "", ""), f"calling contract: {situation} fails", fails=True)
    for situation in sorted(failed[0] - failed[1]):
        yield Change(Kind.BETTER, ("", "", ""), f"calling contract: {situation} fails no longer")
    short = [
        {(one["dtype"], one["gradient"]): one for one in results.run["judged"]["short"]}
        for results in (old, new)
    ]
    strict = not new.run["request"].get("allow_uninformative")
    for (dtype, gradient), one in short[1].items():
        if (dtype, gradient) not in short[0]:
            what = f"judged on {one['judged']:,} of {one['samples']:,} samples: too few"
            yield Change(Kind.WORSE, ("", dtype, gradient), what, fails=strict)


def _vanished(old: Results, new: Results, allowed: bool) -> Iterator[Change]:
    """Tell rows that are no more; one that was judged fails, for nobody looks there any longer."""
    for key, row in old.rows.items():
        if key not in new.rows:
            judged = row.counts["judged_samples"]
            what = f"was judged on {judged:,} samples" if judged else "was not judged"
            yield Change(Kind.VANISHED, key, what, fails=judged > 0 and not allowed)


def _appeared(old: Results, new: Results) -> Iterator[Change]:
    for key, row in new.rows.items():
        if key not in old.rows:
            found = [f"{n:,} {name}" for name in FAILING if (n := row.unaccepted(name))]
            what = f"{', '.join(found)} of {row.counts['samples']:,}" if found else "is new"
            yield Change(Kind.APPEARED, key, what, fails=bool(found))


def _of_row(key: Key, old: Row, new: Row, same: bool) -> Iterator[Change]:
    """Compare what needs no test: counts of the same samples, and verdicts that are never honest.

    Disagreements among other samples are left to the test.
    """
    for verdict in FAILING:
        before, after = old.counts[verdict], new.counts[verdict]
        known = after > new.unaccepted(verdict)
        tested = verdict == "disagree" and not same
        if before == after or (tested and not known):
            continue
        what = f"{verdict} {before:,} → {after:,}"
        if known:
            yield Change(Kind.TOLD, key, f"{what}, which is known")
        elif after < before:
            yield Change(Kind.BETTER, key, what)
        elif same or before == 0:
            yield Change(Kind.WORSE, key, what, fails=True)
        else:
            yield Change(Kind.TOLD, key, f"{what}, among other samples")
    grown = new.ratio > WIDER * max(old.ratio, SMALL)
    if grown and not new.counts["disagree"]:
        yield Change(Kind.TOLD, key, f"worst error over its bar {old.ratio:.2g} → {new.ratio:.2g}")


@dataclass(frozen=True)
class _Test:
    """A share of samples in both runs, and how probable a change so large is by chance."""

    key: Key
    what: str
    kind: Kind
    p: float


def _tested(old: Results, new: Results, keys: Sequence[Key], same: bool) -> Iterator[Change]:
    """Test shares of samples, all at once: that disagree, if others were drawn; that are judged.

    What got worse is one family of tests, and what got better another.
    """
    tests: list[_Test] = []
    for key in keys:
        before, after = old.rows[key], new.rows[key]
        if not (before.judged and after.judged):
            continue
        known = after.counts["disagree"] > after.unaccepted("disagree")
        if not (same or known):
            shares = _disagreeing(before), _disagreeing(after)
            tests += _test(key, "disagree", shares, (Kind.WORSE, Kind.BETTER))
        if after.counts["error"] <= before.counts["error"]:  # else that is told
            shares = _judged(before, old), _judged(after, new)
            tests += _test(key, "can be judged", shares, (Kind.BETTER, Kind.WORSE))
    for kind in (Kind.WORSE, Kind.BETTER):
        family = [test for test in tests if test.kind is kind]
        significant = holm([test.p for test in family], LEVEL)
        for test, rejected in zip(family, significant, strict=True):
            if rejected:
                yield Change(kind, test.key, test.what, fails=kind is Kind.WORSE)
            elif "disagree" in test.what and kind is Kind.WORSE:
                yield Change(Kind.TOLD, test.key, f"{test.what}, which may be chance")


def _test(
    key: Key, what: str, shares: tuple[Share, Share], kinds: tuple[Kind, Kind]
) -> Iterator[_Test]:
    """Test a share that changed: `kinds` are those of one that grew, and of one that fell."""
    (found, among), (later, among_later) = shares
    grown = later * among - found * among_later
    if not grown:
        return
    if grown > 0:
        p, kind = fisher_tail((found, later), (among, among_later)), kinds[0]
    else:
        p, kind = fisher_tail((later, found), (among_later, among)), kinds[1]
    told = f"p = {p:.1g}" if p else "p < 1e-300"
    text = f"{found:,} of {among:,} samples → {later:,} of {among_later:,} {what} ({told})"
    yield _Test(key, text, kind, p)


def _disagreeing(row: Row) -> Share:
    """Return on how many samples a row disagrees, defects apart, and how many were judged."""
    found = row.counts["disagreeing_samples"] if row.counts["disagree"] else 0
    return found, row.counts["judged_samples"]


def _judged(row: Row, results: Results) -> Share:
    """Return on how many samples a row was judged, and how many there were."""
    return row.counts["judged_samples"], int(results.run["request"]["samples"])
