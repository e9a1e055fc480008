"""Whether right functions, as they are, are ever called wrong in 16 bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd

import gradcheck
from gradcheck.harness.request import NARROW_DTYPES
from studies.functions.corpus import SUBJECTS as IN_TORCH
from studies.functions.corpus_jax import SUBJECTS as IN_JAX

COLUMNS = ["samples", "agree", "disagree", "uninformative", "overflow", "nan", "error"]


def count_functions(samples: int) -> pd.DataFrame:
    """Check ten functions of PyTorch and of JAX, each evaluated in two ways.

    Returns
    -------
    pandas.DataFrame
        A row per function, variant and format: comparisons by verdict, and the largest distance as
        a fraction of its bound.
    """
    rows = []
    for dtype in NARROW_DTYPES:
        for name, variant, function, inputs in _variants():
            report = gradcheck.check(function, *inputs, samples=samples, dtypes=[dtype], audit=0)
            told = report.summary[COLUMNS].sum().to_dict()
            worst = report.summary["max_bound_ratio"].max()
            row = {"function": name, "variant": variant, "dtype": dtype}
            rows.append(row | told | {"max_bound_ratio": worst})
    return pd.DataFrame(rows)


def _variants() -> Iterator[tuple[str, str, Callable[..., Any], tuple[Any, ...]]]:
    import jax

    for name, subject in IN_TORCH.items():
        inputs = subject.make_inputs("float32", 0)
        yield name, "eager", subject.function.apply, inputs
        yield name, "fused in float32", fused(subject.function.apply), inputs
    for name, twin in IN_JAX.items():
        inputs = twin.make_inputs("float32", 0)
        yield name, "eager", twin.function.apply, inputs
        yield name, "jit", jax.jit(twin.function.apply), inputs


def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of PyTorch that computes in float32, and rounds what it returns."""

    def widened(*inputs: Any) -> Any:
        import torch

        narrow = inputs[0].dtype
        results = function(*(x.float() if x.is_floating_point() else x for x in inputs))
        if isinstance(results, torch.Tensor):
            return results.to(narrow)
        return tuple(one.to(narrow) for one in results)

    return widened
