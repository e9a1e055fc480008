"""The mistakes that a user can mend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class RequestError(ValueError):
    """A request that cannot be met: which argument, what was given, what would do.

    Raised before any work; the command line prints it as one line and exits with status 2.

    Parameters
    ----------
    field
        The argument: a setting of `Request`, `model`, …; empty if it is none in particular.
    text
        What was given, what was expected, and the mend.
    """

    def __init__(self, field: str, text: str) -> None:
        super().__init__(field, text)
        self.field, self.text = field, printable(text)

    def __str__(self) -> str:
        return f"{self.field}: {self.text}" if self.field else self.text


class UnfinishedError(Exception):
    """A run that could not be finished or written, for a reason that is not in the request."""


class EndedError(Exception):
    """A part that somebody else wrote tried to end the process; that is an error of that part."""


@contextmanager
def guarded() -> Iterator[None]:
    """Run what somebody else wrote: what would end the process there is an error like any other.

    Raises
    ------
    EndedError
        In place of SystemExit and whatever else no `except Exception` stops; a keyboard interrupt
        remains one.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        given = ", ".join(map(repr, error.args))
        raise EndedError(
            f"{type(error).__name__}({given}) would end the process; raise another exception"
        ) from error


def printable(text: str) -> str:
    """Escape what would steer a terminal; line breaks stay."""
    return "".join(
        sign if sign.isprintable() or sign == "\n" else sign.encode("unicode_escape").decode()
        for sign in text
    )
