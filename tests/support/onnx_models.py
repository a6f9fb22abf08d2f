"""Small ONNX models, written in a line or two."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from circuitflow.onnx.importing import import_model
from circuitflow.onnx.reading import model_of

FLOAT = TensorProto.FLOAT


def port(name: str, *shape: Any, dtype: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def tensor(name: str, value: Any, dtype: Any = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value, dtype), name)


def model(nodes: Any, inputs: Any, outputs: Any, tensors: Any = (), opset: int = 21, **rest: Any) -> onnx.ModelProto:
    """A model of nodes such as ("Relu", "x", "y") or ("Softmax", "x", "y", {"axis": 0})."""
    made = [node if isinstance(node, onnx.NodeProto) else helper.make_node(
        node[0], node[1].split(","), node[2].split(","), **(node[3] if len(node) > 3 else {})) for node in nodes]
    graph = helper.make_graph(made, "graph", list(inputs), list(outputs), list(tensors))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], **rest)


def imported(proto: onnx.ModelProto, **options: Any) -> Any:
    return import_model(model_of(proto.SerializeToString(), "model.onnx"), **options)
