"""Functions of PyTorch, recorded, and held against PyTorch on every kind of number."""

from functools import cache, cached_property

import numpy as np
import pytest

from gradcheck.capture.program import begin, proceed
from gradcheck.capture.torch_recorder import record
from gradcheck.numbers.arb import Reals
from gradcheck.numbers.ball import Ball
from gradcheck.numbers.rounding import Rounding
from gradcheck.truth.enclosures import precision

torch = pytest.importorskip("torch")

X = np.array([[-1.7, 0.4, 2.3], [0.9, -0.2, -3.1]])
Y = np.array([[0.3, -1.1, 0.8], [1.9, 0.6, -0.5]])
POSITIVE = np.array([[0.7, 1.4, 2.35], [0.93, 0.2, 3.1]])
SMALL = np.array([[0.17, -0.44, 0.83], [-0.61, 0.35, -0.2]])
SHARES = np.abs(SMALL)
THREE = np.array([0.3, 0.8, 1.2])
CUBE = np.sin(np.arange(24.0)).reshape(2, 4, 3) * 2 + 0.3 * np.cos(np.arange(24.0) ** 2).reshape(
    2, 4, 3
)
WIDE = np.array([-87.0, -20.5, -9.1, -3.3, -0.3, -1e-3, 1e-8, 0.2, 1.3, 5.1, 8.7, 21.0, 43.0, 87.0])
MASK = np.array([[True, False, True], [False, True, True]])
LABELS = np.array([2, 0])

NARROW = {"float64": 1e-10, "float32": 0.2}
"""How wide bars may be, as a share of one and the number."""


class Recorded:
    """A function's program, and what PyTorch computes of two samples.

    The second sample has the numbers of the first in reverse order.
    """

    def __init__(self, function, inputs, dtype="float64"):
        self.rounding = Rounding(np.dtype(dtype))
        self.expected, self.leaves = [], []
        for reverse in (False, True):
            tensors = [_tensor(one, dtype, reverse=reverse) for one in inputs]
            expected, cotangents = _by_torch(function, tensors)
            leaves = {str(i): tensor.detach().numpy() for i, tensor in enumerate(tensors)}
            leaves |= {f"cotangent.{i}": one.numpy() for i, one in enumerate(cotangents)}
            self.expected.append(expected)
            self.leaves.append(leaves)
        self.program = record(function, *(_tensor(one, dtype) for one in inputs))

    def run(self, leaves):
        """Return all differentiable results and gradients."""
        values = begin(self.program, leaves)
        proceed(self.program.steps, values)
        gradients = (number for number in self.program.gradients.values() if number is not None)
        return [values[number] for number in (*self.program.outputs, *gradients)]

    def on_arrays(self):
        """Compute the first sample in plain NumPy."""
        return self.run({name: leaf.copy() for name, leaf in self.leaves[0].items()})

    @cached_property
    def on_balls(self):
        """Compute both samples at once, with error bars."""
        first, second = self.leaves

        def ball(name, leaf):
            if leaf.dtype.kind != "f":
                return leaf
            return Ball.from_value(np.stack([leaf, second[name]]), self.rounding, 1)

        return self.run({name: ball(name, leaf) for name, leaf in first.items()})

    def on_reals(self):
        """Compute the first sample in Arb."""
        with precision(128):
            return self.run(
                {
                    name: Reals.from_value(leaf) if leaf.dtype.kind == "f" else leaf
                    for name, leaf in self.leaves[0].items()
                }
            )


def _tensor(array, dtype, *, reverse=False):
    array = np.asarray(array)
    if array.dtype.kind != "f":
        return torch.tensor(array)
    array = array.ravel()[::-1].reshape(array.shape).copy() if reverse else array
    return torch.tensor(array, dtype=getattr(torch, dtype), requires_grad=True)


def _by_torch(function, tensors):
    results = function(*tensors)
    results = results if isinstance(results, tuple | list) else (results,)
    outputs = [one for one in results if one.requires_grad]
    cotangents = [
        torch.tensor(np.cos(1.0 + np.arange(one.numel()) + 3 * i), dtype=one.dtype).reshape(
            one.shape
        )
        for i, one in enumerate(outputs)
    ]
    wanted = [one for one in tensors if one.requires_grad]
    gradients = torch.autograd.grad(outputs, wanted, cotangents, allow_unused=True)
    return [one.detach().numpy() for one in (*outputs, *gradients) if one is not None], cotangents


def recorder(cases):
    """Return what records a case of a table, each once."""

    @cache
    def recorded(name, dtype="float64"):
        function, *inputs = cases[name]
        return Recorded(function, inputs, dtype)

    return recorded


def check_arrays(one, rtol=1e-12):
    """Assert that a program computes in plain NumPy what PyTorch does."""
    assert one.program.refused == []
    for value, wanted in zip(one.on_arrays(), one.expected[0], strict=True):
        assert np.shape(value) == wanted.shape
        np.testing.assert_allclose(value, wanted, rtol=rtol, atol=1e-14)


def check_balls(one):
    """Assert that balls contain what PyTorch computes of both samples, and are narrow."""
    for i, ball in enumerate(one.on_balls):
        wanted = np.stack([sample[i] for sample in one.expected]).astype(float)
        mid, rad = (np.broadcast_to(part, wanted.shape) for part in ball.whole())
        assert (np.abs(wanted - mid) <= rad).all()
        assert (rad <= NARROW[str(one.rounding.dtype)] * (1 + np.abs(mid))).all()


def check_reals(one):
    """Assert that the balls of the first sample contain what Arb computes."""
    for real, ball in zip(one.on_reals(), one.on_balls, strict=True):
        values = np.reshape([_middle(number) for number in real.values.flat], real.shape)
        mid, rad = (np.broadcast_to(part, (2, *real.shape))[0] for part in ball.whole())
        assert (np.abs(values - mid) <= rad * (1 + 2.0**-40)).all()


def _middle(number):
    return float(number.mid()) if hasattr(number, "mid") else float(number)
