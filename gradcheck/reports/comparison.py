"""What changed between two runs, as text."""

from __future__ import annotations

from collections.abc import Iterator

from gradcheck.history.compare import Change, Comparison, Kind
from gradcheck.reports.plain import Plain
from gradcheck.reports.terminal import WIDTH

GRADIENTS_SHOWN = 6
SHOWN = 20
"""Changes of each kind."""
STYLES = {Kind.WORSE: "red", Kind.BETTER: "green"}


def print_comparison(comparison: Comparison, old: str, new: str) -> None:
    """Print versions and settings that differ first, then the changes, and what they amount to."""
    console = Plain(width=WIDTH)
    console.print(f"{comparison.model}: {old} → {new}", soft_wrap=True)
    for line in facts(comparison):
        console.print(line, soft_wrap=True)
    for kind in Kind:
        lines = list(changes_told(comparison, kind))
        for line, fails in lines[:SHOWN]:
            style = "red" if fails else STYLES.get(kind)
            console.print(f"{kind.value}: {line}", style=style, soft_wrap=True)
        if len(lines) > SHOWN:
            console.print(f"{kind.value}: {len(lines) - SHOWN} more")
    console.print(conclusion(comparison), style="bold")


def facts(comparison: Comparison) -> list[str]:
    """Say what differs before any gradient does: versions, and what was asked for."""
    lines = [f"{name} {a} → {b}" for name, (a, b) in comparison.versions.items()]
    if comparison.settings:
        changed = [f"{name} {a} → {b}" for name, (a, b) in comparison.settings.items()]
        lines.append(
            f"Other samples or bars ({', '.join(changed)}): shares are compared by Fisher's test."
        )
    return lines


def changes_told(comparison: Comparison, kind: Kind) -> Iterator[tuple[str, bool]]:
    """Say what changed in this way, and whether it fails; gradients of one fate share a line."""
    groups: dict[tuple[str, str, str, bool], list[Change]] = {}
    for change in comparison.changes:
        if change.kind is kind:
            adapter, dtype, _ = change.key
            groups.setdefault((adapter, dtype, change.what, change.fails), []).append(change)
    for (adapter, dtype, what, fails), group in groups.items():
        gradients = [change.key[2] for change in group if change.key[2]]
        names = ", ".join(gradients[:GRADIENTS_SHOWN])
        if len(gradients) > GRADIENTS_SHOWN:
            names += f" and {len(gradients) - GRADIENTS_SHOWN} more"
        where = " ".join(part for part in (adapter, dtype, names) if part)
        yield f"{where}: {what}" if where else what, fails


def conclusion(comparison: Comparison) -> str:
    """Say in a sentence what all changes amount to."""
    failing = [change for change in comparison.changes if change.fails]
    if not failing:
        return f"Nothing got worse: {comparison.rows:,} rows compared."
    counts = [
        (kind.value, sum(change.kind is kind for change in failing))
        for kind in (Kind.WORSE, Kind.VANISHED, Kind.APPEARED)
    ]
    said = ", ".join(f"{count} {name}" for name, count in counts if count)
    hint = "; accept what vanished with --allow-vanished" if dict(counts)["vanished"] else ""
    return f"Something got worse: {said}; {comparison.rows:,} rows are in both{hint}."
