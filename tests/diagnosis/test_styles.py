"""Backward passes in the styles in which people write them; the wrong lines are listed exactly."""

import itertools
import linecache
from functools import partial

import numpy as np
import pytest

from gradcheck import Model, sampling
from gradcheck.diagnosis.diagnosis import diagnose
from gradcheck.diagnosis.recording import record
from gradcheck.diagnosis.statements import Statements
from gradcheck.harness.samples import draw_model
from gradcheck.model.model import each_sample
from gradcheck.truth.enclosures import precision

NUMBER = itertools.count()


def written(source, **fields):
    """Make a model of a text, which shows its lines."""
    file = f"<style {next(NUMBER)}>"
    linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
    namespace = {"np": np}
    exec(compile(source, file, "exec"), namespace)  # noqa: S102
    passes = {name: namespace[name] for name in ("loss", "forward", "backward")}
    return Model("style", **passes, **fields), source.splitlines()


def suspects(text, backward, samples=6, **settings):
    """Return for every finding all lines in which the fault is said to be, as they are written."""
    fields, passes = text
    model, lines = written(passes + backward, **fields)
    found = diagnose(model, draw_model(model, 0, 0, samples), **settings).findings
    return [
        sorted(lines[number - 1].strip() for number in (f.line.number, *f.line.through))
        for f in found
    ]


SQUARES = (
    {"inputs": {"y": (3,)}, "parameters": {"a": (3,), "b": (3,)}},
    """
def loss(xp, v):
    return xp.sum((v.a * v.a * v.b - v.y) ** 2)

def forward(xp, v, t):
    t.s = v.a * v.a * v.b
    t.loss = np.sum((t.s - v.y) ** 2)
""",
)
LOCALS = """
def backward(xp, v, t, d):
    r = 2 * (t.s - v.y)
    g = {g}
    k = 2 * g
    out = k
    d.a = {a}
    d.b = r * v.a * v.a
"""
LOOP = """
def backward(xp, v, t, d):
    da, db = np.zeros_like(v.a), np.zeros_like(v.b)
    for i in range(3):
        r = 2 * (t.s[i] - v.y[i])
        da[i] += {a}
        db[i] = db[i] + r * v.a[i] ** 2
    d.a = da
    d.b = db
"""
DICTIONARY = """
def backward(xp, v, t, d):
    r = 2 * (t.s - v.y)
    grads = {{}}
    grads["a"] = {a}
    grads["b"] = r * v.a ** 2
    for name, g in grads.items():
        setattr(d, name, g)
"""
HELPER = """
def scaled(r, x):
    once = r * x
    return {twice}

def backward(xp, v, t, d):
    r = 2 * (t.s - v.y)
    d.a = 2 * r * v.a * v.b
    d.b = scaled({r}, v.a)
"""
IN_PLACE = """
def backward(xp, v, t, d):
    d.s = t.s.copy()
    d.s[np.arange(3)] -= v.y
    d.s *= {factor}
    d.b = d.s * v.a * v.a
    d.a = (lambda g: g * v.b * v.a)({two} * d.s)
"""


@pytest.mark.parametrize(
    ("backward", "expected"),
    [
        (LOCALS.format(g="r * v.a * v.b", a="out"), []),
        (
            LOCALS.format(g="r * v.a", a="out"),
            [["d.a = out", "g = r * v.a", "k = 2 * g", "out = k"]],
        ),
        (LOOP.format(a="2 * r * v.a[i] * v.b[i]"), []),
        (LOOP.format(a="r * v.a[i] * v.b[i]"), [["d.a = da", "da[i] += r * v.a[i] * v.b[i]"]]),
        (DICTIONARY.format(a="2 * r * v.a * v.b"), []),
        (DICTIONARY.format(a="2 * r * v.b"), [['grads["a"] = 2 * r * v.b']]),
        (HELPER.format(r="r", twice="once * x"), []),
        (HELPER.format(r="-r", twice="once * x"), [["d.b = scaled(-r, v.a)", "once = r * x", "return once * x"]]),  # noqa: E501
        (IN_PLACE.format(factor=2, two=2), []),
        (IN_PLACE.format(factor=2, two=3), [["d.a = (lambda g: g * v.b * v.a)(3 * d.s)"]]),
        (
            IN_PLACE.format(factor=3, two=2),
            [["d.s *= 3", "d.s = t.s.copy()", "d.s[np.arange(3)] -= v.y"]],
        ),
    ],
)  # fmt: skip
def test_all_lines_on_the_way_to_a_wrong_gradient_are_listed_and_no_other(backward, expected):
    assert suspects(SQUARES, backward) == expected


def test_a_helper_that_serves_a_right_gradient_is_not_suspect():
    backward = """
def times(r, x):
    once = r * x
    return once * x

def backward(xp, v, t, d):
    r = 2 * (t.s - v.y)
    d.b = times(r, v.a)
    d.a = times(2 * r, v.b)
"""
    assert suspects(SQUARES, backward) == [["d.a = times(2 * r, v.b)"]]


CROSS_ENTROPY = (
    {
        "inputs": {"x": (3, 2), "y": (3,)},
        "parameters": {"w": (2, 4)},
        "sampling": {"y": sampling.integers(0, 4)},
    },
    """
def loss(xp, v):
    z = v.x @ v.w
    chosen = xp.sum(xp.where(xp.arange(4) == v.y[:, None], z, 0.0), axis=1)
    return xp.sum(xp.log(xp.sum(xp.exp(z), axis=1)) - chosen)

def forward(xp, v, t):
    t.z = v.x @ v.w
    e = np.exp(t.z)
    t.n = np.sum(e, axis=1)
    t.p = e / t.n[:, None]
    t.loss = np.sum(np.log(t.n) - t.z[np.arange(3), v.y])
""",
)


@pytest.mark.parametrize("copy", ["", "    d.z = dz\n"])
@pytest.mark.parametrize(
    ("first", "second", "wrong"), [("t.p", 1, None), ("t.p", 2, 1), ("2 * t.p", 1, 0)]
)
def test_of_labels_subtracted_in_place_the_one_line_is_named(copy, first, second, wrong):
    z = "dz" if copy else "d.z"
    lines = [f"{z} = {first} + 0", f"{z}[np.arange(3), v.y] -= {second}"]
    body = "".join(f"    {line}\n" for line in lines) + copy + "    d.w = v.x.T @ d.z\n"
    expected = [] if wrong is None else [[lines[wrong]]]
    if wrong == 0 and copy:  # all elements are wrong, and all came that way
        expected = [["d.z = dz", lines[0]]]
    assert suspects(CROSS_ENTROPY, f"\ndef backward(xp, v, t, d):\n{body}") == expected


STENCIL = (
    {"inputs": {"y": (4,)}, "parameters": {"u": (6,)}},
    """
def loss(xp, v):
    return xp.sum((v.u[2:] - 3 * v.u[1:-1] + v.u[:-2] - v.y) ** 2)

def forward(xp, v, t):
    t.r = v.u[2:] - 3 * v.u[1:-1] + v.u[:-2] - v.y
    t.loss = np.sum(t.r * t.r)
""",
)


@pytest.mark.parametrize("wrong", [None, 0, 1, 2])
def test_of_a_stencils_lines_the_one_is_named(wrong):
    lines = ["du[1:-1] -= 6 * t.r", "du[2:] += 2 * t.r", "du[:-2] += 2 * t.r"]
    if wrong is not None:
        lines[wrong] = lines[wrong].replace("* t.r", "* 1.5 * t.r")
    body = "\n    ".join(["du = np.zeros_like(v.u)", *lines, "d.u = du"])
    found = suspects(STENCIL, f"\ndef backward(xp, v, t, d):\n    {body}\n")
    assert found == ([] if wrong is None else [[lines[wrong]]])


STEPS = (
    {"inputs": {"x": (5,), "y": ()}, "parameters": {"w": (5,)}},
    """
def loss(xp, v):
    return sum((v.w[k] * v.x[k] - v.y) ** 2 for k in range(5))

def forward(xp, v, t):
    t.z = [v.w[k] * v.x[k] for k in range(5)]
    total = 0.0
    for k in range(5):
        total = total + (t.z[k] - v.y) ** 2
    t.loss = total
""",
)


def test_a_line_that_is_wrong_in_every_step_is_one_finding():
    backward = """
def backward(xp, v, t, d):
    d.z = [None] * 5
    dw = np.zeros_like(v.w)
    for k in range(5):
        d.z[k] = 3 * (t.z[k] - v.y)
        dw[k] = d.z[k] * v.x[k]
    d.w = dw
"""
    fields, passes = STEPS
    model, _ = written(passes + backward, **fields)
    (finding,) = diagnose(model, draw_model(model, 0, 0, 8)).findings
    assert finding.line.source == "d.z[k] = 3 * (t.z[k] - v.y)"
    assert finding.line.through == ()
    assert "1.5 times" in finding.explanation
    assert finding.explanation.endswith("in each of steps 0 to 4")


def scaled_backward(scale, xp, v, t, d):
    d.a = scale * (t.s - v.y) * v.a * v.b
    d.b = 2 * (t.s - v.y) * v.a**2


@pytest.mark.parametrize("scale", [4, 5])
def test_a_pass_may_be_a_partial_function(scale):
    fields, passes = SQUARES
    plain, _ = written(passes + "\ndef backward(xp, v, t, d): pass\n", **fields)
    backward = partial(scaled_backward, scale)
    model = Model("p", loss=plain.loss, forward=plain.forward, backward=backward, **fields)
    found = diagnose(model, draw_model(model, 0, 0, 6)).findings
    named = [(finding.quantity, finding.line.source) for finding in found]
    assert named == ([] if scale == 4 else [("d.a", "d.a = scale * (t.s - v.y) * v.a * v.b")])


def test_an_adjoint_that_is_meant_another_way_is_not_blamed():
    backward = """
def backward(xp, v, t, d):
    d.s = t.s - v.y
    d.b = 2 * d.s * v.a * v.a
    d.a = 3 * d.s * v.a * v.b
"""
    assert suspects(SQUARES, backward) == [["d.a = 3 * d.s * v.a * v.b"]]


def test_two_names_of_one_array_follow_each_other():
    backward = """
def backward(xp, v, t, d):
    g = t.s - v.y
    d.s = g
    g *= 2
    d.b = d.s * v.a * v.a
    d.a = 2 * d.s * v.a * v.b
"""
    assert suspects(SQUARES, backward) == []


def test_a_wrong_forward_line_is_found_behind_variables():
    fields, passes = SQUARES
    wrong = passes.replace("t.s = v.a * v.a * v.b", "p = v.a + v.a\n    q = p * v.b\n    t.s = q")
    backward = "\ndef backward(xp, v, t, d):\n    d.a = v.a\n    d.b = v.b\n"
    found = suspects((fields, wrong), backward)
    assert found == [["p = v.a + v.a", "q = p * v.b", "t.s = q"]]


def test_an_edited_file_shows_its_new_text(tmp_path):
    file = tmp_path / "edited.py"
    fields, passes = SQUARES
    for factor in (3, 5):
        line = f"d.a = {factor} * (t.s - v.y) * v.a * v.b"
        source = (
            f"import numpy as np\n{'# longer' * factor}\n{passes}\ndef backward(xp, v, t, d):\n"
        )
        source += f"    {line}\n    d.b = 2 * (t.s - v.y) * v.a ** 2\n"
        file.write_text(source)
        namespace = {}
        exec(compile(source, str(file), "exec"), namespace)  # noqa: S102
        parts = {name: namespace[name] for name in ("loss", "forward", "backward")}
        model = Model("edited", **parts, **fields)
        (finding,) = diagnose(model, draw_model(model, 0, 0, 6)).findings
        assert finding.line.source == line


RECURRENCE = (
    {"inputs": {"x": (), "y": ()}, "parameters": {"w": ()}},
    """
N = {steps}

def loss(xp, v):
    h = v.x
    for k in range(N):
        h = v.w * h + v.x
    return (h - v.y) ** 2

def forward(xp, v, t):
    t.h[0] = v.x
    for k in range(N):
        t.h[k + 1] = v.w * t.h[k] + v.x
    t.loss = (t.h[N] - v.y) ** 2

def backward(xp, v, t, d):
    dw = 0.0 * v.w
    d.h[N] = 2 * (t.h[N] - v.y)
    for k in reversed(range(N)):
        dw += d.h[k + 1] * t.h[k]
        d.h[k] = 2 * v.w * d.h[k + 1]
    d.w = dw
""",
)


def recurrence(steps):
    fields, passes = RECURRENCE
    return written(passes.format(steps=steps), **fields)[0]


def test_work_grows_with_the_steps():
    counts = []
    for steps in (10, 20):
        model = recurrence(steps)
        with precision(128):
            sample = next(each_sample(model, draw_model(model, 0, 0, 1)))
            counts.append(record(model, sample, Statements(), 10**6, loss=True).operations)
    assert counts[1] < 2.1 * counts[0]


def test_progress_is_told():
    told, model = [], recurrence(5)
    result = diagnose(model, draw_model(model, 0, 0, 4), progress=told.append)
    assert [f.line.source for f in result.findings] == ["d.h[k] = 2 * v.w * d.h[k + 1]"]
    assert result.left == ""
    assert told == sorted(told)
    assert len(told) == 5
    assert told[-1] == 1


def test_a_budget_that_is_spent_is_told():
    model = recurrence(20)
    result = diagnose(model, draw_model(model, 0, 0, 4), budget=50)
    assert result.findings == ()
    assert "more than the 50 operations" in result.left


def test_a_long_recurrence_is_no_harder():
    model = recurrence(100)
    result = diagnose(model, draw_model(model, 0, 0, 1))
    assert [f.line.source for f in result.findings] == ["d.h[k] = 2 * v.w * d.h[k + 1]"]
