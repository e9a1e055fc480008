"""A Dask cluster finds what one process finds, whatever becomes of its workers."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from gradcheck.errors import RequestError, UnfinishedError
from gradcheck.harness import cluster
from gradcheck.harness.execution import Execution
from gradcheck.harness.request import Request
from gradcheck.harness.sweep import run_sweep
from gradcheck.model.loading import load_model

distributed = pytest.importorskip("distributed")

BLOCK = 64
REQUEST = Request(samples=64 * BLOCK, adapters=("complex-step",))
KILLS = int(os.environ.get("GRADCHECK_KILLS", "2"))
"""How many workers are killed, each in a run of its own; 10 were tried."""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Start a scheduler and two workers, as somebody would who has a cluster."""
    folder = tmp_path_factory.mktemp("cluster")
    file = folder / "scheduler.json"
    dask = [sys.executable, "-m", "distributed.cli.dask_{}", "--no-dashboard"]
    scheduler = ["--port", "0", "--host", "127.0.0.1", "--scheduler-file", str(file)]
    worker = ["--scheduler-file", str(file), "--nworkers", "2", "--nthreads", "1"]
    log = (folder / "log").open("wb")
    processes = [
        subprocess.Popen(
            [part.format(name) for part in dask] + options,
            cwd=folder,
            stdout=log,
            stderr=log,
        )
        for name, options in (("scheduler", scheduler), ("worker", worker))
    ]
    try:
        yield str(file)
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait()
        log.close()


def sweep(address, progress=lambda fraction: None, model="chain", **settings):
    notes = []
    execution = Execution(model, cluster=address, note=notes.append)
    request = replace(REQUEST, **settings)
    outcome = run_sweep(load_model(model), request, progress, BLOCK, execution)
    return repr(outcome.tallies), notes


@pytest.fixture(scope="module")
def here():
    return repr(run_sweep(load_model("chain"), REQUEST, block=BLOCK).tallies)


def test_the_result_is_that_of_one_process(address, here):
    assert sweep(address) == (here, [])


@pytest.mark.parametrize("kill", range(KILLS))
def test_a_worker_that_is_killed_costs_only_its_tasks(address, here, kill):
    with distributed.Client(scheduler_file=address, set_as_default=False) as client:
        client.wait_for_workers(2)
        victims = list(client.run(os.getpid).values())

    def progress(fraction):
        if victims and fraction > (1 + kill) / (2 + KILLS):
            os.kill(victims.pop(), signal.SIGKILL)
            victims.clear()

    assert sweep(address, progress)[0] == here
    assert victims == []


def test_workers_with_other_versions_are_refused_and_the_difference_is_named(address, monkeypatch):
    with distributed.Client(scheduler_file=address, set_as_default=False) as client:
        client.wait_for_workers(2)  # the one that was killed last is replaced
    monkeypatch.setattr(cluster, "PATIENCE", 0.1)
    monkeypatch.setattr("gradcheck.harness.facts.version", lambda name: "0.0.1")
    notes = []
    execution = Execution("chain", cluster=address, note=notes.append)
    with pytest.raises(UnfinishedError, match="no worker of the cluster can be used"):
        run_sweep(load_model("chain"), REQUEST, block=BLOCK, execution=execution)
    assert len(notes) == 2
    assert all("is refused: " in note and "numpy is 2" in note for note in notes)
    assert all("there, 0.0.1 here" in note for note in notes)


def test_a_model_in_a_file_is_brought_along(address, tmp_path, here):
    folder = tmp_path / "here alone"
    folder.mkdir()
    (folder / "helper.py").write_text("from gradcheck.examples.chain import MODEL\n")
    file = folder / "mine.py"
    file.write_text("from helper import MODEL\n")
    job = cluster.Job(str(file), REQUEST, BLOCK)
    task = cluster.Task(job, {"helper.py": b"x = 1", "mine.py": b"y = 2"}, ())
    brought = cluster.local_job(task)
    assert brought.model != job.model
    assert sweep(address, model=str(file)) == (here, [])


def test_a_model_that_was_edited_is_judged_as_it_is_now(address, tmp_path, here):
    file = tmp_path / "mine.py"
    file.write_text("from gradcheck.examples.chain import MODEL\n")
    assert sweep(address, model=str(file)) == (here, [])
    file.write_text("from gradcheck.examples.chain_misprint import MODEL\n")
    assert sweep(address, model=str(file))[0] != here


def test_a_model_that_is_stated_wrongly_is_refused_as_anywhere(address, tmp_path):
    file = tmp_path / "wrong.py"
    file.write_text(
        "from dataclasses import replace\nfrom gradcheck.examples.chain import MODEL\n"
        "WRONG = replace(MODEL, loss=lambda xp, v: None)\ndel MODEL\n"
    )
    with pytest.raises(RequestError, match="returns None"):
        sweep(address, model=str(file))


def test_an_address_where_nobody_is_is_a_wrong_request(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECTING", 0.5)
    with pytest.raises(RequestError, match="there is no scheduler at"):
        sweep("tcp://127.0.0.1:9")
    with pytest.raises(RequestError, match="there is no scheduler at"):
        sweep(str(tmp_path / "none.json"))
    with pytest.raises(RequestError, match=r"at nowhere \(.*missing port number"):
        sweep("nowhere")
