"""The table of forms that a circuit can be exported to."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from circuitflow.export.python import to_python
from circuitflow.onnx.exporting import Export, to_model

TARGETS: Mapping[str, Callable[..., str | Export]] = {
    "python": to_python,
    "onnx": to_model,
}
"""Takes the arguments of `to_python`, and gives the text of a file, or a model. A new target is a row here."""
