"""What an import gives: a document, and the tensors that stand in a file beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from circuitflow.document.base import READABLE
from circuitflow.document.model import Document
from circuitflow.document.reading import validate
from circuitflow.document.versions import with_lowest_version
from circuitflow.errors import CircuitflowError, InputError
from circuitflow.graph.circuit import Circuit, with_tensors
from circuitflow.onnx.reading import Model
from circuitflow.onnx.storing import TensorContent
from circuitflow.text import printable
from circuitflow.transforms.naming import as_nodes
from circuitflow.transforms.writer import Record, Wire


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


def document_of(model: Model, dtype: str, circuits: Mapping[str, Any], records: Sequence[Record],
                outputs: Sequence[Wire]) -> Document:
    """The document of a model's nodes.

    Raises:
        InputError: no document can have them.
    """
    description = printable(model.metadata.get("description", "") or model.graph.note, 10_000)
    body = {"circuitflow": READABLE[-1], "name": printable(model.graph.name, 200) or None,
            "description": description or None,
            "dtype": dtype if dtype != "float64" else None,
            "circuits": circuits or None, "nodes": list(as_nodes(records)),
            "outputs": list(dict.fromkeys(wire.reference for wire in outputs)),
            "metadata": {"onnx": {"opset": model.opset, **{key: text for key, text in model.metadata.items()
                                                           if key != "description"}}}}
    document = {key: value for key, value in body.items() if value is not None}
    try:
        return with_lowest_version(validate(document))
    except CircuitflowError as error:
        raise InputError(f"'{model.file}' cannot be written as a document: {error}") from None
