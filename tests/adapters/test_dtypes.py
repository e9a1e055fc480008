"""A definition creates, and promotes, in the dtype under judgement, whoever differentiates it."""

import threading
from dataclasses import replace

import numpy as np
import pytest

import gradcheck
from gradcheck import Model, sampling
from gradcheck.adapters import all_adapters
from gradcheck.model.model import run_passes

TABLE = np.array([[1.0, 2.0, 0.1], [0.1, 0.2, 0.3], [3.0, 0.7, 0.9]])

LINEAR = {
    # Each is a linear function of w; k is an integer, n three of them, x three floats.
    "eye": lambda xp, v, w: xp.sum(xp.eye(3) * w) / 3,
    "eye @": lambda xp, v, w: xp.sum(xp.eye(3) @ w),
    "zeros": lambda xp, v, w: xp.sum((xp.zeros(3) + 0.1) * w),
    "ones": lambda xp, v, w: xp.sum(xp.ones(3) / 3 * w),
    "full": lambda xp, v, w: xp.sum(xp.full((3,), 0.1) * w),
    "linspace": lambda xp, v, w: xp.sum(xp.linspace(0.0, 1.1, 3) * w),
    "arange": lambda xp, v, w: xp.sum(xp.arange(3.0) / 7 * w),
    "arange of integers": lambda xp, v, w: xp.sum(xp.arange(3) / 7 * w),
    "asarray": lambda xp, v, w: xp.sum(xp.asarray(0.1) * w),
    "asarray of a list": lambda xp, v, w: xp.sum(xp.asarray([0.1, 0.2, 0.3]) * w),
    "asarray of an array": lambda xp, v, w: xp.sum(xp.asarray(TABLE) @ w),
    "tril": lambda xp, v, w: xp.sum(xp.tril(xp.ones((3, 3))) @ w) / 3,
    "zeros_like": lambda xp, v, w: xp.sum((xp.zeros_like(v.n) + 0.1) * w),
    "where": lambda xp, v, w: xp.sum(xp.where(v.x > 0, 1.0, 0.1) * w),
    "where with integers": lambda xp, v, w: xp.sum(xp.where(v.n > 1, v.n, 0.1) * w),
    "integer * scalar": lambda xp, v, w: xp.sum(v.k * 0.1 * w),
    "1 / integer": lambda xp, v, w: xp.sum(1 / v.k * w),
    "integer / integer": lambda xp, v, w: xp.sum(v.k / (v.n + 3) * w),
    "sqrt of an integer": lambda xp, v, w: xp.sum(xp.sqrt(v.k) * w),
    "integers @ floats": lambda xp, v, w: v.n @ w,
    "floats matmul integers": lambda xp, v, w: xp.matmul(w, v.n),
    "tensordot": lambda xp, v, w: xp.tensordot(v.n, w, axes=1),
    "mask @ floats": lambda xp, v, w: (v.x > 0) @ w,
    "mask * floats": lambda xp, v, w: xp.sum((v.x > 0) * w) * 0.1,
    "mask * scalar": lambda xp, v, w: xp.sum((v.x > 0) * 0.1 * w),
    "mask as floats": lambda xp, v, w: xp.sum(xp.astype(v.x > 0, v.x.dtype) * w * 0.1),
    "sum of a mask": lambda xp, v, w: xp.sum(v.x > 0) * 0.1 * xp.sum(w),
    "mean of a mask": lambda xp, v, w: xp.mean(v.x > 0) * xp.sum(w),
    "mean of integers": lambda xp, v, w: xp.mean(v.n) * xp.sum(w),
    "one-hot": lambda xp, v, w: xp.sum((xp.arange(3) == v.k) * w) / 3,
    "one-hot @": lambda xp, v, w: xp.sum((v.n[:, None] == xp.arange(3)[None, :]) @ w) / 3,
}
FEW = ("eye", "where", "integer * scalar", "integers @ floats", "mean of a mask")
"""Where each compilation costs a second."""


def made_of(names):
    """Return a model with the square of each definition, of weights of its own, in its loss."""
    weights = {f"w{i}": LINEAR[name] for i, name in enumerate(names)}

    def forward(xp, v, t):
        t.u = [linear(xp, v, v[w]) for w, linear in weights.items()]
        t.loss = sum(u**2 for u in t.u)

    def backward(xp, v, t, d):
        for i, (w, linear) in enumerate(weights.items()):
            d[w] = 2 * t.u[i] * np.stack([linear(xp, v, unit) for unit in np.eye(3)])

    return Model(
        "dtypes",
        inputs={"x": (3,), "k": (), "n": (3,)},
        parameters=dict.fromkeys(weights, (3,)),
        loss=lambda xp, v: sum(linear(xp, v, v[w]) ** 2 for w, linear in weights.items()),
        forward=forward,
        backward=backward,
        sampling={"k": sampling.integers(1, 3), "n": sampling.integers(0, 3)},
    )


EACH = {
    "torch": LINEAR, "torch-forward": LINEAR, "jax": FEW, "jax-eager": FEW, "complex-step": LINEAR
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("adapter", "names"), EACH.items(), ids=list(EACH))
def test_a_definition_creates_and_promotes_in_the_dtype_under_judgement(
    adapter, names, dtype, settings
):
    if not all_adapters()[adapter].installed:
        pytest.skip(f"{adapter} is not installed")
    model, random = made_of(names), np.random.default_rng(1)
    values = {
        leaf: random.integers(1, 3, (2, *shape))
        if leaf in model.sampling
        else random.normal(size=(2, *shape)).astype(dtype)
        for leaf, shape in model.leaves.items()
    }
    gradients = all_adapters()[adapter].prepare(model, np.dtype(dtype))
    before = settings()
    with np.errstate(all="ignore"):
        found = gradients(values)
    assert settings() == before
    wrong = {}
    for i in range(2):
        row = {leaf: array[i] for leaf, array in values.items()}
        _, _, d = run_passes(
            model, np, {k: a.astype(float) if a.dtype.kind == "f" else a for k, a in row.items()}
        )
        for name, w in zip(names, model.parameters, strict=True):
            array = np.asarray(found[w])
            assert array.dtype == dtype
            if np.abs(array[i] - d[w]).max() > 20 * np.finfo(dtype).eps * (1 + np.abs(d[w]).max()):
                wrong[name] = array[i], d[w]
    assert not wrong


def test_none_of_these_is_blamed_on_anybody():
    report = gradcheck.sweep(made_of(FEW), samples=20, adapters=["torch", "complex-step"], audit=0)
    assert report.agrees
    assert report.summary["agree"].sum() > 0.9 * 2 * 2 * 20 * 3 * len(FEW)


def test_what_is_made_with_pytorch_itself_is_of_that_dtype_too_and_the_default_comes_back():
    torch = pytest.importorskip("torch")

    def broken(xp, v):
        seen.append(torch.eye(3).dtype)
        raise ValueError("late")

    seen = []
    model = replace(made_of(FEW), expressions={"torch": broken})
    for dtype in ("float64", "float32"):
        gradcheck.sweep(model, samples=1, dtypes=[dtype], adapters=["torch"], audit=0)
    assert set(seen[: len(seen) // 2]) == {torch.float64}
    assert set(seen[len(seen) // 2 :]) == {torch.float32}
    assert torch.get_default_dtype() == torch.float32


def test_sweeps_in_two_threads_leave_the_default_as_it_was(settings):
    torch = pytest.importorskip("torch")
    from gradcheck.adapters.torch_mode import judged_in

    inside, over = threading.Event(), threading.Event()

    def other():
        inside.wait()
        with judged_in(np.dtype("float32")):
            over.set()

    thread = threading.Thread(target=other, daemon=True)
    thread.start()
    with judged_in(np.dtype("float64")):
        inside.set()
        assert not over.wait(0.05)  # waits for its turn
    thread.join()
    assert over.is_set()
    assert torch.get_default_dtype() == torch.float32


def test_a_change_in_place_is_not_made_on_a_copy():
    torch = pytest.importorskip("torch")
    from gradcheck.adapters.torch_mode import judged_in

    with judged_in(np.dtype("float64")), pytest.raises(RuntimeError, match="can't be cast"):
        torch.arange(3).add_(0.5)


def test_an_error_of_a_framework_names_the_line(tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "shapes.py").write_text(
        "from gradcheck.examples.chain import MODEL\n"
        "from dataclasses import replace\n"
        "def bad(xp, v):\n"
        "    return xp.sum(xp.ones(3) @ xp.ones(4)) * v.x\n"
        "del_ = replace(MODEL, expressions={'torch': bad})\n"
        "del MODEL\n"
    )
    report = gradcheck.sweep(
        str(tmp_path / "shapes.py"), samples=2, adapters=["torch"], dtypes=["float32"]
    )
    (message,) = set(report.summary["message"])
    assert "(shapes.py, line 4)" in message


def test_complex_steps_through_a_magnitude_over_a_leading_axis_are_exact():
    model = Model(
        "magnitudes",
        {"x": (2,)},
        {"w": (2,)},
        loss=lambda xp, v: xp.sum(xp.abs(v.w * v.x), axis=1),
        forward=lambda xp, v, t: setattr(t, "loss", np.sum(np.abs(v.w * v.x), axis=1)),
        backward=lambda xp, v, t, d: setattr(d, "w", np.sign(v.w * v.x) * v.x),
        batched=True,
    )
    assert gradcheck.sweep(model, samples=20, adapters=["complex-step"], audit=0).agrees


# --- weights that are no parameters of the model


def dense(xp, v):
    return xp.sum(xp.tanh(v.W @ v.x + v.b))


def dense_forward(xp, v, t):
    t.h = np.tanh(v.W @ v.x + v.b)
    t.loss = np.sum(t.h)


def dense_backward(xp, v, t, d):
    d.b = 1 - t.h**2
    d.W = np.outer(d.b, v.x)


DENSE = Model("dense", {"x": (3,)}, {"W": (2, 3), "b": (2,)}, dense, dense_forward, dense_backward)


def swept(expression):
    model = replace(DENSE, expressions={"torch": expression})
    return gradcheck.sweep(model, samples=9, adapters=["torch"], audit=0)


@pytest.mark.parametrize("given", [("weight", "bias"), ("weight",), ()])
def test_a_module_is_differentiated_by_the_weights_that_it_is_given_and_its_own_are_refused(given):
    torch = pytest.importorskip("torch")
    module = torch.nn.Linear(3, 2)

    def expression(xp, v):
        weights = {name: v.W if name == "weight" else v.b for name in given}
        return torch.tanh(torch.func.functional_call(module, weights, v.x)).sum()

    report = swept(expression)
    assert report.agrees == (len(given) == 2)
    for message in report.summary["message"]:
        assert report.agrees or "call it as torch.func.functional_call(module, {" in message


def test_frozen_weights_are_constants():
    torch = pytest.importorskip("torch")
    double = torch.nn.Linear(2, 2, bias=False).requires_grad_(False)
    double.weight.copy_(torch.eye(2))
    assert swept(lambda xp, v: double(xp.tanh(v.W @ v.x + v.b)).sum()).agrees


def test_an_expression_that_does_not_depend_on_a_parameter_is_an_error_that_names_it():
    pytest.importorskip("torch")
    report = swept(lambda xp, v: xp.sum(xp.tanh(v.W @ v.x)) + 0.0)
    (message,) = set(report.summary["message"])
    assert "does not depend on v.b" in message
    assert (report.summary["error"] > 0).all()
