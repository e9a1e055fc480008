"""Processes that judge: one that hangs or ends costs a call, not the sweep."""

import os
import signal
from pathlib import Path

import pytest

from gradcheck.errors import UnfinishedError
from gradcheck.examples import chain
from gradcheck.harness.execution import Execution
from gradcheck.harness.pool import MOST_LOST, TRIES
from gradcheck.harness.request import Request
from gradcheck.harness.samples import draw_model
from gradcheck.harness.sweep import run_sweep
from gradcheck.judge.verdict import Verdict
from gradcheck.model.loading import load_model

BLOCK = 256
REQUEST = Request(samples=5 * BLOCK, dtypes=("float64",), adapters=("theirs", "closed-form"))
MARKED = 2 * BLOCK + 7
"""A sample of the third block, on which the complex step misbehaves."""
ADAPTER = """
import os, signal, time
from dataclasses import replace
from pathlib import Path
from gradcheck.adapters.steps import complex_step

def prepare(model, dtype):
    gradients = complex_step.prepare(model, dtype)
    def misbehaving(values):
        if {mark!r} in values["x"]:
            {misbehave}
        return gradients(values)
    return misbehaving

ADAPTER = replace(complex_step, prepare=prepare)
"""


@pytest.fixture
def swept(third_party):
    """Sweep in two processes with an adapter that misbehaves on one block."""

    def sweep(misbehave, timeout=60.0, model="chain", **settings):
        mark = float(draw_model(chain.MODEL, 0, MARKED, 1)["x"][0])
        third_party(ADAPTER.format(mark=mark, misbehave=misbehave))
        request = Request(**{**vars(REQUEST), "workers": 2, **settings})
        execution = Execution(model, timeout=timeout)
        return run_sweep(load_model(model), request, block=BLOCK, execution=execution).tallies

    return sweep


def errors_of(tallies, adapter="theirs"):
    tally = tallies[adapter, "float64", "beta0"]
    return tally.counts[Verdict.ERROR], [case.message for case in tally.errors]


@pytest.mark.parametrize(
    ("misbehave", "message"),
    [
        ("os._exit(7)", "ended with exit status 7"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "ended with SIGKILL"),
        ("raise ValueError('unlucky')", "ValueError: unlucky"),
    ],
)
def test_a_block_on_which_an_adapter_fails_is_an_error_and_the_others_are_judged(
    swept, misbehave, message
):
    tallies = swept(misbehave)
    assert errors_of(tallies) == (BLOCK, [message])
    assert tallies["theirs", "float64", "beta0"].counts[Verdict.AGREE] == 4 * BLOCK
    assert tallies["closed-form", "float64", "beta3"].counts[Verdict.AGREE] == 5 * BLOCK


def test_an_adapter_that_hangs_is_named_and_the_sweep_goes_on(swept):
    assert errors_of(swept("time.sleep(1e6)", timeout=8.0)) == (
        BLOCK,
        ["did not return within 8 s"],
    )


def test_a_process_that_ends_once_costs_nothing(swept, tmp_path):
    once = tmp_path / "once"
    tallies = swept(
        f"if not Path({str(once)!r}).exists(): Path({str(once)!r}).touch(); os._exit(1)"
    )
    assert once.exists()
    assert errors_of(tallies) == (0, [])


def test_an_adapter_that_ends_the_process_again_and_again_is_called_no_more(swept, tmp_path):
    calls = tmp_path / "calls"
    count_and_end = (
        f"pass\n        with open({str(calls)!r}, 'a') as f: f.write('.')\n        os._exit(1)"
    )
    tallies = swept(count_and_end, samples=40 * BLOCK)
    assert errors_of(tallies)[0] == 40 * BLOCK
    assert len(calls.read_text()) < 2 * TRIES * MOST_LOST
    assert tallies["closed-form", "float64", "beta3"].counts[Verdict.AGREE] == 40 * BLOCK


def test_a_model_that_ends_the_process_before_it_is_judged_cannot_be_swept(tmp_path):
    file = tmp_path / "ending.py"
    file.write_text(
        "import multiprocessing, os\nfrom gradcheck.examples.chain import MODEL\n"
        "if multiprocessing.parent_process() is not None: os._exit(5)\n"
    )
    request = Request(**{**vars(REQUEST), "adapters": ("complex-step",), "workers": 2})
    with pytest.raises(UnfinishedError, match="exit status 5"):
        run_sweep(load_model(str(file)), request, execution=Execution(str(file)))


@pytest.mark.parametrize("workers", [2, 3])
def test_the_number_of_processes_changes_nothing(workers):
    settings = {**vars(REQUEST), "adapters": ("complex-step", "closed-form")}
    here = run_sweep(chain.MODEL, Request(**settings), block=BLOCK)
    request = Request(**{**settings, "workers": workers})
    there = run_sweep(chain.MODEL, request, block=BLOCK, execution=Execution("chain"))
    assert repr(here.tallies) == repr(there.tallies)
    for dtype, samples in here.samples.items():
        assert samples.numbers.tolist() == there.samples[dtype].numbers.tolist()


def test_no_process_is_left(swept):
    swept("pass")
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    if not children.exists():
        pytest.skip("needs Linux")
    for pid in children.read_text().split():
        assert "spawn_main" not in Path(f"/proc/{pid}/cmdline").read_text()
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
