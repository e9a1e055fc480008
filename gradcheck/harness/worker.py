"""A process that judges stretches of a sweep for another one.

What somebody else wrote runs here: where it hangs or ends the process, the sweep goes on.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from gradcheck.errors import RequestError, told
from gradcheck.harness.block import Bench
from gradcheck.harness.judging import judge_stretch
from gradcheck.harness.pool import CALLS, FAILS, FREE, JUDGED, REFUSES
from gradcheck.harness.process import keep_heap_mapped
from gradcheck.harness.request import Request


@dataclass(frozen=True)
class Job:
    """A sweep in terms that another process understands.

    Parameters
    ----------
    model, options
        As given to `load_model`.
    request
        With the names of the adapters.
    block
        How many samples are evaluated at once.
    parts
        Where every comparison is written, if it is.
    """

    model: str
    request: Request
    block: int
    options: Mapping[str, int] = field(default_factory=dict)
    parts: Path | None = None

    def bench(self) -> Bench:
        """Load the model and the adapters.

        Raises
        ------
        RequestError
            If the model is not stated as it should be.
        """
        from gradcheck.adapters import choose_adapters
        from gradcheck.harness.check import check_drawn
        from gradcheck.model.loading import load_model

        model = load_model(self.model, self.options)
        check_drawn(model, self.request)
        adapters = choose_adapters(self.request.adapters, model, self.request.dtypes)
        bench = Bench(model, self.request, adapters, self.block)
        bench.parts = self.parts
        return bench


def serve(connection: Connection) -> None:
    """Judge the stretches of the job that comes, and send what was found.

    Every call of what somebody else wrote is told before it is made.

    Ends with the process that asked for it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other process is interrupted, and ends this
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a model prints is no result
    keep_heap_mapped()
    try:
        bench = connection.recv().bench()
        bench.told = lambda call: connection.send((CALLS, call))
        connection.send((FREE, None))
        while True:
            stretch, bench.lost = connection.recv()
            found = judge_stretch(bench, stretch, lambda: connection.send((JUDGED, None)))
            connection.send((FREE, found))
    except RequestError as error:
        connection.send((REFUSES, (error.field, error.text)))
    except (EOFError, BrokenPipeError):
        return
    except Exception as error:  # the disk is full, or it is a defect of ours
        connection.send((FAILS, told(error)))


def _end_with_parent() -> None:
    """Wait until the process that started this one has ended, however it did."""
    parent: Any = parent_process()
    wait([parent.sentinel])
    os._exit(1)
