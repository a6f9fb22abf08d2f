"""The same circuit beside the numbers of a call: what differs at a kink or a singular point alone does not differ
there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from zlib import crc32

import numpy as np

from cases import Call, Case, Given

STEP = 0.02
"""Numbers move by up to so much."""


def moved(case: Case, number: int, seed: int) -> Case:
    """A case of one call, in which every input is moved, and the result of every gate by a constant added to it.

    Inside subcircuits nothing moves. A value with a named dimension moves by the same number everywhere.
    """
    call, circuit = case.calls[number], case.circuit()
    defaults = {name: values for name, values in circuit.values.items() if circuit.nodes[name].kind != "constant"
                and "/" not in name}
    given = {**defaults, **{name: x.values for name, x in call.inputs.items()}}
    inputs = {name: Given(_shifted(name, seed, values)) for name, values in given.items()}
    types = {node.id: node.types for node in circuit.nodes.values()}
    nodes: list[dict[str, Any]] = []
    for node in case.document["nodes"]:
        made = types.get(node["id"], ())
        if node["gate"] in ("input", "parameter", "constant", "call", "checkpoint", "scan",
                            "if") or len(made) != 1 or not made[0].is_float:
            nodes.append(node)
            continue
        name, shape = node["id"], made[0].shape
        size = shape if all(isinstance(n, int) for n in shape) else ()
        noise = _noise(name, seed, size)  # type: ignore[arg-type]
        nodes += [{**node, "id": f"{name}_before"},
                  {"id": f"{name}_step", "gate": "constant", "dtype": made[0].dtype,
                   "value": {"data": noise.ravel().tolist(), "shape": list(noise.shape)}},
                  {"id": name, "gate": "add", "inputs": [f"{name}_before", f"{name}_step"]}]
    return replace(case, document={**case.document, "nodes": nodes}, calls=(Call(inputs, call.upstream),))


def _noise(name: str, seed: int, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    return np.asarray(np.random.RandomState(crc32(f"{name} {seed}".encode())).uniform(-STEP, STEP, shape))


def _shifted(name: str, seed: int, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return (values + _noise(name, seed, values.shape)).astype(values.dtype) if values.dtype.kind == "f" else values
