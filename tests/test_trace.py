"""One point in full: the notebook's numbers, from the reference and from every adapter."""

from dataclasses import replace

import numpy as np
import pytest

from gradcheck import Request, RequestError, load_model
from gradcheck.adapters import all_adapters
from gradcheck.examples import chain
from gradcheck.trace import trace_point

TRACED = [
    name
    for name in ("complex-step", "closed-form", "torch", "jax")  # the others: test_agreement.py
    if all_adapters()[name].installed
]
FORWARD = {
    "f0": 1.230, "h1": 0.942, "f1": 1.623, "h2": 5.068,
    "f2": 7.137, "h3": 0.657, "f3": 2.372, "loss": 0.139,
}  # fmt: skip
BACKWARD = {
    "f3": 0.745, "h3": 2.234, "f2": -1.683, "h2": -3.366, "f1": -17.060, "h1": 6.824, "f0": 2.281,
    "beta3": 0.745, "omega3": 0.489, "beta2": -1.683, "omega2": -8.530,
    "beta1": -17.060, "omega1": -16.079, "beta0": 2.281, "omega0": 5.246,
}  # fmt: skip
PROVED = {
    "beta1": -17.060466526267816760,
    "omega0": 5.246071430989540174,
    "beta3": 0.744528216831855751,
}


CASES = {
    ("chain", "float64"): TRACED,
    ("chain", "float32"): ["complex-step"],
    ("chain-misprint", "float64"): ["complex-step"],
    ("chain-misprint", "float32"): ["complex-step"],
}


@pytest.fixture(scope="module")
def traces():
    """By model and dtype, everything at the notebook's point."""
    return {
        (name, dtype): trace_point(
            load_model(name),
            chain.MODEL.example,
            Request(dtypes=(dtype,), adapters=tuple(adapters)),
        )
        for (name, dtype), adapters in CASES.items()
    }


def test_the_reference_holds_the_notebooks_forward_pass_in_its_order(traces):
    table = traces["chain", "float64"].forward
    assert table["quantity"].tolist() == list(FORWARD)
    np.testing.assert_allclose(table["reference"], list(FORWARD.values()), atol=5e-4)


def test_the_reference_holds_the_notebooks_backward_pass_in_its_order(traces):
    table = traces["chain", "float64"].backward
    assert table["quantity"].tolist() == list(BACKWARD)
    np.testing.assert_allclose(table["reference"], list(BACKWARD.values()), atol=5e-4)


@pytest.mark.parametrize("gradient", PROVED)
def test_the_proved_gradients_lie_within_the_bound(gradient, traces):
    row = traces["chain", "float64"].backward.set_index("quantity").loc[gradient]
    assert abs(row["reference"] - PROVED[gradient]) <= row["bound"] <= 1e-12 * abs(row["reference"])


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        (name, dtype)
        for dtype in ("float64", "float32")
        for name in CASES["chain", dtype]
        if name not in ("closed-form", "hand-written")
    ],
)
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_every_adapter_sees_every_quantity_and_adjoint_within_the_bound(
    name, direction, dtype, traces
):
    table = getattr(traces["chain", dtype], direction)
    distance = np.abs(table[name] - table["reference"])
    assert (distance <= table["bound"]).all()


def test_an_adapter_leaves_blank_what_it_has_nothing_to_say_about(traces):
    trace = traces["chain", "float64"]
    told = trace.backward.dropna(subset="closed-form")
    assert told["quantity"].tolist() == ["beta3", "omega0"]
    assert (np.abs(told["closed-form"] - told["reference"]) <= told["bound"]).all()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_misprint_is_beyond_the_bound_at_beta1_and_nothing_else_is(dtype, traces):
    name = "complex-step"
    table = traces["chain-misprint", dtype].backward
    beyond = np.abs(table[name] - table["reference"]) > table["bound"]
    assert table["quantity"][beyond].tolist() == ["beta1"]
    beta1 = table.set_index("quantity").loc["beta1"]
    assert beta1["reference"] == pytest.approx(-1.683, abs=5e-4)
    assert beta1[name] == pytest.approx(PROVED["beta1"], rel=1e-4)


@pytest.mark.parametrize(
    ("point", "reason"),
    [
        ({**chain.MODEL.example, "z": 1.0}, "at: chain has no 'z'; it has: x, y, beta0"),
        ({"x": 1.0}, "at: no value for y, beta0"),
    ],
)
def test_a_point_with_a_name_too_many_or_too_few_is_refused(point, reason):
    with pytest.raises(RequestError, match=reason):
        trace_point(chain.MODEL, point, Request(adapters=("complex-step",)))


def test_a_wrong_forward_line_shows_beside_the_truth_of_the_definition():
    def forward(xp, v, t):
        chain.forward(xp, v, t)
        t.f1 = v.beta1 - v.omega1 * t.h1
        t.h2 = xp.exp(t.f1)

    model = replace(chain.MODEL, forward=forward)
    trace = trace_point(model, model.example, Request(adapters=("complex-step",)))
    row = trace.backward.set_index("quantity").loc["beta1"]
    assert row["truth"].startswith("-17.0604665262678167")
    assert abs(row["reference"] - row["complex-step"]) > row["bound"]
    assert not trace.agrees


def test_a_definition_that_would_end_the_process_is_a_reason_to_leave_an_adapter_out():
    def leave(xp, v):
        raise SystemExit(0)

    model = replace(chain.MODEL, expressions={"torch": leave})
    if "torch" in TRACED:
        with pytest.raises(
            RequestError, match=r"SystemExit\(0\) would end .* \(test_trace.py, line \d+\); leave"
        ):
            trace_point(model, model.example, Request(adapters=("torch",)))
