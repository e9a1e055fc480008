"""The notebook of examples is stored with what it shows, and shows that again."""

import re
from itertools import chain
from pathlib import Path

import pytest

from gradcheck import examples

TOUR = Path(examples.__file__).parent / "tour.ipynb"
VERDICT = re.compile(r"<p style=[^>]*>([✓✗] [^<]*)</p>")
LIMIT = 150_000
"""Bytes."""

nbformat = pytest.importorskip("nbformat")


@pytest.fixture(scope="module")
def stored():
    return nbformat.read(TOUR, as_version=4)


@pytest.fixture(scope="module")
def executed(stored, tmp_path_factory):
    """Execute the notebook anew, in a folder of its own."""
    for needed in ("nbclient", "ipykernel", "torch"):
        pytest.importorskip(needed)
    from tour import execute

    return execute(stored, tmp_path_factory.mktemp("tour"))


def shown(notebook, kind="text/html"):
    """Return what the code cells show, a list for each."""
    return [
        [output.data[kind] for output in cell.outputs if "data" in output]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def verdicts(notebook):
    return [VERDICT.findall("".join(texts)) for texts in shown(notebook)]


def test_it_shows_the_same_verdicts_when_it_is_executed(stored, executed):
    assert verdicts(executed) == verdicts(stored)
    assert [verdict[:1] for verdict in chain.from_iterable(verdicts(stored))] == [
        "✓",
        "✗",
        "✗",
        "✗",
    ]


def test_it_names_the_same_lines(stored, executed):
    for notebook in (stored, executed):
        text = "".join(chain.from_iterable(shown(notebook)))
        assert "chain_misprint.py:15" in text
        assert "cell:14" in text


def test_nothing_is_shown_but_results_and_a_bar_that_is_gone(stored, executed):
    for notebook in (stored, executed):
        outputs = [one for cell in notebook.cells for one in cell.get("outputs", [])]
        kinds = [one.output_type for one in outputs]
        assert kinds == ["display_data", *["execute_result"] * 5]
        assert outputs[0].data["text/html"] == ""


def test_it_is_stored_in_order_without_times_paths_or_errors(stored):
    text = TOUR.read_text()
    assert len(text) < LIMIT
    nbformat.validate(stored)
    assert stored.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert all(cell.metadata == {} for cell in stored.cells)
    assert [cell.id for cell in stored.cells] == [f"cell-{i}" for i in range(len(stored.cells))]
    counts = [cell.execution_count for cell in stored.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    for place in ("/tmp/", "/home/", "/root/", "C:\\\\", "site-packages"):  # noqa: S108
        assert place not in text
