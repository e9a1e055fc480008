"""What the bytes of a sweep's results depend on besides its samples."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

import gradcheck
from gradcheck.harness.block import Bench
from gradcheck.model.beside import PREFIX, model_folder

LIBRARIES = ("numpy", "array-api-compat", "scipy", "torch", "jax", "jaxlib", "python-flint")
VARIABLES = ("ATEN_", "JAX_", "NPY_", "PJRT_", "TORCH", "XLA_", "OMP_", "MKL_", "OPENBLAS_")
"""How the names begin of those that change what the libraries compute, or how."""


def facts_of(bench: Bench, model: str, options: Mapping[str, int]) -> dict[str, Any]:
    """Gather what must be the same for two parts of a sweep to be parts of one.

    Parameters
    ----------
    model, options
        As given to `load_model`.
    """
    request = {name: value for name, value in vars(bench.request).items() if name != "workers"}
    return {
        "model": model,
        "options": dict(options),
        **request,
        "adapters": sorted(bench.adapters),
        "block": bench.block,
        "model's source": digest_of_source(model),
        **code_of([adapter.framework for adapter in bench.adapters.values()]),
        **processor(),
        **{name: text for name, text in os.environ.items() if name.startswith(VARIABLES)},
    }


def digest_of_source(model: str) -> str:
    """Return a short name of the files that a model may be made of."""
    return _hash(model_files(model))


def digest_of(facts: Mapping[str, Any]) -> str:
    """Return a short name of facts."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def code_of(frameworks: Iterable[str]) -> dict[str, str]:
    """Return the versions of Python, of these packages and of all that we use, and our source's."""
    found = {"python": platform.python_version()}
    for name in sorted({*LIBRARIES, *frameworks} - {""}):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found | {"gradcheck's source": _hash(Path(gradcheck.__file__).parent.rglob("*.py"))}


def processor() -> dict[str, Any]:
    """Return what kind of processor this is, as far as it decides which code a library runs."""
    simd: Any = np.show_config(mode="dicts")
    return {
        "machine": f"{platform.system()} {platform.machine()}",
        "instructions": " ".join(simd.get("SIMD Extensions", {}).get("found", [])),
    }


def model_files(model: str) -> list[Path]:
    """Return the files that a model in a file may be made of: all modules in its folder.

    Those in folders below it as far as they are loaded; of a built-in model none but the package's.
    """
    folder = model_folder(model)
    if folder is None:
        return []
    used = [
        Path(path)
        for name, module in list(sys.modules.items())
        if name.startswith(PREFIX) and (path := getattr(module, "__file__", None))
    ]
    below = [path.absolute() for path in used if path.absolute().is_relative_to(folder.absolute())]
    beside = [path.absolute() for path in folder.glob("*.py")]
    return sorted({path for path in [*below, *beside] if path.is_file()})


def _hash(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:16]
