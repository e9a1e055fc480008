"""Output streams that outlive their reader: a run goes on, and its exit status stays its own."""

from __future__ import annotations

import errno
import io
import os
import select
import sys

GONE = (errno.EPIPE, errno.EBADF, errno.ECONNRESET)
"""Nobody listens, which is the listener's business, as in `| head -1` or `>&-`."""


class _Sturdy(io.RawIOBase):
    """A descriptor that takes everything; what it could not write is lost, and the reason kept."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.failure: OSError | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.descriptor

    def isatty(self) -> bool:
        return self.failure is None and os.isatty(self.descriptor)

    def write(self, data: bytes) -> int:  # type: ignore[override]
        while self.failure is None:
            try:
                return os.write(self.descriptor, data)
            except BlockingIOError:
                select.select([], [self.descriptor], [])
            except OSError as error:
                self.failure = error
        return len(data)


class Output(io.TextIOWrapper):
    """Text for a descriptor; a sign that its encoding lacks is replaced."""

    def __init__(self, descriptor: int, encoding: str) -> None:
        self.sturdy = _Sturdy(descriptor)
        super().__init__(
            io.BufferedWriter(self.sturdy),  # type: ignore[type-var]
            encoding=encoding,
            errors="replace",
            line_buffering=descriptor == 2 or self.sturdy.isatty(),
        )

    @property
    def loss(self) -> str:
        """Why something was lost, though somebody listens; empty if nothing was."""
        failure = self.sturdy.failure
        return "" if failure is None or failure.errno in GONE else str(failure.strerror)


def make_sturdy() -> tuple[Output, Output]:
    """Replace the streams of this process; return stdout and stderr.

    Those that it was started without are opened, to nowhere: else the next file that is opened
    would take their place, and receive what is printed.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
            os.set_inheritable(nowhere, True)
    sys.stdout, sys.stderr = outputs = (
        Output(1, getattr(sys.stdout, "encoding", None) or "utf-8"),
        Output(2, getattr(sys.stderr, "encoding", None) or "utf-8"),
    )
    return outputs
