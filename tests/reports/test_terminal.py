"""What is printed says what was found."""

import io

import pytest

import gradcheck
from gradcheck.reports.terminal import (
    WIDTH,
    print_adapters,
    print_report,
    progress_bar,
)


@pytest.fixture
def printed(capsys):
    """Print a report; return its lines."""

    def lines(report, files=(), source="chain"):
        print_report(report, list(files), source)
        return capsys.readouterr().out.splitlines()

    return lines


def test_agreement_is_said_in_so_many_words(printed, tmp_path):
    report = gradcheck.sweep(samples=1000, adapters=["complex-step"])
    lines = printed(report, [tmp_path / "summary.csv"])
    assert lines[0] == "chain: 1,000 samples, seed 0, normal, scale 1"
    assert "Nothing disagrees: 16,000 comparisons agree." in lines
    assert lines[-1] == f"Written to {tmp_path}: summary.csv"


def test_finite_differences_have_a_dash_for_every_verdict(printed):
    report = gradcheck.sweep(samples=10, dtypes=["float64"], adapters=["finite-difference"])
    row = next(line for line in printed(report) if line.startswith("finite-difference"))
    assert row.split()[2:5] == ["–"] * 3


def test_a_disagreement_is_counted_shown_and_can_be_replayed(printed):
    report = gradcheck.sweep("chain-misprint", samples=100, adapters=["complex-step"])
    lines = printed(report, source="chain-misprint")
    total = report.run["counts"]["disagree"]
    assert any(f"beta1 {total:,}" in line for line in lines)
    assert not any("Nothing disagrees" in line for line in lines)
    replays = [line.split() for line in lines if "gradcheck trace" in line]
    assert replays
    for words in replays:
        assert words[:3] == ["gradcheck", "trace", "chain-misprint"]
        assert words[-2] == "--at"
        assert words[-1].startswith("x=")


def test_it_is_said_when_not_every_disagreement_is_tabulated(printed):
    def says(rows):
        report = gradcheck.sweep("chain-misprint", samples=50, rows=rows, adapters=["complex-step"])
        return any(f"worst {rows}" in line for line in printed(report, source="chain-misprint"))

    assert says(rows=10)
    assert not says(rows=50)


@pytest.mark.parametrize("reason", ["expected shape [2, 3]", "[bold] is no shape", "x" * 150])
def test_the_reason_of_an_error_is_told_to_the_letter(reason, printed, register, altered):
    def fail(found, values):
        raise ValueError(reason)

    register({"broken": altered(fail)})
    lines = printed(gradcheck.sweep(samples=10, dtypes=["float32"]))
    assert all(len(line) <= WIDTH for line in lines)
    assert reason.replace(" ", "") in "".join(lines).replace(" ", "")
    assert not any("Nothing disagrees" in line for line in lines)


def test_a_long_text_in_the_list_of_adapters_is_folded(capsys):
    print_adapters([{"adapter": "long", "how": "word " * 60}])
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= WIDTH for line in lines)
    assert "".join(lines).count("word") == 60


def test_progress_is_shown_on_a_terminal_only(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    shown = {}
    for stream in (io.StringIO(), Terminal()):
        monkeypatch.setattr("sys.stderr", stream)
        with progress_bar() as progress:
            progress(0.5)
        shown[stream.isatty()] = stream.getvalue()
    assert shown[False] == ""
    assert "sweeping" in shown[True]
