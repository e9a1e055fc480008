"""The settings of a sweep as options: the command line and the pytest plugin share them.

Their defaults and ranges are those of `Request`.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gradcheck.errors import RequestError
from gradcheck.harness.request import BARS, DISTRIBUTIONS, Request
from gradcheck.numbers.recipe import CHOICES

TEST_SAMPLES = 1_000
"""How many samples a test compares unless told otherwise: enough to find any fault in a formula."""


@dataclass(frozen=True)
class Option:
    """A setting that is given as text.

    Parameters
    ----------
    setting
        The field of `Request`.
    convert
        Make the setting's value of the text; raise `argparse.ArgumentTypeError` if it is none.
    metavar
        What stands for the text in a help page.
    meaning
        What the help page says, less the default.
    """

    setting: str
    convert: Callable[[str], Any]
    metavar: str
    meaning: str

    @property
    def name(self) -> str:
        """The setting's name, as it follows the dashes."""
        return self.setting.replace("_", "-")

    @property
    def help(self) -> str:
        """What the help page says, with the default unless the meaning has it."""
        return f"{self.meaning} (%(default)s)" if self.default not in (None, "") else self.meaning

    @property
    def default(self) -> Any:
        """The default of a sweep."""
        return getattr(Request, self.setting)

    def parse(self, text: str) -> Any:
        """Convert the text and check the range.

        Raises
        ------
        RequestError
            In words that start with the option, `--samples`.
        """
        try:
            value = self.convert(text)
        except argparse.ArgumentTypeError as error:
            raise RequestError(self.setting, str(error)) from None
        return getattr(Request(**{self.setting: value}), self.setting)


def usable_cores() -> int:
    """Return on how many cores this process may run."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def whole_number(text: str) -> int:
    """Convert text to an `int`."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}") from None


def number(text: str) -> float:
    """Convert text to a `float`."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number, got {text!r}") from None


OPTIONS: Mapping[str, Option] = {
    option.setting: option
    for option in (
        Option("samples", whole_number, "N", "random parameter sets"),
        Option("seed", whole_number, "N", "which ones"),
        Option("scale", number, "X", "standard deviation of inputs and parameters"),
        Option(
            "distribution", str, "NAME", f"of inputs and parameters: {', '.join(DISTRIBUTIONS)}"
        ),
        Option("ulps", number, "X", "ulps that a library function may err"),
        Option("bars", str, "NAME", f"what judges: {', '.join(BARS)}"),
        Option(
            "recipe",
            str,
            "NAME=CHOICE,…",
            "what an honest evaluation may do, the first choice unless told: "
            + "; ".join(f"{name}={'|'.join(choices)}" for name, choices in CHOICES.items()),
        ),
        Option(
            "rows", whole_number, "N", "disagreements tabulated per adapter, dtype and gradient"
        ),
        Option("referee_limit", whole_number, "N", "disagreements brought before the referee"),
        Option(
            "audit", number, "X", "share of the samples to audit (0.001, but at most 200 samples)"
        ),
        Option(
            "workers",
            whole_number,
            "N",
            "processes that judge; 1: this one alone",
        ),
    )
}
"""By setting."""
