"""The mistakes that a user can mend, what cannot be helped, and how texts of others are shown."""

from __future__ import annotations

import errno
import re
import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath

CELL_FOLDER = "ipykernel_"
"""Begins the name of the folder in which IPython says that the cells of a notebook are."""
LONGEST_WORD, LONGEST_LINE = 250, 2000
"""Characters of a word, and of a message, that are shown."""


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
        self.field, self.text = field, shortened(printable(text))

    def __str__(self) -> str:
        return f"{self.field}: {self.text}" if self.field else self.text


class UnfinishedError(Exception):
    """A run that could not be finished or written, by nobody's mistake: a full disk, say.

    The command line prints it as one line and exits with status 3.
    """


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EMFILE, errno.ENFILE)
"""What a system says if nothing can be written, by no mistake of whoever named the place."""


class UntoldError(Exception):
    """A part that somebody else wrote raised what cannot even say what it is."""


class EndedError(Exception):
    """A part that somebody else wrote tried to end the process; that is an error of that part."""


@contextmanager
def guarded() -> Iterator[None]:
    """Run what somebody else wrote: what would end the process there is an error like any other.

    Raises
    ------
    EndedError
        In place of SystemExit and whatever else no `except Exception` stops; a keyboard interrupt
        remains one, unless signals raise none, so that it was raised by hand.
    UntoldError
        In place of what raises when it is asked for its text.
    """
    try:
        yield
    except Exception as error:
        if text := _why_untold(error):
            raise UntoldError(f"{type(error).__name__} {text}") from error
        raise
    except BaseException as error:
        if is_interrupt(error):
            raise
        given = ", ".join(map(echoed, error.args))
        raise EndedError(
            f"{type(error).__name__}({given}) would end the process; raise another exception"
        ) from error


def is_interrupt(error: BaseException) -> bool:
    """Tell whether somebody may have pressed Ctrl-C, and not raised this by hand."""
    handler = signal.getsignal(signal.SIGINT)
    return isinstance(error, KeyboardInterrupt) and handler is signal.default_int_handler


def told(error: BaseException) -> str:
    """Name an exception and what it says, if it can say it."""
    text = _why_untold(error) or str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _why_untold(error: BaseException) -> str:
    """Say why an exception's text cannot be had; empty if it can."""
    try:
        str(error)
    except BaseException as another:
        if is_interrupt(another):
            raise
        return f"(its text raises {type(another).__name__})"
    return ""


def echoed(value: object) -> str:
    """Write a value as in code, if it can be written."""
    try:
        return repr(value)
    except Exception:  # an int of more digits than Python writes, or somebody else's class
        return f"<{type(value).__name__}>"


def printable(text: str) -> str:
    """Escape what would steer a terminal; line breaks stay."""
    return "".join(
        sign if sign.isprintable() or sign == "\n" else sign.encode("unicode_escape").decode()
        for sign in text
    )


def file_name(path: str) -> str:
    """Name a file as its user knows it; a cell of a notebook has a number that nobody does."""
    pure = PurePath(path)
    return "cell" if pure.parent.name.startswith(CELL_FOLDER) else pure.name


def quoted(text: str) -> str:
    """Quote a word for a shell; what would steer a terminal is escaped, as bash and zsh read it."""
    if text.isprintable():
        return shlex.quote(text)
    return f"$'{''.join(_escaped(sign) for sign in text)}'"


def _escaped(sign: str) -> str:
    return sign if sign.isprintable() and sign not in "'\\" else f"\\U{ord(sign):08x}"


def one_line(text: str) -> str:
    """Show a text of somebody else's within a line: folded, escaped and cut."""
    return shortened(printable(" ".join(text.split())))


def shortened(text: str) -> str:
    """Leave out the middle of words, and the end of a text, that nobody would read."""
    text = re.sub(rf"\S{{{LONGEST_WORD},}}", _middle_left_out, text)
    return text if len(text) <= LONGEST_LINE else f"{text[:LONGEST_LINE]}…"


def _middle_left_out(word: re.Match[str]) -> str:
    half = LONGEST_WORD // 2 - 10
    return f"{word[0][:half]}…({len(word[0]):,} characters)…{word[0][-half:]}"
