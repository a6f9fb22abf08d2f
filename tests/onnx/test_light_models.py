"""The light models of onnx: whole image networks, with weights that are filled in."""

from __future__ import annotations

import os

import numpy as np
import onnx
import onnxruntime
import pytest

import circuitflow as cf
from circuitflow.onnx.importing import import_model
from circuitflow.onnx.reading import model_of

FOLDER = os.path.join(os.path.dirname(onnx.__file__), "backend/test/data/light")
MODELS = ["bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet",
          "vgg19", "zfnet512"]


@pytest.mark.parametrize("name", [name if name == "shufflenet" else pytest.param(name, marks=pytest.mark.long)
                                  for name in MODELS])
def test_values_are_those_of_onnx_runtime(name):
    """Without a last softmax: all of its operands are equal, so large that their rounding decides."""
    proto = onnx.load(os.path.join(FOLDER, f"light_{name}.onnx"))
    last = next(node for node in reversed(proto.graph.node) if node.op_type != "Softmax")
    del proto.graph.output[:]
    proto.graph.output.append(onnx.helper.make_empty_tensor_value_info(last.output[0]))
    content = proto.SerializeToString()
    circuit = import_model(model_of(content, name)).circuit
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (given, *_) = session.get_inputs()
    x = np.random.default_rng(0).random(given.shape).astype(np.float32)
    (expected,) = session.run(None, {given.name: x})
    (node,) = (node.id for node in circuit.nodes.values() if node.kind == "input")
    (value,) = cf.Executor(circuit).forward({node: x}).outputs.values()
    assert np.allclose(value, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
