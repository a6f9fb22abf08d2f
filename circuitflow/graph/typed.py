"""Typed bodies, and their expansion: the nodes of a call in the place of the call."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from typing import Any

from circuitflow.document.tensors import Array
from circuitflow.gates import IDENTITY, GateTable
from circuitflow.graph.bodies import Definition, Operand
from circuitflow.graph.expansion import resolve
from circuitflow.graph.network import Network, Node


class TypedBody(Network):
    """A body for the types of its operands: one, however many nodes apply it.

    A document of a few lines can apply a body so often that a copy for each application would take gigabytes. Calls
    are nodes, with the typed body that they apply among their attributes. The parameters inside a call, and the inputs
    there that the call gives no value, are nodes too, ahead of the call and among its operands: the parameter `w` of
    the circuit that `h1` calls is `h1/w` here.

    Attributes:
        gates: the gate table.
        plans: schedules of the expansion, by the operands that a gradient is needed on.
    """

    def __init__(self, definition: Definition, nodes: Mapping[str, Node], gates: GateTable,
                 paths: Collection[str] | None = ()) -> None:
        self.name = definition.body.name or "circuit"
        self.definition, self.nodes, self.gates, self.paths = definition, nodes, gates, paths
        self.outputs = {text: resolve(definition, "", *output, paths) for text, output in definition.outputs.items()}
        self.plans: dict[tuple[str, ...], Any] = {}

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """The ids of inputs and parameters, in order."""
        return tuple(node.id for node in self.nodes.values() if node.is_argument)

    @cached_property
    def values(self) -> Mapping[str, Array]:
        """The read-only arrays that the document gives, by id."""
        return {node.id: node.site.array for node in self.nodes.values()
                if node.gate is None and node.site is not None and node.site.array is not None}

    @property
    def expansion(self) -> TypedBody:
        """The body with all calls expanded, to be run; itself where it has none."""
        return self._expansion or self

    @cached_property
    def _expansion(self) -> TypedBody | None:
        """Not itself, so that no circle keeps it in memory."""
        return self.expanded(None) if any(node.kind == "call" for node in self.nodes.values()) else None

    def expanded(self, paths: Collection[str] | None) -> TypedBody:
        """The body with the calls at some paths expanded, or all of them where that is None."""
        return TypedBody(self.definition, {node.id: node for node in _expanded(self, paths)}, self.gates, paths)


def _expanded(root: TypedBody, paths: Collection[str] | None) -> Iterator[Node]:
    """The nodes of a body in topological order, those of a call in its place."""
    pending: list[tuple[TypedBody, str, Mapping[str | int, Operand], Iterator[Node]]] = [
        (root, "", {}, iter(root.nodes.values()))]

    def is_expanded(path: str) -> bool:
        return paths is None or path in paths

    while pending:
        body, call, operands, nodes = pending[-1]
        for node in nodes:
            owner, is_inside, _ = node.id.partition("/")
            if is_inside and is_expanded(call + owner):
                continue  # it comes up again inside the call
            edges = _edges(body.definition, call, node, paths)
            if node.kind == "call" and is_expanded(call + node.id):
                own = {edge.port: edge for edge, old in zip(edges, node.operands, strict=True) if "/" not in old.source}
                inner: TypedBody = node.attributes["circuit"]
                pending.append((inner, f"{call}{node.id}/", own, iter(inner.nodes.values())))
                break
            if node.id in operands and node.is_argument:
                edge = operands[node.id]._replace(port="x")
                yield Node(call + node.id, IDENTITY, body.gates[IDENTITY], {}, (edge,), (), node.types, node.site)
            elif call or edges != node.operands:
                yield Node(call + node.id, node.kind, node.gate, node.attributes, edges, node.outputs, node.types,
                           node.site)
            else:
                yield node
        else:
            pending.pop()


def _edges(definition: Definition, call: str, node: Node, paths: Collection[str] | None) -> tuple[Operand, ...]:
    """The operands of a node in an expansion."""
    return tuple([Operand(call + source, output, port) if "/" in source else
                  Operand(*resolve(definition, call, source, output, paths), port)
                  for source, output, port in node.operands])
