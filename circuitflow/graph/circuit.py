"""The circuit: a valid document with its graph."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from circuitflow.arguments import checked
from circuitflow.document.faults import Faults, Source
from circuitflow.document.limits import DEFAULT, Limits
from circuitflow.document.model import Document
from circuitflow.document.numbers import as_numpy, has_text
from circuitflow.document.reading import Parsed, decode, parse, parse_value, read
from circuitflow.document.rewriting import with_new_values
from circuitflow.document.tensors import Array
from circuitflow.document.values import from_array
from circuitflow.document.writing import dumps as dump_document
from circuitflow.document.writing import tidy
from circuitflow.errors import InputError
from circuitflow.gates import GATES, GateTable
from circuitflow.gates.shapes import allows, show
from circuitflow.graph.bodies import Site, define, place
from circuitflow.graph.carried import Carried, LoadedTensors, Tensors, carry, files, loaded_tensors
from circuitflow.graph.checking import check_body
from circuitflow.graph.collector import collector_paused
from circuitflow.graph.expansion import reachable_bodies
from circuitflow.graph.typed import TypedBody
from circuitflow.graph.typing import Typing, known_types
from circuitflow.graph.values import read_sources, read_upstream
from circuitflow.text import printable

if TYPE_CHECKING:
    import networkx as nx

NO_TENSORS: Tensors = MappingProxyType({})


class Circuit(TypedBody):
    """The body of a valid document, for callers: ids resolved, calls expanded, shapes inferred.

    Two circuits are equal when their documents are.

    Attributes:
        document: the document as it was written.
        body: the same body with its calls as they stand.
        upstream: the document's upstream gradients, by output.
    """

    @checked
    def __init__(self, document: Document, *, gates: GateTable = GATES,
                 folder: str | os.PathLike[str] | None = None, limits: Limits = DEFAULT) -> None:
        """Build the circuit of a document made by a program; `load` and `loads` read one.

        Args:
            document: a validated document.
            gates: the gate table; `{**GATES, "cube": Gate(…)}` adds a gate of your own.
            folder: where the document's files lie; without it, it can have none.
            limits: how large things may be.

        Raises:
            DocumentError: with every fault that was found.
        """
        source = Source(document.name or "<document>", None, Path(folder) if folder is not None else None, limits)
        self._build(Parsed(document, source), gates, Faults())

    @classmethod
    def _of(cls, parsed: Parsed, gates: GateTable, faults: Faults, **files: Any) -> Circuit:
        """The circuit of a parsed document; `files` are those that `_build` need not open."""
        circuit = cls.__new__(cls)
        circuit._build(parsed, gates, faults, **files)
        return circuit

    @checked
    def derived(self, document: Document) -> Circuit:
        """The circuit of a document made from this one: the same gates, folder and limits, and the tensors loaded here.

        Raises:
            DocumentError: with every fault that was found.
        """
        source = replace(self.definition.source, name=document.name or "<document>", text=None)
        return Circuit._of(Parsed(document, source), self.gates, Faults(), tensors=self._tensors)

    @checked
    def with_gates(self, gates: GateTable) -> Circuit:
        """The circuit of the same document with another table of gates.

        Raises:
            DocumentError: with every fault that was found.
        """
        return Circuit._of(Parsed(self.document, self.definition.source), gates, Faults(), tensors=self._tensors)

    @checked
    def with_values(self, values: Mapping[str, Any]) -> Circuit:
        """The circuit with other values stored in its document, such as those that a fit found.

        Args:
            values: by id of inputs, parameters and constants of the document itself: numbers, lists or arrays, which
                take the dtype of the node as at a run, or values as documents have them
                (`{"file": …, "tensor": …}`). Their shapes are those that the node has.

        Raises:
            InputError: there is no such node, or the value does not fit it.
            DocumentError: a value as documents have it is not valid.
        """
        updates: dict[str, Any] = {}
        for name, value in values.items():
            site, label = self.definition.sites.get(name), f"'{printable(name, 60)}'"
            if site is None or name not in self.nodes:
                inside = " inside a call; store it in the circuit that is called" if name in self.nodes else ""
                raise InputError(f"there is no {label} in the document of circuit '{printable(self.name, 60)}' itself"
                                 + (inside or self.suggestion(name)))
            node = self.nodes[name]
            if not node.is_source:
                raise InputError(f"{label} cannot be given a value: it is computed, by {node.kind}; inputs, parameters "
                                 "and constants can")
            type_ = node.types[0]
            if isinstance(value, BaseModel | dict) or has_text(value):  # as documents have it
                updates[name] = parse_value(value, self.definition.source, name)
                continue
            array = as_numpy(value, type_.dtype, label)
            if not allows(type_.shape, array.shape):
                raise InputError(f"{label} has shape {show(array.shape)}; expected {show(type_.shape)}")
            updates[name] = parse_value(tidy(from_array(array)), self.definition.source, name)
        types = {name: self.nodes[name].types[0] for name in updates}
        circuit = self.derived(with_new_values(self.document, updates, {name: types[name].dtype for name in updates}))
        for name, type_ in types.items():
            if (new := circuit.nodes[name].types[0]) != type_:
                raise InputError(f"'{name}' would become {new.dtype} {show(new.shape)}; expected {type_.dtype} "
                                 f"{show(type_.shape)}, as before")
        return circuit

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickle of the document, of the tensors and subcircuits in its files, and of rows that are not built in.

        It opens no file where it is loaded. Functions of a row that is not built in must be importable by name.
        """
        return _unpickled, (type(self), carry(self.document, self.definition, self.gates, self._tensors))

    @property
    def _tensors(self) -> Tensors:
        return loaded_tensors(self.definition, self.upstream)

    def _build(self, parsed: Parsed, gates: GateTable, faults: Faults, *, tensors: Tensors = NO_TENSORS,
               files: Mapping[str, tuple[int, str]] | None = None) -> None:
        definitions = define(parsed, faults, files)
        for definition in definitions:
            check_body(definition, gates, faults)
        root = definitions[0]
        bodies = reachable_bodies(root, faults)
        beside = LoadedTensors(tensors, root.source.limits, faults)
        if bodies is None or not read_sources(bodies, beside, faults):
            faults.fail()
        body = Typing(gates, faults).body(root, {})
        upstream = read_upstream(root, known_types(body), beside, faults) if parsed.document.upstream else {}
        faults.raise_if_any()
        super().__init__(root, MappingProxyType(body.expansion.nodes), gates, None)
        self.document, self.body = parsed.document, body
        self.upstream: Mapping[str, Array] = MappingProxyType(upstream)

    @cached_property
    def bounds(self) -> Mapping[str, tuple[Array, Array]]:
        """The least and the largest value of every element of the parameters that have bounds, by id.

        Both are read-only arrays of the shape and dtype of the value. A side that the document leaves out is infinite.
        A run does not look at them.
        """
        return MappingProxyType({name: site.bounds for name, site in self._parameters() if site.bounds is not None})

    @cached_property
    def frozen(self) -> frozenset[str]:
        """Ids of the parameters that a fit leaves as they are. A run gives gradients on them as on all others."""
        return frozenset(name for name, site in self._parameters() if getattr(site.node, "frozen", False))

    def _parameters(self) -> Iterator[tuple[str, Site]]:
        return ((node.id, node.site) for node in self.nodes.values() if node.kind == "parameter" and node.site)

    @checked
    def upstream_name(self, reference: str) -> str | None:
        """How the document names an output that it gives an upstream gradient on; None where it gives none."""
        if reference in self.outputs:
            return reference if reference in self.upstream else None
        output = self.find(reference)
        return next((text for text in self.upstream if self.outputs[text] == output), None)

    @property
    def files(self) -> set[str]:
        """The places of the tensor and subcircuit files that the document names."""
        return files(self.definition, self.upstream)

    @property
    def limits(self) -> Limits:
        """How large things may be."""
        return self.definition.source.limits

    @cached_property
    def graph(self) -> nx.MultiDiGraph[str]:
        """A frozen networkx `MultiDiGraph` of node ids, made at its first use.

        Every edge has its port as key and the position of the source's output as `output`.
        """
        import networkx as nx  # a third of the time that a run takes to start

        graph: nx.MultiDiGraph[str] = nx.MultiDiGraph()
        with collector_paused():
            graph.add_nodes_from(self.nodes)
            # As `add_edges_from`, in a fifth of its time because the edges are new.
            successors, predecessors = graph._adj, graph._pred  # type: ignore[attr-defined]
            for name, node in self.nodes.items():
                into = predecessors[name]
                for source, output, port in node.operands:
                    if source in into:
                        into[source][port] = {"output": output}
                    else:
                        into[source] = successors[source][name] = {port: {"output": output}}
        frozen: nx.MultiDiGraph[str] = nx.freeze(graph)
        return frozen

    def __eq__(self, other: object) -> bool:
        return self.document == other.document if isinstance(other, Circuit) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        outputs = ", ".join(self.outputs)
        return f"<Circuit {printable(self.name)!r}: {len(self.nodes)} nodes, outputs {printable(outputs)}>"


@checked
def load(path: str | os.PathLike[str], *, gates: GateTable = GATES, limits: Limits = DEFAULT) -> Circuit:
    """Read a circuit document; nothing that it says is executed.

    Args:
        path: a JSON file, or "-" for standard input. Tensor and subcircuit files lie beside or below it.
        gates: the gate table.
        limits: how large things may be.

    Raises:
        DocumentError: with every fault that was found, each with its place.
    """
    with collector_paused():
        faults = Faults()
        return _parsed(read(path, faults, limits), gates, faults)


@checked
def loads(text: str | bytes, *, gates: GateTable = GATES, folder: str | os.PathLike[str] | None = None,
          limits: Limits = DEFAULT) -> Circuit:
    """Read a circuit document from a string, or from the bytes of a file; see `load`.

    Args:
        text: the JSON text, in UTF-8 where it is bytes.
        gates: the gate table.
        folder: where the document's files lie; without it, it can have none.
        limits: how large things may be.

    Raises:
        DocumentError: with every fault that was found, each with its place.
    """
    with collector_paused():
        faults, beside = Faults(), Path(folder) if folder is not None else None
        source = (Source("<document>", text, beside, limits) if isinstance(text, str) else
                  decode("<document>", text, beside, faults, limits))
        return _parsed(source, gates, faults)


def with_tensors(document: Document, tensors: Mapping[tuple[str, str], Array], *, limits: Limits = DEFAULT) -> Circuit:
    """The circuit of a document whose tensor files are in memory: arrays by the name of the file and of the tensor.

    Raises:
        DocumentError: with every fault that was found.
    """
    source = Source(document.name or "<document>", None, None, limits)
    return Circuit._of(Parsed(document, source), GATES, Faults(),
                       tensors={(place(None, file), name): array for (file, name), array in tensors.items()})


def _unpickled(cls: type[Circuit], parts: Carried) -> Circuit:
    with collector_paused():
        return cls._of(parts.parsed(), parts.gates(), Faults(), tensors=parts.tensors, files=parts.files)


def _parsed(source: Source, gates: GateTable, faults: Faults) -> Circuit:
    parsed = parse(source, faults)
    if parsed is None:
        faults.fail()
    return Circuit._of(parsed, gates, faults)


@checked
def dumps(circuit: Circuit | Document) -> str:
    """A document as text in the canonical layout; `loads(dumps(circuit)) == circuit`.

    Args:
        circuit: a circuit, of which the document is written, or a document.
    """
    return dump_document(circuit.document if isinstance(circuit, Circuit) else circuit)
