"""The sweep finds every planted fault, survives every broken adapter, and repeats itself."""

import dataclasses
import functools
import importlib

import numpy as np
import pandas as pd
import pytest

import gradcheck
from gradcheck.adapters import Adapter, all_adapters
from gradcheck.api import stages
from gradcheck.examples import chain
from gradcheck.harness.request import Request
from gradcheck.harness.samples import draw_model, draw_samples
from gradcheck.harness.sweep import run_sweep
from gradcheck.judge.reference import Passes
from gradcheck.judge.verdict import Verdict
from gradcheck.numbers.rounding import Rounding

GRADIENTS = tuple(chain.MODEL.parameters)
ALL_BUT_LAST_LAYER = {"beta0", "beta1", "beta2", "omega0", "omega1", "omega2"}
BOTH = ("float64", "float32")
BLOCK = 4096


def swept(model="chain", block=BLOCK, progress=lambda fraction: None, **settings):
    """Sweep with fewer samples evaluated at once."""
    model = gradcheck.load_model(model) if isinstance(model, str) else model
    *_, report = stages(model, Request(**settings), progress, block)
    return report


# --- faults of the hand-written pass

FAULTS = {
    # what the line of the backward pass holds instead; which gradients it spoils, in which dtypes
    "a wrong sign": ("f2", lambda v, t, d: np.sin(t.f2) * d.h3, ALL_BUT_LAST_LAYER, BOTH),
    "a dropped factor": (
        "h2",
        lambda v, t, d: d.f2,
        {"beta0", "beta1", "omega0", "omega1"},
        BOTH,
    ),
    "sine for cosine": ("f0", lambda v, t, d: np.sin(t.f0) * d.h1, {"beta0", "omega0"}, BOTH),
    "a neighbour's adjoint": ("omega1", lambda v, t, d: t.h1 * d.f2, {"omega1"}, BOTH),
    "a factor off by 2^-40": (
        "f3",
        lambda v, t, d: 2 * (1 + 2.0**-40) * (t.f3 - v.y),
        set(GRADIENTS),
        ("float64",),
    ),
}


class Slip:
    """A blackboard of adjoints on which one quantity is always written wrongly."""

    def __init__(self, v, t, d, quantity, line):
        vars(self).update(v=v, t=t, d=d, quantity=quantity, line=line)

    def __getattr__(self, name):
        return getattr(self.d, name)

    def __setattr__(self, name, value):
        setattr(self.d, name, self.line(self.v, self.t, self.d) if name == self.quantity else value)


def chain_with(fault):
    """`chain`, one line of its backward pass replaced."""
    quantity, line, _, _ = FAULTS[fault]

    def backward(xp, v, t, d):
        chain.backward(xp, v, t, Slip(v, t, d, quantity, line))

    return dataclasses.replace(chain.MODEL, backward=backward)


@functools.cache
def faulty(fault, adapter):
    """By dtype, the gradients in which a fault shows."""
    request = Request(samples=10_000, adapters=(adapter,))
    tallies = run_sweep(chain_with(fault), request).tallies
    assert {gradient for _, _, gradient in tallies} == set(GRADIENTS)
    return {
        dtype: {
            gradient
            for gradient in GRADIENTS
            if tallies[adapter, dtype, gradient].counts[Verdict.DISAGREE]
        }
        for dtype in BOTH
    }


@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_shows_in_the_gradients_downstream_of_it_and_in_no_other(fault, dtype):
    _, _, downstream, dtypes = FAULTS[fault]
    assert faulty(fault, "complex-step")[dtype] == (downstream if dtype in dtypes else set())


@pytest.mark.skipif(not all_adapters()["torch"].installed, reason="PyTorch is not installed")
@pytest.mark.parametrize("dtype", BOTH)
def test_pytorch_finds_a_planted_fault_too(dtype):
    assert faulty("sine for cosine", "torch")[dtype] == {"beta0", "omega0"}


def test_a_fault_makes_the_report_disagree_and_an_honest_pass_does_not():
    for model, agrees in ((chain.MODEL, True), (chain_with("sine for cosine"), False)):
        assert gradcheck.sweep(model, samples=100, adapters=["complex-step"]).agrees is agrees


@pytest.mark.parametrize("dtype", BOTH)
def test_the_misprint_shows_in_beta1_on_every_informative_sample_and_nowhere_else(dtype):
    request = Request(samples=10_000, dtypes=(dtype,), adapters=("complex-step",))
    tallies = run_sweep(gradcheck.load_model("chain-misprint"), request).tallies
    beta1 = tallies["complex-step", dtype, "beta1"].counts
    assert beta1[Verdict.AGREE] == 0
    assert beta1[Verdict.DISAGREE] + beta1[Verdict.UNINFORMATIVE] == 10_000
    assert beta1[Verdict.DISAGREE] > 9_900
    for (_, _, gradient), tally in tallies.items():
        assert gradient == "beta1" or not tally.counts[Verdict.DISAGREE]


def test_a_definition_that_differs_from_the_forward_pass_is_no_agreement():
    def shifted(xp, v):
        return chain.loss(xp, v) + 1

    report = gradcheck.sweep(
        dataclasses.replace(chain.MODEL, loss=shifted), samples=10, adapters=["complex-step"]
    )
    assert set(report.run["misstated"]) == set(BOTH)
    assert report.run["counts"]["disagree"] == 0
    assert not report.agrees


def test_finite_differences_are_measured_and_not_judged():
    report = gradcheck.sweep(samples=1000, adapters=["finite-difference", "central-difference"])
    verdicts = ["agree", "disagree", "uninformative", "overflow", "kink", "error", "nan"]
    assert not report.summary[verdicts].any(axis=None)
    assert (report.summary["max_ulps"] > 100).all()
    assert not report.agrees  # nothing was judged


# --- faults of an adapter


def raise_from_a_line(found, values):
    raise ValueError("no luck\nat all")


def drop_omega3(found, values):
    del found["omega3"]
    return found


def raise_in_a_later_block(found, values):
    if values["x"][0] != FIRST_X[str(values["x"].dtype)]:
        raise ValueError("the second block")
    return found


FIRST_X = {dtype: draw_samples({"x": ()}, 0, 0, 1, dtype=dtype)["x"][0] for dtype in BOTH}

BROKEN = {
    # what an adapter does with honest gradients; what the message says
    "raises": (raise_from_a_line, "ValueError: no luck"),
    "returns nothing": (lambda found, values: None, "TypeError"),
    "returns the wrong shape": (
        lambda found, values: {name: array[:-1] for name, array in found.items()},
        f"({BLOCK - 1},) where",
    ),
    "returns one number for all samples": (
        lambda found, values: {name: array.sum() for name, array in found.items()},
        "() where",
    ),
    "returns the wrong dtype": (
        lambda found, values: {name: array.astype("complex64") for name, array in found.items()},
        "returned complex64",
    ),
    "returns ragged lists": (
        lambda found, values: {name: [[1.0], [1.0, 2.0]] for name in found},
        "ValueError",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_adapter_becomes_an_error_with_its_reason_and_the_others_go_on(
    kind, register, altered
):
    alter, reason = BROKEN[kind]
    register({"broken": altered(alter), "honest": altered()})
    report = swept(samples=100)
    broken = report.summary[report.summary["adapter"] == "broken"]
    honest = report.summary[report.summary["adapter"] == "honest"]
    assert (broken["error"] == 100).all()
    assert broken["message"].str.contains(reason, regex=False).all()
    assert not broken["message"].str.contains("\n").any()
    assert not honest[["disagree", "error"]].any(axis=None)
    assert (honest["agree"] > 95).all()
    assert not report.agrees


def test_an_adapter_that_cannot_be_prepared_is_an_error(register, altered):
    def prepare(model, dtype):
        raise ImportError("libgradients.so is missing")

    register({"broken": Adapter(prepare, "for a test"), "honest": altered()})
    report = swept(samples=100)
    broken = report.summary[report.summary["adapter"] == "broken"]
    assert (broken["error"] == 100).all()
    assert (broken["message"] == "ImportError: libgradients.so is missing").all()


def test_a_missing_gradient_is_an_error_of_that_gradient_alone(register, altered, counts):
    register({"broken": altered(drop_omega3), "honest": altered()})
    report = gradcheck.sweep(samples=100, dtypes=["float64"])
    errors = counts(report.summary, "error", adapter="broken")
    assert errors == {name: 100 if name == "omega3" else 0 for name in GRADIENTS}
    assert "no gradient for omega3" in set(report.summary["message"])


def test_an_adapter_that_fails_in_a_later_block_keeps_its_earlier_verdicts(
    register, altered, counts
):
    register({"broken": altered(raise_in_a_later_block), "honest": altered()})
    report = swept(samples=BLOCK + 1000, dtypes=["float64"])
    broken = report.summary[report.summary["adapter"] == "broken"]
    assert (broken["error"] == 1000).all()
    assert (broken["agree"] + broken["uninformative"] == BLOCK).all()
    assert (broken["message"] == "ValueError: the second block").all()
    errors = report.discrepancies[report.discrepancies["verdict"] == "error"]
    assert (errors["sample"] == BLOCK).all()


@pytest.mark.parametrize(("value", "verdict"), [(np.nan, "nan"), (np.inf, "disagree")])
def test_a_value_that_is_not_finite_fails(value, verdict, register, altered, counts):
    def spoil(found, values):
        found["beta2"][3] = value
        return found

    register({"broken": altered(spoil), "honest": altered()})
    report = gradcheck.sweep(samples=100)
    assert counts(report.summary, verdict, adapter="broken", dtype="float32")["beta2"] == 1
    assert report.run["counts"][verdict] == 2
    assert not report.agrees
    cases = report.discrepancies[report.discrepancies["verdict"] == verdict]
    assert cases["sample"].tolist() == [3, 3]
    assert (cases["ulps"] == np.inf).all()


# --- reproducibility

FRAMEWORKS = [name for name in ("torch", "jax") if all_adapters()[name].installed]


def tables(report):
    return {key: table for key, table in vars(report).items() if isinstance(table, pd.DataFrame)}


def assert_same_tables(one, other):
    assert set(tables(one)) >= {"overview", "summary", "discrepancies"}
    for name, table in tables(one).items():
        pd.testing.assert_frame_equal(table, tables(other)[name], check_exact=True)


@pytest.mark.parametrize(
    ("name", "numbers"), [("complex-step", (1, 2, 3)), ("torch", (3,)), ("jax", (2,))]
)
def test_the_tables_repeat_whatever_the_number_of_workers(name, numbers):
    if not all_adapters()[name].installed:
        pytest.skip(f"{name} is not installed")

    def sweep(workers):
        return swept(
            "chain-misprint",
            samples=3 * BLOCK + 1,
            scale=3,
            workers=workers,
            rows=5,
            adapters=[name],
        )

    first = sweep(workers=1)
    for workers in numbers:
        assert_same_tables(first, sweep(workers))


@pytest.mark.parametrize("name", ["complex-step", *FRAMEWORKS])
def test_what_a_sample_yields_does_not_depend_on_how_many_were_asked_for(name, register, altered):
    def spoil_rare_samples(found, values):
        found["omega1"][values["x"] > 2.5] *= 1.5
        return found

    register({"rare": altered(spoil_rare_samples, name)})
    few, many = (
        swept(samples=samples, rows=1000).discrepancies.query("verdict == 'disagree'")
        for samples in (5000, 2 * BLOCK)
    )
    assert len(many) > len(few) > 10
    assert (few["sample"] > BLOCK).any()
    order = ["dtype", "sample"]
    pd.testing.assert_frame_equal(
        few.sort_values(order, ignore_index=True),
        many[many["sample"] < 5000].sort_values(order, ignore_index=True),
        check_exact=True,
    )


def test_rows_of_one_seed_are_not_those_of_another():
    reports = [
        gradcheck.sweep(samples=100, seed=seed, adapters=["complex-step"]) for seed in (0, 1)
    ]
    assert not reports[0].summary.equals(reports[1].summary)


def test_progress_rises_to_one():
    told = []
    swept(samples=BLOCK + 1, adapters=["closed-form"], progress=told.append)
    assert told[:4] == [0.25, 0.5, 0.75, 1.0]
    settling = told[4:]
    assert settling == sorted(settling)
    assert settling[-1] == 1.0


# --- manners


def test_a_sweep_leaves_global_settings_as_they_were_and_does_not_depend_on_them(settings):
    names = ["complex-step", *FRAMEWORKS]
    modules = {name: importlib.import_module(name) for name in FRAMEWORKS}
    before = settings()
    usual = gradcheck.sweep(samples=1000, adapters=names)
    assert settings() == before
    try:
        if torch := modules.get("torch"):
            torch.set_default_dtype(torch.float64)
            torch.set_grad_enabled(False)
        if jax := modules.get("jax"):
            jax.config.update("jax_enable_x64", True)
        with np.errstate(all="raise"):
            unusual = settings()
            report = gradcheck.sweep(samples=1000, adapters=names)
            assert settings() == unusual != before
    finally:
        if torch:
            torch.set_default_dtype(before["dtype"])
            torch.set_grad_enabled(before["grad"])
        if jax:
            jax.config.update("jax_enable_x64", before["x64"])
    assert_same_tables(usual, report)


def test_a_loss_that_is_linear_has_constant_adjoints():
    def forward(xp, v, t):
        t.loss = v.a + v.x

    def backward(xp, v, t, d):
        d.a = 1.0

    linear = gradcheck.Model(
        "linear", {"x": ()}, {"a": ()}, lambda xp, v: v.a + v.x, forward, backward
    )
    report = gradcheck.sweep(linear, samples=100, adapters=["complex-step"])
    assert report.run["counts"]["agree"] == 200
    assert report.agrees


# --- stochastic bars


@functools.cache
def of_a_deep_network():
    """Sweep 20 layers of 64, beside an adapter one layer of which is off by a hundredth."""
    name = next((name for name in FRAMEWORKS), "complex-step")
    honest = all_adapters()[name]

    def prepare(model, dtype):
        gradients = honest.prepare(model, dtype)

        def planted(values):
            found = dict(gradients(values))
            return {**found, "Omega.10": np.asarray(found["Omega.10"]) * dtype.type(1.01)}

        return planted

    model = gradcheck.load_model("network", {"depth": 20, "width": 64})
    adapters = {"honest": honest, "planted": Adapter(prepare, "for a test", honest.framework)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gradcheck.adapters.all_adapters", lambda *_: adapters)
        return run_sweep(model, Request(samples=8, workers=1)).tallies


@pytest.mark.skipif(not FRAMEWORKS, reason="neither PyTorch nor JAX is installed")
@pytest.mark.parametrize("dtype", BOTH)
def test_of_a_deep_network_nearly_all_is_informative_and_nothing_disagrees(dtype):
    tallies = [
        tally
        for (name, at, _), tally in of_a_deep_network().items()
        if (name, at) == ("honest", dtype)
    ]
    counts = sum(tally.counts for tally in tallies)
    assert counts.sum() == 8 * 79_233
    assert counts[Verdict.AGREE] >= 0.95 * counts.sum()
    assert counts[Verdict.DISAGREE] == counts[Verdict.ERROR] == 0
    assert max(tally.max_ratio for tally in tallies) < 1
    assert sum(tally.stochastic for tally in tallies) > 0.1 * counts.sum()


@pytest.mark.skipif(not FRAMEWORKS, reason="neither PyTorch nor JAX is installed")
@pytest.mark.parametrize("dtype", BOTH)
def test_of_a_deep_network_a_layer_that_is_off_by_a_hundredth_disagrees_alone(dtype):
    for (name, at, gradient), tally in of_a_deep_network().items():
        if (name, at) != ("planted", dtype):
            continue
        disagree = tally.counts[Verdict.DISAGREE]
        if gradient != "Omega.10":
            assert not disagree
            continue
        assert disagree > 0.2 * tally.compared
        assert tally.counts[Verdict.AGREE] + disagree > 0.95 * tally.compared
        assert tally.stochastic > 0
        if dtype == "float32":  # in float64 the balls of many a sample are informative
            assert {case.bar for case in tally.disagreements} == {"stochastic"}


NETWORK = gradcheck.load_model("network", {"depth": 3, "width": 4})


@pytest.fixture
def five_at_once(monkeypatch):
    """Evaluate 5 samples of the small network at once stochastically."""
    numbers = 53 + 2
    monkeypatch.setattr("gradcheck.judge.reference.STOCHASTIC_NUMBERS", 5 * 17 * numbers)


def small_network(samples, register, altered, **settings):
    def spoil(found, values):
        found["Omega.1"] = found["Omega.1"] * values["Omega.1"].dtype.type(1 + 2.0**-13)
        return found

    register({"spoilt": altered(spoil)})
    settings = {"rows": 10_000, "audit": 0, "referee_limit": 0, "workers": 1} | settings
    return swept(NETWORK, 32, samples=samples, **settings)


@pytest.mark.parametrize("bars", ["stochastic", "auto"])
def test_stochastic_bars_repeat_whatever_the_number_of_workers(
    bars, register, altered, five_at_once
):
    one, three = (
        small_network(100, register, altered, bars=bars, scale=4, workers=workers)
        for workers in (1, 3)
    )
    assert (one.discrepancies["verdict"] == "disagree").sum() > 50
    assert_same_tables(one, three)


@pytest.mark.parametrize("bars", ["stochastic", "auto"])
def test_a_stochastic_bar_does_not_depend_on_how_many_samples_were_asked_for(
    bars, register, altered, five_at_once
):
    few, many = (
        small_network(samples, register, altered, bars=bars, scale=4).discrepancies.query(
            "verdict == 'disagree'"
        )
        for samples in (50, 96)
    )
    order = ["dtype", "sample", "element"]
    few, many = (
        table[table["sample"] < 50].sort_values(order, ignore_index=True) for table in (few, many)
    )
    assert len(few) > 20
    pd.testing.assert_frame_equal(few, many, check_exact=True)


def test_every_sample_has_signs_of_its_own(five_at_once):
    request = Request(
        samples=64, dtypes=("float32",), adapters=("complex-step",), bars="stochastic"
    )
    tallies = run_sweep(NETWORK, request, block=32).tallies
    assert all(tally.stochastic == tally.compared for tally in tallies.values())
    assert {tally.worst.bar for tally in tallies.values() if tally.worst} == {"stochastic"}


@pytest.mark.parametrize("bars", ["ball", "stochastic", "auto"])
def test_each_kind_of_bar_agrees_with_an_honest_adapter(bars, five_at_once):
    request = Request(samples=64, adapters=("complex-step",), bars=bars, workers=1)
    for (_, dtype, _), tally in run_sweep(NETWORK, request, block=32).tallies.items():
        assert not tally.counts[Verdict.DISAGREE]
        assert tally.counts[Verdict.AGREE] > 0.95 * tally.compared, dtype
        assert bool(tally.stochastic) <= (bars != "ball")


def test_the_signs_are_those_of_the_seed_and_the_block(five_at_once):
    values = draw_model(NETWORK, 0, 0, 32)

    def bound(seed, start):
        passes = Passes(NETWORK, values, Rounding(np.dtype(np.float64)), bars="stochastic",
                        seed=seed, start=start)  # fmt: skip
        return passes.gradient("Omega.1", (2.0**-1022, 1e308), 32).bound

    first = bound(0, 0)
    assert (first > 0).any()
    np.testing.assert_array_equal(bound(0, 0), first)
    for seed, start in ((1, 0), (0, 32)):
        other = bound(seed, start)
        assert ((other != first) | (first == 0)).mean() > 0.99
        np.testing.assert_allclose(other[first > 0], first[first > 0], rtol=3)  # of 16 runs
