"""JAX: reverse mode compiled and eager, and forward mode."""

from collections.abc import Callable
from typing import Any

import numpy as np

from gradcheck.adapters import Adapter, Arrays, Gradients, by_forward_mode, sample_loss
from gradcheck.model.model import Model


class _Namespace:
    """`jax.numpy`, less that a mean of truth values is float32 in a float64 run."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._module, name)
        if name not in ("mean", "var", "std"):
            return function
        return lambda a, *args, **kwargs: function(self._module.add(a, 0), *args, **kwargs)


def _differentiate(
    model: Model, dtype: np.dtype[Any], transform: Callable[[Any, Callable[..., Any]], Any]
) -> Gradients:
    """Make `transform(jax, loss)`, from parameters and inputs to gradients, work on arrays."""
    import jax

    of_sample = sample_loss(model, _Namespace(jax.numpy), "jax")

    def loss(parameters: dict[str, Any], inputs: dict[str, Any]) -> Any:
        return of_sample({**inputs, **parameters})

    per_sample = transform(jax, loss)

    def gradients(values: Arrays) -> Arrays:
        parameters = {name: values[name] for name in model.parameters}
        inputs = {name: values[name] for name in model.inputs}
        with jax.enable_x64(dtype == np.float64):
            # JAX's own arrays, which it may still be computing.
            return dict(per_sample(parameters, inputs))

    return gradients


def _prepare_value(model: Model, dtype: np.dtype[Any]) -> Callable[[Arrays], Any]:
    import jax

    losses = jax.vmap(sample_loss(model, _Namespace(jax.numpy), "jax"))

    def value(values: Arrays) -> Any:
        with jax.enable_x64(dtype == np.float64):
            return np.asarray(losses(dict(values)))

    return value


def _prepare_reverse(model: Model, dtype: np.dtype[Any]) -> Gradients:
    return _differentiate(model, dtype, lambda jax, loss: jax.jit(jax.vmap(jax.grad(loss))))


def _prepare_eager(model: Model, dtype: np.dtype[Any]) -> Gradients:
    return _differentiate(model, dtype, lambda jax, loss: jax.vmap(jax.grad(loss)))


def _prepare_forward(model: Model, dtype: np.dtype[Any]) -> Gradients:
    return _differentiate(model, dtype, lambda jax, loss: jax.jit(jax.vmap(jax.jacfwd(loss))))


reverse = Adapter(_prepare_reverse, "jax.jit of jax.grad under vmap", "jax", value=_prepare_value)
eager = Adapter(_prepare_eager, "jax.grad under vmap, operation by operation", "jax")
forward = Adapter(
    _prepare_forward, "jax.jit of jax.jvp under vmap", "jax", gradients=by_forward_mode("jax")
)
