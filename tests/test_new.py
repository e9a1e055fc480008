"""`gradcheck new` writes a model that runs as it is, and never over a file that is there."""

import shlex
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import gradcheck
from gradcheck.cli import main
from gradcheck.template import write_starting_file

GRADIENTS = ("W", "b")
FEW = {"samples": 50, "referee_limit": 5, "audit": 0}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def model():
    write_starting_file(Path("mine.py"))
    return gradcheck.load_model("mine.py")


@pytest.fixture
def values(model):
    generator = np.random.default_rng(0)
    shapes = {**model.inputs, **model.parameters}
    return {name: generator.normal(size=shape) for name, shape in shapes.items()}


@pytest.fixture
def passes(model, values):
    """Run both passes on plain arrays; return the trace and the adjoints."""
    v, t, d = SimpleNamespace(**values), SimpleNamespace(), SimpleNamespace()
    model.forward(np, v, t)
    model.backward(np, v, t, d)
    return t, d


def test_the_file_is_short_and_what_to_do_next_is_told(folder, capsys):
    assert main(["new", "mine.py"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.splitlines()[0] == "Written: mine.py"
    for told in ("gradcheck sweep mine.py", "gradcheck trace mine.py", 'gradcheck("mine.py")'):
        assert told in captured.out
    lines = (folder / "mine.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 60
    assert all(len(line) <= 100 for line in lines)
    assert [path.name for path in folder.iterdir()] == ["mine.py"]


@pytest.mark.parametrize(
    ("file", "name"),
    [("layer-norm.py", "layer-norm"), ("größe.py", "größe"), ("a b.py", "mine"), ('".py', "mine")],
)
def test_the_model_is_named_after_the_file_where_that_can_be(file, name, capsys):
    assert main(["new", file]) == 0
    assert gradcheck.load_model(file).name == name
    told = capsys.readouterr().out.splitlines()[1]
    assert shlex.split(told)[-1] == file


WRONG = [
    ("mine", "FILE: expected a name that ends in .py, got 'mine'"),
    (".py", "FILE: expected a name that ends in .py, got '.py'"),
    ("mine.txt", "FILE: expected a name that ends in .py, got 'mine.txt'"),
    ("there.py", "FILE: there.py exists; name another, or overwrite it with --force"),
    ("dangling.py", "FILE: dangling.py exists; name another, or overwrite it with --force"),
    ("missing/mine.py", "FILE: there is no folder missing; make it first"),
    ("there.py/mine.py", "FILE: there is no folder there.py; make it first"),
    ("folder.py", "FILE: folder.py is a folder; name a file"),
    ("folder.py --force", "FILE: folder.py is a folder; name a file"),
    ("/proc/mine.py", "FILE: /proc/mine.py cannot be written"),
    ("", "FILE.py"),
]


@pytest.mark.parametrize(("arguments", "problem"), WRONG)
def test_a_wrong_request_is_status_2_and_writes_nothing(arguments, problem, folder, capsys):
    (folder / "there.py").write_text("kept\n")
    (folder / "folder.py").mkdir()
    (folder / "dangling.py").symlink_to("nowhere")
    before = sorted(folder.rglob("*"))
    assert main(["new", *arguments.split()]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert problem in captured.err
    assert sorted(folder.rglob("*")) == before
    assert (folder / "there.py").read_text() == "kept\n"


def test_force_overwrites(folder, capsys):
    (folder / "mine.py").write_text("old\n")
    assert main(["new", "mine.py", "--force"]) == 0
    assert "MODEL = Model(" in (folder / "mine.py").read_text(encoding="utf-8")


def test_both_statements_of_the_starting_model_are_the_same(model, values, passes):
    t, d = passes
    assert t.loss == pytest.approx(model.loss(np, SimpleNamespace(**values)), rel=1e-14)
    assert {name: getattr(d, name).shape for name in GRADIENTS} == dict(model.parameters)


def test_the_starting_model_is_right_by_torch(model, values, passes):
    torch = pytest.importorskip("torch")
    leaves = {name: torch.tensor(array, requires_grad=True) for name, array in values.items()}
    loss = model.loss(torch, SimpleNamespace(**leaves))
    found = torch.autograd.grad(loss, [leaves[name] for name in GRADIENTS])
    for name, gradient in zip(GRADIENTS, found, strict=True):
        np.testing.assert_allclose(getattr(passes[1], name), gradient.numpy(), rtol=1e-12)


def test_the_starting_model_is_right_by_jax(model, values, passes):
    jax = pytest.importorskip("jax")

    def loss(leaves):
        return model.loss(jax.numpy, SimpleNamespace(**leaves))

    with jax.enable_x64(True):
        gradients = jax.grad(loss)(values)
    for name in GRADIENTS:
        np.testing.assert_allclose(getattr(passes[1], name), gradients[name], rtol=1e-12)


def test_the_starting_model_can_be_swept_as_it_is(folder, capsys):
    write_starting_file(Path("mine.py"))
    quick = ["--adapters", "complex-step", "--samples", "200", "--audit", "0"]
    assert main(["sweep", "mine.py", *quick]) == 0
    assert "Nothing disagrees" in capsys.readouterr().out
    assert (folder / "results" / "mine" / "summary.csv").is_file()


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("d.h = 2 * (t.h - v.y)", "d.h = t.h - v.y"),
        ("d.z = (1 - t.h**2) * d.h", "d.z = (1 - t.z**2) * d.h"),
        ("d.W = xp.outer(d.z, v.x)", "d.W = xp.outer(d.h, v.x)"),
        ("d.b = d.z", "d.b = -d.z"),
    ],
)
def test_a_wrong_line_in_the_starting_model_is_named(right, wrong, folder):
    write_starting_file(Path("mine.py"))
    text = (folder / "mine.py").read_text(encoding="utf-8")
    assert text.count(right) == 1
    (folder / "mine.py").write_text(text.replace(right, wrong), encoding="utf-8")
    with pytest.raises(AssertionError) as caught:
        gradcheck.testing.assert_agreement(
            "mine.py", adapters=["complex-step"], dtypes=["float64"], **FEW
        )
    number = 1 + text[: text.index(right)].count("\n")
    assert f"First wrong line: mine.py:{number}: {wrong}" in str(caught.value).splitlines()
    assert "array(" not in str(caught.value)
