"""The detectors see a fault, name its line, and accept what is right."""

import pytest

torch = pytest.importorskip("torch")

from studies.functions.corpus import DTYPES, SUBJECTS  # noqa: E402
from studies.functions.detectors import check  # noqa: E402
from studies.functions.mutants import make_mutants  # noqa: E402

FAULTS = ["d = 2 * (g * slope / r.numel())", "d = (1 + 2**-30) * (g * slope / r.numel())"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mutated", FAULTS)
def test_gradcheck_sees_a_fault_and_names_its_line(mutated, dtype):
    (one,) = (each for each in make_mutants("huber") if each.mutated == mutated)
    answer = check(one.function, SUBJECTS["huber"].make_inputs(dtype, 0), 0, samples=2)
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
