"""The forward pass of imported models beside ONNX Runtime, each on one thread.

    OMP_NUM_THREADS=1 python -m benchmarks.onnx_forward [WORD …]

The models come with onnx, magika, rapidocr_onnxruntime and silero_vad; those of packages that are not installed are
left out with that reason. A word keeps the models whose name it is in. A ratio is the median over rounds of our CPU
time to that of ONNX Runtime in the same round, so that other programs on the machine disturb it little.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy as np
import onnx

import circuitflow as cf
from benchmarks.onnx_gradients import below_softmax, session
from circuitflow.onnx.importing import import_model
from circuitflow.onnx.reading import model_of

LIGHT = ("bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet", "vgg19",
         "zfnet512")
PACKED = {
    "magika/models/standard_v3_3/model.onnx": {"bytes": (1, 2048)},
    "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx": {"x": (1, 3, 48, 192)},
    "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx": {"x": (1, 3, 320, 320)},
    "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx": {"x": (1, 3, 48, 320)},
    "silero_vad/data/silero_vad.onnx": {"input": (1, 576), "state": (2, 1, 128)},
    "silero_vad/data/silero_vad_16k_op15.onnx": {"input": (1, 576), "state": (2, 1, 128)},
}
"""Shapes of inputs by the file of a model, which begins with its package."""

BARS = {"numpy": 4.0, "jax": 2.0}
ROUNDS, LEAST = 7, 0.2
"""Rounds of a model, and the seconds that the calls of a round take at least."""


def models() -> Iterator[tuple[str, Path | None, dict[str, tuple[int, ...]]]]:
    """Name, file (None where its package is not installed) and shapes of inputs of every model."""
    for name in LIGHT:
        yield name, _file(f"onnx/backend/test/data/light/light_{name}.onnx"), {}
    for name, shapes in PACKED.items():
        yield name.rpartition("/")[2].removesuffix(".onnx"), _file(name), shapes


def _file(name: str) -> Path | None:
    package, _, rest = name.partition("/")
    spec = importlib.util.find_spec(package)
    paths = (Path(folder) / rest for folder in (spec.submodule_search_locations or () if spec else ()))
    return next((path for path in paths if path.exists()), None)


def sides(path: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, Callable[[], Any]]:
    """What runs the model once: ONNX Runtime, and ours on NumPy and under JAX, whose results agree."""
    content = below_softmax(onnx.load(path)).SerializeToString()
    live, plain, chance = session(content), model_of(content, str(path)), np.random.default_rng(0)
    rate = {"sr": np.asarray(16000)} if any(port.name == "sr" for port in live.get_inputs()) else {}
    ports = [port for port in plain.graph.inputs if port.name not in plain.graph.tensors and port.name not in rate]
    inputs = {port.name: chance.uniform(0, 256 if "int" in port.dtype else 1, shapes.get(port.name) or port.shape)
              .astype(port.dtype) for port in ports}
    dims = {size if size not in (None, "?") else f"{port.name}_{axis}": inputs[port.name].shape[axis]
            for port in ports for axis, size in enumerate(port.shape) if not isinstance(size, int)}
    circuit = import_model(plain, dims=dims, values=rate).circuit
    ids = {node.label or node.id: node.id for node in circuit.nodes.values() if node.kind == "input"}
    given = {ids[name]: x for name, x in inputs.items() if name in ids}
    executor = cf.Executor(circuit)
    in_numpy, in_jax = executor.compile(wrt=()), executor.compile(wrt=(), engine="jax")
    import jax

    found = {"onnxruntime": lambda: live.run(None, {**inputs, **rate}), "numpy": lambda: in_numpy(given)[0],
             "jax": lambda: jax.block_until_ready(in_jax(given)[0])}
    expected = found["onnxruntime"]()
    for engine in BARS:
        result = found[engine]()
        for y, value in zip(expected, result.values() if isinstance(result, dict) else [result], strict=True):
            np.testing.assert_allclose(value, y, 1e-4, 1e-5 * max(1.0, float(np.abs(y).max())), err_msg=engine)
    return found


def _seconds(run: Callable[[], Any], calls: int) -> float:
    """CPU time of a call."""
    start = time.process_time()
    for _ in range(calls):
        run()
    return (time.process_time() - start) / calls


def main(words: list[str]) -> None:
    """Print a table of the models."""
    print("One thread, CPU time of a call. Bars: " + ", ".join(f"{name} {most}" for name, most in BARS.items()) + ".\n")
    print("| model | ONNX Runtime | NumPy | ratio | jax | ratio |\n|---|---|---|---|---|---|")
    for name, path, shapes in models():
        if words and not any(word in name for word in words):
            continue
        if path is None:
            print(f"{name}: left out, its package is not installed", file=sys.stderr)
            continue
        runs = sides(path, shapes)
        calls = {engine: max(1, round(LEAST / max(_seconds(run, 3), 1e-6))) for engine, run in runs.items()}
        rounds = [{engine: _seconds(run, calls[engine]) for engine, run in runs.items()} for _ in range(ROUNDS)]
        cells = [f"{statistics.median(row['onnxruntime'] for row in rounds) * 1e3:.3g} ms"]
        for engine, most in BARS.items():
            ratio = statistics.median(row[engine] / row["onnxruntime"] for row in rounds)
            cells += [f"{statistics.median(row[engine] for row in rounds) * 1e3:.3g} ms",
                      f"{ratio:.2g}{' (missed)' if ratio > most else ''}"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
