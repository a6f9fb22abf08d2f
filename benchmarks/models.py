"""Measures the import of an ONNX model of 100 MB, beside reading it and writing its tensors."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Case

LAYERS, WIDTH = 12, 1448


def cases() -> Iterator[Case]:
    """The import, with the document and the durable writing of its tensors."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        maker = get_context("fork").Process(target=_write, args=(model,))  # whose memory is not ours
        maker.start()
        maker.join()
        yield Case("import of an ONNX model of 100 MB", "call", 1, lambda: _imported(model),
                   lambda: {"onnx and safetensors": lambda: _converted(model)}, {"onnx and safetensors": 2}, 9,
                   once=True)


def _write(path: Path) -> None:
    """Layers of tanh(x W)."""
    import onnx
    from onnx import helper, numpy_helper

    chance, nodes, x = np.random.default_rng(0), [], "x"
    tensors = [numpy_helper.from_array(chance.standard_normal((WIDTH, WIDTH), np.float32), f"W{i}")
               for i in range(LAYERS)]
    for i in range(LAYERS):
        nodes += [helper.make_node("MatMul", [x, f"W{i}"], [f"p{i}"]), helper.make_node("Tanh", [f"p{i}"], [f"h{i}"])]
        x = f"h{i}"
    ports = [helper.make_tensor_value_info(name, 1, ["n", WIDTH]) for name in ("x", x)]
    graph = helper.make_graph(nodes, "layers", ports[:1], ports[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]), path)


def _imported(model: Path) -> list[Any]:
    from importlib import import_module

    import_module("circuitflow.cli.import").command(
        str(model), dims=[], assignments=[], limit=[], output=str(model.with_name("document.json")))
    return []


def _converted(model: Path) -> list[Any]:
    import onnx
    from onnx import numpy_helper
    from safetensors.numpy import save_file

    proto = onnx.load(model)
    save_file({tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer},
              model.with_name("model.safetensors"))
    return []
