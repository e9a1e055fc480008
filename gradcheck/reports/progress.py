"""A bar for whoever calls from Python: in a terminal, or in a notebook."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from gradcheck.errors import RequestError

Progress = Callable[[float], None] | bool
"""What is told the fraction done; or whether to show a bar."""
PAUSE = 0.1
"""Seconds between two pictures in a notebook, each of which is a message."""


@contextmanager
def shown(progress: Progress, task: str) -> Iterator[Callable[[float], None]]:
    """Yield what is to be told the fraction done.

    Raises
    ------
    RequestError
        If `progress` is neither a function nor a truth value.
    """
    if callable(progress):
        yield progress
    elif not isinstance(progress, bool):
        raise RequestError("progress", f"expected True, False or a function, got {progress!r}")
    elif not progress:
        yield _ignored
    elif in_notebook():
        with notebook_bar(task) as told:
            yield told
    else:
        from gradcheck.reports.terminal import progress_bar

        with progress_bar(task) as told:
            yield told


def in_notebook() -> bool:
    """Tell whether this runs in the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


@contextmanager
def notebook_bar(task: str, clock: Callable[[], float] = monotonic) -> Iterator[Any]:
    """Show a bar that is gone when the work is done; it needs no widgets, as rich's would."""
    from IPython.display import HTML, display

    handle = display(HTML(_bar(task, 0.0)), display_id=True)
    last = clock()

    def told(fraction: float) -> None:
        nonlocal last
        if clock() - last >= PAUSE:
            last = clock()
            handle.update(HTML(_bar(task, fraction)))

    try:
        yield told
    finally:
        handle.update(HTML(""))


def _bar(task: str, fraction: float) -> str:
    return f'{task} <progress value="{fraction:.3f}" max="1"></progress> {fraction:.0%}'


def _ignored(fraction: float) -> None:
    """Tell nobody."""
