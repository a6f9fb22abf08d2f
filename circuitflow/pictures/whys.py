"""What a page says of gradients that are zero, vanishing, exploding or not finite."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from circuitflow.errors import CircuitflowError
from circuitflow.gates.shapes import Dimension
from circuitflow.graph.typed import TypedBody
from circuitflow.interpreter.result import Result
from circuitflow.interpreter.why import arguments, suspects

MOST, GATES = 12, 10_000
"""The most gradients that are looked into, and the most gates in all of them: ten thousand take some seconds."""


def whys(result: Result) -> dict[str, list[str]]:
    """The verdict on each gradient that is wrong, and why, by input or parameter; none of a forward pass alone."""
    found: dict[str, list[str]] = {}
    circuit, values = result.circuit, result.values
    if not result.upstream:
        return found
    sizes = {size: length for node in circuit.nodes.values() if node.is_source and node.id in values
             for size, length in zip(node.types[0].shape, values[node.id].shape, strict=True)}
    left = min(MOST, GATES // _gates(circuit, sizes))
    names = (name for name in arguments(circuit) if name in values)
    for name in suspects(names, values, result.gradients, result.upstream):
        if not left:
            break
        left -= 1
        with suppress(CircuitflowError):
            diagnosis = result.why(name)
            if not diagnosis.ok:
                found[name] = [diagnosis.verdict, str(diagnosis)]
    return found


def _gates(body: TypedBody, sizes: Mapping[Dimension, int]) -> int:
    """How many nodes a circuit has with what is inside of scans, once for every position, ifs and checkpoints."""
    count = 0
    for node in body.nodes.values():
        inside = [_gates(part.expansion, sizes) for key in ("circuit", "then", "else")
                  if (part := node.attributes.get(key)) is not None]
        lengths = [body.nodes[edge.source].types[edge.output].shape[0] for edge in node.operands
                   if node.kind == "scan" and edge.port in node.attributes["over"]]
        length = lengths[0] if lengths else 1
        count += 1 + max(inside, default=0) * sizes.get(length, length if isinstance(length, int) else 1)
    return count
