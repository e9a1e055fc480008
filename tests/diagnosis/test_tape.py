"""Recorded numbers: their adjoints are the referee's derivatives, and they change in place."""

import numpy as np
import pytest

from gradcheck import Model
from gradcheck.diagnosis.recorded import Recorded, each
from gradcheck.diagnosis.recording import record
from gradcheck.diagnosis.statements import Statements
from gradcheck.diagnosis.tape import CONSTANT_ERROR, OverBudgetError, Tape
from gradcheck.numbers.array import InPlaceError
from gradcheck.truth.derivative import enclose_derivative
from gradcheck.truth.enclosures import precision

VALUES = {"x": np.array([[0.5, -1.25, 2.0]]), "y": np.array([[1.5, 0.25, 3.0]])}


def array(values, tape=None):
    tape = tape or Tape(Statements(), 10**6)
    return Recorded(tape, each(tape.leaf, values))


def floats(number):
    return number.decisive.tolist()


FUNCTIONS = {
    "products": lambda x, y: np.sum(x * y) / (x[0] - y[1]),
    "exp log": lambda x, y: np.sum(np.exp(-x) * np.log(y)),
    "powers": lambda x, y: np.sum(x**3 + y**-2 + y**1.5),
    "roots": lambda x, y: np.sum(np.sqrt(y) * np.abs(x)),
    "circular": lambda x, y: np.sum(np.sin(x) * np.cos(y) + np.tanh(x * y)),
    "matrices": lambda x, y: np.sum((x[:, None] * y) @ y * x),
    "einsum": lambda x, y: np.einsum("i,j,i->", x, y, y),
    "choices": lambda x, y: np.sum(np.where(x > 0, x * y, np.maximum(x, y))),
    "largest": lambda x, y: np.max(x * y) * np.min(y),
    "moved": lambda x, y: np.sum(np.concatenate([x[1:], y[::-1]])[:3] * x.reshape(3)),
    "constants": lambda x, y: np.sum(0.1 * x + y / 3),
    "deviation": lambda x, y: np.var(x) + np.mean(y) * np.std(y),
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_adjoints_are_the_derivatives_by_the_referee(function):
    def loss(xp, v):
        return function(v.x, v.y)

    def forward(xp, v, t):
        t.loss = function(v.x, v.y)

    def backward(xp, v, t, d):
        d.x, d.y = v.x, v.y

    model = Model("f", {}, {"x": (3,), "y": (3,)}, loss, forward, backward)
    sample = {name: values[0] for name, values in VALUES.items()}
    with precision(128):
        recording = record(model, sample, Statements(), 10**5, loss=True)
        for name in ("x", "y"):
            for i in range(3):
                truth = enclose_derivative(model, VALUES, name, (i,), 128)[0]
                found = recording.truth[name][i]
                assert found.overlaps(truth)
                assert float(found.rad()) <= 1e-13 * (1 + abs(float(found.mid())))


def test_numbers_change_in_place():
    x = array([1.0, 2.0, 3.0])
    x[0] = 5
    x[1:] += 1
    x *= 2
    np.subtract(x, 1, out=x)
    assert floats(x) == [9, 5, 7]
    row = x[1:]
    row[0] = 0
    assert floats(x) == [9, 0, 7]
    x[np.array([0, 2])] -= array([1.0, 2.0], x.tape)
    assert floats(x) == [8, 0, 5]
    x[x > 6] = 1
    assert floats(x) == [1, 0, 5]


def test_what_has_two_names_changes_under_both():
    x = array([1.0, 2.0])
    other = x.alias(x.array)
    x *= 3
    assert floats(other) == [3, 6]
    other[0] = 0
    assert floats(x) == [0, 6]
    copy = x.copy()
    copy += 1
    assert floats(x) == [0, 6]


def test_an_input_is_not_changed_in_place():
    def forward(xp, v, t):
        v.x[0] = 1
        t.loss = np.sum(v.x)

    model = Model("f", {}, {"x": (3,)}, lambda xp, v: xp.sum(v.x), forward, forward)
    with precision(64), pytest.raises(InPlaceError):
        record(model, {"x": VALUES["x"][0]}, Statements(), 1000, loss=False)


@pytest.mark.parametrize(
    ("constant", "rounded"), [(2, False), (0.5, False), (1e9, False), (0.1, True), (1 / 3, True)]
)
def test_a_constant_is_as_exact_as_its_mantissa_is_short(constant, rounded):
    error = float(Tape(Statements(), 1).constant(constant).series.rad())
    assert (error >= constant * CONSTANT_ERROR) if rounded else (error == 0)


def test_a_tape_is_no_longer_than_its_budget():
    x = array([1.0, 2.0], Tape(Statements(), 3))
    x = x * x
    with pytest.raises(OverBudgetError):
        x * x


def two_names(bypass):
    """Make a model in which t.b is what t.a is, and used beside it or not."""

    def forward(xp, v, t):
        a = v.x * 3
        t.a = a
        t.b = t.a
        t.loss = np.sum(t.b * t.b + (a if bypass else t.a))

    def backward(xp, v, t, d):
        d.b = 2 * t.b
        d.a = d.b + 1
        d.x = 3 * d.a

    return Model(
        "two", {}, {"x": (3,)}, lambda xp, v: xp.sum(9 * v.x**2 + 3 * v.x), forward, backward
    )


@pytest.mark.parametrize("bypass", [False, True])
def test_quantities_that_are_the_same_number_have_adjoints_of_their_own(bypass):
    with precision(64):
        recording = record(two_names(bypass), {"x": VALUES["x"][0]}, Statements(), 1000, loss=False)
        for name in ("a", "b", "x"):
            for held, truth in zip(recording.d[name], recording.truth[name], strict=True):
                assert held.series.overlaps(truth)
