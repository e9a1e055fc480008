"""A trace fits the terminal, and marks what is wrong and nothing else."""

import numpy as np
import pytest

import gradcheck
from gradcheck import Model, Request
from gradcheck.examples import chain
from gradcheck.reports.trace import print_trace
from gradcheck.trace import trace_point


def test_a_trace_marks_what_is_beyond_the_bound_and_nothing_else(capsys):
    request = Request(adapters=("complex-step", "closed-form"))
    for model, marked in (("chain", []), ("chain-misprint", ["beta1"])):
        trace = trace_point(gradcheck.load_model(model), chain.MODEL.example, request)
        print_trace(trace, model)
        lines = [line for line in capsys.readouterr().out.splitlines() if "✗" in line]
        assert [line.split()[0] for line in lines if "beyond the bound" not in line] == marked


def test_a_trace_leaves_a_gap_where_an_adapter_has_nothing_to_say(capsys):
    trace = trace_point(chain.MODEL, chain.MODEL.example, Request(adapters=("closed-form",)))
    print_trace(trace, "chain")
    output = capsys.readouterr().out
    assert "nan" not in output
    rows = {line.split()[0]: line.split() for line in output.splitlines() if line.strip()}
    assert rows["beta3"][-1] == "0.744528"
    assert len(rows["f0"]) == len(rows["beta3"]) - 1


@pytest.fixture
def many(register, altered):
    """Make a dozen adapters with long names."""
    register({f"an-adapter-called-{i:02}": altered() for i in range(12)})


@pytest.mark.parametrize("width", [60, 100, 140, 400])
def test_many_adapters_are_folded_into_blocks_that_fit(width, many, capsys):
    trace = trace_point(chain.MODEL, chain.MODEL.example, Request(dtypes=("float64",)))
    print_trace(trace, "chain", width)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, lines)) <= width
    headers = [line.split() for line in lines if line.startswith("quantity")]
    shown = [name for header in headers for name in header if name.startswith("an-adapter")]
    assert sorted(shown) == sorted(2 * [f"an-adapter-called-{i:02}" for i in range(12)])
    assert sum(line.startswith("beta1 ") for line in lines) == len(headers) / 2
    assert len(headers) == (2 if width == 400 else len(headers))


def norm(xp, v):
    return xp.sqrt(xp.sum((v.on * v.x) ** 2))


def norm_forward(xp, v, t):
    t.y = v.on * v.x
    t.loss = xp.sqrt(xp.sum(t.y**2))


def naive(xp, v, t, d):
    d.x = v.on * t.y / t.loss


def lossy(xp, v, t, d):
    d.x = v.on * t.y / t.loss * np.where(v.x > 1, np.nan, 1.0)


def traced(backward, x, capsys):
    model = Model("norm", {"on": ()}, {"x": (2,)}, norm, norm_forward, backward)
    request = Request(dtypes=("float64",), adapters=("complex-step",))
    trace = trace_point(model, {"on": 1.0, "x": x}, request)
    print_trace(trace, "norm")
    return trace, capsys.readouterr().out


def test_where_the_definition_has_no_derivative_the_truth_is_unknown_and_nothing_is_marked(capsys):
    trace, output = traced(naive, 0.0, capsys)
    row = next(line for line in output.splitlines() if line.startswith("x[0]"))
    assert row.split()[1:4] == ["nan", "inf", "unknown"]
    assert "✗" not in output
    assert trace.agrees


def test_a_nan_by_hand_where_the_truth_is_known_is_marked_and_is_no_agreement(capsys):
    trace, output = traced(lossy, 3.0, capsys)
    assert not trace.agrees
    row = next(line for line in output.splitlines() if line.startswith("x[0]"))
    assert row.split()[1:3] == ["nan", "✗"]
    assert row.rstrip().endswith("0.707107")  # what the adapter found is not to blame
    assert traced(naive, 3.0, capsys)[0].agrees


def test_a_nan_of_an_adapter_is_marked(register, altered, capsys):
    register({"lost": altered(lambda found, values: {**found, "beta1": found["beta1"] * np.nan})})
    trace = trace_point(chain.MODEL, chain.MODEL.example, Request(dtypes=("float64",)))
    print_trace(trace, "chain")
    marked = [line for line in capsys.readouterr().out.splitlines() if line.endswith(" ✗")]
    assert [line.split()[0] for line in marked] == ["beta1"]
    assert marked[0].endswith("nan ✗")
    assert not trace.agrees


def test_progress_comes_to_an_end_in_small_steps():
    told = []
    request = Request(dtypes=("float64",), adapters=("complex-step",))
    trace_point(chain.MODEL, chain.MODEL.example, request, told.append)
    assert told == sorted(told)
    assert told[-1] == 1
    assert max(np.diff([0, *told])) < 0.1
