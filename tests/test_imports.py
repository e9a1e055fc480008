"""What is not installed is not needed, and what is not used is not imported."""

import subprocess
import sys
import textwrap

import pytest

BLOCK_FRAMEWORKS = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in ('torch', 'jax', 'jaxlib'):
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)

sys.meta_path.insert(0, Blocker())
for name in ('torch', 'jax', 'jaxlib'):
    sys.modules[name] = None
"""
SWEEP = """
from gradcheck.cli import main
status = main(['sweep', '--samples', '100', '--output', 'out'])
"""


SHOW = "import sys\nprint(*{name.partition('.')[0] for name in sys.modules})"


def indented(code):
    return textwrap.indent(code, "    ")


def python(code, cwd):
    """Run code in an interpreter of its own; return what it printed."""
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    return process.stdout


def imported(code, cwd):
    """Return the top-level modules that are imported after some code."""
    printed = python(
        f"{code}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})", cwd
    )
    return set(printed.splitlines()[-1].split())


def test_importing_the_package_imports_no_library(tmp_path):
    libraries = {"numpy", "pandas", "torch", "jax", "flint", "rich"}
    assert not imported("import gradcheck", tmp_path) & libraries
    assert "numpy" in imported("import gradcheck; gradcheck.Ball", tmp_path)  # it would show


@pytest.mark.parametrize(
    "command", ["", "'sweep',", "'trace',", "'report',", "'compare',", "'replay',", "'adapters',"]
)
def test_help_imports_no_library(command, tmp_path):
    code = (
        "from gradcheck.cli import main\n"
        f"try: main([{command} '--help'])\n"
        "except SystemExit as ended: assert ended.code == 0\n"
    )
    libraries = {"numpy", "pandas", "torch", "jax", "flint", "rich", "jinja2", "matplotlib"}
    assert not imported(code, tmp_path) & libraries


def test_a_sweep_without_frameworks_runs_with_the_numpy_adapters(tmp_path):
    output = python(f"{BLOCK_FRAMEWORKS}{SWEEP}assert status == 0", tmp_path)
    for adapter in ("closed-form", "complex-step", "finite-difference", "central-difference"):
        assert adapter in output
    assert "Nothing disagrees" in output
    for line in (
        "Not installed: jax, jax-eager, jax-forward; install with: python -m pip install jax",
        "Not installed: torch, torch-forward; install with: python -m pip install torch",
    ):
        assert line in output.splitlines()
    assert (tmp_path / "out" / "summary.csv").is_file()


def test_a_missing_framework_that_was_asked_for_is_a_wrong_request(tmp_path):
    code = (
        f"{BLOCK_FRAMEWORKS}\n"
        "import contextlib, io\n"
        "from gradcheck.cli import main\n"
        "errors = io.StringIO()\n"
        "with contextlib.redirect_stderr(errors):\n"
        "    assert main(['sweep', '--adapters', 'torch']) == 2\n"
        "print(errors.getvalue())\n"
    )
    assert "install it with: python -m pip install torch" in python(code, tmp_path)


LOOKING = """
import sys
from dataclasses import replace
from pathlib import Path
from gradcheck.examples import chain

def backward(xp, v, t, d):
    names = {name.partition(".")[0] for name in sys.modules}
    with Path("modules").open("a") as file:
        print(*names & {"torch", "jax", "pandas", "pyarrow"}, file=file)
    chain.backward(xp, v, t, d)

LOOKING = replace(chain.MODEL, backward=backward)
"""


@pytest.mark.parametrize(
    ("asked", "other", "workers"), [("torch", "jax", "1"), ("jax", "torch", "2")]
)
def test_a_sweep_imports_the_frameworks_asked_for_and_pandas_when_a_table_is_made(
    asked, other, workers, tmp_path
):
    pytest.importorskip(asked)
    (tmp_path / "looking.py").write_text(LOOKING)
    sweep = SWEEP.replace(
        "'--samples'",
        f"'looking.py', '--workers', '{workers}', '--dtypes', 'float64', '--audit', '0',"
        "'--no-report',"
        f"'--adapters', '{asked}', '--samples'",
    )
    process = subprocess.run(
        [sys.executable, "-c", f"if __name__ == '__main__':\n{indented(sweep)}\n{indented(SHOW)}"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    after = set(process.stdout.splitlines()[-1].split())
    assert "pandas" in after
    assert other not in after
    while_judging = set((tmp_path / "modules").read_text().split())
    assert while_judging <= {asked}


def test_numpy_adapters_import_no_framework(tmp_path):
    sweep = SWEEP.replace("'--samples'", "'--adapters', 'complex-step', '--samples'")
    modules = imported(sweep, tmp_path)
    assert "numpy" in modules
    assert not modules & {"torch", "jax"}


def test_every_public_name_is_there_and_no_other(tmp_path):
    import gradcheck

    for name in gradcheck.__all__:
        assert getattr(gradcheck, name) is not None
    assert set(gradcheck.__all__) <= set(dir(gradcheck))
    with pytest.raises(AttributeError, match="module 'gradcheck' has no attribute 'swep'"):
        _ = gradcheck.swep
