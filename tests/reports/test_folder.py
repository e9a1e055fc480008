"""A folder of results changes as one: whatever happens, its files are those of a single run."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gradcheck.errors import RequestError, UnfinishedError
from gradcheck.reports import folder as module
from gradcheck.reports.folder import FILES, UNTOUCHED, WRITTEN, OutputFolder

OLD = {name: f"old {name}" for name in FILES}
NEW = {name: f"new {name}" for name in FILES if name != "contract.csv"}
OWN = {"README.md": "notes", ".checkpoint/part": "1", "figures/a.png": "picture"}
"""What else lies in the folder."""


@pytest.fixture
def results(tmp_path):
    """Results of an earlier run, and what somebody else keeps there."""
    return filled(tmp_path / "parent" / "results")


def filled(folder):
    for name, text in {**OLD, **OWN}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def write(folder, files=NEW):
    with OutputFolder(folder) as output:
        return output.write(files)


def never_exchanged(monkeypatch):
    """Be on a system that cannot."""

    def fail(one, other):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(module, "exchange", fail)


# --- what is written


@pytest.mark.parametrize("can_exchange", [True, False])
def test_new_files_take_the_place_of_all_old_ones_and_of_nothing_else(
    can_exchange, results, monkeypatch
):
    if not can_exchange:
        never_exchanged(monkeypatch)
    results.chmod(0o750)
    assert write(results) == [results / name for name in NEW]
    assert contents(results) == NEW | OWN
    assert results.stat().st_mode & 0o777 == 0o750
    assert [path.name for path in results.parent.iterdir()] == ["results"]


def test_a_folder_is_exchanged_where_that_can_be_done(results):
    before = results.stat().st_ino
    write(results)
    assert results.stat().st_ino != before


def test_a_file_that_no_run_writes_is_refused(results):
    with pytest.raises(ValueError, match=r"not notes\.txt"):
        write(results, {"notes.txt": "x"})


def test_what_no_encoding_has_is_escaped(results):
    write(results, {"run.json": "\udcff", "summary.csv": b"\xff"})
    assert (results / "run.json").read_bytes() == rb"\udcff"
    assert (results / "summary.csv").read_bytes() == b"\xff"


def test_a_folder_is_made_and_removed_again_if_nothing_was_written(tmp_path):
    with OutputFolder(tmp_path / "new" / "deep"):
        assert (tmp_path / "new" / "deep").is_dir()
    assert not list(tmp_path.iterdir())
    write(tmp_path / "new" / "deep")
    assert contents(tmp_path / "new" / "deep") == NEW


def test_a_link_to_a_folder_stays_one(results, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(results)
    assert write(link) == [link / name for name in NEW]
    assert link.is_symlink()
    assert contents(results) == NEW | OWN


@pytest.mark.parametrize("path", [".", "../results"])
def test_the_working_folder_stays_the_same_folder(path, results, monkeypatch):
    monkeypatch.chdir(results)
    before = results.stat().st_ino
    write(Path(path))
    assert results.stat().st_ino == before
    assert contents(results) == NEW | OWN


def test_a_model_that_changes_the_working_folder_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    with OutputFolder(Path("results")) as output:
        monkeypatch.chdir("elsewhere")
        output.write(NEW)
    assert contents(tmp_path / "results") == NEW
    assert not contents(tmp_path / "elsewhere")


def test_a_checkpoint_lies_in_the_folder_and_is_carried_over(results):
    with OutputFolder(results) as output:
        assert output.checkpoint == results / ".checkpoint"
        (output.checkpoint / "more").write_text("2")
        output.write(NEW)
        assert (output.checkpoint / "more").read_text() == "2"


@pytest.mark.parametrize("name", ["a folder", "ö" * 100, "x" * 250, "[bold]x", "-o", "a\nb"])
def test_any_name_will_do(name, tmp_path):
    write(tmp_path / name)
    assert contents(tmp_path / name) == NEW
    write(tmp_path / name, {"run.json": "newer"})
    assert contents(tmp_path / name) == {"run.json": "newer"}


# --- what is refused


@pytest.mark.parametrize("below", ["", "deep", "deep/deeper"])
def test_a_file_where_the_folder_should_be_is_refused(below, tmp_path):
    file = tmp_path / "file"
    file.write_text("kept")
    with pytest.raises(RequestError, match=r"output: .*file is a file; name a folder"):
        write(file / below)
    assert contents(tmp_path) == {"file": "kept"}


def test_a_link_to_nothing_is_refused(tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(RequestError, match="link is a link to nothing"):
        write(tmp_path / "link")


@pytest.mark.parametrize("name", FILES)
def test_a_folder_where_a_file_should_be_is_refused(name, tmp_path):
    (tmp_path / name).mkdir()
    with pytest.raises(RequestError, match=f"{name} is a folder; name another folder"):
        write(tmp_path)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that nobody may write to")
def test_a_folder_that_cannot_be_written_is_refused():
    with pytest.raises(RequestError, match=r"output: /proc cannot be written \(.*name another"):
        write(Path("/proc/results"))


def test_a_path_that_is_too_long_is_refused(tmp_path):
    with pytest.raises(RequestError, match=r"x… cannot be written \(File name too long\)|too long"):
        write(tmp_path / ("x" * 5000))


@pytest.mark.parametrize("written", [False, True])
def test_a_second_run_is_refused_until_the_first_is_through(written, results):
    with OutputFolder(results) as output:
        if written:
            output.write(NEW)
        with pytest.raises(RequestError, match=r"another sweep is writing to .*results; name"):
            write(results)
    write(results, {"run.json": "second"})
    assert contents(results) == {"run.json": "second"} | OWN


def test_a_run_that_is_refused_does_not_touch_what_the_first_is_writing(results, monkeypatch):
    refused = []
    fill = module._fill

    def meanwhile(folder, files):
        fill(folder, files)
        with pytest.raises(RequestError, match="another sweep"):
            OutputFolder(results).__enter__()
        refused.append(True)

    monkeypatch.setattr(module, "_fill", meanwhile)
    write(results)
    assert refused
    assert contents(results) == NEW | OWN


# --- what goes wrong


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("which", [1, 2, 4])
@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_write_that_fails_leaves_the_last_good_results(
    can_exchange, which, code, results, monkeypatch
):
    if not can_exchange:
        never_exchanged(monkeypatch)
    written = []
    write_bytes = Path.write_bytes

    def failing(path, data):
        written.append(path)
        if len(written) < which:
            return write_bytes(path, data)
        write_bytes(path, data[: len(data) // 2])
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "write_bytes", failing)
    with pytest.raises(UnfinishedError, match=os.strerror(code)) as caught:
        write(results)
    assert caught.value.__notes__ == [UNTOUCHED]
    assert contents(results) == OLD | OWN
    assert [path.name for path in results.parent.iterdir()] == ["results"]


def test_a_limit_on_file_sizes_leaves_the_last_good_results(results):
    resource = pytest.importorskip("resource", reason="needs a POSIX system")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(UnfinishedError, match="File too large"):
            write(results, {"run.json": "x" * 1000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert contents(results) == OLD | OWN


@pytest.mark.parametrize("deleted", ["results", "parent"])
def test_a_folder_that_is_deleted_meanwhile_is_made_anew(deleted, results, capsys):
    with OutputFolder(results) as output:
        shutil.rmtree(results if deleted == "results" else results.parent)
        output.write(NEW)
    assert contents(results) == NEW
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("results was removed meanwhile; it is made anew")


def test_a_folder_that_another_run_made_anew_meanwhile_is_left_to_it(results):
    with OutputFolder(results) as output:
        shutil.rmtree(results)
        with OutputFolder(results) as other:
            other.write({"run.json": "other"})
            with pytest.raises(UnfinishedError, match="another sweep is writing"):
                output.write(NEW)
    assert contents(results) == {"run.json": "other"}


def test_what_cannot_be_carried_over_keeps_its_folder(results, monkeypatch):
    """A folder that may not be moved, such as a mount point."""
    rename = Path.rename

    def failing(path, target):
        if path.name == "figures":
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    before = results.stat().st_ino
    write(results)
    assert results.stat().st_ino == before
    assert contents(results) == NEW | OWN
    assert [path.name for path in results.parent.iterdir()] == ["results"]


@pytest.mark.parametrize(("files", "note"), [(None, UNTOUCHED), (NEW, WRITTEN)])
def test_an_interruption_is_told_what_it_left(files, note, results):
    def interrupted():
        with OutputFolder(results) as output:
            if files:
                output.write(files)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        interrupted()
    assert caught.value.__notes__ == [note]


# --- killed at any moment

KILLED = """
import os, signal, sys
from pathlib import Path
from gradcheck.reports import exchange, folder

new, path, kind = eval(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
if kind == "replace":
    folder._working_folder = lambda: path
left = int(sys.argv[4])

def count(event, arguments):
    global left
    if event.split(".")[0] in ("os", "open", "shutil", "tempfile"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

exchanged = folder.exchange
def exchange_and_count(one, other):
    count("os", ())
    exchanged(one, other)
    count("os", ())
folder.exchange = exchange_and_count

with folder.OutputFolder(path) as output:
    sys.addaudithook(count)
    output.write(new)
    count("os", ())
print("through")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("kind", ["exchange", "replace"])
def test_a_run_killed_before_any_of_its_system_calls_leaves_files_of_one_run(kind, tmp_path):
    """Count the calls that open, make, rename or remove something; die before each in turn."""
    seen = []
    for moment in range(1, 200):
        results = filled(tmp_path / str(moment) / "results")
        process = subprocess.run(
            [sys.executable, "-c", KILLED, repr(NEW), str(results), kind, str(moment)],
            capture_output=True,
            text=True,
            timeout=600,
        )
        if process.stdout == "through\n":
            break
        assert process.returncode == -signal.SIGKILL, process.stderr
        found = contents(results)
        ours = {name: found[name] for name in FILES if name in found}
        if kind == "exchange":
            assert ours in (OLD, NEW)
        else:
            assert len({text.partition(" ")[0] for text in ours.values()}) <= 1
            assert ours in (OLD, NEW) or "run.json" not in ours
        seen.append(tuple(ours.values()))
        write(results)  # the next run finds all that was somebody's own
        assert contents(results) == NEW | OWN
        assert [path.name for path in results.parent.iterdir()] == ["results"]
    else:
        pytest.fail("it never comes to an end")
    assert tuple(OLD.values()) in seen
    assert tuple(NEW.values()) in seen
    assert len(seen) > 20


def test_what_was_made_in_the_place_of_what_a_killed_run_left_is_not_overwritten(results):
    left = results.parent / ".results.incoming-abc"
    left.mkdir()
    (left / "README.md").write_text("older notes")
    (left / "run.json").write_text("older")
    write(results)
    assert contents(results) == NEW | OWN
    assert contents(left) == {"README.md": "older notes"}
