"""The command line: what it prints, what it writes, and its exit status."""

import importlib.util
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from gradcheck.cli import main
from gradcheck.errors import UnfinishedError
from gradcheck.reports.folder import OutputFolder

ROOT = Path(__file__).parents[1]
LITTLE = ["--referee-limit", "5", "--audit", "0"]
"""To be proved: that takes longest."""
QUICK = ["--adapters", "complex-step,closed-form", "--samples", "100", *LITTLE]
RESULTS = {"summary.csv", "discrepancies.csv", "run.json"}
WIDTH = 100


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with files that are no models and folders that are none."""
    (tmp_path / "slip.py").write_text("from gradcheck import Model\n\nMODEL = Model(\n")
    (tmp_path / "unmet.py").write_text("\n\nimport a_module_that_is_nowhere\n")
    (tmp_path / "empty.py").write_text("x = 1\n")
    (tmp_path / "leaves.py").write_text("import sys\ndef build(): sys.exit(3)\n")
    (tmp_path / "red.py").write_text("raise ValueError('\\x1b[31mred')\n")
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "file").write_text("kept\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts
    }


def names(folder):
    """Name what is in a folder; nothing temporary may be left there."""
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    return {path.name for path in folder.iterdir()}


def run(*arguments, cwd):
    """Run a command in a process of its own."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=600
    )


# --- the exit status


def test_agreement_is_status_0_and_results_are_written_where_asked(folder, capsys):
    assert main(["sweep", *QUICK, "--output", "out"]) == 0
    assert names(folder / "out") >= RESULTS
    captured = capsys.readouterr()
    assert "Nothing disagrees" in captured.out
    assert captured.err == ""


def test_results_go_to_a_folder_named_after_the_model_unless_told_otherwise(folder, capsys):
    assert main(["sweep", *QUICK]) == 0
    assert names(folder / "results" / "chain") >= RESULTS


def test_disagreement_is_status_1_and_the_gradient_is_named(folder, capsys):
    assert main(["sweep", "chain-misprint", *QUICK]) == 1
    output = capsys.readouterr().out
    assert "Nothing disagrees" not in output
    assert "∂ℓ/∂beta1" in output


def test_an_adapter_that_fails_is_status_1_and_its_reason_is_told(
    folder, capsys, register, altered
):
    def fail(found, values):
        raise ValueError("unlucky")

    register({"broken": altered(fail), "honest": altered()})
    assert main(["sweep", "--samples", "10"]) == 1
    assert "unlucky" in capsys.readouterr().out


def test_a_definition_that_contradicts_the_forward_pass_is_status_1(folder, capsys):
    (folder / "shifted.py").write_text(
        "from dataclasses import replace\n"
        "from gradcheck.examples import chain\n"
        "SHIFTED = replace(chain.MODEL, loss=lambda xp, v: chain.loss(xp, v) + 1)\n"
    )
    assert main(["sweep", "shifted.py", "--adapters", "complex-step", "--samples", "10"]) == 1
    assert "the definition and the forward pass of chain differ" in capsys.readouterr().out


def test_an_interruption_is_status_130_in_one_line(folder, capsys, monkeypatch):
    def interrupt(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("gradcheck.api.stages", interrupt)
    before = tree(folder)
    assert main(["sweep"]) == 130
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == ["gradcheck: interrupted; earlier results are untouched"]
    assert tree(folder) == before


ENDLESS = """
from dataclasses import replace
from gradcheck.examples import chain

calls = []

def backward(xp, v, t, d):
    calls.append(None)
    if len(calls) == 100:  # the first ones are the check's
        open({started!r}, "w").close()
    chain.backward(xp, v, t, d)

ENDLESS = replace(chain.MODEL, backward=backward)
"""


# A test run in the background ignores SIGINT, and its processes inherit that.
INTERRUPTIBLE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from gradcheck.__main__ import run
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_a_signal_in_the_middle_of_a_sweep_leaves_earlier_results_whole(folder, capsys):
    assert main(["sweep", *QUICK, "--output", "out"]) == 0
    started = folder.with_suffix(".started")
    (folder / "endless.py").write_text(ENDLESS.format(started=str(started)))
    before = tree(folder)
    arguments = "sweep endless.py --adapters closed-form --samples 1000000000 --output out"
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, *arguments.split()],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while not started.exists():  # however busy the machine is
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate()
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130
    assert errors.splitlines() == ["gradcheck: interrupted; earlier results are untouched"]
    assert output == ""
    Path("out/.checkpoint").unlink(missing_ok=True)  # from which it would go on
    assert tree(folder) == before


# --- wrong requests

WRONG = [
    # arguments, what the one line says
    ("sweep chian", "MODEL: there is no model 'chian'; did you mean 'chain'?"),
    ("sweep zzz", "there are: chain, chain-misprint"),
    ("sweep missing.py", "MODEL: there is no file missing.py"),
    ("sweep slip.py", "MODEL: slip.py does not import: line 3: SyntaxError"),
    ("sweep unmet.py", "line 3: ModuleNotFoundError: No module named 'a_module_that_is_nowhere'"),
    ("sweep empty.py", "MODEL: empty.py holds no gradcheck.Model"),
    ("sweep empty.py:NAME", "no gradcheck.Model or Case named 'NAME'"),
    ("sweep --adapters tortch", "--adapters: there is no adapter 'tortch'; did you mean 'torch'?"),
    ("sweep --adapters ,", "--adapters: none given"),
    ("sweep --dtypes float61", "--dtypes: there is no dtype 'float61'; did you mean 'float64'?"),
    ("sweep --samples 0", "--samples: expected at least 1, got 0"),
    ("sweep --samples -3", "--samples: expected at least 1, got -3"),
    ("sweep --samples abc", "--samples: expected a whole number, got 'abc'"),
    (f"sweep --samples {'9' * 31}", "--samples: expected at most 9,007,199,254,740,992, got 999"),
    (f"sweep --samples {'9' * 5000}", "…(5,002 characters)…"),
    ("sweep --workers 1000000000", "--workers: expected at most 4,096, got 1000000000"),
    (f"sweep --rows {'9' * 20}", "--rows: expected at most 2,147,483,648"),
    ("sweep --output=", "--output: expected a path, got ''"),
    ("sweep network --option width=1000000", "network has 5000005000000 inputs and parameters"),
    ("sweep network --option depth=100000", "--option: expected depth to be at most 1000"),
    ("sweep --samples 1.5", "--samples: expected a whole number, got '1.5'"),
    ("sweep --scale 0", "--scale: expected a number above 0"),
    ("sweep --scale -1", "--scale: expected a number above 0"),
    ("sweep --scale nan", "--scale: expected a number above 0"),
    ("sweep --scale inf", "--scale: expected a number above 0"),
    ("sweep --scale abc", "--scale: expected a number, got 'abc'"),
    ("sweep --seed -1", "--seed: expected 0 to 2"),
    ("sweep --seed abc", "--seed: expected a whole number, got 'abc'"),
    ("sweep --ulps 0.1", "--ulps: expected 0.5 (correct rounding)"),
    ("sweep --rows 0", "--rows: expected at least 1"),
    ("sweep --workers 0", "--workers: expected at least 1"),
    ("sweep --referee-limit -1", "--referee-limit: expected at least 0, got -1"),
    ("sweep --audit 2", "--audit: expected a share from 0 to 1, got 2"),
    ("sweep --audit nan", "--audit: expected a share from 0 to 1, got nan"),
    ("sweep --distribution normla", "--distribution: there is no 'normla'; did you mean 'normal'?"),
    ("sweep --output file", "--output: file is a file; name a folder"),
    ("sweep --output file/below", "--output: file is a file; name a folder"),
    ("sweep --output /proc/results", "--output: /proc cannot be written"),
    ("sweep --output /dev/null/results", "--output: /dev/null is a file; name a folder"),
    ("sweep --bogus", "--bogus"),
    ("sweep chain another", "unrecognized arguments: another"),
    ("trace chian", "did you mean 'chain'?"),
    ("trace --at q=1", "--at: chain has no 'q'; it has: x, y"),
    ("trace --at x=abc", "--at: expected name=number, separated by commas, got 'x=abc'"),
    ("trace --at x", "--at: expected name=number, separated by commas, got 'x'"),
    ("trace --adapters tortch", "did you mean 'torch'?"),
    ("trace --at x=1 --sample 3", "argument --sample: not allowed with argument --at"),
    ("trace --sample -1", "--sample: expected 0 to 2**53 - 1, got -1"),
    ("trace --sample 99999999999999999999999", "--sample: expected 0 to 2**53 - 1"),
    ("sweep network --option depth=x", "--option: expected name=whole number, separated by commas"),
    ("sweep network --option dpth=2", "--option: network has no 'dpth'; did you mean 'depth'?"),
    ("sweep network --option depth=0", "--option: expected depth to be at least 1, got 0"),
    ("sweep chain --option depth=2", "--option: chain has no options; leave out depth"),
    ("sweep --bars bal", "--bars: there is no 'bal'; did you mean 'ball'?"),
    ("sweep chain --kinks", "--kinks: the passes of chain compare nothing"),
    ("sweep folder.py", "MODEL: there is no file folder.py"),
    ("sweep a\0b.py", r"MODEL: there is no file a\x00b.py"),
    ("sweep leaves.py:build", "MODEL: leaves.py:build cannot be made: SystemExit: 3"),
    ("sweep red.py", r"line 1: ValueError: \x1b[31mred"),
    (f"sweep {'x' * 300}.py", "cannot be read (File name too long)"),
    (f"new {'x' * 300}.py", "cannot be written (File name too long)"),
    ("sweep --output a\0b", r"--output: expected a path, got 'a\x00b'"),
    ("new a\0b.py", r"FILE.py: expected a path, got 'a\x00b.py'"),
    ("sweep --adapters complex-step,tortch", "there is no adapter 'tortch'"),
    ("trace --at W[0,9]=1", "--at: chain has no 'W[0,9]'; it has: x, y"),
    ("trace attention --at Q[0,99]=1", "Q has the shape"),
    ("trace --at x=nan", "--at: expected a finite number for x, got nan"),
    ("sweep network --option depth=1e9", "--option: expected name=whole number"),
    ("sweep network --option =3", "--option: expected name=whole number"),
    ("adapters --bogus", "--bogus"),
    ("swep", "swep"),
    ("--bogus", "COMMAND"),
    ("", "COMMAND"),
]


@pytest.mark.parametrize(("arguments", "reason"), WRONG)
def test_a_wrong_request_is_status_2_and_one_line_that_names_it(arguments, reason, folder, capsys):
    before = tree(folder)
    assert main(arguments.split()) == 2
    captured = capsys.readouterr()
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith("gradcheck: ")
    assert reason in captured.err
    assert captured.out == ""
    assert tree(folder) == before


@pytest.mark.parametrize("command", ["sweep", "trace"])
def test_asking_for_an_adapter_whose_framework_is_missing_tells_how_to_install_it(
    command, folder, capsys, monkeypatch
):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None)
    assert main([command, "--adapters", "jax"]) == 2
    captured = capsys.readouterr()
    assert captured.err == (
        "gradcheck: --adapters: jax needs jax, which is not installed; "
        "install it with: python -m pip install jax\n"
    )
    assert captured.out == ""
    assert not (folder / "results").exists()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("[/red] lost\n\x1b[0m"), r"unexpected RuntimeError: [/red] lost \x1b[0m ("),
        (MemoryError(), "out of memory; earlier results are untouched"),
        (SystemExit(0), "unexpected SystemExit: 0 ("),
        (GeneratorExit(), "unexpected GeneratorExit ("),
        (UnfinishedError("it hangs"), "it hangs; earlier results are untouched"),
        (OSError(5, "Input/output error"), "unexpected OSError: [Errno 5] Input/output error"),
    ],
)
def test_a_run_that_cannot_be_finished_is_status_3_in_one_line(
    error, said, folder, capsys, monkeypatch
):
    def fail(*arguments, **settings):
        raise error

    monkeypatch.setattr("gradcheck.api.stages", fail)
    before = tree(folder)
    assert main(["sweep"]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith(f"gradcheck: {said}")
    assert line.endswith("; earlier results are untouched")
    assert tree(folder) == before


def test_an_unexpected_error_is_shown_in_full_where_that_is_asked_for(folder, capsys, monkeypatch):
    monkeypatch.setattr("gradcheck.api.stages", lambda *_, **settings: 1 / 0)
    monkeypatch.setenv("GRADCHECK_TRACEBACK", "1")
    assert main(["sweep"]) == 3
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_what_was_found_is_printed_if_it_cannot_be_written(folder, capsys, monkeypatch):
    def fail(*arguments):
        raise UnfinishedError("out cannot be written")

    monkeypatch.setattr("gradcheck.reports.folder.OutputFolder.write", fail)
    assert main(["sweep", "chain-misprint", *QUICK]) == 3
    captured = capsys.readouterr()
    assert "First wrong line" in captured.out
    assert "Written to" not in captured.out
    assert captured.err == ("gradcheck: out cannot be written; earlier results are untouched\n")


def test_a_second_sweep_into_one_folder_is_refused_in_one_line(folder, capsys):
    with OutputFolder(Path("out")):
        assert main(["sweep", *QUICK, "--output", "out"]) == 2
    assert capsys.readouterr().err == (
        "gradcheck: --output: another sweep is writing to out; name another folder, or wait\n"
    )


# --- what is printed


def assert_narrow(output):
    """Check the width of everything that is not a command to copy, a case in full or a path."""
    for line in output.splitlines():
        if not line.startswith((" " * 2 + "sample ", " " * 4 + "gradcheck ", "Written to ")):
            assert len(line) <= WIDTH, line


@pytest.mark.parametrize("model", ["chain", "chain-misprint"])
def test_the_report_fits_the_width(model, folder, capsys):
    arguments = ["--adapters", "complex-step,central-difference", "--samples", "1000"]
    main(["sweep", model, *arguments, "--scale", "6", *LITTLE])
    output = capsys.readouterr().out
    assert "uninfor" in output
    assert "central-difference" in output
    assert_narrow(output)


def test_the_report_of_a_failing_adapter_fits_the_width(folder, capsys, register, altered):
    def fail(found, values):
        raise ValueError("word " * 50)

    register({"broken": altered(fail)})
    main(["sweep", "--samples", "10"])
    assert_narrow(capsys.readouterr().out)


def test_the_replay_command_shows_the_same_disagreement(folder, capsys):
    assert main(["sweep", "chain-misprint", *QUICK]) == 1
    lines = capsys.readouterr().out.splitlines()
    replay = next(line for line in lines if "gradcheck trace" in line)
    program, *arguments = shlex.split(replay)
    assert program == "gradcheck"
    main([*arguments, "--adapters", "complex-step"])
    shown = capsys.readouterr().out.splitlines()
    assert next(line for line in shown if line.rstrip().endswith(" ✗")).startswith("beta1 ")
    worst = pd.read_csv("results/chain-misprint/discrepancies.csv").query("verdict == 'disagree'")
    row = next(line for line in shown if line.startswith("beta1"))
    value = float(row.removesuffix("✗").split()[-1])
    assert any(value == pytest.approx(number, rel=1e-5) for number in worst["value"])


def test_a_trace_starts_from_the_example_and_moves_what_it_is_told(folder, capsys):
    arguments = ["trace", "--adapters", "complex-step"]
    assert main(arguments) == 0
    example = capsys.readouterr().out
    assert "-17.06046" in example
    assert_narrow(example)
    assert main([*arguments, "--at", "y=2.5, x=2.3"]) == 0
    moved = capsys.readouterr().out
    assert "-17.06046" not in moved
    assert main([*arguments, "--at", "y=2.5", "--at", "x=2.3"]) == 0
    assert capsys.readouterr().out == moved
    assert not (folder / "results").exists()


def test_a_trace_shows_every_dtype_that_is_asked_for(folder, capsys):
    assert main(["trace", "--adapters", "complex-step", "--dtypes", "float32,float64"]) == 0
    output = capsys.readouterr().out
    titles = [line.strip() for line in output.splitlines() if line.startswith("chain, ")]
    assert titles == [
        f"chain, {dtype}, {table}"
        for dtype in ("float32", "float64")
        for table in ("forward", "backward: ∂ℓ/∂…")
    ]
    assert "1.22999999865889542150" in output  # the float32 next to 0.1 times 2.3, plus 1
    assert "1.22999999999999999500" in output


def test_the_adapters_are_listed_with_the_way_to_install_those_that_are_missing(
    capsys, monkeypatch
):
    assert main(["adapters"]) == 0
    output = capsys.readouterr().out
    assert_narrow(output)
    assert "numpy" in output
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None)
    assert main(["adapters"]) == 0
    output = capsys.readouterr().out
    assert_narrow(output)
    for name in ("torch", "torch-compile", "torch-forward", "jax", "jax-eager", "jax-forward"):
        row = next(line for line in output.splitlines() if line.split()[0] == name)
        assert "no; python -m pip install" in row


@pytest.mark.parametrize("command", [[], ["sweep"], ["trace"], ["adapters"]])
def test_help_is_status_0(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(" ".join(["usage: gradcheck", *command]))
    assert captured.err == ""
    assert_narrow(captured.out)


@pytest.mark.parametrize(
    ("option", "default"),
    [
        ("--samples", "(10000)"),
        ("--seed", "(0)"),
        ("--scale", "(1.0)"),
        ("--dtypes", "(float64,float32)"),
        ("--adapters", "(all that are installed)"),
        ("--ulps", "(4.0)"),
        ("--output", "(results/MODEL)"),
    ],
)
def test_the_help_of_a_sweep_tells_an_options_default(option, default, capsys):
    with pytest.raises(SystemExit):
        main(["sweep", "--help"])
    described = capsys.readouterr().out.rpartition(f"{option} ")[2]
    first = " ".join(described.partition("\n\n")[0].partition("\n  --")[0].split())
    assert first.endswith(default)


# --- the other ways in


@pytest.mark.parametrize("way", [["-m", "gradcheck", "sweep"], [str(ROOT / "scripts/sweep.py")]])
def test_a_sweep_can_be_started_as_a_module_and_as_a_script(way, folder):
    process = run(*way, "chain", *QUICK, "--output", "out", cwd=folder)
    assert (process.returncode, process.stderr) == (0, "")
    assert "Nothing disagrees" in process.stdout
    assert names(folder / "out") >= RESULTS
    request = json.loads((folder / "out" / "run.json").read_text())["request"]
    assert request["adapters"] == ["complex-step", "closed-form"]


def test_a_wrong_request_to_the_script_is_one_line_too(folder):
    process = run(str(ROOT / "scripts/sweep.py"), "--samples", "0", cwd=folder)
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr == "gradcheck: --samples: expected at least 1, got 0\n"


def test_a_model_in_a_file_of_ones_own_is_swept(folder, capsys):
    (folder / "mine.py").write_text(
        "from dataclasses import replace\n"
        "from gradcheck.examples import chain\n"
        "MINE = replace(chain.MODEL, name='mine')\n"
        "OTHER = replace(chain.MODEL, name='other')\n"
    )
    assert main(["sweep", "mine.py:MINE", *QUICK]) == 0
    assert names(folder / "results" / "mine") >= RESULTS
    assert main(["sweep", "mine.py", *QUICK]) == 2
    assert "several models (MINE, OTHER); name one as mine.py:NAME" in capsys.readouterr().err


def test_a_terminal_that_knows_ascii_alone_gets_a_report(tmp_path):
    process = subprocess.run(
        [sys.executable, "-m", "gradcheck", "sweep", "chain-misprint", "--samples", "20",
         "--adapters", "complex-step", *LITTLE, "--output", str(tmp_path)],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert process.returncode == 1
    assert process.stderr == ""
    assert "First wrong line" in process.stdout


def test_a_trace_of_the_network_prints_its_quantities(folder, capsys):
    assert main(["trace", "network", "--adapters", "complex-step"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert next(line[-1] for line in lines if line and line[0] == "f.5[0]") == "1.9066"
