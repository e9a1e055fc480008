"""Processes that share a sweep's stretches; one that hangs or ends is replaced.

A call of an adapter, or of the passes, that does not return in time is an error of that call. One
in which the process ends is made once more; then it is an error as well.
"""

from __future__ import annotations

import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Self

from gradcheck.errors import RequestError, UnfinishedError
from gradcheck.harness.call import Call, every_call
from gradcheck.signals import tidied, undisturbed

if TYPE_CHECKING:
    from gradcheck.harness.outcome import Outcome
    from gradcheck.harness.stretch import Stretch
    from gradcheck.harness.worker import Job

CALLS, JUDGED, REFUSES, FAILS, FREE = "calls", "judged", "refuses", "fails", "free"
"""What a process tells: a call that it makes next, that a block is judged, what is wrong with the
model, why it cannot go on, or what was found on its last stretch, if it had one, and that it may be
given another."""

TRIES = 2
"""Of a call in which the process ends: it may have been something else that ended it."""
MOST_LOST = 3
"""Calls of an adapter that are lost, after which it is called no more."""
GRACE = 1.0
"""Seconds in which a process that has closed its connection ends by itself."""
SLICE = 1.0
"""Seconds for which is waited at a time."""
LOADING = 600.0
"""Seconds in which a process has imported what it needs and loaded and tried the model."""
STARTING, BETWEEN = Call("", "when it started", -1), Call("", "before its first call", -1)
"""What a process is at when it is in no call."""


class _Worker:
    """A process, the stretch that it has, the call that it is in, and since when."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other,), daemon=True)
        # What the user interrupts is this process alone, which then ends the others.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            with undisturbed():  # half started, it would complain of the end of this one
                self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        other.close()
        self.stretch: Stretch | None = None
        self.call = STARTING
        self.since = time.monotonic()

    def tell(self, something: object) -> None:
        """Send it something; if it has ended, that is found when it should answer."""
        self.since = time.monotonic()
        with suppress(OSError):
            self.connection.send(something)

    @property
    def is_busy(self) -> bool:
        """Whether it has to say something some time."""
        return self.stretch is not None or self.call == STARTING

    def end(self, grace: float = 0.0) -> str:
        """Kill it, unless it ends by itself, and say how it ended."""
        self.process.join(grace)
        self.process.kill()
        self.process.join()
        self.connection.close()
        code = self.process.exitcode or 0
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"


class Pool:
    """Judges stretches in other processes, which end when it is left.

    Parameters
    ----------
    count
        How many at most.
    timeout
        Seconds that a call may take.
    """

    def __init__(self, count: int, timeout: float) -> None:
        self.count, self.timeout = count, timeout
        self.lost: dict[Call, str] = {}
        self.ended: Counter[Call] = Counter()
        self.workers: list[_Worker] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(tidied(self._end))
        self._stack.callback(self._end)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _end(self) -> str:
        for worker in self.workers:
            worker.end()
        return ""

    def hire(self, count: int) -> None:
        """Start processes, which import what they need while this one does something else."""
        while len(self.workers) < min(count, self.count):
            self.workers.append(_Worker())

    def judged(
        self, job: Job, stretches: Sequence[Stretch], told: Callable[[], None]
    ) -> Iterator[tuple[Stretch, Outcome]]:
        """Yield what was found as it comes; `told` is called after each block.

        Raises
        ------
        RequestError
            If the model is not stated as it should be.
        UnfinishedError
            If processes end, or hang, before they judge.
        """
        waiting = deque(stretches)
        self.hire(len(waiting))
        for worker in self.workers:
            worker.tell(job)
        while waiting or any(worker.stretch for worker in self.workers):
            for worker in self._talking():
                try:
                    kind, content = worker.connection.recv()
                except (EOFError, OSError):
                    self._replace(worker, job, waiting)
                    continue
                worker.since = time.monotonic()
                if kind == CALLS:
                    worker.call = content
                elif kind == JUDGED:
                    told()
                elif kind == REFUSES:
                    raise RequestError(*content)
                elif kind == FAILS:
                    raise UnfinishedError(content)
                else:
                    if worker.stretch is not None:
                        yield worker.stretch, content
                    worker.stretch, worker.call = None, BETWEEN
                    if waiting:
                        worker.stretch = waiting.popleft()
                        worker.tell((worker.stretch, self.lost))
            for worker in self._overdue():
                self._replace(worker, job, waiting, hung=True)

    def _talking(self) -> list[_Worker]:
        """Wait for one that says something or has ended, but not longer than one may be silent."""
        first = min(self._deadline(worker) for worker in self.workers if worker.is_busy)
        began = time.monotonic()
        patience = min(max(0.0, first - began), SLICE)
        ready = wait([worker.connection for worker in self.workers], patience)
        pause = time.monotonic() - began - patience
        if pause > SLICE:  # everybody was stopped, not they alone
            for worker in self.workers:
                worker.since += pause
        return [worker for worker in self.workers if worker.connection in ready]

    def _overdue(self) -> list[_Worker]:
        now = time.monotonic()
        return [
            worker
            for worker in self.workers
            if worker.is_busy and self._deadline(worker) < now and not worker.connection.poll()
        ]

    def _deadline(self, worker: _Worker) -> float:
        in_no_call = worker.call in (STARTING, BETWEEN)
        return worker.since + (max(self.timeout, LOADING) if in_no_call else self.timeout)

    def _replace(
        self, worker: _Worker, job: Job, waiting: deque[Stretch], hung: bool = False
    ) -> None:
        """Let another process take over the stretch, less the call if that is given up."""
        how = worker.end(0.0 if hung else GRACE)
        self.ended[worker.call] += 1
        seconds = self._deadline(worker) - worker.since
        happened = f"did not return within {seconds:g} s" if hung else f"ended with {how}"
        if hung or self.ended[worker.call] == TRIES:
            if worker.call in (STARTING, BETWEEN):
                raise UnfinishedError(f"a process that was to judge {happened} {worker.call.dtype}")
            self._lose(worker.call, happened)
        if worker.stretch is not None:
            waiting.appendleft(worker.stretch)
        successor = _Worker()
        successor.tell(job)
        self.workers[self.workers.index(worker)] = successor

    def _lose(self, call: Call, happened: str) -> None:
        """Have a call recorded as an error."""
        self.lost[call] = happened
        if sum(other.adapter == call.adapter for other in self.lost) >= MOST_LOST:
            self.lost[every_call(call.adapter)] = f"{happened}, {MOST_LOST} times"


def _serve(connection: Connection) -> None:
    """Judge for the process that started this one, which need not have imported how."""
    from gradcheck.harness.worker import serve

    serve(connection)
