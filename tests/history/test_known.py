"""What a file of known disagreements may say, and what is said of one that is wrong."""

import pytest

from gradcheck.cli import main
from gradcheck.errors import RequestError
from gradcheck.examples import chain
from gradcheck.history.known import NOTHING_KNOWN, read_known

ENTRY = '[[known]]\nmodel = "chain"\nreason = "because"\n'


@pytest.fixture
def listed(tmp_path):
    def write(text):
        (tmp_path / "known.toml").write_text(text)
        return tmp_path / "known.toml"

    return write


def test_entries_are_read_with_their_lines(listed):
    text = (
        f"# of the model chain\n{ENTRY}adapter = 'torch'\n\n"
        "[[ known ]]  # the second\nmodel = 'chain'\nreason = 'too'\nverdict = 'nan'\n"
    )
    first, second = read_known(listed(text)).entries
    assert (first.line, first.adapter, first.verdict) == (2, "torch", "disagree")
    assert (second.line, second.adapter, second.verdict) == (7, "", "nan")
    assert str(first) == "line 2: chain torch"
    assert str(second) == "line 7: chain any adapter nan"


def test_entries_that_are_no_tables_of_their_own_have_no_line(listed):
    text = "known = [{model = 'chain', reason = 'because'}]\n"
    assert [entry.line for entry in read_known(listed(text)).entries] == [0]
    text = ENTRY.replace('"because"', "'''\n[[known]]\n'''")
    assert [entry.line for entry in read_known(listed(text)).entries] == [0]


def test_an_empty_file_and_none_list_nothing(listed):
    assert not read_known(listed("")).entries
    assert read_known(None) is NOTHING_KNOWN


@pytest.mark.parametrize(
    ("versions", "current"),
    [
        ("numpy = '>=1'", True),
        ("numpy = '<1'", False),
        ("numpy = '>=1', python-flint = '<0.1'", False),
        ("python = '>=3.11'", True),
        ("python = '<3.11'", False),
        ("no-such-package = '>=0'", False),
    ],
)
def test_an_entry_of_other_versions_concerns_nobody(versions, current, listed):
    known = read_known(listed(f"{ENTRY}versions = {{{versions}}}\n"))
    assert bool(known.of(chain.MODEL).entries) is current


def test_an_entry_of_another_model_concerns_nobody(listed):
    known = read_known(listed(ENTRY.replace("chain", "other") + "gradient = 'anything'\n"))
    assert not known.of(chain.MODEL).entries


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[[known]\n", "is no TOML: "),
        ("[other]\n", "unknown 'other'; entries begin with [[known]]"),
        ("known = 1\n", "expected entries that begin with [[known]]"),
        ("[known]\nmodel = 'chain'\n", "expected entries that begin with [[known]]"),
        ("known = [1]\n", "entry 1: expected a table, got 1"),
        (f"\n{ENTRY}adaptor = 'torch'\n", "entry 1, line 2: unknown 'adaptor'; did you mean"),
        (f"{ENTRY}adapter = 'tourch'\n", "line 1: there is no adapter 'tourch'; did you"),
        (f"{ENTRY}dtype = 'float46'\n", "line 1: there is no dtype 'float46'; did you mean 'float"),
        (f"{ENTRY}verdict = 'error'\n", "line 1: there is no verdict 'error'; there are:"),
        (f"{ENTRY}[[known]]\nmodel = 'chain'\n", "entry 2, line 4: no reason; say reason = …"),
        ("[[known]]\nreason = 'x'\n", "line 1: no model"),
        ("[[known]]\nmodel = 'chain'\nreason = ' '\n", "expected reason to be a text, got ' '"),
        (f"{ENTRY}gradient = 3\n", "line 1: expected gradient to be a text, got 3"),
        (f"{ENTRY}versions = '>=2'\n", "expected versions to be a table of specifiers, got '>=2'"),
        (f"{ENTRY}versions = {{torch = 'new'}}\n", "of torch, got 'new'"),
        (f"{ENTRY}versions = {{torch = 2.4}}\n", "of torch, got 2.4"),
        (f"{ENTRY}gradient = 'beta9'\n", "any adapter beta9: there is no gradient 'beta9'"),
    ],
)  # fmt: skip
def test_a_file_that_is_wrong_is_refused_in_a_line_before_any_work(
    text, why, listed, tmp_path, capsys
):
    arguments = ["--samples", "10", "--adapters", "complex-step", "--output", str(tmp_path / "o")]
    assert main(["sweep", *arguments, "--known", str(listed(text))]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("gradcheck: --known: ")
    assert "known.toml" in line
    assert why in line
    assert not (tmp_path / "o").exists()


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    for path in (tmp_path / "nowhere.toml", tmp_path):
        with pytest.raises(RequestError, match="cannot be read"):
            read_known(path)
    (tmp_path / "latin").write_bytes(b"# \xe9\n")
    with pytest.raises(RequestError, match="is no TOML"):
        read_known(tmp_path / "latin")
    with pytest.raises(RequestError, match="expected the path of a file, got 3"):
        read_known(3)
