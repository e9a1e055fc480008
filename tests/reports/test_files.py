"""What a report writes."""

import json

import pytest

import gradcheck
from gradcheck.reports.files import write_files, write_report


@pytest.fixture(scope="module")
def report():
    return gradcheck.sweep(samples=10, adapters=["closed-form"])


def test_files_are_written_and_nothing_else(tmp_path):
    (tmp_path / "summary.csv").write_text("old")
    (tmp_path / "kept.txt").write_text("kept")
    paths = write_files({tmp_path / "summary.csv": "α,β\n", tmp_path / "new.csv": "2\n"})
    assert paths == [tmp_path / "summary.csv", tmp_path / "new.csv"]
    assert (tmp_path / "summary.csv").read_text(encoding="utf-8") == "α,β\n"
    assert {path.name for path in tmp_path.iterdir()} == {"summary.csv", "new.csv", "kept.txt"}


def test_a_report_makes_its_folder(report, tmp_path):
    folder = tmp_path / "new" / "deep"
    paths = write_report(report, folder)
    assert {path.name for path in paths} >= {"summary.csv", "discrepancies.csv", "run.json"}
    assert sorted(folder.iterdir()) == sorted(paths)
    assert json.loads((folder / "run.json").read_text())["request"]["model"] == "chain"
