from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GUARD = 900
"""Seconds after which a process hangs. What works takes a few; no test is about how many."""
os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from circuitflow.engines.staged import buffers  # noqa: E402
from support.memory_plans import checked  # noqa: E402

buffers.allot = checked(buffers.allot)
"""Every plan of buffers that a test makes is checked."""


REMEDIES = {"torch": "pip install torch", "array_api_strict": "pip install -e '.[test]'", "jax": "pip install -e '.[test]'", "pyarrow": "pip install -e '.[test]'"}


def summary(reasons: Iterable[str]) -> list[str]:
    """Why tests were skipped, and what brings them back: a line for each remedy, and one for what has none.

    A reason ends with its remedy in brackets, or says which module cannot be imported.
    """
    counts = Counter(map(_summed, reasons))
    return [f"{count:,} skipped: {why}" for why, count in sorted(counts.items(), key=lambda item: (not item[0].count(":"), -item[1]))]


def _summed(reason: str) -> str:
    reason = reason.removeprefix("Skipped: ")
    module = re.search(r"could not import '(\w+)|^(\w+) is not installed", reason)
    if module:
        name = module[1] or module[2]
        return f"{name} is not installed: {REMEDIES.get(name, f'pip install {name}')}"
    remedy = re.fullmatch(r"(.*) \((.*)\)", reason)
    return f"{remedy[1]}: {remedy[2]}" if remedy else "what they test has no meaning for their parameters or this system"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end what was not tested."""
    reports = terminalreporter.stats.get("skipped", [])
    if reports:
        terminalreporter.section("not tested")
        for line in summary(report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr) for report in reports):
            terminalreporter.line(line)


@pytest.fixture
def root() -> Path:
    return ROOT
