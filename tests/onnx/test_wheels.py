"""Models that other packages bring: values as ONNX Runtime has them, and gradients that pass `check`.

Nothing of those packages is imported; their models are read from where they are installed.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import circuitflow as cf
from circuitflow.onnx.importing import import_model
from circuitflow.onnx.reading import read_model

VOICE = {"input": (1, 576), "state": (2, 1, 128)}
MODELS = {
    "magika/models/standard_v3_3/model.onnx": {"bytes": (1, 2048)},
    "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx": {"x": (1, 3, 48, 96)},
    "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx": {"x": (1, 3, 64, 64)},
    "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx": {"x": (1, 3, 48, 64)},
    "silero_vad/data/silero_vad.onnx": VOICE,
    "silero_vad/data/silero_vad_16k_op15.onnx": VOICE,
    "silero_vad/data/silero_vad_16k_sequence.onnx": {"input": (3, 576), "h": (1, 1, 128), "c": (1, 1, 128)},
    "silero_vad/data/silero_vad_half.onnx": VOICE,
    "silero_vad/data/silero_vad_op18_ifless.onnx": VOICE,
    "silero_vad/data/silero_vad_openvino_16k.onnx": VOICE,
}
RATE = np.asarray(16000)


def path_of(name):
    """The file of a model, if its package is installed."""
    package, _, rest = name.partition("/")
    spec = importlib.util.find_spec(package)
    for folder in spec.submodule_search_locations or () if spec is not None else ():
        if (path := Path(folder) / rest).exists():
            return path
    pytest.skip(f"{package} is not installed, which has this model")


@pytest.mark.long
@pytest.mark.parametrize("name", MODELS)
def test_values_and_gradients(name):
    path, chance = path_of(name), np.random.default_rng(0)
    inputs = {port: chance.integers(0, 257, shape, np.int32) if port == "bytes" else
              chance.uniform(-0.5, 0.5, shape).astype(np.float32) for port, shape in MODELS[name].items()}
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    has_rate = any(port.name == "sr" for port in session.get_inputs())
    expected = session.run(None, {**inputs, **({"sr": RATE} if has_rate else {})})

    plain = read_model(path)
    dims = {size if size not in (None, "?") else f"{port.name}_{axis}": inputs[port.name].shape[axis]
            for port in plain.graph.inputs if port.name in inputs
            for axis, size in enumerate(port.shape) if not isinstance(size, int)}
    circuit = import_model(plain, dims=dims, values={"sr": RATE} if has_rate else {}).circuit
    outputs = cf.Executor(circuit).forward(inputs).outputs
    for value, y in zip(outputs.values(), expected, strict=True):
        np.testing.assert_allclose(value, y, 1e-5, 1e-5)

    upstream = {output: chance.standard_normal(np.shape(value)).astype(np.float32) for output, value in outputs.items()}
    floats = [port for port, x in inputs.items() if x.dtype.kind == "f"]
    where = floats or [max((node.id for node in circuit.nodes.values() if node.kind == "parameter"),
                            key=lambda name: circuit.values[name].size)]
    report = cf.check(circuit, inputs, wrt=where, upstream=upstream)
    assert all(row.worst.verdict == "ok" for row in report.compared), str(report)
    assert all(row.worst.gradient for row in report.compared), str(report)
