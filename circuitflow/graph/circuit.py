"""The circuit: a valid document with its graph."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import networkx as nx

from circuitflow.document.faults import Faults, Source
from circuitflow.document.model import Document
from circuitflow.document.reading import Parsed, parse, read
from circuitflow.document.tensors import ValueFaultError
from circuitflow.document.values import Array, to_array
from circuitflow.document.writing import dumps as dump_document
from circuitflow.errors import nearest, printable
from circuitflow.gates import GATES, ArrayType, GateTable
from circuitflow.gates.shapes import show
from circuitflow.graph.checking import check
from circuitflow.graph.collector import collector_paused
from circuitflow.graph.definition import Definition, define
from circuitflow.graph.expansion import Placed, can_expand, expand, resolve
from circuitflow.graph.inference import infer
from circuitflow.graph.node import Node


class Output(NamedTuple):
    """One output of a node: the node's id, and the position of the output among those of its gate."""

    node: str
    position: int


class Circuit:
    """A valid document with its graph: ids resolved, calls expanded, shapes inferred.

    Two circuits are equal when their documents are.

    Attributes:
        document: the document as it was written.
        gates: the table that its gates come from.
        graph: a frozen networkx `MultiDiGraph` of node ids; every edge has its port as key and the position of the
            source's output as `output`.
        nodes: every node by id, in topological order, as near to the document's order as that allows.
        values: the read-only arrays that the document gives for inputs, parameters and constants, by id.
        outputs: the outputs by reference, as the document lists them.
        upstream: the document's upstream gradients, by output.
    """

    def __init__(self, document: Document, *, gates: GateTable = GATES,
                 folder: str | os.PathLike[str] | None = None) -> None:
        """Build the circuit of a document made by a program; `load` and `loads` read one.

        Args:
            document: a validated document.
            gates: the gate table; `{**GATES, "cube": Gate(…)}` adds a gate of your own.
            folder: where the document's files lie; without it, it can have none.

        Raises:
            DocumentError: with every fault that was found.
        """
        source = Source(document.name or "<document>", None, Path(folder) if folder is not None else None)
        self._build(Parsed(document, source), gates, Faults())

    @classmethod
    def _of(cls, parsed: Parsed, gates: GateTable, faults: Faults) -> Circuit:
        circuit = cls.__new__(cls)
        circuit._build(parsed, gates, faults)
        return circuit

    def _build(self, parsed: Parsed, gates: GateTable, faults: Faults) -> None:
        definitions = define(parsed, faults)
        for definition in definitions:
            check(definition, gates, faults)
        root = definitions[0]
        if not can_expand(root, faults):
            faults.fail()
        placed = {place.node.id: place for place in expand(root, gates)}
        graph: nx.MultiDiGraph[str] = nx.MultiDiGraph()
        graph.add_nodes_from(placed)
        edges: Iterator[Any] = ((edge.source, name, edge.port, {"output": edge.output})
                                for name, place in placed.items() for edge in place.node.operands)
        graph.add_edges_from(edges)
        nodes: dict[str, Node] = {}
        ordered = _ordered(graph, placed, nodes, faults)
        values = infer(ordered, nodes, faults)
        self.outputs = MappingProxyType(dict(_outputs(root)))
        upstream = _upstream(root, nodes, self.outputs, faults)
        faults.raise_if_any()
        self.document, self.gates = parsed.document, gates
        self.graph = nx.freeze(graph)
        self.nodes: Mapping[str, Node] = MappingProxyType(nodes)
        self.values: Mapping[str, Array] = MappingProxyType(values)
        self.upstream: Mapping[str, Array] = MappingProxyType(upstream)

    @property
    def name(self) -> str:
        """The document's name, or "circuit"."""
        return self.document.name or "circuit"

    def find(self, reference: str) -> Output | None:
        """The output that a reference means: `id`, `id.output`, or a path into a call; None where there is none."""
        if reference in self.outputs:
            return self.outputs[reference]
        name, _, output = reference.partition(".")
        node = self.nodes.get(name)
        if node is None or reference not in node.names:
            return None
        return Output(name, node.names.index(reference) if output else 0)

    def type_of(self, output: Output) -> ArrayType:
        """Shape and dtype of one output."""
        node = self.nodes[output.node]
        return node.types[output.position]

    def suggestion(self, reference: str) -> str:
        """A clause that suggests the nearest right spelling of a reference."""
        return nearest(reference, [name for node in self.nodes.values() for name in node.names])

    def unused(self) -> list[str]:
        """The nodes that reach no output, in topological order."""
        used = self.needed({output.node for output in self.outputs.values()})
        return [name for name in self.nodes if name not in used]

    def needed(self, names: set[str]) -> set[str]:
        """These nodes and all that they are computed from."""
        used, pending = set(names), list(names)
        while pending:
            for edge in self.nodes[pending.pop()].operands:
                if edge.source not in used:
                    used.add(edge.source)
                    pending.append(edge.source)
        return used

    def __eq__(self, other: object) -> bool:
        return self.document == other.document if isinstance(other, Circuit) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        outputs = ", ".join(self.outputs)
        return f"<Circuit {printable(self.name)!r}: {len(self.nodes)} nodes, outputs {printable(outputs)}>"


def load(path: str | os.PathLike[str], *, gates: GateTable = GATES) -> Circuit:
    """Read a circuit document; nothing that it says is executed.

    Args:
        path: a JSON file, or "-" for standard input. Tensor and subcircuit files lie beside or below it.
        gates: the gate table.

    Raises:
        DocumentError: with every fault that was found, each with its place.
    """
    with collector_paused():
        faults = Faults()
        return _parsed(read(path, faults), gates, faults)


def loads(text: str, *, gates: GateTable = GATES, folder: str | os.PathLike[str] | None = None) -> Circuit:
    """Read a circuit document from a string; see `load`.

    Args:
        text: the JSON text.
        gates: the gate table.
        folder: where the document's files lie; without it, it can have none.

    Raises:
        DocumentError: with every fault that was found, each with its place.
    """
    with collector_paused():
        source = Source("<document>", text, Path(folder) if folder is not None else None)
        return _parsed(source, gates, Faults())


def _parsed(source: Source, gates: GateTable, faults: Faults) -> Circuit:
    parsed = parse(source, faults)
    if parsed is None:
        faults.fail()
    return Circuit._of(parsed, gates, faults)


def dumps(circuit: Circuit) -> str:
    """The document of a circuit as text in the canonical layout; `loads(dumps(circuit)) == circuit`."""
    return dump_document(circuit.document)


def _ordered(graph: nx.MultiDiGraph[str], placed: Mapping[str, Placed], nodes: dict[str, Node],
             faults: Faults) -> Iterator[Placed]:
    """The nodes in topological order, put into `nodes` on the way; a cycle is noted as a fault."""
    rank = {name: i for i, name in enumerate(placed)}
    try:
        for name in nx.lexicographical_topological_sort(graph, rank.__getitem__):
            nodes[name] = placed[name].node
            yield placed[name]
    except nx.NetworkXUnfeasible:
        for component in nx.strongly_connected_components(graph):
            first = min(component, key=rank.__getitem__)
            if len(component) > 1 or graph.has_edge(first, first):
                cycle = [edge[0] for edge in nx.find_cycle(graph.subgraph(component), first)]
                place = placed[cycle[0]]
                shown = [*cycle, cycle[0]] if len(cycle) <= 12 else [*cycle[:10], "…", cycle[-1], cycle[0]]
                count = f" ({len(cycle)} nodes)" if len(cycle) > 12 else ""
                faults.add(place.definition.source, f"node '{cycle[0]}': a cycle: {' → '.join(shown)}{count}; a "
                           "circuit has none, so one of these edges must go", *place.site.pointer, node=cycle[0])


def _outputs(root: Definition) -> Iterator[tuple[str, Output]]:
    for text, (name, output) in root.outputs.items():
        try:
            yield text, Output(*resolve(root, "", name, output))
        except KeyError:  # it leads to something at fault
            continue


def _upstream(root: Definition, nodes: Mapping[str, Node], outputs: Mapping[str, Output],
              faults: Faults) -> dict[str, Array]:
    """The document's upstream gradients, each in the shape and dtype of its output."""
    arrays = {}
    for text, value in (root.body.upstream or {}).items():
        node = nodes.get(outputs[text].node) if text in outputs else None
        if node is None or not node.types:
            continue
        type_ = node.types[outputs[text].position]
        try:
            array = to_array(value, dtype=None if hasattr(value, "dtype") and value.dtype else type_.dtype,
                             default=type_.dtype, folder=root.source.folder)
        except ValueFaultError as fault:
            faults.add(root.source, f"upstream '{text}': {fault}", "upstream", text, *fault.path)
            continue
        found = ArrayType(array.shape, str(array.dtype))
        if len(found.shape) != len(type_.shape) or found.dtype != type_.dtype or any(
                isinstance(expected, int) and expected != size
                for size, expected in zip(found.shape, type_.shape, strict=True)):
            faults.add(root.source, f"upstream '{text}': it is {found.dtype} {show(found.shape)}; expected "
                       f"{type_.dtype} {show(type_.shape)}, as the output", "upstream", text)
        arrays[text] = array
    return arrays
