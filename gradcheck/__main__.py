"""The program: `gradcheck`, or `python -m gradcheck`."""

from __future__ import annotations

import sys

from gradcheck.signals import refuse_to_leave, watch
from gradcheck.streams import make_sturdy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command in a process of its own; return the exit status, as `main` does.

    Beside what `main` does, signals are obeyed at once, from the first import on, and a run goes
    on to its end if nobody reads what it prints. If it cannot be printed, for the disk is full,
    that is said on stderr, and the status is 3.
    """
    stdout, _ = make_sturdy()  # first, or another file takes the place of one that is closed
    watch()
    refuse_to_leave()
    from gradcheck.cli import UNFINISHED, main

    try:
        status = main(arguments)
    except SystemExit as ended:  # --help
        status = int(ended.code or 0)
    stdout.flush()
    if stdout.loss:
        print(f"gradcheck: standard output cannot be written ({stdout.loss})", file=sys.stderr)
        status = UNFINISHED
    return status


if __name__ == "__main__":  # the processes that judge import this file as well
    sys.exit(run())
