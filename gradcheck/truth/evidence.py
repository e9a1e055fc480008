"""What a diagnosis is based on: samples on which the reference is wrong, and some that are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from gradcheck.harness.outcome import Outcome
from gradcheck.harness.request import Request
from gradcheck.harness.samples import EVIDENCE
from gradcheck.truth.referee import BOTH, REFERENCE, Rulings


@dataclass(frozen=True)
class Evidence:
    """What a diagnosis is based on.

    Parameters
    ----------
    dtype
        The first format in which the reference is wrong.
    samples, values
        The first samples and some on which the reference is wrong, in turn.
    disputed
        Elements on which it is wrong, by gradient.
    """

    dtype: str
    samples: Sequence[int]
    values: Mapping[str, Any]
    disputed: Mapping[str, Sequence[int]]


def evidence(request: Request, outcome: Outcome, rulings: Rulings) -> Evidence:
    """Gather samples for a diagnosis."""
    found = [
        (at, gradient, case)
        for ((_, at, gradient), case), ruling in rulings.by_case.items()
        if ruling.culprit in (REFERENCE, BOTH)
    ]
    found += [
        (at, name, case) for (at, name), cases in rulings.audit.refuted.items() for case in cases
    ]
    concerned = {at for at, _, _ in found}
    dtype = next((one for one in request.dtypes if one in concerned), request.dtypes[0])
    guilty = [(name, case) for at, name, case in found if at == dtype]
    bad = list(dict.fromkeys(case.sample for _, case in guilty))[:EVIDENCE]
    first = range(min(EVIDENCE, request.samples))
    in_turn = [i for pair in zip_longest(first, bad) for i in pair if i is not None]
    chosen = list(dict.fromkeys(in_turn))
    disputed: dict[str, list[int]] = {name: [] for name, _ in guilty}
    for name, case in guilty:
        disputed[name].append(case.element)
    return Evidence(dtype, chosen, outcome.samples[dtype].select(chosen).values, disputed)
