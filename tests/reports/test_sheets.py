"""Tables that a spreadsheet may open."""

import csv
import io

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradcheck.reports.sheets import as_csv, quoted, read_csv, unquoted


@pytest.mark.parametrize(
    "text", ["=1+1", "+x", "-x", "@SUM(A1)", "\tx", "\rx", "=cmd|'/C calc'!A1", "--1", "'=1"]
)
def test_text_that_would_be_evaluated_is_quoted(text):
    assert quoted(text) == f"'{text}"
    assert unquoted(quoted(text)) == text


@pytest.mark.parametrize(
    "cell", [-1.5, -3, "-1.5", "-2.17238746847979448", "-inf", "+7e-3", "a=b", "'", "", None]
)
def test_numbers_and_harmless_text_stay_as_they_are(cell):
    assert quoted(cell) is cell


@given(st.lists(st.text(alphabet="'=+-@\t1.ea,\"", max_size=6), min_size=1, max_size=4))
def test_what_is_read_is_what_was_written(texts):
    table = pd.DataFrame({"text": texts, "number": range(len(texts))})
    rows = read_csv(as_csv(table))
    assert [row["text"] for row in rows] == texts
    for cell, _ in list(csv.reader(io.StringIO(as_csv(table), newline="")))[1:]:
        assert not cell.startswith(tuple("=+-@\t")) or _is_number(cell)


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_numbers_read_back_bit_for_bit():
    table = pd.DataFrame({"x": [0.1, -1e-300, 5e-324], "message": ["-", "=A1", "fine"]})
    read = pd.read_csv(io.StringIO(as_csv(table)))
    assert read["x"].tolist() == table["x"].tolist()
    assert read["message"].tolist() == ["'-", "'=A1", "fine"]


def test_a_column_may_be_called_what_would_be_evaluated():
    assert as_csv(pd.DataFrame({"=x": [1]})).splitlines()[0] == "'=x"
