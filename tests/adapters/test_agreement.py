"""Every judged adapter agrees with the hand-written pass, on every model, in every dtype."""

import functools
import shutil

import pytest

from gradcheck import Request, load_model
from gradcheck.adapters import all_adapters
from gradcheck.engine.model import Model
from gradcheck.harness.sweep import BLOCK, run_sweep
from gradcheck.harness.verdict import Verdict

MODELS = ("chain",)
DTYPES = ("float64", "float32")
SCALES = (0.5, 1.0, 3.0, 6.0)
ADAPTERS = {
    name: adapter
    for name, adapter in all_adapters().items()
    if adapter.judged and name != "torch-compile"
}
INFORMATIVE = {0.5: 0.999, 1.0: 0.999, 3.0: 0.98, 6.0: 0.85}
"""At each scale, at least this share of the comparisons proves something."""


@functools.cache
def tallies_of(model, scale, among=tuple(ADAPTERS)):
    """Sweep one whole block with every adapter that is installed."""
    installed = tuple(name for name in among if ADAPTERS[name].installed)
    request = Request(samples=BLOCK, scale=scale, adapters=installed)
    return run_sweep(load_model(model), request).tallies


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("model", MODELS)
def test_every_gradient_agrees(model, adapter, dtype, scale):
    if not ADAPTERS[adapter].installed:
        pytest.skip(f"{ADAPTERS[adapter].framework} is not installed")
    for gradient in ADAPTERS[adapter].gradients(load_model(model)):
        tally = tallies_of(model, scale)[adapter, dtype, gradient]
        assert tally.compared == tally.counts.sum() == BLOCK
        assert tally.counts[Verdict.DISAGREE] == 0
        assert tally.counts[Verdict.ERROR] == 0, tally.errors
        assert tally.counts[Verdict.AGREE] >= INFORMATIVE[scale] * BLOCK
        assert tally.max_ratio <= 1


@pytest.mark.parametrize("scale", [1e-30, 1e10])
@pytest.mark.parametrize("model", MODELS)
def test_where_numbers_underflow_or_overflow_nothing_disagrees(model, scale):
    among = ("complex-step", "torch", "jax")
    for key, tally in tallies_of(model, scale, among).items():
        assert not tally.counts[Verdict.DISAGREE], key
        assert not tally.errors, key


@pytest.mark.filterwarnings("ignore")  # PyTorch's compiler warns of what it does itself
@pytest.mark.skipif(not shutil.which("c++"), reason="PyTorch's compiler needs a C++ compiler")
def test_compiled_pytorch_agrees():
    if not all_adapters()["torch-compile"].installed:
        pytest.skip("torch is not installed")
    product = Model(
        name="product",
        inputs={"x": ()},
        parameters={"w": ()},
        loss=lambda xp, v: xp.sin(v.w * v.x),
        forward=_product_forward,
        backward=_product_backward,
    )
    request = Request(samples=BLOCK, dtypes=("float64",), adapters=("torch-compile",))
    tally = run_sweep(product, request).tallies["torch-compile", "float64", "w"]
    assert not tally.errors
    assert tally.counts[Verdict.DISAGREE] == 0
    assert tally.counts[Verdict.AGREE] > 0.999 * BLOCK


def _product_forward(xp, v, t):
    t.f = v.w * v.x
    t.loss = xp.sin(t.f)


def _product_backward(xp, v, t, d):
    d.f = xp.cos(t.f)
    d.w = v.x * d.f
