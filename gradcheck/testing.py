"""Assertions for tests."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from gradcheck.harness.request import Request
from gradcheck.options import TEST_SAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.capture.case import Case
    from gradcheck.model.model import Model
    from gradcheck.reports.tables import Report

FRAMEWORKS = r"(torch|jax)(\.|$)"
"""Modules whose warnings are not about the model."""


def assert_agreement(
    model: Model | Case | str | Callable[..., Any],
    *inputs: Any,
    samples: int | None = None,
    seed: int = Request.seed,
    **settings: Any,
) -> Report:
    """Sweep a model, or check a function, and insist that nothing disagrees.

    Parameters
    ----------
    model
        A `Model`, a `Case`, a built-in name, or `path/to/file.py[:NAME]`; or a function of PyTorch
        or JAX, whose inputs follow.
    samples, seed
        How many random parameter sets to compare, and which ones.
    **settings
        The other fields of `Request`, such as `adapters=["torch"]`; of a function what `check`
        takes as well, such as `definition=`. Both take `known=`, a file of known disagreements.

    Raises
    ------
    AssertionError
        If something disagrees or an adapter fails: with the verdicts, the culprit, the first wrong
        line and the plainest numbers that show it.
    RequestError
        If the request cannot be met.

    Examples
    --------
    >>> gradcheck.testing.assert_agreement("chain", adapters=["complex-step"]).agrees
    True
    """
    __tracebackhide__ = True
    from gradcheck.api import sweep
    from gradcheck.capture.case import Case
    from gradcheck.capture.check import SAMPLES, check
    from gradcheck.model.model import Model
    from gradcheck.reports.failure import describe_failure, find_source

    with warnings.catch_warnings():
        # Where tests make errors of warnings, a framework's own must not pass for a failed adapter.
        warnings.filterwarnings("default", module=FRAMEWORKS)
        for outdated in (DeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", category=outdated, module=FRAMEWORKS)
        if isinstance(model, Model | Case | str):
            count = TEST_SAMPLES if samples is None else samples
            report = sweep(model, samples=count, seed=seed, **settings)
        else:
            count = SAMPLES if samples is None else samples
            report = check(model, *inputs, samples=count, seed=seed, **settings)
    if not report.agrees:
        raise AssertionError(describe_failure(report, find_source(model)))
    return report
