"""The device on which a function under test runs; everything else runs on the CPU."""

from __future__ import annotations

from typing import Any

from gradcheck.errors import RequestError


def torch_device(name: str) -> Any:
    """Return a device of PyTorch's, such as `cuda` or `cuda:1`.

    Raises
    ------
    RequestError
        If there is none here.
    """
    import torch

    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except Exception as error:  # of many kinds
        raise _refusal(name, "PyTorch", error) from error
    return device


def jax_device(name: str) -> Any:
    """Return a device of JAX's, such as `gpu` or `gpu:1`.

    Raises
    ------
    RequestError
        If there is none here.
    """
    import jax

    platform, _, index = name.partition(":")
    try:
        return jax.devices(platform)[int(index or 0)]
    except Exception as error:
        raise _refusal(name, "JAX", error) from error


def _refusal(name: str, framework: str, error: Exception) -> RequestError:
    why = next(iter(str(error).splitlines()), "").partition(". ")[0]
    return RequestError(
        "device", f"{framework} has no device {name!r} here ({why}); leave it out to use the CPU"
    )
