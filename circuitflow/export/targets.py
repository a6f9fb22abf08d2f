"""The table of languages that a circuit can be exported to."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from circuitflow.export.python import to_python

TARGETS: Mapping[str, Callable[..., str]] = {
    "python": to_python,
}
"""Takes the arguments of `to_python`, and gives the text of a file. A new target is a row here."""
