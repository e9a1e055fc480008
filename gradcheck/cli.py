"""The command line: arguments in, tables and an exit status out."""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from gradcheck import commands
from gradcheck.errors import RequestError, UnfinishedError, is_interrupt, one_line, told
from gradcheck.harness.request import DTYPES, NARROW_DTYPES, TIMEOUT
from gradcheck.options import OPTIONS, number, usable_cores, whole_number

WRONG_REQUEST, UNFINISHED, INTERRUPTED = 2, 3, 130
STATUSES = """\
exit status:
  0    nothing disagrees
  1    something does, or an adapter failed
  2    the request was wrong: one line on stderr names the argument and the mend
  3    the run could not be finished or written, as on a full disk
  130  interrupted; 143 if terminated
"""
DEFAULT_MODEL = "chain"
COMPARING = """\
Compare the results of two sweeps of one model, such as before and after an upgrade. Of the same
samples any disagreement more counts; of others Fisher's exact test judges the shares that disagree,
and of all those that can be judged, with Holm's correction at 0.01 for all rows together."""
COMPARED = """\
exit status:
  0    nothing got worse
  1    something did, or is no longer judged
  2    the request was wrong: one line on stderr names the argument and the mend
"""
REPLAYING = """\
Evaluate a sample of an earlier run again: every quantity and adjoint, and every gradient as the
sweep has it, with its bar and the proof. The sample is drawn from the seed in run.json and compared
with its row in discrepancies.csv; so is every value that the run wrote, bit for bit."""
REPLAYED = """\
exit status:
  0    nothing disagrees in this sample
  1    something does; or the sample is not that of its row; or something is not as the run wrote
       it, though versions, machine and the model's source are the same
  2    the request was wrong: one line on stderr names the argument and the mend
"""
POSITIONAL = frozenset({"model", "file", "old", "new", "folder", "number"})
SHOW_TRACEBACK = "GRADCHECK_TRACEBACK"
"""The variable that, if it is set, has an unexpected error shown in full."""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise RequestError("", f"{message} (see {self.prog} --help)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status.

    0: nothing disagrees; 1: something does, or an adapter failed, and nothing else is 1; 2: the
    request was wrong, as one line on stderr says; 3: the run could not be finished or written, for
    the disk is full, say, or by a defect of this program; 130: interrupted, earlier results whole.

    Raises
    ------
    SystemExit
        With status 0, if help was asked for.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without ∂ still gets the rest
    try:
        options = _parser().parse_args(arguments)
    except RequestError as error:
        return _ended(WRONG_REQUEST, in_words(error))
    try:
        return int(options.command(options))
    except RequestError as error:
        return _ended(WRONG_REQUEST, in_words(error))
    except UnfinishedError as error:
        return _ended(UNFINISHED, str(error), *_notes(error))
    except MemoryError as error:
        return _ended(UNFINISHED, "out of memory", *_notes(error))
    except BaseException as error:
        if is_interrupt(error):
            return _ended(INTERRUPTED, "interrupted", *_notes(error))
        if SHOW_TRACEBACK in os.environ:
            traceback.print_exception(error)
        where = traceback.extract_tb(error.__traceback__)[-1]
        return _ended(
            UNFINISHED,
            f"unexpected {told(error)} ({where.filename}:{where.lineno})",
            f"please report it, with what {SHOW_TRACEBACK}=1 shows",
            *_notes(error),
        )


def _ended(status: int, *said: str) -> int:
    """Say in a line how it ended."""
    print("gradcheck:", one_line("; ".join(said)), file=sys.stderr)
    return status


def _notes(error: BaseException) -> list[str]:
    """Return what has become of earlier results, if the error came from within their folder."""
    return getattr(error, "__notes__", [])


def in_words(error: RequestError) -> str:
    """Say it with the argument as this command line has it: `--samples`, or `MODEL`."""
    if not error.field:
        return error.text
    name = error.field.upper() if error.field in POSITIONAL else f"--{error.field}"
    return f"{name.replace('_', '-')}: {error.text}"


def _path(text: str) -> Path:
    """Convert text to a path."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"expected a path, got {text!r}")
    return Path(text)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="gradcheck",
        description="Cross-validate a hand-written backward pass against PyTorch and JAX.",
        epilog=STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    added = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    sweep = added.add_parser(
        "sweep",
        help="compare gradients on random samples",
        epilog=STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
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
    sweep.add_argument(
        "--known",
        type=_path,
        metavar="FILE.toml",
        help="disagreements that are known: told, but they fail nothing; stale entries do",
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
    sweep.add_argument(
        "--no-report",
        dest="report",
        action="store_false",
        help="write the tables alone, without a page of them",
    )
    sweep.set_defaults(command=commands.sweep, workers=usable_cores(), search=False)

    trace = added.add_parser("trace", help="every quantity and adjoint at one point")
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
    trace.set_defaults(command=commands.trace)

    report = added.add_parser("report", help="draw a folder of results as a page")
    report.add_argument("folder", type=_path, metavar="FOLDER", help="that a sweep wrote")
    report.set_defaults(command=commands.report)
    compare = added.add_parser(
        "compare",
        help="what got worse between two runs",
        description=COMPARING,
        epilog=COMPARED,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    compare.add_argument("old", type=_path, metavar="OLD", help="folder of the earlier results")
    compare.add_argument("new", type=_path, metavar="NEW", help="folder of the later ones")
    compare.add_argument(
        "--allow-vanished",
        action="store_true",
        help="succeed even if what was judged in OLD is not in NEW, as an adapter left out",
    )
    compare.set_defaults(command=commands.compare)

    replay = added.add_parser(
        "replay",
        help="a sample of an earlier run, evaluated again",
        description=REPLAYING,
        epilog=REPLAYED,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    replay.add_argument("folder", type=_path, metavar="FOLDER", help="the run's output folder")
    replay.add_argument("number", type=whole_number, metavar="NUMBER", help="the sample's")
    replay.add_argument("--model", default="", metavar="MODEL", help="(as the run named it)")
    replay.add_argument("--dtypes", type=_names, metavar="NAME,…", help="(those of the run)")
    replay.add_argument("--adapters", type=_names, metavar="NAME,…", help="(those of the run)")
    replay.add_argument(
        "--row",
        action="store_true",
        help="take the numbers from its row alone, as where there is no run.json",
    )
    replay.set_defaults(command=commands.replay)

    new = added.add_parser("new", help="write a starting file for a model of your own")
    new.add_argument("file", type=_path, metavar="FILE.py")
    new.add_argument("--force", action="store_true", help="overwrite the file if it exists")
    new.set_defaults(command=commands.new)

    adapters = added.add_parser("adapters", help="which there are, and how to install the rest")
    adapters.set_defaults(command=commands.adapters)
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
        help=f"floating-point formats, {' and '.join(NARROW_DTYPES)} too ({','.join(dtypes)})",
    )
    parser.add_argument(
        "--adapters", type=_names, metavar="NAME,…", help="(all that are installed)"
    )
    _add(parser, "ulps", "bars", "recipe")


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
