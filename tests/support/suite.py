"""Where the project lies, and how long a process may take."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "circuits").glob("*.json"))
GUARD = 900
"""Seconds after which a process hangs. What works takes a few; no test is about how many."""
