"""Mutants differ from their pass in one expression, run on all numbers, and show their line."""

import linecache
import traceback
from dataclasses import replace

import flint
import numpy as np
import pytest
from studies.mutants import EXPONENTS, KINDS, make_mutants, round_to_float32

from gradcheck.examples import chain
from gradcheck.judge.reference import Passes
from gradcheck.model.board import Blackboard, Given
from gradcheck.model.loading import load_model
from gradcheck.model.model import run_passes
from gradcheck.numbers.ball import Ball, Rounding
from gradcheck.truth.derivative import enclose_gradients

MUTANTS = make_mutants(chain.MODEL)
ORIGINAL = linecache.getlines(chain.__file__)
FLOAT64 = Rounding(np.dtype(np.float64))
ROUNDED = float(np.float32(0.1))


def mutant(description):
    (found,) = (m for m in MUTANTS if m.description == description)
    return found


@pytest.mark.parametrize(
    ("kind", "description"),
    [
        ("index", "d.beta1 = d.f1 → d.f2"),  # the slip in the notebook
        ("name", "d.h2 = v.omega2 * d.f2 → v.beta2 * d.f2"),
        ("dropped", "d.h2 = v.omega2 * d.f2 → d.f2"),
        ("doubled", "d.h2 = v.omega2 * d.f2 → v.omega2 * v.omega2 * d.f2"),
        ("sign", "d.f3 = 2 * (t.f3 - v.y) → 2 * (t.f3 + v.y)"),
        ("sign", "d.f2 = -xp.sin(t.f2) * d.h3 → xp.sin(t.f2) * d.h3"),
        ("sign", "d.beta0 = d.f0 → -d.f0"),
        ("function", "d.f0 = xp.cos(t.f0) * d.h1 → xp.sin(t.f0) * d.h1"),
        ("float32", "d.f2 = -xp.sin(t.f2) * d.h3 → -xp.sin(float32(t.f2)) * d.h3"),
        ("constant", "d.f3 = 2 * (t.f3 - v.y) → 2 * (1 + 2 ** (-44)) * (t.f3 - v.y)"),
        ("adjoint", "d.f1 = t.h2 * d.h2 → t.h2 * d.h2 * (1 + 2 ** (-48))"),
    ],
)
def test_a_fault_is_among_the_mutants(kind, description):
    assert mutant(description).kind == kind


def test_every_kind_occurs_and_no_mutant_twice():
    assert {m.kind for m in MUTANTS} == set(KINDS)
    assert [m.id for m in MUTANTS] == list(range(len(MUTANTS)))
    assert len({m.description for m in MUTANTS}) == len(MUTANTS)
    assert {m.exponent for m in MUTANTS} == {None, *EXPONENTS}


def test_a_mutant_differs_from_the_pass_in_one_line_and_shows_it():
    for m in MUTANTS[::7]:
        m.backward  # noqa: B018 - compiles it
        lines = linecache.getlines(m.filename)
        assert [
            number
            for number, pair in enumerate(zip(lines, ORIGINAL, strict=True), start=1)
            if pair[0] != pair[1]
        ] == [m.line]
        assert m.mutated in lines[m.line - 1]


def test_only_what_was_written_before_can_be_read():
    values = {name: np.array([value]) for name, value in chain.MODEL.example.items()}
    for m in MUTANTS:
        with np.errstate(all="ignore"):
            run_passes(replace(chain.MODEL, backward=m.backward), np, values)


def test_a_traceback_shows_the_faulty_line():
    m = mutant("d.h2 = v.omega2 * d.f2 → v.beta2 * d.f2")
    v, t, d = Given(chain.MODEL.example), Blackboard(), Blackboard()
    chain.forward(np, v, t)
    v = Given({name: v[name] for name in v if name != "beta2"})
    with pytest.raises(AttributeError, match="beta2") as caught:
        m.backward(np, v, t, d)
    frames = traceback.extract_tb(caught.value.__traceback__)
    faulty = [(frame.lineno, frame.line) for frame in frames if frame.name == "backward"]
    assert faulty == [(m.line, "d.h2 = v.beta2 * d.f2")]


# --- rounding to float32


def test_an_array_is_rounded():
    assert round_to_float32(np.array([0.1])) == [ROUNDED]
    assert round_to_float32(np.float64(0.1)) == ROUNDED


def test_a_ball_keeps_its_radius():
    ball = Ball(np.array([0.1]), np.array([1e-16]), FLOAT64)
    rounded = round_to_float32(ball)
    assert (rounded.mid, rounded.rad) == ([ROUNDED], [1e-16])


def test_an_arb_number_keeps_its_radius():
    (rounded,) = round_to_float32(np.array([flint.arb(0.1, 1e-16)], dtype=object))
    assert rounded.mid() == flint.arb(ROUNDED)
    assert rounded.rad() >= flint.arb(1e-16)


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_a_frameworks_array_keeps_its_dtype(framework):
    package = pytest.importorskip(framework)
    if framework == "torch":
        value = package.tensor([0.1], dtype=package.float64)
        assert round_to_float32(value).dtype == package.float64
        assert round_to_float32(value).tolist() == [ROUNDED]
    else:
        with package.enable_x64(True):
            value = package.numpy.array([0.1], dtype="float64")
            assert round_to_float32(value).dtype == "float64"
            assert round_to_float32(value).tolist() == [ROUNDED]


@pytest.mark.parametrize(
    "description",
    [
        "d.f3 = 2 * (t.f3 - v.y) → float32(2 * (t.f3 - v.y))",
        "d.f2 = -xp.sin(t.f2) * d.h3 → -xp.sin(float32(t.f2)) * d.h3",
        "d.omega0 = v.x * d.f0 → float32(v.x) * d.f0",
    ],
)
def test_rounding_to_float32_is_seen_on_balls_and_in_arb(description):
    model = replace(chain.MODEL, backward=mutant(description).backward)
    values = {name: np.array([value]) for name, value in chain.MODEL.example.items()}
    honest, exact = Passes(chain.MODEL, values, FLOAT64), enclose_gradients(chain.MODEL, values)
    faulty, rounded = Passes(model, values, FLOAT64), enclose_gradients(model, values)
    spoilt = {
        name
        for name in chain.MODEL.parameters
        if abs(faulty.d[name].mid - honest.d[name].mid) > honest.d[name].rad + faulty.d[name].rad
    }
    assert spoilt
    assert spoilt == {name for name in exact if not exact[name][0].overlaps(rounded[name][0])}


# --- other ways of writing a pass

WRAPPED = """\
from gradcheck import Model


def loss(xp, v):
    return v.β * v.x + v.γ1


def forward(xp, v, t):
    t.loss = v.β * v.x + v.γ1


def backward(xp, v, t, d):
    d.loss = v.x / v.x  # not a product: nothing to drop
    d.β = (
        v.x
        * d.loss
    )
    d.γ1 = d.loss


m = Model("m", {"x": ()}, {"β": (), "γ1": ()}, loss, forward, backward, example={"x": 2.0, "β": 1.0, "γ1": 3.0})
"""  # noqa: E501


def test_lines_keep_their_numbers_when_an_expression_spans_several(tmp_path):
    file = tmp_path / "wrapped.py"
    file.write_text(WRAPPED, encoding="utf-8")
    mutants = make_mutants(load_model(str(file)))
    (m,) = (m for m in mutants if m.description == "d.β = v.x * d.loss → d.loss")
    m.backward  # noqa: B018 - compiles it
    lines = linecache.getlines(m.filename)
    assert [line.strip() for line in lines[13:17]] == ["d.β = (", "d.loss", "", ")"]
    assert lines[17] == "    d.γ1 = d.loss\n"
    assert not any(m.kind == "dropped" and m.quantity == "loss" for m in mutants)
