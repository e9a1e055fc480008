"""What several test files share."""

import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import hypothesis
import numpy as np
import pandas as pd
import pytest

from gradcheck import adapters as registry
from gradcheck.adapters import ENTRY_POINT_GROUP, Adapter, Arrays, all_adapters
from gradcheck.model.model import Model

hypothesis.settings.register_profile(
    "however busy the machine is",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("however busy the machine is")


def pytest_configure(config: pytest.Config) -> None:
    """Excuse PyTorch, whose forward mode and compiler use what it has deprecated itself.

    Signals arrive as in the foreground: what a shell starts in the background ignores SIGINT.
    """
    config.addinivalue_line("filterwarnings", r"ignore:`torch\.jit\.:DeprecationWarning")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a sweep of the command line judge in this process unless a test asks for more workers."""
    monkeypatch.setattr("gradcheck.cli.usable_cores", lambda: 1)


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, Adapter]], None]:
    """Make the given adapters the only ones there are."""

    def replace(adapters: Mapping[str, Adapter]) -> None:
        monkeypatch.setattr("gradcheck.adapters.all_adapters", lambda *_: dict(adapters))

    return replace


@pytest.fixture
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Install a package whose adapter is this text: a module that holds `ADAPTER`, or should."""

    def install(text: str) -> None:
        (tmp_path / "their_adapter.py").write_text(text)
        info = tmp_path / "their_adapter-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-adapter\nVersion: 1.0\n")
        entry = f"[{ENTRY_POINT_GROUP}]\ntheirs = their_adapter:ADAPTER\n"
        (info / "entry_points.txt").write_text(entry)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "their_adapter", raising=False)
        registry._loaded.cache_clear()

    yield install
    sys.modules.pop("their_adapter", None)
    registry._loaded.cache_clear()


@pytest.fixture
def altered() -> Callable[..., Adapter]:
    """Make an adapter that alters what an honest one returns, given the values that it was given.

    Called with nothing to alter, `altered()` is an honest adapter.
    """

    def make(alter: Callable[[dict, Arrays], object] | None = None, name: str = "complex-step"):
        honest = all_adapters()[name]

        def prepare(model: Model, dtype):
            gradients = honest.prepare(model, dtype)

            def altered_gradients(values: Arrays):
                found = {key: np.array(array) for key, array in gradients(values).items()}
                return found if alter is None else alter(found, values)

            return altered_gradients

        return Adapter(prepare, "for a test", honest.framework, normal_range=honest.normal_range)

    return make


@pytest.fixture
def settings() -> Callable[[], dict]:
    """Read what belongs to the whole process, or to the calling thread, and is not ours to change.

    A framework that has not been imported is left so.
    """

    def read() -> dict:
        found = {"numpy": np.geterr(), "subnormal": np.float64(2.0**-1074) * 1.0}
        if torch := sys.modules.get("torch"):
            found |= {
                "dtype": torch.get_default_dtype(),
                "threads": torch.get_num_threads(),
                "grad": torch.is_grad_enabled(),
                "generator": torch.get_rng_state().tolist(),
            }
        if jax := sys.modules.get("jax"):
            found["x64"] = jax.config.jax_enable_x64
        return found

    return read


@pytest.fixture
def counts() -> Callable[..., dict[str, int]]:
    """Read one verdict of every gradient off a summary."""

    def read(summary: pd.DataFrame, verdict: str, **where: str) -> dict[str, int]:
        for column, value in where.items():
            summary = summary[summary[column] == value]
        return dict(zip(summary["gradient"], summary[verdict].tolist(), strict=True))

    return read
