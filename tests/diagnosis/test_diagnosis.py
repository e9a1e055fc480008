"""The wrong line is named, and what it holds; what merely inherits a fault is not blamed."""

import linecache
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gradcheck.diagnosis.diagnosis import diagnose
from gradcheck.examples import chain, chain_misprint
from gradcheck.harness.samples import draw_samples

SAMPLES = draw_samples(chain.MODEL.leaves, 0, 0, 40)
SOURCE = Path(chain.__file__).read_text()


def mutated(old, new):
    """Return `chain` with one piece of its source replaced."""
    assert SOURCE.count(old) == 1
    source, file = SOURCE.replace(old, new), f"<{new}>"
    linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
    namespace = {"__name__": "mutant"}
    exec(compile(source, file, "exec"), namespace)  # noqa: S102
    return namespace["MODEL"]


@pytest.mark.parametrize(
    ("old", "new", "quantity", "words"),
    [
        ("2 * (t.f3 - v.y)", "2 * (t.f3 + v.y)", "f3", "f3 is +4·v.y off"),
        ("2 * (t.f3 - v.y)", "2 * (t.f2 - v.y)", "f3", "f3 has t.f2 where t.f3 belongs"),
        ("2 * (t.f3 - v.y)", "(t.f3 - v.y)", "f3", "f3 is 0.5 times what it should be"),
        ("-xp.sin(t.f2)", "xp.sin(t.f2)", "f2", "f2 has the opposite sign"),
        ("-xp.sin(t.f2)", "-xp.cos(t.f2)", "f2", "f2 has cos(t.f2) where sin(t.f2) belongs"),
        ("-xp.sin(t.f2)", "-xp.sin(t.f1)", "f2", "f2 has sin(t.f1) where sin(t.f2) belongs"),
        ("t.h2 * d.h2", "d.h2", "f1", "f1 holds ∂ℓ/∂h2"),
        ("t.h2 * d.h2", "t.h2 * t.h2 * d.h2", "f1", "f1 has a factor t.h2 too many"),
        ("t.h2 * d.h2", "t.h2 * d.h2 * (1 + 2**-40)", "f1", "f1 is 1 + 9.09e-13 times"),
        ("v.omega1 * d.f1", "v.omega2 * d.f1", "h1", "h1 has v.omega2 where v.omega1 belongs"),
        ("v.omega1 * d.f1", "v.omega1 * d.f2", "h1", "h1 has ∂ℓ/∂f2 where ∂ℓ/∂f1 belongs"),
        ("d.f0, v.x * d.f0", "d.f0, v.y * d.f0", "omega0", "omega0 has v.y where v.x belongs"),
    ],
)
def test_a_wrong_backward_line_is_named_and_explained(old, new, quantity, words):
    findings = diagnose(mutated(old, new), SAMPLES).findings
    assert [finding.quantity for finding in findings] == [f"d.{quantity}"]
    assert findings[0].explanation.startswith(words)
    assert new in findings[0].line.source
    assert findings[0].part == "backward"


def test_the_misprint_is_said_to_hold_a_neighbours_adjoint():
    (finding,) = diagnose(chain_misprint.MODEL, SAMPLES).findings
    assert finding.explanation == ("beta1 holds ∂ℓ/∂f2 on all 40 samples; the true value is ∂ℓ/∂f1")
    assert finding.line.source == "d.beta1 = d.f2"
    assert Path(finding.line.file) == Path(chain_misprint.__file__)


def test_an_honest_pass_is_not_blamed():
    assert diagnose(chain.MODEL, SAMPLES).findings == ()


def test_nothing_is_claimed_of_a_value_that_matches_nothing():
    model = mutated("t.h2 * d.h2", "t.h2 * d.h2 + xp.sin(t.h3 * t.h1) * v.x")
    (finding,) = diagnose(model, SAMPLES).findings
    assert (finding.quantity, finding.explanation) == ("d.f1", "")


def test_two_independent_faults_are_both_named():
    model = mutated("d.f3 = 2 *", "d.f3 = 2 * 1.5 *")
    assert [f.quantity for f in diagnose(model, SAMPLES).findings] == ["d.f3"]

    def backward(xp, v, t, d):
        chain.backward(xp, v, t, d)
        d.omega3 = -d.omega3
        d.beta0 = 2 * d.beta0

    findings = diagnose(replace(chain.MODEL, backward=backward), SAMPLES).findings
    assert [f.quantity for f in findings] == ["d.omega3", "d.beta0"]


@pytest.mark.parametrize(
    ("old", "new", "quantity"),
    [
        ("t.f1 = v.beta1 +", "t.f1 = v.beta1 -", "t.f1"),
        ("t.h3 = xp.cos(t.f2)", "t.h3 = xp.sin(t.f2)", "t.h3"),
        ("t.loss = (t.f3 - v.y) ** 2", "t.loss = (t.f3 + v.y) ** 2", "t.loss"),
    ],
)
def test_a_wrong_forward_line_is_told_from_a_wrong_backward_line(old, new, quantity):
    (finding,) = diagnose(mutated(old, new), SAMPLES).findings
    assert (finding.part, finding.quantity) == ("forward", quantity)
    assert new in finding.line.source


def test_no_forward_line_is_blamed_if_no_single_one_mends_the_pass():
    model = mutated("t.h1 = xp.sin(t.f0)", "t.h1 = xp.cos(t.f0)")

    def forward(xp, v, t):
        model.forward(xp, v, t)
        t.loss = t.loss * 3

    assert diagnose(replace(model, forward=forward), SAMPLES).findings == ()


def test_the_counterexample_is_plain_and_still_fails():
    (finding,) = diagnose(chain_misprint.MODEL, SAMPLES).findings
    plain = {name: np.array([number]) for name, number in finding.counterexample.items()}
    assert all(number in (-2, -1, 0, 0.5, 1, 2, 3) for number in finding.counterexample.values())
    assert [f.quantity for f in diagnose(chain_misprint.MODEL, plain).findings] == ["d.beta1"]


@pytest.mark.parametrize(
    "new",
    [
        "d.f1 = 2 * t.h2 * d.h2\n    other = v.omega1 * d.f1\n    d.h1 = other",
        "d.f1 = 2 * t.h2 * d.h2\n    d.h1 = (lambda: v.omega1 * d.f1)()",
    ],
)
def test_a_fault_inherited_through_a_variable_is_not_blamed(new):
    old = "d.f1 = t.h2 * d.h2\n    d.h1 = v.omega1 * d.f1"
    findings = diagnose(mutated(old, new), SAMPLES).findings
    assert [finding.quantity for finding in findings] == ["d.f1"]


def test_a_fault_in_a_variable_is_said_to_be_there_once():
    old = "d.f2 = -xp.sin(t.f2) * d.h3"
    model = mutated(old, "slope = -xp.cos(t.f2) * d.h3\n    d.f2 = slope")
    (finding,) = diagnose(model, SAMPLES).findings
    assert finding.quantity == "d.f2"
    assert finding.line.through == (finding.line.number - 1,)
