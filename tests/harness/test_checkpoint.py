"""A sweep that was ended goes on where it was: from what is whole and its own alone."""

import hashlib
import os
import pickle
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gradcheck.errors import RequestError
from gradcheck.examples import chain
from gradcheck.harness import checkpoint as module
from gradcheck.harness.execution import Execution
from gradcheck.harness.request import Request
from gradcheck.harness.sweep import run_sweep

BLOCK = 64
REQUEST = Request(samples=40 * BLOCK, adapters=("complex-step",))
BLOCKS = 80
"""In two formats."""
KILLS = int(os.environ.get("GRADCHECK_KILLS", "3"))
"""How often the sweep is killed; 50 were tried."""


class EndedError(Exception):
    pass


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "INTERVAL", 0.0)
    return tmp_path


def sweep(folder, request=REQUEST, until=BLOCKS, resume=True, **settings):
    """Sweep until so many blocks are done; return what was found, what was told, and the blocks."""
    notes, done = [], []

    def progress(fraction):
        done.append(fraction)
        if len(done) > until:
            raise EndedError

    execution = Execution(
        checkpoint=folder / "checkpoint", resume=resume, note=notes.append, **settings
    )
    outcome = None
    try:
        outcome = run_sweep(chain.MODEL, request, progress, BLOCK, execution)
    except EndedError:
        done.pop()
    return outcome, notes, len(done)


def facts(outcome):
    return repr(outcome.tallies), {
        dtype: samples.numbers.tolist() for dtype, samples in outcome.samples.items()
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    outcome, notes, done = sweep(tmp_path_factory.mktemp("whole"))
    assert (notes, done) == (["there is nothing to resume; starting from the first sample"], BLOCKS)
    return facts(outcome)


@pytest.mark.parametrize("until", [1, 3, 40, 79])
def test_what_was_done_is_not_done_again_and_the_result_is_the_same(folder, whole, until):
    assert sweep(folder, until=until)[2] == until
    outcome, notes, done = sweep(folder)
    assert facts(outcome) == whole
    kept = BLOCKS - done
    assert until - 4 <= kept <= until  # a piece has four blocks at most
    assert kept == 0 or notes[0].startswith("resuming: ")


def test_what_was_done_is_dropped_unless_it_is_asked_for(folder, whole):
    sweep(folder, until=40)
    outcome, notes, done = sweep(folder, resume=False)
    assert (facts(outcome), done) == (whole, BLOCKS)
    assert notes == ["what an interrupted sweep had done is dropped; --resume would go on"]


def flipped(content, position):
    return content[:position] + bytes([content[position] ^ 4]) + content[position + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: flipped(content, 3),
        lambda content: flipped(content, 100),
        lambda content: flipped(content, len(content) // 2),
        lambda content: flipped(content, len(content) - 2),
        lambda content: content + b"more",
    ],
)
def test_a_damaged_one_is_not_used(folder, whole, damage):
    sweep(folder, until=40)
    path = folder / "checkpoint"
    path.write_bytes(damage(path.read_bytes()))
    outcome, notes, done = sweep(folder)
    assert (facts(outcome), done) == (whole, BLOCKS)
    assert notes == ["the checkpoint is damaged; starting from the first sample"]


@pytest.mark.parametrize(
    ("settings", "difference"),
    [
        ({"seed": 7}, "seed: 7 there, 0 here"),
        ({"ulps": 5.0}, "ulps: 5.0 there, 4.0 here"),
        ({"dtypes": ("float64",)}, "dtypes: ['float64'] there, ['float64', 'float32'] here"),
        ({"adapters": ("closed-form",)}, "adapters: ['closed-form'] there, ['complex-step'] here"),
    ],
)
def test_one_of_another_sweep_is_refused_and_kept(folder, settings, difference):
    sweep(folder, replace(REQUEST, **settings), until=30)
    kept = (folder / "checkpoint").read_bytes()
    with pytest.raises(RequestError, match="of another sweep") as refusal:
        sweep(folder)
    assert difference in refusal.value.text
    assert (folder / "checkpoint").read_bytes() == kept


@pytest.mark.parametrize(
    ("name", "stands_for"),
    [
        ("gradcheck.harness.facts.version", "versions"),
        ("gradcheck.harness.facts.processor", "the processor"),
        ("gradcheck.harness.facts._hash", "sources"),
    ],
)
def test_one_of_other_code_or_another_processor_is_refused(folder, monkeypatch, name, stands_for):
    other = {"versions": "0.0.1", "the processor": {"machine": "Z80"}, "sources": "beef"}
    with monkeypatch.context() as context:
        context.setattr(name, lambda *_: other[stands_for])
        sweep(folder, until=40)
    with pytest.raises(RequestError, match="of another sweep"):
        sweep(folder)


def test_a_change_in_a_module_beside_the_model_is_seen(folder, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("import helper\n")
    (tmp_path / "helper.py").write_text("x = 1\n")
    sweep(folder, until=40, model=str(file))
    (tmp_path / "helper.py").write_text("x = 2\n")
    with pytest.raises(RequestError, match="model's source"):
        sweep(folder, model=str(file))


class Evil:
    def __reduce__(self):
        return os.system, ("touch evil",)


def test_nothing_is_run_that_a_checkpoint_names(folder, monkeypatch, whole):
    monkeypatch.chdir(folder)
    sweep(folder, until=40)
    path = folder / "checkpoint"
    head = path.read_bytes().split(b"\n")[1]
    rest = head + b"\n" + pickle.dumps(Evil())
    path.write_bytes(hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest)
    outcome, (note,), _ = sweep(folder)
    assert facts(outcome) == whole
    assert "of something else" in note
    assert not Path("evil").exists()


def test_a_disk_that_is_full_costs_the_checkpoint_and_not_the_sweep(folder, whole, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    outcome, notes, _ = sweep(folder, resume=False)
    assert facts(outcome) == whole
    assert notes == ["what is done cannot be kept for --resume (No space left on device)"]
    assert list(folder.iterdir()) == []


def test_killed_at_any_moment_and_resumed_it_ends_with_the_same_bytes(tmp_path):
    command = [
        *(sys.executable, "-m", "gradcheck", "sweep", "--adapters", "complex-step"),
        *("--samples", "1500000", "--dtypes", "float64", "--workers", "2", "--output"),
    ]

    def run(*arguments, **settings):
        return subprocess.run(
            [*command, *arguments], cwd=tmp_path, capture_output=True, check=False, **settings
        )

    began = time.monotonic()
    assert run("whole").returncode == 0
    took = time.monotonic() - began
    chance = np.random.default_rng(KILLS)
    for _ in range(KILLS):
        try:
            run("broken", "--resume", timeout=chance.uniform(0, took))  # then it is killed
        except subprocess.TimeoutExpired:
            continue
    assert run("broken", "--resume").returncode == 0
    for name in ("summary.csv", "discrepancies.csv"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (tmp_path / "broken" / ".checkpoint").exists()
