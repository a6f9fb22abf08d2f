"""Orders a body: operands first, otherwise as in the document."""

from __future__ import annotations

import heapq
from collections.abc import Collection

from circuitflow.document.faults import Faults
from circuitflow.graph.bodies import Definition, Site
from circuitflow.text import circle


def put_in_order(definition: Definition, faults: Faults) -> None:
    """Put the sites of a definition in topological order; cycles are faults, and their sites are left out.

    Among sites whose operands are in place, the first in the document comes next.
    """
    sites = list(definition.sites.values())
    if _is_in_order(sites):
        definition.order = sites
        return
    rank = {site.node.id: i for i, site in enumerate(sites)}
    missing = [len(site.operands) for site in sites]
    targets: list[list[int]] = [[] for _ in sites]
    for i, site in enumerate(sites):
        for operand in site.operands:
            targets[rank[operand.source]].append(i)
    ready = [i for i, count in enumerate(missing) if not count]  # in order, so it is a heap
    while ready:
        i = heapq.heappop(ready)
        definition.order.append(sites[i])
        for target in targets[i]:
            missing[target] -= 1
            if not missing[target]:
                heapq.heappush(ready, target)
    if len(definition.order) < len(sites):
        _note_cycles(definition, [site for site, count in zip(sites, missing, strict=True) if count], faults)


def _is_in_order(sites: Collection[Site]) -> bool:
    """Whether every operand stands before what needs it, as in most documents."""
    before: set[str] = set()
    for site in sites:
        for operand in site.operands:
            if operand.source not in before:
                return False
        before.add(site.node.id)
    return True


def _note_cycles(definition: Definition, stuck: Collection[Site], faults: Faults) -> None:
    """Note a fault for every set of nodes that reach one another."""
    import networkx as nx  # a document without a cycle does not wait for it

    rank = {site.node.id: i for i, site in enumerate(stuck)}
    graph = nx.DiGraph((operand.source, site.node.id) for site in stuck for operand in site.operands
                       if operand.source in rank)
    for component in nx.strongly_connected_components(graph):
        first = min(component, key=rank.__getitem__)
        if len(component) == 1 and not graph.has_edge(first, first):
            continue
        cycle = [edge[0] for edge in nx.find_cycle(graph.subgraph(component), first)]
        faults.add(definition.source, f"node '{cycle[0]}': a cycle: {circle(cycle)}; a circuit has none, so "
                   "one of these edges must go", *definition.sites[cycle[0]].pointer, node=cycle[0])
