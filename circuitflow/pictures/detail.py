"""Draws a circuit node by node, its calls open or closed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from circuitflow.document.model import CallNode
from circuitflow.document.model import Node as DocumentNode
from circuitflow.gates import IDENTITY
from circuitflow.graph.bodies import Definition
from circuitflow.graph.circuit import Circuit
from circuitflow.graph.typed import Node
from circuitflow.interpreter.result import Result
from circuitflow.pictures.marks import shape_mark, value_mark
from circuitflow.pictures.picture import Group, Kind, Mark, Picture, Vertex
from circuitflow.text import application, printable

LABEL = 40
"""Longest label, in characters."""

TIP = 400
"""Longest tip of a node, in characters."""


class Branch(NamedTuple):
    """One consumer of a value: the vertex, and the edge, which is None for an output of the circuit."""

    target: str
    edge: tuple[str, str | int] | None


def unit_of(name: str, depth: int) -> str:
    """The vertex of a node where calls are open to a depth: the node itself, or the closed call around it."""
    steps = name.split("/")
    return "/".join(steps[: depth + 1]) if len(steps) - 1 > depth else name


def extent(circuit: Circuit, depth: int) -> tuple[int, int]:
    """The number of nodes and closed calls where calls are open to a depth, and of wires between them."""
    units = {name: unit_of(name, depth) for name in circuit.nodes}
    wires = sum(units[edge.source] != units[name] for name, node in circuit.nodes.items() for edge in node.operands)
    return len(set(units.values())), wires


class Callee(NamedTuple):
    """The circuit that a call applies, and its name in the document."""

    definition: Definition
    name: str


def callee_at(definition: Definition, path: str) -> Callee:
    """The circuit that the call at a path applies; the path "" is that of the circuit itself, which has no name."""
    callee = Callee(definition, "")
    for step in path.split("/") if path else ():
        site = callee.definition.sites[step]
        assert isinstance(site.node, CallNode) and site.callee is not None  # noqa: S101, PT018
        callee = Callee(site.callee, site.node.circuit)
    return callee


def document_node(circuit: Circuit, name: str) -> DocumentNode:
    """The node of the document, also inside calls."""
    path, _, last = name.rpartition("/")
    return callee_at(circuit.definition, path).definition.sites[last].node


def detail(circuit: Circuit, result: Result | None, depth: int) -> Picture:
    """The picture of every node, calls deeper than a depth closed."""
    return _Detail(circuit, result, depth).picture()


class _Detail:
    """A picture under construction."""

    def __init__(self, circuit: Circuit, result: Result | None, depth: int) -> None:
        self.circuit, self.result, self.depth = circuit, result, depth
        description = circuit.document.description
        self.canvas = Picture(printable(circuit.name, 100), notes=(printable(description, 300),) if description else ())
        self.gradients: Mapping[str, Any] = result.gradients if result else {}
        self.upstream: Mapping[str, Any] = result.upstream if result else {}
        sent = result.contributions if result else ()
        self.contributions: Mapping[Any, Any] = {(c.source, c.target, c.port): c.value for c in sent}
        self.sizes = Counter(unit_of(name, depth) for name in circuit.nodes)
        self.units: dict[str, Vertex] = {}
        self.groups: dict[str, str] = {"": ""}

    def picture(self) -> Picture:
        for node in self.circuit.nodes.values():
            unit = unit_of(node.id, self.depth)
            if unit not in self.units:
                self.units[unit] = self._vertex(node, unit)
        consumers = self._consumers()
        for node in self.circuit.nodes.values():
            for output, name in enumerate(node.names):
                if name in consumers:
                    self._wires(node, output, name, consumers[name])
        return self.canvas

    def _vertex(self, node: Node, unit: str) -> Vertex:
        path, _, last = unit.rpartition("/")
        group = self._group(path)
        if unit != node.id:
            inner = callee_at(self.circuit.definition, unit)
            tip = f"{unit}: {inner.name}", printable(inner.definition.body.description or "", TIP)
            return self.canvas.add(Kind.CIRCUIT, (last, inner.name, f"{self.sizes[unit]} nodes"),
                                   tip="\n".join(filter(None, tip)), group=group, node=unit)
        label = (printable(node.label, LABEL),) if node.label else ()
        lines: tuple[str, ...]
        if node.is_source:
            kind, lines = Kind(node.kind), (last, *label)
        elif self._is_port(node):
            kind, lines = Kind.PORT, (last,)
        elif node.gate is None:
            names = " or ".join(document_node(self.circuit, node.id).circuits.values())  # type: ignore[union-attr]
            kind, lines = Kind.CIRCUIT, (last, f"{node.kind} {names}", *label)
        else:
            kind, lines = Kind.GATE, (node.gate.symbol or node.kind, *label)
        return self.canvas.add(kind, lines, tip=_tip(node), group=group, node=node.id)

    def _is_port(self, node: Node) -> bool:
        """Whether a node is an input of a call, which passes its operand on."""
        path, _, last = node.id.rpartition("/")
        return node.kind == IDENTITY and last in callee_at(self.circuit.definition, path).definition.inputs

    def _group(self, path: str) -> str:
        if path not in self.groups:
            parent, _, last = path.rpartition("/")
            name = callee_at(self.circuit.definition, path).name
            group = Group(f"g{len(self.groups)}", f"{last}: {name}", self._group(parent))
            self.canvas.groups.append(group)
            self.groups[path] = group.key
        return self.groups[path]

    def _consumers(self) -> dict[str, list[Branch]]:
        """The readers of each value, without those in the same closed call."""
        consumers: dict[str, list[Branch]] = {}
        nodes = self.circuit.nodes
        for node in nodes.values():
            target = unit_of(node.id, self.depth)
            for source, output, port in node.operands:
                if unit_of(source, self.depth) != target or target == node.id:
                    consumers.setdefault(nodes[source].name_of(output), []).append(
                        Branch(self.units[target].key, (node.id, port)))
        for text in self.result.outputs if self.result else self.circuit.outputs:
            origin = self.circuit.find(text)
            assert origin is not None  # noqa: S101
            end = self.canvas.add(Kind.OUTPUT, (text,), tip="output")
            consumers.setdefault(nodes[origin.node].name_of(origin.position), []).append(Branch(end.key, None))
        return consumers

    def _wires(self, node: Node, output: int, name: str, branches: list[Branch]) -> None:
        unit = unit_of(node.id, self.depth)
        vertex = self.units[unit]
        source = vertex.key
        label = "" if node.is_source and unit == node.id else name.rpartition("/")[2]
        value: Mark | None = self._value(node, output, name)
        back: tuple[str | int, ...] = ("gradient", name)
        if vertex.kind == Kind.PORT:  # its operand has the same marks
            label, value, back = "", None, ("", "")
        if len(branches) == 1:
            self._wire(source, branches[0].target, label, value, back, name, branches[0].edge)
            return
        if vertex.kind != Kind.PORT:
            fork = self.canvas.add(Kind.FORK, tip=f"{name} forks: contributions add", group=vertex.group, node=node.id)
            self._wire(source, fork.key, label, value, back, name, None)
            source = fork.key
        for branch in branches:
            back = ("contribution", name, *branch.edge) if branch.edge else ("upstream", name)
            self._wire(source, branch.target, "", None, back, name, branch.edge)

    def _wire(self, source: str, target: str, label: str, value: Mark | None, back: tuple[str | int, ...], of: str,
              edge: tuple[str, str | int] | None) -> None:
        gradients = {"gradient": self.gradients, "upstream": self.upstream, "contribution": self.contributions}
        kind, *key = back
        gradient = _gradient(gradients[str(kind)], key[0] if len(key) == 1 else tuple(key)) if kind else None
        self.canvas.connect(source, target, name=label, value=value, gradient=gradient, of=of,
                            edges=(edge,) if edge else (), back=back if gradient else ())

    def _value(self, node: Node, output: int, name: str) -> Mark | None:
        if self.result is None:
            return shape_mark(node.types[output])
        return value_mark(self.result.values[name]) if name in self.result.values else None


def _gradient(gradients: Mapping[Any, Any], key: Any) -> Mark | None:
    return value_mark(gradients[key], is_gradient=True) if key in gradients else None


def _tip(node: Node) -> str:
    first = f"{node.id}{': ' if node.is_source else ' = '}{application(node.kind, (x.source for x in node.operands))}"
    formula = node.gate.formula if node.gate is not None else ""
    return "\n".join(filter(None, (first, formula, printable(node.label or "", TIP))))
