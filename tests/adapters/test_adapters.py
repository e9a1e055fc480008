"""What every adapter promises, and what choosing one says when it cannot be had."""

import importlib.util
import re
from importlib.metadata import entry_points

import numpy as np
import pytest

from gradcheck.adapters import ENTRY_POINT_GROUP, Adapter, all_adapters, choose_adapters
from gradcheck.cli import main
from gradcheck.errors import RequestError
from gradcheck.examples import chain
from gradcheck.harness.samples import draw_samples
from gradcheck.model.model import Model, run_passes

DTYPES = ("float64", "float32")
NAMES = [name for name in all_adapters() if name != "torch-compile"]  # slow; see test_agreement.py


def _matrix_loss(xp, v):
    return ((v.W * v.x).sum((-1, -2)) + v.b - v.y) ** 2


def _matrix_forward(xp, v, t):
    t.f = (v.W * v.x).sum((-1, -2)) + v.b
    t.loss = (t.f - v.y) ** 2


def _matrix_backward(xp, v, t, d):
    d.f = 2 * (t.f - v.y)
    d.W, d.b = d.f[:, None, None] * v.x, d.f


MATRIX = Model(
    name="matrix",
    inputs={"x": (2, 3), "y": ()},
    parameters={"W": (2, 3), "b": ()},
    loss=_matrix_loss,
    forward=_matrix_forward,
    backward=_matrix_backward,
    batched=True,
)


def gradients_of(name, model, dtype, samples=5):
    """Return the values drawn, an adapter's gradients, and those of the hand-written pass."""
    adapter = all_adapters()[name]
    if not adapter.installed:
        pytest.skip(f"{adapter.framework} is not installed")
    values = {
        key: array.astype(dtype)
        for key, array in draw_samples(model.leaves, 1, 0, samples, dtype=dtype).items()
    }
    for array in values.values():
        array.flags.writeable = False
    with np.errstate(all="ignore"):
        found = adapter.prepare(model, np.dtype(dtype))(values)
    _, _, d = run_passes(model, np, {key: array.astype("float64") for key, array in values.items()})
    return {key: np.asarray(array) for key, array in found.items()}, d


def test_eleven_adapters_are_registered_and_load():
    points = entry_points(group=ENTRY_POINT_GROUP)
    assert sorted(point.name for point in points) == [
        "central-difference",
        "closed-form",
        "complex-step",
        "finite-difference",
        "hand-written",
        "jax",
        "jax-eager",
        "jax-forward",
        "torch",
        "torch-compile",
        "torch-forward",
    ]
    assert all(isinstance(adapter, Adapter) for adapter in all_adapters().values())
    assert list(all_adapters()) == sorted(all_adapters())


def test_only_finite_differences_are_not_judged_and_only_the_compiler_waits_to_be_asked():
    adapters = all_adapters()
    assert [name for name in adapters if not adapters[name].judged] == [
        "central-difference",
        "finite-difference",
    ]
    assert [name for name in adapters if not adapters[name].by_default] == ["torch-compile"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_an_adapter_returns_a_gradient_per_sample_in_the_dtype_it_was_given(name, dtype):
    found, d = gradients_of(name, chain.MODEL, dtype)
    assert set(found) == set(all_adapters()[name].gradients(chain.MODEL))
    for key, array in found.items():
        assert (array.shape, array.dtype) == ((5,), dtype)
        if all_adapters()[name].judged:
            np.testing.assert_allclose(array, d[key], rtol=1e-10 if dtype == "float64" else 1e-3)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in NAMES if name != "closed-form"])
def test_parameters_may_be_matrices(name, dtype):
    found, d = gradients_of(name, MATRIX, dtype)
    assert {key: array.shape for key, array in found.items()} == {"W": (5, 2, 3), "b": (5,)}
    exact = all_adapters()[name].judged
    for key, array in found.items():
        assert array.dtype == dtype
        if exact or dtype == "float64":
            rtol = 100 * np.finfo(dtype).eps if exact else 1e-3
            np.testing.assert_allclose(array, d[key], rtol=rtol)


@pytest.mark.parametrize("name", ["closed-form", "complex-step", "torch", "jax"])
def test_one_sample_is_enough(name):
    found, _ = gradients_of(name, chain.MODEL, "float64", samples=1)
    assert {array.shape for array in found.values()} == {(1,)}


@pytest.mark.parametrize("name", ["torch", "torch-forward", "jax"])
def test_an_adapter_leaves_the_settings_of_its_framework_as_they_were(name, settings):
    framework = all_adapters()[name].framework
    pytest.importorskip(framework, reason=f"{framework} is not installed")
    before = settings()
    for dtype in DTYPES:
        gradients_of(name, MATRIX, dtype)
    assert settings() == before


def test_a_parameter_that_the_loss_does_not_use_has_gradient_zero():
    def write(d, w, idle):
        d.w, d.idle = w, idle

    unused = Model(
        name="unused",
        inputs={"x": ()},
        parameters={"w": (), "idle": (2,)},
        loss=lambda xp, v: (v.w * v.x) ** 2,
        forward=lambda xp, v, t: setattr(t, "loss", (v.w * v.x) ** 2),
        backward=lambda xp, v, t, d: write(d, 2 * v.w * v.x * v.x, 0 * v.idle),
    )
    for name in NAMES:
        if name == "closed-form" or not all_adapters()[name].installed:
            continue
        found, _ = gradients_of(name, unused, "float64")
        assert found["idle"].shape == (5, 2)
        assert not found["idle"].any()


# --- choosing


def test_a_mistyped_adapter_is_answered_with_the_nearest():
    with pytest.raises(RequestError, match=r"adapters: .*'tortch'; did you mean 'torch'\?"):
        choose_adapters(["complex-step", "tortch"], chain.MODEL)


def test_an_adapter_like_no_other_is_answered_with_all_of_them():
    with pytest.raises(RequestError, match="there are: central-difference, closed-form, complex"):
        choose_adapters(["zzz"], chain.MODEL)


def test_no_adapter_at_all_is_refused():
    with pytest.raises(RequestError, match="adapters: none given; choose among central"):
        choose_adapters([], chain.MODEL)


def test_an_adapter_with_nothing_to_say_is_refused_by_name_and_left_out_by_default():
    with pytest.raises(RequestError, match=r"adapters: closed-form has nothing for .*matrix"):
        choose_adapters(["closed-form"], MATRIX)
    assert "closed-form" not in choose_adapters(None, MATRIX)
    assert "closed-form" in choose_adapters(None, chain.MODEL)


@pytest.mark.parametrize("name", ["torch", "torch-compile", "jax", "jax-eager"])
def test_a_missing_framework_is_named_with_the_command_that_installs_it(name, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None)
    framework = name.partition("-")[0]
    command = rf"install it with: python -m pip install {framework}$"
    with pytest.raises(RequestError, match=f"adapters: {name} needs {framework}.*{command}"):
        choose_adapters([name], chain.MODEL)


def test_adapters_whose_framework_is_missing_are_left_out_by_default(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None)
    assert list(choose_adapters(None, chain.MODEL)) == [
        "central-difference",
        "closed-form",
        "complex-step",
        "finite-difference",
        "hand-written",
    ]


def test_adapters_come_in_the_order_asked_for_each_once():
    chosen = choose_adapters(["complex-step", "closed-form", "complex-step"], chain.MODEL)
    assert list(chosen) == ["complex-step", "closed-form"]


# --- other packages' adapters


BROKEN = {
    "raise ImportError('no libtheirs.so')": "ImportError: no libtheirs.so",
    "import sys\nsys.exit(0)": "SystemExit: 0",
    "x = 1": "AttributeError: module 'their_adapter' has no attribute 'ADAPTER'",
    "ADAPTER = 3": "their_adapter:ADAPTER is no gradcheck.adapters.Adapter, but int",
}


@pytest.mark.parametrize(("text", "reason"), BROKEN.items())
def test_a_broken_adapter_is_refused_if_it_is_asked_for_and_listed_with_its_error(
    text, reason, third_party, capsys, tmp_path
):
    third_party(text)
    with pytest.raises(RequestError, match=re.escape(f"adapters: theirs is broken: {reason}")):
        choose_adapters(["theirs"], chain.MODEL)
    assert "torch" in all_adapters()
    assert main(["adapters"]) == 0
    listed = " ".join(capsys.readouterr().out.split())
    assert "theirs broken" in listed
    assert reason.split()[-1] in listed


def test_a_broken_adapter_is_noted_and_left_out_by_default(third_party, capsys, monkeypatch):
    def stages(model, request, progress, **settings):
        raise RequestError("", f"was asked for {request.adapters}")

    monkeypatch.setattr("gradcheck.api.stages", stages)
    third_party("raise ImportError('no libtheirs.so')")
    assert "theirs" not in choose_adapters(None, chain.MODEL)
    main(["sweep", "--adapters", "complex-step"])
    assert capsys.readouterr().err == "gradcheck: was asked for ('complex-step',)\n"
    main(["sweep"])
    note, asked = capsys.readouterr().err.splitlines()
    assert note.endswith("left out: theirs, which is broken: ImportError: no libtheirs.so")
    assert asked == "gradcheck: was asked for None"


def test_a_sound_adapter_of_another_package_is_one_like_others(third_party):
    third_party("from gradcheck.adapters.steps import complex_step as ADAPTER")
    assert list(choose_adapters(["theirs"], chain.MODEL)) == ["theirs"]
