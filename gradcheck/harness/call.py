"""Calls of what somebody else wrote."""

from typing import NamedTuple


class Call(NamedTuple):
    """A call of an adapter, or of the passes if it has no name, on the samples of a block."""

    adapter: str
    dtype: str
    start: int


def every_call(adapter: str) -> Call:
    """Stand for all calls of an adapter."""
    return Call(adapter, "", 0)
