"""What a diagnosis says; apart from what finds it, which is imported when something is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradcheck.diagnosis.statements import Line


@dataclass(frozen=True)
class Finding:
    """One wrong line.

    Parameters
    ----------
    part
        `forward` or `backward`.
    quantity
        What the line writes, or goes into: `t.f1`, `d.beta1`.
    line
        Where it stands.
    explanation
        What the quantity holds, and what it should, in words; empty if no simple change matched.
    wrong, samples
        On how many of how many samples the quantity is provably wrong.
    counterexample
        A sample of plain numbers on which it still is, by the labels of its elements; empty for a
        forward line, or if a sample has too many numbers.
    clearest
        The number of the sample that shows it best.
    """

    part: str
    quantity: str
    line: Line
    explanation: str
    wrong: int
    samples: int
    counterexample: Mapping[str, float] = field(default_factory=dict)
    clearest: int = 0


@dataclass(frozen=True)
class Diagnosis:
    """What was found.

    Parameters
    ----------
    findings
        The wrong lines, in the order of the pass.
    left
        What was left undone, in words.
    dtype
        The format in which the passes are wrong.
    """

    findings: tuple[Finding, ...] = ()
    left: str = ""
    dtype: str = "float64"
