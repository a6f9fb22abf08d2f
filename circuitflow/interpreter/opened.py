"""Nodes with subcircuits opened for one run: the nodes of their circuits stand before them.

A checkpoint becomes the nodes of its circuit, an `if` those of the branch that ran, and a scan those of every position:
the gate `y` in the scan `h` is `h[0]/y`, `h[1]/y` and so on; in the `if` called `h` it is `h/then/y` or `h/else/y`.
Each output of the node is a gate of its name, which puts it together, so that every reference means the same.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from circuitflow.document.tensors import Array
from circuitflow.gates import ArrayType, Gate, Reads
from circuitflow.graph.bodies import Operand, Output
from circuitflow.graph.typed import Node, TypedBody

MOST_NODES = 50_000
"""The most nodes of an opened circuit; a node whose circuit has more stays closed."""

APPLYING = ("scan", "if", "checkpoint")
"""The kinds of nodes that run subcircuits as a unit."""

_POSITION = re.compile(r"\[(\d+)\]")


class Opened(TypedBody):
    """A circuit with opened nodes.

    Attributes:
        constants: the values of the constants inside, by id.
    """

    def __init__(self, body: TypedBody, nodes: Mapping[str, Node], constants: Mapping[str, Array],
                 moved: Mapping[tuple[str, int], str]) -> None:
        """The circuit with other nodes; `moved` are the outputs of those that are gone, with the nodes for them."""
        super().__init__(body.definition, nodes, body.gates, None)
        self.constants = constants
        self.outputs = {text: Output(moved[output], 0) if output in moved else output
                        for text, output in body.outputs.items()}

    def find(self, reference: str) -> Output | None:
        """The output that a reference means, None where there is none."""
        return Output(reference, 0) if reference in self.nodes else super().find(reference)


def opened(body: TypedBody, operands: Mapping[str, Sequence[Any]]) -> Opened | None:
    """A circuit with some nodes opened, one level deep; None where none of them can be.

    Args:
        body: the circuit.
        operands: the values of their operands, by id.
    """
    nodes: dict[str, Node] = {}
    constants: dict[str, Array] = {}
    moved: dict[tuple[str, int], str] = {}
    rest = MOST_NODES - len(body.nodes)
    for node in body.nodes.values():
        if any((edge.source, edge.output) in moved for edge in node.operands):
            node = replace(node, operands=tuple(_moved(moved, edge) for edge in node.operands))
        if node.id in operands:
            inside = _Inside(node, operands[node.id])
            if 0 < inside.size <= rest:
                nodes |= {inner.id: inner for inner in inside.nodes()}
                constants |= inside.constants
                moved |= {(node.id, i): name for i, name in enumerate(node.names)}
                rest -= inside.size
                continue
        nodes[node.id] = node
    return Opened(body, nodes, constants, moved) if moved else None


def _moved(moved: Mapping[tuple[str, int], str], edge: Operand) -> Operand:
    name = moved.get((edge.source, edge.output))
    return edge if name is None else Operand(name, 0, edge.port)


class _Inside:
    """The nodes of one node with a subcircuit."""

    def __init__(self, node: Node, operands: Sequence[Any]) -> None:
        self.node, self.constants = node, dict[str, Array]()
        self.operands = {str(edge.port): edge for edge in node.operands}
        values = {port: np.asarray(value) for port, value in zip(self.operands, operands, strict=True)}
        self.key = "circuit" if node.kind != "if" else "then" if bool(values["condition"]) else "else"
        whole: TypedBody = node.attributes[self.key]
        self.body = whole.expansion
        self.used = {edge.source for inner in self.body.nodes.values() for edge in inner.operands}
        self.used |= {output.node for output in self.body.outputs.values()}
        self.unused = [edge for port, edge in self.operands.items()  # no gradient goes by way of a condition
                       if port not in self.used and values[port].dtype.kind == "f"]
        self.over: Collection[str] = node.attributes["over"] if node.kind == "scan" else ()
        self.length = values[next(iter(self.over))].shape[0] if node.kind == "scan" else 1
        self.size = self.length * len(self.body.nodes)

    def nodes(self) -> Iterator[Node]:
        """All of them in order, the node itself at last."""
        node, positions = self.node, range(self.length)
        is_scan, backwards = node.kind == "scan", bool(node.attributes.get("reverse"))
        carry: Mapping[str, str] = node.attributes["carry"] if is_scan else {}
        sources = dict(self.operands)
        for name in self.over:
            if name in self.used:
                type_ = self.body.nodes[name].types[0]
                yield _taken_apart(f"{node.id}/{name}", self.operands[name], self.length, type_)
        parts: dict[str, list[Operand]] = {text: [] for text in self.body.outputs}
        for t in reversed(positions) if backwards else positions:
            prefix = f"{node.id}[{t}]/" if is_scan else f"{node.id}/{self.key}/" if node.kind == "if" else f"{node.id}/"
            sources |= {name: Operand(f"{node.id}/{name}", t, name) for name in self.over}
            yield from self._copies(prefix, sources)
            results = {text: _outside(prefix, sources, Operand(*output, ""))
                       for text, output in self.body.outputs.items()}
            sources |= {name: results[output] for name, output in carry.items()}
            for text, edge in results.items():
                parts[text] = [edge] if text in carry.values() else [*parts[text], edge]
        order = node.attributes["then"].outputs if node.kind == "if" else parts
        for i, text in enumerate(order):
            yield _joined(node, i, parts[text][::-1] if backwards else parts[text], self.unused,
                          is_stack=is_scan and text not in carry.values())

    def _copies(self, prefix: str, sources: Mapping[str, Operand]) -> Iterator[Node]:
        """The nodes of the circuit, at one position; what it takes from outside is referred to there."""
        for inner in self.body.nodes.values():
            if inner.id in sources and inner.is_argument:
                continue
            if inner.is_source:
                self.constants[prefix + inner.id] = self.body.values[inner.id]
            yield Node(prefix + inner.id, inner.kind, inner.gate, inner.attributes,
                       tuple(_outside(prefix, sources, edge) for edge in inner.operands), inner.outputs, inner.types,
                       inner.site)


def _outside(prefix: str, sources: Mapping[str, Operand], edge: Operand) -> Operand:
    """An operand of a node in the circuit, as the opened circuit has it."""
    source = sources.get(edge.source)
    return Operand(prefix + edge.source, edge.output, edge.port) if source is None else source._replace(port=edge.port)


def _joined(node: Node, i: int, parts: Sequence[Operand], unused: Sequence[Operand], *, is_stack: bool) -> Node:
    """An output of the node as a gate of its parts: one as it is, or all of them as a stack.

    Operands that nothing inside takes are operands of this gate, which sends them nothing.
    """
    def forward(xp: Any, *operands: Any) -> Any:
        return np.stack(operands[:len(parts)]) if is_stack else operands[0]

    def backward(op: Any, g: Any, out: Any, *operands: Any) -> list[Any]:
        return [*([g[t, ...] for t in range(len(parts))] if is_stack else [g]), *[None] * len(unused)]

    edges = tuple(edge._replace(port=str(at)) for at, edge in enumerate([*parts, *unused]))
    return Node(node.name_of(i), node.kind, _gate(len(edges), forward, backward), {}, edges, (), (node.types[i],),
                node.site)


def _taken_apart(name: str, operand: Operand, length: int, type_: ArrayType) -> Node:
    """The positions of an operand as outputs of one gate."""
    def forward(xp: Any, x: Any) -> tuple[Any, ...]:
        return tuple(x[t, ...] for t in range(length))

    def backward(op: Any, g: Any, out: Any, x: Any) -> list[Any]:
        return [np.stack([np.zeros_like(x[t, ...]) if part is None else np.asarray(part) for t, part in enumerate(g)])]

    outputs = tuple(map(str, range(length)))
    return Node(name, "scan", _gate(1, forward, backward, outputs), {}, (operand,), outputs, (type_,) * length)


def _gate(count: int, forward: Any, backward: Any, outputs: Sequence[str] = ()) -> Gate:
    return Gate("", "", tuple(map(str, range(count))), ArrayType, forward, backward, outputs=tuple(outputs),
                reads=Reads.INPUTS | Reads.OUTPUT, partial=True)


def base_of(name: str) -> tuple[str, str]:
    """A name without its positions in scans, and these: `h/y` and "3" of `h[3]/y`."""
    return _POSITION.sub("", name), "/".join(_POSITION.findall(name))
