"""Faults planted where a check could be blind: branches, deep networks, kinks."""

import textwrap
from dataclasses import replace

import numpy as np
import pytest

import gradcheck
from gradcheck import RequestError, load_model, sampling
from gradcheck.adapters import normal_range
from gradcheck.diagnosis.diagnosis import diagnose
from gradcheck.examples import network
from gradcheck.harness.samples import draw_model
from gradcheck.judge.reference import Passes
from gradcheck.judge.verdict import Verdict, compare
from gradcheck.numbers.rounding import Rounding

MODEL = """
from gradcheck import Model


def loss(xp, v):
    return xp.sum(xp.where(v.x > 0, v.w * v.x, 0.1 * v.w * v.x))


def forward(xp, v, t):
    t.f = v.w * v.x if v.x > 0 else 0.1 * v.w * v.x
    t.loss = t.f * 1.0


def backward(xp, v, t, d):
    if v.x > 0:
        d.w = v.x
    else:
        d.w = {slope} * v.x


M = Model("branch", {{"x": ()}}, {{"w": ()}}, loss, forward, backward)
"""


def write(tmp_path, slope):
    (tmp_path / "branch.py").write_text(textwrap.dedent(MODEL.format(slope=slope)))
    return str(tmp_path / "branch.py")


def test_the_line_of_the_branch_that_is_wrong_is_named(tmp_path):
    settings = {"samples": 40, "adapters": ["complex-step"], "dtypes": ["float64"]}
    assert gradcheck.sweep(write(tmp_path, 0.1), **settings).agrees
    report = gradcheck.sweep(write(tmp_path, 0.2), **settings)
    assert report.diagnosis["source"].tolist() == ["d.w = 0.2 * v.x"]


def test_passes_that_branch_cannot_be_placed_on_kinks(tmp_path):
    with pytest.raises(RequestError, match="kinks: the passes of branch branch on a value"):
        gradcheck.sweep(write(tmp_path, 0.1), samples=10, kinks=True)


def test_declared_ranges_cannot_be_placed_on_kinks():
    small = load_model("network", {"depth": 1, "width": 2})
    unit = dict.fromkeys(("x", "y", "beta", "Omega"), sampling.uniform(-1, 1))
    fixed = replace(small, sampling=unit)
    with pytest.raises(RequestError, match=r"kinks: every number .* has a declared range"):
        gradcheck.sweep(fixed, samples=10, kinks=True)


DEEP = network.build(20, 64)


def test_a_deep_forward_fault_is_not_blamed_on_the_backward_pass():
    def forward(xp, v, t):
        network.forward(xp, v, t)
        t.loss = 1.5 * t.loss

    model = replace(network.build(20, 16), forward=forward)
    found = diagnose(model, draw_model(model, 0, 0, 3)).findings
    assert all(finding.part == "forward" for finding in found)


def test_no_nan_of_a_deep_network_is_excused_as_an_overflow():
    dtype = np.dtype(np.float32)
    passes = Passes(DEEP, draw_model(DEEP, 0, 0, 2, dtype=dtype), Rounding(dtype), bars="auto")
    reference = passes.gradient("Omega.3", normal_range(dtype), 2)
    counts = compare(np.full(reference.value.shape, np.nan, dtype), reference).counts
    assert counts[Verdict.NAN] == counts.sum()
