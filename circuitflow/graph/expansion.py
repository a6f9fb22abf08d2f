"""Counts the nodes of the expanded circuit, and resolves references through calls."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from circuitflow.document.faults import Faults
from circuitflow.document.model import SubcircuitNode
from circuitflow.graph.bodies import Definition, Output, Site
from circuitflow.graph.reachable import reachable
from circuitflow.text import circle, short


def reachable_bodies(root: Definition, faults: Faults) -> list[Definition] | None:
    """The bodies that a circuit is made of.

    Nodes are counted before the first is made. Returns None after a fault: recursion, or more nodes than the limit.
    """
    calls: dict[Definition, list[tuple[Site, Definition]]] = {}
    sorter = TopologicalSorter({root: ()})

    def callees(caller: Definition) -> Iterator[Definition]:
        calls[caller] = [(site, body) for site in caller.sites.values() if site.bodies
                         for body in site.bodies.values()]
        for _, body in calls[caller]:
            sorter.add(body, caller)
            yield body

    bodies = list(reachable([root], callees))
    try:
        order = list(sorter.static_order())
    except CycleError:
        _note_recursion(root, calls, faults)
        return None
    limits = root.source.limits
    sizes: dict[Definition, tuple[int, int]] = {}
    for definition in reversed(order):
        applications = [(site, *sizes[body]) for site, body in calls[definition]]
        size = len(definition.sites) - len(applications) + sum(count for _, count, _ in applications)
        depth = 1 + max((depth for _, _, depth in applications), default=0)
        sizes[definition] = size, depth
        if size > limits.nodes or depth > limits.nesting + 1:
            message = (f"the circuit has {short(size)} nodes once every call is expanded; at most {limits.nodes} are "
                       "allowed (limit nodes)" if size > limits.nodes else
                       f"calls nest more than {limits.nesting} deep (limit nesting)")
            if applications:
                largest = max(applications, key=lambda call: call[1:])[0]
                faults.add(definition.source, f"node '{largest.node.id}': {message}", *largest.pointer,
                           node=largest.node.id)
            else:
                faults.add(definition.source, message, *definition.pointer)
            return None
    return bodies


def _note_recursion(root: Definition, calls: Mapping[Definition, Sequence[tuple[Site, Definition]]],
                    faults: Faults) -> None:
    """Note a circle of calls."""
    import networkx as nx  # a document without a circle does not wait for it

    graph: nx.MultiDiGraph[Definition] = nx.MultiDiGraph()
    graph.add_edges_from((caller, body, {"site": site}) for caller, sites in calls.items() for site, body in sites)
    cycle = [(caller, graph.edges[caller, callee, key]["site"])
             for caller, callee, key in nx.find_cycle(graph, root)]
    caller, site = cycle[-1]
    chain = circle([next(iter(s.node.circuits.values())) for _, s in (cycle[-1], *cycle[:-1])
                    if isinstance(s.node, SubcircuitNode)])
    faults.add(caller.source, f"node '{site.node.id}': a circuit cannot call itself: {chain}", *site.pointer,
               next(iter(site.bodies)), node=site.node.id)


def outputs_of_call(root: Definition, path: str,
                    paths: Container[str] | None = None) -> dict[str | None, Output]:
    """The outputs of a call by name, a single one also without; none where there is no such call.

    The path is `h`, or `outer/h` for a call inside a call. All calls are expanded, or those at some paths.
    """
    *outer, name = path.split("/")
    definition, call = root, ""
    for part in outer:
        site = definition.sites.get(part)
        if site is None or site.callee is None or (paths is not None and call + part not in paths):
            return {}
        definition, call = site.callee, f"{call}{part}/"
    site = definition.sites.get(name)
    if site is None or site.callee is None:
        return {}
    outputs: dict[str | None, Output] = {
        text: resolve(definition, call, name, i, paths) for i, text in enumerate(site.callee.names)}
    return {**outputs, None: next(iter(outputs.values()))} if len(outputs) == 1 else outputs


def resolve(definition: Definition, call: str, name: str, position: int,
            paths: Container[str] | None = None) -> Output:
    """The output, in the expanded circuit, that a reference in a body means.

    Ids of the body begin with `call`. All calls are expanded, or those at some paths.
    """
    site = definition.sites[name]
    while site.callee is not None and (paths is None or call + name in paths):
        definition, call = site.callee, f"{call}{name}/"
        name, position = definition.outputs[definition.names[position]]
        site = definition.sites[name]
    return Output(call + name, position)
