"""A known disagreement is excused, and nothing else with it."""

import json

import numpy as np
import pandas as pd
import pytest

import gradcheck
from gradcheck.adapters import Adapter
from gradcheck.cli import main
from gradcheck.model.model import Model

FEW = {"samples": 50, "dtypes": ["float64"], "audit": 0, "referee_limit": 20}
MISPRINT = """
[[known]]
model = "chain-misprint"
adapter = "reference"
gradient = "beta1"
reason = "kept as a specimen"
"""
WRONG = """
[[known]]
model = "chain"
adapter = "wrong"
gradient = "omega1"
reason = "reported upstream"
"""


@pytest.fixture
def listed(tmp_path, monkeypatch):
    """Write a file of known disagreements, in which the adapters of a test may be named."""
    names = ["wrong", "honest", "complex-step", "closed-form"]
    monkeypatch.setattr("gradcheck.history.known.registered_names", lambda: names)

    def write(text):
        (tmp_path / "known.toml").write_text(text)
        return tmp_path / "known.toml"

    return write


@pytest.fixture
def faults(register, altered):
    """Register an honest adapter, and one that scales some gradients by their factors."""

    def plant(**factors):
        def scale(found, values):
            return {name: array * factors.get(name, 1.0) for name, array in found.items()}

        register({"wrong": altered(scale), "honest": altered()})

    return plant


def reasons(report):
    from gradcheck.reports.run import reasons_by_kind

    return set(reasons_by_kind(report.run))


def states(report):
    return [entry["state"] for entry in report.run["known"]["entries"]]


def test_what_is_known_is_counted_apart_and_fails_nothing(listed, faults):
    faults(omega1=1.01)
    assert not gradcheck.sweep(**FEW).agrees
    report = gradcheck.sweep(**FEW, known=listed(WRONG))
    assert report.agrees
    where = (report.summary["adapter"] == "wrong") & (report.summary["gradient"] == "omega1")
    assert report.summary["disagree"].tolist() == report.summary["known"].tolist()
    assert report.summary.loc[where, "known"].tolist() == [50]
    assert report.summary["known"].sum() == report.run["counts"]["known"] == 50
    assert report.summary.columns[-1] == "known"
    assert states(report) == ["known"]
    text = " ".join(str(report).split())
    assert "line 2: chain wrong omega1): 50 comparisons: reported upstream" in text
    assert "Nothing else disagrees" in text


@pytest.mark.parametrize("key", ["adapter", "dtype", "gradient", "verdict"])
def test_another_fault_is_not_hidden(key, listed, faults, register, altered):
    """A second fault of another adapter, format, gradient or verdict, one at a time."""
    entry = WRONG + 'dtype = "float64"\n'
    settings = dict(FEW)
    faults(omega1=1.01)
    assert gradcheck.sweep(**settings, known=listed(entry)).agrees
    match key:
        case "adapter":

            def scale(found, values):
                return found | {"omega1": found["omega1"] * 1.01}

            register({"wrong": altered(scale), "honest": altered(scale)})
        case "dtype":
            settings["dtypes"] = ["float64", "float32"]
        case "gradient":
            faults(omega1=1.01, omega2=1.01)
        case "verdict":

            def spoil(found, values):
                bad = found["omega1"] * 1.01
                bad[3] = np.nan
                return found | {"omega1": bad}

            register({"wrong": altered(spoil), "honest": altered()})
    report = gradcheck.sweep(**settings, known=listed(entry))
    assert not report.agrees
    assert reasons(report) == {"nan" if key == "verdict" else "disagree"}
    assert states(report) == ["known"]


def test_what_is_missing_in_an_entry_may_be_anything(listed, faults):
    faults(omega1=1.01, omega2=1.01)
    entry = '[[known]]\nmodel = "chain"\nreason = "all of it"\n'
    assert gradcheck.sweep(**FEW, known=listed(entry)).agrees
    assert not gradcheck.sweep(**FEW, known=listed(entry.replace("chain", "other"))).agrees


@pytest.mark.parametrize("adapter", ["", 'adapter = "complex-step"\n'])
def test_an_entry_of_an_adapter_never_excuses_the_reference(adapter, listed):
    text = f'[[known]]\nmodel = "chain-misprint"\nreason = "an old fault"\n{adapter}'
    settings = {**FEW, "adapters": ["complex-step"]}
    report = gradcheck.sweep("chain-misprint", **settings, known=listed(text))
    assert reasons(report) == {"disagree"}
    assert states(report) == ["other"]
    assert "not proved to be what is listed" in str(report)


def test_the_reference_is_excused_by_its_name(listed):
    settings = {**FEW, "adapters": ["complex-step"]}
    report = gradcheck.sweep("chain-misprint", **settings, known=listed(MISPRINT))
    assert report.agrees
    assert report.run["counts"]["known"] == 50
    other = listed(MISPRINT.replace("beta1", "beta2"))
    report = gradcheck.sweep("chain-misprint", **settings, known=other)
    assert reasons(report) == {"disagree", "stale"}


def test_an_adapter_that_is_wrong_too_is_not_excused_with_the_reference(listed, register, altered):
    def scale(found, values):
        return found | {"beta1": found["beta1"] * 1.5}

    register({"wrong": altered(scale), "honest": altered()})
    report = gradcheck.sweep("chain-misprint", **FEW, known=listed(MISPRINT))
    assert reasons(report) == {"disagree"}
    rows = report.summary[report.summary["gradient"] == "beta1"]
    assert dict(zip(rows["adapter"], rows["known"], strict=True)) == {"wrong": 0, "honest": 50}
    both = MISPRINT + WRONG.replace('"chain"', '"chain-misprint"').replace("omega1", "beta1")
    assert gradcheck.sweep("chain-misprint", **FEW, known=listed(both)).agrees


def test_where_nobody_was_proved_wrong_an_entry_must_say_who_is(listed, faults):
    faults(omega1=1.01)
    settings = {**FEW, "referee_limit": 0}
    assert gradcheck.sweep(**settings, known=listed(WRONG)).agrees
    anybody = listed(WRONG.replace('adapter = "wrong"\n', ""))
    assert not gradcheck.sweep(**settings, known=anybody).agrees


def test_what_the_audit_refutes_is_excused_by_the_references_name_alone(listed):
    settings = {"samples": 50, "adapters": ["hand-written"], "allow_uninformative": True}
    report = gradcheck.sweep("chain-misprint", **settings)
    assert reasons(report) == {"undisputed"}
    assert gradcheck.sweep("chain-misprint", **settings, known=listed(MISPRINT)).agrees
    anybody = listed(MISPRINT.replace('adapter = "reference"\n', ""))
    assert not gradcheck.sweep("chain-misprint", **settings, known=anybody).agrees


def test_a_search_that_finds_what_is_known_fails_nothing(listed, faults):
    faults(omega1=1.01)
    settings = {**FEW, "search": 64}
    report = gradcheck.sweep(**settings, known=listed(WRONG))
    assert report.run["search"]["disagreements"]
    assert report.agrees
    faults(omega1=1.01, omega2=1.01)
    report = gradcheck.sweep(**settings, known=listed(WRONG))
    assert reasons(report) == {"disagree", "search"}


def test_what_occurs_no_longer_is_stale_and_fails(listed, faults, tmp_path, capsys):
    faults()
    report = gradcheck.sweep(**FEW, known=listed("\n" + WRONG))
    assert reasons(report) == {"stale"}
    assert states(report) == ["stale"]
    arguments = ["--samples", "50", "--dtypes", "float64", "--output", str(tmp_path / "out")]
    assert main(["sweep", *arguments, "--known", str(listed("\n" + WRONG))]) == 1
    output = " ".join(capsys.readouterr().out.split())
    assert "occurs no longer" in output
    assert "line 3: chain wrong omega1" in output
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["known"]["entries"][0]["state"] == "stale"
    assert pd.read_csv(tmp_path / "out" / "summary.csv").columns[-1] == "known"


@pytest.mark.parametrize(
    "change",
    [
        ('"wrong"', '"closed-form"'),
        ("reason", 'dtype = "float32"\nreason'),
        ("reason", 'versions = {numpy = "<1"}\nreason'),
        ('"chain"', '"other"'),
    ],
)
def test_what_was_not_looked_at_is_not_stale(change, listed, faults):
    faults()
    report = gradcheck.sweep(**FEW, known=listed(WRONG.replace(*change, 1)))
    assert report.agrees
    assert set(states(report)) <= {"unseen"}


def test_what_failed_is_not_stale_and_not_excused(listed, register, altered):
    def fail(found, values):
        raise ValueError("unlucky")

    register({"wrong": altered(fail), "honest": altered()})
    report = gradcheck.sweep(**FEW, known=listed(WRONG))
    assert reasons(report) == {"error"}
    assert states(report) == ["unseen"]


def test_a_nan_is_excused_by_its_verdict_alone(listed, register, altered):
    def spoil(found, values):
        spoilt = found["omega1"].copy()
        spoilt[3] = np.nan
        return found | {"omega1": spoilt}

    register({"wrong": altered(spoil), "honest": altered()})
    assert reasons(gradcheck.sweep(**FEW, known=listed(WRONG))) == {"nan", "stale"}
    report = gradcheck.sweep(**FEW, known=listed(f'{WRONG}verdict = "nan"\n'))
    assert report.agrees
    assert report.run["counts"]["known"] == 1


def test_too_little_judged_fails_whatever_is_known(listed, register):
    """Cancellation leaves no digit of the gradient of `a`; that of `b` is returned doubled."""

    def forward(xp, v, t):
        t.f = (v.b + 1e30) - 1e30
        t.loss = v.a * t.f

    def backward(xp, v, t, d):
        d.f = v.a
        d.a, d.b = t.f, d.f

    def loss(xp, v):
        return v.a * ((v.b + 1e30) - 1e30)

    def prepare(model, dtype):
        return lambda v: {"a": (v["b"] + 1e30) - 1e30, "b": 2 * v["a"]}

    register({"wrong": Adapter(prepare, "a test's")})
    lossy = Model("lossy", {}, {"a": (), "b": ()}, loss, forward, backward)
    entry = WRONG.replace("chain", "lossy").replace("omega1", "b")
    settings = {**FEW, "bars": "ball", "referee_limit": 0, "known": listed(entry)}
    report = gradcheck.sweep(lossy, **settings)
    assert gradcheck.sweep(lossy, **settings, allow_uninformative=True).agrees
    assert reasons(report) == {"short"}
    assert states(report) == ["known"]


def test_a_function_and_a_test_may_have_known_disagreements(listed):
    torch = pytest.importorskip("torch")

    class Doubled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1.0

        @staticmethod
        def backward(ctx, g):
            return g * 2

    given = Doubled.apply, torch.linspace(-2, 2, 6)
    entry = '[[known]]\nmodel = "Doubled"\nadapter = "torch"\nreason = "a joke"\n'
    with pytest.raises(AssertionError):
        gradcheck.testing.assert_agreement(*given)
    assert gradcheck.testing.assert_agreement(*given, known=listed(entry)).agrees
    other = entry + 'gradient = "y"\n'
    with pytest.raises(gradcheck.RequestError, match="there is no gradient 'y'"):
        gradcheck.check(*given, known=listed(other))
