"""What each command does. Imports stay inside, so that `--help` answers at once."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from gradcheck.errors import RequestError, UnfinishedError, echoed, one_line, quoted, told
from gradcheck.harness.request import MOST_SAMPLES, Request

if TYPE_CHECKING:
    import argparse

    from gradcheck.harness.pool import Pool
    from gradcheck.history.known import Known
    from gradcheck.model.model import Model

AGREED, DISAGREED = 0, 1
DRAWING = ("jinja2", "markupsafe", "matplotlib")
"""Packages that a page takes, of the extra `report`."""
INSTALL_DRAWING = "python -m pip install 'gradcheck[report]'"
LONGEST_TIMEOUT = 1e6
"""Seconds: what a system waits is counted in milliseconds of 31 bits."""


def sweep(options: argparse.Namespace) -> int:
    """Compare gradients on random samples; write the tables."""
    from gradcheck.harness.pool import Pool
    from gradcheck.harness.process import share_cores
    from gradcheck.history.known import read_known
    from gradcheck.model.beside import located

    request = _request(options)
    _check_places(options)
    known, place = read_known(options.known), located(options.model)
    share_cores()
    with Pool(request.workers, options.timeout) as pool:
        if request.workers > 1 and not options.dask:
            pool.hire(len(request.dtypes))  # they import what they need; so does this process
        return _sweep(options, request, place, pool, known)


def _sweep(
    options: argparse.Namespace, request: Request, place: str, pool: Pool, known: Known
) -> int:
    from gradcheck.api import stages
    from gradcheck.harness.execution import Execution
    from gradcheck.reports.files import as_json, contents_of
    from gradcheck.reports.folder import FACTS, OutputFolder
    from gradcheck.reports.markdown import append_summary, sweep_summary
    from gradcheck.reports.terminal import print_findings, print_verdicts, progress_bar
    from gradcheck.stopwatch import since_start

    model = _model(options)
    with OutputFolder(options.output or Path("results") / model.name) as folder:
        _note_broken(request, model)
        listeners: list[Callable[[float], None]] = []
        notes: list[str] = []
        execution = Execution(
            place,
            _merged(options.option),
            options.timeout,
            pool,
            options.dask,
            folder.checkpoint,
            options.resume,
            options.full,
            notes.append,
            options.model,
        )

        def tell(fraction: float) -> None:
            while notes:  # not before: the request may be refused until something is done
                print(f"gradcheck: {one_line(notes.pop(0))}", file=sys.stderr)
            listeners[-1](fraction)

        if options.report and request.workers > 1:
            Thread(target=_import_drawing).start()  # while other processes judge
        reports = stages(
            model, request, tell, execution=execution, pictured=options.report, known=known
        )
        with progress_bar() as progress:
            listeners.append(progress)
            first = next(reports)
            tell(1.0)
        print_verdicts(first)
        print(end="", flush=True)  # what comes may be interrupted
        with progress_bar("settling") as progress:
            listeners.append(progress)
            report = next(reports)
        report = replace(report, run={**report.run, "named": _source(options)})
        contents = contents_of(report)
        page = _page(contents, folder.path) if options.report else {}
        seconds = {**report.run["seconds"], "whole": round(since_start(), 3)}
        facts = {FACTS: as_json({**report.run, "seconds": seconds})}
        try:
            files = folder.write({**contents, **facts, **page})
        except UnfinishedError:
            print_findings(report, [], _source(options))  # all that there will be
            raise
        for forget in execution.afterwards:
            forget()
        print_findings(report, files, _source(options))
    append_summary(sweep_summary(report))
    return AGREED if report.agrees else DISAGREED


def _page(contents: Mapping[str, str], folder: Path) -> Mapping[str, str]:
    """Draw what a sweep found; why there is no page is told, and costs no more than the page."""
    try:
        return _drawn(contents, folder)
    except RequestError as error:
        why = error.text
    except Exception as error:  # a defect of the drawing; the tables are worth more
        why = told(error)
    print(f"gradcheck: no report.html: {one_line(why)}", file=sys.stderr)
    return {}


def _drawn(contents: Mapping[str, str], folder: Path) -> Mapping[str, str]:
    """Draw the files of a folder as a page.

    Raises
    ------
    RequestError
        If what it takes is not installed.
    """
    # What it says of its cache, and of fonts, is no news to whoever sweeps.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        from gradcheck.page.rendering import rendered
    except ModuleNotFoundError as error:
        if error.name not in DRAWING:
            raise
        raise RequestError(
            "", f"{error.name} is not installed; install it with: {INSTALL_DRAWING}"
        ) from error
    return rendered(contents, folder)


def _import_drawing() -> None:
    """Import what a page takes; if that cannot be done, who draws it will say so."""
    with suppress(Exception):
        import gradcheck.page.rendering  # noqa: F401


def report(options: argparse.Namespace) -> int:
    """Draw a folder of results as a page, from its files alone."""
    from gradcheck.page.reading import read_files
    from gradcheck.reports.exchange import LockedError, lock
    from gradcheck.reports.files import write_files

    folder = options.folder
    read_files(folder)  # whether there are any, before it is locked
    try:
        descriptor = lock(folder)
    except LockedError:
        raise RequestError("folder", f"a sweep is writing to {folder}; wait for it") from None
    try:
        page = _drawn(read_files(folder), folder)
        written = write_files({folder / name: content for name, content in page.items()})
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        if isinstance(error, RequestError):
            raise
        raise RequestError(
            "folder",
            f"{folder} is damaged, or of another version ({told(error)}); sweep again",
        ) from error
    except OSError as error:
        raise UnfinishedError(f"{folder} cannot be written ({error.strerror})") from error
    finally:
        if descriptor != -1:
            os.close(descriptor)
    print(f"Written to {folder}: {', '.join(path.name for path in written)}")
    return AGREED


def _check_places(options: argparse.Namespace) -> None:
    """Find out before any work where a sweep cannot write or be done."""
    from gradcheck.harness.full import check_target

    if not 0 < options.timeout <= LONGEST_TIMEOUT:
        raise RequestError(
            "timeout",
            f"expected a number above 0, at most {LONGEST_TIMEOUT:g}, got {options.timeout:g}",
        )
    if options.full is not None:
        if options.dask:
            raise RequestError("full", "is written on one machine; leave out --dask")
        options.full = options.full.absolute()  # a model's file may change the folder
        check_target(options.full)


def _request(options: argparse.Namespace) -> Request:
    given = vars(options)
    return Request(**{name: given[name] for name in vars(Request()) if name in given})


def _source(options: argparse.Namespace) -> str:
    """Name the model as on this command line."""
    sizes = ",".join(f"{name}={size}" for name, size in _merged(options.option).items())
    return f"{quoted(options.model)}{sizes and f' --option {sizes}'}"


def _merged(given: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join what was given by the same option several times."""
    return {name: value for part in given for name, value in part.items()}


def _model(options: argparse.Namespace) -> Model:
    from gradcheck.model.loading import load_model

    return load_model(options.model, _merged(options.option))


def trace(options: argparse.Namespace) -> int:
    """Print every quantity and adjoint at one point."""
    from gradcheck.adapters import choose_adapters
    from gradcheck.reports.terminal import progress_bar
    from gradcheck.reports.trace import print_trace
    from gradcheck.trace import trace_point, trace_sample

    request, model = _request(options), _model(options)
    if model.recorded:
        raise RequestError(
            "model", f"{model.name} is a recorded function, which has no named quantities; sweep it"
        )
    sample = options.sample
    if sample is None and not (options.at or model.example):
        sample = 0
    if sample is not None and not 0 <= sample < MOST_SAMPLES:
        raise RequestError("sample", f"expected 0 to 2**53 - 1, got {echoed(sample)}")
    _note_broken(request, model)
    chosen = choose_adapters(request.adapters, model, request.dtypes)
    agrees = True
    for dtype in request.dtypes:
        working = tuple(name for name, one in chosen.items() if one.works_in(dtype))
        one = replace(request, dtypes=(dtype,), adapters=working)
        with progress_bar("tracing") as progress:
            if sample is None:
                trace = trace_point(model, {**model.example, **_merged(options.at)}, one, progress)
            else:
                trace = trace_sample(model, one, sample, progress)
        print_trace(trace, model.name)
        agrees = agrees and trace.agrees
    return AGREED if agrees else DISAGREED


def compare(options: argparse.Namespace) -> int:
    """Say what got worse between two runs."""
    from gradcheck.history.compare import compare as compare_results
    from gradcheck.history.results import Results
    from gradcheck.reports.comparison import print_comparison
    from gradcheck.reports.markdown import append_summary, comparison_summary

    old, new = Results(options.old, "old"), Results(options.new, "new")
    found = compare_results(old, new, options.allow_vanished)
    print_comparison(found, str(options.old), str(options.new))
    append_summary(comparison_summary(found))
    return DISAGREED if found.worse else AGREED


def replay(options: argparse.Namespace) -> int:
    """Evaluate a sample of an earlier run again."""
    from gradcheck.harness.process import share_cores

    share_cores()  # before a framework is imported, as a sweep does
    from gradcheck.history.replay import changed_since
    from gradcheck.history.replay import replay as replay_sample
    from gradcheck.history.results import Results
    from gradcheck.history.sample import find_subject
    from gradcheck.reports.replay import print_replay, print_subject
    from gradcheck.reports.terminal import progress_bar

    results = Results(options.folder, "folder")
    subject = find_subject(
        results,
        options.number,
        model=options.model,
        row_alone=options.row,
        adapters=options.adapters,
        dtypes=options.dtypes,
    )
    changed = changed_since(results, subject)
    status = AGREED
    for dtype in subject.request.dtypes:
        with progress_bar("replaying") as progress:
            found = replay_sample(subject, dtype, progress)
        if dtype == subject.request.dtypes[0]:  # not before: it might have been refused
            print_subject(subject, str(options.folder), changed)
        print_replay(found, subject)
        if not found.agrees or found.differing or (found.moved and not changed):
            status = DISAGREED
    return status


def new(options: argparse.Namespace) -> int:
    """Write a starting file."""
    from gradcheck.template import write_starting_file

    print(write_starting_file(options.file, options.force))
    return AGREED


def _note_broken(request: Request, model: Model) -> None:
    """Say which adapters were left out, if they were not asked for."""
    from gradcheck.adapters import unusable_adapters

    if request.adapters is None and not model.adapters:
        for name, problem in unusable_adapters(model).items():
            note = one_line(f"{name}, which is broken: {problem}")
            print(f"gradcheck: left out: {note}", file=sys.stderr)


def adapters(options: argparse.Namespace) -> int:
    """List the adapters, and how to install those that are missing."""
    from gradcheck.adapters import all_adapters, broken_adapters
    from gradcheck.reports.terminal import print_adapters

    print_adapters(
        [
            {
                "adapter": name,
                "installed": f"{adapter.framework or 'numpy'} {adapter.version}"
                if adapter.installed
                else f"no; {adapter.install_command}",
                "by default": "yes" if adapter.by_default else "no",
                "judged": "yes" if adapter.judged else "no",
                "how": adapter.summary,
            }
            for name, adapter in all_adapters().items()
        ]
        + [
            {"adapter": name, "installed": "broken", "by default": "no", "judged": "", "how": why}
            for name, why in broken_adapters().items()
        ]
    )
    return AGREED
