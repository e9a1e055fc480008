"""Disagreements are settled by proof: the right party is blamed."""

from dataclasses import replace

import numpy as np
import pytest

import gradcheck
from gradcheck import adapters as registry
from gradcheck.adapters import Adapter
from gradcheck.adapters.steps import complex_step
from gradcheck.examples import chain, chain_misprint
from gradcheck.judge.tally import Case
from gradcheck.numbers.rounding import Rounding
from gradcheck.truth import referee
from gradcheck.truth.referee import BOTH, DEFINITION, NEITHER, REFERENCE, Ruling, rule
from gradcheck.truth.witness import Witness

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
    monkeypatch.setattr(registry, "all_adapters", lambda *_: known)


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


def test_the_budget_is_spread_and_what_is_left_is_said(monkeypatch):
    register(monkeypatch, faulty=shifted("omega1", 2.0), wrong=shifted("beta2", 2.0))
    report = gradcheck.sweep(
        "chain", samples=50, dtypes=["float64"], adapters=["faulty", "wrong"], referee_limit=10
    )
    rows = disagreements(report)
    refereed = rows[rows["culprit"] != ""]
    assert len(refereed) == 10
    assert refereed.groupby("adapter").size().to_dict() == {"faulty": 5, "wrong": 5}
    assert report.run["referee"] == {"refereed": 10, "left": 90, "unsupported": "", "reasons": {}}


def test_a_bound_that_is_too_narrow_is_called_a_defect(monkeypatch):
    honest = gradcheck.judge.verdict.compare

    def narrowed(value, reference):
        return honest(value, replace(reference, bound=reference.bound * 1e-9))

    monkeypatch.setattr("gradcheck.harness.block.compare", narrowed)
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
        return chain.loss(xp, v) + 0 * xp.nextafter(v.x, 2.0)

    report = gradcheck.sweep(
        replace(chain_misprint.MODEL, loss=loss), samples=10, dtypes=["float64"], adapters=["jax"]
    )
    assert report.run["referee"]["unsupported"] == "numpy.nextafter"
    assert "nextafter" in report.run["unchecked"]
    assert report.summary.set_index("gradient")["disagree"]["beta1"] == 10
    assert set(disagreements(report)["culprit"]) == {""}


def softplus_forward(xp, v, t):
    t.z = v.a * v.x
    t.loss = np.maximum(t.z, 0) + np.log1p(np.exp(-np.abs(t.z)))


def softplus_backward(xp, v, t, d):
    d.z = 1 / (1 + np.exp(-t.z))
    d.a = d.z * v.x


def cancelling(xp, v):
    """−log(1 − sigmoid z): all digits of 1 − sigmoid z are lost where z is large."""
    return -xp.log(1 - 1 / (1 + xp.exp(-v.a * v.x)))


def stable(xp, v):
    z = v.a * v.x
    return xp.maximum(z, 0.0) + xp.log1p(xp.exp(-abs(z)))


def softplus(loss, backward=softplus_backward):
    return gradcheck.Model(
        "softplus", {"x": ()}, {"a": ()}, loss, forward=softplus_forward, backward=backward
    )


def test_a_definition_that_cancels_is_to_blame_and_no_framework():
    report = gradcheck.sweep(
        softplus(cancelling), samples=300, scale=2.5, dtypes=["float64"], adapters=["torch"]
    )
    rows = disagreements(report)
    assert len(rows) > 20
    assert set(rows["culprit"]) == {DEFINITION}
    assert set(rows["message"]) == {referee.LOSES_DIGITS}
    assert report.run["referee"]["reasons"] == {referee.LOSES_DIGITS: len(rows)}
    assert report.diagnosis.empty


def test_a_stable_definition_excuses_no_faulty_adapter(monkeypatch):
    register(monkeypatch, faulty=shifted("a", 1 + 2.0**-40))
    report = gradcheck.sweep(
        softplus(stable), samples=100, scale=2.5, dtypes=["float64"], adapters=["faulty"]
    )
    assert set(disagreements(report)["culprit"]) == {"faulty"}


def test_a_definition_that_cancels_excuses_neither_a_large_fault_nor_the_passes(monkeypatch):
    register(monkeypatch, faulty=shifted("a", 1.5))
    settings = {"samples": 100, "scale": 0.5, "dtypes": ["float64"]}
    report = gradcheck.sweep(softplus(cancelling), adapters=["faulty"], **settings)
    assert set(disagreements(report)["culprit"]) == {"faulty"}

    def backward(xp, v, t, d):
        softplus_backward(xp, v, t, d)
        d.a = 1.5 * d.a

    report = gradcheck.sweep(softplus(cancelling, backward), adapters=["torch"], **settings)
    assert set(disagreements(report)["culprit"]) == {REFERENCE}


def log_of_sum(xp, v):
    return xp.log(xp.sum(xp.exp(v.a)))


def log_of_sum_forward(xp, v, t):
    largest = np.max(v.a)
    t.e = np.exp(v.a - largest)
    t.s = np.sum(t.e)
    t.loss = np.log(t.s) + largest


def log_of_sum_backward(xp, v, t, d):
    d.a = t.e / t.s


def test_a_definition_that_overflows_is_to_blame_for_a_framework_s_nan():
    model = gradcheck.Model(
        "lse", {}, {"a": (3,)}, log_of_sum, log_of_sum_forward, log_of_sum_backward
    )
    report = gradcheck.sweep(model, samples=30, scale=80.0, dtypes=["float32"], adapters=["torch"])
    rows = report.discrepancies.query("message != ''")
    assert len(rows) >= 3
    assert set(rows["culprit"]) == {DEFINITION}
    assert set(rows["message"]) == {referee.OVERFLOWS}
    mild = gradcheck.sweep(model, samples=30, scale=3.0, dtypes=["float32"], adapters=["torch"])
    assert mild.agrees


def test_the_adapter_of_the_passes_is_not_excused_by_the_definition(monkeypatch):
    faulty = shifted("a", 1 + 2.0**-30)
    register(monkeypatch, **{"hand-written": faulty, "other": faulty})
    report = gradcheck.sweep(
        softplus(cancelling),
        samples=300,
        scale=4.0,
        dtypes=["float64"],
        adapters=["hand-written", "other"],
    )
    culprits = disagreements(report).groupby("adapter")["culprit"].agg(set)
    assert culprits["hand-written"] == {"hand-written"}
    assert DEFINITION in culprits["other"]


def of_one(loss, **values):
    """Return the matter of the gradient of `a` at a point, by a model with idle passes."""
    model = gradcheck.Model(
        "one",
        {},
        {"a": ()},
        loss,
        forward=lambda xp, v, t: setattr(t, "loss", v.a),
        backward=lambda xp, v, t, d: setattr(d, "a", v.a * 0),
    )
    sample = {name: np.array([value]) for name, value in values.items()}
    return referee.Matter(Witness(model, sample, Rounding(np.dtype("float64"))), "a", 0, 1e-12)


def case(value, reference=0.0, bound=1e-12, **parts):
    return Case(0, 0, "disagree", value, reference, bound, 9.0, 9.0, **parts)


def test_an_unknown_truth_names_nobody():
    ruling = rule(case(1.0), "torch", of_one(lambda xp, v: xp.sqrt((v.a - 1.0) ** 2), a=1.0))
    assert (ruling.truth, ruling.culprit, ruling.reason) == ("unknown", "", referee.IS_UNKNOWN)


def test_an_undefined_definition_is_said_apart():
    matter = of_one(lambda xp, v: v.a, a=1.0)
    matter.slope = replace(matter.slope, undefined=True)
    ruling = rule(case(1.0), "torch", matter)
    assert (ruling.truth, ruling.culprit) == ("undefined", "")
    assert ruling.reason == referee.IS_UNDEFINED


@pytest.mark.parametrize(
    ("value", "reference", "culprit"),
    [
        (2.5, 1.0, "torch"),
        (0.5, 3.0, REFERENCE),
        (-1.5, 2.0, BOTH),
        (0.5, -1.0, ""),
        (np.nan, 1.0, "torch"),
    ],
)
def test_on_an_exact_tie_whatever_lies_between_the_sides_is_right(value, reference, culprit):
    matter = of_one(lambda xp, v: abs(v.a), a=0.0)
    ruling = rule(case(value, reference, low=-9.0, high=9.0), "torch", matter)
    assert ruling.culprit == culprit
    assert ruling.truth == "-1.00000000000000000000 to 1.00000000000000000000"


def test_so_near_a_kink_that_rounding_may_cross_it_no_adapter_is_proved_wrong():
    def loss(xp, v):
        return abs(v.a * v.a - 2.0)

    near, far = np.sqrt(2.0), 1.5
    kink = case(-2 * near, 2 * near, low=2.0, high=4.0)
    assert rule(kink, "torch", of_one(loss, a=near)).reason == referee.NEAR_A_KINK
    assert rule(kink, "torch", of_one(loss, a=far)).culprit == "torch"


def test_many_disputes_of_a_long_model_are_cut_by_the_work_they_take(monkeypatch):
    monkeypatch.setattr("gradcheck.truth.witness.WORK", 400)
    monkeypatch.setattr("gradcheck.truth.witness.FEWEST", 3)
    register(monkeypatch, faulty=shifted("omega1", 2.0))
    report = gradcheck.sweep("chain", samples=50, dtypes=["float64"], adapters=["faulty"], audit=0)
    refereed, left = (report.run["referee"][name] for name in ("refereed", "left"))
    assert 3 <= refereed < 20
    assert refereed + left == 50
    assert report.run["seconds"]["referee"] > 0


@pytest.mark.parametrize("leave", [SystemExit(0), GeneratorExit(), RecursionError("deep")])
def test_a_definition_that_ends_the_process_in_arb_is_its_own_error(leave):
    def loss(xp, v):
        if type(v.beta0).__name__ == "Reals":
            raise leave
        return chain.loss(xp, v)

    report = gradcheck.sweep(
        replace(chain.MODEL, loss=loss), samples=5, dtypes=["float64"], adapters=QUICK
    )
    assert type(leave).__name__ in report.run["referee"]["unsupported"]
    assert report.agrees


def test_passes_that_end_the_process_tell_nothing_and_end_no_referee():
    def leave(*_):
        raise SystemExit(0)

    model = replace(chain.MODEL, backward=leave)
    values = {name: np.ones(1) for name in model.leaves}
    witness = Witness(model, values, Rounding(np.dtype("float64")))
    assert witness.point.size == len(model.leaves)
    assert witness.formula(128) is None
    assert not witness.passes_leave_range
    assert not witness.definition_breaks


def test_a_finite_gradient_of_an_infinite_loss_is_no_framework_s_fault():
    lost = of_one(lambda xp, v: xp.log(xp.exp(v.a) * 2.0), a=800.0)
    assert rule(case(0.0, 1.0), "jax", lost) == Ruling(
        str(lost.slope), DEFINITION, referee.OVERFLOWS
    )
    kept = of_one(lambda xp, v: xp.log(xp.exp(v.a) * 2.0), a=8.0)
    assert rule(case(0.0, 1.0), "jax", kept).culprit == "jax"


def test_a_branch_that_overflows_unchosen_excuses_no_finite_gradient():
    def loss(xp, v):
        return xp.where(v.a > 700.0, v.a, xp.exp(v.a))

    assert rule(case(3.0, 1.0), "jax", of_one(loss, a=800.0)).culprit == "jax"
    assert rule(case(np.nan, 1.0), "jax", of_one(loss, a=800.0)).culprit == DEFINITION
