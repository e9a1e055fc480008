"""A function of PyTorch or JAX as it is, its inputs, and how to check it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck.errors import RequestError, guarded
from gradcheck.harness.request import ALL_DTYPES, DTYPES, NARROW_DTYPES
from gradcheck.harness.samples import draw_samples
from gradcheck.model.domains import Domain, rounded
from gradcheck.numbers.rounding import finfo
from gradcheck.suggestions import nearest

if TYPE_CHECKING:
    from gradcheck.capture.model import CapturedModel
    from gradcheck.capture.subject import Subject


@dataclass(frozen=True, init=False)
class Case:
    """A function, its inputs, and how to check it; `check` takes the same.

    Parameters
    ----------
    function
        A callable on tensors of PyTorch or arrays of JAX, such as the `apply` of an
        `autograd.Function`; or an `nn.Module`, whose parameters are differentiated too. It returns
        tensors or pytrees of them.
    *inputs
        What it is called with. Of tensors of floats, those that require a gradient are
        differentiated, or all if none does; everything else is handed on.
    definition
        The same function in plain operations, where `function` cannot be recorded: its own reverse
        pass gives the bar, its forward pass the truth. `None` for `function` itself.
    against
        Another function whose gradients are judged beside the first one's.
    cotangents
        Of the differentiable outputs on sample 0, arrays of their shapes; or a `Domain` from which
        those of all samples are drawn. They are drawn from the request's distribution otherwise.
    sampling
        What inputs are drawn from, by name; near those given otherwise.
    name
        What the tables call it.
    device
        Where the functions run, such as `cuda`; where their inputs are unless it is given.
    """

    function: Callable[..., Any]
    inputs: tuple[Any, ...]
    definition: Callable[..., Any] | None = None
    against: Callable[..., Any] | None = None
    cotangents: Any = None
    sampling: Mapping[str, Domain] = field(default_factory=dict)
    name: str = ""
    device: str = ""

    def __init__(self, function: Callable[..., Any], *inputs: Any, **settings: Any) -> None:
        known = [one.name for one in fields(Case)][2:]
        for setting in settings:
            if setting not in known:
                raise RequestError("", f"there is no setting {setting!r}{nearest(setting, known)}")
        settings.setdefault("sampling", {})
        _check_settings(function, settings)
        for key, value in {"function": function, "inputs": inputs, **settings}.items():
            object.__setattr__(self, key, value)

    def model(self, seed: int = 0, name: str = "") -> CapturedModel:
        """Call the function once, and make a model of it, of that name unless it has its own.

        Raises
        ------
        RequestError
            If it fails, or nothing of it can be differentiated.
        """
        from gradcheck.capture.model import captured_model

        subject = subject_of(self.function, self.inputs, device=self.device)
        for key in self.sampling:
            if key not in subject.given:
                raise RequestError(
                    "sampling", f"{key!r} is no input{nearest(key, list(subject.given))}"
                )
        subjects = {subject.framework: subject}
        if self.against is not None:
            subjects["against"] = subject_of(self.against, self.inputs, subject.names, self.device)
        definition = subject
        if self.definition is not None:
            definition = subject_of(self.definition, self.inputs, subject.names, self.device)
        own = subject.dtype if subject.dtype in ALL_DTYPES else DTYPES[-1]
        arrays = {key: value.astype(own) for key, value in subject.given.items()}
        missing = [key for key, value in subject.given.items() if np.isnan(value).any()]
        if missing:
            raise RequestError("inputs", f"{missing[0]} holds NaN; give numbers")
        outputs = _outputs(definition, arrays)
        shapes = [output.shape for output in outputs]
        return captured_model(
            self.name or name or name_of(self.function),
            subjects,
            definition,
            [
                one.astype(output.dtype) if _is_coarser(output.dtype, own) else one
                for one, output in zip(self._cotangents(shapes, seed), outputs, strict=True)
            ],
            {**self.sampling, **self._domains([output.dtype for output in outputs], own)},
        )

    def _domains(self, formats: Sequence[Any], own: str) -> dict[str, Domain]:
        """Return what cotangents are drawn from, by name, unless as all else is."""
        from gradcheck.capture.model import COTANGENT

        domain = self.cotangents if isinstance(self.cotangents, Domain) else None
        found = {}
        for i, dtype in enumerate(formats):
            given = rounded(domain, dtype) if _is_coarser(dtype, own) else domain
            if given is not None:
                found[f"{COTANGENT}.{i}"] = given
        return found

    def _cotangents(self, shapes: Sequence[Any], seed: int) -> list[Any]:
        if self.cotangents is None or isinstance(self.cotangents, Domain):
            named = {str(i): shape for i, shape in enumerate(shapes)}
            return [one[0] for one in draw_samples(named, seed, 0, 1, dtype=np.float32).values()]
        given = self.cotangents if isinstance(self.cotangents, list | tuple) else [self.cotangents]
        try:
            arrays = [np.asarray(one, dtype=np.float64) for one in given]
        except (TypeError, ValueError) as error:
            raise RequestError(
                "cotangents", f"expected arrays of numbers, or a Domain, got {self.cotangents!r}"
            ) from error
        if [one.shape for one in arrays] != [tuple(shape) for shape in shapes]:
            raise RequestError(
                "cotangents",
                f"expected one for each differentiable output, of the shapes "
                f"{list(map(tuple, shapes))}, got {[one.shape for one in arrays]}",
            )
        return arrays


def _is_coarser(dtype: Any, own: str) -> bool:
    """Tell whether an output may have fewer bits than what it is computed from."""
    return bool(finfo(dtype).eps > finfo(np.dtype(own)).eps) or dtype in NARROW_DTYPES


def _check_settings(function: Any, settings: Mapping[str, Any]) -> None:
    if isinstance(function, type) and hasattr(function, "apply"):
        name = function.__name__
        raise RequestError("function", f"{name} is a class; give {name}.apply")
    others = {name: settings.get(name) for name in ("definition", "against")}
    for name, one in {"function": function, **others}.items():
        if not callable(one) and (one is not None or name == "function"):
            raise RequestError(name, f"expected a function, got {one!r}")
    if not isinstance(settings.get("device", ""), str):
        raise RequestError("device", f"expected a name such as 'cuda', got {settings['device']!r}")
    sampling = settings["sampling"]
    if not isinstance(sampling, Mapping) or not all(
        isinstance(domain, Domain) for domain in sampling.values()
    ):
        raise RequestError(
            "sampling",
            f"expected domains by the names of inputs, such as "
            f'{{"x": gradcheck.sampling.positive()}}, got {sampling!r}',
        )


def _outputs(function: Subject, arrays: Mapping[str, Any]) -> Sequence[Any]:
    """Call a function, whatever it may raise."""
    try:
        with guarded():
            return function.outputs(arrays)
    except RequestError:
        raise
    except Exception as error:
        text = next(iter(str(error).splitlines()), "")
        raise RequestError(
            "function", f"it fails on its inputs: {type(error).__name__}: {text}"
        ) from error


def subject_of(
    function: Callable[..., Any],
    inputs: Sequence[Any],
    names: Sequence[str] | None = None,
    device: str = "",
) -> Subject:
    """Find out whose function this is by its inputs.

    `names` are those of its arguments, unless its signature shall tell.

    Raises
    ------
    RequestError
        If it is neither PyTorch's nor JAX's, no input can be differentiated, or there is no such
        device.
    """
    if "torch" in sys.modules:
        import torch
        from torch.utils import _pytree

        leaves = _pytree.tree_leaves(tuple(inputs))
        if isinstance(function, torch.nn.Module) or any(
            isinstance(leaf, torch.Tensor) for leaf in leaves
        ):
            from gradcheck.capture.torch_function import TorchFunction

            return TorchFunction(function, inputs, names, device)
    if "jax" in sys.modules:
        import jax

        kinds = (jax.Array, np.ndarray, float)
        if any(isinstance(leaf, kinds) for leaf in jax.tree_util.tree_leaves(tuple(inputs))):
            from gradcheck.capture.jax_subject import JaxFunction

            return JaxFunction(function, inputs, names, device)
    raise RequestError("inputs", "expected tensors of PyTorch or arrays of JAX, got neither")


def name_of(function: Any) -> str:
    """Name a function as its author does."""
    function = getattr(function, "_init_fn", function)  # of a custom operation of PyTorch
    owner = getattr(function, "__self__", None)
    named = owner if isinstance(owner, type) else function
    name = getattr(named, "__name__", type(function).__name__)
    return "function" if name == "<lambda>" else str(name)
