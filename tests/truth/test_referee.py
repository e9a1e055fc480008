"""Disagreements are settled by proof: the right party is blamed, and agreement is audited."""

from dataclasses import replace

import numpy as np
import pytest

import gradcheck
from gradcheck import adapters as registry
from gradcheck.adapters import Adapter
from gradcheck.adapters.steps import complex_step
from gradcheck.examples import chain, chain_misprint
from gradcheck.truth.referee import NEITHER, REFERENCE

QUICK = ("complex-step",)


def shifted(parameter, factor):
    """Return an honest adapter, but for one gradient that is scaled."""

    def prepare(model, dtype):
        honest = complex_step.prepare(model, dtype)

        def gradients(values):
            found = dict(honest(values))
            found[parameter] = found[parameter] * dtype.type(factor)
            return found

        return gradients

    return Adapter(prepare, "a faulty adapter", normal_range=complex_step.normal_range)


def register(monkeypatch, **adapters):
    known = registry.all_adapters() | adapters
    monkeypatch.setattr(registry, "all_adapters", lambda: known)


def disagreements(report):
    return report.discrepancies[report.discrepancies["verdict"] == "disagree"]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_misprint_is_blamed_on_the_reference_on_every_row(dtype):
    report = gradcheck.sweep("chain-misprint", samples=150, dtypes=[dtype], adapters=QUICK)
    rows = disagreements(report)
    assert len(rows) == 100
    assert set(rows["culprit"]) == {REFERENCE}
    assert (rows["truth"].astype(float) - rows["value"]).abs().max() < rows["bound"].max() * 1e3


@pytest.mark.parametrize(("dtype", "factor"), [("float64", 1 + 2.0**-38), ("float32", 1.01)])
def test_a_faulty_adapter_is_blamed_by_name(monkeypatch, dtype, factor):
    register(monkeypatch, faulty=shifted("omega1", factor))
    report = gradcheck.sweep(
        "chain", samples=200, dtypes=[dtype], adapters=["faulty", "complex-step"]
    )
    rows = disagreements(report)
    assert set(rows["adapter"]) == {"faulty"}
    assert set(rows["culprit"]) == {"faulty"}
    assert report.diagnosis.empty


def test_a_fault_little_larger_than_the_bound_is_no_defect_of_the_bound():
    def backward(xp, v, t, d):
        chain.backward(xp, v, t, d)
        d.beta2 = d.beta2 * (1 + 2**-48)

    model = replace(chain.MODEL, backward=backward)
    report = gradcheck.sweep(model, samples=1000, dtypes=["float64"], adapters=["jax"])
    assert set(disagreements(report)["culprit"]) == {REFERENCE}
    assert report.run["counts"]["defect"] == 0


def test_both_are_blamed_if_both_are_wrong(monkeypatch):
    register(monkeypatch, faulty=shifted("beta1", 3.0))
    report = gradcheck.sweep("chain-misprint", samples=50, dtypes=["float64"], adapters=["faulty"])
    assert set(disagreements(report)["culprit"]) == {"both"}


def test_a_mistake_that_everybody_makes_is_found_by_the_audit():
    report = gradcheck.sweep(
        "chain-misprint", samples=500, dtypes=["float64"], adapters=["closed-form"]
    )
    assert report.summary["disagree"].sum() == 0
    assert report.run["audit"] == {"samples": 20, "proved": 140, "refuted": 20}
    assert not report.agrees
    assert set(disagreements(report)["adapter"]) == {"referee"}
    assert list(report.diagnosis["quantity"]) == ["d.beta1"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda f1, v, t: f1 / 0 * 0,
        lambda f1, v, t: f1 * 1e308 * 1e308,
        lambda f1, v, t: f1 * t.h1 + (1e25 * v.x - 1e25 * v.x),
    ],
)
def test_an_infinite_or_meaningless_bar_does_not_hide_a_wrong_formula(spoil):
    def backward(xp, v, t, d):
        chain.backward(xp, v, t, d)
        d.beta1 = spoil(d.beta1, v, t)

    model = replace(chain.MODEL, backward=backward)
    report = gradcheck.sweep(model, samples=300, dtypes=["float64"], adapters=QUICK)
    assert not report.agrees
    assert report.run["audit"]["refuted"] == 20
    assert set(disagreements(report)["gradient"]) == {"beta1"}


def test_a_rounded_constant_in_the_formula_is_no_fault():
    def loss(xp, v):
        return v.a * v.a / 3

    def forward(xp, v, t):
        t.loss = v.a * v.a / 3

    def backward(xp, v, t, d):
        d.a = (2 / 3) * v.a

    third = gradcheck.Model("third", {}, {"a": ()}, loss, forward, backward)
    report = gradcheck.sweep(third, samples=2000, adapters=QUICK)
    assert report.agrees
    assert report.run["audit"] == {"samples": 20, "proved": 20, "refuted": 0}


def test_an_adapter_that_changes_its_inputs_harms_no_other(monkeypatch):
    def prepare(model, dtype):
        def gradients(values):
            values["x"][:] = 0
            return {}

        return gradients

    register(monkeypatch, careless=Adapter(prepare, "writes to its inputs"))
    report = gradcheck.sweep("chain", samples=50, adapters=["careless", "complex-step"])
    assert report.run["counts"]["disagree"] == 0
    assert report.run["counts"]["error"] == 800


def test_the_audit_proves_an_honest_pass():
    report = gradcheck.sweep("chain", samples=30_000, adapters=QUICK)
    assert report.run["audit"] == {"samples": 30, "proved": 240, "refuted": 0}


def test_no_audit_is_made_if_none_is_wanted():
    report = gradcheck.sweep("chain", samples=10, adapters=QUICK, audit=0.0)
    assert report.run["audit"]["samples"] == 0


def test_the_budget_is_spread_and_what_is_left_is_said(monkeypatch):
    register(monkeypatch, faulty=shifted("omega1", 2.0), wrong=shifted("beta2", 2.0))
    report = gradcheck.sweep(
        "chain", samples=50, dtypes=["float64"], adapters=["faulty", "wrong"], referee_limit=10
    )
    rows = disagreements(report)
    refereed = rows[rows["culprit"] != ""]
    assert len(refereed) == 10
    assert refereed.groupby("adapter").size().to_dict() == {"faulty": 5, "wrong": 5}
    assert report.run["referee"] == {"refereed": 10, "left": 90, "unsupported": ""}


def test_a_bound_that_is_too_narrow_is_called_a_defect(monkeypatch):
    honest = gradcheck.judge.verdict.compare

    def narrowed(value, reference):
        return honest(value, replace(reference, bound=reference.bound * 1e-9))

    monkeypatch.setattr("gradcheck.harness.sweep.compare", narrowed)
    monkeypatch.setattr(
        "gradcheck.truth.referee.is_outside", lambda value, truth, bar: not np.isfinite(value)
    )
    report = gradcheck.sweep("chain", samples=100, dtypes=["float64"], adapters=["jax"])
    defects = report.discrepancies[report.discrepancies["verdict"] == "defect"]
    assert len(defects) == report.run["counts"]["defect"] > 0
    assert set(defects["culprit"]) == {NEITHER}
    assert not report.agrees


def test_an_operation_that_arb_lacks_is_named_and_the_sweep_goes_on():
    def loss(xp, v):
        return chain.loss(xp, v) + 0 * xp.cbrt(v.x)

    report = gradcheck.sweep(
        replace(chain_misprint.MODEL, loss=loss), samples=10, dtypes=["float64"], adapters=["jax"]
    )
    assert report.run["referee"]["unsupported"] == "cbrt"
    assert "cbrt" in report.run["unchecked"]
    assert report.summary.set_index("gradient")["disagree"]["beta1"] == 10
    assert set(disagreements(report)["culprit"]) == {""}
