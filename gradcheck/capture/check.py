"""The gradients of an unchanged function, checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from gradcheck.api import stages
from gradcheck.capture.case import Case
from gradcheck.errors import RequestError
from gradcheck.harness.request import ALL_DTYPES, Request
from gradcheck.history.known import read_known
from gradcheck.model.domains import Domain
from gradcheck.reports.progress import Progress, shown
from gradcheck.reports.tables import Report
from gradcheck.suggestions import nearest

SAMPLES = 8
"""Of a check unless it is told otherwise: the inputs given, and some like them."""


def check(
    function: Callable[..., Any],
    *inputs: Any,
    definition: Callable[..., Any] | None = None,
    against: Callable[..., Any] | None = None,
    samples: int = SAMPLES,
    dtypes: Sequence[str] | None = None,
    cotangents: Any = None,
    sampling: Mapping[str, Domain] | None = None,
    name: str = "",
    device: str = "",
    progress: Progress = False,
    known: Path | str | None = None,
    **settings: Any,
) -> Report:
    """Check the gradients of an unchanged PyTorch or JAX function, with no tolerance.

    Parameters
    ----------
    function, *inputs, definition, against, cotangents, sampling, name, device
        As in `Case`.
    samples
        How many sets of inputs, the given ones first.
    dtypes
        Floating-point formats to judge; that of the inputs unless given.
    progress
        Whether to show a bar, in a terminal or a notebook; or what is told the fraction done.
    known
        A file of known disagreements, which are told and fail nothing.
    **settings
        The other fields of `Request`.

    Raises
    ------
    RequestError
        If the request cannot be met.

    Examples
    --------
    >>> report = gradcheck.check(torch.sin, torch.randn(5, dtype=torch.float64))
    >>> report.agrees
    True
    """
    names = [one.name for one in fields(Request)]
    for setting in settings:
        if setting not in names:
            raise RequestError("", f"there is no setting {setting!r}{nearest(setting, names)}")
    listed = read_known(known)
    case = Case(
        function,
        *inputs,
        definition=definition,
        against=against,
        cotangents=cotangents,
        sampling=sampling or {},
        name=name,
        device=device,
    )
    model = case.model(settings.get("seed", 0))
    if dtypes is None:
        dtypes = [model.subject.dtype]
        if model.subject.dtype not in ALL_DTYPES:
            raise RequestError(
                "dtypes",
                f"{model.subject.dtype} is not judged; choose among {', '.join(ALL_DTYPES)}",
            )
    if isinstance(dtypes, str) or not isinstance(dtypes, Iterable):
        raise RequestError("dtypes", f"expected a list such as ['float64'], got {dtypes!r}")
    request = Request(samples=samples, dtypes=tuple(dtypes), **settings)
    with shown(progress, "checking") as told:
        *_, report = stages(model, request, told, samples, known=listed)
    return report
