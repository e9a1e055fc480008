"""The sweep as a function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from gradcheck.diagnosis.findings import Diagnosis
from gradcheck.errors import RequestError, guarded
from gradcheck.harness.block import describe
from gradcheck.harness.execution import HERE, Execution
from gradcheck.harness.outcome import Outcome
from gradcheck.harness.request import Request
from gradcheck.harness.samples import block_size
from gradcheck.harness.search import NO_SEARCH, search
from gradcheck.harness.sweep import run_sweep
from gradcheck.history.known import NOTHING_KNOWN, Known, read_known
from gradcheck.judge.verdict import Verdict
from gradcheck.model.beside import located
from gradcheck.model.loading import load_model
from gradcheck.model.model import Model
from gradcheck.reports.progress import Progress, shown
from gradcheck.reports.searched import Findings
from gradcheck.stopwatch import Stopwatch
from gradcheck.suggestions import nearest
from gradcheck.truth.evidence import Evidence, evidence
from gradcheck.truth.referee import Rulings, referee
from gradcheck.truth.searched import disputed, rule_on_findings
from gradcheck.truth.settlement import settle

if TYPE_CHECKING:
    from gradcheck.capture.case import Case
    from gradcheck.capture.model import CapturedModel
    from gradcheck.capture.situations import Point
    from gradcheck.quantities import Row
    from gradcheck.reports.tables import Report


def sweep(
    model: Model | Case | str = "chain",
    *,
    progress: Progress = False,
    known: Path | str | None = None,
    **settings: Any,
) -> Report:
    """Compare a model's hand-written gradients with those of every adapter on random samples.

    Disagreements are refereed, and a hand-written pass that is to blame is diagnosed.

    Parameters
    ----------
    model
        A `Model`, a `Case`, a built-in name, or `path/to/file.py[:NAME]`.
    progress
        Whether to show a bar, in a terminal or a notebook; or what is told the fraction done.
    known
        A file of known disagreements, which are told and fail nothing.
    **settings
        The fields of `Request`.

    Raises
    ------
    RequestError
        If the request cannot be met; before any work.

    Examples
    --------
    >>> report = gradcheck.sweep("chain-misprint", samples=1000, adapters=["torch"])
    >>> report.agrees
    False
    """
    names = [field.name for field in fields(Request)]
    for name in settings:
        if name not in names:
            raise RequestError("", f"there is no setting {name!r}{nearest(name, names)}")
    request, listed = Request(**settings), read_known(known)
    execution = Execution(located(model), given=model) if isinstance(model, str) else HERE
    if isinstance(model, str):
        model = load_model(model)
    if not isinstance(model, Model):
        model = model.model(request.seed)
    with shown(progress, "sweeping") as told:
        *_, report = stages(model, request, told, execution=execution, known=listed)
    return report


def stages(
    model: Model,
    request: Request,
    progress: Callable[[float], None],
    block: int | None = None,
    execution: Execution = HERE,
    pictured: bool = False,
    known: Known = NOTHING_KNOWN,
) -> Iterator[Report]:
    """Yield the report twice: with the verdicts alone, and when all is settled and explained.

    Parameters
    ----------
    progress
        Is told the fraction done of each stage.
    block
        How many samples are evaluated at once, unless `block_size` shall choose.
    execution
        Where the sweep is done.
    pictured
        Whether every quantity of the computation is looked at, for a picture.
    known
        Disagreements that fail nothing.

    Raises
    ------
    RequestError
        If the request cannot be met; before any work.
    """
    known, watch = known.of(model), Stopwatch()
    with watch.timed("sweep"):
        outcome = run_sweep(model, request, progress, block, execution)
    origin = execution.origin(block or block_size(model, request))
    from gradcheck.history.excuse import excuse
    from gradcheck.reports.tables import tabulate  # pandas takes a quarter of a second

    yield tabulate(model, request, outcome, origin=origin)
    searched, ruled, rulings, failed = NO_SEARCH, Rulings(), Rulings(), dict[str, str]()
    try:
        with guarded(), watch.timed("search"):
            searched = search(model, request, outcome, progress)
    except Exception as error:  # what was found before is not lost
        failed["search"] = describe(error, model)
    if model.recorded and not any(
        tally.counts[: Verdict.ERROR].sum() for tally in outcome.tallies.values()
    ):
        yield tabulate(
            model, request, outcome, origin=origin
        )  # what cannot be run cannot be settled
        return
    diagnosis = Diagnosis()
    stage = "referee"
    try:
        with guarded():
            rulings = referee(model, request, outcome, progress)
            ruled = rule_on_findings(model, request, searched, progress)
            stage = "diagnosis"
            if rulings.blamed or (outcome.misstated and not model.recorded):
                with watch.timed(stage):
                    clues = evidence(request, outcome, rulings)
                    diagnosis = explained(model, clues, rulings, progress)
            elif ruled.blamed:
                with watch.timed(stage):
                    clues = evidence(request, searched.beside(outcome), ruled)
                    diagnosis = explained(model, clues, ruled, progress)
    except Exception as error:  # a model that raises late; what was found before is not lost
        failed[stage] = describe(error, model)
    with watch.timed("settlement"):
        outcome, rulings = settle(model, request, outcome, rulings)
    contract: Sequence[Point] = ()
    if model.recorded:
        with watch.timed("contract"):
            contract = examined(cast("CapturedModel", model), request, outcome)
    outcome = replace(outcome, seconds={**outcome.seconds, **watch.seconds})
    found = Findings(searched, disputed(searched, ruled), ruled)
    looks = looked_at(model, request, outcome) if pictured else ()
    report = tabulate(
        model, request, outcome, rulings, diagnosis, failed, contract, found, looks, origin
    )
    yield excuse(report, known)


def looked_at(model: Model, request: Request, outcome: Outcome) -> Sequence[Row]:
    """Look at every quantity on a few samples, as far as that can be done."""
    from gradcheck.quantities import quantity_rows

    try:
        with guarded():
            return quantity_rows(model, request, outcome)
    except Exception:  # of passes that do not run a verdict tells; there is no picture of them
        return ()


def explained(
    model: Model, clues: Evidence, rulings: Rulings, progress: Callable[[float], None]
) -> Diagnosis:
    """Find the wrong lines. What it takes is imported here: most sweeps need none of it."""
    if model.recorded:
        from gradcheck.capture.diagnosis import diagnose_recorded

        recorded = cast("CapturedModel", model)
        with np.errstate(all="ignore"):  # what is infinite is nobody's surprise
            return diagnose_recorded(recorded, clues.values, rulings.blamed, clues.dtype)
    from gradcheck.diagnosis.diagnosis import diagnose

    return diagnose(
        model,
        clues.values,
        clues.disputed,
        clues.samples,
        progress=progress,
        dtype=clues.dtype,
    )


def examined(model: CapturedModel, request: Request, outcome: Outcome) -> Sequence[Point]:
    """Call a function in all situations that its callers may bring about, on sample 0."""
    from gradcheck.capture.bars import CallBars
    from gradcheck.capture.contract import compare_outputs, examine
    from gradcheck.capture.model import cotangents_of

    dtype = request.dtypes[0]
    sample = outcome.samples[dtype].select([0]).values
    arrays = {name: array[0].astype(dtype) for name, array in sample.items()}
    given = {name: arrays[name] for name in model.parameters}
    bars_of = CallBars(model, request.rounding(dtype), given)
    cotangents = cotangents_of(arrays)
    with np.errstate(all="ignore"):
        return (
            *compare_outputs(model.definition, model.parties, given, cotangents, bars_of),
            *examine(model.subject, given, cotangents, bars_of),
        )
