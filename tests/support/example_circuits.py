"""The examples of gates, run by themselves and as circuits."""

from __future__ import annotations

from typing import Any

import numpy as np

import circuitflow as cf
from circuitflow.gates import GATES
from circuitflow.gates.activations import ACTIVATIONS
from circuitflow.gates.arithmetic import ARITHMETIC
from circuitflow.gates.exponential import EXPONENTIAL
from circuitflow.gates.logic import LOGIC
from circuitflow.gates.trigonometric import TRIGONOMETRIC
from support.edge_points import GIVEN, POINTS
from support.gate_examples import EXAMPLES, Example, attributes_of, types_of


def run(example: Example, xp: Any = np, operands: Any = None) -> Any:
    operands = example.operands if operands is None else operands
    with np.errstate(all="ignore"):
        return GATES[example.gate].forward(xp, *operands, **attributes_of(example))


def each(value: Any) -> tuple[Any, ...]:
    """The outputs of a gate, however many there are."""
    return tuple(value) if isinstance(value, tuple) else (value,)


def upstream_of(example: Example) -> tuple[np.ndarray, ...]:
    """A gradient for every output; zeros for one that has none."""
    random = np.random.RandomState(9)
    outputs = [np.asarray(out) for out in each(run(example))]
    return tuple(np.asarray(random.standard_normal(out.shape) if out.dtype.kind == "f" else np.zeros(out.shape),
                            out.dtype)
                 for out in outputs)


def bare(example: Example, values: tuple[Any, ...]) -> Any:
    """Outputs as a rule takes them: bare where there is one that has no name."""
    return values if GATES[example.gate].output_names(attributes_of(example)) else values[0]


def circuit_of(example: Example, gates: Any = GATES) -> cf.Circuit:
    """The gate alone, on operands x0, x1 and so on, with the upstream gradients of `upstream_of`."""
    def value(x: np.ndarray) -> dict[str, Any]:
        return {"data": x.ravel().tolist(), "shape": list(x.shape), "dtype": str(x.dtype)}

    nodes: list[dict[str, Any]] = [{"id": f"x{i}", "gate": "parameter" if x.dtype.kind == "f" else "constant",
                                    "value": value(x)} for i, x in enumerate(example.operands)]
    nodes.append({"id": "out", "gate": example.gate, "inputs": [node["id"] for node in nodes],
                  **attributes_of(example)})
    outputs = [f"out.{name}" for name in gates[example.gate].output_names(attributes_of(example))] or ["out"]
    upstream = {name: value(g) for name, g in zip(outputs, upstream_of(example), strict=True) if g.dtype.kind == "f"}
    document = cf.Document.model_validate({"circuitflow": "1.0", "nodes": nodes, "outputs": outputs,
                                           "upstream": upstream})
    return cf.Circuit(document, gates=gates)


def scalar_examples():
    """Every gate that takes scalars and gives one, on the first of the numbers of its examples; and on the edges."""
    for example in EXAMPLES:
        if all(x.size and x.dtype in (np.float64, bool) for x in example.operands):
            yield Example(example.gate, tuple(x.ravel()[:1].reshape(()) for x in example.operands), example.attributes)
    for gate, operands, *_ in POINTS:
        if all(np.ndim(x) == 0 for x in operands):
            yield Example(gate, tuple(np.asarray(x, bool if isinstance(x, bool) else float) for x in operands),
                          GIVEN.get(gate, {}))


def gives_a_scalar(example):
    try:
        type_ = GATES[example.gate].shape(*types_of(*example.operands), **attributes_of(example))
    except (cf.ShapeError, IndexError, ZeroDivisionError):
        return False
    return isinstance(type_, cf.ArrayType) and type_.shape == () and type_.dtype in ("float64", "bool")


def nodes_of(example, prefix=""):
    """An application of a gate to parameters, and its id."""
    special = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}
    names = [f"{prefix}x{i}" for i in range(len(example.operands))]
    given = dict(example.attributes) if example.attributes else {
        name: value for name, value in GATES[example.gate].defaults.items() if value is not None}
    return [*({"id": name, "gate": "parameter" if x.dtype == float else "constant",
               "value": special.get(str(x.item()), x.item())} for name, x in zip(names, example.operands, strict=True)),
            {"id": f"{prefix}f", "gate": example.gate, "inputs": names, **given}]


ELEMENTWISE = {*ARITHMETIC, *EXPONENTIAL, *TRIGONOMETRIC, *LOGIC,
               *ACTIVATIONS} - {"lgamma", "polygamma", "softmax", "log_softmax"}
"""What a tape must take."""
ON_SCALARS = [example for example in scalar_examples() if gives_a_scalar(example)]
