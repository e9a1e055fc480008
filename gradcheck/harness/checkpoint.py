"""What of a sweep is done: one file, from which a sweep that was killed goes on.

It is replaced as a whole. One that is damaged, or of another sweep, is not used: what it says of
the request, the sources, the versions and the processor must be what they are now.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gradcheck.errors import printable
from gradcheck.harness.outcome import Outcome
from gradcheck.harness.stretch import Stretch

INTERVAL = 1.0
"""Seconds between two that are written: so much work is lost at most, beside unfinished pieces."""
KNOWN = {
    "gradcheck.harness.outcome": {"Outcome"},
    "gradcheck.harness.stretch": {"Stretch"},
    "gradcheck.harness.samples": {"Samples"},
    "gradcheck.judge.tally": {"Tally", "Case"},
    "numpy": {"ndarray", "dtype"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.numeric": {"_frombuffer"},
}
"""All that a checkpoint consists of: reading one makes nothing else, whoever wrote it."""


class UnusableError(Exception):
    """A checkpoint that is not whole, and how."""


class ForeignError(Exception):
    """A checkpoint of another sweep, and which."""


class Checkpoint:
    """What of a sweep is done, in a file.

    Parameters
    ----------
    path
        Of the file.
    facts
        What the results depend on, as JSON has it.
    """

    def __init__(self, path: Path, facts: Mapping[str, Any]) -> None:
        self.path, self.facts = path, json.loads(json.dumps(facts))
        self.written = time.monotonic()

    def read(self) -> tuple[Outcome, frozenset[Stretch]]:
        """Return what was found, and on which stretches.

        Raises
        ------
        ForeignError, UnusableError
            If that is none of this sweep's, or not whole.
        FileNotFoundError
            If there is none.
        """
        content = self.path.read_bytes()
        digest, _, rest = content.partition(b"\n")
        if digest != _digest(rest):
            raise UnusableError("damaged")
        head, _, body = rest.partition(b"\n")
        if differences := _differences(json.loads(head), self.facts):
            raise ForeignError(f"of another sweep ({'; '.join(differences)})")
        outcome, done = _Unpickler(io.BytesIO(body)).load()
        return outcome, done

    def write(self, outcome: Outcome, done: frozenset[Stretch]) -> None:
        """Replace it, unless that was done just now."""
        if time.monotonic() - self.written < INTERVAL:
            return
        rest = json.dumps(self.facts).encode() + b"\n" + pickle.dumps((outcome, done))
        fresh = self._fresh
        try:
            with fresh.open("wb") as file:
                file.write(_digest(rest) + b"\n" + rest)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.path)
        finally:
            fresh.unlink(missing_ok=True)
        self.written = time.monotonic()

    def remove(self) -> None:
        """Forget it: the results are written."""
        self.path.unlink(missing_ok=True)
        self._fresh.unlink(missing_ok=True)

    @property
    def _fresh(self) -> Path:
        return self.path.with_name(f"{self.path.name}.fresh")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name not in KNOWN.get(module, ()):
            raise UnusableError(f"of something else ({printable(module)}.{printable(name)})")
        return super().find_class(module, name)


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def _differences(there: Any, here: Any, name: str = "") -> list[str]:
    """Say which facts differ: `seed: 1 there, 0 here`."""
    if isinstance(there, dict) and isinstance(here, dict):
        return [
            found
            for key in sorted(there.keys() | here.keys())
            for found in _differences(there.get(key), here.get(key), key)
        ]
    return [] if there == here else [f"{name}: {there} there, {here} here"]
