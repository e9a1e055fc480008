"""A sweep passes only where it has looked: NaN, kinks, coverage, and models that misbehave late."""

import sys
from dataclasses import replace

import numpy as np
import pytest

import gradcheck
from gradcheck import Model, Request, RequestError, cli, load_model, sampling
from gradcheck.adapters import HAND_WRITTEN, Adapter
from gradcheck.api import stages
from gradcheck.judge.coverage import Shortfall, find_shortfalls
from gradcheck.judge.definition import Definition
from gradcheck.judge.nans import birth_of_nan
from gradcheck.judge.tally import Tally
from gradcheck.judge.verdict import Verdict
from gradcheck.numbers.rounding import Rounding
from gradcheck.reports.terminal import print_report

SAMPLES = 60


def cubes(backward, **parts):
    """Return Σ a³ with a backward pass of its own."""

    def forward(xp, v, t):
        t.q = v.a * v.a
        t.loss = xp.sum(t.q * v.a)

    parts = {"inputs": {}, "parameters": {"a": (3,)}, "loss": lambda xp, v: xp.sum(v.a**3)} | parts
    return Model("cubes", forward=parts.pop("forward", forward), backward=backward, **parts)


def right(xp, v, t, d):
    d.a = 3 * t.q


def swept(model, *, samples=SAMPLES, **settings):
    default = {"adapters": ["complex-step"], "audit": 0, "workers": 1, "dtypes": ["float64"]}
    request = Request(samples=samples, **(default | settings))
    *_, report = stages(model, request, lambda fraction: None, block=64)
    return report


# --- not a number


def missing_above_two(xp, v, t, d):
    d.a = np.where(v.a > 2, np.nan, 3 * t.q)


def ratio_of_zeros(xp, v, t, d):
    rest = v.a - v.a
    d.a = 3 * t.q * rest / rest


def overflowing_ratio(xp, v, t, d):
    d.a = 3 * t.q * np.exp(1000 * v.a) / np.exp(1000 * v.a)


BIRTHS = {
    missing_above_two: "where(1, nan,",
    ratio_of_zeros: "divide(0, 0)",
    overflowing_ratio: "divide(",
}


@pytest.mark.parametrize("backward", BIRTHS)
def test_a_nan_of_the_hand_written_pass_fails_and_its_line_is_named(backward):
    report = swept(cubes(backward))
    assert not report.agrees
    assert report.run["counts"]["nan"] > 0
    message = report.discrepancies.query("verdict == 'nan'")["message"].iloc[0]
    first = backward.__code__.co_firstlineno
    assert message.startswith("NaN is born at test_looked.py:")
    assert first < int(message.split(":")[1]) <= first + 2
    assert BIRTHS[backward] in message


def test_an_honest_pass_has_no_nan_and_none_is_born_in_it():
    report = swept(cubes(right))
    assert report.agrees
    assert report.run["counts"]["nan"] == 0
    assert birth_of_nan(cubes(right), {"a": np.ones((1, 3))}, "float32") == ""


def test_a_nan_of_an_adapter_fails_where_the_truth_is_known(register, altered):
    def spoil(found, values):
        found["a"][5, 1] = np.nan
        return found

    register({"honest": altered(), "spoilt": altered(spoil)})
    report = swept(cubes(right), adapters=None)
    assert report.summary.set_index("adapter")["nan"].to_dict() == {"honest": 0, "spoilt": 1}
    assert not report.agrees
    (case,) = report.discrepancies.query("verdict == 'nan'").to_dict("records")
    assert (case["sample"], case["element"], case["culprit"], case["message"]) == (
        5,
        "[1]",
        "spoilt",
        "",
    )


def test_where_the_definition_is_undefined_for_certain_nothing_is_judged(monkeypatch):
    """Whatever balls themselves can prove, NaN ± 0 stands for it."""

    def undefined_below_zero(self, rows):
        honest(self, rows)
        self.undefined[rows] = self.values["a"][rows, 0] < 0

    honest = Definition._evaluate
    monkeypatch.setattr(Definition, "_evaluate", undefined_below_zero)
    model = cubes(lambda xp, v, t, d: d.__setitem__("a", np.where(v.a[0] < 0, np.nan, 3 * t.q)))
    report = swept(model)
    undefined = report.run["undefined"]["float64"]
    assert 20 < undefined < 40
    assert report.run["counts"]["nan"] == 0
    assert report.run["counts"]["uninformative"] == 3 * undefined
    assert report.agrees


def test_a_definition_is_undefined_by_proof_only():
    def loss(xp, v):
        return xp.where(v.x > 0, v.x, xp.sqrt(v.x - 1))

    model = Model("root", {}, {"x": ()}, loss, lambda xp, v, t: None, lambda xp, v, t, d: None)
    definition = Definition(model, {"x": np.array([-1.0, 2.0])}, Rounding(np.dtype(np.float64)))
    definition.look([0, 1])
    assert np.isnan(definition.mid).tolist() == [True, False]
    proved = np.isnan(definition.mid) & (definition.rad == 0)
    assert definition.undefined.tolist() == proved.tolist()


# --- coverage


MODEL_FILE = """from gradcheck import Model

def forward(xp, v, t):
    t.loss = xp.sum(v.a**3)

def backward(xp, v, t, d):
    d.a = 3 * v.a**2

M = Model("wide", {}, {"a": (3,)}, lambda xp, v: xp.sum(v.a**3), forward, backward)
"""


def test_a_gradient_that_is_hardly_ever_judged_fails_unless_that_is_accepted(
    register, tmp_path, capsys
):
    register({"exact": Adapter(lambda model, dtype: lambda v: {"a": 3 * v["a"] ** 2}, "a test's")})
    (tmp_path / "wide.py").write_text(MODEL_FILE)
    sweep = ["sweep", str(tmp_path / "wide.py"), "--samples", "50", "--dtypes", "float64"]
    sweep += ["--audit", "0", "--bars", "ball", "--output", str(tmp_path / "out")]
    assert cli.main(sweep) == 0
    wide = [*sweep, "--scale", "1e140"]
    capsys.readouterr()
    assert cli.main(wide) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert (
        "Too little judged: a in float64 on 0 of 50 samples, less than 10%; most are overflow."
        in (printed)
    )
    assert "No comparison disagrees, but too little was judged of a." in printed
    assert cli.main([*wide, "--allow-uninformative"]) == 0


@pytest.mark.parametrize(("judged", "enough"), [(9, False), (10, True), (100, True)])
def test_a_tenth_of_the_samples_by_one_adapter_is_enough(judged, enough):
    counts = np.zeros(len(Verdict), np.int64)
    counts[[Verdict.AGREE, Verdict.KINK]] = judged, 100 - judged
    whole = Tally(1, counts=counts, samples=100, judged_samples=judged)
    nothing = Tally(1, samples=100)
    keys = [(name, "float32", "w") for name in ("one", "other", HAND_WRITTEN)]
    tallies = dict(zip(keys, (whole, nothing, replace(whole, judged_samples=100)), strict=True))
    found = find_shortfalls(tallies, {"float32": 0})
    expected = Shortfall("w", "float32", judged, 100, "kink")
    assert found == (() if enough else (expected,))


@pytest.mark.parametrize(("told", "enough"), [(9, False), (10, True)])
def test_a_tenth_of_the_elements_is_enough(told, enough):
    """On every sample one element of an array may be judged, and hundreds not."""
    counts = np.zeros(len(Verdict), np.int64)
    counts[[Verdict.AGREE, Verdict.UNINFORMATIVE]] = told, 100 - told
    tally = Tally(1, counts=counts, samples=5, judged_samples=5)
    found = find_shortfalls({("torch", "bfloat16", "w"): tally}, {"bfloat16": 0})
    assert bool(found) != enough


@pytest.mark.parametrize("adapters", [["finite-difference"], ["hand-written"]])
def test_without_an_independent_adapter_nothing_is_confirmed(adapters):
    assert not swept(load_model("chain"), adapters=adapters).agrees
    assert swept(load_model("chain"), adapters=adapters, allow_uninformative=True).agrees


# --- kinks


def largest(factor, equality):
    def forward(xp, v, t):
        t.z = v.w * v.x
        t.m = xp.max(t.z)
        t.loss = t.m**2

    def backward(xp, v, t, d):
        d.m = 2 * t.m
        d.z = equality(v, t) * d.m * factor
        d.w = d.z * v.x

    return Model(
        "largest",
        inputs={"x": (4,)},
        parameters={"w": (4,)},
        loss=lambda xp, v: xp.max(v.w * v.x) ** 2,
        forward=forward,
        backward=backward,
    )


EQUALITIES = {
    "of the trace": lambda v, t: t.z == t.m,
    "computed again": lambda v, t: v.w * v.x == t.m,
    "not below": lambda v, t: v.w * v.x - t.m >= 0,
}


@pytest.mark.parametrize("equality", EQUALITIES)
def test_a_comparison_of_the_pass_alone_excuses_no_wrong_formula(equality):
    wrong = swept(largest(1.5, EQUALITIES[equality]))
    assert wrong.run["counts"]["disagree"] >= SAMPLES
    assert not wrong.agrees
    honest = swept(largest(1.0, EQUALITIES[equality]))
    assert honest.agrees
    assert honest.run["counts"]["disagree"] == honest.run["counts"]["kink"] == 0


HIDING = {
    "a tie of equals": lambda v, t: t.q == v.a * v.a,
    "a difference of equals": lambda v, t: v.a - v.a >= 0,
}


@pytest.mark.parametrize("hidden", HIDING)
def test_a_branch_that_is_always_taken_hides_no_wrong_line(hidden):
    def backward(xp, v, t, d):
        d.a = np.where(HIDING[hidden](v, t), 4 * t.q, 3 * t.q)

    assert swept(cubes(backward)).run["counts"]["disagree"] == 3 * SAMPLES


# --- a fault in float32 alone


def test_a_pass_that_asks_for_its_format_is_caught_in_that_format():
    def backward(xp, v, t, d):
        d.a = (2 if v.a.dtype == np.float32 else 3) * t.q

    report = swept(
        cubes(backward), adapters=["complex-step", "hand-written"], dtypes=["float64", "float32"]
    )
    rows = report.summary.set_index(["adapter", "dtype"])["disagree"].to_dict()
    assert rows.pop(("complex-step", "float32")) == 3 * SAMPLES
    assert not any(rows.values())
    assert set(report.discrepancies.query("culprit != ''")["culprit"]) == {"reference"}
    assert report.run["diagnosis"]["dtype"] == "float32"
    assert "np.float32" in report.diagnosis["source"].iloc[0]


def test_a_pass_that_only_real_numbers_give_away_is_caught_as_it_runs():
    def backward(xp, v, t, d):
        slipped = type(v.a).__name__ == "Plain" and v.a.dtype == np.float32
        d.a = np.where(v.a > 2, 2 if slipped else 3, 3) * t.q

    report = swept(
        cubes(backward), adapters=["complex-step", "hand-written"], dtypes=["float64", "float32"]
    )
    rows = report.summary.set_index(["adapter", "dtype"])["disagree"].to_dict()
    assert rows.pop(("hand-written", "float32")) > 0
    assert not any(rows.values())
    assert set(report.discrepancies.query("culprit != ''")["culprit"]) == {"hand-written"}


@pytest.mark.parametrize("name", ["chain", "layer-norm", "softmax-cross-entropy", "network"])
def test_honest_passes_agree_with_themselves_in_every_format(name):
    report = gradcheck.sweep(name, samples=20, adapters=["hand-written"], audit=0, workers=1)
    assert report.run["counts"]["disagree"] == report.run["counts"]["error"] == 0
    assert report.run["counts"]["agree"] > 0.9 * report.run["counts"]["samples"]


def test_passes_with_an_if_are_run_one_by_one(register, altered):
    def backward(xp, v, t, d):
        d.a = 3 * t.q if v.k else 3 * t.q + 0.0

    inputs = {"inputs": {"k": ()}, "sampling": {"k": sampling.integers(0, 2)}}
    report = swept(cubes(backward, **inputs), adapters=["hand-written"])
    assert report.run["counts"]["agree"] == 3 * SAMPLES


# --- what ends the process, or raises late


class AfterCalls:
    """Do something once a function has been called so many times."""

    def __init__(self, calls, act):
        self.left, self.act = calls, act

    def __call__(self):
        self.left -= 1
        if self.left < 0:
            self.act()


def end():
    sys.exit(0)


def fail_with_markup():
    raise ValueError("late [/red] \x1b[31m")


def late(part, act, calls):
    after = AfterCalls(calls, act)

    def backward(xp, v, t, d):
        if part == "pass":
            after()
        right(xp, v, t, d)

    def loss(xp, v):
        if part == "definition":
            after()
        return xp.sum(v.a**3)

    return cubes(backward, loss=loss)


@pytest.mark.parametrize("part", ["pass", "definition"])
def test_a_model_that_ends_the_process_at_once_is_a_wrong_request(part):
    with pytest.raises(RequestError, match=r"SystemExit\(0\) would end the process"):
        swept(late(part, end, 1))


@pytest.mark.parametrize("part", ["pass", "definition"])
@pytest.mark.parametrize("act", [end, fail_with_markup])
def test_a_model_that_fails_late_leaves_a_report(part, act, capsys):
    report = swept(late(part, act, 11 if part == "pass" else 6), samples=8)
    assert not report.agrees
    print_report(report, [], "cubes")
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert ("SystemExit(0)" if act is end else r"late [/red] \x1b[31m") in " ".join(printed.split())
    assert report.run["counts"]["error"] == 24
    if part == "pass":
        assert "samples 0 to 7: the passes of cubes fail (test_looked.py, line" in printed


def test_a_keyboard_interrupt_remains_one():
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        swept(late("pass", interrupt, 0))


def test_an_adapter_that_ends_the_process_is_an_error(register, altered):
    register({"honest": altered(), "ends": altered(lambda found, values: end())})
    report = swept(cubes(right), adapters=None)
    assert report.summary.set_index("adapter")["error"].to_dict() == {
        "honest": 0,
        "ends": 3 * SAMPLES,
    }
    assert not report.agrees


# --- chance


def test_chance_in_a_pass_is_called_so_even_if_it_rarely_shows():
    generator = np.random.default_rng(0)

    def backward(xp, v, t, d):
        d.a = 3 * t.q * (1.0 if generator.random() < 0.7 else 2.0)

    def many():
        for _ in range(8):
            swept(cubes(backward))

    with pytest.raises(RequestError, match="not deterministic"):
        many()
