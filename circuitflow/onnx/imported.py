"""What an import gives: a document, and the tensors that stand in a file beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from circuitflow.document.model import Document
from circuitflow.graph.circuit import Circuit, with_tensors
from circuitflow.onnx.storing import TensorContent


@dataclass(frozen=True)
class Import:
    """A model as a document, and the tensors that stand in a file beside it.

    Attributes:
        document: the document.
        tensors: its large tensors, by name.
        content: of the safetensors file that the document names, if it names one.
        file: the name of that file.
        notes: what differs from the model, in sentences.
    """

    document: Document
    tensors: Mapping[str, Any]
    content: TensorContent
    file: str
    notes: Sequence[str] = ()

    @property
    def circuit(self) -> Circuit:
        """The circuit, without files."""
        return with_tensors(self.document, {(self.file, name): array for name, array in self.tensors.items()})
