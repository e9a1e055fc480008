"""Hold a recorded program against the framework, on every kind of number."""

import numpy as np
import torch

from gradcheck.capture.program import begin, proceed
from gradcheck.capture.torch_recorder import record
from gradcheck.numbers.arb import Reals
from gradcheck.numbers.ball import Ball
from gradcheck.numbers.rounding import Rounding

COTANGENT = 0.75


def leaves_of(program, tensors):
    """Return a program's leaves; all cotangents are one vector, cut to size."""
    leaves = {str(i): tensor.detach().numpy() for i, tensor in enumerate(tensors)}
    return leaves


def tensors_of(inputs, dtype=torch.float64, *, flipped=False):
    """Make tensors of arrays; floats require a gradient, and their order may be reversed."""
    made = []
    for array in map(np.asarray, inputs):
        if array.dtype.kind != "f":
            made.append(torch.tensor(array))
            continue
        array = array.ravel()[::-1].reshape(array.shape).copy() if flipped else array
        made.append(torch.tensor(array, dtype=dtype, requires_grad=True))
    return made


def cotangent_of(output, i):
    """Return a cotangent that is not the same everywhere."""
    waves = np.cos(1.0 + np.arange(output.numel()) + 3 * i)
    return torch.tensor(waves, dtype=output.dtype).reshape(output.shape)


def by_torch(function, tensors):
    """Return all differentiable results and gradients, and the cotangents."""
    results = function(*tensors)
    results = results if isinstance(results, tuple | list) else (results,)
    outputs = [one for one in results if one.requires_grad]
    cotangents = [cotangent_of(output, i) for i, output in enumerate(outputs)]
    wanted = [one for one in tensors if one.requires_grad]
    gradients = torch.autograd.grad(outputs, wanted, cotangents, allow_unused=True)
    found = [*outputs, *gradients]
    return [one.detach().numpy() for one in found if one is not None], cotangents


def followed(program, leaves):
    """Run a program; return all differentiable results and gradients."""
    values = begin(program, leaves)
    proceed(program.steps, values)
    numbers = [*program.outputs, *(n for n in program.gradients.values() if n is not None)]
    return [values[number] for number in numbers]


class Recorded:
    """A function's program, and what PyTorch computes of two samples."""

    def __init__(self, function, inputs, dtype=torch.float64):
        self.rounding = Rounding(np.dtype(str(dtype).removeprefix("torch.")))
        samples = [tensors_of(inputs, dtype, flipped=flipped) for flipped in (False, True)]
        self.program = record(function, *samples[0])
        self.expected, self.leaves = [], []
        for sample in samples:
            expected, cotangents = by_torch(function, sample)
            leaves = {str(i): tensor.detach().numpy() for i, tensor in enumerate(sample)}
            leaves |= {f"cotangent.{i}": one.numpy() for i, one in enumerate(cotangents)}
            self.expected.append(expected)
            self.leaves.append(leaves)

    def on_arrays(self):
        """Compute the first sample in plain NumPy."""
        return followed(self.program, {n: leaf.copy() for n, leaf in self.leaves[0].items()})

    def on_balls(self):
        """Compute both samples at once, with error bars."""
        first, second = self.leaves
        return followed(self.program, {
            name: leaf if leaf.dtype.kind != "f"
            else Ball.from_value(np.stack([leaf, second[name]]), self.rounding, 1)
            for name, leaf in first.items()
        })

    def on_reals(self):
        """Compute the first sample in Arb."""
        return followed(self.program, {
            name: Reals.from_value(leaf) if leaf.dtype.kind == "f" else leaf
            for name, leaf in self.leaves[0].items()
        })


def floats_of(reals):
    """Return the midpoints of real numbers."""
    flat = [float(getattr(one, "constant", one)) for one in np.ravel(reals.array)]
    return np.reshape(flat, reals.shape)
