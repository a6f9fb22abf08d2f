"""Backward rules run over wires: the same rule that computes a contribution writes it down as a document.

What a rule reads here is a wire: it has a shape and a dtype but no value, so a rule that branches on a value fails.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import circuitflow as cf
from circuitflow.gates import GATES, ArrayType, GateTable


class Wire:
    def __init__(self, recorder: Recorder, name: str, type_: ArrayType) -> None:
        self.recorder, self.name, self.type = recorder, name, type_
        self.shape, self.dtype, self.ndim = type_.shape, type_.dtype, len(type_.shape)

    def __bool__(self) -> bool:
        raise TypeError("a rule must not branch on a value")

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"wires have no {name}")

    __hash__ = None  # type: ignore[assignment]


def _operator(gate: str, *, swapped: bool = False) -> Any:
    def emit(self: Wire, *others: Any) -> Wire:
        operands = (self, *others)
        return self.recorder.emit(gate, *(reversed(operands) if swapped else operands))

    return emit


for _name, _gate in {"add": "add", "sub": "sub", "mul": "mul", "truediv": "div", "pow": "pow", "and": "and",
                     "or": "or"}.items():
    setattr(Wire, f"__{_name}__", _operator(_gate))
    setattr(Wire, f"__r{_name}__", _operator(_gate, swapped=True))
for _name, _gate in {"eq": "equal", "lt": "less", "le": "less_or_equal", "gt": "greater", "ge": "greater_or_equal",
                     "neg": "neg", "invert": "not"}.items():
    setattr(Wire, f"__{_name}__", _operator(_gate))
Wire.__ne__ = lambda self, other: ~(self == other)  # type: ignore[assignment,method-assign]


class Recorder:
    """Writes nodes; as `op` it is the vocabulary of rules."""

    def __init__(self, gates: GateTable = GATES) -> None:
        self.gates, self.nodes = gates, []

    def __getattr__(self, gate: str) -> Any:
        return lambda *operands, **attributes: self.emit(gate, *operands, **attributes)

    def source(self, value: np.ndarray, gate: str = "parameter") -> Wire:
        name = f"n{len(self.nodes)}"
        data = {"data": value.ravel().tolist(), "shape": list(value.shape), "dtype": str(value.dtype)}
        self.nodes.append({"id": name, "gate": gate, "value": data})
        return Wire(self, name, ArrayType(tuple(value.shape), str(value.dtype)))

    def emit(self, gate: str, *operands: Any, **attributes: Any) -> Wire:
        dtype = next(x.dtype for x in reversed(operands) if (isinstance(x, Wire) and x.dtype != "bool") or len(operands) == 1
                     or all(not isinstance(y, Wire) or y.dtype == "bool" for y in operands))
        wires = [x if isinstance(x, Wire) else self.source(np.asarray(x, dtype), "constant") for x in operands]
        if self.gates[gate].attributes.model_fields:
            attributes = dict(self.gates[gate].attributes.model_validate(attributes))
        type_ = self.gates[gate].shape(*(wire.type for wire in wires), **attributes)
        name = f"n{len(self.nodes)}"
        self.nodes.append({"id": name, "gate": gate, "inputs": [wire.name for wire in wires], **attributes})
        return Wire(self, name, type_)

    def circuit(self, outputs: list[Wire], upstream: dict[str, Any]) -> cf.Circuit:
        names = list(dict.fromkeys(wire.name for wire in outputs))
        document = cf.Document.model_validate(
            {"circuitflow": "1.0", "nodes": self.nodes, "outputs": names, "upstream": upstream})
        return cf.Circuit(document, gates=self.gates)
