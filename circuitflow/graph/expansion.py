"""Calls to path ids: how many nodes there will be is counted before the first is made."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import networkx as nx

from circuitflow.document.faults import Faults
from circuitflow.document.model import InputNode, SubcircuitNode
from circuitflow.gates import IDENTITY, GateTable
from circuitflow.graph.bodies import Definition, Site
from circuitflow.graph.network import Output
from circuitflow.graph.node import Edge, Node
from circuitflow.text import circle, short


@dataclass(slots=True, eq=False)
class Placed:
    """A node of the expanded circuit with the place in a document that it comes from.

    Attributes:
        call: the path of the call that it is inside of, with a slash at its end.
    """

    node: Node
    site: Site
    definition: Definition
    call: str
    sound: bool


def reached(root: Definition, faults: Faults) -> list[Definition] | None:
    """The bodies that a circuit is made of; None, after a fault, if one calls itself or they are too many at last."""
    calls: nx.MultiDiGraph[Definition] = nx.MultiDiGraph()
    calls.add_node(root)
    pending = [root]
    for definition in pending:  # grows as callees are found
        for site in definition.sites.values():
            for body in site.bodies.values():
                if body not in calls:
                    pending.append(body)
                calls.add_edge(definition, body, site=site)
    if not nx.is_directed_acyclic_graph(calls):
        cycle = [(caller, calls.edges[caller, callee, key]["site"])
                 for caller, callee, key in nx.find_cycle(calls, root)]
        caller, site = cycle[-1]
        chain = circle([next(iter(s.node.circuits.values())) for _, s in (cycle[-1], *cycle[:-1])
                        if isinstance(s.node, SubcircuitNode)])
        faults.add(caller.source, f"node '{site.node.id}': a circuit cannot call itself: {chain}", *site.pointer,
                   next(iter(site.bodies)), node=site.node.id)
        return None
    limits = root.source.limits
    sizes: dict[Definition, tuple[int, int]] = {}
    for definition in reversed(list(nx.topological_sort(calls))):
        called = [(site, *sizes[body]) for site in definition.sites.values() for body in site.bodies.values()]
        size = len(definition.sites) - len(called) + sum(count for _, count, _ in called)
        depth = 1 + max((depth for _, _, depth in called), default=0)
        sizes[definition] = size, depth
        if size > limits.nodes or depth > limits.nesting + 1:
            found = (f"the circuit has {short(size)} nodes once every call is expanded; at most {limits.nodes} are "
                     "allowed (limit nodes)" if size > limits.nodes else
                     f"calls nest more than {limits.nesting} deep (limit nesting)")
            if called:
                largest = max(called, key=lambda call: call[1:])[0]
                faults.add(definition.source, f"node '{largest.node.id}': {found}", *largest.pointer,
                           node=largest.node.id)
            else:
                faults.add(definition.source, found, *definition.pointer)
            return None
    return pending


def expand(root: Definition, gates: GateTable,
           given: Mapping[str, Edge | None] = MappingProxyType({})) -> Iterator[Placed]:
    """The nodes of a body in topological order, the nodes of a call where the call stands.

    Args:
        root: the body.
        gates: the gate table.
        given: where the inputs of the body come from; those that are not given are sources.
    """
    pending: list[tuple[Definition, str, Mapping[str, Edge | None], Iterator[Site]]] = [
        (root, "", given, iter(root.order))]
    while pending:
        definition, call, given, sites = pending[-1]
        for site in sites:
            if site.is_plain and not call:
                node = site.node
                plain = Node(node.id, node.gate, site.gate, site.attributes, site.operands, (), (), node.label)
                yield Placed(plain, site, definition, call, site.sound)
            elif site.callee is None:
                yield _place(definition, call, given, site, gates)
            else:
                edges = _edges(definition, call, site)
                # Where the call is at fault, the inputs of its circuit are unknown, not absent.
                bound: Mapping[str, Edge | None] = (dict.fromkeys(site.callee.inputs)
                                                    if edges is None else {str(edge.port): edge for edge in edges})
                pending.append((site.callee, f"{call}{site.node.id}/", bound, iter(site.callee.order)))
                break
        else:
            pending.pop()


def _place(definition: Definition, call: str, given: Mapping[str, Edge | None], site: Site, gates: GateTable) -> Placed:
    name, label = call + site.node.id, site.node.label
    if isinstance(site.node, InputNode) and site.node.id in given:
        edge = given[site.node.id]
        edges = (edge._replace(port="x"),) if edge else ()
        node = Node(name, IDENTITY, gates[IDENTITY], {}, edges, label=label)
        return Placed(node, site, definition, call, site.sound and edge is not None)
    found = _edges(definition, call, site)
    outputs = tuple(site.outputs)
    if site.bodies and len(outputs) == 1:
        outputs = ()
    node = Node(name, site.node.gate, site.gate, site.attributes, found or (), outputs, label=label)
    return Placed(node, site, definition, call, found is not None)


def _edges(definition: Definition, call: str, site: Site) -> tuple[Edge, ...] | None:
    """The operands of a node in the expanded circuit; None where something that they need is at fault."""
    try:
        return tuple(Edge(*resolve(definition, call, source, output), port)
                     for source, output, port in site.operands) if site.sound else None
    except KeyError:
        return None


def resolved_outputs(definition: Definition,
                     expanded: Container[str] | None = None) -> Iterator[tuple[str, Output]]:
    """The outputs of a body; those that lead to something at fault are left out."""
    for text, (name, output) in definition.outputs.items():
        try:
            yield text, Output(*resolve(definition, "", name, output, expanded))
        except KeyError:
            continue


def outputs_of_call(root: Definition, path: str,
                    expanded: Container[str] | None = None) -> dict[str | None, Output]:
    """The outputs of a call by name, a single one also without; none where there is no such call.

    Args:
        root: the body that the path begins in.
        path: `h`, or `outer/h` for a call inside a call.
        expanded: paths of the calls that are expanded; all by default.
    """
    *outer, name = path.split("/")
    definition, call = root, ""
    for part in outer:
        site = definition.sites.get(part)
        if site is None or site.callee is None or (expanded is not None and call + part not in expanded):
            return {}
        definition, call = site.callee, f"{call}{part}/"
    site = definition.sites.get(name)
    if site is None or site.callee is None:
        return {}
    found: dict[str | None, Output] = {
        text: Output(*resolve(definition, call, name, i, expanded)) for i, text in enumerate(site.callee.names)}
    return {**found, None: next(iter(found.values()))} if len(found) == 1 else found


def resolve(definition: Definition, call: str, name: str, output: int,
            expanded: Container[str] | None = None) -> tuple[str, int]:
    """The id, in the expanded circuit, of the node that a reference in a body means, and the position of its output.

    Args:
        definition: the body.
        call: what ids of the body begin with.
        name: the node.
        output: which of its outputs.
        expanded: paths of the calls that are expanded; all by default.

    Raises:
        KeyError: the reference leads to something at fault.
    """
    site = definition.sites[name]
    while site.callee is not None and (expanded is None or call + name in expanded):
        definition, call = site.callee, f"{call}{name}/"
        name, output = definition.outputs[definition.names[output]]
        site = definition.sites[name]
    if not site.sound:
        raise KeyError(name)
    return call + name, output
