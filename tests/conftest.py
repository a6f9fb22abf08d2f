from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
ROOT = Path(__file__).parent.parent
GUARD = 900
"""Seconds after which a process hangs. What works takes a few; no test is about how many."""
os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from circuitflow.engines import buffers  # noqa: E402
from memory_plans import checked  # noqa: E402

buffers.allot = checked(buffers.allot)
"""Every plan of buffers that a test makes is checked."""


@pytest.fixture
def root() -> Path:
    return ROOT
