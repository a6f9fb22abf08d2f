"""Draws two circuits in one picture: additions, removals and changes have colours and lines of their own."""

from __future__ import annotations

from collections.abc import Mapping

from circuitflow.errors import InputError
from circuitflow.explanations.differences import Difference
from circuitflow.graph.bodies import Definition, Site
from circuitflow.graph.circuit import Circuit
from circuitflow.pictures.picture import MOST, Kind, Picture, Sign
from circuitflow.text import few


def changes(old: Circuit, new: Circuit, difference: Difference) -> Picture:
    """The new circuit with the removed nodes of the old one, calls closed; ids and changes stand beside the symbols.

    Raises:
        InputError: the picture would be too large.
    """
    after = {was: id_ for id_, was in difference.before.items()}
    notes: dict[str, list[str]] = {}
    for change in difference.changes:
        if not change.circuit and change.node and change.kind in ("renamed", "changed", "rewired"):
            text = f"was {change.was}" if change.kind == "renamed" else (
                f"{change.what}: {change.was or 'none'} → {change.now or 'none'}")
            notes.setdefault(change.node, []).append(text)
    inside = sorted({change.circuit for change in difference.changes if change.circuit})
    picture = Picture(f"{old.name} → {new.name}", notes=tuple(f"circuit {name} differs inside" for name in inside))
    keys: dict[str, str] = {}
    removals: dict[str, str] = {}
    for id_, site in new.definition.sites.items():
        sign = (Sign.ADDED if id_ not in difference.before else Sign.CHANGED if id_ in notes else Sign.SAME)
        keys[id_] = _vertex(picture, site, sign, few(notes.get(id_, ())))
    for id_, site in old.definition.sites.items():
        if id_ not in after:
            removals[id_] = _vertex(picture, site, Sign.REMOVED, [])
    now = _edges(new.definition, keys)
    before = _edges(old.definition, {id_: keys[after[id_]] if id_ in after else removals[id_]
                                     for id_ in old.definition.sites})
    for edges, others, sign in ((now, set(before), Sign.ADDED), (before, set(now), Sign.REMOVED)):
        for edge in edges:
            if sign is Sign.ADDED or edge not in others:
                picture.connect(edge[0], edge[2], sign=Sign.SAME if edge in others else sign)
    nodes, wires = len(picture.vertices), len(picture.wires)
    if not MOST.holds(nodes, wires):
        raise InputError(f"the picture of the changes has {nodes} nodes and {wires} wires, which nobody could read: at "
                         f"most {MOST.nodes} with {MOST.wires} wires are drawn; leave the picture out, and the changes "
                         "are listed")
    return picture


def _vertex(picture: Picture, site: Site, sign: Sign, notes: list[str]) -> str:
    node = site.node
    if site.is_source:
        kind, lines = Kind(node.gate), (node.id, *notes)
    elif site.gate is None:
        kind, lines = Kind.CIRCUIT, (node.id, node.gate, *notes)
    else:
        kind, lines = Kind.GATE, (site.gate.symbol or node.gate, node.id, *notes)
    return picture.add(kind, lines, tip=f"{node.id}: {sign}", node=node.id, sign=sign).key


def _edges(definition: Definition, keys: Mapping[str, str]) -> list[tuple[str, int, str, str]]:
    """The edges of a body, as (source, output, target, place)."""
    return [(keys[edge.source], edge.output, keys[id_], str(edge.port) if site.bodies else str(i))
            for id_, site in definition.sites.items() for i, edge in enumerate(site.operands)]
