"""What takes the definition's place is run twice, and its value is compared with the definition."""

import itertools

import numpy as np
import pytest

from gradcheck import Model, Request
from gradcheck.adapters import Adapter
from gradcheck.api import stages
from gradcheck.reports.terminal import print_report


def write(xp, v, t):
    t.loss = xp.sum(v.g * v.x)


def differentiate(xp, v, t, d):
    d.x = v.g


MODEL = Model(
    "dot",
    {"g": (3,)},
    {"x": (3,)},
    lambda xp, v: xp.sum(v.g * v.x),
    write,
    differentiate,
    expressions={"numpy": lambda xp, v: None},
)


def adapter(gradient=lambda values, run: values["g"], value=lambda loss, run: loss):
    """Make an adapter of which each run may depend on how many there were."""

    def prepare(model, dtype):
        runs = itertools.count()
        return lambda values: {"x": gradient(values, next(runs)).astype(dtype)}

    def prepare_value(model, dtype):
        runs = itertools.count()

        def losses(values):
            return value((values["g"] * values["x"]).sum(axis=1), next(runs)).astype(dtype)

        return losses

    return Adapter(prepare, "a test's", "numpy", value=prepare_value)


def swept(register, **parts):
    register({"it": adapter(**parts)})
    request = Request(samples=20, dtypes=("float64", "float32"), audit=0, workers=1)
    *_, report = stages(MODEL, request, lambda fraction: None, block=32)
    return report


def test_an_honest_expression_is_not_suspected(register):
    report = swept(register)
    assert report.run["expressions"] == {}
    assert report.agrees


FAULTS = {
    "a value off by a constant": (
        {"value": lambda loss, run: loss + 3},
        "returns another value than the definition: at sample 0",
    ),
    "a value off by a factor near one": (
        {"value": lambda loss, run: loss * (1 + 2.0**-20)},
        "returns another value than the definition",
    ),
    "a random value": (
        {"value": lambda loss, run: loss * (1 + run)},
        "is random: run twice on the same samples, the loss is",
    ),
    "a random gradient": (
        {"gradient": lambda values, run: values["g"] * (1 + run)},
        "is random: run twice on the same samples, ∂ℓ/∂x is",
    ),
    "a NaN on one of two runs": (
        {"gradient": lambda values, run: values["g"] * (np.nan if run else 1)},
        "is random: run twice",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_an_expression_is_told(fault, register, capsys):
    parts, words = FAULTS[fault]
    report = swept(register, **parts)
    assert not report.agrees
    assert report.run["expressions"]["numpy"].startswith("expressions['numpy']")
    assert words in report.run["expressions"]["numpy"]
    print_report(report, [], "dot")
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(("name", "framework"), [("torch", "torch"), ("jax", "jax")])
def test_frameworks_give_the_value_of_their_expression(name, framework):
    pytest.importorskip(framework)
    for shift, agrees in ((0.0, True), (3.0, False)):
        model = Model(
            "dot", {"g": (3,)}, {"x": (3,)}, lambda xp, v: xp.sum(v.g * v.x), write, differentiate,
            expressions={framework: lambda xp, v, shift=shift: xp.sum(v.g * v.x) + shift},
        )  # fmt: skip
        request = Request(samples=8, adapters=(name,), audit=0, workers=1)
        *_, report = stages(model, request, lambda fraction: None, block=8)
        assert report.run["counts"]["disagree"] == 0
        assert report.agrees is agrees
