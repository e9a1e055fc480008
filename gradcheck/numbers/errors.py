"""What may go wrong with numbers, each with a type of its own."""

from __future__ import annotations


class NoRuleError(TypeError):
    """These numbers cannot follow a function.

    Parameters
    ----------
    message
        What is missing, and a substitute.
    operation
        Its full name, such as `numpy.linalg.svd`; empty if none is to blame.
    """

    def __init__(self, message: str, operation: str = "") -> None:
        super().__init__(message)
        self.operation = operation


class OneSampleError(NoRuleError):
    """Code that can only run on one sample at a time."""


class InPlaceError(TypeError):
    """An input or a parameter was to be changed in place."""


class UndecidedError(ArithmeticError):
    """At this precision an enclosure contains the number that it is compared with."""
