"""What a model's author may get wrong is told in one line with its mend, before any work."""

from dataclasses import replace

import numpy as np
import pytest

import gradcheck
from gradcheck import Model, RequestError
from gradcheck.cli import main
from gradcheck.model.loading import load_model

LAYER = """\
import random

import numpy as np

from gradcheck import Model


def loss(xp, v):
    return xp.sum((v.W @ v.x + v.b) ** 2)


def forward(xp, v, t):
    t.z = v.W @ v.x + v.b
    t.loss = xp.sum(t.z**2)


def backward(xp, v, t, d):
    d.z = 2 * t.z
    d.b = d.z
    d.W = np.outer(d.z, v.x)


MODEL = Model("layer", {"x": (3,)}, {"W": (2, 3), "b": (2,)}, loss, forward, backward)
"""

LOSS = "    return xp.sum((v.W @ v.x + v.b) ** 2)\n"
TRACE = "    t.loss = xp.sum(t.z**2)\n"
BIAS = "    d.b = d.z\n"
WEIGHT = "    d.W = np.outer(d.z, v.x)\n"

IN_PLACE = " an input or a parameter in place (mine.py, line {}); work on a copy of it, such as"

MISTAKES = {
    # what is written, what stands there instead, what the one line says
    "no definition": ("loss, forward, backward)", "None, forward, backward)", "has no definition"),
    "a parameter left out": (
        WEIGHT, "", "the backward pass of layer leaves out d.W, the gradient of a parameter",
    ),
    "the loss left out": (TRACE, "", "the forward pass of layer leaves out t.loss"),
    "an adjoint of nothing": (
        WEIGHT, f"{WEIGHT}    d.Wx = d.z\n",
        "writes d.Wx, but there is no parameter, input or quantity of the trace called Wx; rename",
    ),
    "a transpose": (
        WEIGHT, "    d.W = np.outer(v.x, d.z)\n",
        "gives d.W the shape (3, 2) where (2, 3) was expected; is a transpose missing?",
    ),
    "a sum over the last axis": (
        BIAS, "    d.b = np.outer(d.z, v.x)\n",
        "gives d.b the shape (2, 3) where (2,) was expected; is a sum over axis 1 missing?",
    ),
    "a sum over the first axis": (
        BIAS, "    d.b = np.outer(v.x, d.z)\n",
        "gives d.b the shape (3, 2) where (2,) was expected; is a sum over axis 0 missing?",
    ),
    "another shape": (
        BIAS, "    d.b = v.x\n", "gives d.b the shape (3,) where (2,) was expected",
    ),
    "a vector as definition": (
        LOSS, "    return (v.W @ v.x + v.b) ** 2\n",
        "the definition of layer returns the shape (2,) where a scalar, the shape (), was "
        "expected; sum it",
    ),
    "a vector as loss": (
        TRACE, "    t.loss = t.z**2\n", "t.loss of layer has the shape (2,) where a scalar was",
    ),
    "no return": (
        LOSS, "    xp.sum(v.W)\n", "the definition of layer returns None where a number",
    ),
    "a truth as definition": (
        LOSS, "    return xp.sum(v.W) > 0\n", "where a number was expected; let it return the loss",
    ),
    "an input changed in forward": (
        TRACE, f"{TRACE}    x = v.x\n    x *= 2\n", IN_PLACE.format(16),
    ),
    "an input changed in backward": (WEIGHT, f"{WEIGHT}    v.x[0] = 0\n", IN_PLACE.format(21)),
    "an input changed in the definition": (LOSS, f"    v.W[0, 0] = 1\n{LOSS}", IN_PLACE.format(9)),
    "a parameter changed through a row": (
        TRACE, f"{TRACE}    row = v.W[0]\n    row += 1\n", IN_PLACE.format(16),
    ),
    "a parameter changed through a transposed view": (
        TRACE, f"{TRACE}    turned = v.W.T\n    turned[0] = 1\n", IN_PLACE.format(16),
    ),
    "a parameter changed through a reshaped view": (
        WEIGHT, f"{WEIGHT}    flat = v.W.reshape(-1)\n    flat[0] = 1\n", IN_PLACE.format(22),
    ),
    "an input assigned to": (
        TRACE, f"{TRACE}    v.x = t.z\n", "x is an input or a parameter, or none; write to t or",
    ),
    "chance in forward": (
        TRACE, f"{TRACE}    t.noise = random.random()\n",
        "the passes of layer are not deterministic: t.noise is different if they are run again",
    ),
    "chance in backward": (
        BIAS, "    d.b = d.z * random.random()\n", "not deterministic: d.b is different if they",
    ),
    "chance in the definition": (
        LOSS, LOSS.replace("** 2", "** 2) * (random.random()"),
        "the definition of layer is not deterministic; let it depend on v alone",
    ),
    "a definition with an if": (
        LOSS, f"    if v.x[0] > 0:\n        return xp.sum(v.W)\n{LOSS}",
        "the definition of layer branches on a value (mine.py, line 9), which cannot be "
        "differentiated; use xp.where",
    ),
    "a misspelt parameter in the definition": (
        LOSS, LOSS.replace("v.b", "v.bb"),
        "(mine.py, line 9): AttributeError: there is no input or parameter bb; did you mean 'b'?",
    ),
    "a misspelt parameter in forward": (
        TRACE, f"{TRACE}    t.y = v.Wi @ v.x\n",
        "(mine.py, line 15): AttributeError: there is no input or parameter Wi; did you mean 'W'?",
    ),
    "a misspelt parameter in backward": (
        BIAS, "    d.b = d.z * v.gain\n", "(mine.py, line 19): AttributeError: there is no input",
    ),
    "a misspelt quantity": (
        BIAS, "    d.b = 2 * t.zz\n", "(mine.py, line 19): AttributeError: zz was not written",
    ),
    "a function without a rule": (
        TRACE, f"{TRACE}    t.m = np.median(v.x)\n",
        "(mine.py, line 15): NoRuleError: balls have no rule for numpy.median",
    ),
    "an error of its own": (
        TRACE, f"{TRACE}    t.q = v.W @ v.b\n", "(mine.py, line 15): ValueError: matmul",
    ),
}  # fmt: skip

every_mistake = pytest.mark.parametrize("mistake", MISTAKES)


@pytest.fixture
def mistaken(tmp_path, monkeypatch):
    """Write a model with a mistake to the working folder; return what is to be said of it."""
    monkeypatch.chdir(tmp_path)

    def write(mistake):
        right, wrong, complaint = MISTAKES[mistake]
        assert LAYER.count(right) == 1
        (tmp_path / "mine.py").write_text(LAYER.replace(right, wrong))
        return complaint

    return write


def refused(model):
    with pytest.raises(RequestError) as refusal:
        gradcheck.sweep(model, samples=4, adapters=["complex-step"], workers=1)
    message = str(refusal.value)
    assert message.startswith("model: ")
    assert "\n" not in message
    return message


def test_the_model_without_a_mistake_agrees(tmp_path):
    (tmp_path / "mine.py").write_text(LAYER)
    model = str(tmp_path / "mine.py")
    assert gradcheck.sweep(model, samples=20, adapters=["complex-step"], workers=1).agrees


@every_mistake
def test_a_mistake_is_refused_in_one_line(mistake, mistaken):
    complaint = mistaken(mistake)
    assert complaint in refused("mine.py")


@every_mistake
def test_a_mistake_is_status_2_and_one_line_and_nothing_is_written(
    mistake, mistaken, tmp_path, capsys
):
    complaint = mistaken(mistake)
    assert main(["sweep", "mine.py", "--samples", "4", "--adapters", "complex-step"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith("gradcheck: MODEL: ")
    assert complaint in captured.err
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == {"mine.py"}


@pytest.mark.parametrize("value", ["None", "'nothing'"])
def test_what_is_no_number_is_refused_as_an_adjoint(value, tmp_path):
    (tmp_path / "mine.py").write_text(LAYER.replace(BIAS, f"    d.b = {value}\n"))
    refused(str(tmp_path / "mine.py"))


# --- writes through views of what a pass made itself: balls carry them, or refuse


def loss(xp, v):
    return xp.sum((v.W @ v.x) ** 2)


def forward(xp, v, t):
    t.z = v.W @ v.x
    t.loss = xp.sum(t.z**2)


def through_turned(v, z):
    whole = np.zeros_like(v.W)
    turned = whole.T
    turned[:] = np.outer(v.x, z)
    return whole


def through_reshaped(v, z):
    whole = np.zeros_like(v.W)
    flat = whole.reshape(-1)
    flat[:] = np.outer(z, v.x).reshape(-1)
    return whole


def through_rows(v, z):
    whole = np.zeros_like(v.W)
    for i in range(2):
        row = whole[i]
        row += z[i] * v.x
    return whole


def through_the_array(v, z):
    whole = np.zeros_like(v.W)
    for i in range(2):
        whole[i] += z[i] * v.x
    return whole


def through_a_loop(v, z):
    whole = np.zeros_like(v.W)
    for row, adjoint in zip(whole, z, strict=True):
        row[:] = adjoint * v.x
    return whole


VIEWS = [through_turned, through_reshaped, through_rows, through_the_array, through_a_loop]


@pytest.mark.parametrize("fill", VIEWS)
def test_a_write_through_a_view_is_carried_or_refused(fill):
    def backward(xp, v, t, d):
        d.z = 2 * t.z
        d.W = fill(v, d.z)

    model = Model("views", {"x": (3,)}, {"W": (2, 3)}, loss, forward, backward)
    try:
        report = gradcheck.sweep(model, samples=20, adapters=["complex-step"], workers=1)
    except RequestError as refusal:
        assert fill is not through_the_array
        message = str(refusal)
        assert "\n" not in message
        assert "is lost there: assign to the array itself" in message or "(test_check.py" in message
    else:
        assert report.agrees


def test_samples_that_are_checked_first_are_those_of_the_request(monkeypatch):
    """A refusal comes before any adapter is asked."""
    model = replace(load_model("layer-norm"), loss=lambda xp, v: None)
    monkeypatch.setattr(
        "gradcheck.harness.execution.judge_here", lambda *_: pytest.fail("it was swept")
    )
    assert "the definition of layer-norm returns None" in refused(model)
