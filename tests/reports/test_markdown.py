"""The summary of a job: appended, escaped, and never what fails a run."""

import html
from types import SimpleNamespace

import pandas as pd
import pytest

from gradcheck.cli import main
from gradcheck.reports.markdown import MOST_ROWS, append_summary, escaped, sweep_summary

SWEEP = ["sweep", "--samples", "50", "--adapters", "complex-step", "--audit", "0"]
HOSTILE = "<script>|a\n`b` [c](d) *e* _f_ @g # h \\ ~~i~~ $j$ !"


@pytest.fixture
def summary(tmp_path, monkeypatch):
    path = tmp_path / "summary.md"
    path.write_text("before\n\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    return path


def cells(text):
    """Return the cells of the rows of a table, as they are shown."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [[html.unescape(cell.strip()) for cell in row.strip("|").split("|")] for row in rows]


def test_a_sweep_and_a_comparison_append_tables(summary, tmp_path):
    assert main([*SWEEP, "--output", str(tmp_path / "a")]) == 0
    assert main([*SWEEP, "--output", str(tmp_path / "b")]) == 0
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    text = summary.read_text()
    assert text.startswith("before\n\n### gradcheck sweep: chain\n")
    assert text.count("### gradcheck sweep") == 2
    assert html.unescape(text).count("✅") == 3
    header, rule, *rows = cells(text)[:4]
    assert header[:4] == ["adapter", "dtype", "agree", "disagree"]
    assert set(rule) == {"---"}
    assert [row[:4] for row in rows] == [
        ["complex-step", "float64", "400", "0"],
        ["complex-step", "float32", "400", "0"],
    ]


def test_a_disagreement_is_marked(summary, tmp_path):
    arguments = ["--samples", "50", "--adapters", "complex-step", "--referee-limit", "1"]
    assert main(["sweep", "chain-misprint", *arguments, "--output", str(tmp_path / "a")]) == 1
    text = html.unescape(summary.read_text())
    assert "❌" in text
    assert "100 comparisons disagree" in text


def test_what_is_known_is_counted_apart(summary, tmp_path):
    (tmp_path / "known.toml").write_text(
        "[[known]]\nmodel = 'chain-misprint'\nadapter = 'reference'\nreason = 'a specimen'\n"
    )
    arguments = ["--samples", "50", "--adapters", "complex-step", "--referee-limit", "5"]
    arguments += ["--known", str(tmp_path / "known.toml"), "--output", str(tmp_path / "a")]
    assert main(["sweep", "chain-misprint", *arguments]) == 0
    assert "nothing disagrees but 100 that are known." in html.unescape(summary.read_text())


def test_nothing_is_written_where_there_is_no_job(tmp_path, monkeypatch):
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.chdir(tmp_path)
    append_summary("text")
    assert not list(tmp_path.iterdir())


def test_a_summary_that_cannot_be_written_is_told_and_fails_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "nowhere" / "summary.md"))
    assert main([*SWEEP, "--output", str(tmp_path / "a")]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("gradcheck: GITHUB_STEP_SUMMARY: ")
    assert "cannot be written" in line


def test_a_text_of_somebody_elses_is_shown_to_the_letter():
    written = escaped(HOSTILE)
    assert html.unescape(written) == " ".join(HOSTILE.split())
    assert not set(written) & set("<>|\n`[]*_@\\~$!")


def test_a_hostile_name_stays_in_its_cell_and_long_tables_are_cut():
    row = {"adapter": HOSTILE, "dtype": "float64", "judged": True, "worst_gradient": "x"}
    counts = dict.fromkeys(["agree", "disagree", "uninformative", "nan", "error"], 0)
    report = SimpleNamespace(
        overview=pd.DataFrame([row | counts] * (MOST_ROWS + 5)),
        run={
            "request": {"model": HOSTILE, "samples": 1, "seed": 0, "allow_uninformative": False},
            "counts": {"disagree": 0, "nan": 0, "error": 0, "defect": 0, "known": 0},
            "audit": {"undisputed": 0, "recorded": False, "refuted": 0, "unexplained": 0},
            "contract": [], "search": {"disagreements": 0}, "errors": [], "misstated": {},
            "judged": {"short": [], "adapters": 1}, "expressions": {}, "failed": {},
        },
    )  # fmt: skip
    found = cells(sweep_summary(report))
    assert {len(row) for row in found} == {8}
    assert found[2][0] == " ".join(HOSTILE.split())
    assert found[-1][0] == "5 more"
    assert len(found) == 2 + MOST_ROWS + 1
