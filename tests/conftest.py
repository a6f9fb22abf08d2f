from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from circuitflow.engines.staged import buffers
from support import slices
from support.browser import browser  # noqa: F401  (a fixture)
from support.commands import circuitflow  # noqa: F401  (a fixture)
from support.memory_plans import checked
from support.skips import summary
from support.suite import ROOT

buffers.allot = checked(buffers.allot)
"""Every plan of buffers that a test makes is checked."""


def pytest_configure(config: pytest.Config) -> None:
    """Say which run this is, and that neither clock nor chance decides, before the test modules are imported."""
    settings.register_profile("suite", deadline=None, derandomize=True)
    settings.load_profile("suite")
    slices.WHOLE = config.option.markexpr != "not long"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `sliced` leaves out, and parts, before `-m` selects by the marks."""
    slices.mark_long(items)
    slices.mark_parts(items)


@pytest.fixture(autouse=True, scope="module")
def what_jax_compiled_goes_with_its_module() -> Iterator[None]:
    """Else a process that runs many modules keeps some gigabytes of it."""
    yield
    if jax := sys.modules.get("jax"):
        jax.clear_caches()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end what was not tested."""
    reports = terminalreporter.stats.get("skipped", [])
    if reports:
        terminalreporter.section("not tested")
        for line in summary(report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
                            for report in reports):
            terminalreporter.line(line)


@pytest.fixture
def root() -> Path:
    return ROOT
