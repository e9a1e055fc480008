"""A framework's own expression is what its adapters differentiate, and what is judged."""

import re
from dataclasses import replace

import numpy as np
import pytest

import gradcheck
from gradcheck import Model, RequestError, load_model, sampling
from gradcheck.adapters import Adapter, all_adapters

SAMPLES = 40


def loss(xp, v):
    return xp.sum((v.w * v.x) ** 3)


def forward(xp, v, t):
    t.u = v.w * v.x
    t.loss = xp.sum(t.u**3)


def backward(xp, v, t, d):
    d.u = 3 * t.u**2
    d.w = d.u * v.x


CUBES = Model("cubes", {"x": (3,)}, {"w": (3,)}, loss, forward, backward)


def cube_of_torch(factor):
    """Return x³ with the derivative factor·x², by a function without a rule for vmap."""
    torch = pytest.importorskip("torch")

    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * factor * x * x

    return lambda xp, v: xp.sum(Cube.apply(v.w * v.x))


def cube_of_jax(factor):
    """Return x³ with the derivative factor·x²."""
    jax = pytest.importorskip("jax")
    cube = jax.custom_vjp(lambda x: x**3)
    cube.defvjp(lambda x: (x**3, x), lambda x, g: (g * factor * x * x,))
    return lambda xp, v: xp.sum(cube(v.w * v.x))


EXPRESSIONS = {"torch": cube_of_torch, "jax": cube_of_jax}
ADAPTERS = {"torch": ["torch"], "jax": ["jax", "jax-eager"]}
OTHERS = {"torch": "jax", "jax": "torch"}
every_framework = pytest.mark.parametrize("framework", EXPRESSIONS)


def swept(framework, factor, model=CUBES, others=("complex-step",)):
    for name in (framework, *others):
        if not all_adapters()[name].installed:
            pytest.skip(f"{name} is not installed")
    model = replace(model, expressions={framework: EXPRESSIONS[framework](factor)})
    adapters = [*ADAPTERS[framework], *others]
    return gradcheck.sweep(model, samples=SAMPLES, adapters=adapters, workers=1)


@every_framework
def test_a_wrong_derivative_of_an_expression_is_found_and_its_adapter_is_the_culprit(framework):
    report = swept(framework, 2, others=("complex-step", OTHERS[framework]))
    assert not report.agrees
    mine = report.summary["adapter"].isin(ADAPTERS[framework])
    summary = report.summary
    assert (summary[mine]["disagree"] == 3 * SAMPLES).all()
    assert not summary[~mine][["disagree", "error"]].any(axis=None)
    assert (summary[~mine]["agree"] == 3 * SAMPLES).all()
    cases = report.discrepancies.query("verdict == 'disagree'")
    assert set(cases["adapter"]) == set(ADAPTERS[framework])
    refereed = cases[cases["culprit"] != ""]
    assert len(refereed) > 100
    assert (refereed["culprit"] == refereed["adapter"]).all()
    assert not len(report.diagnosis)


@every_framework
def test_a_right_derivative_of_an_expression_agrees(framework):
    report = swept(framework, 3)
    assert report.agrees
    assert (report.summary["agree"] == 3 * SAMPLES).all()


@every_framework
def test_a_wrong_hand_written_pass_is_the_culprit_beside_a_right_expression(framework):
    def wrong(xp, v, t, d):
        d.u = 2 * t.u**2
        d.w = d.u * v.x

    report = swept(framework, 3, model=replace(CUBES, backward=wrong))
    cases = report.discrepancies.query("verdict == 'disagree' and culprit != ''")
    assert set(cases["culprit"]) == {"reference"}


@every_framework
def test_an_error_of_an_expression_is_told_with_its_reason(framework):
    pytest.importorskip(framework)

    def broken(xp, v):
        raise RuntimeError("no such kernel")

    model = replace(CUBES, expressions={framework: broken})
    report = gradcheck.sweep(model, samples=5, adapters=[framework], workers=1)
    assert (report.summary["error"] == 15).all()
    (message,) = set(report.summary["message"])
    assert re.fullmatch(r"RuntimeError: no such kernel \(test_expressions.py, line \d+\)", message)


@every_framework
def test_by_default_a_right_expression_agrees_although_it_has_no_forward_rule(framework):
    for name in EXPRESSIONS:
        pytest.importorskip(name)
    model = replace(CUBES, expressions={framework: EXPRESSIONS[framework](3)})
    report = gradcheck.sweep(model, samples=5, dtypes=["float64"], workers=1)
    assert report.agrees
    assert f"{framework}-forward" not in set(report.summary["adapter"])
    assert {framework, f"{OTHERS[framework]}-forward"} < set(report.summary["adapter"])


@every_framework
def test_a_forward_mode_has_nothing_for_an_expression_of_its_framework(framework):
    pytest.importorskip(framework)
    model = replace(CUBES, expressions={framework: EXPRESSIONS[framework](3)})
    complaint = f"adapters: {framework}-forward has nothing for the model cubes"
    with pytest.raises(RequestError, match=complaint):
        gradcheck.sweep(model, samples=5, adapters=[f"{framework}-forward"])


# --- what the frameworks are given


def picked(xp, v):
    return xp.sum(v.w * v.x) * (v.label + 1)


def picked_forward(xp, v, t):
    t.s = xp.sum(v.w * v.x)
    t.loss = t.s * (v.label + 1)


def picked_backward(xp, v, t, d):
    d.s = v.label + 1.0
    d.w = d.s * v.x


LABELLED = Model(
    "labelled",
    inputs={"x": (3,), "label": ()},
    parameters={"w": (3,)},
    loss=picked,
    forward=picked_forward,
    backward=picked_backward,
    sampling={"label": sampling.integers(0, 4)},
)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_labels_reach_a_framework_as_integers(framework, dtype):
    pytest.importorskip(framework)
    seen = {}

    def watched(xp, v):
        if xp is not np:
            seen.update(label=v.label.dtype, x=v.x.dtype)
        return picked(xp, v)

    models = {
        framework: replace(LABELLED, expressions={framework: watched}),
        f"{framework}-forward": replace(LABELLED, loss=watched),
    }
    for name, model in models.items():
        seen.clear()
        report = gradcheck.sweep(model, samples=9, adapters=[name], dtypes=[dtype], workers=1)
        assert report.agrees
        assert (report.summary["agree"] == 27).all()
        assert str(seen["label"]).removeprefix("torch.") in ("int32", "int64")
        assert str(seen["x"]).removeprefix("torch.") == dtype


def test_labels_reach_an_adapter_as_integers_and_nothing_can_be_changed(register):
    seen = {}

    def gradients(values):
        seen.update(
            {name: (array.dtype.name, array.flags.writeable) for name, array in values.items()}
        )
        return {"w": (values["label"] + 1).astype("float32")[:, None] * values["x"]}

    register({"probe": Adapter(lambda model, dtype: gradients, "for a test")})
    report = gradcheck.sweep(LABELLED, samples=20, dtypes=["float32"], workers=1)
    assert report.run["counts"]["agree"] == 60
    assert seen == {"x": ("float32", False), "label": ("int64", False), "w": ("float32", False)}


@pytest.mark.parametrize("name", ["complex-step", "finite-difference"])
def test_labels_may_be_indices_for_the_numpy_adapters(name):
    report = gradcheck.sweep(
        load_model("softmax-cross-entropy"), samples=50, adapters=[name], workers=1, audit=0
    )
    assert report.agrees == (name == "complex-step")  # finite differences are not judged
    assert not report.summary["error"].any()
