"""A model's file, and the modules that lie beside it: a package of their own, which no other sees.

`import helper` in a model's file means the helper beside it, now or later from inside a function,
whichever other `helper` the process knows. Nothing is put on `sys.path`, and no other module finds
what lies there. A library that is installed comes first: a neighbour hides nothing.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from itertools import count
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

PREFIX = "gradcheck_model_"
"""Of the packages' names; a number follows."""
_numbers = count()


def model_folder(model: str) -> Path | None:
    """Return the folder of a model's file; `None` of a built-in one."""
    file = Path(model.rpartition(":")[0] if ".py:" in model else model)
    return file.parent if file.suffix == ".py" else None


def located(model: str) -> str:
    """Return what `load_model` was given so that it holds wherever the process goes."""
    folder = model_folder(model)
    return model if folder is None else str(folder.absolute() / model.rpartition("/")[2])


def import_anew(path: Path) -> ModuleType:
    """Import a file, and what lies beside it as far as it is used, as they are now."""
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)
    package = ModuleType(f"{PREFIX}{next(_numbers)}")
    package.__path__ = [str(path.resolve().parent)]
    sys.modules[package.__name__] = package
    # Not by the finder: a file's name need not be an identifier, and may be that of a folder too.
    name = f"{package.__name__}.{path.stem}"
    module = ModuleType(name)
    module.__file__, module.__package__ = str(path), package.__name__
    sys.modules[name] = module  # dataclasses look their module up by name
    try:
        _Loader(name, str(path)).exec_module(module)
    except BaseException:
        for known in [n for n in sys.modules if n.partition(".")[0] == package.__name__]:
            del sys.modules[known]
        raise
    return module


class _Loader(SourceFileLoader):
    """Reads the source itself, for what was compiled before may be of the same second."""

    def get_code(self, fullname: str) -> CodeType | None:
        return self.source_to_code(self.get_data(self.path), self.path)

    def exec_module(self, module: ModuleType) -> None:
        # A function takes its `import` from the module that it was made in.
        own = {**vars(builtins), "__import__": _import_in(module.__name__.partition(".")[0])}
        vars(module)["__builtins__"] = own
        super().exec_module(module)


class _Finder(MetaPathFinder):
    """Finds the modules of these packages, and no others."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path) if name.startswith(PREFIX) else None
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(name, spec.loader.path)
        return spec


_FINDER = _Finder()


def _import_in(package: str) -> Callable[..., ModuleType]:
    """Make the `__import__` of the modules of a package."""

    def import_module(
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        top = name.partition(".")[0]
        if level or not _lies_beside(package, top):
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        # The import system returns the last of a dotted name if something is taken from it.
        last = builtins.__import__(f"{package}.{name}", globals, locals, fromlist or ("__name__",))
        return last if fromlist else sys.modules[f"{package}.{top}"]

    return import_module


@cache
def _lies_beside(package: str, name: str) -> bool:
    """Tell whether a module is a neighbour, and not one that is installed."""
    libraries = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    installed = PathFinder.find_spec(name, libraries)
    if name in {*sys.stdlib_module_names, "gradcheck"} or (installed and installed.loader):
        return False
    beside = PathFinder.find_spec(name, sys.modules[package].__path__)
    # A folder without an __init__.py, such as one of results, is a package if nothing else is.
    return beside is not None and (beside.origin is not None or not _is_known(name))


def _is_known(name: str) -> bool:
    return name in sys.modules or PathFinder.find_spec(name) is not None
