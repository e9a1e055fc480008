"""A row of a table of operators: what became of checking one of them on some inputs."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd

from gradcheck.capture.check import check
from gradcheck.errors import RequestError

SECONDS = 30
"""For one input, after which it counts as not judged."""


def new_row(operator: str, dtype: str, message: str = "") -> dict[str, Any]:
    """Return the row of an operator that was not tried yet."""
    return {
        "operator": operator, "dtype": dtype, "inputs": 0, "captured": False, "judged": False,
        "agree": 0, "disagree": 0, "uninformative": 0, "refused": "", "seconds": 0.0,
        "message": message,
    }  # fmt: skip


def check_inputs(row: dict[str, Any], function: Callable[..., Any], inputs: Any) -> None:
    """Check a function on one set of inputs; add what is found to its row."""
    row["inputs"] += 1
    try:
        with limited(SECONDS), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            report = check(
                function, *inputs, samples=2, allow_uninformative=True, dtypes=[row["dtype"]]
            )
    except RequestError as error:
        row["message"] = row["message"] or error.text
        return
    except TimeoutError:
        row["message"] = row["message"] or f"more than {SECONDS} seconds"
        return
    except Exception as error:  # a fault of ours, which is to be seen in the table
        row["message"] = row["message"] or f"{type(error).__name__}: {error}"
        return
    counts, summary = report.run["counts"], report.summary
    messages = "; ".join(dict.fromkeys(filter(None, summary["message"])))
    refused = messages.partition("no rule for ")[2].partition(";")[0].partition(" ")[0]
    row["refused"] = row["refused"] or refused
    row["message"] = row["message"] or messages
    row["captured"] |= not counts["error"]
    row["judged"] |= bool(counts["agree"] or counts["disagree"])
    wrong = report.run["audit"]["undisputed"] + report.run["audit"]["unexplained"]
    row["agree"] += counts["agree"]
    row["disagree"] += counts["disagree"] + counts["nan"] + wrong
    row["uninformative"] += counts["uninformative"]


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raise `TimeoutError` after so many seconds of computing, however busy the machine is."""

    def stop(*_: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def summarise(table: pd.DataFrame) -> str:
    """Say how many operators were judged, and what disagrees."""
    tried = table[table["dtype"] != ""]
    operators = tried.groupby("operator")["judged"].max()
    wrong = tried[tried["disagree"] > 0]
    refused = tried["refused"].replace("", pd.NA).dropna().value_counts().head(20)
    return (
        f"{int(operators.sum())} of {len(operators)} differentiable operators judged "
        f"({operators.mean():.1%}); {int(tried['agree'].sum()):,} comparisons agree, "
        f"{int(tried['disagree'].sum()):,} do not\n\n"
        f"{wrong.to_string(index=False)}\n\n{refused.to_string()}"
    )
