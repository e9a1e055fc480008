"""Text of others is data: it is shown to the letter, and steers nothing."""

import io
import re
import shlex
import subprocess
from dataclasses import replace

import pytest
from rich.table import Table

import gradcheck
from gradcheck.errors import one_line, quoted
from gradcheck.examples import chain
from gradcheck.reports.failure import describe_failure
from gradcheck.reports.plain import Plain
from gradcheck.reports.terminal import print_adapters, print_report

MARKUP = [
    "[bold]x", "x[/]", "[/red]", "[red]x[/red]", "[link=http://a]b[/link]", "[", "]", "[]", "[[]]",
    r"\[bold]", "[0,1]", "[@click=f()]x", "[not bold]", "[#ff0000]", "[on red]", "[/bold italic]",
    ":smile:", ":warning:", ":x:", "a:b:c", "::", ":heart:[b]", "{}", "{0}", "%s", "%(x)s", "$HOME",
    "`x`", "<b>", "&amp;", "\\n", "\\", "'", '"', "a b", "1e400", "None", "ä∂ℓ",
    "日本語", "😀", "-x", "--",
]  # fmt: skip
"""Shown to the letter."""
STEERING = [
    "\x1b[31mred", "\x1b]0;title\x07", "\x1b]8;;http://a\x1b\\b", "\x1b[2J", "\x1bc", "\x00",
    "a\x00b", "\x07", "\x08\x08", "\r", "x\ry", "\t", "\x7f", "\x9b31m", "\x85", "\u202a",
    "\u202b", "\u202c",
    "\u202d", "\u202ea", "\u2066", "\u2067", "\u2068", "\u2069", "\u200e", "\u200f", "\u061c",
    "\u2028", "\u2029", "\ufeff", "\u200b", "\udcff", "\ud800", "\U000e0041", "\xa0", "\u3000",
]  # fmt: skip
"""Escaped."""
NASTY = [*MARKUP, *STEERING]
STORABLE = [text for text in NASTY if not re.search("[\ud800-\udfff]", text)]
"""In a table."""


def is_harmless(text):
    return all(sign.isprintable() or sign == "\n" for sign in text)


def escaped(text):
    signs = (sign if sign.isprintable() else sign.encode("unicode_escape") for sign in text)
    return "".join(sign if isinstance(sign, str) else sign.decode() for sign in signs)


def printed(*objects, width=200):
    console = Plain(file=io.StringIO(), width=width)
    for thing in objects:
        console.print(thing)
    return console.file.getvalue()


def table_of(text):
    table = Table(text, title=text, caption=text, box=None)
    table.add_row(text)
    return table


def test_there_are_at_least_64():
    assert len(set(NASTY)) >= 64


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize("wrapped", [lambda text: text, table_of], ids=["text", "table"])
def test_a_text_is_shown_to_the_letter_or_escaped(wrapped, text):
    shown = printed(wrapped(f"<{text}>"))
    assert is_harmless(shown)
    count = 1 if wrapped(text) is text else 4
    assert shown.count(f"<{escaped(text)}>") == count


def test_a_terminal_gets_colours_of_ours_alone():
    console = Plain(file=io.StringIO(), width=80, force_terminal=True, color_system="standard")
    console.print("[bold]\x1b[5m", style="red")
    assert console.file.getvalue() == "\x1b[31m[bold]\\x1b[5m\x1b[0m\n"


@pytest.fixture(scope="module")
def report():
    return gradcheck.sweep("chain-misprint", samples=20, dtypes=["float64"], audit=0,
                           adapters=["complex-step"], referee_limit=2)  # fmt: skip


@pytest.mark.parametrize("text", STORABLE)
def test_a_report_that_holds_such_texts_shows_them(text, report, capsys):
    nasty = replace(
        report,
        run={
            **report.run,
            "request": {**report.run["request"], "model": text},
            "failed": {text: text},
            "expressions": {text: text},
            "misstated": {text: text},
        },
        overview=report.overview.assign(adapter=text, worst_gradient=text),
        summary=report.summary.assign(error=1, message=text, gradient=text),
        discrepancies=report.discrepancies.assign(gradient=text, culprit=text, adapter=text),
        diagnosis=report.diagnosis.assign(source=text, explanation=text, file=f"{text}.py"),
    )
    print_report(nasty, [], quoted(text))
    print_adapters([{"adapter": text, "how": text}])
    shown = capsys.readouterr().out
    message = describe_failure(nasty, quoted(text))
    assert is_harmless(shown + message)
    if text in MARKUP:
        assert min(shown.count(text), message.count(text)) >= 3


NAMED = """
from dataclasses import replace
from gradcheck.examples import chain

def backward(xp, v, t, d):
    chain.backward(xp, v, t, d)
    d.beta1 = 2 * d.beta1

MODEL = replace(chain.MODEL, name={name!r}, backward=backward)
"""
FAILS = """
def end(xp, v):
    raise ValueError({name!r})

MODEL = replace(MODEL, loss=end)
"""
TRIED = ["[bold]x[]", ":smile:", "a\x1b[31mb", "a\x1b]0;t\x07b", "a\u202eb", "a b", "é'\"$x"]
"""As names of files and models, which hold no slash."""


@pytest.mark.parametrize("name", TRIED)
@pytest.mark.parametrize("fails", [False, True])
def test_names_of_files_and_models_and_messages_reach_the_screen_as_text(
    fails, name, tmp_path, monkeypatch, capsys
):
    from gradcheck.cli import main

    monkeypatch.chdir(tmp_path)
    file = tmp_path / f"{name}.py"
    text = NAMED.format(name=name) + FAILS.format(name=name) * fails
    file.write_text(text, encoding="utf-8")
    few = ["--samples", "5", "--dtypes", "float64", "--adapters", "complex-step", "--workers", "1"]
    status = main(["sweep", file.name, *few, "--audit", "0", "--referee-limit", "1"])
    captured = capsys.readouterr()
    assert status == (2 if fails else 1)
    assert is_harmless(captured.out + captured.err)
    assert escaped(name) in captured.out + captured.err
    if not fails:
        assert (tmp_path / "results" / name / "run.json").is_file()
        line = next(line for line in captured.out.splitlines() if "gradcheck trace" in line)
        assert file.name in words_of(line.strip())


def words_of(line):
    """Let a shell read it."""
    script = f"printf '%s\\0' {line}"
    process = subprocess.run(["/bin/bash", "-c", script], capture_output=True, check=True)
    return process.stdout.decode().split("\0")


@pytest.mark.parametrize("text", [text for text in NASTY if "\0" not in text])
def test_a_quoted_word_is_harmless_and_read_by_a_shell_as_it_was(text):
    assert is_harmless(quoted(text))
    if text.isprintable():
        assert shlex.split(quoted(text)) == [text]
    elif not re.search("[\ud800-\udfff]", text):
        assert words_of(quoted(text)) == [text, ""]


def test_what_is_echoed_is_short_and_in_one_line():
    assert one_line("a\n b\t\x1b") == r"a b \x1b"
    assert len(one_line("9" * 5000)) < 300
    assert "(5,000 characters)" in one_line("9" * 5000)
    assert len(one_line("word " * 5000)) < 2100
    assert one_line("x" * 200) == "x" * 200


def test_a_message_of_a_pass_with_markup_is_told(tmp_path, monkeypatch, capsys):
    """Only late, so that it is met when what was found is settled."""
    failing = replace(chain.MODEL, name="late")
    monkeypatch.setattr("gradcheck.api.referee", _raise_markup)
    report = gradcheck.sweep(failing, samples=5, adapters=["complex-step"], dtypes=["float64"])
    assert not report.agrees
    print_report(report, [], "chain")
    assert r"ValueError: late [/red] \x1b[31m" in capsys.readouterr().out


def _raise_markup(*arguments):
    raise ValueError("late [/red] \x1b[31m")
