"""Tallies as pandas tables, and the facts of the run beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from gradcheck.diagnosis.findings import Diagnosis, Finding
from gradcheck.harness.outcome import Outcome
from gradcheck.harness.request import Request
from gradcheck.judge.tally import Case, Key, Tally
from gradcheck.judge.verdict import LABELS, Verdict
from gradcheck.model.model import Model, label
from gradcheck.reports.plotted import histogram_table, points_table, quantity_table
from gradcheck.reports.run import DEFECT, find_reasons, run_facts
from gradcheck.reports.searched import Findings, search_facts
from gradcheck.truth.audit import REFEREE
from gradcheck.truth.confidence import share_below
from gradcheck.truth.referee import NEITHER, REFERENCE, Ruling, Rulings

CASE_COLUMNS = (
    "sample", "adapter", "dtype", "gradient", "verdict",
    "value", "reference", "bound", "ulps", "culprit", "truth",
)  # fmt: skip
FIRST_LABELS = ("agree", "disagree", "uninformative", "overflow", "kink", "error")
"""Verdicts whose counts come first in a summary; those that were added later come last."""
LAST_CASE_COLUMNS = ("element", "message", "bar", "low", "high")
MOST_LEAVES = 1000
"""Numbers in a sample up to which they are tabulated; more are drawn anew from seed and number."""
DIAGNOSIS_COLUMNS = [
    "pass", "quantity", "file", "line", "source", "explanation", "wrong", "samples",
    "counterexample", "sample",
]  # fmt: skip
CONTRACT_COLUMNS = ["situation", "verdict", "message"]
NO_RULING = Ruling("", "")
NO_RULINGS, NO_DIAGNOSIS, NO_FINDINGS = Rulings(), Diagnosis(), Findings()


@dataclass(frozen=True)
class Report:
    """What a sweep found, as tables.

    Parameters
    ----------
    overview
        One row per adapter and dtype.
    summary
        One row per adapter, dtype and gradient: the columns of `summary.csv`.
    discrepancies
        The disagreements and errors kept, and each gradient's worst agreement: the columns of
        `discrepancies.csv`.
    diagnosis
        One row per wrong line, the first wrong one first: the columns of `diagnosis.csv`.
    run
        The request, versions, counts and times: what `run.json` holds.
    contract
        Of a function of PyTorch or JAX one row per situation in which it was called: the columns
        of `contract.csv`.
    search
        What a search found, as `discrepancies`, and the goal that led there: the columns of
        `search.csv`.
    histogram, points, quantities
        What the pictures show: the columns of the files of these names.
    """

    overview: pd.DataFrame
    summary: pd.DataFrame
    discrepancies: pd.DataFrame
    diagnosis: pd.DataFrame
    run: Mapping[str, Any]
    contract: pd.DataFrame = field(default_factory=pd.DataFrame)
    search: pd.DataFrame = field(default_factory=pd.DataFrame)
    histogram: pd.DataFrame = field(default_factory=pd.DataFrame)
    points: pd.DataFrame = field(default_factory=pd.DataFrame)
    quantities: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def agrees(self) -> bool:
        """Whether enough was judged, nothing disagrees, nothing failed, and all say the same."""
        return not find_reasons(self.run)

    def __str__(self) -> str:
        """Write what the command line prints of it."""
        from gradcheck.reports.terminal import as_text

        return as_text(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Show itself in IPython's terminal, as printed."""
        printer.text(str(self))

    def _repr_html_(self) -> str:
        """Show itself in a notebook."""
        from gradcheck.reports.notebook import report_as_html

        return report_as_html(self)


def tabulate(
    model: Model,
    request: Request,
    outcome: Outcome,
    rulings: Rulings = NO_RULINGS,
    diagnosis: Diagnosis = NO_DIAGNOSIS,
    failed: Mapping[str, str] = MappingProxyType({}),
    contract: Sequence[Any] = (),
    findings: Findings = NO_FINDINGS,
    quantities: Sequence[Any] = (),
    origin: Mapping[str, Any] = MappingProxyType({}),
) -> Report:
    """Turn what was found into tables.

    `failed` holds what a later stage raised, by its name; `contract` what became of a function in
    each situation; `findings` are those of a search; `origin` says where the model is found again.
    """
    searched = _searched(model, request, findings)
    summary = pd.DataFrame(
        [
            {"adapter": key[0], "dtype": key[1], "gradient": key[2]}
            | _with_defects(_statistics(tally), [key], rulings)
            | {"worst_element": _worst_element(model, key, tally)}
            | _later_counts(tally)
            | _shares(tally)
            | {"known": 0}
            for key, tally in outcome.tallies.items()
        ]
    )
    return Report(
        overview=_overview(outcome, rulings),
        summary=summary,
        discrepancies=_cases(model, request, outcome, rulings),
        diagnosis=_diagnosis(model, diagnosis.findings),
        run=run_facts(model, request, outcome, rulings, diagnosis, summary, failed)
        | {"source": dict(origin)}
        | {"contract": [point._asdict() for point in contract]}
        | {"search": search_facts(findings, searched)},
        contract=pd.DataFrame(contract, columns=CONTRACT_COLUMNS),
        search=searched,
        histogram=histogram_table(outcome.tallies),
        points=points_table(model, outcome.tallies),
        quantities=quantity_table(quantities),
    )


def _searched(model: Model, request: Request, findings: Findings) -> pd.DataFrame:
    """Tabulate what a search found, as what the random samples showed."""
    table = _cases(model, request, findings.disputed, findings.rulings)
    goals = [
        findings.search.goals.get((dtype, sample), "")
        for dtype, sample in zip(table["dtype"], table["sample"], strict=True)
    ]
    table.insert(0, "goal", pd.Series(goals, dtype=object))
    return table


def _labels(model: Model) -> list[str]:
    """Name every number of a sample; none if there are more than `MOST_LEAVES`."""
    if sum(prod(shape) for shape in model.leaves.values()) > MOST_LEAVES:
        return []
    return [
        label(name, position)
        for name, shape in model.leaves.items()
        for position in np.ndindex(shape)
    ]


def _statistics(tally: Tally) -> dict[str, Any]:
    error = tally.errors[0].message if tally.errors else ""
    counts = dict(zip(LABELS, tally.counts.tolist(), strict=True))
    return {
        "samples": tally.compared,
        **{label: counts[label] for label in FIRST_LABELS},
        "median_ulps": tally.quantile(0.5),
        "p99_ulps": tally.quantile(0.99),
        "max_ulps": tally.max_ulps,
        "max_bound_ratio": tally.max_ratio if tally.judged else np.nan,
        "worst_sample": pd.NA if tally.worst is None else tally.worst.sample,
        "message": error,
        "bar": _bar(tally),
        "stochastic": tally.stochastic,
    }


def _later_counts(tally: Tally) -> dict[str, int]:
    """Count the verdicts that came later: the last columns."""
    counts = dict(zip(LABELS, tally.counts.tolist(), strict=True))
    return {label: counts[label] for label in LABELS if label not in FIRST_LABELS}


def _shares(tally: Tally) -> dict[str, Any]:
    """Say what the samples judged show of all samples; they are independent, elements are not."""
    found, among = tally.disagreeing_samples, tally.judged_samples
    return {
        "judged_samples": among,
        "disagreeing_samples": found,
        "disagree_share_below": share_below(found, among) if tally.judged else np.nan,
    }


def _bar(tally: Tally) -> str:
    """Say which kinds of bar judged."""
    if not tally.judged:
        return ""
    if not tally.stochastic:
        return "ball"
    return "stochastic" if tally.stochastic == tally.compared else "ball+stochastic"


def _worst_element(model: Model, key: Key, tally: Tally) -> str:
    if tally.worst is None:
        return ""
    return label("", map(int, np.unravel_index(tally.worst.element, model.parameters[key[2]])))


def _with_defects(
    statistics: dict[str, Any], keys: Sequence[Key], rulings: Rulings
) -> dict[str, Any]:
    """Count apart the disagreements in which the referee found both parties within their bars."""
    defects = sum(
        ruling.culprit == NEITHER for (key, _), ruling in rulings.by_case.items() if key in keys
    )
    return statistics | {"disagree": statistics["disagree"] - defects, "defect": defects}


def _overview(outcome: Outcome, rulings: Rulings) -> pd.DataFrame:
    groups: dict[tuple[str, str], dict[str, Tally]] = {}
    for (adapter, dtype, gradient), tally in outcome.tallies.items():
        groups.setdefault((adapter, dtype), {})[gradient] = tally
    rows = []
    for (adapter, dtype), tallies in groups.items():
        worst = max(tallies, key=lambda gradient: _severity(tallies[gradient]))
        keys = [(adapter, dtype, gradient) for gradient in tallies]
        whole = reduce(Tally.merge, tallies.values())
        statistics = _with_defects(_statistics(whole), keys, rulings)
        judged = all(tally.judged for tally in tallies.values())
        rows.append(
            {"adapter": adapter, "dtype": dtype, "judged": judged}
            | statistics
            | {"worst_gradient": worst}
            | _later_counts(whole)
        )
    return pd.DataFrame(rows)


def _severity(tally: Tally) -> tuple[float, ...]:
    extent = tally.max_ratio if tally.judged else tally.max_ulps
    failures = tally.counts[[Verdict.ERROR, Verdict.DISAGREE, Verdict.NAN]].sum()
    return float(failures), -1.0 if np.isnan(extent) else extent


def _cases(model: Model, request: Request, outcome: Outcome, rulings: Rulings) -> pd.DataFrame:
    kept: list[tuple[Key, Case]] = []
    for key, tally in outcome.tallies.items():
        kept += [
            (key, case) for case in (*tally.errors, *tally.nans, *tally.disagreements, *tally.kinks)
        ]
        if tally.worst is not None and tally.worst.verdict == Verdict.AGREE.label:
            kept.append((key, tally.worst))
    undisputed = {} if model.own else rulings.audit.refuted
    for (dtype, gradient), cases in undisputed.items():
        kept += [((REFEREE, dtype, gradient), case) for case in cases]
    leaves = _labels(model)
    samples: dict[tuple[str, int], dict[str, float]] = {}
    rows = []
    for key, case in kept:
        adapter, dtype, gradient = key
        if leaves and (dtype, case.sample) not in samples:
            samples[dtype, case.sample] = outcome.samples[dtype].labelled(case.sample)
        ruling = rulings.by_case.get((key, case), NO_RULING)
        if adapter == REFEREE:
            ruling = Ruling(repr(case.value), REFERENCE)
        position = np.unravel_index(case.element, model.parameters[gradient])
        rows.append(
            {
                "sample": case.sample,
                "adapter": adapter,
                "dtype": dtype,
                "gradient": gradient,
                "verdict": DEFECT if ruling.culprit == NEITHER else case.verdict,
                "value": case.value,
                "reference": case.reference,
                "bound": case.bound,
                "ulps": case.ulps,
                "culprit": ruling.culprit,
                "truth": ruling.truth,
                **samples.get((dtype, case.sample), {}),
                "element": label("", map(int, position)),
                "message": case.message or ruling.reason,
                "bar": case.bar if case.verdict else "",
                "low": case.low,
                "high": case.high,
            }
        )
    return pd.DataFrame(rows, columns=[*CASE_COLUMNS, *leaves, *LAST_CASE_COLUMNS])


def _diagnosis(model: Model, findings: Sequence[Finding]) -> pd.DataFrame:
    rows = [
        (
            finding.part,
            finding.quantity,
            _relative(finding.line.file),
            finding.line.number,
            finding.line.source,
            _explanation(finding),
            finding.wrong,
            finding.samples,
            ",".join(
                f"{name}={x:.17g}"
                for name, x in finding.counterexample.items()
                if x or model.example  # without one, what is not given is zero
            ),
            finding.clearest,
        )
        for finding in findings
    ]
    return pd.DataFrame(rows, columns=DIAGNOSIS_COLUMNS)


def _explanation(finding: Finding) -> str:
    """Add the lines in which the fault may be instead, where a value came through a variable."""
    *others, last = ("", *map(str, finding.line.through))
    through = " and ".join(part for part in (", ".join(others[1:]), last) if part)
    lines = "lines" if len(finding.line.through) > 1 else "line"
    came = f"what it writes came through {lines} {through}, and the fault may be there"
    if not through:
        return finding.explanation
    return f"{finding.explanation or 'nothing simple matches what it holds'}; {came}"


def _relative(file: str) -> str:
    """Give a path from the working directory or the package's, if it is below either."""
    path = Path(file)
    for root in (Path.cwd(), Path(__file__).parents[2]):
        if path.is_relative_to(root):
            return str(path.relative_to(root))
    return file
