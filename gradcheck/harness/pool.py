"""Processes that share a sweep's stretches; one that hangs or ends is replaced.

A call of an adapter, or of the passes, that does not return in time is an error of that call. One
in which the process ends is made once more; then it is an error as well.
"""

from __future__ import annotations

import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from multiprocessing import get_context
from multiprocessing.connection import wait

from gradcheck.errors import RequestError, UnfinishedError
from gradcheck.harness.block import Call, every_call
from gradcheck.harness.outcome import Outcome
from gradcheck.harness.stretch import Stretch
from gradcheck.harness.worker import CALLS, FAILS, JUDGED, REFUSES, Job, serve
from gradcheck.signals import tidied, undisturbed

TRIES = 2
"""Of a call in which the process ends: it may have been something else that ended it."""
MOST_LOST = 3
"""Calls of an adapter that are lost, after which it is called no more."""
GRACE = 1.0
"""Seconds in which a process that has closed its connection ends by itself."""
STARTING = Call("", "", -1)
"""What a process is at before its first call."""


class _Worker:
    """A process, the stretch that it has, the call that it is in, and since when."""

    def __init__(self, job: Job) -> None:
        context = get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=serve, args=(other, job), daemon=True)
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
    """Judges stretches in other processes.

    Parameters
    ----------
    timeout
        Seconds that a call may take.
    """

    def __init__(self, job: Job, count: int, timeout: float) -> None:
        self.job, self.count, self.timeout = job, count, timeout
        self.lost: dict[Call, str] = {}
        self.ended: Counter[Call] = Counter()

    def judged(
        self, stretches: Sequence[Stretch], told: Callable[[], None]
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
        workers = [_Worker(self.job) for _ in range(min(self.count, len(waiting)))]
        with ExitStack() as stack:
            stack.enter_context(tidied(lambda: _kill(workers)))
            stack.callback(_kill, workers)
            while waiting or any(worker.stretch for worker in workers):
                for worker in self._talking(workers):
                    try:
                        kind, content = worker.connection.recv()
                    except (EOFError, OSError):
                        self._replace(workers, worker, waiting)
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
                        worker.stretch = None
                        if waiting:
                            worker.stretch = waiting.popleft()
                            worker.connection.send((worker.stretch, self.lost))
                for worker in self._overdue(workers):
                    self._replace(workers, worker, waiting, hung=True)

    def _talking(self, workers: Sequence[_Worker]) -> list[_Worker]:
        """Wait for one that says something or has ended, but not longer than one may be silent."""
        silent = time.monotonic() - min(worker.since for worker in workers if worker.is_busy)
        ready = wait([worker.connection for worker in workers], max(0.0, self.timeout - silent))
        return [worker for worker in workers if worker.connection in ready]

    def _overdue(self, workers: Sequence[_Worker]) -> list[_Worker]:
        latest = time.monotonic() - self.timeout
        return [worker for worker in workers if worker.is_busy and worker.since < latest]

    def _replace(
        self, workers: list[_Worker], worker: _Worker, waiting: deque[Stretch], hung: bool = False
    ) -> None:
        """Let another process take over the stretch, less the call if that is given up."""
        how = worker.end(0.0 if hung else GRACE)
        self.ended[worker.call] += 1
        again = self.ended[worker.call] < TRIES and not hung
        happened = f"did not return within {self.timeout:g} s" if hung else f"ended with {how}"
        if not again:
            if worker.call == STARTING:
                raise UnfinishedError(f"a process that was to judge {happened} when it started")
            self._lose(worker.call, happened)
        if worker.stretch is not None:
            waiting.appendleft(worker.stretch)
        workers[workers.index(worker)] = _Worker(self.job)

    def _lose(self, call: Call, happened: str) -> None:
        """Have a call recorded as an error."""
        self.lost[call] = happened
        if sum(other.adapter == call.adapter for other in self.lost) >= MOST_LOST:
            self.lost[every_call(call.adapter)] = f"{happened}, {MOST_LOST} times"


def _kill(workers: Sequence[_Worker]) -> str:
    for worker in workers:
        worker.end()
    return ""
