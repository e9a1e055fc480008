"""Every honest interval is that of difference quotients; what frameworks return stands as told."""

from importlib import metadata
from itertools import product
from math import inf, isinf, nan
from pathlib import Path

import flint
import pandas as pd
import pytest
from studies.convention_cases import CASES
from studies.conventions import (
    COLUMNS,
    Case,
    Framework,
    compact,
    everywhere,
    missing,
    standing,
    tabulate,
)

from gradcheck.truth.enclosures import precision

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "results" / "conventions" / "table.csv"

BITS = 4096
NEAR, NEARER = 64, 640
"""Points lie within about 2^-NEAR of the case's, then within 2^-NEARER."""
PLACES = [-2, -1, -1 / 2, 0, 1 / 2, 1, 2]
STEPS = [1 / 4, 1 / 2, 1, 2, 3]


def points_near(at, bits):
    """Yield base points around a point, and the steps that lead to others near it."""
    small, large = flint.arb(2) ** -bits, flint.arb(2) ** bits
    infinite = isinf(at[0])
    for places in product(PLACES if len(at) < 3 else [-1, 0, 1], repeat=len(at)):
        base = [
            (4 + place) * large * (1 if x > 0 else -1) if isinf(x) else x + place * small
            for x, place in zip(at, places, strict=True)
        ]
        for step in STEPS:
            yield base, step * (large if infinite else small) / (4 if infinite else 1)
            if infinite:
                yield base, step * small


def extreme_quotients(case, bits):
    """Return the least and the greatest difference quotient along the first coordinate."""
    quotients = []
    for base, step in points_near(case.at, bits):
        before, after = case.definition(*base), case.definition(base[0] + step, *base[1:])
        if before is not None and after is not None:
            quotients.append((after - before) / step)
    if not quotients:
        return None
    assert all(quotient.rad() < 2.0**-60 * (1 + abs(quotient.mid())) for quotient in quotients)
    middles = [quotient.mid() for quotient in quotients]
    return min(middles), max(middles)


def is_limit(end, coarse, fine):
    """Tell whether an extreme quotient tends to the end of an interval."""
    if isinf(end):
        sign = 1 if end > 0 else -1
        return sign * fine > 100 and sign * fine > 4 * sign * coarse > 0
    return abs(fine - flint.arb(end)) <= 2.0**-52 * max(1, abs(end))


def is_honest(case):
    with precision(BITS):
        coarse, fine = (extreme_quotients(case, bits) for bits in (NEAR, NEARER))
        if coarse is None or fine is None:
            return coarse is None and fine is None and case.low is None and case.high is None
        if case.low is None or case.high is None:
            return False
        ends = zip((case.low, case.high), coarse, fine, strict=True)
        return all(is_limit(*end) for end in ends)


def planted(low, high, definition=abs, at=(0.0,), **spellings):
    return Case("planted", "f(x)", at, low, high, "for a test", definition, spellings)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_honest_interval_is_that_of_difference_quotients(case):
    assert is_honest(case)


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (-1, 0.999), (-1, 1.001), (-1, inf), (1, 1), (None, None)]
)
def test_an_interval_that_is_not_that_of_the_quotients_is_refused(low, high):
    assert is_honest(planted(-1, 1))
    assert not is_honest(planted(low, high))


def test_a_singular_slope_is_not_taken_for_a_finite_one():
    def root(x):
        return x.sqrt() if x >= 0 else None

    assert is_honest(planted(inf, inf, root))
    for low, high in [(0, inf), (-inf, inf), (0, 0), (1, inf), (None, None)]:
        assert not is_honest(planted(low, high, root))


def test_cases_have_names_of_their_own_and_ends_in_order():
    assert len({case.name for case in CASES}) == len(CASES) >= 40
    for case in CASES:
        assert (case.low is None) == (case.high is None)
        assert case.low is None or case.low <= case.high
        assert case.why
        assert "\n" not in case.why


@pytest.mark.parametrize(
    ("derivative", "low", "high", "stands"),
    [
        (0.0, 0, 1, "inside"),
        (0.5, 0, 1, "inside"),
        (-1e-300, 0, 1, "outside"),
        (1 + 2.0**-52, 0, 1, "inside"),
        (1 + 2.0**-48, 0, 1, "outside"),
        (nan, 0, 1, "nan"),
        (inf, 0, 1, "outside"),
        (inf, inf, inf, "inside"),
        (1e308, inf, inf, "outside"),
        (-inf, inf, inf, "outside"),
        (0.0, None, None, "outside"),
        (nan, None, None, "nan"),
    ],
)
def test_where_a_derivative_stands(derivative, low, high, stands):
    assert standing(derivative, low, high, "float64") == stands


def test_rounding_is_allowed_for_in_the_format_it_is_of():
    assert standing(1 + 2.0**-23, 0, 1, "float32") == "inside"
    assert standing(1 + 2.0**-23, 0, 1, "float64") == "outside"
    assert standing(-(2.0**-149), 0, 1, "float32") == "outside"


def evaluate(derivative, low=-1, high=1):
    """Tabulate a case in a framework that returns what the test likes; NumPy stands in for it."""
    framework = Framework("numpy", {"reverse": derivative})
    return tabulate([planted(low, high, numpy=lambda np, x: x)], [framework])


def test_a_planted_wrong_convention_is_called_outside():
    table = evaluate(lambda module, spelling, at: 1.5)
    assert table["stands"].tolist() == ["outside"]
    assert table["derivative"].tolist() == ["1.5"]
    assert compact(table)["numpy"].tolist() == ["**1.5**"]


def test_an_honest_convention_is_not():
    table = evaluate(lambda module, spelling, at: -1)
    assert table["stands"].tolist() == ["inside"]
    assert compact(table).iloc[0].tolist() == ["planted", "[-1, 1]", "-1"]


def test_what_is_not_a_number_is_told():
    table = evaluate(lambda module, spelling, at: nan)
    assert table["stands"].tolist() == ["nan"]
    assert compact(table)["numpy"].tolist() == ["**nan**"]


def test_what_is_not_a_number_is_right_where_no_number_is():
    assert compact(evaluate(lambda *_: nan, None, None)).iloc[0].tolist() == [
        *("planted", "none", "nan")
    ]
    assert compact(evaluate(lambda *_: 0, None, None))["numpy"].tolist() == ["**0**"]


def test_dtypes_that_differ_have_rows_of_their_own():
    table = evaluate(lambda module, spelling, at: 0 if at.dtype == "float64" else 1)
    assert table["dtype"].tolist() == ["float64", "float32"]
    assert table["derivative"].tolist() == ["0", "1"]
    third = evaluate(lambda module, spelling, at: float(at.dtype.type(1) / at.dtype.type(3)))
    assert third["dtype"].tolist() == ["both"]


def test_a_framework_that_refuses_is_quoted():
    def refuse(*_):
        raise NotImplementedError("not for f\nmore")

    table = evaluate(refuse)
    assert table["stands"].tolist() == ["not defined"]
    assert table["derivative"].tolist() == [""]
    assert table["note"].tolist() == ["NotImplementedError: not for f"]


def test_a_function_that_a_framework_lacks_has_no_row_but_other_mistakes_are_no_lack():
    framework = Framework("numpy", {"reverse": lambda module, spelling, at: spelling(module, at)})
    lacking = planted(0, 1, numpy=lambda np, x: np.no_such_function(x))
    assert tabulate([lacking], [framework]).empty
    with pytest.raises(ZeroDivisionError):
        tabulate([planted(0, 1, numpy=lambda np, x: 1 / 0)], [framework])


def test_a_framework_that_is_not_installed_is_named_and_skipped(monkeypatch):
    monkeypatch.setattr("studies.conventions.find_spec", lambda name: None)
    assert missing() == ["torch", "jax", "autograd"]
    assert tabulate(CASES).empty


KNOWN = {"abs", "relu(x) - relu(-x)", "sqrt(x^2)", "where-sqrt", "softplus at 21"}
SOME = [case for number, case in enumerate(CASES) if number % 6 == 0 or case.name in KNOWN]
"""JAX takes a fifth of a second to compile the operations of one case."""


@pytest.fixture(scope="module")
def table():
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    return tabulate(SOME)


def test_the_table_has_a_row_for_every_case_framework_and_mode(table):
    assert list(table) == COLUMNS
    for framework in ("torch", "jax"):
        ours = table[table["framework"] == framework]
        for mode in ("reverse", "forward"):
            found = set(ours.loc[ours["mode"] == mode, "case"])
            assert found == {case.name for case in SOME if framework in case.spellings}
    assert set(table["stands"]) <= {"inside", "outside", "nan", "not defined"}
    assert set(table["dtype"]) <= {"both", "float64", "float32"}
    assert not table.duplicated(["case", "framework", "mode", "dtype"]).any()


def test_known_conventions_are_found(table):
    cells = compact(table).set_index("case")
    assert cells.loc["relu(x) - relu(-x)", ["honest", "torch", "jax"]].tolist() == [
        *("1", "**0**", "**0**")
    ]
    assert cells.loc["abs", ["torch", "jax"]].tolist() == ["0", "1"]
    assert cells.loc["sqrt(x^2)", ["torch", "jax"]].tolist() == ["**nan**", "**nan**"]


def value(framework, spelling, point):
    """Compute a spelling in float64."""
    if framework == "torch":
        torch = pytest.importorskip("torch")
        return float(spelling(torch, torch.tensor(point, dtype=torch.float64)))
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        return float(spelling(jax, jax.numpy.array(point, dtype="float64")))


def is_spelled_as_defined(case, framework):
    """Tell whether a framework's function is the one that was defined, at the point and near it."""
    agreeing = 0
    for offsets in [(0, 0, 0, 0), (1, -2, 3, 2), (-3, 2, 1, -1)]:
        point = [
            (1 if x > 0 else -1) * (25 + offset) if isinf(x) else x + offset / 64
            for x, offset in zip(case.at, offsets, strict=False)
        ]
        with precision(256):
            defined = case.definition(*map(flint.arb, point))
        if defined is not None:
            found = value(framework, case.spellings[framework], point if point[1:] else point[0])
            if abs(found - float(defined)) > 1e-9 * max(1, abs(found)):
                return False
            agreeing += 1
    return agreeing > 0 or case.low is None


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_frameworks_compute_what_is_defined(framework):
    pytest.importorskip(framework)
    ours = [case for case in CASES if framework in case.spellings]
    assert len(ours) >= 40
    assert [case.name for case in ours if not is_spelled_as_defined(case, framework)] == []


def test_a_function_that_is_not_the_one_defined_is_found():
    pytest.importorskip("torch")
    assert is_spelled_as_defined(planted(-1, 1, torch=lambda torch, x: torch.abs(x)), "torch")
    assert not is_spelled_as_defined(planted(-1, 1, torch=lambda torch, x: torch.relu(x)), "torch")


def read(path):
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def test_the_committed_table_is_what_these_versions_return(table):
    committed, keys = read(COMMITTED), ["case", "framework", "mode", "dtype"]
    some = committed[committed["case"].isin([case.name for case in SOME])]
    for framework in ("torch", "jax"):
        ours = some[some["framework"] == framework]
        if set(ours["version"]) != {metadata.version(framework).partition("+")[0]}:
            continue
        now = table[table["framework"] == framework]
        columns = [*keys, "function", "point", "low", "high", "stands"]
        assert ours[columns].to_numpy().tolist() == now[columns].to_numpy().tolist()


def test_the_committed_table_has_every_case_with_its_interval_and_reason():
    committed = read(COMMITTED)
    assert list(committed) == COLUMNS
    assert committed["case"].drop_duplicates().tolist() == [case.name for case in CASES]
    cases = {case.name: case for case in CASES}
    for row in committed.to_dict("records"):
        case = cases[row["case"]]
        ends = [None if row[end] == "none" else float(row[end]) for end in ("low", "high")]
        assert ends == [case.low, case.high]
        if row["stands"] == "not defined":
            assert row["derivative"] == ""
        else:
            assert row["note"] == case.why
            dtype = "float64" if row["dtype"] == "both" else row["dtype"]
            assert row["stands"] == standing(float(row["derivative"]), *ends, dtype)


def test_the_readme_quotes_the_committed_table():
    text = (ROOT / "README.md").read_text()
    section = text.partition("## What frameworks return at kinks")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    cells = compact(read(COMMITTED)).set_index("case")
    named = {cell: row for cell, row in cells.iterrows()}
    assert len(lines) >= 12
    for line in lines:
        name, *others = (cell.strip().strip("`") for cell in line.strip("|").split("|"))
        assert others == named[name][["honest", "torch", "jax"]].tolist()
    for version in set(read(COMMITTED).query("framework != 'autograd'")["version"]):
        assert version in section


def test_every_framework_spells_a_common_function_in_its_own_namespace():
    class Module:
        numpy = "its numpy"

    spellings = everywhere(lambda np, x: np)
    assert spellings["jax"](Module, 0) == spellings["autograd"](Module, 0) == "its numpy"
    assert spellings["torch"](Module, 0) is Module
