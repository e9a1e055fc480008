"""The benchmark: it runs whole, and its ratios and its parts are what they say they are."""

import numpy as np
import pandas as pd
import pytest
from studies.bench import kernels as kernels_module
from studies.bench import plan as plan_module
from studies.bench.commands import Command, run, time_sweep
from studies.bench.drawing import draw_bench
from studies.bench.plan import Plan, measure
from studies.bench.tables import curves, figures

from gradcheck import load_model
from gradcheck.harness.samples import draw_model
from gradcheck.model.model import run_passes

BOTH = "float64+float32"
COSTS = {"engine": 100.0, "jax": 150.0, "torch": 250.0, "torch-one-thread": 300.0, "balls": 200.0,
         "floor": 80.0, "hand-rolled": 2_000.0, "torch-gradcheck": 5e6,
         "jax-check-grads": 2e7}  # fmt: skip
BUSY = (1.0, 1.0, 3.0)
"""How much slower all is in each round."""


def _made():
    """Make the tables of a sweep that takes 4 s and 600 ns a sample, on a machine busy at times."""
    sizes = {"float64": (1_000, 1_000_000, 10_000_000), BOTH: (1_000_000, 10_000_000)}
    cost = {"float64": 600, BOTH: 1_200}
    commands = [
        {"repeat": repeat, "kind": "sweep", "model": "chain", "parameters": 8, "dtypes": dtypes,
         "samples": size, "workers": 2, "cluster": 0, "seconds": busy * (4 + per * size / 1e9),
         "peak_mib": 500 + size / 1e6, "sweep": 1.0, "referee": 0.0, "audit": 0.25 * busy,
         "diagnosis": np.nan}
        for repeat, busy in enumerate(BUSY)
        for dtypes, per in cost.items()
        for size in sizes[dtypes]
    ]  # fmt: skip
    for repeat, busy in enumerate(BUSY):
        row = {"repeat": repeat, "model": "chain", "parameters": 8, "dtypes": "float64",
               "samples": 10_000_000, "workers": 2, "cluster": 0, "audit": 0.125,
               "peak_mib": 500.0}  # fmt: skip
        commands += [
            {**row, "kind": "default", "seconds": 9.0 * busy},
            {**row, "kind": "start", "seconds": 2.0 * busy},
            {**row, "kind": "misprint", "seconds": 5.0 * busy, "diagnosis": 0.5 * busy},
        ]
        commands += [
            {
                **row,
                "kind": "cluster",
                "cluster": cluster,
                "samples": size,
                "seconds": busy * (2 + per * size),
            }
            for cluster, per in ((1, 16e-7), (2, 8e-7))
            for size in sizes[BOTH]
        ]
    kernels = [
        {"repeat": repeat, "model": "chain", "parameters": 8, "dtype": dtype, "kernel": kernel,
         "samples": 65536, "ns": cost * busy}
        for repeat, busy in enumerate(BUSY)
        for dtype in ("float64", "float32")
        for kernel, cost in COSTS.items()
    ]  # fmt: skip
    return pd.DataFrame(commands), pd.DataFrame(kernels)


@pytest.mark.parametrize(
    ("figure", "value", "met"),
    [
        ("bare work, float64", 500, ""),
        ("whole command, marginal, float64", 600, ""),
        ("marginal / bare work, float64", 1.2, "yes"),
        ("marginal / bare work, both", 1.2, "yes"),
        ("engine on balls / on floats", 2.0, "yes"),
        ("engine on floats / floor", 1.25, "yes"),
        ("torch-gradcheck / whole command", 5_000, "yes"),
        ("jax-check-grads / whole command", 20_000, "no"),
        ("jax-check-grads / marginal", 2e7 / 600, "yes"),
        ("hand-rolled / marginal", 2_000 / 600, ""),
        ("default sweep", 9, "no"),
        ("diagnosis, chain-misprint", 0.5, "yes"),
        ("peak memory, 10,000,000 / 1,000,000 samples", 510 / 501, "yes"),
        ("audit / whole command, 10,000,000 samples", 0.025, "yes"),
        ("2 Dask workers against 1, whole command, 10,000,000 samples", 1.8, "yes"),
        ("2 Dask workers against 1, marginal", 2.0, "yes"),
    ],
)
def test_a_figure_is_the_median_of_its_rounds_beside_its_goal(figure, value, met):
    row = figures(*_made()).set_index("figure").loc[figure]
    assert row["median"] == pytest.approx(value)
    assert row["met"] == met
    assert row["repeats"] == len(BUSY)
    if row["unit"] == "":  # both sides were as slow: the ratio is the same in each round
        assert row["largest"] == pytest.approx(row["smallest"])


def test_a_ratio_is_one_of_quantities_of_the_same_round():
    commands, kernels = _made()
    slow = (kernels["repeat"] == 0) & (kernels["kernel"] == "balls")
    kernels.loc[slow, "ns"] *= 5
    row = figures(commands, kernels).set_index("figure").loc["engine on balls / on floats"]
    assert (row["smallest"], row["median"], row["largest"]) == (2.0, 2.0, 10.0)


def test_bare_work_has_the_threads_that_are_quicker():
    commands, kernels = _made()
    kernels.loc[kernels["kernel"] == "torch", "ns"] *= 100
    found = figures(commands, kernels).set_index("figure")
    assert found.loc["bare work, float64", "median"] == 550


def test_memory_that_grows_misses_its_goal():
    commands, kernels = _made()
    commands.loc[commands["samples"] == 10_000_000, "peak_mib"] *= 1.1
    row = figures(commands, kernels).set_index("figure")
    assert row.loc["peak memory, 10,000,000 / 1,000,000 samples", "met"] == "no"


def test_the_peak_is_that_of_all_processes():
    hold = "import time; x = bytearray(2**26); del x; time.sleep(1)"
    both = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}]); {hold}"
    _, nothing = run(["-c", "import time; time.sleep(1)"])
    _, peak = run(["-c", both])
    assert 128 <= peak - nothing <= 160


def test_a_command_that_fails_is_no_measurement():
    with pytest.raises(RuntimeError, match=r"ended with 2, not 0(?s:.*)samples"):
        run(Command("sweep", samples=0).settled.arguments("/nowhere"))


@pytest.fixture(scope="module")
def chain():
    model = load_model("chain")
    return model, [draw_model(model, 0, i * 512, 512) for i in range(kernels_module.BLOCKS)]


def test_the_bare_work_is_the_gradients(chain):
    model, blocks = chain
    found = kernels_module.kernels_of(model, np.dtype(np.float64), blocks)
    mine = found["engine"](1)
    for name in ("torch", "torch-one-thread", "jax"):
        for gradient, theirs in zip(model.parameters, found[name](1), strict=True):
            np.testing.assert_allclose(np.asarray(theirs), mine[gradient], rtol=1e-6, atol=1e-9)
    for gradient, (mid, rad) in zip(model.parameters, found["balls"](1), strict=True):
        assert (np.abs(mid - mine[gradient]) <= rad).all()


def test_the_hand_rolled_comparison_compares(chain):
    model, blocks = chain
    found = kernels_module.kernels_of(model, np.dtype(np.float64), blocks)
    found["hand-rolled"](1)
    wrong = {**found, "jax": lambda i: [1.001 * np.asarray(a) for a in found["jax"](i)]}
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        kernels_module._hand_rolled(model, blocks, wrong)(1)


def test_the_floor_is_the_five_calls_of_the_passes(chain, monkeypatch):
    model, blocks = chain
    _, t, _ = run_passes(model, np, blocks[1])
    called = []
    for name in kernels_module.TRANSCENDENTAL:
        function = getattr(np, name)
        monkeypatch.setattr(
            np,
            name,
            lambda x, name=name, function=function: called.append((name, x)) or function(x),
        )
    work = kernels_module.floor(model, blocks)
    called.clear()
    work(1)
    assert [name for name, _ in called] == ["sin", "exp", "cos", "sin", "cos"]
    for (_, argument), of in zip(called, ("f0", "f1", "f2", "f2", "f0"), strict=True):
        np.testing.assert_array_equal(argument, t[of])


def test_loops_check_gradients(chain):
    model, blocks = chain
    row = {name: array[0] for name, array in blocks[0].items()}
    assert kernels_module.torch_gradcheck(model, row)
    assert kernels_module.jax_check_grads(model, row)


def test_a_command_is_timed_to_its_last_file():
    row = time_sweep(Command("sweep", samples=50, workers=1))
    assert (row["kind"], row["parameters"], row["cluster"]) == ("sweep", 8, 0)
    assert 0 < row["audit"] < row["sweep"] < row["seconds"]
    assert row["peak_mib"] > 50


def test_a_plan_is_measured_told_and_drawn(monkeypatch):
    def timed(command):
        row = {name: getattr(command.settled, name) for name in ("kind", "samples", "workers")}
        seconds = {"seconds": 2 + command.samples / 1e5, "peak_mib": 400.0, "sweep": 1.0}
        return {
            **row, **seconds, "audit": 0.1, "diagnosis": 0.2, "dtypes": "+".join(command.dtypes),
            "cluster": command.cluster[1],
            "parameters": plan_module.count_parameters(command.model, command.width),
        }  # fmt: skip

    monkeypatch.setattr(plan_module, "time_sweep", timed)
    monkeypatch.setattr(plan_module, "has_dask", lambda: False)
    notes: list[str] = []
    plan = Plan(repeats=1, curves=1, samples=100_000, widths=(2,), rounds=1, block=64, looped=1)
    commands, kernels = measure(plan, notes.append)
    assert any("Dask is not installed" in note for note in notes)
    told, costs = figures(commands, kernels), curves(commands, kernels)
    marginal = told.set_index("figure").loc["whole command, marginal, float64", "median"]
    assert marginal == pytest.approx(1e4)
    assert not told["figure"].str.contains("Dask").any()
    assert {"samples", "workers", "parameters"} == set(costs["against"])
    assert (costs["median"] > 0).all()
    pytest.importorskip("matplotlib")
    assert draw_bench(told, costs).startswith(b"\x89PNG")
