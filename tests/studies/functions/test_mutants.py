"""Mutants differ from their pass in one expression of the backward pass, and show its line."""

import inspect
import linecache
import traceback

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("jax")

from studies.functions import passes, passes_jax  # noqa: E402
from studies.functions.corpus import gradients  # noqa: E402
from studies.functions.mutants import EXPONENTS, KINDS, make_mutants  # noqa: E402
from studies.functions.subjects import FRAMEWORKS, SUBJECTS  # noqa: E402

COMPARED = "slope = torch.where(torch.abs(r) > DELTA, r, DELTA * torch.sign(r))"
MUTANTS = {subject: make_mutants(subject) for subject in SUBJECTS}
ORIGINALS = {
    framework: linecache.getlines(module.__file__)
    for framework, module in zip(FRAMEWORKS, (passes, passes_jax), strict=True)
}


def mutant(subject, mutated):
    (found,) = (one for one in MUTANTS[subject] if one.mutated == mutated)
    return found


@pytest.mark.parametrize(
    ("subject", "kind", "mutated"),
    [
        ("gelu", "sign", "t = -torch.tanh(c * (x + 0.044715 * x ** 3))"),
        ("layer_norm", "sign", "dx = rstd * (dxhat + mean - xhat * projection)"),
        ("layer_norm", "operator", "dxhat = g / weight"),
        ("conv1d", "operator", "dx[:, :, i:i + width] -= tap"),
        ("layer_norm", "dropped", "dxhat = g"),
        ("layer_norm", "added", "dxhat = g * weight * weight"),
        ("cross_entropy", "dropped", "return (g * (p - hot), None)"),
        ("cross_entropy", "added", "return (0.5 * (g * (p - hot) / batch), None)"),
        ("gru_step", "scaled", "dn = g * ((1 - 2**-30) * (1 - z)) * (1 - n * n)"),
        ("gru_step", "name", "dz = g * (h - n) * z * (1 - r)"),
        ("gelu", "function", "t = torch.sigmoid(c * (x + 0.044715 * x ** 3))"),
        ("attention", "function", "p = torch.triu(torch.exp(q @ k.t() * scale - norm))"),
        ("attention", "transpose", "dp = g @ v"),
        ("attention", "transpose", "return (ds.mT @ k, ds.t() @ q, dv)"),
        ("layer_norm", "axis", "dbias = g.sum(-1)"),
        ("layer_norm", "axis", "dbias = g"),
        ("rms_norm", "axis", "dot = (gw * x).sum()"),
        ("huber", "comparison", COMPARED),
        ("gelu", "constant", "du = c * (1 + 2 * 0.044715 * x ** 2)"),
        ("gelu", "constant", "du = c * (1 + 3 * 0.044715 * x ** 3)"),
        ("jax.layer_norm", "sign", "dx = rstd * (dxhat + mean - xhat * projection)"),
        ("jax.attention", "transpose", "dp = g @ v"),
        ("jax.conv1d", "scaled", "dx = dx.at[:, :, i:i + width].add((1 + 2**-9) * tap)"),
        ("jax.kalman_update", "name", "dk = jnp.outer(gp, y) - gp @ p.T @ h.T"),
    ],
)  # fmt: skip
def test_a_fault_is_among_the_mutants(subject, kind, mutated):
    assert mutant(subject, mutated).kind == kind


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_there_are_ten_thousand_every_kind_occurs_and_none_twice(framework):
    of_framework = {k: v for k, v in MUTANTS.items() if SUBJECTS[k].framework == framework}
    every = [one for some in of_framework.values() for one in some]
    assert len(every) > 10_000
    assert {one.kind for one in every} == set(KINDS)
    assert {one.exponent for one in every} == {None, *EXPONENTS}
    for some in MUTANTS.values():
        assert len({(one.line, one.mutated) for one in some}) == len(some)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_mutant_differs_from_the_pass_in_one_line_and_shows_it(subject):
    written = ORIGINALS[SUBJECTS[subject].framework]
    lines, first = inspect.getsourcelines(SUBJECTS[subject].function.backward)
    for one in MUTANTS[subject][::97]:
        assert inspect.getsourcefile(one.function) == one.file
        shown = linecache.getlines(one.file)
        differing = [
            number
            for number, (line, right) in enumerate(zip(shown, written, strict=True), start=1)
            if line != right
        ]
        assert differing == [one.line]
        assert first < one.line < first + len(lines)
        assert shown[one.line - 1].strip() == one.mutated
        assert written[one.line - 1].strip() == one.original
        assert "ctx" not in one.original
        assert "saved" not in one.original


def test_the_fault_is_in_what_runs():
    one = mutant("huber", "d = 2 * (g * slope / r.numel())")
    inputs = SUBJECTS["huber"].make_inputs("float64", 0)
    wrong = gradients(one.function.apply, inputs, 0)
    right = gradients(passes.Huber.apply, inputs, 0)
    assert all(torch.equal(a, 2 * b) for a, b in zip(wrong, right, strict=True))


def test_a_traceback_shows_the_faulty_line():
    one = mutant("swiglu", "ddown = (silu * b).t() * g")
    with pytest.raises(RuntimeError) as caught:
        gradients(one.function.apply, SUBJECTS["swiglu"].make_inputs("float64", 0), 0)
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert (one.file, one.line, one.mutated) in [(f.filename, f.lineno, f.line) for f in frames]
