"""The tables: their columns, their floats, and that a row replays."""

import dataclasses
import json
import warnings

import numpy as np
import pandas as pd
import pytest

import gradcheck
from gradcheck.examples import chain
from gradcheck.model.model import run_passes
from gradcheck.reports.files import write_report
from gradcheck.reports.tables import label

SUMMARY = (
    "adapter,dtype,gradient,samples,agree,disagree,uninformative,overflow,kink,error,"
    "median_ulps,p99_ulps,max_ulps,max_bound_ratio,worst_sample"
)
DISCREPANCIES = (
    "sample,adapter,dtype,gradient,verdict,value,reference,bound,ulps,culprit,truth,"
    "x,y,beta0,beta1,beta2,beta3,omega0,omega1,omega2,omega3"
)
VERDICTS = ["agree", "disagree", "uninformative", "overflow", "kink", "error"]


@pytest.fixture(scope="module")
def report():
    """A fault in one gradient, honest others, a wide spread of magnitudes."""
    return gradcheck.sweep(
        "chain-misprint",
        samples=70_000,
        scale=3,
        rows=7,
        adapters=["complex-step", "closed-form", "central-difference"],
    )


@pytest.fixture(scope="module")
def folder(report, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    write_report(report, folder)
    return folder


def header(path):
    return path.read_text().partition("\n")[0] + ","


def read(path):
    """Read a table exactly; a later pandas does so by default and deprecates the option."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pd.read_csv(path, float_precision="round_trip")


def test_the_summary_has_its_columns_in_order(folder):
    assert header(folder / "summary.csv").startswith(f"{SUMMARY},")


def test_a_verdict_that_came_later_is_the_last_column(report):
    assert report.overview.columns[-1] == "nan"
    assert report.summary.columns[-5:].tolist() == [
        "nan", "judged_samples", "disagreeing_samples", "disagree_share_below", "known"
    ]  # fmt: skip
    assert (
        report.overview["nan"].sum() == report.summary["nan"].sum() == report.run["counts"]["nan"]
    )


def test_the_discrepancies_have_their_columns_in_order_then_inputs_and_parameters(folder):
    assert header(folder / "discrepancies.csv").startswith(f"{DISCREPANCIES},")


def test_the_columns_do_not_depend_on_there_being_a_row(tmp_path):
    write_report(gradcheck.sweep(samples=10, adapters=["finite-difference"]), tmp_path)
    assert len(read(tmp_path / "discrepancies.csv")) == 0
    assert header(tmp_path / "discrepancies.csv").startswith(f"{DISCREPANCIES},")


def test_the_summary_has_a_row_for_every_adapter_dtype_and_gradient(report):
    expected = [
        (adapter, dtype, gradient)
        for adapter in ("complex-step", "closed-form", "central-difference")
        for dtype in ("float64", "float32")
        for gradient in (
            ["beta3", "omega0"] if adapter == "closed-form" else chain.MODEL.parameters
        )
    ]
    rows = report.summary[["adapter", "dtype", "gradient"]].itertuples(index=False, name=None)
    assert list(rows) == expected


def test_the_verdicts_of_a_judged_gradient_add_up_to_its_samples(report):
    judged = report.summary[report.summary["adapter"] != "central-difference"]
    assert (judged["samples"] == 70_000).all()
    assert (judged[VERDICTS].sum(axis="columns") == 70_000).all()


def test_quantiles_are_in_order(report):
    summary = report.summary
    assert (summary["median_ulps"] <= summary["p99_ulps"]).all()
    assert (summary["p99_ulps"] <= summary["max_ulps"]).all()


def test_the_overview_adds_up_the_summary(report):
    totals = report.summary.groupby(["adapter", "dtype"], sort=False)[["samples", *VERDICTS]].sum()
    overview = report.overview.set_index(["adapter", "dtype"])
    pd.testing.assert_frame_equal(overview[["samples", *VERDICTS]], totals)
    misprinted = overview.loc[("complex-step", "float64")]
    assert misprinted["worst_gradient"] == "beta1"


def test_no_more_disagreements_are_kept_than_asked_for_and_they_are_the_worst(report):
    kept = report.discrepancies.query("verdict == 'disagree' and adapter == 'complex-step'")
    for dtype in ("float64", "float32"):
        rows = kept[kept["dtype"] == dtype]
        worst = report.summary.query("adapter == 'complex-step' and gradient == 'beta1'")
        assert len(rows) == 7
        assert rows["ulps"].is_monotonic_decreasing
        assert rows["ulps"].iloc[0] == worst[worst["dtype"] == dtype]["max_ulps"].item()


def test_floats_survive_the_files_to_the_last_bit(report, folder):
    floats = ["value", "reference", "bound", "ulps", "x", "y", *chain.MODEL.parameters]
    pd.testing.assert_frame_equal(
        read(folder / "discrepancies.csv")[floats], report.discrepancies[floats], check_exact=True
    )
    statistics = ["median_ulps", "p99_ulps", "max_ulps", "max_bound_ratio"]
    pd.testing.assert_frame_equal(
        read(folder / "summary.csv")[statistics], report.summary[statistics], check_exact=True
    )


def test_a_row_replays_its_reference_to_the_last_bit(folder):
    rows = read(folder / "discrepancies.csv")
    assert {"agree", "disagree"} <= set(rows["verdict"])
    model = gradcheck.load_model("chain-misprint")
    for row in rows.to_dict("records"):
        _, _, d = run_passes(model, np, {name: np.array([row[name]]) for name in model.leaves})
        assert d[row["gradient"]].item() == row["reference"]


def test_a_row_holds_its_distance(folder):
    rows = read(folder / "discrepancies.csv")
    beyond = (rows["value"] - rows["reference"]).abs() > rows["bound"]
    assert (beyond == (rows["verdict"] == "disagree")).all()


def test_a_float32_sample_is_a_float32_number(folder):
    rows = read(folder / "discrepancies.csv").query("dtype == 'float32'")
    leaves = rows[list(chain.MODEL.leaves)].to_numpy()
    assert (leaves.astype(np.float32) == leaves).all()


def test_the_run_is_json_with_the_request_the_versions_and_the_counts(report, folder):
    run = json.loads((folder / "run.json").read_text())
    assert run["request"]["model"] == "chain-misprint"
    assert run["request"]["samples"] == 70_000
    assert run["request"]["adapters"] == ["complex-step", "closed-form", "central-difference"]
    assert run["versions"]["numpy"] == np.__version__
    assert run["counts"]["disagree"] == report.summary["disagree"].sum() > 0
    assert {"sampling", "reference", "verdicts", "complex-step"} <= set(run["seconds"])


def test_two_runs_write_the_same_tables(tmp_path):
    for name in ("one", "other"):
        write_report(gradcheck.sweep(samples=100, adapters=["complex-step"]), tmp_path / name)
    for table in ("summary.csv", "discrepancies.csv"):
        assert (tmp_path / "one" / table).read_bytes() == (tmp_path / "other" / table).read_bytes()


@pytest.mark.parametrize(
    "found", [{"disagree": 1}, {"error": 1}, {"misstated": {"float64": "they differ"}}]
)
def test_a_disagreement_an_error_or_a_misstatement_is_no_agreement(found):
    report = gradcheck.sweep(samples=10, adapters=["closed-form"])
    assert report.agrees
    counts = {**report.run["counts"], **found}
    misstated = found.get("misstated", {})
    run = {**report.run, "counts": counts, "misstated": misstated}
    assert not dataclasses.replace(report, run=run).agrees


def test_an_element_of_an_array_is_labelled_with_its_position():
    assert label("x", ()) == "x"
    assert label("W", (0, 2)) == "W[0,2]"
