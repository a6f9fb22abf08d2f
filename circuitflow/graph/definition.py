"""A document as it is written, checked: files of subcircuits read, references resolved, operands matched to gates.

Nothing is expanded here. Each body (the document's own, and each of its subcircuits) is checked once, however often it
is called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from circuitflow.document import tensors
from circuitflow.document.faults import Faults, Source
from circuitflow.document.model import Body, CallNode, CircuitFile, GateNode, InputNode, Node
from circuitflow.document.positions import Path as Pointer
from circuitflow.document.reading import NAMELESS, Parsed, parse, read
from circuitflow.document.values import Array
from circuitflow.errors import listing, nearest, printable, short
from circuitflow.gates import AtLeast, Gate, GateTable

MAX_NESTING = 64
"""How deep subcircuits may be defined inside one another, and how deep calls may nest."""

_STRUCTURE = ("input", "parameter", "constant", "call")


class Operand(NamedTuple):
    """Where an operand comes from, inside one body.

    `output` is the name of one output of several, or None.
    """

    port: str | int
    source: str
    output: str | None


@dataclass(slots=True, eq=False)
class Site:
    """A node as it stands in a body."""

    node: Node
    pointer: Pointer
    gate: Gate | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    operands: list[Operand] = field(default_factory=list)
    callee: Definition | None = None
    sound: bool = True
    array: Array | None = None


@dataclass(eq=False)
class Definition:
    """A body with the definitions that are in scope in it."""

    body: Body
    source: Source
    dtype: str
    pointer: Pointer = ()
    broken: frozenset[Pointer] = frozenset()
    scope: dict[str, Definition | None] = field(default_factory=dict)
    sites: dict[str, Site] = field(default_factory=dict)
    outputs: dict[str, tuple[str, str | None]] = field(default_factory=dict)

    @property
    def inputs(self) -> list[InputNode]:
        """The input nodes, which are the ports of a call."""
        return [node for node in self.body.nodes if isinstance(node, InputNode)]


def define(parsed: Parsed, gates: GateTable, faults: Faults) -> Definition:
    """Check a document and every subcircuit that it defines; faults are noted."""
    root = _definition(parsed)
    # Every file is read once, so that files which name one another come to an end.
    files: dict[Path, Definition | None] = {}
    if root.source.folder:
        files[(root.source.folder / Path(root.source.name).name).resolve()] = root
    definitions = [root]
    for definition in definitions:  # grows as subcircuits are found
        definitions += _subcircuits(definition, files, faults)
    for definition in definitions:
        _Checker(definition, gates, faults).check()
    return root


def _definition(parsed: Parsed) -> Definition:
    return Definition(parsed.document, parsed.source, parsed.document.dtype or "float64", broken=parsed.broken)


def _subcircuits(outer: Definition, files: dict[Path, Definition | None], faults: Faults) -> list[Definition]:
    """Put the definitions that a body writes or names in scope of it; returns those that are new."""
    found: dict[str, Definition | None] = {}  # None for one that is at fault
    new = []
    for name, subcircuit in (outer.body.circuits or {}).items():
        pointer = (*outer.pointer, "circuits", name)
        found[name] = None
        if pointer in outer.broken:
            continue
        if len(pointer) // 2 > MAX_NESTING:
            faults.add(outer.source, f"circuit '{name}': subcircuits nest more than {MAX_NESTING} deep", *pointer)
            continue
        if isinstance(subcircuit, CircuitFile):
            inner, fresh = _from_file(outer, name, subcircuit, files, faults)
        else:
            dtype = subcircuit.dtype or outer.dtype
            inner, fresh = Definition(subcircuit, outer.source, dtype, pointer, outer.broken), True
        found[name] = inner
        if inner is not None and fresh:
            new.append(inner)
    outer.scope = {**outer.scope, **found}
    for definition in new:
        if definition.source is outer.source:  # a file sees nothing of the document that names it
            definition.scope = outer.scope
    return new


def _from_file(outer: Definition, name: str, file: CircuitFile, files: dict[Path, Definition | None],
               faults: Faults) -> tuple[Definition | None, bool]:
    """The definition in a file, and whether this is the first time it is read."""
    try:
        path = tensors.beside(outer.source.folder, file.file)
    except tensors.ValueFaultError as fault:
        faults.add(outer.source, f"circuit '{name}': {fault}", *outer.pointer, "circuits", name, *fault.path)
        return None, False
    if path in files:
        return files[path], False
    parsed = parse(read((outer.source.folder or Path()) / file.file, faults), faults)
    files[path] = _definition(parsed) if parsed else None
    return files[path], True


class _Checker:
    """Checks one body; what it finds goes into the definition."""

    def __init__(self, definition: Definition, gates: GateTable, faults: Faults) -> None:
        self.definition, self.gates, self.faults = definition, gates, faults
        self.sites = definition.sites

    def check(self) -> None:
        for i, node in enumerate(self.definition.body.nodes):
            self._node(node, (*self.definition.pointer, "nodes", i))
        incoming = self._edges()
        for site in self.sites.values():
            if isinstance(site.node, GateNode | CallNode):
                self._operands(site, site.node, incoming.get(site.node.id, []))
        self._outputs()

    def fault(self, site: Site, message: str, *path: str | int, key: bool = False) -> None:
        site.sound = False
        self.faults.add(self.definition.source, f"node '{site.node.id}': {message}", *site.pointer, *path,
                        node=site.node.id, key=key)

    # Nodes

    def _node(self, node: Node, pointer: Pointer) -> None:
        site = Site(node, pointer)
        if pointer in self.definition.broken:
            site.sound = False
            self.sites.setdefault(node.id, site)
            return
        if node.id in self.sites:
            self.fault(site, "an earlier node has the same id; ids are unique", "id")
            return
        self.sites[node.id] = site
        if isinstance(node, GateNode):
            site.gate = self.gates.get(node.gate)
            if site.gate is None:
                hint = nearest(node.gate, [*self.gates, *_STRUCTURE]) or "; `circuitflow gates` lists them"
                self.fault(site, f"there is no gate {short(node.gate)}{hint}", "gate")
            else:
                self._attributes(site, node, site.gate)
        elif isinstance(node, CallNode):
            site.callee = self.definition.scope.get(node.circuit)
            site.sound = site.callee is not None
            if node.circuit not in self.definition.scope:
                scope = self.definition.scope
                hint = nearest(node.circuit, scope) or f"; 'circuits' defines {listing(scope) or 'none'}"
                self.fault(site, f"there is no circuit {short(node.circuit)}{hint}", "circuit")

    def _attributes(self, site: Site, node: GateNode, gate: Gate) -> None:
        if not node.attributes and not gate.attributes.model_fields:
            return
        try:
            site.attributes = dict(gate.attributes.model_validate(node.attributes))
        except ValidationError as error:
            fields = gate.attributes.model_fields
            properties = gate.attributes.model_json_schema().get("properties", {})
            for detail in error.errors(include_url=False):
                name = str(detail["loc"][0]) if detail["loc"] else ""
                if detail["type"] == "extra_forbidden":
                    hint = nearest(name, [*fields, *GateNode.model_fields]) or (
                        f"; its attributes are {listing(fields)}" if fields else "; it has no attributes")
                    self.fault(site, f"{node.gate} has no attribute '{printable(name, 60)}'{hint}", name, key=True)
                elif detail["type"] == "missing":
                    self.fault(site, f"{node.gate} needs the attribute '{name}': {expected(properties[name])}")
                elif not name:
                    self.fault(site, f"{node.gate}: {detail['ctx']['error']}")
                else:
                    self.fault(site, f"'{name}' is {short(node.attributes[name])}; "
                                     f"expected {expected(properties[name])}", name)

    # Operands

    def _edges(self) -> dict[str, list[tuple[str, str | int | None, Pointer]]]:
        """The edges into every node: source, port, and where the edge stands."""
        incoming: dict[str, list[tuple[str, str | int | None, Pointer]]] = {}
        for j, edge in enumerate(self.definition.body.edges):
            pointer = (*self.definition.pointer, "edges", j)
            if pointer in self.definition.broken:
                continue
            target = self.sites.get(edge.target)
            if target is None:
                self.faults.add(self.definition.source, f"edge to '{edge.target}': there is no such node"
                                f"{nearest(edge.target, self.sites)}", *pointer, "target")
            elif not isinstance(target.node, GateNode | CallNode):
                if target.sound:
                    self.faults.add(self.definition.source, f"edge to '{edge.target}': "
                                    f"{target.node.gate} nodes take no operands", *pointer, "target", node=edge.target)
            elif target.node.inputs is not None:
                self.faults.add(self.definition.source, f"node '{edge.target}': it has edges and 'inputs'; keep one of "
                                "the two", *pointer, "target", node=edge.target)
            else:
                incoming.setdefault(edge.target, []).append((edge.source, edge.port, pointer))
        return incoming

    def _operands(self, site: Site, node: GateNode | CallNode,
                  incoming: Sequence[tuple[str, str | int | None, Pointer]]) -> None:
        given = list(incoming)
        here = (*site.pointer, "inputs")
        if isinstance(node.inputs, list):
            given = [(source, None, (*here, i)) for i, source in enumerate(node.inputs)]
        elif node.inputs is not None:
            given = [(source, int(port) if port.isdecimal() else port, (*here, port))
                     for port, source in node.inputs.items()]
        references = [self._reference(site, source, pointer) for source, _, pointer in given]
        places = self._places(site, given)
        if places is None or None in references:
            site.sound = False
            return
        ports = self._ports(site)
        operands = {at: Operand(ports[at] if ports else at, *reference)
                    for at, reference in zip(places, references, strict=True) if reference is not None}
        site.operands = [operands[at] for at in sorted(operands)]

    def _ports(self, site: Site) -> list[str]:
        """The names of the operands; none for a gate that takes any number."""
        if site.callee is not None:
            return [node.id for node in site.callee.inputs]
        return list(site.gate.operands) if site.gate and not isinstance(site.gate.operands, AtLeast) else []

    def _places(self, site: Site, given: Sequence[tuple[str, str | int | None, Pointer]]) -> list[int] | None:
        """The position of the operand that each edge fills, or None after a fault."""
        if site.gate is None and site.callee is None:
            return None
        name = f"circuit '{site.node.circuit}'" if isinstance(site.node, CallNode) else site.node.gate
        ports = self._ports(site)
        least = site.gate.operands.minimum if site.gate and isinstance(site.gate.operands, AtLeast) else None
        takes = f"{least} operands or more" if least is not None else (
            f"{len(ports)} operand{'s' * (len(ports) != 1)} ({', '.join(ports)})" if ports else "no operands")
        with_port = [port is not None for _, port, _ in given]
        if any(with_port) and not all(with_port):
            self._at(site, given[with_port.index(False)][2], "some of its edges carry a port and some do not; "
                     "give all of them one, or none")
            return None
        places: list[int] = []
        for order, (_, port, pointer) in enumerate(given):
            at = order if port is None else ports.index(port) if port in ports else port
            if not isinstance(at, int) or (least is None and at >= len(ports)):
                if port is None:
                    self._at(site, pointer, f"{name} takes {takes}; it has {len(given)}")
                else:
                    hint = nearest(str(port), ports) or f"; it takes {takes}"
                    self._at(site, pointer, f"{name} has no operand {short(port)}{hint}", "port")
                return None
            if at in places:
                self._at(site, pointer, f"operand '{ports[at] if ports else at}' of {name} is given twice", "port")
                return None
            places.append(at)
        optional = [i for i, n in enumerate(site.callee.inputs) if n.value is not None] if site.callee else []
        wanted = range(max([least or 0, *(at + 1 for at in places)])) if least is not None else range(len(ports))
        missing = [at for at in wanted if at not in places and at not in optional]
        if missing:
            written = isinstance(site.node, GateNode | CallNode) and site.node.inputs is not None
            if given or written or self._edges_are_whole():
                which = f"; missing: {listing(ports[at] if ports else at for at in missing)}" if places else ""
                self.fault(site, f"{name} takes {takes}; it has {len(given) or 'none'}{which}",
                           "gate" if site.node.gate != "call" else "circuit")
            return None
        return places

    def _edges_are_whole(self) -> bool:
        """Whether no edge was found at fault, which could have been meant for a node that lacks one."""
        edges = (*self.definition.pointer, "edges")
        return not any(broken[: len(edges)] == edges for broken in self.definition.broken)

    def _at(self, site: Site, pointer: Pointer, message: str, end: str = "") -> None:
        """A fault of a node, noted where the edge or the entry of `inputs` stands that shows it."""
        site.sound = False
        edge = "edges" in pointer[-2:]
        self.faults.add(self.definition.source, f"node '{site.node.id}': {message}", *pointer,
                        *([end] if end and edge else []), node=site.node.id, key=bool(end) and not edge)

    def _reference(self, site: Site | None, text: str, pointer: Pointer) -> tuple[str, str | None] | None:
        """A reference resolved to a node and the name of its output, or None after a fault."""
        name, _, output = text.partition(".")
        source = self.sites.get(name)
        if source is None and NAMELESS in self.sites and not self.sites[NAMELESS].sound:
            return None  # it may be the node whose id cannot be told
        if source is None:
            message = f"there is no node '{name}'{nearest(name, self.sites)}"
        else:
            several = source.gate.outputs if source.gate else tuple(source.callee.body.outputs) if source.callee else ()
            if not source.sound or output in several or (not output and len(several) <= 1):
                return name, output or (several[0] if source.callee else None)
            listed = listing(f"{name}.{o}" for o in several)
            message = (f"'{name}' has several outputs; name one: {listed}" if not output else
                       f"'{name}' has no output '{printable(output, 60)}'" + (f"; it has {listed}" if several else
                       f"; it has one only, write '{name}'"))
        if site is None:
            self.faults.add(self.definition.source, f"output '{text}': {message}", *pointer)
        else:
            self.faults.add(self.definition.source, f"node '{site.node.id}': {message}", *pointer,
                            *(["source"] if "edges" in pointer[-2:] else []), node=site.node.id)
        return None

    def _outputs(self) -> None:
        body, pointer = self.definition.body, self.definition.pointer
        if (*pointer, "outputs") in self.definition.broken:
            return
        for i, text in enumerate(body.outputs):
            if text in self.definition.outputs:
                self.faults.add(self.definition.source, f"output '{text}' stands twice", *pointer, "outputs", i)
            elif reference := self._reference(None, text, (*pointer, "outputs", i)):
                self.definition.outputs[text] = reference
        for text in body.upstream or {}:
            if text not in body.outputs:
                self.faults.add(self.definition.source, f"upstream '{text}': not one of the outputs"
                                f"{nearest(text, body.outputs) or f', which are {listing(body.outputs[:8])}'}",
                                *pointer, "upstream", text, key=True)


def expected(schema: Mapping[str, Any], count: str = "a") -> str:
    """What a JSON Schema asks for, in words; `count` is "a" for one and a number, or "", for several."""
    if "anyOf" in schema:
        return " or ".join(expected(member) for member in schema["anyOf"])
    if "enum" in schema:
        return "one of " + listing(schema["enum"])
    least = f", {schema['minimum']} or more" if "minimum" in schema else ""
    match schema.get("type"):
        case "array":
            items = expected(schema["items"], str(schema.get("minItems", "")))
            return f"a list of {items}" if count == "a" else f"{count} lists of {items}".lstrip()
        case "null":
            return "null"
        case "boolean":
            return "true or false"
        case kind if count == "a":
            return f"{'an' if kind == 'integer' else 'a'} {kind}{least}"
        case kind:
            return f"{count} {kind}s{least}".lstrip()
