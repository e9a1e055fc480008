"""Every quantity and adjoint on a few samples: wrong ones are told from honest ones."""

from dataclasses import replace

import pytest

from gradcheck.examples import chain
from gradcheck.harness.request import Request
from gradcheck.harness.sweep import run_sweep
from gradcheck.model.loading import load_model
from gradcheck.quantities import SAMPLES, quantity_rows


def looked(model, **settings):
    asked = {"samples": 40, "adapters": ("complex-step", "hand-written")} | settings
    request = Request(**asked)
    return quantity_rows(model, request, run_sweep(model, request))


def beyond(rows):
    return {(row.direction, row.quantity) for row in rows if row.worst_ratio > 1}


@pytest.mark.parametrize(
    "name", ["chain", "network", "attention", "layer-norm", "softmax-cross-entropy"]
)
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_of_an_honest_model_nothing_is_beyond_its_bar(name, dtype):
    adapters = ("hand-written",) if dtype == "bfloat16" else ("complex-step", "hand-written")
    rows = looked(load_model(name), dtypes=(dtype,), adapters=adapters, samples=12)
    assert beyond(rows) == set()
    judged = [row for row in rows if row.worst_party]
    assert len(judged) > 0.8 * len(rows)
    assert {row.dtype for row in rows} == {dtype}


def test_rows_follow_the_trace_and_the_adjoints():
    rows = looked(chain.MODEL, dtypes=("float64",))
    names = [f"{row.direction[0]} {row.quantity}" for row in rows]
    assert names[:3] == ["f f0", "f h1", "f f1"]
    assert names[7:10] == ["f loss", "b f3", "b h3"]
    assert len(names) == 8 + 7 + 8
    for row in rows:
        assert float(row.truth) == pytest.approx(row.value, rel=1e-9)
        assert row.bar > 0
    assert rows[2].origins == "beta1 omega1 h1"


def spoilt(**changes):
    """Make a chain whose backward pass is off by a factor where it writes a quantity."""

    def backward(xp, v, t, d):
        class Spoiling:
            def __setattr__(self, name, value):
                setattr(d, name, value * changes.get(name, 1))

            def __getattr__(self, name):
                return getattr(d, name)

        chain.backward(xp, v, t, Spoiling())

    return replace(chain.MODEL, backward=backward)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_wrong_adjoint_is_beyond_its_bar_and_so_is_what_follows_from_it(dtype):
    rows = looked(spoilt(h2=1.001), dtypes=(dtype,))
    wrong = {"h2", "f1", "h1", "f0", "beta1", "omega1", "beta0", "omega0"}
    assert beyond(rows) == {("backward", name) for name in wrong}


def test_the_sample_shown_is_the_worst_disagreement():
    model = spoilt(beta0=1.001)
    request = Request(samples=40, adapters=("complex-step",), dtypes=("float64",))
    outcome = run_sweep(model, request)
    worst = outcome.tallies["complex-step", "float64", "beta0"].disagreements[0]
    rows = quantity_rows(model, request, outcome)
    assert {row.sample for row in rows} == {worst.sample}
    (row,) = (row for row in rows if row.quantity == "beta0")
    assert row.value == worst.reference
    assert float(row.truth) * 1.001 == pytest.approx(row.value)
    assert row.worst_ratio > 1
    assert len({r.worst_sample for r in rows}) <= SAMPLES


def test_a_truth_that_would_take_long_is_left_out(monkeypatch):
    monkeypatch.setattr("gradcheck.quantities.TRUTH_WORK", 0)
    rows = looked(chain.MODEL, dtypes=("float64",))
    assert {row.truth for row in rows} == {""}
    assert beyond(rows) == set()


def test_a_model_whose_trace_is_the_loss_alone():
    model = replace(
        chain.MODEL,
        forward=lambda xp, v, t: setattr(t, "loss", chain.loss(xp, v)),
        backward=lambda xp, v, t, d: _all_by_hand(xp, v, d),
    )
    rows = looked(model, dtypes=("float64",))
    assert [row.quantity for row in rows if row.direction == "forward"] == ["loss"]
    assert beyond(rows) == set()


def _all_by_hand(xp, v, d):
    from gradcheck.model.board import Blackboard

    t, inner = Blackboard(), Blackboard()
    chain.forward(xp, v, t)
    chain.backward(xp, v, t, inner)
    for name in chain.MODEL.parameters:
        d[name] = inner[name]
