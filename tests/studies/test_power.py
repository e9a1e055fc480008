"""The detectors see what they should, are asked fairly, and the tables count what they saw."""

from dataclasses import replace
from itertools import repeat

import numpy as np
import pytest
from studies import power
from studies.detectors import DETECTORS
from studies.mutants import make_mutants
from studies.power import Trial, count_false_alarms, judge_mutants, summarise

import gradcheck
from gradcheck.examples import chain
from gradcheck.harness.request import Request
from gradcheck.harness.samples import draw_samples
from gradcheck.harness.sweep import run_sweep
from gradcheck.truth.derivative import enclose_gradients

pytest.importorskip("torch")
pytest.importorskip("jax")

MUTANTS = {m.description: m for m in make_mutants(chain.MODEL)}
FLOAT64 = np.dtype(np.float64)
FEW = {name: array[:5] for name, array in draw_samples(chain.MODEL.leaves, 0, 0, 5).items()}
WRONG_SIGN = "d.f2 = -xp.sin(t.f2) * d.h3 → xp.sin(t.f2) * d.h3"
ROUNDED = "d.f1 = t.h2 * d.h2 → float32(t.h2 * d.h2)"
SCALED = "d.f3 = 2 * (t.f3 - v.y) → 2 * (1 + 2 ** (-{})) * (t.f3 - v.y)"
CONSTANT = "d.f3 = 2 * (t.f3 - v.y) → 2"


def with_fault(description):
    return replace(chain.MODEL, backward=MUTANTS[description].backward)


@pytest.mark.parametrize("detector", DETECTORS)
def test_the_correct_pass_is_accepted(detector):
    assert list(DETECTORS[detector](chain.MODEL, FEW, FLOAT64)) == [False] * 5


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("fault", [WRONG_SIGN, SCALED.format(4), CONSTANT])
def test_a_gross_fault_is_seen_by_every_detector(detector, fault):
    assert any(DETECTORS[detector](with_fault(fault), FEW, FLOAT64))


@pytest.mark.parametrize("fault", [ROUNDED, SCALED.format(44)])
def test_a_small_fault_is_seen_by_gradcheck_alone(fault):
    seen = {name for name, see in DETECTORS.items() if any(see(with_fault(fault), FEW, FLOAT64))}
    assert seen == {"gradcheck"}


@pytest.mark.parametrize(
    "fault",
    [
        WRONG_SIGN,
        SCALED.format(48),
        "d.f1 = t.h2 * d.h2 → t.h2 * d.h2 * (1 + 2 ** (-48))",
    ],
)
def test_gradcheck_rejects_where_a_sweep_disagrees(fault):
    model, count = with_fault(fault), 500
    settings = {"samples": count, "dtypes": ("float64",), "adapters": ("torch",), "rows": count}
    tallies = run_sweep(model, Request(**settings)).tallies.values()
    disagreed = {case.sample for tally in tallies for case in tally.disagreements}
    values = draw_samples(model.leaves, 0, 0, count)
    rejected = np.flatnonzero(list(DETECTORS["gradcheck"](model, values, FLOAT64)))
    assert disagreed == set(rejected.tolist())
    few = {"referee_limit": 1, "audit": 0}
    assert gradcheck.sweep(model, **settings, **few).agrees == (not disagreed)


def test_a_pass_written_differently_is_equivalent_and_one_that_errs_is_not():
    def commuted(xp, v, t, d):
        chain.backward(xp, v, t, d)
        d.omega0 = d.f0 * v.x

    truth = enclose_gradients(chain.MODEL, FEW)
    same = enclose_gradients(replace(chain.MODEL, backward=commuted), FEW)
    assert power.indistinguishable(same, truth)
    for fault in (SCALED.format(48), CONSTANT):
        assert not power.indistinguishable(enclose_gradients(with_fault(fault), FEW), truth)


def test_a_table_has_a_row_for_every_mutant_and_its_summary_counts_them(monkeypatch):
    always = {**DETECTORS, "jax_check_grads": lambda model, values, dtype: repeat(True, 3)}
    monkeypatch.setattr(power, "DETECTORS", always)
    chosen = [MUTANTS[fault].id for fault in (WRONG_SIGN, ROUNDED, SCALED.format(8))]
    table = judge_mutants(Trial(samples=3, more_samples=50), chosen=chosen)
    assert table["id"].tolist() == chosen
    assert table["gradcheck_50"].tolist() == [True, True, True]
    assert table["torch_gradcheck"].tolist() == [True, False, True]
    assert table["allclose"].tolist() == [True, False, True]
    # It rejects the correct pass too: that is no kill.
    assert table["jax_check_grads"].tolist() == [False, False, False]
    assert table["jax_check_grads_first"].isna().all()
    assert not table["equivalent"].any()

    summary = summarise(table).set_index("fault")
    assert summary["mutants"].to_dict() == {"sign": 1, "float32": 1, "× (1 + 2^-8)": 1, "all": 3}
    assert summary.loc["all", ["gradcheck", "allclose"]].tolist() == [3, 2]
    table["equivalent"] = [False, True, False]
    assert summarise(table).set_index("fault").loc["all", "mutants"] == 2


def test_false_alarms_are_counted_and_drawn(monkeypatch):
    monkeypatch.setattr(power, "SCALES", (1.0,))
    table = count_false_alarms(Trial(samples=2, many_samples=1000))
    rows = table.set_index(["detector", "dtype"])
    assert len(rows) == len(DETECTORS) * 2
    assert rows.loc[("gradcheck", "float64"), "comparisons"] == 1000 * 8 * 2
    assert rows.loc["gradcheck", "false_alarms"].sum() == 0
    assert rows.loc[("allclose", "float32"), "false_alarms"] > 0  # it asks for more than 24 bits

    pytest.importorskip("matplotlib")
    from studies.power_figure import draw_power

    mutants = judge_mutants(Trial(samples=2, more_samples=2), chosen=[MUTANTS[SCALED.format(8)].id])
    assert draw_power(mutants, table).startswith(b"\x89PNG")
