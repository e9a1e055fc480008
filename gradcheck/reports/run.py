"""The facts of a run, and whether they amount to agreement."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradcheck.adapters import missing_adapters
from gradcheck.diagnosis.findings import Diagnosis
from gradcheck.harness.facts import processor
from gradcheck.harness.outcome import Outcome
from gradcheck.harness.request import Request
from gradcheck.judge.coverage import LEAST_JUDGED, find_shortfalls, is_evidence
from gradcheck.judge.verdict import LABELS
from gradcheck.model.model import Model
from gradcheck.numbers.stochastic import ALPHA, runs_in
from gradcheck.truth.confidence import LEVEL
from gradcheck.truth.referee import Rulings

if TYPE_CHECKING:
    import pandas as pd

DEFECT = "defect"
"""What a disagreement is called in which both parties are within their bars of the truth."""
FAILS = ("disagree", "error")
"""Verdicts on a situation of the calling contract that are no agreement."""
COUNTED = ("samples", *LABELS, DEFECT, "known")
"""Columns of a summary whose sums are facts of the run."""
NOTHING_KNOWN: Mapping[str, Any] = {"file": "", "excused": {}, "entries": []}
PACKAGES = ("gradcheck", "numpy", "pandas", "torch", "jax", "jaxlib", "python-flint")


def find_reasons(run: Mapping[str, Any]) -> list[str]:
    """Say why a run is no agreement, each reason in a few words; empty if it is one."""
    return list(reasons_by_kind(run).values())


def reasons_by_kind(run: Mapping[str, Any]) -> dict[str, str]:
    """Say why a run is no agreement, by what kind of reason it is."""
    known = run.get("known", NOTHING_KNOWN)  # folders written earlier have none
    excused = known["excused"]
    counts = {**run["counts"]}
    for verdict in ("disagree", "nan"):
        counts[verdict] -= excused.get(verdict, 0)
    undisputed = run["audit"]["undisputed"] - excused.get("undisputed", 0)
    broken = [point for point in run["contract"] if point["verdict"] in FAILS]
    failing = run["audit"]["recorded"] and not run["audit"]["refuted"]
    failing = failing and run["audit"]["unexplained"]
    audit = run["audit"]  # of a function's own formula nothing else tells whether it is right
    unproved = audit.get("own") and counts["agree"] and not audit["refuted"]
    unproved = unproved and not (audit["identities"] or audit["proved"])
    searched = run["search"]["disagreements"] - excused.get("search", 0)
    stale = "; ".join(one["entry"] for one in known["entries"] if one["state"] == "stale")
    short = list(dict.fromkeys(short["gradient"] for short in run["judged"]["short"]))
    strict = not run["request"]["allow_uninformative"]
    failed = f"{', '.join(run['errors'][:3])}{' and others' * (len(run['errors']) > 3)} failed"
    reasons = {
        "disagree": (counts["disagree"], f"{counts['disagree']:,} comparisons disagree"),
        "nan": (counts["nan"], f"{counts['nan']:,} values are not a number"),
        "error": (counts["error"], failed),
        "misstated": (run["misstated"], "the definition and the forward pass differ"),
        "expressions": (
            run["expressions"],
            "an expression differs from the definition, or from itself",
        ),
        "undisputed": (undisputed, f"{undisputed:,} gradients are wrong that nobody disputes"),
        "unexplained": (
            failing,
            f"on {failing:,} samples the gradients are not those of the function",
        ),
        "unproved": (strict and unproved, "no gradient was held against the truth"),
        "defect": (counts[DEFECT], f"{counts[DEFECT]:,} bounds were too narrow"),
        "failed": (run["failed"], f"the {' and the '.join(run['failed'])} failed"),
        "search": (searched, f"the search found {searched:,} disagreements"),
        "contract": (broken, f"{len(broken)} points of the calling contract fail"),
        "stale": (stale, f"what is known occurs no longer: {known['file']}, {stale}"),
        "short": (strict and short, f"too little was judged of {', '.join(short)}"),
        "unjudged": (strict and not run["judged"]["adapters"], "no adapter is held to the bound"),
    }
    return {kind: reason for kind, (holds, reason) in reasons.items() if holds}


def share_sentence(run: Mapping[str, Any]) -> str:
    """Say what the samples show of all that can be judged, if something was."""
    share = run["judged"]["disagree_share_below"]
    if not share:
        return ""
    other = "other " if run["counts"].get("known") else ""
    return (
        f"Of each {other}gradient, with {LEVEL:.0%} confidence, fewer than {share:.2g} of the "
        "samples that can be judged disagree."
    )


def audit_sentence(run: Mapping[str, Any]) -> str:
    """Say what the audit shows of all samples, if nothing was wrong on any of its own."""
    audit = run["audit"]
    if not audit["wrong_share_below"]:
        return ""
    return (
        f"In a random direction the derivative is that of the formulas on all "
        f"{audit['identities']} samples: with {audit['confidence']:.0%} confidence they are "
        f"wrong on fewer than {audit['wrong_share_below']:.2g} of all."
    )


def run_facts(
    model: Model,
    request: Request,
    outcome: Outcome,
    rulings: Rulings,
    diagnosis: Diagnosis,
    summary: pd.DataFrame,
    failed: Mapping[str, str],
) -> dict[str, Any]:
    """Gather what `run.json` holds."""
    settings = {name: value for name, value in vars(request).items() if name != "workers"}
    judged = [key for key, tally in outcome.tallies.items() if is_evidence(key, tally)]
    seconds = {**outcome.seconds, **rulings.seconds}
    audit = rulings.audit.facts
    shortfalls = find_shortfalls(outcome.tallies, outcome.undefined)
    return {
        "request": {"model": model.name, **settings, "adapters": list(summary["adapter"].unique())},
        "counts": {name: int(summary[name].sum()) for name in COUNTED},
        "bars": {
            "ball": int(summary["samples"].where(summary["bar"] != "", 0).sum())
            - int(summary["stochastic"].sum()),
            "stochastic": int(summary["stochastic"].sum()),
            "alpha": ALPHA,
            "runs": max(runs_in(request.rounding(dtype)) for dtype in request.dtypes),
        },
        "recipe": {dtype: _recipe(model, request, dtype) for dtype in request.dtypes},
        "missing": missing_adapters() if request.adapters is None else {},
        "known": NOTHING_KNOWN,
        "misstated": dict(outcome.misstated),
        "unchecked": outcome.unchecked,
        "expressions": dict(outcome.expressions),
        "undefined": dict(outcome.undefined),
        "errors": list(summary.loc[summary["error"] > 0, "adapter"].unique()),
        "failed": dict(failed),
        "judged": {
            "least": LEAST_JUDGED,
            "adapters": len({key[0] for key in judged}),
            "disagree_share_below": float(
                summary.loc[summary["adapter"].isin({key[0] for key in judged})][
                    "disagree_share_below"
                ].max()
            )
            if judged
            else None,
            "short": [asdict(short) for short in shortfalls],
        },
        "referee": rulings.facts,
        "audit": {
            **audit,
            "undisputed": 0 if model.own else audit["refuted"],
            "recorded": model.recorded,
            "own": bool(model.own),
        },
        "diagnosis": {"dtype": diagnosis.dtype, "left": diagnosis.left},
        "versions": versions(),
        "machine": {**machine(), "workers": request.workers},
        "seconds": {stage: round(spent, 3) for stage, spent in seconds.items()},
    }


def _recipe(model: Model, request: Request, dtype: str) -> dict[str, Any]:
    """Say what an honest evaluation in a format may do."""
    rounding = request.rounding(dtype)
    return {
        **asdict(rounding.recipe),
        "storage": dtype,
        "compute": rounding.working.dtype.name,
        "casts": list(model.casts(dtype)),
    }


def versions() -> dict[str, str]:
    """Return the versions of what computes."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def machine() -> dict[str, str]:
    """Return what decides which code libraries run."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "instructions": processor()["instructions"],
    }


def _cpu() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
