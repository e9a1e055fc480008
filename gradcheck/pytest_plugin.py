"""The pytest plugin: a fixture `gradcheck` and the options of its sweeps.

It is loaded by every run of pytest where the package is installed, and imports no library.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.errors import RequestError
from gradcheck.options import OPTIONS, TEST_SAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.capture.case import Case
    from gradcheck.model.model import Model
    from gradcheck.reports.tables import Report

DEFAULTS = {"samples": TEST_SAMPLES, "seed": OPTIONS["seed"].default}
"""What can be set for a run of pytest."""
SETTINGS = pytest.StashKey[Mapping[str, Any]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer what `gradcheck sweep` offers, under a prefix."""
    group = parser.getgroup("gradcheck", "gradient checks (fixture gradcheck)")
    for setting, default in DEFAULTS.items():
        option = OPTIONS[setting]
        group.addoption(
            f"--gradcheck-{option.name}",
            default=str(default),
            metavar=option.metavar,
            help=f"{option.meaning} ({default})",
        )

    group.addoption("--gradcheck-known", metavar="FILE.toml", help="disagreements that are known")


def pytest_configure(config: pytest.Config) -> None:
    """Check the options before any test is collected."""
    try:
        settings = {
            setting: OPTIONS[setting].parse(config.getoption(f"gradcheck_{setting}"))
            for setting in DEFAULTS
        }
        if known := config.getoption("gradcheck_known"):
            from gradcheck.history.known import read_known

            settings["known"] = config.invocation_params.dir / known
            read_known(settings["known"])
        config.stash[SETTINGS] = settings
    except RequestError as error:
        raise pytest.UsageError(f"--gradcheck-{error}") from None


class Gradcheck:
    """What the fixture gives: `assert_agreement` with the settings of this run of pytest."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings

    def __call__(
        self, model: Model | Case | str | Callable[..., Any], *inputs: Any, **settings: Any
    ) -> Report:
        """Check a model, or a function and its inputs; see `gradcheck.testing`."""
        __tracebackhide__ = True
        from gradcheck.testing import assert_agreement

        try:
            return assert_agreement(model, *inputs, **{**self.settings, **settings})
        except RequestError as error:
            problem = RequestError(error.field, " ".join(error.text.split()))
        raise problem  # from here, so that it is told in a line


@pytest.fixture(scope="session")
def gradcheck(pytestconfig: pytest.Config) -> Gradcheck:
    """Check a model's hand-written backward pass: `gradcheck(model, adapters=["torch"])`."""
    return Gradcheck(pytestconfig.stash[SETTINGS])
