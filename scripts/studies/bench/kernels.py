"""The bare work of a sweep, and what else one does to compare gradients: nanoseconds a sample.

Everything is warm and works on blocks of the sweep's size. The bare work is what nobody can do
without: the hand-written passes on plain arrays, one call of `torch.autograd.grad` and one of a
compiled `jax.grad`, each on arrays of its own kind that are there already. The frameworks use idle
cores; PyTorch is timed on one thread as well (`torch-one-thread`), quicker where none is idle.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from statistics import median
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.adapters import sample_loss
from gradcheck.adapters.hand_written import hand_written
from gradcheck.harness.process import keep_heap_mapped
from gradcheck.harness.request import Request
from gradcheck.harness.samples import block_size, draw_model
from gradcheck.judge.reference import Passes
from gradcheck.model.loading import load_model
from gradcheck.model.model import Model, run_passes
from gradcheck.numbers.rounding import Rounding

Values = Mapping[str, NDArray[Any]]
Kernel = Callable[[int], object]
"""Works on the block of this number."""

BLOCKS = 4
"""That are drawn, and worked on in turn; drawing is no part of any work."""
TRANSCENDENTAL = ("sin", "cos", "exp")
RTOL, ATOL = 1e-5, 1e-8
"""What one who rolls his own takes: the defaults of `numpy.allclose`."""
WARM_UP = 2
"""Samples of a loop that are not timed."""


def measure(model: Model, dtypes: Sequence[str], rounds: int, block: int) -> list[dict[str, Any]]:
    """Time every kernel on a model, in turn; return a row for each, the median of the rounds."""
    rows = []
    for name in dtypes:
        dtype = np.dtype(name)
        drawn = (draw_model(model, 0, i * block, block, dtype=dtype) for i in range(BLOCKS))
        blocks = [{leaf: array.astype(dtype) for leaf, array in one.items()} for one in drawn]
        kernels = kernels_of(model, dtype, blocks)
        times: dict[str, list[float]] = {kernel: [] for kernel in kernels}
        for work in kernels.values():
            work(0)
        for i in range(rounds):
            for kernel, work in kernels.items():
                began = time.perf_counter()
                work(i % BLOCKS)
                times[kernel].append(time.perf_counter() - began)
        rows += [
            {"dtype": name, "kernel": kernel, "samples": block, "ns": 1e9 * median(took) / block}
            for kernel, took in times.items()
        ]
    return rows


def kernels_of(model: Model, dtype: np.dtype[Any], blocks: Sequence[Values]) -> dict[str, Kernel]:
    """Return the kernels by name; some are for models whose inputs and parameters are scalars."""
    kernels: dict[str, Kernel] = {
        "engine": _engine(model, dtype, blocks),
        "torch": (torch := _torch(model, blocks)),
        "torch-one-thread": _on_one_thread(torch),
        "jax": _jax(model, dtype, blocks),
        "balls": _balls(model, dtype, blocks),
    }
    if _is_scalar(model):
        kernels["floor"] = floor(model, blocks)
        if dtype == np.float64:
            kernels["hand-rolled"] = _hand_rolled(model, blocks, kernels)
    return kernels


def _is_scalar(model: Model) -> bool:
    return not any(model.leaves.values())


def _engine(model: Model, dtype: np.dtype[Any], blocks: Sequence[Values]) -> Kernel:
    """Run the passes on plain arrays; those for one sample by way of the adapter."""
    if _is_scalar(model):
        return lambda i: run_passes(model, np, blocks[i])[2]
    gradients = hand_written.prepare(model, dtype)
    return lambda i: gradients(blocks[i])


def _torch(model: Model, blocks: Sequence[Values]) -> Kernel:
    import array_api_compat.torch
    import torch

    losses = torch.vmap(sample_loss(model, array_api_compat.torch, "torch"))
    given = [{name: torch.from_numpy(a) for name, a in block.items()} for block in blocks]
    for tensors in given:
        for name in model.parameters:
            tensors[name].requires_grad_()

    def gradients(i: int) -> list[Any]:
        parameters = [given[i][name] for name in model.parameters]
        return list(torch.autograd.grad(losses(given[i]).sum(), parameters))

    return gradients


def _on_one_thread(kernel: Kernel) -> Kernel:
    """Have PyTorch use one thread for the time of a call."""
    import torch

    def called(i: int) -> object:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return kernel(i)
        finally:
            torch.set_num_threads(threads)

    return called


def _jax(model: Model, dtype: np.dtype[Any], blocks: Sequence[Values]) -> Kernel:
    import jax

    loss = sample_loss(model, jax.numpy, "jax")

    def of_parameters(parameters: dict[str, Any], inputs: dict[str, Any]) -> Any:
        return loss({**inputs, **parameters})

    compiled = jax.jit(jax.vmap(jax.grad(of_parameters)))
    with jax.enable_x64(dtype == np.float64):
        given = [
            tuple(
                {name: jax.numpy.asarray(block[name]) for name in names}
                for names in (model.parameters, model.inputs)
            )
            for block in blocks
        ]

    def gradients(i: int) -> list[Any]:
        with jax.enable_x64(dtype == np.float64):
            found = jax.block_until_ready(compiled(*given[i]))
        return [found[name] for name in model.parameters]

    return gradients


def _balls(model: Model, dtype: np.dtype[Any], blocks: Sequence[Values]) -> Kernel:
    """Run the passes on balls, to the midpoint and the radius of every gradient."""
    widened = [{name: array.astype(np.float64) for name, array in b.items()} for b in blocks]
    rounding = Rounding(dtype, Request.ulps)

    def gradients(i: int) -> list[Any]:
        d = Passes(model, widened[i], rounding).d
        return [d[name].whole() for name in model.parameters]

    return gradients


def floor(model: Model, blocks: Sequence[Values]) -> Kernel:
    """Call the transcendental functions, on the arguments that the passes call them on."""
    calls = []
    for values in blocks:
        noted = _Noted()
        run_passes(model, noted, values)
        calls.append(noted.calls)

    def call(i: int) -> None:
        for function, argument in calls[i]:
            function(argument)

    return call


class _Noted:
    """NumPy, which keeps the transcendental calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[Callable[[Any], Any], Any]] = []

    def __getattr__(self, name: str) -> Any:
        function = getattr(np, name)
        if name not in TRANSCENDENTAL:
            return function

        def called(argument: Any) -> Any:
            self.calls.append((function, argument))
            return function(argument)

        return called


def _hand_rolled(model: Model, blocks: Sequence[Values], kernels: Mapping[str, Kernel]) -> Kernel:
    """Compare the engine with both frameworks by `numpy.testing.assert_allclose`."""

    def compare(i: int) -> None:
        mine: Any = kernels["engine"](i)
        for name in ("torch", "jax"):
            theirs: Any = kernels[name](i)
            for gradient, found in zip(model.parameters, theirs, strict=True):
                np.testing.assert_allclose(mine[gradient], np.asarray(found), RTOL, ATOL)

    return compare


def loop(model: Model, samples: int) -> Iterator[dict[str, Any]]:
    """Time `torch.autograd.gradcheck` and `check_grads`, called for one sample after the other."""
    values = draw_model(model, 0, 0, WARM_UP + samples)
    rows = [{name: array[i] for name, array in values.items()} for i in range(WARM_UP + samples)]
    for name, check in {
        "torch-gradcheck": torch_gradcheck,
        "jax-check-grads": jax_check_grads,
    }.items():
        for row in rows[:WARM_UP]:
            check(model, row)
        began = time.perf_counter()
        for row in rows[WARM_UP:]:
            check(model, row)
        spent = time.perf_counter() - began
        yield {"dtype": "float64", "kernel": name, "samples": samples, "ns": 1e9 * spent / samples}


def torch_gradcheck(model: Model, row: Mapping[str, Any]) -> bool:
    """Check the definition's gradient on one sample, at the function's defaults."""
    import torch

    leaves = [torch.tensor(row[name], requires_grad=name in model.parameters) for name in row]

    def loss(*tensors: Any) -> Any:
        return model.loss(torch, SimpleNamespace(**dict(zip(row, tensors, strict=True))))

    return bool(torch.autograd.gradcheck(loss, leaves, raise_exception=False))


def jax_check_grads(model: Model, row: Mapping[str, Any]) -> bool:
    """Check the definition's first derivatives on one sample, at the function's defaults."""
    import jax
    from jax.test_util import check_grads

    inputs = {name: row[name] for name in model.inputs}

    def loss(parameters: Mapping[str, Any]) -> Any:
        return model.loss(jax.numpy, SimpleNamespace(**inputs, **parameters))

    # Its central differences call some right gradients wrong, which is no matter here.
    with jax.enable_x64(True), suppress(AssertionError):
        check_grads(loss, ({name: row[name] for name in model.parameters},), order=1)
        return True
    return False


def main(rounds: int, looped: int, widths: Sequence[int], block: int = 0) -> list[dict[str, Any]]:
    """Time everything on `chain`, and the bare work on networks."""
    keep_heap_mapped()
    chain = load_model("chain")
    size = block or block_size(chain, Request())
    rows = [
        {"width": 0, **row}
        for row in (*measure(chain, ("float64", "float32"), rounds, size), *loop(chain, looped))
    ]
    for width in widths:
        network = load_model("network", {"width": width})
        size = block or block_size(network, Request())
        rows += [{"width": width, **row} for row in measure(network, ("float64",), rounds, size)]
    return rows


if __name__ == "__main__":
    print(json.dumps(main(**json.loads(sys.argv[1]))))
