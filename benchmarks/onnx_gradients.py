"""Gradients as ONNX models beside those of onnx-ad, in one run: operators covered, wrong results, size and time.

    pip install onnx-ad && python -m benchmarks.onnx_gradients [MODEL.onnx …]

The first part takes every test of one operator that comes with onnx and has floats. Both make a model of its gradient,
ONNX Runtime runs it, and the slope along a direction is compared with differences of ONNX's evaluator in float64. The
second part takes models, those named or the light ones of onnx, with all of their open dimensions 1.
"""

from __future__ import annotations

import collections
import contextlib
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.version_converter
import onnxruntime

from circuitflow.onnx.exporting import to_onnx
from circuitflow.onnx.reading import model_of

TESTS = Path(__file__).parent.parent / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "fuzz")]

Gradients = Mapping[str, Any]
SIZES = ("scales", "roi")
"""Inputs of `Resize` and `Upsample` that are floats, and that sizes and places depend on: known before a run."""

LIGHT = ("shufflenet", "squeezenet", "resnet50")


def session(content: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


Made = tuple[bytes, Callable[[Any], Gradients]]
"""A gradient model, and what runs it in a session."""


def ours(model: onnx.ModelProto, inputs: Gradients, seeds: Gradients, wrt: list[str]) -> Made:
    """Our gradient model, and what runs it in a session."""
    from support.onnx_cases import imported

    result, rest = imported(model, dict(inputs))
    circuit = result.circuit
    ids = {node.label or node.id: node.id for node in circuit.nodes.values() if node.kind == "input"}
    outputs = {circuit.nodes[name].label or name: name for name in circuit.outputs if name in circuit.nodes}
    of = [outputs[name] for name in seeds]
    content = to_onnx(circuit, of, [ids[name] for name in wrt],
                      upstream={outputs[name]: seed for name, seed in seeds.items()})
    names = [out.name for out in onnx.load_from_string(content).graph.output][-len(wrt) :]

    def run(live: Any) -> Gradients:
        feed = {ids[name]: x for name, x in rest.items() if ids[name] in {port.name for port in live.get_inputs()}}
        return dict(zip(wrt, live.run(names, feed), strict=True))

    return content, run


def theirs(model: onnx.ModelProto, inputs: Gradients, seeds: Gradients, wrt: list[str]) -> Made:
    """The gradient model of onnx-ad, and what runs it in a session."""
    from onnx_ad import reverse

    content = reverse(model, inputs=wrt, outputs=list(seeds), layout="onnx").SerializeToString()
    feed = {**inputs, **{f"adj_{name}": np.asarray(seed)[..., None] for name, seed in seeds.items()}}

    def run(live: Any) -> Gradients:
        values = live.run([f"adj_{name}" for name in wrt], feed)
        return {name: value[..., 0] for name, value in zip(wrt, values, strict=True)}

    return content, run


def operators() -> None:
    """How many tests both cover, and how many of their gradients are wrong."""
    from onnx.reference import ReferenceEvaluator
    from onnx_gradients import NO_ORACLE, in_float64, slopes

    from support.onnx_cases import cases

    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    covered: dict[str, set[str]] = collections.defaultdict(set)
    for case in cases():
        model, (given, _) = case.model, case.data_sets[0]
        if len(model.graph.node) != 1 or any(not isinstance(x, np.ndarray) for x in given):
            continue
        inputs = dict(zip((port.name for port in model.graph.input), given, strict=False))
        wrt = [name for name, x in inputs.items() if x.dtype == np.float32 and x.size and name not in SIZES]
        chance = np.random.default_rng(0)
        values = {name: x.astype(np.float64) if name in wrt else x for name, x in inputs.items()}
        try:
            evaluator = ReferenceEvaluator(in_float64(model))
            results = evaluator.run(None, values)
        except Exception:
            counts["all"]["without reference"] += 1
            continue
        reference = dict(zip((port.name for port in model.graph.output), results, strict=True))
        seeds = {name: np.where(np.isfinite(y), chance.standard_normal(np.shape(y)), 0).astype(np.float32)
                 for name, y in reference.items() if isinstance(y, np.ndarray) and y.dtype.kind == "f" and y.size}
        if not wrt or not seeds or case.name in NO_ORACLE:
            continue
        along = {name: chance.standard_normal(inputs[name].shape) for name in wrt}

        def total(t: float, values: Any = values, along: Any = along, seeds: Any = seeds, evaluator: Any = evaluator,
                  reference: Any = reference) -> float:
            outputs = evaluator.run(None, {**values, **{name: values[name] + t * v for name, v in along.items()}})
            return float(sum(np.sum(np.where(np.isfinite(y), seeds[name] * y, 0.0))
                             for name, y in zip(reference, outputs, strict=True) if name in seeds))

        try:
            sides = [slopes(total, step) for step in (1e-2, 1e-3, 1e-4, 1e-5)]
        except (ValueError, RuntimeError):  # sizes that a float decides
            counts["all"]["without reference"] += 1
            continue
        size = max(abs(sides[-1][0]), 1e-2)
        has_slope = abs(sides[-1][0] - sides[-2][0]) < 0.01 * size and abs(sides[-1][1] - sides[-1][2]) < 0.01 * size
        counts["all"]["tests"] += 1
        covered["all"].add(model.graph.node[0].op_type)
        for name, make in (("circuitflow", ours), ("onnx-ad", theirs)):
            try:
                content, run = make(model, inputs, seeds, wrt)
                gradients = run(session(content))
            except Exception as error:
                counts[name][f"refused ({type(error).__name__})"] += 1
                continue
            products = [np.asarray(gradients[key], np.float64) * v for key, v in along.items()]
            slope, scale = (float(sum(np.sum(f(x)) for x in products)) for f in (np.asarray, np.abs))
            if any(abs(one - slope) <= 1e-3 * max(scale, abs(one), 1e-2) for three in sides for one in three):
                counts[name]["right"] += 1
                covered[name].add(model.graph.node[0].op_type)
            elif not has_slope:
                counts[name]["at a kink"] += 1
                covered[name].add(model.graph.node[0].op_type)
            else:
                counts[name]["wrong"] += 1
                print(f"wrong: {name} {case.name}: {slope:.6g}, differences {sides[1][0]:.6g}", flush=True)
    for name, count in counts.items():
        print(f"{name}: {len(covered[name])} operators, {dict(count)}")


def below_softmax(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model whose output is what its last softmax takes, if it ends so.

    With weights that are filled in, that has equal operands, so large that their rounding decides.
    """
    last = next((node for node in model.graph.node if model.graph.output[0].name in node.output), None)
    if last is not None and last.op_type == "Softmax":
        del model.graph.output[:]
        model.graph.output.append(onnx.helper.make_tensor_value_info(last.input[0], 1, None))
        model.graph.node.remove(last)
    return model


def _newer(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model in an opset that onnx-ad takes, with the shapes of its values declared, where onnx can make that."""
    with contextlib.suppress(Exception):
        if model.opset_import[0].version < 17:
            model = onnx.version_converter.convert_version(model, 17)
        model = onnx.shape_inference.infer_shapes(model)
    return model


def models(paths: list[str]) -> None:
    """Nodes and times of the gradients of models."""
    folder = Path(onnx.__file__).parent / "backend/test/data/light"
    print("| model | nodes, ours | onnx-ad | time in ONNX Runtime | onnx-ad | ratio | time to make | onnx-ad | ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    for path in paths or [str(folder / f"light_{name}.onnx") for name in LIGHT]:
        model = _newer(below_softmax(onnx.load(path)))
        plain = model_of(model.SerializeToString(), path)
        ports = [port for port in plain.graph.inputs if port.name not in plain.graph.tensors]
        chance = np.random.default_rng(0)
        sizes = {name: int(size) for name, _, size in (text.rpartition("=") for text in
                                                       os.environ.get("DIMS", "").split()) if name}
        inputs = {port.name: chance.uniform(-0.5, 0.5, [
            size if isinstance(size, int) else sizes.get(str(size), sizes.get(f"{port.name}_{axis}", 1))
            for axis, size in enumerate(port.shape or ())]).astype(port.dtype) for port in ports}
        last = [port.name for port in plain.graph.outputs][:1]
        wrt = [port.name for port in ports if port.dtype == "float32"]
        value = session(model.SerializeToString()).run(last, inputs)[0]
        seeds = {last[0]: chance.standard_normal(value.shape).astype(np.float32)}
        made, nodes, live = {}, {}, {}
        for name, make in (("ours", ours), ("theirs", theirs)):
            try:
                times = []
                for _ in range(3):
                    start = time.perf_counter()
                    content, run = make(model, inputs, seeds, wrt)
                    times.append(time.perf_counter() - start)
                live[name] = (run, session(content))
                first = live[name][0](live[name][1])
            except Exception as error:
                print(f"{Path(path).name}: {name}: {type(error).__name__}: {str(error)[:120]}")
                continue
            made[name], nodes[name] = statistics.median(times), len(onnx.load_from_string(content).graph.node)
            if name == "theirs" and "ours" in live:
                for key, g in live["ours"][0](live["ours"][1]).items():
                    scale = float(np.abs(g).max())
                    if not np.abs(g - first[key]).max() <= 1e-3 * scale:
                        print(f"{Path(path).name}: gradients on {key} differ by {np.abs(g - first[key]).max():.3g} of "
                              f"{scale:.3g}")
        if len(live) < 2:
            continue
        rounds: dict[str, list[float]] = {"ours": [], "theirs": []}
        for _ in range(9):
            for name, (run, one) in live.items():
                start = time.perf_counter()
                run(one)
                rounds[name].append(time.perf_counter() - start)
        ratio = statistics.median(a / b for a, b in zip(*rounds.values(), strict=True))
        a, b = (statistics.median(x) * 1e3 for x in rounds.values())
        print(f"| {Path(path).stem} | {nodes['ours']} | {nodes['theirs']} | {a:.3g} ms | {b:.3g} ms | {ratio:.2f} | "
              f"{made['ours']:.2f} s | {made['theirs']:.2f} s | {made['ours'] / made['theirs']:.2f} |", flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    if not sys.argv[1:]:
        operators()
    models(sys.argv[1:])
