"""In a notebook a report says first what was found, and shows texts of others as text."""

import sys
from dataclasses import replace
from html.parser import HTMLParser
from types import ModuleType, SimpleNamespace

import pandas as pd
import pytest

import gradcheck
from gradcheck.errors import file_name
from gradcheck.reports.notebook import GREEN, RED
from gradcheck.reports.progress import in_notebook, notebook_bar, shown
from gradcheck.reports.terminal import conclude
from gradcheck.trace import trace_sample

HOSTILE = '<script>alert("1")</script>&$x$\x1b[31m'
SPREADSHEET = "=1+1"
TAGS = {"div", "p", "table", "caption", "thead", "tbody", "tr", "th", "td", "code", "details",
        "summary", "pre"}  # fmt: skip


class Page(HTMLParser):
    """What a browser makes of a page: its tags and attributes, and its cells by row."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.rows, self.text = [], set(), [], ""
        self.colours, self.in_cell = [], False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "tr":
            self.rows.append([])
            self.colours.append([])
        if tag in ("td", "th"):
            self.in_cell = True
            self.rows[-1].append("")
            self.colours[-1].append(dict(attrs)["style"].partition("background: ")[2])

    def handle_endtag(self, tag):
        self.in_cell = self.in_cell and tag not in ("td", "th")

    def handle_data(self, data):
        self.text += data
        if self.in_cell:
            self.rows[-1][-1] += data

    def colour(self, text):
        """Return the colours of the cells that hold this text."""
        rows = zip(self.rows, self.colours, strict=True)
        return {c for row, colours in rows for t, c in zip(row, colours, strict=True) if t == text}


@pytest.fixture(scope="module")
def honest():
    return gradcheck.sweep(samples=50, adapters=["complex-step"])


@pytest.fixture(scope="module")
def misprint():
    return gradcheck.sweep("chain-misprint", samples=50, adapters=["complex-step", "closed-form"])


def test_the_verdict_comes_first(honest, misprint):
    for report, mark in ((honest, "✓"), (misprint, "✗")):
        first = report._repr_html_().partition("<table")[0]
        assert f"{mark} {conclude(report)[0]}" in Page(first).text
    assert conclude(misprint) == ["100 comparisons disagree."]
    assert conclude(honest)[0] == "Nothing disagrees: 800 comparisons agree."


def test_what_fails_is_coloured_and_what_does_not_is_not(honest, misprint):
    page = Page(misprint._repr_html_())
    assert page.colour("complex-step") >= {RED}
    assert page.colour("closed-form") == {""}
    assert page.colour("disagree") == {"", RED}  # the column's head, and verdicts
    assert page.colour("50") == {RED}
    assert page.colour("350") == {GREEN}
    assert RED not in honest._repr_html_()


def test_disagreements_and_the_wrong_line_are_shown(misprint):
    page = Page(misprint._repr_html_())
    rows = [row for row in page.rows if "beta1" in row and "disagree" in row]
    assert len(rows) == 10
    assert "90 more in .discrepancies" in page.text
    worst = misprint.discrepancies.query("verdict == 'disagree'").nlargest(1, "ulps").iloc[0]
    assert rows[0][0] == str(worst["sample"])
    assert f"{worst['value']:.9g}" in rows[0]
    assert ["chain_misprint.py:15", "d.beta1 = d.f2"] in [row[:2] for row in page.rows]
    assert "Wrong lines" not in gradcheck.sweep(samples=9, adapters=["complex-step"])._repr_html_()


def test_nothing_that_is_printed_is_left_out(misprint):
    assert str(misprint) in Page(misprint._repr_html_()).text
    assert "Audited: 20 samples" in str(misprint)


@pytest.mark.parametrize("text", [HOSTILE, SPREADSHEET, '" onmouseover="x'])
def test_texts_of_others_are_text(misprint, text):
    def with_text(frame, *columns):
        return frame.assign(**dict.fromkeys(columns, text))

    contract = pd.DataFrame([{"situation": text, "verdict": "error", "message": text}])
    report = replace(
        misprint,
        overview=with_text(misprint.overview, "adapter", "worst_gradient"),
        discrepancies=with_text(
            misprint.discrepancies, "adapter", "gradient", "element", "culprit", "truth"
        ),
        diagnosis=with_text(misprint.diagnosis, "source", "explanation", "file"),
        run={**misprint.run, "request": {**misprint.run["request"], "model": text}},
        contract=contract,
    )
    page = Page(report._repr_html_())
    assert set(page.tags) <= TAGS
    assert page.attributes <= {"style", "scope", "class"}
    assert "\x1b" not in page.text
    shown = text.replace("\x1b", "\\x1b")
    assert shown in page.text
    assert page.colour(shown) >= {RED}  # it is a whole cell
    assert 'class="tex2jax_ignore mathjax_ignore"' in report._repr_html_()


def test_a_broken_contract_is_shown_and_a_kept_one_is_not(honest):
    rows = [{"situation": "two calls", "verdict": "disagree", "message": "differ"},
            {"situation": "vmap", "verdict": "agree", "message": ""}]  # fmt: skip
    page = Page(replace(honest, contract=pd.DataFrame(rows))._repr_html_())
    assert ["two calls", "disagree", "differ"] in page.rows
    assert not any("vmap" in row for row in page.rows)


@pytest.mark.parametrize(("model", "wrong"), [("chain", 0), ("chain-misprint", 1)])
def test_a_trace_shows_itself(model, wrong):
    request = gradcheck.Request(dtypes=("float64",), adapters=["complex-step"])
    trace = trace_sample(gradcheck.load_model(model), request, 0)
    text = trace._repr_html_()
    page = Page(text)
    assert trace.agrees == (not wrong)
    first = "✗ Some values are beyond the bound." if wrong else "✓ Every value is within its bound."
    assert first in Page(text.partition("<table")[0]).text
    assert sum(colours.count(RED) for colours in page.colours) == wrong
    assert len(page.rows) == 2 + len(trace.forward) + len(trace.backward)
    assert set(page.tags) <= TAGS
    assert str(trace).startswith("float64, forward")
    assert str(trace).count("✗") == 2 * wrong


def test_ipython_prints_what_the_command_line_does(honest):
    printed = []
    honest._repr_pretty_(SimpleNamespace(text=printed.append), cycle=False)
    assert printed == [str(honest)]


def test_a_cell_has_no_number_that_a_reader_knows():
    assert file_name("/tmp/ipykernel_123/456.py") == "cell"  # noqa: S108
    assert file_name("/home/me/chain.py") == "chain.py"


@pytest.fixture
def notebook(monkeypatch):
    """Pretend to run in a notebook; yield what it shows."""
    messages = []
    handle = SimpleNamespace(update=messages.append)

    def display(html, display_id):
        messages.append(html)
        return handle

    ipython, module = ModuleType("IPython"), ModuleType("IPython.display")
    ipython.get_ipython = lambda: SimpleNamespace(kernel="running")
    module.HTML, module.display = str, display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return messages


def test_a_notebook_has_a_bar_that_is_gone_in_the_end(notebook):
    assert in_notebook()
    assert gradcheck.sweep(samples=50, adapters=["complex-step"], progress=True).agrees
    assert notebook[0] == 'sweeping <progress value="0.000" max="1"></progress> 0%'
    assert notebook[-1] == ""


def test_the_bar_moves_but_not_at_every_message(notebook):
    clock = iter([0.0, 0.05, 0.11, 0.11, 0.15])
    with notebook_bar("sweeping", lambda: next(clock)) as told:
        told(0.25)  # too early
        told(0.5)
        told(0.75)
    assert [message.rpartition(" ")[2] for message in notebook] == ["0%", "50%", ""]


def test_the_bar_is_gone_after_a_failure(notebook):
    with pytest.raises(gradcheck.RequestError):
        gradcheck.sweep(samples=50, adapters=["no-such"], progress=True)
    assert notebook[-1] == ""


def test_elsewhere_the_bar_is_the_terminals_and_a_callable_is_told(monkeypatch, capsys):
    assert not in_notebook()
    told = []
    gradcheck.sweep(samples=50, adapters=["complex-step"], progress=told.append)
    assert told
    assert 0 <= min(told) <= max(told) <= 1
    asked = []
    monkeypatch.setattr(
        "gradcheck.reports.terminal.progress_bar",
        lambda task: asked.append(task) or shown(False, task),
    )
    gradcheck.sweep(samples=50, adapters=["complex-step"], progress=True)
    gradcheck.sweep(samples=50, adapters=["complex-step"])
    assert asked == ["sweeping"]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("progress", ["yes", 3, None])
def test_what_is_no_progress_is_refused(progress):
    with pytest.raises(gradcheck.RequestError, match="expected True, False or a function"):
        gradcheck.sweep(samples=50, adapters=["complex-step"], progress=progress)
