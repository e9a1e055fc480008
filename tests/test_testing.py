"""An assertion says in little space what is wrong, who is to blame and where."""

import warnings
from dataclasses import replace
from pathlib import Path

import pytest

import gradcheck
from gradcheck.adapters import all_adapters
from gradcheck.examples import chain, chain_misprint
from gradcheck.options import TEST_SAMPLES
from gradcheck.reports.failure import LINES, UNKNOWN_SOURCE, find_source
from gradcheck.reports.terminal import WIDTH
from gradcheck.testing import assert_agreement

QUICK = {"samples": 50, "adapters": ["complex-step"], "dtypes": ["float64"]}
LITTLE = {"referee_limit": 20, "audit": 0}
"""To be proved: that takes longest."""
HERE = replace(chain.MODEL, name="here")


def failure(model, **settings):
    """Return the lines of the message with which an assertion fails."""
    with pytest.raises(AssertionError) as caught:
        assert_agreement(model, **{**QUICK, **settings})
    lines = str(caught.value).splitlines()
    assert sum(-(-len(line) // WIDTH) for line in lines) <= LINES
    assert all(len(line) <= WIDTH for line in lines if "gradcheck trace" not in line)
    assert not any("array(" in line for line in lines)
    return lines


def test_agreement_returns_the_report():
    report = gradcheck.testing.assert_agreement(chain.MODEL, seed=7, **QUICK)
    assert report.agrees
    assert (report.run["request"]["samples"], report.run["request"]["seed"]) == (50, 7)


def test_a_test_compares_fewer_samples_than_a_sweep_unless_told_otherwise():
    report = assert_agreement("chain", adapters=["closed-form"])
    assert report.run["request"]["samples"] == TEST_SAMPLES < gradcheck.Request.samples


@pytest.mark.parametrize("model", ["chain-misprint", chain_misprint.MODEL])
def test_a_wrong_line_is_named_with_the_verdicts_the_culprit_and_a_counterexample(model):
    lines = failure(model, **LITTLE)
    assert lines[0].startswith("chain-misprint: first wrong line chain_misprint.py:15; ")
    row = next(line.split() for line in lines if line.startswith("complex-step"))
    assert row[1:5] == ["float64", "350", "50", "0"]
    assert "culprit: reference" in "\n".join(lines)
    where = lines.index("First wrong line: chain_misprint.py:15: d.beta1 = d.f2")
    assert "the true value is ∂ℓ/∂f1" in lines[where + 1]
    shown = lines.index("  simplest counterexample:")
    assert lines[shown + 1].startswith("    gradcheck trace chain-misprint --at x=")
    assert any(line.startswith("Refereed: ") for line in lines)


def test_the_whole_report_of_all_adapters_fits(register, altered):
    # By their names, and quick.
    register({name: altered() for name, known in all_adapters().items() if known.by_default})
    lines = failure("chain-misprint", adapters=None, dtypes=["float64", "float32"], **LITTLE)
    assert "  simplest counterexample:" in lines
    assert lines[-1].endswith("comparisons disagree.")


def test_every_culprit_is_shown_by_its_worst_case(register, altered):
    def double(found, values):
        return found | {"omega2": 2 * found["omega2"]}

    register({"honest": altered(), "doubling": altered(double)})
    lines = failure("chain-misprint", adapters=None)
    for culprit in ("reference", "doubling"):
        assert sum(f"culprit: {culprit}" in line for line in lines) == 1


def test_a_case_that_was_not_settled_is_shown_only_if_none_was(register, altered):
    register({"honest": altered()})
    lines = failure("chain-misprint", adapters=None, referee_limit=1)
    assert sum(line.startswith("  sample ") for line in lines) == 1
    assert any("culprit: reference" in line for line in lines)
    lines = failure("chain-misprint", adapters=None, referee_limit=0)
    assert sum(line.startswith("  sample ") for line in lines) == 1


def test_an_adapter_that_fails_is_named_with_its_reason(register, altered):
    def fail(found, values):
        raise ValueError("[bold] is unlucky")

    register({"broken": altered(fail), "honest": altered()})
    lines = failure("chain", adapters=None)
    assert lines[0] == "chain: broken failed"
    assert "[bold] is unlucky" in "\n".join(lines)


def test_a_message_that_would_be_long_is_cut_and_says_so(register, altered):
    def failing(number):
        def fail(found, values):
            raise ValueError(f"{number} " * 100)

        return fail

    register({f"broken-{number}": altered(failing(number)) for number in range(10)})
    lines = failure("chain", adapters=None, seed=3)
    assert sum(line.startswith("broken-") for line in lines) == 6
    assert lines[-1].startswith("… ")
    assert lines[-1].endswith(" lines more: gradcheck sweep chain --samples 50 --seed 3")


def test_a_command_that_is_too_long_is_not_cut_but_said_to_be_elsewhere(monkeypatch):
    monkeypatch.setattr("gradcheck.reports.failure.LONGEST", 200)
    lines = failure("chain-misprint", samples=gradcheck.Request.samples)
    assert "    too long for here; shown by: gradcheck sweep chain-misprint" in lines
    assert "  simplest counterexample:" in lines


def test_failing_adapters_are_tabulated_when_there_are_too_many_for_all(register, altered):
    def fail(found, values):
        raise ValueError("unlucky")

    honest = {f"honest-{number}": altered() for number in range(10)}
    register({**honest, "broken": altered(fail)})
    lines = failure("chain", adapters=None, dtypes=["float64", "float32"], **LITTLE)
    assert sum(line.startswith("broken ") for line in lines) == 2
    assert any(line.endswith(" rows of the table left out") for line in lines)


def test_a_definition_that_contradicts_the_forward_pass_is_told():
    lines = failure(replace(chain.MODEL, loss=lambda xp, v: chain.loss(xp, v) + 1))
    assert "the definition and the forward pass differ" in lines[0]


def test_a_request_that_cannot_be_met_is_raised_as_it_is():
    with pytest.raises(gradcheck.RequestError, match=r"^samples: expected at least 1, got 0$"):
        assert_agreement("chain", samples=0)


@pytest.fixture
def warning(register, altered):
    """Make an adapter that warns, as if in a module, the only one there is."""

    def make(module, category):
        def warn(found, values):
            warnings.warn_explicit("beware", category, "file.py", 1, module=module)
            return found

        register({"warning": altered(warn)})

    return make


def test_a_framework_that_warns_has_not_failed_where_warnings_are_errors(warning):
    warning("torch.jit", DeprecationWarning)
    assert_agreement("chain", samples=50)
    warning("jax", UserWarning)
    with pytest.warns(UserWarning, match="beware"):
        assert_agreement("chain", samples=50)


def test_what_else_warns_has_failed_where_warnings_are_errors(warning):
    warning("jaxer", DeprecationWarning)
    assert failure("chain", adapters=None)[0] == "chain: warning failed"


def test_the_command_line_finds_a_model_where_it_is_defined(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "from dataclasses import replace\n"
        "from gradcheck.examples import chain\n"
        "def loss(xp, v):\n"
        "    return chain.loss(xp, v)\n"
        "MINE = replace(chain.MODEL, name='mine', loss=loss)\n"
    )
    assert find_source("a folder/mine.py") == "'a folder/mine.py'"
    assert find_source(chain_misprint.MODEL) == "chain-misprint"
    assert find_source(gradcheck.load_model("mine.py")) == "mine.py:MINE"
    assert find_source(HERE) == f"{Path(__file__)}:HERE"
    assert find_source(replace(chain.MODEL, name="nowhere")) == UNKNOWN_SOURCE
