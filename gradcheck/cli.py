"""The command line: arguments in, tables and an exit status out.

Imports stay inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from gradcheck.errors import RequestError
from gradcheck.harness.request import DISTRIBUTIONS, DTYPES, Request

if TYPE_CHECKING:
    from gradcheck.engine.model import Model

AGREED, DISAGREED, WRONG_REQUEST, INTERRUPTED = 0, 1, 2, 130
DEFAULT_MODEL = "chain"


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise RequestError(f"{message} (see {self.prog} --help)")


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
        print("gradcheck:", " ".join(str(error).split()), file=sys.stderr)
        return WRONG_REQUEST
    except KeyboardInterrupt:
        print("gradcheck: interrupted; earlier results are untouched", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="gradcheck",
        description="Cross-validate a hand-written backward pass against PyTorch and JAX.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    sweep = commands.add_parser("sweep", help="compare gradients on random samples")
    _add_model(sweep)
    _add_number(sweep, "samples", int, "random parameter sets")
    _add_number(sweep, "seed", int, "which ones")
    _add_number(sweep, "scale", float, "standard deviation of inputs and parameters")
    sweep.add_argument(
        "--distribution",
        default=Request.distribution,
        metavar="NAME",
        help=f"of inputs and parameters: {', '.join(DISTRIBUTIONS)} (%(default)s)",
    )
    _add_comparison(sweep)
    _add_number(sweep, "rows", int, "disagreements tabulated per adapter, dtype and gradient")
    _add_number(sweep, "referee-limit", int, "disagreements brought before the referee")
    _add_number(sweep, "audit", float, "share of the undisputed samples to bring there too")
    _add_number(sweep, "workers", int, "blocks worked on at once; changes no result")
    sweep.add_argument("--output", type=Path, metavar="FOLDER", help="(results/MODEL)")
    sweep.set_defaults(command=_sweep)

    trace = commands.add_parser("trace", help="every quantity and adjoint at one point")
    _add_model(trace)
    trace.add_argument(
        "--at",
        type=_point,
        default={},
        metavar="x=2.3,…",
        help="values that differ from the model's example",
    )
    _add_comparison(trace, dtypes=DTYPES[:1])
    trace.set_defaults(command=_trace)

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


def _add_number(
    parser: argparse.ArgumentParser, name: str, kind: type[int] | type[float], meaning: str
) -> None:
    parser.add_argument(
        f"--{name}",
        type=_number(kind),
        default=getattr(Request, name.replace("-", "_")),
        metavar="N" if kind is int else "X",
        help=f"{meaning} (%(default)s)",
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
    _add_number(parser, "ulps", float, "ulps that a library function may err")


def _number(kind: type[int] | type[float]) -> Callable[[str], int | float]:
    expected = "a whole number" if kind is int else "a number"

    def convert(text: str) -> int | float:
        try:
            return kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}") from None

    return convert


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _point(text: str) -> dict[str, float]:
    point = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            point[name.strip()] = float(value)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"expected name=number, separated by commas, got {part!r}"
            ) from None
    return point


def _sweep(options: argparse.Namespace) -> int:
    from gradcheck.api import sweep
    from gradcheck.engine import load_model
    from gradcheck.reports.files import check_folder, write_report
    from gradcheck.reports.terminal import print_report, progress_bar

    request = _request(options)
    model = load_model(options.model)
    folder = options.output or Path("results") / model.name
    check_folder(folder)
    with progress_bar() as progress:
        report = sweep(model, progress=progress, **vars(request))
    print_report(report, write_report(report, folder), options.model)
    return AGREED if report.agrees else DISAGREED


def _request(options: argparse.Namespace) -> Request:
    given = vars(options)
    return Request(**{name: given[name] for name in vars(Request()) if name in given})


def _trace(options: argparse.Namespace) -> int:
    from gradcheck.engine import load_model
    from gradcheck.harness.trace import trace_point
    from gradcheck.reports.terminal import print_trace

    request = _request(options)
    model: Model = load_model(options.model)
    trace = trace_point(model, {**model.example, **options.at}, request)
    print_trace(trace, model.name, request.dtypes[0])
    return AGREED if trace.agrees else DISAGREED


def _adapters(options: argparse.Namespace) -> int:
    from gradcheck.adapters import all_adapters
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
    )
    return AGREED
