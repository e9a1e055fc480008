"""A few points of many comparisons: the same ones however a sweep is cut."""

from functools import reduce
from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradcheck.judge.reference import Reference
from gradcheck.judge.tally import Tally, tally_comparison
from gradcheck.judge.thinning import POINTS, Thinning, thinning
from gradcheck.judge.verdict import Verdict, compare
from gradcheck.numbers.ball import Rounding

FLOAT64 = Rounding(np.dtype(np.float64))


def tallied(value, bound=1.0, start=0, chosen=None, judged=True, risk=False):
    value = np.asarray(value, float)
    hold = Reference(
        np.full(value.shape, 8.0), np.broadcast_to(bound, value.shape) * np.ones(value.shape),
        np.broadcast_to(risk, value.shape), FLOAT64,
    )  # fmt: skip
    return tally_comparison(compare(value, hold), start, 3, judged, False, chosen)


@pytest.mark.parametrize("samples", [1, 7, 127, 128, 129, 10_000, 2**53])
@pytest.mark.parametrize("turns", [1, 3, 8, 400])
def test_gradients_take_turns_and_no_sample_gives_two_points(samples, turns):
    whole = min(samples, 40_000)
    taken = [thinning(samples, turn, turns).rows(0, whole).tolist() for turn in range(turns)]
    together = sorted(chain.from_iterable(taken))
    assert len(set(together)) == len(together) <= POINTS
    stride = -(-samples // POINTS)
    assert together == list(range(0, whole, stride))[: len(together)]
    if turns <= POINTS:  # of more gradients, some have no turn
        assert len(together) == -(-whole // stride)


@given(
    samples=st.integers(1, 60),
    cuts=st.sets(st.integers(1, 59), max_size=5),
    step=st.integers(1, 9),
    first=st.integers(0, 12),
    start=st.integers(0, 10**9),
)
def test_however_a_sweep_is_cut_the_points_are_the_same(samples, cuts, step, first, start):
    values = 8 + np.random.default_rng(0).normal(size=(samples, 2))
    chosen = Thinning(first + start, step)
    ends = [0, *sorted(cut for cut in cuts if cut < samples), samples]
    pieces = [
        tallied(values[low:high], start=start + low, chosen=chosen) for low, high in pairwise(ends)
    ]
    whole = tallied(values, start=start, chosen=chosen).points
    assert np.array_equal(reduce(Tally.merge, pieces).points, whole)
    assert np.array_equal(reduce(Tally.merge, reversed(pieces)).points, whole)
    assert whole[:, 0].tolist() == list(range(start + first, start + samples, step))


def test_a_point_is_the_element_that_is_worst_relative_to_its_bound():
    found = tallied(
        [[8.5, 9.5], [8.25, 8.0]], bound=[[1.0, 4.0], [1.0, 1.0]], chosen=Thinning(0, 1)
    )
    assert found.points.tolist() == [
        [0, 0, Verdict.AGREE, 0.5, 1.0, 8.0],
        [1, 0, Verdict.AGREE, 0.25, 1.0, 8.0],
    ]


def test_what_disagrees_is_above_its_bound_and_what_is_not_finite_has_no_point():
    found = tallied([[11.0], [np.nan], [np.inf], [8.0]], chosen=Thinning(0, 1))
    assert found.points.tolist() == [
        [0, 0, Verdict.DISAGREE, 3.0, 1.0, 8.0],
        [3, 0, Verdict.AGREE, 0.0, 1.0, 8.0],
    ]


def test_who_is_not_judged_has_no_points():
    assert len(tallied([[11.0]], chosen=Thinning(0, 1), judged=False).points) == 0
    assert len(tallied([[11.0]]).points) == 0
