"""The pytest plugin: what a test shows that passes, fails or asks for what there is not."""

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

# Imported here, as a run of pytest inside this one forgets what it has imported itself.
import gradcheck.adapters.closed_form
import gradcheck.adapters.steps
import gradcheck.api
import gradcheck.examples.chain_misprint
import gradcheck.reports.failure  # noqa: F401
from gradcheck.options import TEST_SAMPLES

pytest_plugins = ["pytester"]

FAILING = """
def test_misprint(gradcheck):
    few = dict(referee_limit=5, audit=0)
    gradcheck("chain-misprint", adapters=["complex-step"], dtypes=["float64"], **few)
"""
SHOWING = """
def test_request(gradcheck):
    request = gradcheck("chain", adapters=["closed-form"]).run["request"]
    print("swept", request["samples"], "of seed", request["seed"])
"""


@pytest.fixture
def run(pytester):
    """Run pytest, without a plugin that is slow to import anew, on a file that holds some code."""

    def run_pytest(code, *arguments):
        pytester.makepyfile(test_it=code)
        return pytester.runpytest_inprocess("-p", "no:hypothesispytest", *arguments)

    return run_pytest


def test_the_plugin_is_installed():
    (plugin,) = entry_points(group="pytest11", name="gradcheck")
    assert plugin.value == "gradcheck.pytest_plugin"


def test_it_is_loaded_without_any_library(tmp_path):
    code = (
        "import sys, pytest\n"
        "status = pytest.main(['--gradcheck-samples', '7', '-q', '-W', 'error'])\n"
        "assert status == pytest.ExitCode.NO_TESTS_COLLECTED, status\n"
        "assert 'gradcheck.pytest_plugin' in sys.modules\n"
        "heavy = {'numpy', 'pandas', 'torch', 'jax', 'flint', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert process.returncode == 0, process.stdout + process.stderr


def test_a_right_model_passes_by_name_object_or_file_and_yields_the_report(run, pytester):
    (pytester.path / "mine.py").write_text(
        "from dataclasses import replace\n"
        "from gradcheck.examples import chain\n"
        "MINE = replace(chain.MODEL, name='mine')\n"
    )
    result = run(
        """
        import pytest
        from gradcheck.examples import chain

        @pytest.mark.parametrize("model", ["chain", chain.MODEL, "mine.py"])
        def test_right(model, gradcheck):
            report = gradcheck(model, adapters=["closed-form"], dtypes=["float64"])
            assert report.agrees
            assert set(report.overview["dtype"]) == {"float64"}
        """
    )
    result.assert_outcomes(passed=3)


def test_a_wrong_line_is_shown_with_verdicts_culprit_and_counterexample(run):
    result = run(FAILING)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            ">       gradcheck(?chain-misprint?, adapters=*)",
            "E       AssertionError: chain-misprint: first wrong line chain_misprint.py:15; *",
            "E       adapter * agree disagree *",
            "E       complex-step float64 7,000    1,000 *",
            "E           the truth is *; culprit: reference",
            "E       First wrong line: chain_misprint.py:15: d.beta1 = d.f2",
            "E         beta1 holds ∂ℓ/∂f2 on all * samples; the true value is ∂ℓ/∂f1",
            "E         simplest counterexample:",
            "E           gradcheck trace chain-misprint --at x=*",
            "E       Refereed: *",
            "FAILED *::test_misprint - AssertionError: chain-misprint: *",
        ]
    )
    output = result.stdout.str()
    assert "array(" not in output
    assert "assert_agreement" not in output
    assert "pytest_plugin.py" not in output
    assert sum(line.startswith("E  ") for line in result.outlines) <= 40


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ([], f"swept {TEST_SAMPLES} of seed 0"),
        (["--gradcheck-samples=30", "--gradcheck-seed", "5"], "swept 30 of seed 5"),
    ],
)
def test_the_options_reach_the_sweep(arguments, shown, run):
    run(SHOWING, "-s", *arguments).stdout.fnmatch_lines([f"*{shown}*"])


def test_a_call_overrides_the_options(run):
    code = SHOWING.replace('"chain",', '"chain", samples=20,')
    result = run(code, "-s", "--gradcheck-samples=30", "--gradcheck-seed=5")
    result.stdout.fnmatch_lines(["*swept 20 of seed 5*"])


def test_a_known_disagreement_passes_and_a_file_that_is_none_is_a_usage_error(run, pytester):
    (pytester.path / "known.toml").write_text(
        "[[known]]\nmodel = 'chain-misprint'\nadapter = 'reference'\nreason = 'a specimen'\n"
    )
    run(FAILING).assert_outcomes(failed=1)
    run(FAILING, "--gradcheck-known", "known.toml").assert_outcomes(passed=1)
    call = FAILING.replace("**few", "known='known.toml', **few")
    run(call).assert_outcomes(passed=1)
    result = run(FAILING, "--gradcheck-known", "nowhere.toml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in result.errlines if line]
    assert line.startswith("ERROR: --gradcheck-known: ")
    assert line.endswith("nowhere.toml cannot be read (No such file or directory)")


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        ("--gradcheck-samples=0", "--gradcheck-samples: expected at least 1, got 0"),
        ("--gradcheck-samples=x", "--gradcheck-samples: expected a whole number, got 'x'"),
        ("--gradcheck-seed=-1", "--gradcheck-seed: expected 0 to 2**128 - 1, got -1"),
        ("--gradcheck-seed=1.5", "--gradcheck-seed: expected a whole number, got '1.5'"),
    ],
)
def test_a_wrong_option_is_a_usage_error_in_one_line(argument, problem, run):
    result = run(FAILING, argument)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert [line for line in result.errlines if line] == [f"ERROR: {problem}"]
    assert not [line for line in result.outlines if line]


def test_the_help_tells_the_options_and_their_defaults(run):
    result = run("", "--help")
    result.stdout.fnmatch_lines(
        [
            "gradient checks (fixture gradcheck):",
            "*--gradcheck-samples=N*",
            f"*random parameter sets ({TEST_SAMPLES})",
            "*--gradcheck-seed=N*which ones (0)",
        ]
    )


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        ("'chian'", "model: there is no model 'chian'; did you mean 'chain'[?]"),
        ("'missing.py'", "model: there is no file missing.py"),
        ("'chain', adapters=['tortch']", "*there is no adapter 'tortch'; did you mean 'torch'[?]"),
        ("'chain', samples=0", "samples: expected at least 1, got 0"),
    ],
)
def test_a_request_that_cannot_be_met_is_told_in_one_line(call, problem, run):
    result = run(f"def test_request(gradcheck):\n    gradcheck({call})\n")
    result.assert_outcomes(failed=1)
    errors = [line for line in result.outlines if line.startswith("E ")]
    assert len(errors) == 1
    result.stdout.fnmatch_lines([f"E       gradcheck.errors.RequestError: {problem}"])
    assert "request.py" not in result.stdout.str()


def test_a_file_that_does_not_import_is_told_in_one_line_with_the_line_in_it(run, pytester):
    (pytester.path / "unmet.py").write_text("\n\nimport a_module_that_is_nowhere\n")
    result = run("def test_request(gradcheck):\n    gradcheck('unmet.py')\n")
    assert len([line for line in result.outlines if line.startswith("E ")]) == 1
    result.stdout.fnmatch_lines(["E *unmet.py does not import: line 3: ModuleNotFoundError: *"])


def test_the_plugin_can_be_switched_off(run):
    result = run(FAILING, "-p", "no:gradcheck")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["E *fixture 'gradcheck' not found"])
    result = run(FAILING, "-p", "no:gradcheck", "--gradcheck-samples=3")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
