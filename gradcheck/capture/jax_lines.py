"""Which line of the user's code asked for a primitive of JAX."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from gradcheck.capture.program import Line


def line_of(traceback: Any) -> Line | None:
    """Return the innermost line that is neither JAX's nor ours."""
    from jax._src import source_info_util

    for frame in source_info_util.user_frames(traceback) if traceback else ():
        if _is_users(frame.file_name):
            return Line(frame.file_name, frame.start_line)
    return None


@contextmanager
def own_lines(outermost: Callable[..., Any]) -> Iterator[None]:
    """Let what a stated derivative computes have the lines of its own.

    JAX gives all that it computes for a call in the reverse pass the line of the call.

    Parameters
    ----------
    outermost
        The function that is traced: what called it is not looked at.
    """
    from jax._src import source_info_util

    usual = source_info_util.current

    def current() -> Any:
        found = usual()
        if not _is_called_by_user(outermost):
            return found
        return found.replace(traceback=source_info_util.xla_client.Traceback.get_traceback())

    source_info_util.current = current
    try:
        yield
    finally:
        source_info_util.current = usual


def _is_called_by_user(outermost: Any) -> bool:
    frame: Any = sys._getframe(2)
    while frame is not None and frame.f_code is not outermost.__code__:
        if _is_users(frame.f_code.co_filename):
            return True
        frame = frame.f_back
    return False


@cache
def _is_users(file: str) -> bool:
    from jax._src import source_info_util

    return source_info_util.is_user_filename(file) and not file.startswith((_home(), "<frozen"))


@cache
def _home() -> str:
    import gradcheck

    return f"{Path(str(gradcheck.__file__)).parent}/"
