"""Agreement is audited: a formula that is wrong is found, one that is right is proved so."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import gradcheck
from gradcheck import Model
from gradcheck.diagnosis.findings import Diagnosis
from gradcheck.examples import chain
from gradcheck.harness.request import Request
from gradcheck.model.loading import load_model
from gradcheck.truth.audit import Audit, choose_audited

QUICK = ("complex-step",)


def audited(model, *, adapters=QUICK, samples=100, dtypes=("float64",), **settings):
    report = gradcheck.sweep(model, samples=samples, dtypes=dtypes, adapters=adapters, **settings)
    rows = report.discrepancies.query("adapter == 'referee'")
    return report, report.run["audit"], rows


def altered(model, alter):
    """Return the model with gradients changed by `alter(v, d)`."""

    def backward(xp, v, t, d):
        model.backward(xp, v, t, d)
        alter(v, d)

    return replace(model, backward=backward)


def one_real(number):
    array = np.empty((), object)
    array[()] = number
    return array


@pytest.fixture(autouse=True)
def _undiagnosed(request, monkeypatch):
    """Leave out the diagnosis, which takes longer, where it is not asked for."""
    if "everybody_makes" not in request.node.name:
        monkeypatch.setattr("gradcheck.api.explained", lambda *_: Diagnosis())


def everybody_else_is_wrong_too(monkeypatch, parameter, factor):
    """Let the only adapter make the mistake of the hand-written pass."""
    from gradcheck import adapters as registry
    from gradcheck.adapters import Adapter
    from gradcheck.adapters.steps import complex_step

    def prepare(model, dtype):
        honest = complex_step.prepare(model, dtype)
        return lambda values: {
            name: found * factor if name == parameter else found
            for name, found in honest(values).items()
        }

    same = Adapter(prepare, "repeats a mistake", normal_range=complex_step.normal_range)
    monkeypatch.setattr(registry, "all_adapters", lambda *_: {"same": same})


def test_a_mistake_that_everybody_makes_is_found():
    report, audit, rows = audited("chain-misprint", samples=500, adapters=["closed-form"])
    assert report.summary["disagree"].sum() == 0
    assert audit["samples"] == 20
    assert (audit["proved"], audit["refuted"], audit["unknown"]) == (140, 20, 0)
    assert (audit["identities"], audit["wrong_share_below"]) == (0, None)
    assert not report.agrees
    assert set(rows["gradient"]) == {"beta1"}
    assert list(report.diagnosis["quantity"]) == ["d.beta1"]


@pytest.mark.parametrize("factor", [1 + 2.0**-36, -1.0, 1e-30])
@pytest.mark.parametrize("parameter", ["beta3", "omega0"])
def test_one_wrong_gradient_of_many_is_named_however_small_the_fault(
    parameter, factor, monkeypatch
):
    everybody_else_is_wrong_too(monkeypatch, parameter, factor)
    model = altered(chain.MODEL, lambda v, d: setattr(d, parameter, d[parameter] * factor))
    _, audit, rows = audited(model, adapters=["same"])
    assert set(rows["gradient"]) == {parameter}
    assert audit["refuted"] == 20
    assert audit["proved"] >= 120


def test_one_wrong_element_of_an_array_is_named(monkeypatch):
    model = load_model("layer-norm")
    name, shape = next((n, s) for n, s in model.parameters.items() if s)
    last = tuple(size - 1 for size in shape)

    def spoil(v, d):
        wrong = d[name].copy()
        wrong[(..., *last)] = wrong[(..., *last)] * 1.25
        d[name] = wrong

    monkeypatch.setattr("gradcheck.harness.block.tally_comparison", agreeing)
    _, audit, rows = audited(altered(model, spoil), samples=10)
    assert set(rows["gradient"]) == {name}
    assert set(rows["element"]) == {f"[{','.join(map(str, last))}]"}
    assert audit["refuted"] == 10
    assert audit["unexplained"] == 0


def agreeing(comparison, start, keep, judged, on_kinks, chosen):
    """Tally nothing."""
    from gradcheck.judge.tally import Tally

    return Tally(keep, judged, samples=1, judged_samples=1)


def test_an_honest_pass_is_proved_and_the_share_of_wrong_samples_is_bounded():
    _, audit, _ = audited("chain", samples=30_000)
    assert (audit["samples"], audit["identities"], audit["proved"]) == (30, 30, 240)
    assert (audit["refuted"], audit["unknown"]) == (0, 0)
    assert audit["wrong_share_below"] == pytest.approx(1 - 0.05 ** (1 / 30))


def test_nothing_is_bounded_if_nothing_was_looked_at():
    assert Audit().facts["wrong_share_below"] is None
    _, audit, _ = audited("chain", samples=10, audit=0.0)
    assert (audit["samples"], audit["wrong_share_below"]) == (0, None)


@pytest.mark.parametrize("name", ["softmax-cross-entropy", "batch-norm", "gelu"])
def test_the_examples_are_proved_in_one_direction_each(name, monkeypatch):
    def never(*_):
        raise AssertionError("a single number was ruled on")

    monkeypatch.setattr("gradcheck.truth.identity.Audited._rule_on", never)
    _, audit, _ = audited(name, samples=20)
    assert audit["identities"] == 20
    assert audit["proved"] > 0


@pytest.mark.parametrize(
    ("samples", "audit", "count"),
    [
        (10, None, 10),
        (1_000, None, 20),
        (100_000, None, 100),
        (10**7, None, 200),
        (10**6, 0.001, 1000),
        (10**6, 0.0, 0),
        (1_000, 0.5, 500),
    ],
)
def test_the_audit_does_not_grow_with_the_sweep_unless_asked_to(samples, audit, count):
    chosen = choose_audited(chain.MODEL, Request(samples=samples, audit=audit))
    assert len(chosen) == len(set(chosen)) == count
    assert all(0 <= number < samples for number in chosen)


def test_a_large_model_is_audited_on_fewer_samples_unless_asked():
    large = replace(chain.MODEL, inputs={"x": (5000,)}, parameters={"w": ()}, closed_forms={})
    assert len(choose_audited(large, Request(samples=1000))) == 8
    assert len(choose_audited(large, Request(samples=1000, audit=0.1))) == 100


@pytest.mark.parametrize(
    "spoil",
    [
        lambda f1, v, t: f1 / 0 * 0,
        lambda f1, v, t: f1 * 1e308 * 1e308,
        lambda f1, v, t: f1 * t.h1 + (1e25 * v.x - 2e25 * v.x / 2),
    ],
)
def test_an_infinite_or_meaningless_bar_does_not_hide_a_wrong_formula(spoil):
    def backward(xp, v, t, d):
        chain.backward(xp, v, t, d)
        d.beta1 = spoil(d.beta1, v, t)

    report, audit, rows = audited(replace(chain.MODEL, backward=backward), samples=300)
    assert not report.agrees
    assert audit["refuted"] == 20
    assert set(rows["gradient"]) == {"beta1"}


def test_a_rounded_constant_in_the_formula_is_no_fault():
    def forward(xp, v, t):
        t.loss = v.a * v.a / 3

    def backward(xp, v, t, d):
        d.a = (2 / 3) * v.a

    third = Model("third", {}, {"a": ()}, lambda xp, v: v.a * v.a / 3, forward, backward)
    report, audit, _ = audited(third, samples=2000, dtypes=("float64", "float32"))
    assert report.agrees
    assert (audit["identities"], audit["proved"], audit["refuted"]) == (20, 20, 0)


def test_what_arb_cannot_enclose_is_not_called_wrong(monkeypatch):
    """NaN in Arb means that nothing is known; the floats are then held against the truth."""
    import flint

    from gradcheck.truth.derivative import Point
    from gradcheck.truth.points import Points

    honest, honest_of_many = Point.gradients, Points.gradients

    def unknown(self, bits, loose=False):
        found = honest(self, bits, loose)
        return found | {"beta1": one_real(flint.arb("nan"))}

    def unknown_of_many(self, bits):
        found, known = honest_of_many(self, bits)
        return found | {"beta1": np.full_like(found["beta1"], flint.arb("nan"))}, known

    monkeypatch.setattr(Point, "gradients", unknown)
    monkeypatch.setattr(Points, "gradients", unknown_of_many)
    report, audit, _ = audited("chain")
    assert report.agrees
    assert (audit["proved"], audit["refuted"]) == (160, 0)
    # The adapter makes the same mistake, and the formula says nothing: the truth still tells.
    everybody_else_is_wrong_too(monkeypatch, "beta1", 1.5)
    wrong = altered(chain.MODEL, lambda v, d: setattr(d, "beta1", d.beta1 * 1.5))
    _, audit, rows = audited(wrong, adapters=["same"])
    assert audit["refuted"] == 20
    assert set(rows["gradient"]) == {"beta1"}


def test_tiny_arguments_of_tanh_are_no_fault():
    def forward(xp, v, t):
        t.z = v.a * v.x
        t.loss = xp.tanh(t.z)

    def backward(xp, v, t, d):
        d.a = (1 - t.loss * t.loss) * v.x

    model = Model("tiny", {"x": ()}, {"a": ()}, lambda xp, v: xp.tanh(v.a * v.x), forward, backward)
    report, audit, _ = audited(model, scale=1e-30)
    assert report.agrees
    assert audit["proved"] == 20


# On kinks.


def largest(factor, share=lambda xp, z, m: z == m):
    """The square of the largest product; a pass that is wrong by a factor if that is not 1."""

    def forward(xp, v, t):
        t.z = v.w * v.x
        t.m = xp.max(t.z)
        t.loss = t.m * t.m

    def backward(xp, v, t, d):
        d.m = 2 * t.m
        d.z = share(xp, v.w * v.x, t.m) * d.m * factor
        d.w = d.z * v.x

    def loss(xp, v):
        return xp.max(v.w * v.x) ** 2

    return Model("largest", {"x": (4,)}, {"w": (4,)}, loss, forward, backward)


@pytest.mark.parametrize("factor", [1.5, 0.9, -1.0])
def test_a_kink_excuses_no_wrong_formula(factor):
    report, audit, rows = audited(largest(factor), adapters=["torch"], samples=40)
    assert not report.agrees
    if audit["refuted"]:
        assert set(rows["culprit"]) == {"reference"}


def test_a_right_formula_on_a_kink_of_its_own_is_proved():
    report, audit, _ = audited(largest(1.0), adapters=["torch"], samples=40)
    assert report.agrees
    assert audit["refuted"] == 0
    assert audit["proved"] >= 15


def rectifier(slope_at_zero, factor=1.0):
    """c·max(w, 0), on samples that lie on its kink; and the slope a pass takes there."""

    def forward(xp, v, t):
        t.h = xp.maximum(v.w, 0.0)
        t.loss = v.c * t.h

    def backward(xp, v, t, d):
        side = xp.where(v.w > 0, 1.0, xp.where(v.w < 0, 0.0, slope_at_zero))
        d.w = v.c * factor * side

    def loss(xp, v):
        return v.c * xp.maximum(v.w, 0.0)

    return Model("rectifier", {"c": ()}, {"w": ()}, loss, forward, backward)


ON_KINKS = partial(audited, kinks=True, samples=5, workers=1)


@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0])
def test_on_an_exact_tie_any_slope_between_the_sides_is_right(slope):
    report, audit, _ = ON_KINKS(rectifier(slope))
    assert report.run["counts"]["kink"] == 5
    assert audit["refuted"] == 0
    assert audit["unknown"] == 0


@pytest.mark.parametrize("slope", [-0.25, 1.0 + 2.0**-40, 2.0])
def test_on_an_exact_tie_a_slope_beyond_the_sides_is_refuted(slope, monkeypatch):
    monkeypatch.setattr("gradcheck.harness.block.tally_comparison", agreeing)
    _, audit, rows = ON_KINKS(rectifier(slope))
    assert audit["refuted"] == 5
    assert set(rows["gradient"]) == {"w"}


def test_near_a_kink_nothing_is_proved():
    """The definition's argument rounds to either side, so the other slope may be honest."""

    def forward(xp, v, t):
        t.loss = xp.maximum(v.w * v.w - v.x * v.x * v.c, 0.0)

    def backward(xp, v, t, d):
        d.w = 2 * v.w * (t.loss < 0)  # of no use: zero everywhere

    def loss(xp, v):
        return xp.maximum(v.w * v.w - v.x * v.x * v.c, 0.0)

    from gradcheck.numbers.rounding import Rounding
    from gradcheck.truth.identity import Audited
    from gradcheck.truth.witness import Witness

    model = Model("near", {"x": (), "c": ()}, {"w": ()}, loss, forward, backward)

    def ruled(w):
        values = {name: np.array([x]) for name, x in {"x": 1.0, "c": 2.0, "w": w}.items()}
        witness = Witness(model, values, Rounding(np.dtype("float64")))
        numbers = (np.array([x]) for x in (0.0, 1e-12, 1e-16))
        one = Audited(witness, {"w": ()}, np.array([0.7]), np.array([True]), *numbers)
        one.check()
        list(one.rule())
        return one

    assert not ruled(np.nextafter(np.sqrt(2.0), 2.0)).refuted
    assert list(ruled(1.5).refuted) == [0]


def test_the_budget_of_single_rulings_is_kept(monkeypatch):
    monkeypatch.setattr("gradcheck.truth.audit.affordable", lambda witness: 8)
    _, audit, rows = audited("chain-misprint", samples=500, adapters=["closed-form"])
    assert 0 < audit["refuted"] < 20
    assert audit["unknown"] > 0
    assert set(rows["gradient"]) == {"beta1"}


def test_time_and_progress_are_told():
    from gradcheck.harness.sweep import run_sweep
    from gradcheck.truth.referee import referee

    told = []
    request = Request(samples=30, dtypes=("float64",), adapters=QUICK)
    rulings = referee(chain.MODEL, request, run_sweep(chain.MODEL, request), told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert set(rulings.seconds) == {"referee", "audit"}
    report, _, _ = audited("chain")
    assert {"referee", "audit", "reference"} <= set(report.run["seconds"])


@pytest.mark.parametrize("factor", [1.0, 1 + 2.0**-40])
def test_a_recorded_function_is_proved_together_and_a_wrong_one_looked_at_alone(
    factor, monkeypatch
):
    torch = pytest.importorskip("torch")
    from gradcheck.truth.identity import Audited

    class Sine(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.sin()

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * x.cos() * factor

    looked_at = []
    honest = Audited.check
    monkeypatch.setattr(Audited, "check", lambda one: (looked_at.append(one), honest(one)))
    x = torch.linspace(0.5, 2.0, 6, dtype=torch.float64)
    report = gradcheck.check(Sine.apply, x, samples=4)
    assert report.agrees == (factor == 1)
    assert len(looked_at) == (0 if factor == 1 else 4)
    assert report.run["audit"]["refuted"] == (0 if factor == 1 else 24)
    assert report.run["audit"]["proved"] > 0 or factor != 1


@pytest.mark.parametrize("name", ["chain", "layer-norm"])
def test_by_halves_the_same_is_found_as_number_by_number(name, monkeypatch):
    from gradcheck.harness.sweep import run_sweep
    from gradcheck.truth import audit as auditing

    model = load_model(name)
    wrong = list(model.parameters)[1]
    model = altered(model, lambda v, d: setattr(d, wrong, d[wrong] * 1.5))
    request = Request(samples=12, dtypes=("float64",), adapters=QUICK, workers=1)
    outcome = replace(run_sweep(model, request), tallies={})
    evaluated = []
    monkeypatch.setattr(auditing, "look_at", lambda matters: evaluated.append(len(matters)))
    alone = auditing.audit(model, request, outcome)
    monkeypatch.setattr(auditing, "CHEAPER", 0)
    assert auditing.audit(model, request, outcome) == alone
    assert {gradient for _, gradient in alone.refuted} == {wrong}
    assert evaluated[0] > evaluated[1] == 0
