"""Results are replaced whole or not at all."""

from pathlib import Path

import pytest

import gradcheck
from gradcheck import RequestError
from gradcheck.reports.files import check_folder, write_files, write_report


@pytest.fixture
def results(tmp_path):
    """Results of an earlier run."""
    for name in ("summary.csv", "discrepancies.csv", "run.json"):
        (tmp_path / name).write_text(f"the last good {name}")
    return tmp_path


@pytest.fixture(scope="module")
def report():
    return gradcheck.sweep(samples=10, adapters=["closed-form"])


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_files_are_written_and_nothing_else(results):
    paths = write_files({results / "summary.csv": "α,β\n", results / "new.csv": "2\n"})
    assert paths == [results / "summary.csv", results / "new.csv"]
    assert (results / "summary.csv").read_text(encoding="utf-8") == "α,β\n"
    assert set(contents(results)) == {"summary.csv", "discrepancies.csv", "run.json", "new.csv"}


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("which", [1, 2, 3])
def test_a_write_that_fails_or_is_interrupted_leaves_the_last_good_results(
    which, failure, results, report, monkeypatch
):
    before = contents(results)
    written = []
    write_bytes = Path.write_bytes

    def failing(path, data):
        written.append(path)
        if len(written) < which:
            return write_bytes(path, data)
        write_bytes(path, data[: len(data) // 2])
        raise failure

    monkeypatch.setattr(Path, "write_bytes", failing)
    with pytest.raises(type(failure)):
        write_report(report, results)
    assert len(written) == which
    assert contents(results) == before


def test_a_limit_on_file_sizes_leaves_the_last_good_results(results, report):
    resource = pytest.importorskip("resource", reason="needs a POSIX system")
    before = contents(results)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_report(report, results)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert contents(results) == before


def test_a_report_makes_its_folder(report, tmp_path):
    folder = tmp_path / "new" / "deep"
    paths = write_report(report, folder)
    assert {path.name for path in paths} >= {"summary.csv", "discrepancies.csv", "run.json"}
    assert sorted(folder.iterdir()) == sorted(paths)


def test_a_folder_that_can_be_made_is_accepted_and_not_made(tmp_path):
    check_folder(tmp_path / "new" / "deep")
    check_folder(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("below", ["", "deep", "deep/deeper"])
def test_a_file_where_the_folder_should_be_is_refused(below, tmp_path):
    file = tmp_path / "file"
    file.write_text("kept")
    with pytest.raises(RequestError, match=r"output: .*file is a file; name a folder"):
        check_folder(file / below)
    assert contents(tmp_path) == {"file": "kept"}


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that nobody may write to")
def test_a_folder_that_cannot_be_written_is_refused():
    with pytest.raises(RequestError, match=r"output: /proc cannot be written \(.*name another"):
        check_folder(Path("/proc/results"))
