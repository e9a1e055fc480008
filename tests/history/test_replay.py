"""A sample replays bit for bit; what is not as it was is told."""

import json
import shutil
import sys

import numpy as np
import pandas as pd
import pytest

from gradcheck.cli import main
from gradcheck.harness.samples import draw_sample
from gradcheck.history.replay import judge_block, replay
from gradcheck.history.results import Results
from gradcheck.history.sample import find_subject, make_block, same_bits

QUICK = ["--audit", "0", "--workers", "1"]
NUMPY = ["--adapters", "complex-step,hand-written"]
RUNS = {
    "misprint": ["chain-misprint", "--adapters", "complex-step,torch,jax", "--samples", "3000"],
    "network": ["scaled.py:network", "--adapters", "complex-step,jax", "--samples", "3000"],
    "attention": ["scaled.py:ATTENTION", "--adapters", "hand-written,torch", "--samples", "200"],
}
SCALED = """
from dataclasses import replace
from gradcheck.examples import attention
from gradcheck.examples.network import build

def scaled(model):
    return replace(model, loss=lambda xp, v: 1.001 * model.loss(xp, v))

def network(depth=2):
    return scaled(build(depth=depth, width=3))

ATTENTION = scaled(attention.MODEL)
"""
"""Of which hardly any gradient agrees, so that many rows are written."""
SWISH = """
import torch
import gradcheck


class Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        s = torch.sigmoid(x)
        ctx.save_for_backward(x, s)
        return x * s

    @staticmethod
    def backward(ctx, g):
        x, s = ctx.saved_tensors
        return g * (s + x * s * (1 {sign} s))


SWISH = gradcheck.Case(Swish.apply, torch.linspace(-2, 2, 6))
"""


@pytest.fixture(scope="module")
def misprint(tmp_path_factory):
    """A run of the misprint, of 100 samples: 38 is its worst one, in any format."""
    return swept(tmp_path_factory, "chain-misprint", *NUMPY, "--samples", "100", status=1)


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    return swept(tmp_path_factory, "chain", *NUMPY, "--samples", "100")


def swept(factory, *arguments, status=0):
    folder = factory.mktemp("run") / "out"
    assert main(["sweep", *arguments, *QUICK, "--output", str(folder)]) == status
    return folder


def rows_of(folder, **where):
    table = pd.read_csv(folder / "discrepancies.csv", dtype=str, keep_default_na=False)
    for name, value in where.items():
        table = table[table[name] == value]
    return table


def changed(folder, tmp_path, change, name="discrepancies.csv"):
    """Copy a run, a table of which is changed."""
    copy = tmp_path / "changed"
    if folder != copy:
        shutil.copytree(folder, copy, dirs_exist_ok=True)
    table = pd.read_csv(copy / name, dtype=str, keep_default_na=False)
    change(table)
    table.to_csv(copy / name, index=False)
    return copy


def facts_changed(folder, tmp_path, **facts):
    copy = tmp_path / "changed"
    if folder != copy:
        shutil.copytree(folder, copy, dirs_exist_ok=True)
    run = json.loads((copy / "run.json").read_text())
    for name, value in facts.items():
        run[name] = {**run[name], **value}
    (copy / "run.json").write_text(json.dumps(run))
    return copy


def one_line_refusal(capsys, *arguments):
    assert main(["replay", *map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line


@pytest.mark.parametrize("run", RUNS)
def test_a_hundred_random_rows_replay_bit_for_bit(run, tmp_path, monkeypatch):
    for framework in ("torch", "jax"):
        if framework in RUNS[run][2]:
            pytest.importorskip(framework)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scaled.py").write_text(SCALED)
    assert main(["sweep", *RUNS[run], *QUICK, "--referee-limit", "0", "--output", "out"]) == 1
    table = rows_of(tmp_path / "out")
    assert len(table) > 500
    chosen = np.random.default_rng(0).choice(len(table), 100, replace=False)
    results, judged = Results(tmp_path / "out", "folder"), {}
    for _, row in table.iloc[chosen].iterrows():
        number, dtype = int(row["sample"]), row["dtype"]
        subject = find_subject(results, number, dtypes=[dtype])
        block = dtype, number // subject.block
        if block not in judged:
            judged[block] = judge_block(subject, dtype)
        _, differing = make_block(subject, dtype)
        assert differing == []
        (line,) = (
            line
            for line in judged[block].lines(subject)
            if (line.adapter, line.gradient, line.element)
            == (row["adapter"], row["gradient"], row["element"])
        )
        assert line.written == {}
        for name in ("value", "reference", "bound"):
            assert same_bits(float(row[name] or "nan"), getattr(line.case, name))
        assert line.case.verdict == row["verdict"]


def test_a_disagreement_replays_with_its_culprit_its_trace_and_status_1(misprint, capsys):
    number = int(rows_of(misprint, verdict="disagree").iloc[0]["sample"])
    assert main(["replay", str(misprint), str(number)]) == 1
    output = capsys.readouterr().out
    lines = output.splitlines()
    assert lines[0].startswith(f"chain-misprint, sample {number} of ")
    for dtype in ("float64", "float32"):
        assert f"chain-misprint, {dtype}, backward: ∂ℓ/∂…" in output
    assert "Its numbers, drawn from the seed, are those of its row, bit for bit." in lines
    wrong = [line for line in lines if "  disagree " in line]
    assert len(wrong) == 2
    assert all(line.split()[-3:] == ["disagree", "reference", "same"] for line in wrong)
    assert all("complex-step" in line for line in wrong)


def test_a_sample_that_no_row_has_replays_with_status_0(honest, capsys):
    with_rows = set(rows_of(honest)["sample"].astype(int))
    number = next(n for n in range(100) if n not in with_rows)
    assert main(["replay", str(honest), str(number)]) == 0
    output = capsys.readouterr().out
    assert "No row was written of it in float64; its numbers are drawn from the seed." in output
    assert f"Nothing disagrees in sample {number}, float32." in output


def test_the_numbers_are_those_that_a_sweep_judges(honest):
    subject = find_subject(Results(honest, "folder"), 17)
    block, _ = make_block(subject, "float32")
    drawn = draw_sample(subject.model, subject.request, "float32", 17)
    for name, array in drawn.values.items():
        assert np.array_equal(block.values[name][17:18], array)


def test_only_the_adapters_and_formats_asked_for_are_replayed(misprint, capsys):
    arguments = ["--adapters", "hand-written", "--dtypes", "float32"]
    main(["replay", str(misprint), "3", *arguments])
    output = capsys.readouterr().out
    assert "hand-written" in output
    assert "complex-step" not in output
    assert "float64" not in output


def test_what_is_not_held_to_the_bound_is_shown_and_not_judged(tmp_path, capsys):
    arguments = ["chain", "--adapters", "complex-step,finite-difference", "--samples", "20"]
    assert main(["sweep", *arguments, *QUICK, "--output", str(tmp_path)]) == 0
    capsys.readouterr()
    assert main(["replay", str(tmp_path), "3"]) == 0
    output = capsys.readouterr().out
    assert "finite-difference" in output
    assert "disagree " not in output


def test_of_a_large_gradient_what_failed_is_shown(tmp_path, monkeypatch):
    """Element [8,7] of 81 is wrong, which is none of those that are evenly spaced."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gradcheck.history.replay.MOST_ROWS", 3)
    (tmp_path / "large.py").write_text(
        "from gradcheck import Model\n"
        "def backward(xp, v, t, d):\n"
        "    d.W = 2 * v.W\n"
        "    d.W[8, 7] *= 1.01\n"
        "def forward(xp, v, t):\n"
        "    t.loss = xp.sum(v.W**2)\n"
        "def loss(xp, v):\n"
        "    return xp.sum(v.W**2)\n"
        "LARGE = Model('large', {}, {'W': (9, 9)}, loss, forward, backward)\n"
    )
    arguments = ["large.py", "--adapters", "complex-step", "--samples", "4", "--rows", "1"]
    assert main(["sweep", *arguments, *QUICK, "--output", "out"]) == 1
    without_row = {"0", "1", "2", "3"} - set(rows_of(tmp_path / "out")["sample"])
    subject = find_subject(Results(tmp_path / "out", "folder"), int(min(without_row)))
    found = replay(subject, "float64")
    assert [line.element for line in found.lines] == ["[0,0]", "[4,4]", "[8,7]", "[8,8]"]
    assert [line.element for line in found.failing] == ["[8,7]"]


# --- what is not as it was


def test_a_value_that_is_off_by_an_ulp_is_told_and_fails_on_the_same_machine(
    honest, tmp_path, capsys
):
    row = rows_of(honest, adapter="complex-step", dtype="float64").iloc[0]

    def move(table):
        where = table.index[row.name]
        table.loc[where, "value"] = repr(float(np.nextafter(float(row["value"]), np.inf)))

    arguments = [row["sample"], "--dtypes", "float64"]
    assert main(["replay", str(honest), *arguments]) == 0
    moved = changed(honest, tmp_path, move)
    capsys.readouterr()
    assert main(["replay", str(moved), *arguments]) == 1
    output = capsys.readouterr().out
    assert "value 1 ulps" in " ".join(output.split())
    assert "Not as the run wrote it: 1 of " in output
    assert "differ, by up to 1 ulps." in output
    other = facts_changed(moved, tmp_path, machine={"cpu": "another"})
    assert main(["replay", str(other), *arguments]) == 0
    output = capsys.readouterr().out
    assert output.splitlines()[1].startswith("cpu another → ")
    assert "differ, by up to 1 ulps." in output


@pytest.mark.parametrize("column", ["reference", "bound"])
def test_a_reference_or_a_bound_that_is_not_as_it_was_fails(column, honest, tmp_path, capsys):
    row = rows_of(honest, adapter="complex-step", dtype="float64").iloc[0]

    def move(table):
        table.loc[row.name, column] = repr(float(row[column]) * 1.5)

    moved = changed(honest, tmp_path, move)
    assert main(["replay", str(moved), row["sample"], "--dtypes", "float64"]) == 1
    assert f"{column} " in " ".join(capsys.readouterr().out.split())


def test_where_row_and_seed_differ_the_row_is_replayed_and_it_fails(honest, tmp_path, capsys):
    number = rows_of(honest).iloc[0]["sample"]

    def move(table):
        table.loc[table["sample"] == number, "x"] = "0.5"

    moved = changed(honest, tmp_path, move)
    assert main(["replay", str(moved), number, "--dtypes", "float64"]) == 1
    output = capsys.readouterr().out
    assert "Its numbers are not those of its row: x differ. The row is replayed." in output
    subject = find_subject(Results(moved, "folder"), int(number))
    block, differing = make_block(subject, "float64")
    assert differing == ["x"]
    assert block.values["x"][int(number)] == 0.5
    assert "Nothing disagrees in sample" in output


def test_another_seed_in_the_facts_shows(honest, tmp_path, capsys):
    number = rows_of(honest).iloc[0]["sample"]
    other = facts_changed(honest, tmp_path, request={"seed": 1})
    assert main(["replay", str(other), number, "--dtypes", "float64"]) == 1
    assert "Its numbers are not those of its row: x, y, beta0 …" in capsys.readouterr().out


def test_another_version_is_told_first(honest, tmp_path, capsys):
    other = facts_changed(honest, tmp_path, versions={"numpy": "1.0"})
    assert main(["replay", str(other), "0", "--dtypes", "float64"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("numpy 1.0 → ")


def test_a_models_file_that_was_changed_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = "from gradcheck.examples import chain\nMINE = chain.MODEL\n"
    (tmp_path / "mine.py").write_text(source)
    assert main(["sweep", "mine.py", *NUMPY, "--samples", "20", *QUICK, "--output", "out"]) == 0
    capsys.readouterr()
    assert main(["replay", "out", "0", "--dtypes", "float64"]) == 0
    assert "source" not in capsys.readouterr().out
    (tmp_path / "mine.py").write_text(f"{source}# changed\n")
    assert main(["replay", "out", "0", "--dtypes", "float64"]) == 0
    assert "the model's source " in capsys.readouterr().out.splitlines()[1]


def test_from_another_folder_a_models_file_has_to_be_named(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("from gradcheck.examples import chain\nMINE = chain.MODEL\n")
    assert main(["sweep", "mine.py", *NUMPY, "--samples", "20", *QUICK, "--output", "out"]) == 0
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    capsys.readouterr()
    refusal = one_line_refusal(capsys, "../out", "0")
    assert "there is no file mine.py; name it by --model" in refusal
    arguments = ["--model", "../mine.py", "--dtypes", "float64"]
    assert main(["replay", "../out", "0", *arguments]) == 0


# --- the row alone


@pytest.mark.parametrize("without_facts", [False, True])
def test_a_row_replays_alone(without_facts, misprint, tmp_path, capsys):
    shutil.copytree(misprint, tmp_path / "run")
    arguments = ["--row"]
    if without_facts:
        (tmp_path / "run" / "run.json").unlink()
        arguments = ["--model", "chain-misprint"]
    number = rows_of(misprint, verdict="disagree", dtype="float64").iloc[0]["sample"]
    arguments += ["--dtypes", "float64"]
    assert main(["replay", str(tmp_path / "run"), number, *arguments]) == 1
    output = capsys.readouterr().out
    assert "from its row alone" in output
    assert "The numbers are those of its row in float64." in output
    assert "As the run wrote it, bit for bit: " in output


def test_a_sample_of_a_search_replays_from_its_row(tmp_path, capsys):
    arguments = ["chain-misprint", *NUMPY, "--samples", "20", "--search-samples", "64"]
    arguments += ["--dtypes", "float64", "--referee-limit", "2"]
    assert main(["sweep", *arguments, *QUICK, "--output", str(tmp_path)]) == 1
    found = pd.read_csv(tmp_path / "search.csv", dtype=str, keep_default_na=False)
    number = found[found["verdict"] == "disagree"].iloc[0]["sample"]
    assert int(number) >= 20
    assert main(["replay", str(tmp_path), number]) == 1
    output = capsys.readouterr().out
    assert "from its row alone" in output
    assert "disagree or fail" in output


# --- functions


@pytest.mark.parametrize(("sign", "status"), [("-", 0), ("+", 1)])
def test_a_function_replays_without_a_trace(sign, status, tmp_path, capsys, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "swish.py").write_text(SWISH.replace("{sign}", sign))
    arguments = ["--samples", "8", "--dtypes", "float32", "--workers", "1", "--output", "out"]
    assert main(["sweep", "swish.py:SWISH", *arguments]) == status
    number = rows_of(tmp_path / "out").iloc[0]["sample"]
    capsys.readouterr()
    assert main(["replay", "out", number]) == status
    output = capsys.readouterr().out
    assert "forward" not in output
    assert "truth" in output
    assert "As the run wrote it, bit for bit: " in output
    assert ("disagree  torch" in output) == bool(status)


# --- adapters that fail


def test_an_adapter_that_fails_is_told_and_the_others_are_traced(honest, capsys, register, altered):
    def fail(found, values):
        raise ValueError("unlucky")

    register({"complex-step": altered(fail), "hand-written": altered(name="hand-written")})
    assert main(["replay", str(honest), "0", "--dtypes", "float64"]) == 1
    output = capsys.readouterr().out
    assert "ValueError: unlucky" in output
    assert "hand-written" in output


def test_an_adapter_that_is_not_installed_is_left_out_and_told(honest, tmp_path, capsys):
    other = facts_changed(honest, tmp_path, request={"adapters": ["complex-step", "gone"]})
    assert main(["replay", str(other), "0", "--dtypes", "float64"]) == 0
    assert "Not installed, so not replayed: gone" in capsys.readouterr().out
    assert "--adapters: " in one_line_refusal(capsys, other, 0, "--adapters", "gone")


def test_an_adapter_replays_in_the_formats_that_it_works_in(tmp_path, capsys):
    pytest.importorskip("torch")
    arguments = ["--adapters", "complex-step,torch", "--dtypes", "bfloat16,float32"]
    folder = str(tmp_path / "out")
    assert main(["sweep", "gelu", *arguments, "--samples", "20", *QUICK, "--output", folder]) == 0
    capsys.readouterr()
    assert main(["replay", folder, "0"]) == 0
    assert "complex-step" in capsys.readouterr().out
    assert main(["replay", folder, "0", "--dtypes", "bfloat16"]) == 0
    output = capsys.readouterr().out
    assert "torch" in output
    assert "complex-step" not in output


# --- wrong requests


def test_a_sample_folder_or_name_that_there_is_none_of_is_refused(honest, tmp_path, capsys):
    refusal = one_line_refusal(capsys, honest, 100)
    assert "NUMBER: " in refusal
    assert "has no row of 100; its samples are 0 to 99" in refusal
    assert "NUMBER: expected 0 to 2**53 - 1" in one_line_refusal(capsys, honest, 2**53)
    assert "expected a whole number" in one_line_refusal(capsys, honest, "first")
    assert "FOLDER: there is no folder" in one_line_refusal(capsys, tmp_path / "nowhere", 1)
    assert "holds no discrepancies.csv" in one_line_refusal(capsys, tmp_path, 1)
    for option, name in (("--adapters", "torhc"), ("--dtypes", "float46")):
        refusal = one_line_refusal(capsys, honest, 0, option, name)
        assert f"{option}: the run has no '{name}'" in refusal
    assert "there is no model 'chian'" in one_line_refusal(capsys, honest, 0, "--model", "chian")


def test_a_row_alone_needs_a_row_and_the_models_name(honest, tmp_path, capsys):
    with_rows = set(rows_of(honest)["sample"].astype(int))
    number = next(n for n in range(100) if n not in with_rows)
    assert f"has no row of {number}" in one_line_refusal(capsys, honest, number, "--row")
    shutil.copytree(honest, tmp_path / "run")
    (tmp_path / "run" / "run.json").unlink()
    refusal = one_line_refusal(capsys, tmp_path / "run", min(with_rows))
    assert "name it by --model" in refusal


def test_a_row_of_another_model_or_that_was_changed_is_refused(honest, tmp_path, capsys):
    number = rows_of(honest).iloc[0]["sample"]
    refusal = one_line_refusal(capsys, honest, number, "--model", "gelu")
    assert "is of another model than gelu" in refusal

    def differ(table):
        table.loc[table.index[table["sample"] == number][0], "x"] = "0.5"

    refusal = one_line_refusal(capsys, changed(honest, tmp_path, differ), number)
    assert "differ from one another" in refusal

    def spoil(table):
        table.loc[table["sample"] == number, "x"] = "many"

    assert "many" in one_line_refusal(capsys, changed(honest, tmp_path, spoil), number)


@pytest.mark.parametrize("facts", [{"seed": -1}, {"dtypes": "float64"}, {"scale": "wide"}])
def test_facts_that_are_no_request_are_damaged(facts, honest, tmp_path, capsys):
    other = facts_changed(honest, tmp_path, request=facts)
    assert "run.json is damaged: " in one_line_refusal(capsys, other, 0)


def test_replaying_from_a_shell_is_bit_for_bit_too(misprint):
    import subprocess

    number = rows_of(misprint, verdict="disagree").iloc[0]["sample"]
    process = subprocess.run(
        [sys.executable, "-m", "gradcheck", "replay", str(misprint), number],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert process.returncode == 1
    assert process.stderr == ""
    assert process.stdout.count("As the run wrote it, bit for bit: ") == 2


def test_signs_of_zeros_are_bits_and_any_nan_is_one():
    assert same_bits(0.0, 0.0)
    assert not same_bits(0.0, -0.0)
    assert same_bits(float("nan"), -float("nan"))
    assert not same_bits(1.0, float("nan"))


def test_a_replay_shows_nothing_but_zero_where_adapters_agree(honest):
    subject = find_subject(Results(honest, "folder"), 0, adapters=["hand-written"])
    found = replay(subject, "float64")
    assert found.agrees
    assert found.trace is not None
    assert {line.case.verdict for line in found.lines} == {"agree"}
    assert {line.case.ulps for line in found.lines} == {0.0}
    assert all(line.ruling.truth for line in found.lines)
