"""Gradients of ONNX's own tests of operators, beside differences of ONNX's reference evaluator in float64.

`python tests/fuzz/onnx_gradients.py` imports every test that passes, in float64, and takes the slope of a sum of its
outputs with fixed weights along directions: from the gradient, and by differences that Richardson's rule extrapolates
to a step of 0. They agree to 1e-6, or stand at a kink, where the conventions decide: then they agree at a point nearby.
`-k` chooses by name, `-v` tells what is not compared, and why.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

sys.path.insert(0, str(Path(__file__).parent.parent))
import circuitflow as cf
from support.onnx_cases import cases, imported, outcomes

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
RTOL, STEPS = 1e-6, (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


NO_ORACLE = {"test_l1normalization_axis_last"}
"""Here the evaluator sums without absolute values, as no L1 norm does; ONNX Runtime has them."""


def in_float64(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A model with all floats in float64."""
    model = onnx.ModelProto.FromString(proto.SerializeToString())
    _widen(model.graph)
    return model


def _widen(graph: onnx.GraphProto) -> None:
    for port in [*graph.input, *graph.output, *graph.value_info]:
        if port.type.tensor_type.elem_type in FLOATS:
            port.type.tensor_type.elem_type = TensorProto.DOUBLE
    for tensor in graph.initializer:
        _widen_tensor(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                _widen_tensor(attribute.t)
            elif attribute.type == onnx.AttributeProto.GRAPH:
                _widen(attribute.g)
            elif attribute.name in ("to", "dtype", "stash_type", "softmax_precision") and attribute.i in FLOATS:
                attribute.i = TensorProto.DOUBLE


def _widen_tensor(tensor: onnx.TensorProto) -> None:
    if tensor.data_type in FLOATS:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))


def slopes(function: Any, step: float) -> tuple[float, float, float]:
    """The slope of a function at 0: from both sides, from the right, from the left."""
    def extrapolated(difference: Any, order: int) -> float:
        rows = [difference(step / 2**i) for i in range(4)]
        power = order
        while len(rows) > 1:
            factor = 2**power
            rows = [(factor * b - a) / (factor - 1) for a, b in itertools.pairwise(rows)]
            power += order
        return rows[0]

    zero = function(0.0)
    return (extrapolated(lambda h: (function(h) - function(-h)) / (2 * h), 2),
            extrapolated(lambda h: (function(h) - zero) / h, 1), extrapolated(lambda h: (zero - function(-h)) / h, 1))


def compare(case: Any) -> tuple[str, str]:
    """What becomes of a case, with the reason."""
    model = in_float64(case.model)
    inputs, _ = case.data_sets[0]
    values = {port.name: x.astype(np.float64) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x
              for port, x in zip(model.graph.input, inputs, strict=False)}
    try:
        evaluator = ReferenceEvaluator(model)
        evaluator.run(None, values)
    except Exception as error:
        return "without reference", str(error).splitlines()[0] if str(error) else type(error).__name__
    try:
        result, rest = imported(model, values)
    except cf.CircuitflowError as error:
        return "refused in float64", str(error).splitlines()[0]
    floats = [name for name, x in rest.items() if isinstance(x, np.ndarray) and x.dtype.kind == "f" and x.size]
    names = {result.circuit.nodes[name].label or name: name for name in result.circuit.outputs
             if name in result.circuit.nodes}
    if not floats or not any(port.type.tensor_type.elem_type in FLOATS and port.name in names
                             for port in model.graph.output):
        return "without floats", ""
    text = _difference(model, evaluator, result.circuit, values, floats, names)
    if not text:
        return "agrees", ""
    chance = np.random.default_rng(1)
    near = {name: x + chance.choice([-1, 1], x.shape) * chance.uniform(0.02, 0.05, x.shape) if name in floats else x
            for name, x in values.items()}
    other = _difference(model, evaluator, result.circuit, near, floats, names)
    return ("DIFFERS", f"{text}; nearby {other}") if other else ("at a kink, agrees nearby", text)


def _difference(model: onnx.ModelProto, evaluator: ReferenceEvaluator, circuit: cf.Circuit, values: Any,
                floats: list[str], names: dict[str, str]) -> str:
    """The first slope that differs, in words; none if all agree."""
    ids = {node.label or node.id: node.id for node in circuit.nodes.values() if node.kind == "input"}
    chance = np.random.default_rng(0)
    reference = evaluator.run(None, values)
    weights = {port.name: np.where(np.isfinite(y), chance.standard_normal(np.shape(y)), 0.0) for port, y in zip(
        model.graph.output, reference, strict=True) if np.asarray(y).dtype.kind == "f" and port.name in names}
    run = cf.Executor(circuit).run({ids[name]: x for name, x in values.items() if name in ids},
                                   upstream={names[name]: weight for name, weight in weights.items()})
    rtol, steps = RTOL, STEPS
    for port, y in zip(model.graph.output, reference, strict=True):
        if port.name in weights and not np.allclose(y, run.outputs[names[port.name]], 1e-10, 1e-12, equal_nan=True):
            rtol, steps = 1e-3, (1e-1, 1e-2, 1e-3)  # the evaluator itself rounds to float32 on its way
    gradients = {name: run.gradients[ids[name]] for name in floats if ids[name] in run.gradients}
    for attempt in range(3):
        along = {name: chance.standard_normal(values[name].shape) for name in floats}

        def total(t: float, along: Any = along) -> float:
            outputs = evaluator.run(None, {**values, **{name: values[name] + t * v for name, v in along.items()}})
            return float(sum(np.sum(np.where(np.isfinite(y), weights[port.name] * y, 0.0))
                             for port, y in zip(model.graph.output, outputs, strict=True) if port.name in weights))

        products = [g * along[name] for name, g in gradients.items()]
        ours, scale = (float(sum(np.sum(function(x)) for x in products)) for function in (np.asarray, np.abs))
        both, right, left = min((slopes(total, step) for step in steps), key=lambda three: abs(three[0] - ours))
        if not abs(both - ours) <= rtol * max(scale, abs(both), 1e-3):
            return f"direction {attempt}: ours {ours:.9g}, differences {both:.9g}, right {right:.9g}, left {left:.9g}"
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-k", default="")
    parser.add_argument("-v", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    counts: collections.Counter[str] = collections.Counter()
    for case in cases():
        if case.name in NO_ORACLE:
            counts["without oracle"] += 1
        elif options.k in case.name and outcomes()[case.name].status == "passed":
            status, reason = compare(case)
            counts[status] += 1
            if status.startswith(("DIFFERS", "at a kink")) or (options.v and reason):
                print(f"{case.name}: {status}: {reason}", flush=True)
    print(dict(counts))
    return 1 if counts["DIFFERS"] else 0


if __name__ == "__main__":
    sys.exit(main())
