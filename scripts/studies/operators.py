"""PyTorch's derivatives of its own operators, on the inputs of its own operator database.

The database states inputs for every operator, written by others for other checks. An operator is
judged if the program of one of its inputs ran on balls and some comparison was informative.
"""

from __future__ import annotations

import signal
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

import pandas as pd

from gradcheck.capture.check import check
from gradcheck.errors import RequestError
from gradcheck.harness.request import DTYPES

INPUTS = 3
"""How many inputs of an operator are tried in each dtype."""
LARGEST = 400
"""Numbers in the inputs above which smaller ones are tried instead, if there are any."""
LIMIT = 1200
"""Numbers in the one input that is tried if none is small."""
SECONDS = 30
"""For one input, after which it counts as not judged."""


def measure_operators(only: str = "", every: int = 1, workers: int = 2) -> pd.DataFrame:
    """Check operators in every dtype.

    Returns
    -------
    pandas.DataFrame
        A row for each operator and dtype: `operator, dtype, inputs, captured, judged, agree,
        disagree, uninformative, refused, seconds, message`.
    """
    names = [name for name in operator_names() if not only or name == only][::every]
    with ProcessPoolExecutor(
        workers, get_context("spawn")
    ) as pool:  # PyTorch's threads do not fork
        rows = pool.map(check_operator, names)
        return pd.DataFrame([row for found in rows for row in found])


def summarise(table: pd.DataFrame) -> str:
    """Say how many operators were judged, and what disagrees."""
    operators = table.groupby("operator")["judged"].max()
    wrong = table[table["disagree"] > 0]
    refused = table["refused"].replace("", pd.NA).dropna().value_counts().head(20)
    return (
        f"{int(operators.sum())} of {len(operators)} differentiable operators judged "
        f"({operators.mean():.1%}); {int(table['agree'].sum()):,} comparisons agree, "
        f"{int(table['disagree'].sum()):,} do not\n\n"
        f"{wrong.to_string(index=False)}\n\n{refused.to_string()}"
    )


def operator_names() -> list[str]:
    """Name the operators that have a derivative, in the database's order."""
    return list(_database())


def _database() -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
    return {
        f"{op.name}.{op.variant_test_name}".rstrip("."): op for op in op_db if op.supports_autograd
    }


def check_operator(name: str) -> list[dict[str, Any]]:
    """Check one operator on a few of its inputs in every dtype."""
    import torch

    torch.set_num_threads(1)
    operator, rows = _database()[name], []
    for dtype in DTYPES:
        if getattr(torch, dtype) not in operator.supported_dtypes("cpu"):
            continue
        started = time.perf_counter()
        row: dict[str, Any] = {
            "operator": name, "dtype": dtype, "inputs": 0, "captured": False, "judged": False,
            "agree": 0, "disagree": 0, "uninformative": 0, "refused": "", "seconds": 0.0,
            "message": "",
        }  # fmt: skip
        for function, inputs in _inputs(operator, getattr(torch, dtype)):
            _check_inputs(row, function, inputs)
        rows.append(row | {"seconds": time.perf_counter() - started})
    return rows


def _inputs(operator: Any, dtype: Any) -> Iterator[tuple[Callable[..., Any], tuple[Any, ...]]]:
    """Yield a few inputs, small ones, and the operator as a function of them."""
    from torch.utils import _pytree

    def size(sample: Any) -> int:
        leaves = _pytree.tree_leaves((sample.input, sample.args, sample.kwargs))
        return sum(leaf.numel() for leaf in leaves if hasattr(leaf, "numel"))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        samples = operator.sample_inputs("cpu", dtype, requires_grad=True)
        some = [sample for sample in samples if 0 < size(sample) <= LIMIT]
        small = [sample for sample in some if size(sample) <= LARGEST]
        for sample in small[:INPUTS] or sorted(some, key=size)[:1]:

            def function(first: Any, *rest: Any, sample: Any = sample) -> Any:
                # Of a symmetric or triangular matrix both take a part alone, as the database says.
                result = operator.gradcheck_wrapper(operator.op, first, *rest, **sample.kwargs)
                return sample.output_process_fn_grad(result)

            yield function, (sample.input, *sample.args)


def _check_inputs(row: dict[str, Any], function: Callable[..., Any], inputs: Any) -> None:
    row["inputs"] += 1
    try:
        with _limited(SECONDS), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            report = check(
                function,
                *inputs,
                samples=2 if _are_finite(inputs) else 1,
                allow_uninformative=True,
                dtypes=[row["dtype"]],
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
    wrong = report.run["audit"]["refuted"] + report.run["audit"]["unexplained"]
    row["agree"] += counts["agree"]
    row["disagree"] += counts["disagree"] + counts["nan"] + wrong
    row["uninformative"] += counts["uninformative"]


def _are_finite(inputs: Any) -> bool:
    """Tell whether more samples can be drawn about these numbers."""
    from torch.utils import _pytree

    leaves = (leaf for leaf in _pytree.tree_leaves(inputs) if hasattr(leaf, "isfinite"))
    return all(bool(leaf.isfinite().all()) for leaf in leaves)


@contextmanager
def _limited(seconds: int) -> Iterator[None]:
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
