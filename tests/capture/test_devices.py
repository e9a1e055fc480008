"""The device on which what is tested runs."""

import jax
import jax.numpy as jnp
import pytest
import torch

import gradcheck
from gradcheck.capture.jax_subject import JaxFunction
from gradcheck.capture.torch_function import TorchFunction
from gradcheck.errors import RequestError

NO_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")


@pytest.mark.parametrize(
    ("function", "inputs"),
    [
        (torch.sin, [torch.ones(3)]),
        (torch.nn.Linear(3, 2), [torch.ones(4, 3)]),
        (jnp.sin, [jnp.ones(3)]),
        (lambda x, n: x.sum() * n, [torch.ones(3), torch.tensor(2)]),
    ],
    ids=["function", "module", "jax", "integers beside"],
)
def test_a_device_that_there_is_is_used(function, inputs):
    assert gradcheck.check(function, *inputs, samples=2, device="cpu").agrees


def test_every_tensor_is_on_the_device():
    seen = []

    def product(x, mask):
        seen.extend([x.device.type, mask.device.type])
        return x * mask

    subject = TorchFunction(product, [torch.ones(2), torch.ones(2, dtype=torch.int64)])
    subject._device = torch.device("meta")  # which is there, though it holds no numbers
    subject._leaves = [subject._placed(leaf) for leaf in subject._leaves]
    subject(subject.tensors(subject.given))
    assert set(seen) == {"meta"}


def test_arrays_of_jax_are_on_the_device():
    subject = JaxFunction(jnp.sin, [jnp.ones(2)], device="cpu:0")
    assert subject._leaves[0].devices() == {jax.devices("cpu")[0]}


@NO_CUDA
@pytest.mark.parametrize(
    ("function", "given", "device", "told"),
    [
        (torch.sin, torch.ones(2), "cuda", "PyTorch has no device 'cuda' here"),
        (torch.sin, torch.ones(2), "cuda:7", "PyTorch has no device 'cuda:7' here"),
        (torch.sin, torch.ones(2), "gpu9", "PyTorch has no device 'gpu9' here"),
        (torch.sin, torch.ones(2), "meta", "PyTorch has no device 'meta' here"),
        (jnp.sin, jnp.ones(2), "cuda", "JAX has no device 'cuda' here"),
        (jnp.sin, jnp.ones(2), "cpu:many", "JAX has no device 'cpu:many' here"),
        (torch.sin, torch.ones(2), 0, "expected a name such as 'cuda', got 0"),
    ],
)
def test_a_device_that_there_is_not_is_refused(function, given, device, told):
    with pytest.raises(RequestError, match=told) as error:
        gradcheck.check(function, given, device=device)
    assert error.value.field == "device"
    assert "\n" not in str(error.value)
