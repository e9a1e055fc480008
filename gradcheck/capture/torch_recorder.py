"""What PyTorch computes, operation by operation, below autograd: forward and backward."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.adapters.torch import array_from
from gradcheck.capture.aten import rule_of
from gradcheck.capture.program import Line, Program, Ref, Step
from gradcheck.numbers.rounding import WORKING

READ_OUT = ("aten._local_scalar_dense.default", "aten.is_nonzero.default", "aten.equal.default")
"""Operations that hand a number to Python, after which what is computed may depend on it."""
RANDOM = (
    "bernoulli", "rand", "randn", "rand_like", "randn_like", "randint", "randint_like", "randperm",
    "normal", "normal_", "uniform", "uniform_", "native_dropout", "multinomial", "poisson",
    "exponential_", "random_", "geometric_", "cauchy_", "log_normal_", "bernoulli_", "binomial",
    "_standard_gamma", "_sample_dirichlet", "rrelu_with_noise", "rrelu_with_noise_",
    "_fused_dropout",
)  # fmt: skip


CASTS = ("aten._to_copy.default", "aten.copy_.default", "prims.convert_element_type.default")
"""Operations that take one format and yield another."""
FORMATS: Mapping[str, np.dtype[Any]] = {
    "torch.float32": np.dtype(np.float32),
    "torch.float64": np.dtype(np.float64),
    "torch.float16": np.dtype(np.float16),
    "torch.bfloat16": np.dtype("bfloat16"),
    "torch.float8_e4m3fn": np.dtype("float8_e4m3fn"),
    "torch.float8_e5m2": np.dtype("float8_e5m2"),
}
"""Those in which a bar can be told."""
BY_ROWS = " of rows"
"""Ends the name of a rule for an operation on a matrix stored by rows.

A library that stores by columns takes it for its transpose, and so does what is computed later.
"""


class Recording:
    """A program while it is recorded, and what was seen besides.

    Attributes
    ----------
    branches
        Where a number was handed to Python, so that what is computed may depend on it.
    random
        Where the backward pass drew random numbers that the forward pass had not drawn; one that
        computes the forward pass again draws the same.
    """

    def __init__(self, leaves: Mapping[str, Any]) -> None:
        self.program = Program()
        self.branches: list[Line | None] = []
        self.random: list[Line | None] = []
        self._drawn: set[bytes] = set()
        self._lines: dict[int, Line | None] = {}
        self._fixed: set[int] = set()  # what is computed of constants alone
        self.backward = False
        self._numbers: dict[int, int] = {}
        self._places: dict[tuple[Any, ...], int] = {}
        self._alive: list[Any] = []  # so that no identity is given twice
        for name, tensor in leaves.items():
            self.program.leaves[name] = self._add(tensor)

    def number_of(self, tensor: Any) -> int:
        """Return which value a tensor is; one that was never seen is a constant."""
        number = self.known(tensor)
        if number is None:
            number = self._add(tensor)
            self.program.constants[number] = constant_of(tensor)
        return number

    def known(self, tensor: Any) -> int | None:
        """Return which value a tensor is, if it is one: itself, or the same memory seen alike."""
        number = self._numbers.get(id(tensor))
        return self._places.get(_place(tensor)) if number is None and tensor.numel() else number

    def note(self, function: Any, args: Any, kwargs: Any, results: Any) -> None:
        """Add an operation that was performed."""
        name, line = str(function), user_line()
        if name in READ_OUT:
            known = map(self.known, _tensors(args))
            if any(n is not None and n not in self.program.constants for n in known):
                self.branches.append(line)
            return
        drawn = name.split(".")[1] in RANDOM
        flat = results if isinstance(results, tuple | list) else (results,)
        if drawn or not self._is_followed(flat, (args, tuple(kwargs.values()))):
            for result in filter(is_tensor, flat):
                value = constant_of(result)
                if drawn and self.backward and value.tobytes() not in self._drawn:
                    self.random.append(line)
                elif drawn:
                    self._drawn.add(value.tobytes())
                empty = name.startswith("aten.empty") or name.startswith("aten.new_empty")
                number = self._add(result)
                self.program.constants[number] = np.zeros_like(value) if empty else value
            return
        arguments = self._referred(args)
        options = {key: self._referred(value) for key, value in kwargs.items()}
        numbers = tuple(self._result(one) if is_tensor(one) else None for one in flat)
        rule = rule_of(f"{name}{BY_ROWS}") if _is_by_rows(name, args) else None
        rule = rule or rule_of(name)
        step = Step(name, rule, arguments, options, numbers, line)
        is_fixed = all(n in self.program.constants or n in self._fixed for n in step.operands)
        unknown = _formats(flat) - FORMATS.keys()
        if unknown and not is_fixed:
            step = replace(step, operation=f"{name} in {unknown.pop()}", rule=None)
        elif name not in CASTS:
            step = replace(step, format=_format_of(_formats(_tensors(args)), _formats(flat)))
        if line is None:
            near = (self._lines.get(number) for number in step.operands)
            step = replace(step, near=next(filter(None, near), None))
        self._lines |= {number: line or step.near for number in numbers if number is not None}
        if is_fixed:
            self._fixed |= {number for number in numbers if number is not None}
        (self.program.backward if self.backward else self.program.forward).append(step)

    def _is_followed(self, results: Sequence[Any], arguments: Any) -> bool:
        """Tell whether an operation takes what is no constant, or rounds constants."""
        operands = list(_tensors(arguments))
        numbers = [self.known(operand) for operand in operands]
        constants = self.program.constants
        known = [number for number in numbers if number is not None]
        if any(number not in constants and number not in self._fixed for number in known):
            return True
        return bool(operands) and any(one.dtype.is_floating_point for one in _tensors(results))

    def _referred(self, argument: Any) -> Any:
        if is_tensor(argument):
            return Ref(self.number_of(argument))
        if isinstance(argument, tuple | list):
            return type(argument)(self._referred(item) for item in argument)
        return argument

    def _result(self, tensor: Any) -> int:
        number = self._numbers.get(id(tensor))  # itself, if it was changed in place
        return self._add(tensor) if number is None else number

    def _add(self, tensor: Any) -> int:
        number = len(self._alive)
        self._alive.append(tensor)
        self._numbers[id(tensor)] = number
        if tensor.numel():
            self._places[_place(tensor)] = number
        return number


def _is_by_rows(name: str, args: Any) -> bool:
    if not (args and is_tensor(args[0]) and args[0].is_contiguous()):
        return False
    return "as_strided" not in name or args[0].storage_offset() == 0


def _place(tensor: Any) -> tuple[Any, ...]:
    is_stored = tensor.layout is _strided() and not tensor._is_zerotensor()
    storage = tensor.untyped_storage().data_ptr() if is_stored else id(tensor)
    offset = tensor.storage_offset() if is_stored else 0
    return storage, offset, tuple(tensor.shape), tensor.stride(), tensor.dtype


def _formats(tensors: Iterable[Any]) -> set[str]:
    """Name the floating-point formats of tensors."""
    found = (str(one.dtype) for one in tensors if is_tensor(one) and one.dtype.is_floating_point)
    return set(found)


def _format_of(given: set[str], found: set[str]) -> np.dtype[Any] | None:
    """Return in which format an operation computes, if what it takes has others."""
    return FORMATS.get(next(iter(found))) if found and given != found else None


def _tensors(argument: Any) -> Iterator[Any]:
    if is_tensor(argument):
        yield argument
    elif isinstance(argument, tuple | list):
        for item in argument:
            yield from _tensors(item)


@cache
def _strided() -> Any:
    import torch

    return torch.strided


def is_tensor(value: Any) -> bool:
    """Tell whether a value is a tensor."""
    import torch

    return isinstance(value, torch.Tensor)


def array_of(tensor: Any) -> NDArray[Any]:
    """Return a tensor's numbers in its format."""
    import torch

    tensor = tensor.detach()
    if tensor._is_zerotensor():
        tensor = torch.zeros(tensor.shape, dtype=tensor.dtype)
    return np.asarray(array_from(tensor.resolve_conj().resolve_neg().cpu()))


def constant_of(tensor: Any) -> NDArray[Any]:
    """Return a copy of a tensor's numbers; those of 16 bits in float64."""
    array = array_of(tensor)
    is_narrow = tensor.is_floating_point() and array.dtype.itemsize < WORKING.itemsize
    return array.astype(np.float64 if is_narrow else array.dtype)


@cache
def _libraries() -> tuple[str, ...]:
    import threading

    import torch

    import gradcheck

    return tuple(
        f"{Path(str(module.__file__)).parent}/" for module in (torch, gradcheck, threading)
    )


def user_line() -> Line | None:
    """Return the innermost line on the stack that is neither a library's nor ours."""
    frame, libraries = sys._getframe(1), _libraries()
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith(libraries) and not file.startswith("<frozen"):
            return Line(file, frame.f_lineno)
        frame = frame.f_back  # type: ignore[assignment]
    return None


@cache
def _mode() -> Any:
    """Make the class, whose base needs PyTorch."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Recorder(TorchDispatchMode):  # type: ignore[misc]
        """Sees every operation below autograd."""

        def __init__(self, recording: Recording) -> None:
            super().__init__()
            self.recording = recording
            self._within: list[str] = []  # what is being decomposed, lest it be so for ever

        def __torch_dispatch__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = kwargs or {}
            name = str(function)
            if not (rule_of(name) or name in self._within or name.split(".")[1] in RANDOM):
                self._within.append(name)
                try:
                    decomposed = self._decomposed(function, args, kwargs)
                finally:
                    self._within.pop()
                if decomposed is not NotImplemented:
                    return decomposed
            results = function(*args, **kwargs)
            self.recording.note(function, args, kwargs, results)
            return results

        def _decomposed(self, function: Any, args: Any, kwargs: Any) -> Any:
            decomposition = _decompositions().get(function)
            primitive = getattr(function, "impl_aten", None)
            with self:
                if decomposition is not None:
                    return decomposition(*args, **kwargs)
                if primitive is not None:
                    return primitive(*args, **kwargs)
                return function.decompose(*args, **kwargs)

    return Recorder


@cache
def _decompositions() -> Mapping[Any, Callable[..., Any]]:
    """Return PyTorch's own ways to do operations by simpler ones; to gather them takes a while."""
    from torch._decomp import core_aten_decompositions, decomposition_table

    return {**decomposition_table, **core_aten_decompositions()}


def recorded(recording: Recording) -> Any:
    """Return the context in which a recording sees what is computed."""
    return _mode()(recording)


def record(function: Callable[..., Any], *tensors: Any) -> Program:
    """Record a function of tensors, and its reverse pass from cotangents of ones.

    The leaves are called `0`, `1`, … as they are given, and `cotangent.0`, ….
    """
    import torch

    leaves = {str(i): tensor for i, tensor in enumerate(tensors)}
    recording = Recording(leaves)
    with recorded(recording), torch.enable_grad():
        results = function(*tensors)
    outputs = [
        one
        for one in (results if isinstance(results, tuple | list) else (results,))
        if is_tensor(one) and one.requires_grad
    ]
    cotangents = [torch.ones_like(output) for output in outputs]
    wanted = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
    finish(recording, outputs, cotangents, wanted)
    return recording.program


def finish(
    recording: Recording, outputs: Sequence[Any], cotangents: Sequence[Any], wanted: Any
) -> list[Any]:
    """Record the reverse pass as well; return the gradients as tensors, or `None`."""
    import torch

    program = recording.program
    program.outputs = [recording.number_of(output) for output in outputs]
    for i, cotangent in enumerate(cotangents):
        program.leaves[f"cotangent.{i}"] = recording.number_of(cotangent)
        program.constants.pop(program.leaves[f"cotangent.{i}"], None)
    recording.backward = True
    gradients: list[Any] = [None] * len(wanted)
    if outputs and wanted:
        with recorded(recording):
            gradients = list(
                torch.autograd.grad(
                    list(outputs), list(wanted.values()), list(cotangents), allow_unused=True
                )
            )
    program.gradients = {
        name: None if one is None else recording.number_of(one)
        for name, one in zip(wanted, gradients, strict=True)
    }
    return gradients
