"""Functions that compute in two formats: every operation is rounded in its own."""

import numpy as np
import pytest
import torch
from torch.nn import functional

import gradcheck

TENTH = torch.tensor(0.1, dtype=torch.float64)
X = torch.randn(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
MIXED = {
    "a finer one inside": lambda x: (x.double().exp() * 0.1).sum(-1).to(x.dtype),
    "a coarser one inside": lambda x: (x.float().exp() * 0.1).sum(-1).to(x.dtype),
    "a number of another format": lambda x: x * TENTH,
    "an array of another format": lambda x: x * TENTH.expand(3).clone(),
    "a sum in a finer one": lambda x: (x * x).sum(dtype=torch.float64),
    "a softmax in a finer one": lambda x: functional.softmax(x, -1, dtype=torch.float64),
    "a sum into a finer array": lambda x: torch.zeros(4, 3, dtype=torch.float64).add_(x * 3),
    "a sum into a coarser array": lambda x: (x * 3).float().add_(torch.full((4, 3), 0.3).double()),
    "a finer loss of a mask": lambda x: ((x > 0).double() * x.double() ** 2).mean(),
}


class Cube(torch.autograd.Function):
    """Computes its gradient in float64, whatever it is given."""

    factor = 3.0

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x.double() ** 3).to(x.dtype)

    @classmethod
    def slope(cls, x):
        return cls.factor * x.double() ** 2

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return (Cube.slope(x) * g.double()).to(x.dtype)


class ScaledCube(Cube):
    """Has a slope that a float32 would scarcely show."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return (3.000003 * x.double() ** 2 * g.double()).to(x.dtype)


@pytest.mark.parametrize("name", MIXED)
def test_right_functions_of_two_formats_agree(name):
    report = gradcheck.check(MIXED[name], X, samples=3, dtypes=["float64", "float32"])
    assert report.agrees
    assert report.run["counts"]["agree"] >= 60


def test_what_is_computed_in_a_finer_format_is_held_to_it():
    report = gradcheck.check(Cube.apply, X, samples=3, dtypes=["float32"])
    assert report.agrees
    bars = report.discrepancies
    spacing = np.spacing(np.abs(bars["reference"]).astype(np.float32))
    assert (bars["bound"] <= 2 * spacing).all()  # one rounding alone, on either side


def test_a_small_fault_of_a_finer_computation_is_proved():
    report = gradcheck.check(ScaledCube.apply, X, samples=3, dtypes=["float32"])
    assert not report.agrees
    assert report.run["audit"]["refuted"]


@pytest.mark.parametrize(
    "narrow", [torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float8_e5m2]
)
def test_what_is_stored_in_fewer_bits_on_the_way_is_judged(narrow):
    report = gradcheck.check(lambda x: (x.to(narrow).double() * 3).sin(), X, samples=4)
    assert report.agrees
    assert report.summary["max_bound_ratio"].max() > 1e-3


def test_a_format_without_bars_is_refused_by_name():
    report = gradcheck.check(lambda x: x.to(torch.float8_e4m3fnuz).double(), X, samples=1)
    assert not report.agrees
    assert "float8_e4m3fnuz" in " ".join(report.summary["message"])
