"""The models: each a definition and two hand-written passes, in a file of its own."""

import importlib
import inspect
import linecache
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from gradcheck.capture.case import Case
from gradcheck.errors import RequestError, guarded, is_interrupt, told
from gradcheck.model.beside import import_anew
from gradcheck.model.model import Model
from gradcheck.suggestions import nearest

BUILT_IN = {
    "chain": "gradcheck.examples.chain",
    "chain-misprint": "gradcheck.examples.chain_misprint",
    "network": "gradcheck.examples.network",
    "softmax-cross-entropy": "gradcheck.examples.softmax_cross_entropy",
    "layer-norm": "gradcheck.examples.layer_norm",
    "batch-norm": "gradcheck.examples.batch_norm",
    "attention": "gradcheck.examples.attention",
    "gelu": "gradcheck.examples.gelu",
}
"""Modules that hold a `MODEL`, or a function `build` that makes one, by the name of the model."""


def load_model(request: str, options: Mapping[str, int] | None = None) -> Model:
    """Find a model by its built-in name, or in a file: `path/to/file.py` or `path/to/file.py:NAME`.

    Parameters
    ----------
    options
        Sizes of a model that is made by a function: its arguments. In a file that is a function
        NAME that returns a model.

    Raises
    ------
    RequestError
        If there is no such model, the file does not hold exactly one and none is named, or it
        has no such options.
    """
    if request in BUILT_IN:
        module = importlib.import_module(BUILT_IN[request])
        if hasattr(module, "build"):
            return _build(request, module.build, options or {})
        _refuse_options(request, options)
        return cast(Model, module.MODEL)
    file, colon, name = request.rpartition(":") if ".py:" in request else (request, "", "")
    if not file.endswith(".py"):
        raise RequestError("model", f"there is no model {request!r}{nearest(request, BUILT_IN)}")
    held = vars(_load_file(Path(file)))
    models = {key: value for key, value in held.items() if issubclass(type(value), Model | Case)}
    if colon:
        if name not in models and callable(held.get(name)):
            return _build(f"{file}:{name}", held[name], options or {})
        if name not in models:
            raise RequestError(
                "model",
                f"{file} holds no gradcheck.Model or Case named {name!r}{nearest(name, models)}",
            )
        _refuse_options(request, options)
        return _as_model(name, models[name])
    _refuse_options(request, options)
    if len(models) != 1:
        count = f"several models ({', '.join(models)})" if models else "no gradcheck.Model or Case"
        raise RequestError("model", f"{file} holds {count}; name one as {file}:NAME")
    return _as_model(*next(iter(models.items())))


def _as_model(name: str, held: Model | Case) -> Model:
    """Call a function once, to make a model of it; it goes by the name that it has in the file."""
    if isinstance(held, Model):
        return held
    try:
        with guarded():
            return held.model(name=name)
    except RequestError:
        raise
    except Exception as error:
        raise RequestError("model", f"{name} cannot be recorded: {told(error)}") from error


def _build(request: str, make: Callable[..., Any], options: Mapping[str, int]) -> Model:
    try:
        known = inspect.signature(make).parameters
    except (TypeError, ValueError) as error:
        raise RequestError("model", f"{request} is no function that makes a model") from error
    for name, size in options.items():
        if name not in known:
            raise RequestError("option", f"{request} has no {name!r}{nearest(name, known)}")
        if size < 1:
            raise RequestError("option", f"expected {name} to be at least 1, got {size}")
    try:
        model = make(**options)
    except RequestError:
        raise
    except BaseException as error:  # SystemExit as well
        if is_interrupt(error):
            raise
        raise RequestError("model", f"{request} cannot be made: {told(error)}") from error
    if not isinstance(model, Model | Case):
        raise RequestError(
            "model", f"{request} returns {type(model).__name__}, not a gradcheck.Model or Case"
        )
    return _as_model(getattr(make, "__name__", request), model)


def _refuse_options(request: str, options: Mapping[str, int] | None) -> None:
    if options:
        raise RequestError("option", f"{request} has no options; leave out {', '.join(options)}")


def _load_file(path: Path) -> ModuleType:
    try:
        is_file = path.is_file()
    except OSError as error:
        raise RequestError("model", f"{path} cannot be read ({error.strerror})") from error
    if not is_file:
        raise RequestError("model", f"there is no file {path}")
    linecache.checkcache()  # for whoever shows its lines
    try:
        return import_anew(path)
    except BaseException as error:  # SystemExit as well
        if is_interrupt(error):
            raise
        frames = traceback.extract_tb(error.__traceback__)
        lines = [
            frame.lineno for frame in frames if Path(frame.filename).resolve() == path.resolve()
        ]
        line, what = lines[-1] if lines else "?", told(error)
        if isinstance(error, SyntaxError) and error.filename == str(path):
            line, what = error.lineno, f"{type(error).__name__}: {error.msg}"
        if isinstance(error, RequestError):
            text = error.text if error.field == "model" else error
            raise RequestError("model", f"{text} ({path}, line {line})") from error
        raise RequestError("model", f"{path} does not import: line {line}: {what}") from error
