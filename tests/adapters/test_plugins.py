"""A broken adapter of another package stops nobody who does not ask for it."""

import sys

import pytest

from gradcheck.adapters import all_adapters, broken_adapters, choose_adapters, registered_names
from gradcheck.cli import main
from gradcheck.errors import RequestError
from gradcheck.examples import chain

SOUND = "from dataclasses import replace\nfrom gradcheck.adapters.steps import complex_step\n"
TEXTS = {
    # what its module holds, what is said of it
    "import nowhere_to_be_found": "ModuleNotFoundError: No module named 'nowhere_to_be_found'",
    "raise ImportError('no libtheirs.so')": "ImportError: no libtheirs.so",
    "raise ImportError": "ImportError",
    "1 / 0": "ZeroDivisionError: division by zero",
    "import sys; sys.exit(0)": "SystemExit: 0",
    "raise SystemExit": "SystemExit",
    "raise GeneratorExit('x')": "GeneratorExit: x",
    "class Own(BaseException): pass\nraise Own('mine')": "Own: mine",
    "raise ValueError('[/red] :smile: \\x1b[31m')": r"ValueError: [/red] :smile: \x1b[31m",
    "raise ValueError('two\\nlines')": "ValueError: two lines",
    "class Dumb(Exception):\n  def __str__(self): raise SystemExit\nraise Dumb": "Dumb: (its text",
    "def f(): f()\nf()": "RecursionError: maximum recursion depth exceeded",
    "x = (": "SyntaxError: '(' was never closed",
    "x = '\0'": "source code string cannot contain null bytes",
    "raise MemoryError": "MemoryError",
    "x = 1": "AttributeError: module 'their_adapter' has no attribute 'ADAPTER'",
    "ADAPTER = 3": "is no gradcheck.adapters.Adapter, but int",
    "ADAPTER = None": "is no gradcheck.adapters.Adapter, but NoneType",
    "ADAPTER = type": "is no gradcheck.adapters.Adapter, but type",
    "def __getattr__(name): raise RuntimeError(name)": "RuntimeError: ",
    SOUND + "ADAPTER = replace(complex_step, framework=3)": "that is no text",
    SOUND + "ADAPTER = replace(complex_step, summary=None)": "that is no text",
    SOUND + "ADAPTER = replace(complex_step, prepare=None)": "nothing to call",
    SOUND + "ADAPTER = replace(complex_step, gradients=())": "nothing to call",
}
FRAMEWORKS = [
    ".",
    "..x",
    "a..b",
    "a\\0b",
    "\\udcff",
    " ",
    "-",
    "torch;",
    "nowhere",
    "os.path.x",
    "a/b",
]
"""Names of packages that there are not, or cannot be."""


def asked(*names):
    return ["sweep", "--adapters", ",".join(names), "--samples", "5", "--audit", "0",
            "--dtypes", "float64", "--output", "out"]  # fmt: skip


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("text", "reason"), TEXTS.items())
def test_a_broken_adapter_fails_where_it_is_asked_for_and_is_listed(
    text, reason, third_party, capsys
):
    third_party(text)
    assert list(choose_adapters(["complex-step"], chain.MODEL)) == ["complex-step"]
    assert "their_adapter" not in sys.modules
    assert main(asked("theirs")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("gradcheck: --adapters: theirs is broken: ")
    assert reason in line
    assert main(["adapters"]) == 0
    captured = capsys.readouterr()
    row = next(line for line in captured.out.splitlines() if line.startswith("theirs"))
    assert row.split()[1] == "broken"
    assert captured.err == ""
    assert "theirs" in broken_adapters()
    assert "theirs" not in choose_adapters(None, chain.MODEL)


def test_a_sweep_does_not_import_what_it_does_not_use(third_party, capsys):
    third_party("raise ImportError('no libtheirs.so')")
    assert main(asked("complex-step")) == 0
    assert "their_adapter" not in sys.modules
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_framework_of_a_bad_name_is_one_that_is_not_installed(framework, third_party, capsys):
    third_party(f"{SOUND}ADAPTER = replace(complex_step, framework='{framework}')")
    assert not all_adapters()["theirs"].installed
    assert main(asked("theirs")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "which is not installed" in line
    assert main(["adapters"]) == 0
    assert "theirs" in capsys.readouterr().out


def test_a_framework_that_ends_the_process_when_it_is_looked_for_is_not_installed(
    third_party, tmp_path
):
    (tmp_path / "their_framework.py").write_text("raise SystemExit(0)")
    third_party(f"{SOUND}ADAPTER = replace(complex_step, framework='their_framework.core')")
    assert not all_adapters()["theirs"].installed


def test_an_adapter_that_cannot_say_what_it_gives_is_broken(third_party, capsys, monkeypatch):
    third_party(f"{SOUND}ADAPTER = replace(complex_step, gradients=lambda model: 1 / 0)")
    with pytest.raises(RequestError, match="theirs is broken: ZeroDivisionError"):
        choose_adapters(["theirs"], chain.MODEL)
    assert "theirs" not in choose_adapters(None, chain.MODEL)
    monkeypatch.setattr("gradcheck.api.stages", _ended)
    assert main(["sweep", "--output", "out"]) == 2
    assert capsys.readouterr().err.splitlines()[0] == (
        "gradcheck: left out: theirs, which is broken: ZeroDivisionError: division by zero"
    )


def _ended(*arguments, **settings):
    raise RequestError("", "enough")


ENTRIES = {
    "theirs = nowhere_at_all:ADAPTER": "ModuleNotFoundError: No module named 'nowhere_at_all'",
    "theirs = their_adapter": "is no gradcheck.adapters.Adapter, but module",
    "theirs = their_adapter:": "broken",
    "theirs = :ADAPTER": "broken",
    "theirs = ": "broken",
    "theirs = their_adapter:A.B.C": "AttributeError",
    "theirs = gradcheck.adapters.steps:none": "AttributeError",
    "theirs [x] = their_adapter:ADAPTER": "",
    "theirs": "",
    "= x": "",
    "[": "",
    "\0": "",
    "torch = their_adapter:ADAPTER": "",
}


@pytest.mark.parametrize(("entry", "reason"), ENTRIES.items())
def test_an_entry_that_leads_nowhere_stops_nobody(entry, reason, third_party, tmp_path, capsys):
    third_party("x = 1")
    (points,) = tmp_path.glob("*.dist-info/entry_points.txt")
    points.write_text(f"[gradcheck.adapters]\n{entry}\n")
    assert "complex-step" in choose_adapters(None, chain.MODEL)
    assert main(["adapters"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "complex-step" in captured.out
    assert "torch" in all_adapters()  # ours, whoever else takes the name
    if reason:
        assert main(asked("theirs")) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert reason in line


def test_metadata_that_is_no_text_stops_nobody(third_party, tmp_path, capsys):
    third_party("x = 1")
    (points,) = tmp_path.glob("*.dist-info/entry_points.txt")
    points.write_bytes(b"[gradcheck.adapters]\ntheirs = \xff\xfe:x\n")
    assert list(choose_adapters(["complex-step"], chain.MODEL)) == ["complex-step"]
    assert "theirs" not in registered_names()
    assert capsys.readouterr().err == ""
