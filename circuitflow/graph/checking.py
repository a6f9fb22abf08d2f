"""Checks the gates, attributes, references and operands of each body once, before anything is expanded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import repeat
from types import MappingProxyType
from typing import Any, NamedTuple

from circuitflow.document.base import READABLE
from circuitflow.document.faults import Faults
from circuitflow.document.model import NODES, CallNode, GateNode, IfNode, Node, ScanNode, SubcircuitNode
from circuitflow.document.positions import Path as Pointer
from circuitflow.document.reading import NAMELESS
from circuitflow.document.versions import later_keys
from circuitflow.gates import AtLeast, Gate, GateTable, of_elements, suggestion
from circuitflow.graph.attributes import fit_attributes
from circuitflow.graph.bodies import NOTHING, SOURCES, Definition, Operand, Output, Site
from circuitflow.graph.fitting import check_fit
from circuitflow.graph.order import put_in_order
from circuitflow.text import few, listing, printable, short


def check_body(definition: Definition, gates: GateTable, faults: Faults) -> None:
    """Check a body and put its sites and outputs into the definition; faults are noted."""
    _Checker(definition, gates, faults).check()


class _Entry(NamedTuple):
    """An entry of `inputs`, or an edge: its reference, its port if it has one, and the place in the text."""

    source: str
    port: str | int | None
    pointer: Pointer


class _Kind(NamedTuple):
    """A gate, the ports of its operands, the least number of them, and its attributes where a node names none."""

    gate: Gate
    ports: Sequence[str | int]
    least: int
    attributes: Mapping[str, Any]


_POSITIONS = range(2**31)


def _port(ports: Sequence[str], at: int) -> str | int:
    """The name of the operand at a position, or the position itself where operands have no names."""
    return ports[at] if ports else at


def _least(site: Site) -> int | None:
    """How many operands a gate of any number takes at least."""
    return site.gate.operands.minimum if site.gate and isinstance(site.gate.operands, AtLeast) else None


def _takes(site: Site) -> str:
    """How many operands a node takes, in words."""
    ports, least = site.ports, _least(site)
    if least is not None:
        return f"{least} operands or more"
    return f"{len(ports)} operand{'s' * (len(ports) != 1)} ({', '.join(few(ports))})" if ports else "no operands"


class _Checker:
    """Checks one body and fills its definition."""

    def __init__(self, definition: Definition, gates: GateTable, faults: Faults) -> None:
        self.definition, self.gates, self.faults = definition, gates, faults
        self.sites = definition.sites
        self.single: set[str] = set()  # ids of the nodes with one output
        self.kinds: dict[str, _Kind | None] = {}
        self.positions: dict[Site, Mapping[str, int]] = {}
        self.later = False  # whether a fault says that a node has a key of a later version than the document
        edges = (*definition.pointer, "edges")
        # An edge at fault could have been meant for any node that lacks one.
        self.edges_are_whole = not any(broken[: len(edges)] == edges for broken in definition.broken)

    def check(self) -> None:
        here = (*self.definition.pointer, "nodes")
        in_order = True
        for i, node in enumerate(self.definition.body.nodes):
            if not self._is_plain(node, (*here, i)):
                self._node(node, (*here, i))
                in_order &= node.gate in SOURCES
        incoming = self._edges()
        for site in self.sites.values():
            if not site.is_plain and isinstance(site.node, GateNode | SubcircuitNode):
                self._operands(site, site.node, incoming.get(site.node.id, []))
        self._outputs()
        if "fit" in self.definition.body.model_fields_set:
            check_fit(self.definition, self._resolve, self.faults)
        if in_order:
            self.definition.order = list(self.sites.values())
        else:
            put_in_order(self.definition, self.faults)

    def fault(self, site: Site, message: str, *path: str | int, key: bool = False, lacks: str = "") -> None:
        site.sound = False
        self.faults.add(self.definition.source, f"node '{site.node.id}': {message}", *site.pointer, *path,
                        node=site.node.id, key=key, lacks=lacks)

    # Nodes

    def _is_plain(self, node: Node, pointer: Pointer) -> bool:
        """Whether a node is a gate that names no attributes, on earlier nodes of one output; it then has its site.

        In a large document most are, and nothing else is to be checked of them.
        """
        if type(node) is not GateNode or node.attributes:
            return False
        kind = self.kinds[node.gate] if node.gate in self.kinds else self._kind(node.gate)
        name, sources = node.id, node.inputs
        if (kind is None or type(sources) is not list or not kind.least <= len(sources) <= len(kind.ports)
                or not self.single.issuperset(sources) or name in self.sites or pointer in self.definition.broken):
            return False
        operands = tuple(map(Operand, sources, repeat(0), kind.ports))
        self.sites[name] = Site(node, self.definition.source, pointer, kind.gate, kind.attributes, operands,
                                is_plain=True)
        self.single.add(name)
        return True

    def _kind(self, name: str) -> _Kind | None:
        """What plain nodes of a gate have in common; None where there are none."""
        gate, kind = self.gates.get(name), None
        if gate is not None and not gate.outputs:
            attributes, misfits = fit_attributes(name, gate, {})
            shared = MappingProxyType(attributes) if attributes else NOTHING
            if not misfits:
                kind = (_Kind(gate, _POSITIONS, gate.operands.minimum, shared) if isinstance(gate.operands, AtLeast)
                        else _Kind(gate, gate.operands, len(gate.operands) - gate.optional, shared))
        self.kinds[name] = kind
        return kind

    def _node(self, node: Node, pointer: Pointer) -> None:
        site = Site(node, self.definition.source, pointer)
        if pointer in self.definition.broken:
            site.sound = False
            self.sites.setdefault(node.id, site)
            return
        if node.id in self.sites:
            self.fault(site, "an earlier node has the same id; ids are unique", "id")
            return
        self.sites[node.id] = site
        if isinstance(node, GateNode):
            site.gate = gate = self.gates.get(node.gate)
            if gate is not None and not gate.outputs:
                self.single.add(node.id)
            if gate is None:
                hint = suggestion(node.gate, [*self.gates, *NODES], self.faults.nearest)
                self.fault(site, f"there is no gate {short(node.gate)}{hint}", "gate")
            else:
                self._attributes(site, node, gate)
        elif isinstance(node, SubcircuitNode):
            self._circuits(site, node)
        else:
            self.single.add(node.id)
            if self.definition.version == READABLE[0] and not self.later and (keys := later_keys(node)):
                self.later = True  # one word at the top allows all of them
                self.faults.add(self.definition.source, f"node '{node.id}': '{keys[0]}' is a key of format "
                                f'{READABLE[1]}; say "circuitflow": "{READABLE[1]}"', *pointer, keys[0], key=True,
                                node=node.id)

    def _circuits(self, site: Site, node: SubcircuitNode) -> None:
        scope = self.definition.scope
        for key, name in node.circuits.items():
            body = scope.get(name)
            if body is not None:
                site.bodies = {**site.bodies, key: body}
                continue
            site.sound = False
            if name not in scope:
                hint = (self.faults.nearest(name, scope)
                        or f"; 'circuits' defines {listing(scope) or 'none'}")
                self.fault(site, f"there is no circuit {short(name)}{hint}", key)
        if site.sound and isinstance(node, ScanNode):
            self._scan(site, node, site.bodies["circuit"])
        elif site.sound and isinstance(node, IfNode) and len({frozenset(b.names) for b in site.bodies.values()}) > 1:
            first, second = (listing(body.names) for body in site.bodies.values())
            self.fault(site, f"the two circuits need the same outputs; '{node.then}' has {first}, '{node.else_}' has "
                             f"{second}", "else")

    def _scan(self, site: Site, node: ScanNode, body: Definition) -> None:
        first: dict[str, str] = {}  # of the inputs whose next value is an output
        for name, output in node.carry.items():
            if name not in body.inputs:
                hint = self.faults.nearest(name, body.inputs) or f"; it has {listing(body.inputs)}"
                self.fault(site, f"carry: circuit '{node.circuit}' has no input '{name}'{hint}", "carry", name,
                           key=True)
            elif output not in body.positions:
                hint = self.faults.nearest(output, body.names) or f"; it has {listing(body.names)}"
                self.fault(site, f"carry: circuit '{node.circuit}' has no output '{output}'{hint}", "carry", name)
            elif first.setdefault(output, name) != name:
                self.fault(site, f"carry: output '{output}' is the next value of two inputs", "carry", name)
        names: set[str] = set()
        for i, name in enumerate(node.over):
            if name not in body.inputs:
                hint = self.faults.nearest(name, body.inputs) or f"; it has {listing(body.inputs)}"
                self.fault(site, f"over: circuit '{node.circuit}' has no input '{name}'{hint}", "over", i)
            elif name in node.carry or name in names:
                what = "is carried" if name in node.carry else "stands twice"
                self.fault(site, f"over: input '{name}' {what}; an input is carried or taken apart, once", "over", i)
            names.add(name)

    def _attributes(self, site: Site, node: GateNode, gate: Gate) -> None:
        if not node.attributes and not gate.attributes.model_fields:
            return
        site.attributes, misfits = fit_attributes(node.gate, gate, node.attributes, GateNode.model_fields,
                                                  self.faults.nearest)
        for misfit in misfits:
            self.fault(site, misfit.message, *misfit.path, key=misfit.is_key, lacks=misfit.lacks)

    # Operands

    def _edges(self) -> dict[str, list[_Entry]]:
        """The edges into every node."""
        incoming: dict[str, list[_Entry]] = {}
        for j, edge in enumerate(self.definition.body.edges):
            pointer = (*self.definition.pointer, "edges", j)
            if pointer in self.definition.broken:
                continue
            target = self.sites.get(edge.target)
            if target is None:
                self.faults.add(self.definition.source, f"edge to '{edge.target}': there is no such node"
                                f"{self.faults.nearest(edge.target, self.sites)}", *pointer, "target")
            elif not isinstance(target.node, GateNode | SubcircuitNode):
                if target.sound:
                    self.faults.add(self.definition.source, f"edge to '{edge.target}': "
                                    f"{target.node.gate} nodes take no operands", *pointer, "target", node=edge.target)
            elif target.node.inputs is not None:
                self.faults.add(self.definition.source, f"node '{edge.target}': it has edges and 'inputs'; keep one of "
                                "the two", *pointer, "target", node=edge.target)
            else:
                incoming.setdefault(edge.target, []).append(_Entry(edge.source, edge.port, pointer))
        return incoming

    def _operands(self, site: Site, node: GateNode | SubcircuitNode, edges: Sequence[_Entry]) -> None:
        here = (*site.pointer, "inputs")
        if isinstance(node.inputs, list):
            edges = [_Entry(source, None, (*here, i)) for i, source in enumerate(node.inputs)]
        elif node.inputs is not None:
            edges = [_Entry(source, int(port) if port.isdecimal() else port, (*here, port))
                     for port, source in node.inputs.items()]
        broken = self.definition.broken
        references = [self._reference(site, edge.source, edge.pointer) if not broken or edge.pointer not in broken else
                      None for edge in edges]
        places = self._places(site, edges)
        if places is None or None in references:
            site.sound = False
            return
        ports = site.ports
        operands = {at: Operand(*reference, _port(ports, at))
                    for at, reference in zip(places, references, strict=True) if reference is not None}
        site.operands = tuple(operands[at] for at in sorted(operands))

    def _places(self, site: Site, edges: Sequence[_Entry]) -> list[int] | None:
        """The position of the operand that each edge fills, or None after a fault."""
        if site.gate is None and not site.bodies:
            return None
        ports, least = site.ports, _least(site)
        name = f"circuit '{site.node.circuit}'" if isinstance(site.node, CallNode) else site.node.gate
        portless = [edge for edge in edges if edge.port is None]
        if portless and len(portless) < len(edges):
            self._at(site, portless[0].pointer, "some of its edges carry a port and some do not; give all of them one, "
                                                "or none")
            return None
        position = {name: i for i, name in enumerate(ports)}
        places: dict[int, None] = {}
        for order, (_, port, pointer) in enumerate(edges):
            at = order if port is None else position.get(str(port), port)
            if not isinstance(at, int) or (least is None and at >= len(ports)):
                if port is None:
                    self._at(site, pointer, f"{name} takes {_takes(site)}; it has {len(edges)}")
                else:
                    hint = self.faults.nearest(str(port), ports) or f"; it takes {_takes(site)}"
                    self._at(site, pointer, f"{name} has no operand {short(port)}{hint}", "port")
                return None
            if at in places:
                self._at(site, pointer, f"operand '{_port(ports, at)}' of {name} is given twice", "port")
                return None
            places[at] = None
        minimum = len(ports) - (site.gate.optional if site.gate else 0)
        count = max(least, len(edges)) if least is not None else max(minimum, *(at + 1 for at in places), 0)
        inputs = site.callee.inputs.values() if site.callee else ()
        optional = {i for i, node in enumerate(inputs) if node.value is not None}
        missing = [_port(ports, at) for at in range(count) if at not in places and at not in optional]
        if missing:
            has_inputs = isinstance(site.node, GateNode | SubcircuitNode) and site.node.inputs is not None
            if edges or has_inputs or self.edges_are_whole:
                which = of_elements(name, len(edges), self.gates) or (
                    f"; missing: {listing(missing)}" if edges else "")
                self.fault(site, f"{name} takes {_takes(site)}; it has {len(edges) or 'none'}{which}",
                           "gate" if site.callee is None else "circuit")
            return None
        return list(places)

    def _at(self, site: Site, pointer: Pointer, message: str, end: str = "") -> None:
        """Note a fault of a node at the edge, or at the entry of `inputs`, that shows it."""
        site.sound = False
        edge = "edges" in pointer[-2:]
        self.faults.add(self.definition.source, f"node '{site.node.id}': {message}", *pointer,
                        *([end] if end and edge else []), node=site.node.id, key=bool(end) and not edge)

    def _reference(self, site: Site | None, text: str, pointer: Pointer) -> Output | None:
        """A reference resolved to a node and the position of its output, or None after a fault."""
        meaning = self._resolve(text)
        if isinstance(meaning, str) and site is None:
            self.faults.add(self.definition.source, f"output '{text}': {meaning}", *pointer)
        elif isinstance(meaning, str) and site is not None:
            self.faults.add(self.definition.source, f"node '{site.node.id}': {meaning}", *pointer,
                            *(["source"] if "edges" in pointer[-2:] else []), node=site.node.id)
        return None if isinstance(meaning, str) else meaning

    def _resolve(self, text: str) -> Output | str | None:
        """What a reference means; the message of the fault where it means nothing; None after another fault."""
        if text in self.single:
            return Output(text, 0)
        name, _, output = text.partition(".")
        source = self.sites.get(name)
        if source is None and NAMELESS in self.sites and not self.sites[NAMELESS].sound:
            return None  # it may mean the node whose id is at fault
        if source is None:
            return f"there is no node '{name}'{self.faults.nearest(name, self.sites)}"
        several = self._positions(source)
        if not source.sound or output in several or (not output and len(several) <= 1):
            return Output(name, several.get(output, 0))
        names = listing(f"{name}.{o}" for o in several)
        if not output:
            return f"'{name}' has several outputs; name one: {names}"
        return f"'{name}' has no output '{printable(output, 60)}'" + (
            f"; it has {names}" if several else f"; it has one only, write '{name}'")

    def _positions(self, site: Site) -> Mapping[str, int]:
        """Where each of a node's outputs stands, if it has several."""
        if site not in self.positions:
            self.positions[site] = {name: i for i, name in enumerate(site.outputs)}
        return self.positions[site]

    def _outputs(self) -> None:
        body, pointer = self.definition.body, self.definition.pointer
        if (*pointer, "outputs") in self.definition.broken:
            return
        whole = True
        for i, text in enumerate(body.outputs):
            if (*pointer, "outputs", i) in self.definition.broken:
                whole = False
            elif text in self.definition.outputs:
                self.faults.add(self.definition.source, f"output '{text}' stands twice", *pointer, "outputs", i)
            elif reference := self._reference(None, text, (*pointer, "outputs", i)):
                self.definition.outputs[text] = reference
        for text in body.upstream or {} if whole else {}:
            if text not in self.definition.positions:
                hint = self.faults.nearest(text, body.outputs) or f", which are {listing(body.outputs)}"
                self.faults.add(self.definition.source, f"upstream '{text}': not one of the outputs{hint}", *pointer,
                                "upstream", text, key=True)
