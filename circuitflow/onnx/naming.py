"""Ids for the names of a model, and the dtype of its document."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from circuitflow.document.base import ID
from circuitflow.onnx.reading import Graph


def identifier(name: str, taken: Any = ()) -> str:
    """A name as an id: letters, digits and underscores."""
    id_ = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_" if not name.startswith("_") else " ")[:100]
    id_ = id_ if re.fullmatch(ID, id_) else f"v_{id_}".rstrip("_")
    base, number = id_, 2
    while id_ in taken:
        id_, number = f"{base}_{number}", number + 1
    return id_


def common_dtype(graph: Graph) -> str:
    """The dtype that most of the floats of a graph have."""
    dtypes = [*_dtypes(graph)]
    return "float64" if dtypes.count("float64") > dtypes.count("float32") else "float32"


def _dtypes(graph: Graph) -> Iterator[str | None]:
    yield from (port.dtype for port in graph.inputs)
    yield from (str(array.dtype) for array in graph.tensors.values())
    yield from (str(value.dtype) for node in graph.nodes for value in node.attributes.values()
                if isinstance(value, np.ndarray))
