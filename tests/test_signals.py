"""A signal ends a run at once, whatever it is in, and leaves results whole."""

import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")

# A test run in the background ignores SIGINT, and its processes inherit that.
PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from gradcheck.__main__ import run
sys.exit(run(sys.argv[1:]))
"""
MODEL = """
import ctypes, multiprocessing, os, threading, time
from dataclasses import replace
from gradcheck.examples import chain

def hang():
    with open({pipe!r}, "w") as pipe:
        print(os.getpid(), file=pipe)
    {hang}

def backward(xp, v, t, d):
    if {where}:
        hang()
    chain.backward(xp, v, t, d)

HANGING = replace(chain.MODEL, backward=backward)
"""
HANGS = {
    "sleeps": "time.sleep(600)",
    "loops": "while True: pass",
    "waits in C": "ctypes.CDLL(None).pause()",
    "catches everything": """
    while True:
        try:
            time.sleep(600)
        except BaseException:
            pass""",
    "waits for a lock": "threading.Lock().acquire() and threading.Event().wait()",
}
WHERE = {
    "in the main process": "True",
    "in one that judges": "multiprocessing.parent_process() is not None",
}


def started(arguments, cwd, keep=(), program=PROGRAM):
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=cwd, pass_fds=keep, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def ended(process, number, within=30.0):
    """Send one signal; return the status and what was said."""
    began = time.monotonic()
    process.send_signal(number)
    try:
        output, errors = process.communicate(timeout=within)
    finally:
        process.kill()
        process.communicate()
    assert time.monotonic() - began < within
    return process.returncode, output, errors


def is_running(number):
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def hanging(tmp_path):
    """Start a sweep of a model that hangs; go on when it does; tell where."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def start(hang, where):
        (tmp_path / "hanging.py").write_text(MODEL.format(pipe=str(pipe), hang=hang, where=where))
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "run.json").write_text("old")
        sweep = "sweep hanging.py --adapters closed-form --samples 100 --workers 2 --output out"
        process = started(sweep.split(), tmp_path)
        return process, int(pipe.read_text().split()[0])

    return start


def check_end(process, number, said, status, hung_in, folder):
    assert ended(process, number) == (
        status,
        "",
        f"gradcheck: {said}; earlier results are untouched\n",
    )
    assert (folder / "run.json").read_text() == "old"
    assert {path.name for path in folder.iterdir()} <= {"run.json", ".checkpoint"}
    until = time.monotonic() + 20
    while is_running(hung_in):
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("hang", "where"),
    [
        *((hang, "in the main process") for hang in HANGS),
        *((hang, "in one that judges") for hang in ("loops", "catches everything")),
    ],
)
def test_a_pass_that_hangs_does_not_outlive_the_first_ctrl_c(hang, where, hanging, tmp_path):
    process, hung_in = hanging(HANGS[hang], WHERE[where])
    check_end(process, signal.SIGINT, "interrupted", 130, hung_in, tmp_path / "out")


@pytest.mark.parametrize("where", WHERE)
def test_a_request_to_end_is_obeyed_as_well(where, hanging, tmp_path):
    process, hung_in = hanging(HANGS["loops"], WHERE[where])
    check_end(process, signal.SIGTERM, "terminated", 143, hung_in, tmp_path / "out")


IMPORTING = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
from gradcheck.__main__ import run
sys.exit(run(sys.argv[2:]))
"""


@pytest.mark.parametrize(
    "library",
    ["gradcheck.cli", "argparse", "numpy", "flint", "pandas", "jax"],
)
def test_ctrl_c_during_an_import_is_status_130_in_one_line(library, tmp_path):
    sweep = "sweep --samples 10 --adapters jax --dtypes float64 --workers 1 --output out"
    process = started([library, *sweep.split()], tmp_path, program=IMPORTING)
    try:
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    if process.returncode == 2:
        pytest.skip(errors)  # a framework that is not installed
    assert process.returncode == 130
    assert len(errors.splitlines()) == 1
    assert errors.startswith("gradcheck: interrupted")
    assert "Written" not in output
    assert {path.name for path in (tmp_path).rglob("*")} <= {"out", ".checkpoint"}


RAISING = """
from dataclasses import replace
from gradcheck.examples import chain

def backward(xp, v, t, d):
    raise KeyboardInterrupt

RAISING = replace(chain.MODEL, backward=backward)
"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise KeyboardInterrupt", "raising.py does not import: line 1: KeyboardInterrupt"),
        (RAISING, "EndedError: KeyboardInterrupt() would end the process"),
    ],
)
def test_a_keyboard_interrupt_that_a_model_raises_itself_is_its_mistake(text, reason, tmp_path):
    (tmp_path / "raising.py").write_text(text)
    process = started(["sweep", "raising.py", "--workers", "1"], tmp_path)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (2, "")
    (line,) = errors.splitlines()
    assert reason in line


def test_a_signal_while_files_change_waits_until_they_have(tmp_path):
    program = """
import os, signal, sys, time
from gradcheck import signals
signals.watch()
with signals.tidied(lambda: "tidied"):
    with signals.undisturbed():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.5)
        print("changed", flush=True)
    time.sleep(60)
"""
    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50
    )
    assert process.returncode == 143
    assert (process.stdout, process.stderr) == ("changed\n", "gradcheck: terminated; tidied\n")


def test_a_signal_that_was_to_be_ignored_is(tmp_path):
    program = """
import os, signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
from gradcheck import signals
signals.watch()
os.kill(os.getpid(), signal.SIGINT)
time.sleep(0.3)
print("through")
"""
    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50
    )
    assert (process.returncode, process.stdout) == (0, "through\n")


def test_a_forked_process_can_be_ended_as_any_other(tmp_path):
    program = """
import os, signal, time
from gradcheck import signals
signals.watch()
for number in (signal.SIGTERM, signal.SIGINT):
    child = os.fork()
    if not child:
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            os._exit(7)
    time.sleep(0.3)
    os.kill(child, number)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.split() == [str(-signal.SIGTERM), "7"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_pass_that_ends_the_process_as_if_all_were_well_is_status_3_in_one_line(
    workers, tmp_path
):
    (tmp_path / "exits.py").write_text(
        "import os\nfrom dataclasses import replace\nfrom gradcheck.examples.chain import MODEL\n"
        "EXITS = replace(MODEL, backward=lambda xp, v, t, d: os._exit(0))\ndel MODEL\n"
    )
    command = f"-m gradcheck sweep exits.py --samples 9 --adapters complex-step --workers {workers}"
    process = subprocess.run(
        [sys.executable, *command.split()], cwd=tmp_path, capture_output=True, text=True
    )
    assert process.returncode == 3
    assert process.stderr == "gradcheck: what was called ended the process (os._exit)\n"
    assert process.stdout == ""
    assert not list(tmp_path.rglob("*.csv"))
