"""Processes that judge: one that hangs or ends costs a call, not the sweep."""

import os
import signal
from pathlib import Path

import pytest

from gradcheck.errors import UnfinishedError
from gradcheck.examples import chain
from gradcheck.harness.execution import Execution
from gradcheck.harness.request import Request
from gradcheck.harness.samples import draw_model
from gradcheck.harness.sweep import run_sweep
from gradcheck.judge.verdict import Verdict
from gradcheck.model.loading import load_model

BLOCK = 256
REQUEST = Request(samples=5 * BLOCK, dtypes=("float64",), adapters=("complex-step", "closed-form"))
MARKED = 2 * BLOCK + 7
"""A sample of the third block, on which the complex step misbehaves."""
MODEL = """
import os, signal, time
from dataclasses import replace
from pathlib import Path
import numpy as np
from gradcheck.examples import chain

def loss(xp, v):
    if np.iscomplexobj(np.asarray(v.x)) and {mark!r} in np.real(np.asarray(v.x)):
        {misbehave}
    return chain.loss(xp, v)

MISBEHAVING = replace(chain.MODEL, loss=loss)
"""


@pytest.fixture
def swept(tmp_path):
    """Sweep a model that misbehaves on one block, in two processes."""

    def sweep(misbehave, timeout=60.0, **settings):
        mark = float(draw_model(chain.MODEL, 0, MARKED, 1)["x"][0])
        file = tmp_path / "misbehaving.py"
        file.write_text(MODEL.format(mark=mark, misbehave=misbehave))
        request = Request(**{**vars(REQUEST), "workers": 2, **settings})
        execution = Execution(str(file), timeout=timeout)
        return run_sweep(load_model(str(file)), request, block=BLOCK, execution=execution).tallies

    return sweep


def errors_of(tallies, adapter="complex-step"):
    tally = tallies[adapter, "float64", "beta0"]
    return tally.counts[Verdict.ERROR], [case.message for case in tally.errors]


@pytest.mark.parametrize(
    ("misbehave", "message"),
    [
        ("os._exit(7)", "ended with exit status 7"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "ended with SIGKILL"),
        ("raise ValueError('unlucky')", "ValueError: unlucky (misbehaving.py, line 10)"),
    ],
)
def test_a_block_on_which_an_adapter_fails_is_an_error_and_the_others_are_judged(
    swept, misbehave, message
):
    tallies = swept(misbehave)
    assert errors_of(tallies) == (BLOCK, [message])
    assert tallies["complex-step", "float64", "beta0"].counts[Verdict.AGREE] == 4 * BLOCK
    assert tallies["closed-form", "float64", "beta0"].counts[Verdict.AGREE] == 5 * BLOCK


def test_an_adapter_that_hangs_is_named_and_the_sweep_goes_on(swept):
    assert errors_of(swept("time.sleep(1e6)", timeout=3.0)) == (
        BLOCK,
        ["did not return within 3 s"],
    )


def test_a_process_that_ends_once_costs_nothing(swept, tmp_path):
    once = tmp_path / "once"
    tallies = swept(
        f"if not Path({str(once)!r}).exists(): Path({str(once)!r}).touch(); os._exit(1)"
    )
    assert once.exists()
    assert errors_of(tallies) == (0, [])


def test_an_adapter_that_ends_the_process_again_and_again_is_called_no_more(tmp_path):
    file = tmp_path / "ending.py"
    file.write_text(
        "import os\nfrom dataclasses import replace\nimport numpy as np\n"
        "from gradcheck.examples import chain\n"
        "def loss(xp, v):\n"
        "    if np.iscomplexobj(np.asarray(v.x)): os._exit(1)\n"
        "    return chain.loss(xp, v)\n"
        "ENDING = replace(chain.MODEL, loss=loss)\n"
    )
    calls = tmp_path / "calls"
    request = Request(**{**vars(REQUEST), "samples": 40 * BLOCK, "workers": 2})
    execution = Execution(str(file))
    tallies = run_sweep(load_model(str(file)), request, block=BLOCK, execution=execution).tallies
    count, _ = errors_of(tallies)
    assert count == 40 * BLOCK
    assert not calls.exists()
    assert tallies["closed-form", "float64", "beta0"].counts[Verdict.AGREE] == 40 * BLOCK


def test_a_model_that_ends_the_process_before_it_is_judged_cannot_be_swept(tmp_path):
    file = tmp_path / "ending.py"
    file.write_text(
        "import multiprocessing, os\nfrom gradcheck.examples.chain import MODEL\n"
        "if multiprocessing.parent_process() is not None: os._exit(5)\n"
    )
    request = Request(**{**vars(REQUEST), "workers": 2})
    with pytest.raises(UnfinishedError, match="exit status 5"):
        run_sweep(load_model(str(file)), request, execution=Execution(str(file)))


@pytest.mark.parametrize("workers", [2, 3])
def test_the_number_of_processes_changes_nothing(workers):
    here = run_sweep(chain.MODEL, REQUEST, block=BLOCK)
    request = Request(**{**vars(REQUEST), "workers": workers})
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
