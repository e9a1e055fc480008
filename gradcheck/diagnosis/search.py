"""The first wrong lines of a backward pass: what a wrong gradient came through, and no right one.

An adjoint is wrong if the enclosure of what it holds does not meet that of the true adjoint. From a
wrong gradient, the search goes back along the graph of numbers, and stops at what is right. A wrong
adjoint behind which there is no other wrong one is the first. What it came through, without what a
right adjoint came through as well, are the lines in which the fault can be.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import and_, or_
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.diagnosis.recorded import each
from gradcheck.diagnosis.recording import Nodes, Recording, statements_of
from gradcheck.diagnosis.tape import Node

NARROW = 2.0**-20
"""An enclosure that is wider than this fraction of its value decides nothing."""


@dataclass
class Suspicion:
    """Adjoints that are wrong, perhaps by one and the same fault, and the statements, as bits."""

    adjoints: list[str]
    statements: int


def held(recording: Recording, name: str) -> Nodes | None:
    """Return what the pass wrote in the shape of what it is the adjoint of, if it fits."""
    try:
        return np.broadcast_to(recording.d[name], recording.truth[name].shape)
    except ValueError:
        return None


@dataclass
class Judgement:
    """Which elements of the adjoints of one sample are wrong, and which are right."""

    recording: Recording
    wrong: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    right: dict[str, list[Node]] = field(default_factory=dict)
    owners: dict[Node, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, nodes in self.recording.d.items():
            if name not in self.recording.truth:
                continue
            truth, mine = self.recording.truth[name], held(self.recording, name)
            if mine is None:
                self.wrong[name], self.right[name] = np.ones(nodes.shape, bool), []
                mine = nodes
            else:
                pairs = list(zip(mine.flat, truth.flat, strict=True))
                flags = np.array([differ(node.series, true) for node, true in pairs], bool)
                self.wrong[name] = flags.reshape(truth.shape)
                self.right[name] = [node for node, true in pairs if agree(node.series, true)]
            for node, wrong in zip(mine.flat, self.wrong[name].flat, strict=True):
                if wrong:
                    self.owners.setdefault(node, name)
        self.known = {node for nodes in self.right.values() for node in nodes}
        self.barrier = self.known | set(self.owners)

    def nodes(self, name: str) -> list[Node]:
        """Return the wrong elements of an adjoint."""
        mine = held(self.recording, name)
        mine = self.recording.d[name] if mine is None else mine
        return [node for node, bad in zip(mine.flat, self.wrong[name].flat, strict=True) if bad]

    def exempt(self, parameters: Iterable[str]) -> None:
        """Believe adjoints from which right gradients are made: they are meant another way."""
        right = [node for name in parameters for node in self.right.get(name, ())]
        behind = self.recording.behind(right)
        for node in [node for node in self.owners if node in behind]:
            del self.owners[node]
        self.barrier = self.known | set(self.owners)

    def reads(self, name: str) -> set[str]:
        """Name what an adjoint was made of: `v.x`, `t.h`, and right adjoints, `d.f`."""
        boards = {"v": self.recording.v, "t": self.recording.t}
        names: dict[Node, set[str]] = {}
        for letter, board in boards.items():
            for other, nodes in board.items():
                for node in nodes.flat:
                    names.setdefault(node, set()).add(f"{letter}.{other}")
        for other, right in self.right.items():
            for node in right if other != name else ():
                names.setdefault(node, set()).add(f"d.{other}")
        found, seen = set[str](), set[Node]()
        waiting = list(self.recording.d[name].flat)
        while waiting:
            node = waiting.pop()
            if node in names:
                found |= names[node]
            elif node not in seen and node.order > self.recording.begin:
                seen.add(node)
                waiting += node.operands
        return found

    def inherits(self, name: str) -> set[str]:
        """Name the next other wrong adjoints that the wrong elements of one came from."""
        behind = self.recording.behind(self.nodes(name), self.barrier)
        operands = {operand for node in behind for operand in node.operands}
        return {self.owners[node] for node in operands if node in self.owners} - {name}


def differ(mine: Any, truth: Any) -> bool:
    """Tell whether two enclosures are of different numbers for certain."""
    return not mine.overlaps(truth) if mine.is_finite() and truth.is_finite() else False


def agree(mine: Any, truth: Any) -> bool:
    """Tell whether two enclosures are so narrow that it is no accident that they meet."""
    both = (mine, truth)
    return bool(mine.overlaps(truth) and all(one.rad() < abs(one.mid()) * NARROW for one in both))


def suspect(
    judgements: Sequence[Judgement], blamed: Collection[str], parameters: Collection[str]
) -> list[Suspicion]:
    """Find the first wrong adjoints behind gradients that are to blame, and group them by fault."""
    names = list(dict.fromkeys(name for one in judgements for name in one.wrong))
    right = {
        name
        for name in names
        if not any(name in one.wrong and one.wrong[name].any() for one in judgements)
        and any(one.right.get(name) for one in judgements)
    }
    for one in judgements:
        one.exempt(name for name in parameters if name in right)
    exonerated = reduce(or_, (_came_through(one, right) for one in judgements), 0)
    first = _first_wrong(judgements, blamed)
    found: list[Suspicion] = []
    for name in sorted(first, key=names.index):
        statements = _suspects(judgements, name, right, exonerated)
        same = next((one for one in found if one.statements & statements), None)
        if same is None:
            found.append(Suspicion([name], statements))
        else:  # one fault explains both
            same.adjoints.append(name)
            same.statements &= statements
    return found


def _first_wrong(judgements: Sequence[Judgement], blamed: Collection[str]) -> set[str]:
    """Go back from gradients to wrong adjoints that come from no other wrong one."""
    first, later = set[str](), set[str]()
    for one in judgements:
        waiting = [name for name in blamed if name in one.wrong and one.wrong[name].any()]
        seen = set(waiting)
        while waiting:
            name = waiting.pop()
            before = one.inherits(name)
            if not before:
                first.add(name)
            waiting += before - seen
            seen |= before
            later |= {name} if before else set()
    return first - later or first


def _behind_right(judgement: Judgement, names: Iterable[str]) -> set[Node]:
    nodes = [node for name in names for node in judgement.right.get(name, ())]
    return judgement.recording.behind(nodes)


def _came_through(judgement: Judgement, names: Collection[str]) -> int:
    """Return the statements behind the right elements of some adjoints."""
    known = [f"d.{name}" for name in names if judgement.right.get(name)]
    written = reduce(or_, (judgement.recording.written[name] for name in known), 0)
    return statements_of(_behind_right(judgement, names)) | written


def _suspects(
    judgements: Sequence[Judgement], name: str, right: Collection[str], exonerated: int
) -> int:
    """Return the statements in which the fault of an adjoint can be.

    Those that all wrong elements came through, and no right one: one fault is presumed if one will
    do. If there are none, those that some came through. If there are none either, the choice of
    elements may be wrong: any statement that the array came through, and nothing else that is
    right. And if that is none, one statement made both right and wrong numbers.
    """
    bad = [one for one in judgements if name in one.wrong and one.wrong[name].any()]
    every, some, whole, apart = -1, 0, 0, 0
    for one in bad:
        recording, wrong = one.recording, one.nodes(name)
        came = recording.came_through(wrong, one.known)
        every = reduce(and_, (came.get(node, 0) for node in wrong), every)
        some |= reduce(or_, (came.get(node, 0) for node in wrong))
        well = set(one.right.get(name, ()))
        others = recording.behind(recording.d[name].flat, one.known - well)
        whole |= statements_of(others)
        apart |= statements_of(set(came) - _behind_right(one, right))
    innocent = exonerated | reduce(or_, (_came_through(one, [name]) for one in judgements), 0)
    return every & ~innocent or some & ~innocent or whole & ~exonerated or apart or some


def as_floats(array: Nodes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return float64 midpoints and radii that enclose Arb numbers, or the values of nodes."""
    balls = each(lambda one: one.series if isinstance(one, Node) else one, array)
    mid = each(lambda ball: float(ball.mid()), balls, float)
    rad = each(lambda ball: float(ball.rad()), balls, float)
    with np.errstate(over="ignore"):  # beyond the largest float there is none
        return mid, rad + np.spacing(np.abs(mid))
