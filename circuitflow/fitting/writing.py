"""The document of a fit that is done: the same document with the values found and `fit.result`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel

from circuitflow.document.fit import DataFile, Fit, Result
from circuitflow.document.model import Document, TensorFile
from circuitflow.document.rewriting import with_fit, with_new_values
from circuitflow.document.writing import dumps
from circuitflow.fitting.parameters import element_name
from circuitflow.fitting.result import FitResult
from circuitflow.graph.circuit import Circuit

IN_PLACE = 64
"""The most elements of a parameter whose values stand in the document; those of others stand in a tensor file."""

LISTED = 1000
"""The most elements that a result lists one by one; of more it lists those whose values stand in the document."""


@dataclass(frozen=True)
class FittedDocument:
    """What a fit leaves.

    Attributes:
        document: the document.
        tensors: contents of the safetensors file that it names, to be written first; None where it names none.
        tensor_file: the name of that file. The digest is part of it, so it never replaces a file with other contents.
    """

    document: Document
    tensors: bytes | None = None
    tensor_file: str = ""


def fitted_document(result: FitResult, data: DataFile | None, stem: str) -> FittedDocument:
    """The document of a result.

    Args:
        result: the result; its document says what is minimised.
        data: the file of the data as the document is to name it; None where it lies elsewhere, or is no file.
        stem: the beginning of the name of a tensor file.
    """
    model = result.model
    arrays = {name: np.asarray(value) for name, value in result.values.items()}
    large = {name: array for name, array in arrays.items() if array.size > IN_PLACE}
    document = model.with_values({name: array for name, array in arrays.items() if name not in large}).document
    content, file = None, ""
    if large:
        from safetensors.numpy import save

        content = save({name: np.ascontiguousarray(array) for name, array in large.items()})
        digest = hashlib.sha256(content).hexdigest()
        file = f"{stem}.{digest[:12]}.safetensors"
        entries = {name: TensorFile(file=file, tensor=name, sha256=digest) for name in large}
        document = with_new_values(document, entries, {name: model.nodes[name].types[0].dtype for name in large})
    return FittedDocument(_with_result(document, result, data), content, file)


def result_entry(result: FitResult) -> dict[str, Any]:
    """The result as `fit.result` has it, as JSON. What goes by element is left out where there are too many."""
    entry = result.to_dict()
    entry["method"] = "; ".join((result.method, *result.steps))
    entry["digests"] = {"document": document_digest(result.model), **entry["digests"]}
    entry["start"] = _starts(result)
    if result.parameters.size > LISTED:
        for key in ("standard_errors", "confidence", "covariance", "correlation"):
            entry.pop(key, None)
    values = {name: np.asarray(value) for name, value in result.values.items()}
    if result.parameters.size > LISTED or result.running:
        few = {name: value for name, value in values.items() if value.size <= IN_PLACE}
        entry["parameters"] = [element_name(name, index) for name, x in few.items() for index in np.ndindex(x.shape)]
        entry["values"] = [x for value in few.values() for x in value.ravel().tolist()]
    return Result.model_validate(entry).model_dump(mode="python", exclude_unset=True)


def document_digest(circuit: Circuit) -> str:
    """SHA-256 of the document before the fit, in the canonical layout.

    Its `$schema`, the place of its data and its result do not count: they may differ where the question is the same.
    """
    fit = circuit.document.fit
    document = circuit.document
    if fit is not None:
        left = {key: getattr(fit, key) for key in fit.model_fields_set - {"data", "result"}}
        document = with_fit(document, Fit.model_construct(set(left), **left))
    fields = {key: getattr(document, key) for key in document.model_fields_set - {"schema_"}}
    return hashlib.sha256(dumps(Document.model_construct(set(fields), **fields)).encode()).hexdigest()


def _starts(result: FitResult) -> dict[str, Any]:
    """The values of the free parameters, and of running statistics, as the document had them before."""
    nodes = {node.id: node for node in result.model.document.nodes}
    starts = {name: getattr(nodes[name], "value", None) for name in result.values}
    return {name: value.model_dump(mode="python", exclude_unset=True) if isinstance(value, BaseModel) else value
            for name, value in starts.items()}


def _with_result(document: Document, result: FitResult, data: DataFile | None) -> Document:
    fit = document.fit or Fit()
    fields = {key: getattr(fit, key) for key in fit.model_fields_set - {"data", "result"}}
    if data is not None:
        fields["data"] = data
    fields["result"] = Result.model_validate(result_entry(result))
    return with_fit(document, Fit.model_construct(set(fields), **fields))
