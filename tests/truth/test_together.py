"""All gradients of many samples at once: what is right is proved, what is wrong never."""

import math
from dataclasses import replace

import flint
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gradcheck import Model
from gradcheck.examples import chain
from gradcheck.harness.request import Request
from gradcheck.harness.samples import draw_model
from gradcheck.harness.sweep import run_sweep
from gradcheck.model.loading import load_model
from gradcheck.numbers.rounding import Rounding
from gradcheck.truth import audit as auditing
from gradcheck.truth.enclosures import precision
from gradcheck.truth.points import Points
from gradcheck.truth.together import Gradients, are_within, prove_together

FLOAT64 = Rounding(np.dtype("float64"))


def proved(model, values, random=None, bound=1e-9, spoil=None, kink=None):
    """Hold what the passes yield in Arb, rounded, against the definition."""
    found, known = Points(model, values).gradients(128)
    assert known.all()
    count = len(known)
    flat = np.concatenate([found[name].reshape(count, -1) for name in model.parameters], 1)
    value = flat.astype(float)
    if spoil is not None:
        spoil(value)
    if random is None:
        random = np.random.default_rng(0).uniform(-1, 1, value.shape)
    kink = np.zeros(value.shape, bool) if kink is None else kink
    parts = (random, kink, value, np.full(value.shape, bound), np.ones(value.shape))
    shapes = {name: model.parameters[name] for name in model.parameters}
    return prove_together(model, values, FLOAT64, Gradients(shapes, *parts)).tolist()


def altered(alter):
    def backward(xp, v, t, d):
        chain.backward(xp, v, t, d)
        alter(xp, v, d)

    return replace(chain.MODEL, backward=backward)


def test_right_formulas_are_proved():
    assert proved(chain.MODEL, draw_model(chain.MODEL, 0, 0, 5)) == [8] * 5


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_fault_on_one_sample_is_seen_on_that_one(dtype):
    values = draw_model(chain.MODEL, 0, 0, 50, dtype=dtype)
    far = np.argmax(values["x"])
    edge = np.sort(values["x"])[-2]

    def alter(xp, v, d):
        d.omega1 = xp.where(v.x > edge, d.omega1 * (1 + 2.0**-30), d.omega1)

    assert [row for row, n in enumerate(proved(altered(alter), values)) if n < 0] == [far]


def test_a_fault_that_cancels_in_the_sum_of_all_gradients_is_seen():
    def alter(xp, v, d):
        fault = 0.25 * d.beta1
        d.beta1, d.omega0 = d.beta1 + fault, d.omega0 - fault

    assert proved(altered(alter), draw_model(chain.MODEL, 0, 0, 5)) == [-1] * 5


@pytest.mark.parametrize(
    ("random", "found"), [((1.0, 0.5), False), ((1.0, 0.75), True), ((0.3, -0.7), True)]
)
def test_a_fault_across_the_direction_is_missed_by_that_direction_alone(random, found):
    """Which is why it is random: powers of two scale it to (0.5, 0.5), and the fault is (e, −e)."""
    fault = 2.0**-20

    def forward(xp, v, t):
        t.loss = v.a + v.b

    def backward(xp, v, t, d):
        d.a, d.b = 1 + fault + 0 * v.a, 1 - fault + 0 * v.b

    def loss(xp, v):
        return v.a + v.b

    model = Model("sum", {}, {"a": (), "b": ()}, loss, forward, backward)
    values = {"a": np.array([3.0]), "b": np.array([5.0])}
    assert proved(model, values, np.array([random])) == [-1 if found else 2]


def test_a_float_beyond_its_bound_is_left_over():
    def spoil(value):
        value[1, 3] += 1e-6
        value[2, 0] = np.nan

    values = draw_model(chain.MODEL, 0, 0, 4)
    assert proved(chain.MODEL, values, spoil=spoil) == [8, -1, -1, 8]


def test_a_bound_that_tells_nothing_proves_nothing():
    values = draw_model(chain.MODEL, 0, 0, 4)
    assert proved(chain.MODEL, values, bound=np.inf) == [0] * 4


def test_what_may_be_on_a_kink_is_left_over():
    kink = np.zeros((4, 8), bool)
    kink[2, 5] = True
    assert proved(chain.MODEL, draw_model(chain.MODEL, 0, 0, 4), kink=kink) == [8, 8, -1, 8]


def test_a_precision_that_does_not_tell_is_raised(monkeypatch):
    model = load_model("attention")
    values = draw_model(model, 0, 0, 40)
    tried = []
    honest = Points.slopes

    def noted(self, direction, bits):
        tried.append((bits, self.samples))
        return honest(self, direction, bits)

    monkeypatch.setattr(Points, "slopes", noted)
    assert min(proved(model, values)) >= 0
    assert tried[0] == (128, 40)
    assert 0 < tried[1][1] < 40
    assert tried[1][0] > 128


@pytest.mark.parametrize(
    ("name", "kinks"),
    [
        ("chain", False),
        ("chain-misprint", False),
        ("layer-norm", False),
        ("network", False),
        ("network", True),
    ],
)
def test_an_audit_finds_the_same_as_sample_by_sample(name, kinks, monkeypatch):
    model = load_model(name)
    request = Request(
        samples=12, dtypes=("float64",), adapters=("complex-step",), kinks=kinks, workers=1
    )
    outcome = replace(run_sweep(model, request), tallies={})
    together = auditing.audit(model, request, outcome)
    monkeypatch.setattr(auditing, "prove_together", lambda *_: np.full(12, -1))
    assert auditing.audit(model, request, outcome) == together
    assert together.proved or together.refuted


@given(
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(-6, 6),
    st.integers(-140, 10),
    st.floats(0.0, 8.0),
)
@example(1.0, 1, -52, 0.5)
@example(5e-324, 0, 0, 1.0)
@example(0.0, 0, -140, 0.0)
@example(1.7976931348623157e308, 0, 0, 0.0)
def test_a_float_is_within_its_bound_exactly_if_it_is_so_in_arb(value, steps, exponent, bound):
    """However near the bound is: floats alone may only say yes where Arb does."""
    with precision(128):
        ulp = flint.arb(math.ulp(value)) if math.isfinite(value) else flint.arb(1)
        ball = flint.arb(value) + steps * ulp / 2 + ulp * flint.arb(0, 1) * flint.arb(2) ** exponent
        for bar in (bound * float(ulp), float(abs(ball - value).upper()), np.inf):
            for one in (bar, np.nextafter(bar, 0), np.nextafter(bar, np.inf)):
                formula = np.array([ball], object)
                found = are_within(np.array([value]), formula, np.array([one]))
                assert found.tolist() == [bool(abs(ball - flint.arb(value)) <= one)]
