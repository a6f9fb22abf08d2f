"""Nodes with subcircuits as gates: scans, ifs and checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from circuitflow.gates import Gate
from circuitflow.graph.typed import Node
from circuitflow.interpreter.application import Application, as_gate, receiving
from circuitflow.interpreter.masked import mark
from circuitflow.interpreter.scans import Scan


def unit_gate(node: Node, receivers: Sequence[bool]) -> Gate:
    """A node with subcircuits as a gate: its value, and the contributions to the operands that receive one."""
    if node.kind == "scan":
        return Scan(node, receivers, unit_gate).gate
    return (_choice if node.kind == "if" else _unit)(node, receivers)


def _unit(node: Node, receivers: Sequence[bool]) -> Gate:
    """A checkpoint."""
    ports = [str(edge.port) for edge in node.operands]
    application = Application(node.attributes["circuit"], receiving(node, receivers), node.id, unit_gate)

    def forward(xp: Any, *operands: Any) -> tuple[Any, ...]:
        return tuple(application.outputs(application.forward(xp, dict(zip(ports, operands, strict=True)))))

    def backward(op: Any, g: Any, out: Any, *operands: Any) -> list[Any]:
        contributions = application.backward(op, dict(zip(ports, operands, strict=True)),
                                    dict(zip(application.plan.of, g, strict=True)))
        return [contributions.get(port) for port in ports]

    return as_gate(node, forward, backward)


def _choice(node: Node, receivers: Sequence[bool]) -> Gate:
    """An if: `then` and `else` take what they need of the operands."""
    ports = [str(edge.port) for edge in node.operands]
    names = receiving(node, receivers)
    branches = {key: Application(body, [name for name in names if name in body.inputs], f"{node.id}/{key}", unit_gate)
                for key, body in node.attributes.items()}
    order = list(node.attributes["then"].outputs)

    def choose(operands: Sequence[Any]) -> tuple[Application, dict[str, Any], list[str]]:
        inputs = dict(zip(ports, operands, strict=True))
        branch = branches["then" if bool(inputs["condition"]) else "else"]
        return branch, {name: inputs[name] for name in branch.body.inputs}, list(branch.body.outputs)

    def forward(xp: Any, *operands: Any) -> tuple[Any, ...]:
        branch, inputs, names = choose(operands)
        outputs = dict(zip(names, branch.outputs(branch.forward(xp, inputs)), strict=True))
        return tuple(outputs[name] for name in order)

    def backward(op: Any, g: Any, out: Any, *operands: Any) -> list[Any]:
        branch, inputs, names = choose(operands)
        upstream = dict(zip(order, g, strict=True))
        contributions = branch.backward(op, inputs, {name: upstream[name] for name in names})
        return [mark(op, contributions.get(port)) for port in ports]

    return as_gate(node, forward, backward)
