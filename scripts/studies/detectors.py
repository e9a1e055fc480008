"""Four detectors of faults in a hand-written backward pass, each at its defaults.

All are asked the same question: is this pass, on this sample, rejected?
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.adapters.torch import reverse
from gradcheck.judge.reference import Passes
from gradcheck.judge.verdict import Verdict, compare
from gradcheck.model.board import Blackboard
from gradcheck.model.model import Model, run_passes
from gradcheck.numbers.ball import Rounding

Values = Mapping[str, NDArray[np.float64]]
Detector = Callable[[Model, Values, np.dtype[Any]], Iterator[bool]]
"""From a model, samples and the format under test to a verdict per sample: rejected?"""


def gradcheck(model: Model, values: Values, dtype: np.dtype[Any]) -> Iterator[bool]:
    """Sweep with PyTorch as the only adapter: a sample is rejected if any gradient disagrees."""
    count = _count(values)
    found = _torch_gradients(model, values, dtype)
    rejected = np.zeros(count, np.bool_)
    passes = Passes(model, values, Rounding(dtype))
    for name in model.parameters:
        reference = passes.gradient(name, reverse.normal_range(dtype), count)
        verdict = compare(found[name], reference).verdict
        rejected |= (verdict == Verdict.DISAGREE).reshape(count, -1).any(axis=1)
    yield from rejected.tolist()


def allclose(model: Model, values: Values, dtype: np.dtype[Any]) -> Iterator[bool]:
    """`numpy.allclose(pass, PyTorch)` with its rtol = 1e-5 and atol = 1e-8, all gradients."""
    found = _torch_gradients(model, values, dtype)
    count = _count(values)
    rejected = np.zeros(count, np.bool_)
    with np.errstate(all="ignore"):
        _, _, d = run_passes(model, np, _cast(values, dtype))
        for name in model.parameters:
            close = np.isclose(np.broadcast_to(d[name], found[name].shape), found[name])
            rejected |= ~close.reshape(count, -1).all(axis=1)
    yield from rejected.tolist()


def torch_gradcheck(model: Model, values: Values, dtype: np.dtype[Any]) -> Iterator[bool]:
    """`torch.autograd.gradcheck` of an `autograd.Function`, one call a sample.

    Its defaults: central differences with eps = 1e-6, atol = 1e-5, rtol = 1e-3, in every direction.
    They are meant for float64; in float32 it warns.
    """
    import torch

    class HandWritten(torch.autograd.Function):  # type: ignore[misc]  # of type Any to mypy
        @staticmethod
        def forward(context: Any, *leaves: Any) -> Any:
            context.save_for_backward(*leaves)
            v, t = Blackboard(**dict(zip(model.leaves, leaves, strict=True))), Blackboard()
            model.forward(torch, v, t)
            return t.loss

        @staticmethod
        def backward(context: Any, upstream: Any) -> Any:
            leaves = dict(zip(model.leaves, context.saved_tensors, strict=True))
            _, _, d = run_passes(model, torch, leaves)
            inputs = [None] * len(model.inputs)
            return (*inputs, *(upstream * d[name] for name in model.parameters))

    for sample in _samples(values, dtype):
        leaves = {name: torch.from_numpy(array) for name, array in sample.items()}
        for name in model.parameters:
            leaves[name].requires_grad_()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*not a double precision.*")
            accepted = torch.autograd.gradcheck(
                HandWritten.apply, tuple(leaves.values()), raise_exception=False
            )
        yield not accepted


def jax_check_grads(model: Model, values: Values, dtype: np.dtype[Any]) -> Iterator[bool]:
    """`jax.test_util.check_grads` of a `custom_vjp`, one call a sample.

    Order 1 and reverse mode, which is what a `custom_vjp` has. Its defaults otherwise: central
    differences with eps = 1e-4 in one direction, atol = rtol = 1e-5 (float64), 2e-3 (float32).
    """
    import jax
    from jax.test_util import check_grads

    def primal(parameters: Any, inputs: Any) -> Any:
        t = Blackboard()
        model.forward(jax.numpy, Blackboard(**inputs, **parameters), t)
        return t.loss

    def forward(parameters: Any, inputs: Any) -> Any:
        return primal(parameters, inputs), (parameters, inputs)

    def backward(residuals: Any, upstream: Any) -> Any:
        parameters, inputs = residuals
        _, _, d = run_passes(model, jax.numpy, {**inputs, **parameters})
        return {name: upstream * d[name] for name in parameters}, None

    loss = jax.custom_vjp(primal)
    loss.defvjp(forward, backward)

    def rejects(sample: Mapping[str, NDArray[Any]]) -> bool:
        inputs = {name: sample[name] for name in model.inputs}
        parameters = {name: sample[name] for name in model.parameters}
        try:
            check_grads(lambda p: loss(p, inputs), (parameters,), order=1, modes=["rev"])
        except AssertionError:
            return True
        return False

    for sample in _samples(values, dtype):
        with jax.enable_x64(dtype == np.float64):
            rejected = rejects(sample)
        yield rejected


DETECTORS: dict[str, Detector] = {
    "gradcheck": gradcheck,
    "torch_gradcheck": torch_gradcheck,
    "jax_check_grads": jax_check_grads,
    "allclose": allclose,
}


def _count(values: Values) -> int:
    return len(next(iter(values.values())))


def _cast(values: Values, dtype: np.dtype[Any]) -> dict[str, NDArray[Any]]:
    return {name: array.astype(dtype) for name, array in values.items()}


def _samples(values: Values, dtype: np.dtype[Any]) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the samples one by one, without the sample axis."""
    cast = _cast(values, dtype)
    for i in range(_count(values)):
        yield {name: np.asarray(array[i]) for name, array in cast.items()}


def _torch_gradients(
    model: Model, values: Values, dtype: np.dtype[Any]
) -> Mapping[str, NDArray[Any]]:
    """Differentiate the definition, in which nobody plants a fault."""
    return reverse.prepare(model, dtype)(_cast(values, dtype))
