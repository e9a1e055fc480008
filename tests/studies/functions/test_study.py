"""Mutants are drawn fairly and sorted out; the detectors see what they should; tables count it."""

import math

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("jax")

from studies.functions import study  # noqa: E402
from studies.functions.corpus import DTYPES  # noqa: E402
from studies.functions.detectors import OWN, Answer  # noqa: E402
from studies.functions.fates import find_fate  # noqa: E402
from studies.functions.mutants import make_mutants  # noqa: E402
from studies.functions.study import (  # noqa: E402
    Trial,
    check_honest,
    choose_mutants,
    honest_by_name,
    judge_mutant,
    mutants_by_name,
)
from studies.functions.subjects import FRAMEWORKS, SUBJECTS  # noqa: E402
from studies.functions.tables import summarise, tabulate  # noqa: E402

DOUBLED = "d = 2 * (g * slope / r.numel())"


def mutant(subject, mutated):
    (found,) = (one for one in make_mutants(subject) if one.mutated == mutated)
    return found


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_draw_is_the_same_for_a_seed_and_even_over_functions_and_kinds(framework):
    some = choose_mutants(Trial(mutants=200), framework)
    assert len(some) == len({(one.subject, one.id) for one in some}) == 200
    assert some == choose_mutants(Trial(mutants=200), framework)
    assert some[:100] == choose_mutants(Trial(mutants=100), framework)
    assert some != choose_mutants(Trial(mutants=200, seed=1), framework)
    of_framework = [key for key, one in SUBJECTS.items() if one.framework == framework]
    counts = [sum(one.subject == key for one in some) for key in of_framework]
    assert min(counts) >= 10
    kinds = [one.kind for one in some]
    assert kinds.count("scaled") <= 2 * kinds.count("sign")


def test_any_part_of_the_mutants_has_as_many_of_each_framework():
    tasks = list(mutants_by_name(Trial(mutants=30)).values())
    frameworks = [SUBJECTS[one.subject].framework for _, one in tasks]
    assert frameworks == ["torch", "jax"] * 30


@pytest.mark.parametrize(
    ("subject", "mutated", "expected", "deviation"),
    [
        # The shapes do not fit; δ is 1; autograd adds up what was broadcast, JAX does not.
        ("swiglu", "ddown = (silu * b).t() * g", "fails", math.nan),
        ("huber", "slope = torch.where(torch.abs(r) <= DELTA, r, torch.sign(r))", "equal", 0),
        ("layer_norm", "dbias = g", "equal", 0),
        ("jax.layer_norm", "dbias = g", "fails", math.nan),
        ("huber", DOUBLED, "wrong", 1),
        ("huber", DOUBLED.replace("2 *", "(1 - 2**-30) *"), "wrong", 2.0**-30),
        ("jax.huber", "d = (1 + 2**-12) * (g * slope / r.size)", "wrong", 2.0**-12),
    ],
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_mutants_that_fail_or_are_equal_are_set_aside(subject, mutated, expected, deviation, dtype):
    fate = find_fate(mutant(subject, mutated), dtype, 0)
    assert fate.name == expected
    assert fate.deviation == pytest.approx(deviation, abs=1e-15, nan_ok=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_factor_that_jax_rounds_to_one_is_judged_as_it_is_spelled(dtype):
    one = mutant("jax.huber", "d = (1 + 2**-30) * (g * slope / r.size)")
    assert find_fate(one, dtype, 0).name == "wrong"


def test_tables_have_rows_for_all_mutants_and_count_what_was_said(monkeypatch):
    doubled, fails = mutant("huber", DOUBLED), mutant("swiglu", "ddown = (silu * b).t() * g")

    def says(function, inputs, seed, samples=8):
        wrong = function is doubled.function
        line = doubled.line if wrong else None
        return Answer(wrong, 0.5, wrong, line, "x is right as y", 3 * samples)

    def always(function, inputs, seed):
        return Answer(True, 0.25, True)

    rival = "torch.autograd.gradcheck"
    detectors = {"torch": {OWN: says, rival: always}, "jax": {OWN: says}}
    monkeypatch.setattr(study, "DETECTORS", detectors)
    monkeypatch.setattr(study, "check", says)
    study._honest.cache_clear()
    trial = Trial(honest=3, samples=50)
    mutants = tabulate([row for one in (doubled, fails) for row in judge_mutant((trial, one))])
    assert mutants["fate"].tolist() == ["wrong", "wrong", "fails", "fails"]
    assert mutants["dtype"].tolist() == ["float64", "float32"] * 2
    assert mutants[OWN].tolist()[:2] == [True, True]
    assert mutants[rival].tolist()[:2] == [False, False]  # it rejects the correct pass too

    honest = tabulate(
        [row for cell in honest_by_name(trial).values() for row in check_honest(cell)]
    )
    study._honest.cache_clear()
    assert len(honest) == 3 * 2 * len(SUBJECTS)
    assert set(honest["gradients"]) == {24 + 150}
    rows = summarise(mutants, honest)
    rows = rows.set_index(["framework", "dtype", "by", "value", "detector", "measure"])
    rows = rows.sort_index()
    for of in (("all", "all"), ("deviation", "> 2^-30"), ("function", "huber"), ("kind", "added")):
        about = ("torch", "float32", *of)
        for measure in ("found", "named", "mended"):
            ours = rows.loc[(*about, OWN, measure)]
            assert ours[["cases", "count", "share", "high", "seconds"]].tolist() == [
                1,
                1,
                1,
                1,
                0.5,
            ]
            assert ours["low"] == pytest.approx(0.025)  # by hand: p with p¹ = 2.5 %
        theirs = rows.loc[(*about, rival, "found")]
        assert theirs[["cases", "count", "low", "seconds"]].tolist() == [1, 0, 0, 0.25]
    alarms = rows.loc[("torch", "float64", "honest", "all")]
    assert alarms["count"].to_dict() == {
        (OWN, "alarm"): 0, (rival, "alarm"): 30, (OWN, "large alarm"): 0,
    }  # fmt: skip
