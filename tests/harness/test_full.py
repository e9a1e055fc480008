"""Every comparison is written down once, in order, and counts as in the tables."""

from pathlib import Path

import pytest

from gradcheck.errors import RequestError
from gradcheck.harness import checkpoint
from gradcheck.harness.execution import Execution
from gradcheck.harness.full import check_target
from gradcheck.harness.request import Request
from gradcheck.harness.sweep import run_sweep
from gradcheck.judge.verdict import LABELS
from gradcheck.model.loading import load_model

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

BLOCK = 64
REQUEST = Request(samples=20 * BLOCK - 5, adapters=("complex-step", "finite-difference"))
MODEL = "chain-misprint"


class EndedError(Exception):
    pass


def sweep(folder, request=REQUEST, until=10**9, **settings):
    notes, done = [], []

    def progress(fraction):
        done.append(fraction)
        if len(done) > until:
            raise EndedError

    execution = Execution(
        MODEL, full=folder / "full.parquet", checkpoint=folder / "checkpoint", resume=True,
        note=notes.append, **settings,
    )  # fmt: skip
    try:
        tallies = run_sweep(load_model(MODEL), request, progress, BLOCK, execution).tallies
    except EndedError:
        return None, None, notes
    for forget in execution.afterwards:
        forget()
    return tallies, pd.read_parquet(folder / "full.parquet"), notes


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return sweep(tmp_path_factory.mktemp("full"))


def test_there_is_a_row_for_each_comparison_in_the_order_of_the_samples(found):
    tallies, table, _ = found
    assert len(table) == sum(tally.compared for tally in tallies.values())
    for key, rows in table.groupby(["adapter", "dtype", "gradient"], observed=True):
        assert rows["sample"].tolist() == list(range(REQUEST.samples))
        assert key in tallies


def test_the_verdicts_are_those_of_the_tally(found):
    tallies, table, _ = found
    for key, rows in table.groupby(["adapter", "dtype", "gradient"], observed=True):
        counted = rows["verdict"].value_counts()
        if tallies[key].judged:
            assert [counted[label] for label in LABELS] == tallies[key].counts.tolist()
            assert rows["ratio"][rows["verdict"].isin(["agree", "disagree"])].max() == (
                tallies[key].max_ratio
            )
        else:
            assert set(rows["verdict"]) == {""}
    assert (table["verdict"] == "disagree").sum() > REQUEST.samples / 2


def test_each_case_is_a_row(found):
    tallies, table, _ = found
    case = tallies["complex-step", "float64", "beta1"].disagreements[0]
    (row,) = table.query(
        f"adapter == 'complex-step' and dtype == 'float64' and gradient == 'beta1' "
        f"and sample == {case.sample}"
    ).itertuples()
    assert (row.element, row.value, row.reference) == (0, case.value, case.reference)
    assert (row.bound, row.ulps, row.ratio) == (case.bound, case.ulps, case.ratio)


def test_other_processes_write_the_same(found, tmp_path):
    settings = {**vars(REQUEST), "workers": 2}
    assert sweep(tmp_path, Request(**settings))[1].equals(found[1])
    assert not list(tmp_path.glob(".*"))


def test_a_sweep_that_goes_on_writes_the_same(found, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "INTERVAL", 0.0)
    assert sweep(tmp_path, until=17)[1] is None
    assert not (tmp_path / "full.parquet").exists()
    _, table, notes = sweep(tmp_path)
    assert notes[0].startswith("resuming: ")
    assert table.equals(found[1])


def test_pieces_that_are_gone_are_judged_again(found, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "INTERVAL", 0.0)
    sweep(tmp_path, until=17)
    next(tmp_path.glob(".full.parquet.*.parts/*.parquet")).unlink()
    _, table, (note,) = sweep(tmp_path)
    assert "without its pieces" in note
    assert table.equals(found[1])


def test_an_adapter_that_fails_has_rows_without_values(register, altered, tmp_path):
    def fail(gradients, values):
        raise ValueError("unlucky")

    register({"broken": altered(fail)})
    request = Request(samples=10, dtypes=("float64",), adapters=("broken",))
    _, table, _ = sweep(tmp_path, request)
    assert set(table["verdict"]) == {"error"}
    assert table[["value", "ratio"]].isna().all(axis=None)


def test_where_it_cannot_be_written_is_told_before_any_work(tmp_path):
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(RequestError, match="is no file; name another"):
        check_target(tmp_path / "folder.parquet")
    with pytest.raises(RequestError, match=r"ends in \.parquet, got run\.json"):
        check_target(Path("run.json"))
    with pytest.raises(RequestError, match="cannot be written"):
        check_target(tmp_path / f"{'x' * 230}.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.parquet"]
    (tmp_path / "file").touch()
    with pytest.raises(RequestError, match="cannot be written"):
        check_target(tmp_path / "file" / "full.parquet")
