"""The same model, differentiated by others: one file a framework, found through entry points.

A package adds its own with

    [project.entry-points."gradcheck.adapters"]
    my-framework = "my_package.module:ADAPTER"

where ADAPTER is an `Adapter`.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.errors import RequestError, guarded, is_interrupt, one_line, told
from gradcheck.model.board import Given
from gradcheck.model.model import Model
from gradcheck.numbers.rounding import Rounding
from gradcheck.suggestions import nearest

ENTRY_POINT_GROUP = "gradcheck.adapters"
HAND_WRITTEN = "hand-written"
"""The adapter that runs the passes under test themselves; its agreement confirms no formula."""

Arrays = Mapping[str, NDArray[Any]]
Gradients = Callable[[Arrays], Arrays]
"""From inputs and parameters, `(n, *shape)` of one dtype, to gradients of that shape and dtype."""


def every_parameter(model: Model) -> Sequence[str]:
    """Name the gradients that an adapter gives unless it says otherwise: all of them."""
    return tuple(model.parameters)


def by_forward_mode(framework: str) -> Callable[[Model], Sequence[str]]:
    """Give all gradients, but not of an expression that may know reverse mode only.

    A custom rule is written for one mode, which is reverse mode as a rule.
    """
    return lambda model: () if framework in model.expressions else every_parameter(model)


def normal_range(dtype: np.dtype[Any]) -> tuple[float, float]:
    """Return what a result may lose that underflows, and from which magnitude on one overflows."""
    rounding = Rounding(dtype)
    return rounding.underflow_error, rounding.largest


def sample_loss(model: Model, xp: Any, framework: str = "") -> Callable[[Mapping[str, Any]], Any]:
    """Return the loss of one sample as a function of its inputs and parameters, by flat names.

    What the model gives as the expression of this framework takes the place of its definition.
    """
    expression = model.expressions.get(framework, model.loss)

    def loss(values: Mapping[str, Any]) -> Any:
        if not model.batched:
            return expression(xp, Given(values))
        return expression(xp, Given({name: a[None] for name, a in values.items()}))[0]

    return loss


@dataclass(frozen=True)
class Adapter:
    """One way to obtain the gradients of a model.

    Parameters
    ----------
    prepare
        `prepare(model, dtype)` returns the function that computes them. It differentiates
        `model.loss`, imports its framework itself and leaves the process's settings alone.
    framework
        The package that it needs, by its import and distribution name; empty for NumPy.
    summary
        How it differentiates, in a few words.
    by_default
        Whether a sweep runs it without being asked to.
    judged
        Whether its error is rounding alone, so that it can be held to the bound.
    gradients
        Which gradients it gives for a model.
    normal_range
        By dtype, the smallest gradient and the largest quantity that it handles with full
        precision.
    value
        As `prepare`, but of the function that computes the losses, shape `(n,)`: those of the
        expression that takes the definition's place. `None` if there is none to be had.
    dtypes
        The formats in which it works; `None` for all.
    """

    prepare: Callable[[Model, np.dtype[Any]], Gradients]
    summary: str
    framework: str = ""
    by_default: bool = True
    judged: bool = True
    gradients: Callable[[Model], Sequence[str]] = every_parameter
    normal_range: Callable[[np.dtype[Any]], tuple[float, float]] = normal_range
    value: Callable[[Model, np.dtype[Any]], Callable[[Arrays], NDArray[Any]]] | None = None
    dtypes: Sequence[str] | None = None

    def works_in(self, dtype: str) -> bool:
        """Tell whether it works in a format."""
        return self.dtypes is None or dtype in self.dtypes

    @property
    def installed(self) -> bool:
        """Whether its framework can be found."""
        try:
            with guarded():
                return not self.framework or importlib.util.find_spec(self.framework) is not None
        except Exception:  # what it is a part of is missing, or odd
            return False

    @property
    def version(self) -> str:
        """Version of its framework; a question mark if it was not installed as a package."""
        try:
            return importlib.metadata.version(self.framework or "numpy")
        except (importlib.metadata.PackageNotFoundError, ValueError):
            return "?"

    @property
    def install_command(self) -> str:
        """The command that installs its framework."""
        return f"python -m pip install {self.framework}"


def all_adapters(names: Collection[str] | None = None) -> dict[str, Adapter]:
    """Load every registered adapter, installed or not, by name in alphabetical order.

    Of `names` only, if they are given: no other package's module is then imported.
    """
    loaded = _loaded_adapters(names)
    return {name: found for name, found in loaded.items() if isinstance(found, Adapter)}


def broken_adapters(names: Collection[str] | None = None) -> dict[str, str]:
    """Return why an adapter that is registered cannot be loaded, by its name."""
    return {n: found for n, found in _loaded_adapters(names).items() if isinstance(found, str)}


def registered_names() -> list[str]:
    """Name every registered adapter, in alphabetical order, and load none."""
    return sorted({point.name for point in _points()})


def _loaded_adapters(names: Collection[str] | None) -> dict[str, Adapter | str]:
    points = {point.name: point for point in sorted(_points(), key=_is_own)}
    return {n: _loaded(points[n]) for n in sorted(points) if names is None or n in names}


def _is_own(point: importlib.metadata.EntryPoint) -> bool:
    """Tell whether it is of this package, whose names nobody takes."""
    return point.value.startswith("gradcheck.")


def _points() -> list[importlib.metadata.EntryPoint]:
    """Find what is registered; a package whose metadata cannot be read registers nothing."""
    try:
        return list(importlib.metadata.entry_points(group=ENTRY_POINT_GROUP))
    except Exception:  # that of one package, which would stop them all
        found: list[importlib.metadata.EntryPoint] = []
        for distribution in importlib.metadata.distributions():
            with suppress(Exception):
                found += distribution.entry_points.select(group=ENTRY_POINT_GROUP)
        return found


@cache
def _loaded(point: importlib.metadata.EntryPoint) -> Adapter | str:
    """Load an adapter that somebody else may have written; else say in one line why not."""
    try:
        found = point.load()
    except BaseException as error:  # SystemExit as well
        if is_interrupt(error):
            raise
        return one_line(told(error))
    if not isinstance(found, Adapter):
        return f"{point.value} is no gradcheck.adapters.Adapter, but {type(found).__name__}"
    if not (isinstance(found.framework, str) and isinstance(found.summary, str)):
        return f"{point.value} has a framework or a summary that is no text"
    if not callable(found.prepare) or not callable(found.gradients):
        return f"{point.value} has nothing to call as prepare or as gradients"
    return found


def unusable_adapters(model: Model) -> dict[str, str]:
    """Return why an adapter that would be run by default is broken, by its name."""
    gradients = {
        name: _gradients(adapter, model)
        for name, adapter in all_adapters().items()
        if adapter.by_default
    }
    return broken_adapters() | {n: why for n, why in gradients.items() if isinstance(why, str)}


def _gradients(adapter: Adapter, model: Model) -> Sequence[str] | str:
    """Ask an adapter which gradients it gives; return why it cannot say."""
    try:
        with guarded():
            return tuple(adapter.gradients(model))
    except Exception as error:
        return one_line(told(error))


def missing_adapters() -> dict[str, str]:
    """Return the command that installs each adapter that a sweep would run by default but lacks."""
    return {
        name: adapter.install_command
        for name, adapter in all_adapters().items()
        if adapter.by_default and not adapter.installed
    }


def choose_adapters(
    names: Sequence[str] | None, model: Model, dtypes: Sequence[str] = ("float64",)
) -> dict[str, Adapter]:
    """Return the adapters asked for, or those that a sweep runs by default, for some formats.

    Raises
    ------
    RequestError
        For a name that is unknown, not installed, or has nothing to say about this model; and if
        there is no adapter for a format.
    """
    chosen = _chosen(names, model)
    for name, adapter in chosen.items():
        if names is not None and not any(map(adapter.works_in, dtypes)):
            known = " and ".join(adapter.dtypes or ())
            raise RequestError("adapters", f"{name} works in {known}, not in {', '.join(dtypes)}")
    for dtype in dtypes:
        if not any(adapter.works_in(dtype) for adapter in chosen.values()):
            raise RequestError(
                "dtypes",
                f"none of the adapters ({', '.join(chosen)}) works in {dtype}; "
                f"install PyTorch or JAX, or leave {dtype} out",
            )
    return {n: one for n, one in chosen.items() if any(map(one.works_in, dtypes))}


def _chosen(names: Sequence[str] | None, model: Model) -> dict[str, Adapter]:
    if model.adapters:
        return _own_adapters(names, model)
    if names is None:
        return {
            name: adapter
            for name, adapter in all_adapters().items()
            if adapter.by_default and adapter.installed
            if (gradients := _gradients(adapter, model)) and not isinstance(gradients, str)
        }
    if not names:
        raise RequestError("adapters", f"none given; choose among {', '.join(registered_names())}")
    known, broken = all_adapters(names), broken_adapters(names)
    for name in names:
        if name in broken:
            raise RequestError("adapters", f"{name} is broken: {broken[name]}")
        if name not in known:
            hint = nearest(name, registered_names())
            raise RequestError("adapters", f"there is no adapter {name!r}{hint}")
        if not known[name].installed:
            raise RequestError(
                "adapters",
                f"{name} needs {known[name].framework}, which is not installed; "
                f"install it with: {known[name].install_command}",
            )
        gradients = _gradients(known[name], model)
        if isinstance(gradients, str):
            raise RequestError("adapters", f"{name} is broken: {gradients}")
        if not gradients:
            raise RequestError("adapters", f"{name} has nothing for the model {model.name}")
    return {name: known[name] for name in dict.fromkeys(names)}


def _own_adapters(names: Sequence[str] | None, model: Model) -> dict[str, Adapter]:
    for name in names or ():
        if name not in model.adapters:
            raise RequestError(
                "adapters",
                f"{model.name} is compared with {', '.join(model.adapters)} alone, not with {name}",
            )
    return {name: model.adapters[name] for name in names or model.adapters}
