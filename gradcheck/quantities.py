"""Every quantity and adjoint on a few swept samples: what a picture of the computation shows.

Each is compared with its bar by whoever is cheap to ask: the passes in the dtype under judgement,
the complex step through the forward pass, and the referee. The samples are those that the sweep
found worst, and its first ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradcheck.adapters.steps import complex_step
from gradcheck.errors import RequestError, guarded
from gradcheck.harness.outcome import Outcome
from gradcheck.harness.request import Request
from gradcheck.judge.evaluation import Evaluation
from gradcheck.judge.reference import Passes, is_informative, stochastic_passes
from gradcheck.judge.tally import Case
from gradcheck.model.board import Blackboard, Given
from gradcheck.model.model import Model, each_sample, label, run_passes
from gradcheck.model.origins import array_of, find_origins
from gradcheck.model.taps import tap_name, with_taps
from gradcheck.numbers.arb import Reals, Side
from gradcheck.numbers.narrow import plain
from gradcheck.trace import Pairs, with_bars
from gradcheck.truth.derivative import Point, along
from gradcheck.truth.enclosures import decimal, precision

SAMPLES = 2
"""Looked at in each dtype."""
MOST_QUANTITIES = 200
"""Of the trace; of more, the first ones are looked at."""
BITS = 128
STEPS_WORK, TRUTH_WORK = 300_000, 30_000
"""Evaluations times numbers in the passes that the complex step, in NumPy, and the referee, in
Python, may take for a sample: about a tenth of a second each."""
ORIGINS_WORK = 3_000_000
"""The same, of what finds the edges of the graph on all samples."""
MOST_ORIGINS = 8
"""Samples on which they are looked for, on all of which a ReLU of many is hardly dead."""
REFERENCE = "reference"
Values = Mapping[str, NDArray[Any]]
Key = tuple[str, str]
"""`forward` or `backward`, and the quantity."""


class Row(NamedTuple):
    """One quantity or adjoint in one dtype: the columns of `quantities.csv`."""

    dtype: str
    direction: str
    quantity: str
    sample: int
    element: str
    value: float
    bar: float
    truth: str
    worst_ratio: float
    worst_party: str
    worst_sample: int
    origins: str


@dataclass(frozen=True)
class _Look:
    """A quantity on one sample, where it is farthest off relative to its bar."""

    element: str
    value: float
    bar: float
    truth: str
    ratio: float
    party: str


def quantity_rows(model: Model, request: Request, outcome: Outcome) -> list[Row]:
    """Look at a few samples of each dtype, the worst one first.

    Returns
    -------
    list
        Nothing of a recorded function, whose quantities have no names.
    """
    if model.recorded:
        return []
    origins = _origins(model, next(iter(outcome.samples.values())).values)
    return [
        row for dtype in request.dtypes for row in _rows(model, request, outcome, dtype, origins)
    ]


def _rows(
    model: Model,
    request: Request,
    outcome: Outcome,
    dtype: str,
    origins: Mapping[str, list[str]],
) -> Iterator[Row]:
    chosen = outcome.samples[dtype].select(_worst_samples(outcome, dtype))
    looks = []
    for row in range(len(chosen.numbers)):
        one = {name: array[row : row + 1] for name, array in chosen.values.items()}
        looks.append(_look(model, request, dtype, one))
    for key, shown in looks[0].items():
        each = [(look[key], int(n)) for look, n in zip(looks, chosen.numbers, strict=True)]
        worst, where = max(each, key=lambda found: np.nan_to_num(found[0].ratio, nan=-1.0))
        direction, quantity = key
        yield Row(
            dtype, direction, quantity, int(chosen.numbers[0]), shown.element,
            shown.value, shown.bar, shown.truth, worst.ratio, worst.party, where,
            " ".join(origins.get(quantity, ())) if direction == "forward" else "",
        )  # fmt: skip


def _worst_samples(outcome: Outcome, dtype: str) -> list[int]:
    """Choose samples: the worst disagreement or else the worst agreement, then others."""
    cases: list[tuple[bool, float, Case]] = []
    for key, tally in outcome.tallies.items():
        if key[1] == dtype and tally.judged:
            cases += [(True, case.ulps, case) for case in tally.disagreements[:1]]
            cases += [(False, tally.worst.ratio, tally.worst)] if tally.worst else []
    cases.sort(key=lambda found: (not found[0], -found[1], found[2].place))
    held = outcome.samples[dtype].numbers.tolist()
    return list(dict.fromkeys([*(case.sample for *_, case in cases), *held]))[:SAMPLES]


def _origins(model: Model, values: Values) -> Mapping[str, list[str]]:
    numbers = sum(map(prod, model.leaves.values()))
    fit = ORIGINS_WORK // (numbers * (len(model.leaves) + MOST_QUANTITIES))
    some = {name: array[: min(max(1, fit), MOST_ORIGINS)] for name, array in values.items()}
    try:
        with guarded():
            return find_origins(model, some)
    except Exception:  # the passes run on balls, if not on plain numbers
        return {}


def _look(model: Model, request: Request, dtype: str, values: Values) -> dict[Key, _Look]:
    rounding = request.rounding(dtype)
    with np.errstate(all="ignore"):
        passes = Passes(model, values, rounding)
        scattered: Evaluation = passes
        if request.bars != "ball" and not _tells_all(passes):
            scattered = stochastic_passes(model, values, rounding)
        pairs = {
            "forward": _first(with_bars(passes, scattered, "t")),
            "backward": _first(with_bars(passes, scattered, "d")),
        }
        inner = _tappable(model, pairs["forward"])
        work = sum(np.size(bar) for found in pairs.values() for _, bar in found.values())
        plainly = _plainly(model, values, dtype)
        stepped = _stepped(model, values, inner, work) if dtype == "float64" else {}
        truths = _Truths(model, values, inner, work * (1 + len(pairs["backward"])) <= TRUTH_WORK)
        looks = {}
        for direction, found in pairs.items():
            for name, (value, bar) in found.items():
                parties = {
                    party: np.broadcast_to(boards[name], value.shape)
                    for party, boards in (
                        ("hand-written", plainly.get(direction, {})),
                        ("complex-step", stepped if direction == "backward" else {}),
                    )
                    if name in boards
                }
                looks[direction, name] = _farthest(
                    value, bar, parties, lambda place, d=direction, n=name: truths.at(d, n, place)
                )
    return looks


def _tappable(model: Model, forward: Pairs) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the quantities by which one can differentiate."""
    inner = {name: bar.shape for name, (_, bar) in forward.items() if name != "loss"}
    try:
        with_taps(model, inner)
    except RequestError:  # a name that no parameter may have
        return {}
    return inner


def _tells_all(passes: Passes) -> bool:
    """Tell whether every ball is informative, so that nothing else need judge."""
    return all(
        is_informative(value, bar).all()
        for board in "td"
        for value, bar in with_bars(passes, passes, board).values()
    )


def _first(pairs: Pairs) -> Pairs:
    return dict(list(pairs.items())[:MOST_QUANTITIES])


def _farthest(value: Any, bar: Any, parties: Mapping[str, Any], truth: Any) -> _Look:
    """Find the element that a party is farthest off in; hold the reference against the truth."""
    ratio, who, place = -1.0, "", int(np.argmax(np.abs(value)))
    for party, numbers in parties.items():
        ratios = np.ravel(_ratio(numbers, value, bar))
        at = int(np.argmax(ratios))
        at = at if ratios[at] > 0 else place  # where all are exact, the largest one is shown
        if ratios[at] > ratio:
            ratio, who, place = float(ratios[at]), party, at
    element = np.unravel_index(place, np.shape(value))
    real = truth(tuple(map(int, element)))
    if real:
        own = float(_ratio(np.float64(float(real)), value[element], bar[element]))
        if own > ratio:
            ratio, who = own, REFERENCE
    return _Look(
        label("", map(int, element)),
        float(value[element]),
        float(bar[element]),
        real,
        ratio if ratio >= 0 else np.nan,
        who,
    )


def _ratio(numbers: Any, value: Any, bar: Any) -> Any:
    """Return the distance over the bar; −1 where the bar, or a value, tells nothing."""
    distance = np.abs(np.asarray(numbers, np.float64) - value)
    ratio = np.where(distance == 0, 0.0, distance / bar)
    return np.where(np.isfinite(bar) & np.isfinite(distance), ratio, -1.0)


def _plainly(model: Model, values: Values, dtype: str) -> Mapping[str, Mapping[str, Any]]:
    """Run the passes on plain numbers of the dtype."""
    given = {n: a if a.dtype.kind == "i" else a.astype(np.dtype(dtype)) for n, a in values.items()}
    hidden = 0 if model.batched else 1
    try:
        with guarded():
            _, t, d = run_passes(model, np, plain(given, hidden))
            return {"forward": _arrays(t, hidden), "backward": _arrays(d, hidden)}
    except Exception:  # where they compare, what runs on balls may not run on plain numbers
        return {}


def _arrays(board: Blackboard, hidden: int) -> dict[str, NDArray[Any]]:
    found = {}
    for name in board:
        array = array_of(board[name])
        alone = hidden and not hasattr(board[name], "array")  # a constant has no sample axis
        found[name] = np.asarray(array if alone or not array.ndim else array[0])
    return found


def _stepped(
    model: Model, values: Values, inner: Mapping[str, tuple[int, ...]], work: int
) -> Mapping[str, NDArray[Any]]:
    """Differentiate by the intermediate quantities, if there are few."""
    if not inner or sum(map(prod, inner.values())) * work > STEPS_WORK:
        return {}
    taps = {tap_name(name): shape for name, shape in inner.items()}
    derived = replace(
        with_taps(model, inner), inputs=model.leaves, parameters=taps, closed_forms={}
    )
    zeros = {name: np.zeros((1, *shape)) for name, shape in taps.items()}
    try:
        with guarded():
            found = complex_step.prepare(derived, np.dtype(np.float64))({**values, **zeros})
    except Exception:  # the forward pass need not run on complex numbers
        return {}
    return {name: found[tap_name(name)][0] for name in inner}


class _Truths:
    """What the referee knows of one sample, as text; empty where it knows nothing."""

    def __init__(
        self, model: Model, values: Values, inner: Mapping[str, tuple[int, ...]], affordable: bool
    ) -> None:
        self._affordable = affordable
        self._model = model
        (self._own,) = each_sample(model, values)
        zeros = {tap_name(name): np.zeros((1, *shape)) for name, shape in inner.items()}
        (with_zeros,) = each_sample(model, {**values, **zeros})
        self._points = (Point(model, self._own), Point(with_taps(model, inner), with_zeros))
        self._forward = self._trace() if affordable else {}

    def _trace(self) -> Mapping[str, Any]:
        """Run the forward pass, and the definition, in exact arithmetic but for roundoff."""
        trace = Blackboard()
        side = Side(dtype=np.float64)
        try:
            with guarded(), precision(BITS):
                leaves = {
                    name: Reals(Reals.from_value(np.asarray(value)).values, side)
                    for name, value in self._own.items()
                }
                self._model.forward(np, Given(leaves), trace)
                return {name: trace[name].values for name in trace}
        except Exception:  # Arb cannot follow it
            return {}

    def at(self, direction: str, name: str, element: tuple[int, ...]) -> str:
        """Write the true value of one number."""
        if not self._affordable:
            return ""
        try:
            with guarded():
                return (
                    self._forward_at(name, element)
                    if direction == "forward"
                    else self._slope(name, element)
                )
        except Exception:
            return ""

    def _forward_at(self, name: str, element: tuple[int, ...]) -> str:
        values = np.asarray(self._forward[name])
        if self._model.batched and values.ndim > len(element):
            values = values[0]
        number = values[element] if values.ndim else values.item()
        return decimal(number) if number.is_finite() else ""

    def _slope(self, name: str, element: tuple[int, ...]) -> str:
        own = name in self._model.parameters
        point, key = self._points[not own], name if own else tap_name(name)
        if key not in point.model.parameters:
            return ""
        slope = point.slope(along(point.model, key, element), BITS)
        return decimal(slope.enclosure) if slope.is_known and not slope.two_sided else ""
