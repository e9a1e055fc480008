"""The models: each a definition and two hand-written passes, in a file of its own."""

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import cast

from gradcheck.engine.model import Model
from gradcheck.errors import RequestError
from gradcheck.suggestions import nearest

BUILT_IN = {
    "chain": "gradcheck.engine.chain",
    "chain-misprint": "gradcheck.engine.chain_misprint",
}
"""Modules that hold a `MODEL`, by the name of the model."""


def load_model(request: str) -> Model:
    """Find a model by its built-in name, or in a file: `path/to/file.py` or `path/to/file.py:NAME`.

    Raises
    ------
    RequestError
        If there is no such model, or the file does not hold exactly one and none is named.
    """
    if request in BUILT_IN:
        return cast(Model, importlib.import_module(BUILT_IN[request]).MODEL)
    file, colon, name = request.rpartition(":") if ".py:" in request else (request, "", "")
    if not file.endswith(".py"):
        raise RequestError(f"MODEL: there is no model {request!r}{nearest(request, BUILT_IN)}")
    models = {
        key: value
        for key, value in vars(_load_file(Path(file))).items()
        if isinstance(value, Model)
    }
    if colon:
        if name not in models:
            raise RequestError(f"MODEL: {file} holds no gradcheck.Model named {name!r}")
        return models[name]
    if len(models) != 1:
        held = f"several models ({', '.join(models)})" if models else "no gradcheck.Model"
        raise RequestError(f"MODEL: {file} holds {held}; name one as {file}:NAME")
    return next(iter(models.values()))


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise RequestError(f"MODEL: there is no file {path}")
    name = f"gradcheck_model_{path.stem}"  # not its own, which may be a library's
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise RequestError(f"MODEL: {path} cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up by name
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        frames = traceback.extract_tb(error.__traceback__)
        lines = [
            frame.lineno for frame in frames if Path(frame.filename).resolve() == path.resolve()
        ]
        line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else "?"
        what = error.msg if isinstance(error, SyntaxError) else error
        raise RequestError(
            f"MODEL: {path} does not import: line {line}: {type(error).__name__}: {what}"
        ) from error
    return module
