"""Small documents for tests."""

from __future__ import annotations

import json
from typing import Any

import circuitflow as cf


def document(*nodes: Any, outputs: list[str] | None = None, **rest: Any) -> str:
    """A document's text: nodes as objects, or as "id = gate(operand, …)" for short, or "id = 3" for an input."""
    written = [_node(node) if isinstance(node, str) else node for node in nodes]
    return json.dumps({"circuitflow": "1.0", "nodes": written, "outputs": outputs or [written[-1]["id"]], **rest})


def _node(text: str) -> dict[str, Any]:
    name, _, rest = text.partition(" = ")
    gate, bracket, operands = rest.partition("(")
    if not bracket:
        return {"id": name, "gate": "input", "value": json.loads(rest)}
    return {"id": name, "gate": gate, "inputs": [operand.strip() for operand in operands.rstrip(")").split(",")]}


def circuit(*nodes: Any, gates: Any = cf.GATES, folder: Any = None, limits: Any = None, **rest: Any) -> cf.Circuit:
    return cf.loads(document(*nodes, **rest), gates=gates, folder=folder, limits=limits or cf.Limits())


def call(name: str, *inputs: str, gate: str = "block") -> dict:
    return {"id": name, "gate": "call", "circuit": gate, "inputs": list(inputs)}


def faults(text: str, **options: Any) -> list[str]:
    """The messages of the faults of a document."""
    try:
        cf.loads(text, **options)
    except cf.DocumentError as error:
        return [fault.message for fault in error.faults]
    return []
