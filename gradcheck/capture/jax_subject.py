"""A JAX function and its inputs: what it returns, and how that was computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.capture.devices import jax_device
from gradcheck.capture.jax_recorder import precision, record, without_rules
from gradcheck.capture.subject import Captured, Ran, flat_name, usable_name
from gradcheck.capture.torch_function import argument_names
from gradcheck.errors import RequestError

Arrays = Mapping[str, NDArray[Any]]
KERNELS = ("callback", "ffi_call", "custom_call", "pallas_call")
"""What the names of primitives contain that call what is not JAX's."""


class JaxFunction:
    """A callable on arrays of JAX, with the inputs that it was given.

    Parameters
    ----------
    function
        Returns arrays or pytrees of them.
    inputs
        What it is called with, pytrees. Arrays of floats are differentiated, or Python's floats if
        there are no such arrays; everything else is handed on.

    Attributes
    ----------
    given
        Values of what is differentiated, by name, such as `x` and `params.w`.
    dtype
        The format of these.
    names
        Of the function's arguments.
    """

    framework = "jax"

    def __init__(
        self,
        function: Callable[..., Any],
        inputs: Sequence[Any],
        names: Sequence[str] | None = None,
        device: str = "",
    ) -> None:
        self.function = function
        self._device = jax_device(device) if device else None
        self.names = list(names or argument_names(function, len(inputs)))
        self._places: dict[str, int] = {}
        self.given: dict[str, NDArray[Any]] = {}
        self._flatten(inputs)
        leaves = (self._leaves[place] for place in self._places.values())
        kinds = {str(getattr(leaf, "dtype", np.dtype(float))) for leaf in leaves}
        self.dtype = max(kinds, key=lambda kind: ("float" in kind, kind))

    def _flatten(self, inputs: Sequence[Any]) -> None:
        import jax

        leaves, self._structure = jax.tree_util.tree_flatten_with_path(tuple(inputs))
        self._leaves = [leaf for _, leaf in leaves]
        if self._device:
            self._leaves = [
                jax.device_put(leaf, self._device) if isinstance(leaf, jax.Array) else leaf
                for leaf in self._leaves
            ]
        if any(hasattr(leaf, "dtype") and np.iscomplexobj(leaf) for leaf in self._leaves):
            raise RequestError(
                "inputs",
                "complex numbers carry no bounds; take real and imaginary parts as two inputs",
            )
        wanted = [place for place, leaf in enumerate(self._leaves) if is_float_array(leaf)]
        wanted = wanted or [i for i, leaf in enumerate(self._leaves) if isinstance(leaf, float)]
        if not wanted:
            raise RequestError(
                "inputs",
                "no input is an array of floating-point numbers; give one to differentiate",
            )
        for place in wanted:
            name = usable_name(flat_name(self.names, leaves[place][0]), self._places)
            self._places[name] = place
            self.given[name] = np.asarray(self._leaves[place]).astype(np.float64)

    def __call__(self, arrays: Mapping[str, Any]) -> list[Any]:
        """Call the function; return its outputs that can be differentiated."""
        import jax

        leaves = list(self._leaves)
        for name, place in self._places.items():
            leaves[place] = arrays[name]
        results = jax.tree_util.tree_leaves(
            self.function(*jax.tree_util.tree_unflatten(self._structure, leaves))
        )
        for result in results:
            if hasattr(result, "dtype") and np.issubdtype(result.dtype, np.complexfloating):
                raise RequestError(
                    "function", "complex numbers carry no bounds; return real and imaginary parts"
                )
        outputs = [result for result in results if is_float_array(result)]
        if not outputs:
            raise RequestError(
                "function", "no output is an array of floats; return one that JAX can differentiate"
            )
        return outputs

    def _placed(self) -> Any:
        """Let what is not yet anywhere be on the device that was asked for, if one was."""
        import jax

        return jax.default_device(self._device) if self._device else nullcontext()

    def outputs(self, arrays: Arrays) -> tuple[NDArray[Any], ...]:
        """Call the function; return its outputs that can be differentiated."""
        from jax import numpy

        with precision(arrays), self._placed():
            found = self({name: numpy.asarray(arrays[name]) for name in self._places})
        return tuple(np.asarray(one) for one in found)

    def run(self, arrays: Arrays, cotangents: Sequence[NDArray[Any]] | None) -> Ran:
        """Differentiate with JAX; cotangents of ones if none are given."""
        import jax
        from jax import numpy

        with precision(arrays), self._placed():
            outputs, pull = jax.vjp(
                self, {name: numpy.asarray(arrays[name]) for name in self._places}
            )
            given = cotangents or [np.ones(output.shape) for output in outputs]
            (gradients,) = pull(
                [
                    numpy.asarray(one, dtype=output.dtype)
                    for one, output in zip(given, outputs, strict=True)
                ]
            )
        return Ran(
            tuple(np.asarray(output) for output in outputs),
            {name: np.asarray(gradients[name]) for name in self._places},
        )

    def capture(self, arrays: Arrays, cotangents: Sequence[NDArray[Any]]) -> Captured:
        """Record what is computed, forward and backward."""
        given = {name: np.asarray(arrays[name]) for name in self._places}
        import jax

        try:
            program, dependent = record(self, given, cotangents)
        except jax.errors.ConcretizationTypeError as error:
            raise RequestError(
                "function",
                "what it does depends on a traced value; use jnp.where, or lax.cond and its like",
            ) from error
        return Captured(program, dependent)

    def is_kernel(self, operation: str) -> bool:
        """Tell whether a primitive calls what is not JAX's."""
        return any(kind in operation for kind in KERNELS)

    def forward_alone(self) -> JaxFunction:
        """Return a function that does the forward pass; its derivative is JAX's."""
        return ForwardAlone(self)


class ForwardAlone(JaxFunction):
    """Computes what another function computes forward; its derivative is JAX's.

    Parameters
    ----------
    original
        Whose forward pass, and whose inputs.
    """

    def __init__(self, original: JaxFunction) -> None:
        vars(self).update(vars(original))

    def __call__(self, arrays: Mapping[str, Any]) -> list[Any]:
        """Call the function as if it had no `custom_vjp`."""
        import jax

        closed = jax.make_jaxpr(super().__call__)(dict(arrays))
        given = [arrays[name] for name in sorted(arrays)]  # as JAX orders a dictionary
        return without_rules(closed, given)


def is_float_array(leaf: Any) -> bool:
    """Tell whether a value is an array of floating-point numbers."""
    from jax import numpy

    dtype = getattr(leaf, "dtype", None)
    is_array = dtype is not None and hasattr(leaf, "shape") and np.prod(leaf.shape) > 0
    return bool(is_array and numpy.issubdtype(dtype, numpy.floating))
