"""A circuit level by level: every body with its calls as they stand, typed as it is called."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from circuitflow.document.model import GateNode, InputNode, SubcircuitNode
from circuitflow.gates import IDENTITY, ArrayType
from circuitflow.graph.bodies import Definition, Site
from circuitflow.graph.expansion import outputs_of_call, resolve, resolved_outputs
from circuitflow.graph.network import Network, Output
from circuitflow.graph.node import Edge, Node


class Written(NamedTuple):
    """Where a node is written: its site, and the body that the site stands in."""

    site: Site
    definition: Definition


class Level(Network):
    """One body. A node that applies circuits has their levels among its attributes, and their "names".

    The inputs of a level are the sources of its body, and those inside its calls that are not given there: a parameter
    `w` of the circuit that `h1` calls is the source `h1/w` here.

    Attributes:
        definition: the body.
        written: where every node stands.
        inputs: ids of the inputs and parameters, in order.
        expanded: paths of the calls whose nodes stand in their place.
    """

    def __init__(self, definition: Definition, nodes: Mapping[str, Node], written: Mapping[str, Written],
                 expanded: Collection[str] = ()) -> None:
        self.name = definition.body.name or "circuit"
        self.definition, self.nodes, self.written = definition, nodes, MappingProxyType(written)
        self.inputs = tuple(node.id for node in nodes.values() if node.kind in ("input", "parameter"))
        self.expanded = frozenset(expanded)
        self.outputs = dict(resolved_outputs(definition, expanded=self.expanded))

    def _outputs_of_call(self, path: str) -> Mapping[str | None, Output]:
        return outputs_of_call(self.definition, path, self.expanded)


def levels(network: Network, definition: Definition, expanded: Collection[str] = ()) -> Level:
    """The level of a definition that a network is the expansion of.

    Args:
        network: the expansion.
        definition: the body.
        expanded: paths of calls that are not nodes of the level: the nodes inside stand in their place.
    """
    return _Levels().level(network, definition, "", frozenset(expanded))


class _Levels:
    """Bodies that are called with the same types share a level."""

    def __init__(self) -> None:
        self.made: dict[tuple[Definition, tuple[ArrayType, ...]], Level] = {}
        self.sources: dict[Definition, Mapping[str, Written]] = {}

    def level(self, network: Network, definition: Definition, path: str,
              expanded: frozenset[str] = frozenset()) -> Level:
        """The level of a body whose nodes have a path in a network."""
        types = tuple(network.nodes[path + name].types[0] for name in self._sources(definition))
        key = definition, types
        if key not in self.made:
            self.made[key] = self._level(network, definition, path, expanded)
        return self.made[key]

    def _sources(self, definition: Definition) -> Mapping[str, Written]:
        """Inputs and parameters of a body and, by path, those inside calls that are not given there."""
        if definition not in self.sources:
            found: dict[str, Written] = {}
            for site in definition.order:
                if site.callee is not None:
                    given = {operand.port for operand in site.operands}
                    found |= {f"{site.node.id}/{name}": written for name, written in self._sources(site.callee).items()
                              if name not in given}
                elif site.node.gate in ("input", "parameter"):
                    found[site.node.id] = Written(site, definition)
            self.sources[definition] = found
        return self.sources[definition]

    def _level(self, network: Network, definition: Definition, path: str, expanded: frozenset[str]) -> Level:
        nodes: dict[str, Node] = {}
        written: dict[str, Written] = {}
        pending: list[tuple[Definition, str, Mapping[str | int, Edge], Iterator[Site]]] = [
            (definition, "", {}, iter(definition.order))]
        while pending:
            body, call, bound, sites = pending[-1]
            sources = self._sources(body)
            for site in sites:
                name, kind = call + site.node.id, site.node.gate
                edges = tuple(Edge(*resolve(body, call, source, output, expanded), port)
                              for source, output, port in site.operands)
                if site.callee is not None and name in expanded:
                    pending.append((site.callee, f"{name}/", {edge.port: edge for edge in edges},
                                    iter(site.callee.order)))
                    break
                if isinstance(site.node, InputNode) and site.node.id in bound:
                    node = network.nodes[path + name]
                    site = Site(GateNode(id=site.node.id, gate=IDENTITY), site.pointer)
                    edges = (bound[site.node.id]._replace(port="x"),)
                    nodes[name] = Node(name, IDENTITY, node.gate, {}, edges, (), node.types)
                elif site.callee is not None:
                    given = {edge.port: edge for edge in edges}
                    inner = self.level(network, site.callee, f"{path}{name}/")
                    for port in inner.inputs:
                        if port not in given:
                            free = f"{name}/{port}"
                            written[free] = sources[f"{site.node.id}/{port}"]
                            nodes[free] = Node(free, written[free].site.node.gate, None, {}, (), (),
                                               network.nodes[path + free].types)
                    edges = tuple(given.get(port, Edge(f"{name}/{port}", 0, port)) for port in inner.inputs)
                    outputs = tuple(site.outputs) if len(site.outputs) > 1 else ()
                    types = tuple(map(inner.type_of, inner.outputs.values()))
                    nodes[name] = Node(name, kind, None, _applied(site, {"circuit": inner}), edges, outputs, types)
                else:
                    node = network.nodes[path + name]
                    attributes = site.attributes
                    if site.bodies:
                        instances = {key: node.attributes[key] for key in site.bodies}
                        attributes = _applied(site, {**node.attributes, **{
                            key: self.level(instance, instance.definition, "")
                            for key, instance in instances.items()}})
                    nodes[name] = Node(name, kind, site.gate, attributes, edges, node.outputs, node.types)
                written[name] = Written(site, body)
            else:
                pending.pop()
        return Level(definition, nodes, written, expanded)


def _applied(site: Site, attributes: Mapping[str, Any]) -> dict[str, Any]:
    assert isinstance(site.node, SubcircuitNode)  # noqa: S101
    return {**attributes, "names": site.node.circuits}
