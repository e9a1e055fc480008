"""The subjects of the study in JAX: the same functions, on the same inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp
from numpy.typing import NDArray

from studies.functions import corpus, passes_jax


@dataclass(frozen=True)
class JaxSubject:
    """A function of JAX with a backward pass written by hand.

    Parameters
    ----------
    twin
        The same in PyTorch.
    function
        A subclass of `Pass`.
    """

    twin: corpus.Subject
    function: Any
    framework = "jax"

    @property
    def name(self) -> str:
        """Of the function."""
        return self.twin.name

    def make_inputs(self, dtype: str, seed: int, size: int = 1) -> tuple[Any, ...]:
        """Draw what the twin gets."""
        with jax.enable_x64(dtype == "float64"):
            drawn = self.twin.make_inputs(dtype, seed, size)
            return tuple(jnp.asarray(each.detach().numpy()) for each in drawn)

    def gradients(
        self, function: Callable[..., Any], inputs: tuple[Any, ...], seed: int
    ) -> list[NDArray[Any]]:
        """Return a function's gradients for the twin's cotangent, in the order of the inputs."""
        with jax.enable_x64(inputs[0].dtype == "float64"):
            of_floats, floats = split(function, inputs)
            results, pull = jax.vjp(of_floats, *floats)
            outputs, structure = jax.tree_util.tree_flatten(results)
            cotangents = [
                jnp.asarray(drawn.numpy(), dtype=one.dtype)
                for drawn, one in zip(corpus.draw_cotangents(outputs, seed), outputs, strict=True)
            ]
            return list(map(np.asarray, pull(jax.tree_util.tree_unflatten(structure, cotangents))))


def split(
    function: Callable[..., Any], inputs: tuple[Any, ...]
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Return the function of its inputs of floats alone, which come first, and these."""
    floats = tuple(one for one in inputs if jnp.issubdtype(one.dtype, jnp.floating))
    rest = inputs[len(floats) :]
    return lambda *some: function(*some, *rest), floats


SUBJECTS = {
    f"jax.{name}": JaxSubject(twin, getattr(passes_jax, twin.function.__name__))
    for name, twin in corpus.SUBJECTS.items()
}
"""By name, with the framework's in front."""
