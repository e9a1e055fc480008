"""Costs are summarised by size, and per million samples more."""

import pandas as pd
import pytest
from studies.speed import summarise


def test_medians_are_taken_by_size_and_what_does_not_grow_is_no_marginal_cost():
    rows = [
        {"samples": n, "sweep": 8 + 4 * n / 1e6 + late, "bare": 3 + 2 * n / 1e6, "jax": n / 1e6}
        for n in (200_000, 1_000_000, 2_200_000)
        for late in (0, 0.5, 60)  # a repeat in which the machine was busy
    ]
    summary = summarise(pd.DataFrame(rows))
    more = summary.loc["each million more"]
    assert more["sweep"] == pytest.approx(4)
    assert more["bare"] == pytest.approx(2)
    assert more["ratio"] == pytest.approx(2)
    assert more["jax"] == pytest.approx(1)
    whole = summary.loc["1,000,000 samples"]
    assert whole["sweep"] == 12.5
    assert whole["ratio"] == 2.5
