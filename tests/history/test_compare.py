"""A comparison of two runs finds what was planted in the later one, and nothing else."""

import json
import shutil

import pandas as pd
import pytest

from gradcheck.cli import main
from gradcheck.history.compare import Kind, compare
from gradcheck.history.results import Results

SWEEP = ["--adapters", "complex-step,closed-form", "--audit", "0", "--referee-limit", "5"]
SAMPLES = 200
SHORT = {
    "gradient": "x", "dtype": "float64", "judged": 1, "samples": SAMPLES, "reason": "overflow",
}  # fmt: skip


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """The results of an honest sweep of 200 samples."""
    folder = tmp_path_factory.mktemp("honest") / "old"
    arguments = ["--samples", str(SAMPLES), "--workers", "1", "--output", str(folder)]
    assert main(["sweep", *SWEEP, *arguments]) == 0
    return folder


@pytest.fixture
def later(honest, tmp_path):
    """A later run: the same, with cells of a row of its summary, or facts, changed."""

    def make(adapter="complex-step", dtype="float64", gradient="omega1", facts=(), **cells):
        folder = tmp_path / "new"
        if not folder.exists():
            shutil.copytree(honest, folder)
        table = pd.read_csv(folder / "summary.csv", dtype=str, keep_default_na=False)
        where = (table["adapter"] == adapter) & (table["dtype"] == dtype)
        where &= table["gradient"] == gradient
        assert where.sum() == 1
        for name, value in cells.items():
            table.loc[where, name] = str(value)
        table.to_csv(folder / "summary.csv", index=False)
        run = json.loads((folder / "run.json").read_text())
        for path, value in dict(facts).items():
            *parents, last = path.split(".")
            held = run
            for name in parents:
                held = held[name]
            held[last] = value
        (folder / "run.json").write_text(json.dumps(run))
        return folder

    return make


def found(old, new, **settings):
    return compare(Results(old, "old"), Results(new, "new"), **settings)


def changed(comparison, kind):
    return [change for change in comparison.changes if change.kind is kind]


def test_a_run_is_no_worse_than_itself(honest, later, capsys):
    comparison = found(honest, later())
    assert not comparison.changes
    assert not comparison.versions
    assert not comparison.settings
    assert comparison.rows == 8 * 2 + 2 * 2
    assert main(["compare", str(honest), str(later())]) == 0
    assert "Nothing got worse" in capsys.readouterr().out


def test_one_disagreement_more_of_the_same_samples_is_worse(honest, later, capsys):
    new = later(disagree=1, disagreeing_samples=1)
    comparison = found(honest, new)
    (change,) = comparison.changes
    assert change.key == ("complex-step", "float64", "omega1")
    assert change.kind is Kind.WORSE
    assert main(["compare", str(honest), str(new)]) == 1
    assert "worse: complex-step float64 omega1: disagree 0 → 1" in capsys.readouterr().out


def test_one_disagreement_less_is_better_and_no_failure(honest, later, capsys):
    old = later(disagree=1, disagreeing_samples=1)
    assert main(["compare", str(old), str(honest)]) == 0
    assert "better: complex-step float64 omega1: disagree 1 → 0" in capsys.readouterr().out


@pytest.mark.parametrize("verdict", ["nan", "error", "defect"])
@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_never_honest_is_worse_among_any_samples(verdict, seed, honest, later):
    new = later(**{verdict: 1}, facts={"request.seed": seed})
    comparison = found(honest, new)
    assert comparison.worse
    assert [change.what for change in changed(comparison, Kind.WORSE)] == [f"{verdict} 0 → 1"]


def test_of_other_samples_a_few_disagreements_may_be_chance(honest, later):
    other = {"request.seed": 1}
    comparison = found(honest, later(disagree=2, disagreeing_samples=2, facts=other))
    assert not comparison.worse
    (change,) = comparison.changes
    assert "which may be chance" in change.what


def test_of_other_samples_many_disagreements_are_worse(honest, later):
    other = {"request.seed": 1}
    comparison = found(honest, later(disagree=30, disagreeing_samples=30, facts=other))
    assert comparison.worse
    (change,) = changed(comparison, Kind.WORSE)
    assert change.what.startswith("0 of 200 samples → 30 of 200 disagree (p = ")


def test_the_level_is_shared_by_all_rows(honest, later):
    """p = 0.0035 would be significant alone; beside an equal one it is 0.007, beside four not."""
    other = {"request.seed": 1}
    cells = {"disagree": 8, "disagreeing_samples": 8, "facts": other}
    assert found(honest, later(**cells)).worse
    for gradient in ("omega2", "omega3"):
        new = later(gradient=gradient, **cells)
    assert not found(honest, new).worse


def test_a_significant_loss_of_what_can_be_judged_is_worse(honest, later):
    comparison = found(honest, later(judged_samples=150, agree=150, uninformative=50))
    assert comparison.worse
    (change,) = comparison.changes
    assert "200 of 200 samples → 150 of 200 can be judged" in change.what
    assert not found(honest, later(judged_samples=198, agree=198, uninformative=2)).worse


def test_an_adapter_that_is_no_longer_judged_fails_unless_it_is_allowed(honest, tmp_path, capsys):
    arguments = ["--samples", str(SAMPLES), "--output", str(tmp_path / "new"), "--audit", "0"]
    assert main(["sweep", *arguments, "--adapters", "complex-step"]) == 0
    pair = [str(honest), str(tmp_path / "new")]
    assert main(["compare", *pair]) == 1
    output = capsys.readouterr().out
    assert "vanished: closed-form float64 beta3, omega0: was judged on 200 samples" in output
    assert "--allow-vanished" in output
    assert main(["compare", *pair, "--allow-vanished"]) == 0


def test_an_adapter_that_was_not_judged_may_vanish(honest, tmp_path):
    both = tmp_path / "old"
    arguments = ["--samples", str(SAMPLES), "--audit", "0", "--output", str(both)]
    assert (
        main(["sweep", *arguments, "--adapters", "complex-step,closed-form,finite-difference"]) == 0
    )
    comparison = found(both, honest)
    assert len(changed(comparison, Kind.VANISHED)) == 16
    assert not comparison.worse
    assert len(changed(found(honest, both), Kind.APPEARED)) == 16


def test_a_row_that_appears_and_disagrees_fails(honest, later, tmp_path):
    shutil.copytree(honest, tmp_path / "old")
    table = pd.read_csv(tmp_path / "old" / "summary.csv", dtype=str, keep_default_na=False)
    table[table["adapter"] != "complex-step"].to_csv(tmp_path / "old" / "summary.csv", index=False)
    assert not found(tmp_path / "old", honest).worse
    new = later(disagree=3, disagreeing_samples=3)
    comparison = found(tmp_path / "old", new)
    assert [change.what for change in comparison.changes if change.fails] == ["3 disagree of 200"]


@pytest.mark.parametrize(
    "facts",
    [
        {"misstated": {"float64": "they differ"}},
        {"audit.undisputed": 1},
        {"failed": {"referee": "it raised"}},
        {"search.disagreements": 2},
        {"contract": [{"situation": "zero", "verdict": "disagree", "message": ""}]},
        {"judged.short": [SHORT]},
    ],
)  # fmt: skip
def test_what_fails_a_whole_run_is_worse_when_it_is_new(facts, honest, later):
    new = later(facts=facts)
    assert found(honest, new).worse
    assert not found(new, honest).worse
    assert not found(new, new).worse


def test_a_worst_error_nearer_to_its_bar_is_told_and_no_failure(honest, later):
    comparison = found(honest, later(max_bound_ratio=0.9))
    assert [change.kind for change in comparison.changes] == [Kind.TOLD]
    assert not comparison.worse


def test_what_is_known_in_the_later_run_is_not_worse(honest, later):
    known = {"disagree": 7, "disagreeing_samples": 7, "known": 7}
    told = found(honest, later(**known))
    assert [change.kind for change in told.changes] == [Kind.TOLD]
    assert told.changes[0].what == "disagree 0 → 7, which is known"
    assert not found(later(), later()).changes
    assert not found(honest, later(**known, facts={"request.seed": 1})).worse
    assert found(honest, later(**known, nan=1)).worse


def test_versions_that_changed_are_told_first(honest, later, capsys):
    new = later(facts={"versions.numpy": "9.9.9", "versions.scipy": "1.0"})
    main(["compare", str(honest), str(new)])
    lines = capsys.readouterr().out.splitlines()
    old = json.loads((honest / "run.json").read_text())["versions"]["numpy"]
    assert lines[1:3] == [f"numpy {old} → 9.9.9", "scipy None → 1.0"]


def test_a_regression_that_an_upgrade_plants_is_named(honest, tmp_path, register, altered, capsys):
    def scale(found, values):
        found["omega1"] = found["omega1"] * 1.0001
        return found

    register({"complex-step": altered(scale), "closed-form": altered(name="closed-form")})
    arguments = ["--samples", str(SAMPLES), "--audit", "0", "--output", str(tmp_path / "new")]
    assert main(["sweep", *arguments]) == 1
    capsys.readouterr()
    assert main(["compare", str(honest), str(tmp_path / "new")]) == 1
    worse = [line for line in capsys.readouterr().out.splitlines() if line.startswith("worse")]
    assert worse
    assert all(" omega1: disagree 0 → " in line for line in worse)


# --- wrong requests


def refused(capsys, *arguments):
    assert main(["compare", *map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line


def test_a_folder_that_is_none_is_refused(honest, tmp_path, capsys):
    assert "OLD: there is no folder" in refused(capsys, tmp_path / "nowhere", honest)
    assert "NEW: there is no folder" in refused(capsys, honest, honest / "run.json")
    assert "NEW: " in (line := refused(capsys, honest, tmp_path))
    assert "holds no run.json; name a folder that a sweep wrote" in line


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("run.json", "{", "damaged"),
        ("run.json", "[]", "damaged: it holds no request"),
        ("run.json", '{"request": {"model": "chain"}}', "written by another version"),
        ("summary.csv", "", "damaged"),
        ("summary.csv", b"\xff\xfe", "damaged"),
        ("summary.csv", "adapter,dtype,gradient\n", "has no 'samples': written by another"),
        ("summary.csv", None, "holds no summary.csv"),
    ],
)
def test_a_damaged_or_older_file_is_refused_by_its_name(name, content, why, honest, later, capsys):
    new = later()
    if content is None:
        (new / name).unlink()
    else:
        (new / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    line = refused(capsys, honest, new)
    assert line.startswith("gradcheck: NEW: ")
    assert name in line
    assert why in line


def test_counts_that_are_none_or_do_not_fit_are_refused(honest, later, capsys):
    assert "damaged: complex-step, float64, omega1" in refused(capsys, honest, later(nan="many"))
    line = refused(capsys, honest, later(nan=0, disagreeing_samples=201))
    assert "do not fit together" in line


def test_a_table_that_was_cut_off_is_refused(honest, later, capsys):
    new = later()
    text = (new / "summary.csv").read_text()
    (new / "summary.csv").write_text(text[: text.rindex(",float32,")])
    assert "damaged" in refused(capsys, honest, new)


@pytest.mark.parametrize(
    "facts", [{"audit": {}}, {"search": []}, {"judged.short": [{}]}, {"contract": [1]}]
)
def test_facts_that_lack_something_are_refused(facts, honest, later, capsys):
    assert "run.json" in refused(capsys, honest, later(facts=facts))


def test_runs_of_different_models_are_refused(honest, later, capsys):
    line = refused(capsys, honest, later(facts={"request.model": "network"}))
    assert "a run of network, the other of chain" in line
