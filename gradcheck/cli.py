"""The command line: arguments in, tables and an exit status out.

Imports stay inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import io
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from gradcheck.errors import RequestError
from gradcheck.harness.request import DTYPES, TIMEOUT, Request
from gradcheck.options import OPTIONS, number, usable_cores, whole_number

if TYPE_CHECKING:
    from gradcheck.model.model import Model

AGREED, DISAGREED, WRONG_REQUEST, INTERRUPTED = 0, 1, 2, 130
DEFAULT_MODEL = "chain"
MOST_SAMPLES = 2**53
POSITIONAL = frozenset({"model", "file"})


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise RequestError("", f"{message} (see {self.prog} --help)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status.

    0: nothing disagrees; 1: something does, or an adapter failed; 2: the request was wrong, as one
    line on stderr says; 130: interrupted, earlier results whole.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without ∂ still gets the rest
    try:
        options = _parser().parse_args(arguments)
        return int(options.command(options))
    except RequestError as error:
        print("gradcheck:", _one_line(in_words(error)), file=sys.stderr)
        return WRONG_REQUEST
    except KeyboardInterrupt:
        print("gradcheck: interrupted; earlier results are untouched", file=sys.stderr)
        return INTERRUPTED


def in_words(error: RequestError) -> str:
    """Say it with the argument as this command line has it: `--samples`, or `MODEL`."""
    if not error.field:
        return error.text
    name = error.field.upper() if error.field in POSITIONAL else f"--{error.field}"
    return f"{name.replace('_', '-')}: {error.text}"


def _one_line(text: str) -> str:
    """Fold a text; what it has of a terminal's control characters is shown, not obeyed."""
    folded = " ".join(text.split())
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in folded)


def _path(text: str) -> Path:
    """Convert text to a path."""
    if "\0" in text:
        raise argparse.ArgumentTypeError(f"expected a path, got {text!r}")
    return Path(text)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="gradcheck",
        description="Cross-validate a hand-written backward pass against PyTorch and JAX.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    sweep = commands.add_parser("sweep", help="compare gradients on random samples")
    _add_model(sweep)
    _add(sweep, "samples")
    _add_sampling(sweep)
    _add_comparison(sweep)
    _add(sweep, "rows", "referee_limit", "audit", "workers")
    sweep.add_argument(
        "--allow-uninformative",
        action="store_true",
        help="succeed even if too little of a gradient could be judged",
    )
    sweep.add_argument(
        "--search",
        action="store_true",
        help="breed samples that disagree as well: a quarter more, at least 4,096",
    )
    sweep.add_argument(
        "--search-samples",
        dest="search",
        type=whole_number,
        metavar="N",
        help="breed so many in each format",
    )
    sweep.add_argument("--output", type=_path, metavar="FOLDER", help="(results/MODEL)")
    sweep.add_argument(
        "--timeout",
        type=number,
        default=TIMEOUT,
        metavar="SECONDS",
        help="that a call of an adapter may take, with 2 workers or more (%(default)g)",
    )
    sweep.add_argument(
        "--resume", action="store_true", help="go on where a sweep into the same folder was ended"
    )
    sweep.add_argument(
        "--full", type=_path, metavar="FILE.parquet", help="write every comparison here as well"
    )
    sweep.add_argument(
        "--dask", default="", metavar="ADDRESS", help="scheduler of a Dask cluster that judges"
    )
    sweep.set_defaults(command=_sweep, workers=usable_cores(), search=False)

    trace = commands.add_parser("trace", help="every quantity and adjoint at one point")
    _add_model(trace)
    point = trace.add_mutually_exclusive_group()
    point.add_argument(
        "--at",
        type=_numbers(number, "name=number"),
        action="append",
        default=[],
        metavar="x=2.3,…",
        help="values that differ from the model's example",
    )
    point.add_argument(
        "--sample",
        type=whole_number,
        metavar="N",
        help="this sample of a sweep instead (0 if no example)",
    )
    _add_sampling(trace)
    _add_comparison(trace, dtypes=DTYPES[:1])
    trace.set_defaults(command=_trace)

    new = commands.add_parser("new", help="write a starting file for a model of your own")
    new.add_argument("file", type=_path, metavar="FILE.py")
    new.add_argument("--force", action="store_true", help="overwrite the file if it exists")
    new.set_defaults(command=_new)

    adapters = commands.add_parser("adapters", help="which there are, and how to install the rest")
    adapters.set_defaults(command=_adapters)
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        nargs="?",
        default=DEFAULT_MODEL,
        metavar="MODEL",
        help="a built-in name, or path/to/file.py[:NAME] (%(default)s)",
    )
    parser.add_argument(
        "--option",
        action="append",
        type=_numbers(whole_number, "name=whole number"),
        default=[],
        metavar="name=N,…",
        help="sizes of a model that a function makes, such as network",
    )


def _add(parser: argparse.ArgumentParser, *settings: str) -> None:
    for option in map(OPTIONS.__getitem__, settings):
        parser.add_argument(
            f"--{option.name}",
            type=option.convert,
            default=option.default,
            metavar=option.metavar,
            help=option.help,
        )


def _add_sampling(parser: argparse.ArgumentParser) -> None:
    _add(parser, "seed", "scale", "distribution")
    parser.add_argument(
        "--kinks", action="store_true", help="move every sample onto a kink, if there is one"
    )


def _add_comparison(parser: argparse.ArgumentParser, dtypes: tuple[str, ...] = DTYPES) -> None:
    parser.add_argument(
        "--dtypes",
        type=_names,
        default=dtypes,
        metavar="NAME,…",
        help=f"floating-point formats ({','.join(dtypes)})",
    )
    parser.add_argument(
        "--adapters", type=_names, metavar="NAME,…", help="(all that are installed)"
    )
    _add(parser, "ulps", "bars")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _numbers(
    convert: Callable[[str], int | float], expected: str
) -> Callable[[str], dict[str, int | float]]:
    """Make a parser of `name=number,…`; a name may be that of an element, `W[0,1]`."""

    def parse(text: str) -> dict[str, int | float]:
        numbers = {}
        for part in re.split(r",(?![^\[]*\])", text):
            name, _, value = part.partition("=")
            try:
                if not name.strip():
                    raise argparse.ArgumentTypeError
                numbers[name.strip()] = convert(value)
            except argparse.ArgumentTypeError:
                raise argparse.ArgumentTypeError(
                    f"expected {expected}, separated by commas, got {part!r}"
                ) from None
        return numbers

    return parse


def _sweep(options: argparse.Namespace) -> int:
    from gradcheck.api import stages
    from gradcheck.harness.execution import Execution
    from gradcheck.harness.full import check_target
    from gradcheck.harness.process import share_cores
    from gradcheck.reports.files import check_folder, write_report
    from gradcheck.reports.terminal import print_findings, print_verdicts, progress_bar

    request, model = _request(options), _model(options)
    folder = options.output or Path("results") / model.name
    check_folder(folder)
    if options.full is not None:
        if options.dask:
            raise RequestError("full", "is written on one machine; leave out --dask")
        check_target(options.full)
    folder.mkdir(parents=True, exist_ok=True)
    share_cores()
    _note_broken(request)
    told: list[Callable[[float], None]] = []
    execution = Execution(
        options.model,
        _merged(options.option),
        options.timeout,
        options.dask,
        folder / ".checkpoint",
        options.resume,
        options.full,
        _note,
    )
    reports = stages(model, request, lambda fraction: told[-1](fraction), execution=execution)
    with progress_bar() as progress:
        told.append(progress)
        first = next(reports)
    print_verdicts(first)
    with progress_bar("settling") as progress:
        told.append(progress)
        report = next(reports)
    print_findings(report, write_report(report, folder), _source(options))
    if execution.checkpoint is not None:
        execution.checkpoint.unlink(missing_ok=True)
    return AGREED if report.agrees else DISAGREED


def _note(text: str) -> None:
    print(f"gradcheck: {_one_line(text)}", file=sys.stderr)


def _request(options: argparse.Namespace) -> Request:
    given = vars(options)
    return Request(**{name: given[name] for name in vars(Request()) if name in given})


def _source(options: argparse.Namespace) -> str:
    """Name the model as on this command line."""
    sizes = ",".join(f"{name}={size}" for name, size in _merged(options.option).items())
    return f"{shlex.quote(options.model)}{sizes and f' --option {sizes}'}"


def _merged(given: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join what was given by the same option several times."""
    return {name: value for part in given for name, value in part.items()}


def _model(options: argparse.Namespace) -> Model:
    from gradcheck.model.loading import load_model

    return load_model(options.model, _merged(options.option))


def _trace(options: argparse.Namespace) -> int:
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
        raise RequestError("sample", f"expected 0 to 2**53 - 1, got {sample}")
    _note_broken(request)
    agrees = True
    for dtype in request.dtypes:
        one = replace(request, dtypes=(dtype,))
        with progress_bar("tracing") as progress:
            if sample is None:
                trace = trace_point(model, {**model.example, **_merged(options.at)}, one, progress)
            else:
                trace = trace_sample(model, one, sample, progress)
        print_trace(trace, model.name)
        agrees = agrees and trace.agrees
    return AGREED if agrees else DISAGREED


def _new(options: argparse.Namespace) -> int:
    from gradcheck.template import write_starting_file

    print(write_starting_file(options.file, options.force))
    return AGREED


def _note_broken(request: Request) -> None:
    """Say which adapters were left out, if they were not asked for."""
    from gradcheck.adapters import broken_adapters

    for name, problem in broken_adapters().items():
        if request.adapters is None:
            print(f"gradcheck: left out: {name}, which is broken: {problem}", file=sys.stderr)


def _adapters(options: argparse.Namespace) -> int:
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
