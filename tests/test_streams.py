"""Whoever reads what is printed, or does not: the files are written, and the status is true."""

import errno
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from gradcheck.streams import Output

SWEEP = (
    "--samples 20 --dtypes float64 --adapters complex-step --audit 0 --referee-limit 0 --workers 1"
)
FULL = "gradcheck: standard output cannot be written (No space left on device)"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")


def shell(command, cwd, timeout=60):
    """Run a command line, in which `gradcheck` is this one; return its status, stdout, stderr."""
    program = f'gradcheck() {{ {shlex.quote(sys.executable)} -m gradcheck "$@"; }}\n'
    process = subprocess.run(
        ["/bin/bash", "-o", "pipefail", "-c", program + command],
        cwd=cwd, capture_output=True, text=True, timeout=timeout,
    )  # fmt: skip
    return process.returncode, process.stdout, process.stderr


@pytest.mark.parametrize(
    ("streams", "status", "said"),
    [
        ("| head -n 1", 0, ""),
        (">&-", 0, ""),
        ("2>&-", 0, ""),
        ("<&- >&- 2>&-", 0, ""),
        ("--workers 2 <&- >&- 2>&-", 0, ""),
        ("2>/dev/full", 0, ""),
        (">/dev/full", 3, FULL),
        (">/dev/full 2>/dev/full", 3, ""),
        ("</dev/null 1<&0", 0, ""),
    ],
)
def test_a_stream_that_nobody_reads_changes_no_status_and_a_full_disk_is_3(
    streams, status, said, tmp_path
):
    if "/dev/full" in streams and not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    found, output, errors = shell(f"gradcheck sweep {SWEEP} --output out {streams}", tmp_path)
    assert (found, errors.strip()) == (status, said)
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"summary.csv", "run.json"}
    assert "Written to" not in "".join(path.read_text() for path in (tmp_path / "out").iterdir())
    assert ("Written to out" in output) == (
        "2" in streams and ">&- 2" not in streams and status == 0
    )


def test_a_disagreement_stays_one_if_nobody_reads_of_it(tmp_path):
    status, *_ = shell(f"gradcheck sweep chain-misprint {SWEEP} --output out >&- 2>&-", tmp_path)
    assert status == 1
    assert (tmp_path / "out" / "run.json").is_file()


@pytest.mark.parametrize(("command", "status"), [("--help", 0), ("sweep chian", 2)])
@pytest.mark.parametrize("streams", ["| head -n 1", ">&-", "2>&-"])
def test_what_ends_at_once_has_its_status_too(command, status, streams, tmp_path):
    assert shell(f"gradcheck {command} {streams}", tmp_path)[0] == status


SMALL = """
set -e
mount -t tmpfs -o {options} tmpfs disk
mkdir disk/out
echo old > disk/out/run.json
{then}
set +e
gradcheck sweep {sweep} --output disk/out > printed
echo $?
cat disk/out/*
find disk -mindepth 1 | wc -l
"""


def small_disk(tmp_path, options, then=""):
    (tmp_path / "disk").mkdir()
    if shell("unshare -rm mount -t tmpfs tmpfs disk", tmp_path)[0]:
        pytest.skip("may not mount a small disk")
    script = SMALL.format(options=options, then=then, sweep=SWEEP)
    (tmp_path / "script").write_text(
        f'gradcheck() {{ {shlex.quote(sys.executable)} -m gradcheck "$@"; }}\n{script}'
    )
    _, output, errors = shell("unshare -rm bash script", tmp_path)
    printed = tmp_path / "printed"
    return *output.split(), errors.splitlines(), printed.read_text() if printed.exists() else ""


@pytest.mark.parametrize("options", ["size=12k", "nr_inodes=5"])
def test_a_full_disk_is_status_3_in_one_line_and_earlier_results_are_whole(options, tmp_path):
    status, content, count, errors, printed = small_disk(tmp_path, options)
    assert (status, content) == ("3", "old")
    assert int(count) <= 3  # a checkpoint, if there was room
    assert errors[-1] == (
        "gradcheck: disk/out cannot be written (No space left on device); "
        "earlier results are untouched"
    )
    assert all("cannot be kept for --resume" in line for line in errors[:-1])
    assert "Nothing disagrees" in printed


def test_a_disk_that_is_read_only_is_a_wrong_request(tmp_path):
    status, content, count, errors, printed = small_disk(
        tmp_path, "size=1m", "mount -o remount,ro disk"
    )
    assert (status, content, count, printed) == ("2", "old", "2", "")
    assert errors == [
        "gradcheck: --output: disk/out cannot be written (Read-only file system); "
        "name another folder"
    ]


def test_a_mount_point_is_written_though_it_cannot_be_exchanged(tmp_path):
    status, *content, _, errors, _ = small_disk(
        tmp_path, "size=1m", "umount disk; mkdir disk/out; mount -t tmpfs tmpfs disk/out"
    )
    assert (status, errors) == ("0", [])
    assert "adapter,dtype,gradient" in " ".join(content)


def test_a_limit_on_file_sizes_is_status_3(tmp_path):
    command = f"ulimit -f 1; gradcheck sweep {SWEEP} --output out > /dev/null"
    status, _, errors = shell(command, tmp_path)
    assert status == 3
    *notes, last = errors.splitlines()
    assert last == (
        "gradcheck: out cannot be written (File too large); earlier results are untouched"
    )
    assert all("cannot be kept for --resume" in note for note in notes)
    assert not (tmp_path / "out").exists()


# --- one stream


def test_what_is_written_arrives_and_the_reason_of_a_loss_is_kept():
    reading, writing = os.pipe()
    output = Output(writing, "ascii")
    output.write("∂ is lost\n")
    output.flush()
    assert os.read(reading, 100) == b"? is lost\n"
    assert output.loss == ""
    os.close(reading)
    output.write("nobody reads this\n")
    output.flush()
    assert output.sturdy.failure.errno == errno.EPIPE
    assert output.loss == ""
    os.close(writing)


def test_a_stream_that_must_be_waited_for_is():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys, time; time.sleep(0.2); print(len(sys.stdin.read()))"],
        stdin=reading, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    output = Output(writing, "ascii")
    output.write("x" * 1_000_000)
    output.flush()
    os.close(writing)
    assert process.communicate(timeout=60)[0] == "1000000\n"
    os.close(reading)
