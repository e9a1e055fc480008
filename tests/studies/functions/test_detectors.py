"""The detectors see a fault, name its line, and accept what is right."""

import threading

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("jax")

from studies.functions.corpus import DTYPES  # noqa: E402
from studies.functions.detectors import (  # noqa: E402
    DETECTORS,
    RIVALS,
    Answer,
    ask_in_time,
    check,
    told_mend,
)
from studies.functions.mutants import make_mutants  # noqa: E402
from studies.functions.subjects import SUBJECTS  # noqa: E402

from gradcheck.errors import guarded  # noqa: E402

FAULTS = ["d = 2 * (g * slope / {})", "d = (1 + 2**-20) * (g * slope / {})"]
SIZES = {"huber": "r.numel()", "jax.huber": "r.size"}


def mutant(subject, mutated):
    text = mutated.format(SIZES[subject])
    (found,) = (one for one in make_mutants(subject) if one.mutated == text)
    return found


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mutated", FAULTS)
@pytest.mark.parametrize("subject", SIZES)
def test_gradcheck_sees_a_fault_and_names_its_line(subject, mutated, dtype):
    one = mutant(subject, mutated)
    answer = check(one.function, SUBJECTS[subject].make_inputs(dtype, 0), 0, samples=2)
    assert answer.rejects
    assert answer.disagrees
    assert answer.line == one.line


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradcheck_accepts_what_is_right_and_counts_it(dtype):
    huber = SUBJECTS["huber"]
    answer = check(huber.function, huber.make_inputs(dtype, 0), 0, samples=3)
    assert not answer.rejects
    assert not answer.disagrees
    assert answer.line is None
    assert answer.compared == 3 * 24


@pytest.mark.parametrize(
    ("key", "dtype"),
    [
        (key, dtype)
        for key, subject in SUBJECTS.items()
        for dtype in DTYPES
        # In float32 the rounding of JAX's small steps, and so of a processor, decides.
        if (subject.framework, dtype) != ("jax", "float32")
    ],
)
def test_the_rivals_accept_the_correct_passes(key, dtype):
    subject = SUBJECTS[key]
    (ask,) = (a for n, a in DETECTORS[subject.framework].items() if n in RIVALS)
    assert not ask(subject.function, subject.make_inputs(dtype, 0), 0).rejects


@pytest.mark.parametrize("subject", SIZES)
def test_the_rivals_see_a_gross_fault_and_not_a_small_one(subject):
    (ask,) = (a for n, a in DETECTORS[SUBJECTS[subject].framework].items() if n in RIVALS)
    inputs = SUBJECTS[subject].make_inputs("float64", 0)
    gross, small = (mutant(subject, text).function for text in FAULTS)
    assert ask(gross, inputs, 0).rejects
    assert not ask(small, inputs, 0).rejects


def test_who_says_nothing_in_time_is_late_though_it_catches_errors():
    def slow(function, inputs, seed):
        try:
            with guarded():
                threading.Event().wait()  # for ever
        except Exception:
            threading.Event().wait()
        return Answer(True, 10.0, True)

    answer = ask_in_time(slow, 0.1, None, (), 0)
    assert answer.late
    assert not answer.disagrees
    assert not ask_in_time(lambda *_: Answer(False, 0.0), 3600, None, (), 0).late


def test_a_mend_is_told_in_words_and_silence_is_none():
    words = "`d = 2 * (g * slope / r.numel())` is right as `d = g * slope / r.numel()`"
    assert told_mend(Answer(True, 0.1, True, 1, words))
    assert told_mend(Answer(True, 0.1, True, 1, "`return a` is right if the gradient of x is `b`"))
    assert not told_mend(Answer(True, 0.1, True, 1, "all gradients could be right"))
    assert not told_mend(Answer(True, 0.1, True))
