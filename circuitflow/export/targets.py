"""The table of forms that a circuit can be exported to."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from circuitflow.export.c.exporting import to_c
from circuitflow.export.javascript.exporting import to_javascript
from circuitflow.export.python import to_python
from circuitflow.onnx.exporting import to_onnx

TARGETS: Mapping[str, Callable[..., str | bytes]] = {
    "python": to_python,
    "onnx": to_onnx,
    "c": to_c,
    "javascript": to_javascript,
}
"""Takes the arguments of `to_python`, and gives the contents of a file. A new target is a row here."""
