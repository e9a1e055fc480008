"""The search finds what random samples seldom meet, and accuses nobody who is honest."""

import json

import numpy as np
import pandas as pd
import pytest
from studies.search import FAULTS, find

import gradcheck
from gradcheck import Model, RequestError, cli, load_model, sampling
from gradcheck.harness.archive import GOALS
from gradcheck.harness.branches import observe
from gradcheck.harness.moves import Space, all_moves, powers
from gradcheck.harness.request import Request
from gradcheck.harness.samples import draw_model
from gradcheck.reports.searched import FAILING

BUDGET = 2048
SETTINGS = {"samples": 32, "audit": 0.0, "search": 512, "referee_limit": 20}

every_fault = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)


@every_fault
def test_a_fault_in_a_rare_region_is_found(fault):
    found, goal = find(fault, BUDGET, seed=0, searching=True)
    assert found
    assert goal in GOALS


def test_random_samples_find_none_of_them():
    assert [fault.name for fault in FAULTS if find(fault, BUDGET, 0, searching=False)[0]] == []


@every_fault
def test_nothing_is_found_where_nothing_is_planted(fault):
    adapters = ["complex-step"] if fault.by_hand else ["other"]
    report = gradcheck.sweep(fault.model(planted=False), adapters=adapters, **SETTINGS)
    assert report.agrees
    assert report.run["search"]["samples"] == 2 * SETTINGS["search"]


@pytest.mark.parametrize(
    "name",
    ["chain", "softmax-cross-entropy", "gelu", "layer-norm", "batch-norm", "attention"],
)
def test_no_honest_model_is_accused_however_extreme_its_samples(name):
    report = gradcheck.sweep(name, adapters=["complex-step", "hand-written"], **SETTINGS)
    assert report.agrees, report.search[report.search["verdict"].isin(FAILING)].to_string()
    assert report.run["search"]["max_bound_ratio"] > 0


def test_no_honest_framework_is_accused():
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    report = gradcheck.sweep("batch-norm", adapters=["torch", "jax"], **SETTINGS)
    assert report.agrees, report.search[report.search["verdict"].isin(FAILING)].to_string()


FAULT = FAULTS[0]


def searched(seed=0, **settings):
    given = {"samples": 100, "search": 500, "adapters": ["complex-step"], "audit": 0.0}
    return gradcheck.sweep(FAULT.model(), seed=seed, **(given | settings))


def test_a_search_is_a_function_of_the_request_alone():
    one, other = searched(), searched(workers=3)
    pd.testing.assert_frame_equal(one.search, other.search)
    facts = [{**report.run["search"], "seconds": 0} for report in (one, other)]
    assert facts[0] == facts[1]
    assert not one.search.equals(searched(seed=1).search)


def test_rates_are_those_of_the_random_samples_alone():
    plain, more = searched(search=0), searched()
    pd.testing.assert_frame_equal(plain.summary, more.summary)
    pd.testing.assert_frame_equal(plain.discrepancies, more.discrepancies)
    assert plain.run["counts"] == more.run["counts"]
    assert plain.agrees
    assert not more.agrees
    assert plain.run["search"]["samples"] == 0
    assert more.run["search"]["samples"] == 1000  # in two formats


def test_what_is_found_is_refereed_and_its_line_is_named():
    report = searched()
    found = report.search[report.search["verdict"] == "disagree"]
    assert set(found["culprit"]) == {"reference"}
    assert (found["sample"] >= 100).all()
    assert (found["x"].abs() > 6).all()
    assert report.diagnosis["source"].str.contains("d.w = t.feature").any()
    assert "Search: 1,000 samples more" in str(report)


def test_the_command_line_writes_what_is_found_and_exits_with_1(tmp_path, capsys):
    file = tmp_path / "rare.py"
    file.write_text(RARE)
    options = ["--samples", "50", "--adapters", "complex-step", "--output", str(tmp_path / "out")]
    assert cli.main(["sweep", str(file), *options]) == 0
    assert not (tmp_path / "out" / "search.csv").exists()
    assert cli.main(["sweep", "--search-samples", "600", str(file), *options]) == 1
    table = pd.read_csv(tmp_path / "out" / "search.csv")
    assert set(table.loc[table["verdict"] == "disagree", "goal"]) <= {*GOALS}
    facts = json.loads((tmp_path / "out" / "run.json").read_text())
    assert facts["search"]["disagreements"] == (table["verdict"] == "disagree").sum() > 0
    out = capsys.readouterr().out
    assert "the search found" in out
    assert f"gradcheck trace {file} --dtypes" in out


RARE = """
from gradcheck import Model


def loss(xp, v):
    return v.w * xp.sin(v.x)


def forward(xp, v, t):
    t.sine = xp.sin(v.x)
    t.loss = v.w * t.sine


def backward(xp, v, t, d):
    d.sine = v.w
    d.w = t.sine * xp.where(v.x > 20, 2.0, 1.0)


MODEL = Model("rare", {"x": ()}, {"w": ()}, loss, forward, backward)
"""


def test_the_default_is_a_quarter_within_limits():
    assert Request(samples=100).search_samples == 0
    assert Request(samples=100, search=True).search_samples == 4096
    assert Request(samples=100_000, search=True).search_samples == 25_000
    assert Request(samples=10**8, search=True).search_samples == 65_536
    assert Request(samples=100, search=7).search_samples == 7


@pytest.mark.parametrize("wrong", [-1, 0.5, "yes"])
def test_other_budgets_are_refused(wrong):
    with pytest.raises(RequestError, match="search: "):
        Request(search=wrong)


DOMAINS = {
    "any": None,
    "positive": sampling.positive(),
    "unit": sampling.uniform(0.25, 1.5),
    "many": sampling.integers(-3, 9),
    "choice": sampling.one_hot(),
    "direction": sampling.unit_norm(),
    "w": sampling.scaled(3.0),
}
CONSTRAINED = Model(
    "constrained",
    inputs={name: (4,) for name in DOMAINS if name != "w"},
    parameters={"w": (2,)},
    loss=lambda xp, v: xp.sum(v.w),
    forward=lambda xp, v, t: None,
    backward=lambda xp, v, t, d: None,
    sampling={name: domain for name, domain in DOMAINS.items() if domain is not None},
)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_move_stays_within_the_domains_and_the_format(dtype):
    space = Space(CONSTRAINED, dtype)
    drawn = draw_model(CONSTRAINED, 0, 0, 8, dtype=dtype)
    origins = space.rows(drawn)
    moves = all_moves(space, 4000)
    rows = np.stack([move.applied(origins[i % 8]) for i, move in enumerate(moves)])
    values = space.values(rows)
    assert values["many"].dtype == np.int64
    assert values["many"].min() == -3
    assert values["many"].max() == 8
    assert (values["positive"] > 0).all()
    assert values["unit"].min() == 0.25
    assert values["unit"].max() == 1.5
    assert (np.sort(values["choice"], axis=1) == [0, 0, 0, 1]).all()
    assert len(np.unique(values["choice"], axis=0)) == 4
    norms = np.linalg.norm(values["direction"], axis=1)
    np.testing.assert_allclose(norms, 1, rtol=4 * np.finfo(dtype).eps)
    for name in ("any", "positive", "w"):
        assert (values[name] == values[name].astype(dtype)).all()
        assert np.isfinite(values[name]).all()
    assert np.abs(values["any"]).max() == np.finfo(dtype).max
    assert np.abs(values["any"][values["any"] != 0]).min() == np.finfo(dtype).smallest_subnormal


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_powers_reach_both_ends_of_a_format(dtype):
    found = powers(np.dtype(dtype))
    assert found[0] == np.finfo(dtype).smallest_subnormal
    assert found[-1] == 2.0 ** (np.finfo(dtype).maxexp - 1)


def test_a_large_model_has_no_more_moves_than_were_asked_for():
    assert len(all_moves(Space(load_model("network"), "float64"), 500)) <= 2 * 500


def test_comparisons_of_definition_and_passes_are_seen():
    model = FAULTS[8].model()  # compares x with 3.5, and y with −3.5
    values = {"x": np.array([3.0, 4.0]), "y": np.array([0.0, -4.0]), "w": np.ones(2)}
    leads, strained = observe(model, values, "float64")
    np.testing.assert_array_equal(leads, [[-0.5, 3.5], [0.5, -0.5]])
    assert not strained.any()


def test_a_pass_that_branches_is_followed_sample_by_sample():
    def backward(xp, v, t, d):
        if v.x > 1:
            d.w = v.x
        elif v.x > -1:
            d.w = 1 * v.x

    def forward(xp, v, t):
        t.loss = v.w * v.x

    model = Model("if", {"x": ()}, {"w": ()}, lambda xp, v: v.w * v.x, forward, backward)
    leads, _ = observe(model, {"x": np.array([3.0, 0.0]), "w": np.ones(2)}, "float64")
    np.testing.assert_array_equal(leads, [[2.0, np.nan], [-1.0, 1.0]])


@pytest.mark.parametrize(("x", "is_strained"), [(1.0, False), (400.0, True), (-400.0, True)])
def test_where_the_definition_leaves_the_range_of_comfort_is_seen(x, is_strained):
    model = Model(
        "exp",
        {"x": ()},
        {"w": ()},
        lambda xp, v: v.w * xp.exp(v.x),
        lambda xp, v, t: None,
        lambda xp, v, t, d: None,
    )
    _, strained = observe(model, {"x": np.array([x]), "w": np.ones(1)}, "float64")
    assert strained.tolist() == [is_strained]
