"""Mutants are drawn fairly and sorted out; the detectors see what they should; tables count it."""

import pytest

torch = pytest.importorskip("torch")

from studies.functions import study  # noqa: E402
from studies.functions.corpus import SUBJECTS  # noqa: E402
from studies.functions.detectors import Answer, told_mend, torch_gradcheck  # noqa: E402
from studies.functions.mutants import make_mutants  # noqa: E402
from studies.functions.study import (  # noqa: E402
    Trial,
    check_honest,
    choose_mutants,
    fate,
    judge_mutants,
    summarise,
    summarise_honest,
)

DOUBLED = "d = 2 * (g * slope / r.numel())"


def mutant(subject, mutated):
    (found,) = (one for one in make_mutants(subject) if one.mutated == mutated)
    return found


def test_a_draw_is_the_same_for_a_seed_and_even_over_functions_and_kinds():
    some = choose_mutants(Trial(mutants=200))
    assert len(some) == len({(one.subject, one.id) for one in some}) == 200
    assert some == choose_mutants(Trial(mutants=200))
    assert some[:100] == choose_mutants(Trial(mutants=100))
    assert some != choose_mutants(Trial(mutants=200, seed=1))
    counts = [sum(one.subject == subject for one in some) for subject in SUBJECTS]
    assert min(counts) >= 10
    kinds = [one.kind for one in some]
    assert kinds.count("scaled") <= 2 * kinds.count("sign")


@pytest.mark.parametrize(
    ("subject", "mutated", "expected"),
    [
        ("swiglu", "ddown = (silu * b).t() * g", "fails"),  # the shapes do not fit
        ("huber", "slope = torch.where(torch.abs(r) <= DELTA, r, torch.sign(r))", "equal"),  # δ = 1
        ("layer_norm", "dbias = g", "equal"),  # autograd adds up what was broadcast
        ("huber", DOUBLED, "wrong"),
        ("gelu", "t = torch.tanh(c * (x + (1 + 2**-30) * 0.044715 * x ** 3))", "wrong"),
    ],
)
def test_mutants_that_fail_or_are_equal_are_set_aside(subject, mutated, expected):
    assert fate(mutant(subject, mutated)) == expected


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_torch_accepts_the_correct_passes(subject, dtype):
    inputs = SUBJECTS[subject].make_inputs(dtype, 0)
    assert not torch_gradcheck(SUBJECTS[subject].function, inputs, 0).rejects


def test_torch_sees_a_gross_fault_and_not_a_small_one():
    inputs = SUBJECTS["huber"].make_inputs("float64", 0)
    small = "d = (1 + 2**-20) * (g * slope / r.numel())"
    assert torch_gradcheck(mutant("huber", DOUBLED).function, inputs, 0).rejects
    assert not torch_gradcheck(mutant("huber", small).function, inputs, 0).rejects


def test_a_mend_is_told_in_words_and_silence_is_none():
    words = "`d = 2 * (g * slope / r.numel())` is right as `d = g * slope / r.numel()`"
    assert told_mend(Answer(True, 0.1, True, 1, words))
    assert told_mend(Answer(True, 0.1, True, 1, "`return a` is right if the gradient of x is `b`"))
    assert not told_mend(Answer(True, 0.1, True, 1, "all gradients could be right"))
    assert not told_mend(Answer(True, 0.1, True))


def test_tables_have_rows_for_all_mutants_and_count_what_was_said(monkeypatch):
    doubled, fails = mutant("huber", DOUBLED), mutant("swiglu", "ddown = (silu * b).t() * g")
    equal = mutant("layer_norm", "dbias = g")

    def says(function, inputs, seed, samples=8):
        wrong = function is doubled.function
        return Answer(
            wrong, 0.5, wrong, doubled.line if wrong else None, "x is right as y", 3 * samples
        )

    def always(function, inputs, seed):
        return Answer(True, 0.25, True)

    monkeypatch.setattr(study, "DETECTORS", {"gradcheck": says, "torch": always})
    monkeypatch.setattr(study, "check", says)
    monkeypatch.setattr(study, "choose_mutants", lambda trial: [doubled, fails, equal])
    study._honest.cache_clear()
    table = judge_mutants(Trial())
    assert table["fate"].tolist() == ["wrong", "wrong", "fails", "equal"]
    assert table["dtype"].tolist()[:2] == ["float64", "float32"]
    assert table["gradcheck"].tolist()[:2] == [True, True]
    assert table["torch"].tolist()[:2] == [False, False]  # it rejects the correct pass too

    rows = summarise(table).set_index(["dtype", "by", "value"])
    every = rows.loc[("float32", "all", "all")]
    assert every["mutants"] == 1
    assert every[["gradcheck", "torch", "named", "mended"]].tolist() == [1, 0, 1, 1]
    assert every[["gradcheck_seconds", "torch_seconds"]].tolist() == [0.5, 0.25]

    honest = check_honest(Trial(honest=3, samples=50))
    alarms = summarise_honest(honest)
    assert len(honest) == 3 * len(alarms) == 3 * 2 * len(SUBJECTS)
    assert alarms["gradients"].tolist() == [450] * len(alarms)
    assert not alarms["gradcheck_alarms"].any()
    assert (alarms["torch_alarms"] == 3).all()
    study._honest.cache_clear()
