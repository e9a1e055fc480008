"""Plain numbers, real and complex, with a hidden sample axis."""

import numpy as np
import pytest

from gradcheck.numbers.plain import Plain


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
@pytest.mark.parametrize(
    "call",
    [
        lambda x: 0.1 * x + 1,
        lambda x: x / np.float64(3),
        lambda x: np.where(x > 0, x, 0.0),
        lambda x: x * (x > 0),
        lambda x: x @ np.ones(2),
        lambda x: np.stack([x, [1.0, 2.0]]),
        lambda x: np.maximum(x, 0.5),
        lambda x: x.mean(axis=0),
        lambda x: x * np.arange(2),
    ],
)
def test_the_precision_is_kept(call, dtype):
    x = np.array([[0.5, -2.0], [3.0, 1.0]], dtype)
    assert call(Plain(x, 1)).array.dtype == dtype


@pytest.mark.parametrize(
    ("call", "derivative"),
    [
        (abs, lambda x: np.sign(x)),
        (lambda x: np.maximum(x, 0), lambda x: x > 0),
        (lambda x: np.clip(x, -1, 1), lambda x: abs(x) < 1),
        (lambda x: np.where(x < 0, -x, 2 * x), lambda x: np.where(x < 0, -1, 2)),
        (lambda x: np.exp(x) * np.tanh(x), lambda x: np.exp(x) * (np.tanh(x) + np.cosh(x) ** -2.0)),
    ],
)
def test_a_complex_step_differentiates(call, derivative):
    x = np.array([-2.0, -0.25, 0.75, 3.0])
    stepped = call(Plain(x + 1e-30j, 1))
    np.testing.assert_allclose(stepped.array.imag / 1e-30, derivative(x).astype(float), rtol=1e-12)


def test_integers_take_part_in_any_precision():
    label, x = Plain(np.array([1, 2]), 1), Plain(np.float32([0.5, 0.25]), 1)
    assert (label * x).array.dtype == np.float32
    assert (label + 1).array.dtype.kind == "i"
    assert (label == 1).array.tolist() == [1, 0]


def test_a_mask_counts():
    x = Plain(np.array([[1.0, -1.0], [2.0, 3.0]]), 1)
    assert (x > 0).sum().array.tolist() == [1, 2]
