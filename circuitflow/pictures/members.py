"""What is in a box that stands for many nodes: the rows of a list that its page shows."""

from __future__ import annotations

from circuitflow.graph.circuit import Circuit
from circuitflow.pictures.living import Slots
from circuitflow.pictures.picture import Kind, Picture
from circuitflow.text import application, printable

DEFINITION = 60
"""The longest definition of a node in a list, in characters."""

Row = tuple[str, str, int, int | None]
"""A value's name, how it is computed, and the slots of the value and of its gradient."""


def members(circuit: Circuit, picture: Picture, slots: Slots) -> dict[str, list[Row]]:
    """The rows of each band and of each closed call, by the key of its vertex."""
    place = {vertex.node: vertex.key for vertex in picture.vertices if vertex.kind == Kind.CIRCUIT}
    place |= {member: vertex.key for vertex in picture.vertices for member in vertex.members}
    rows: dict[str, list[Row]] = {}
    for node in circuit.nodes.values():
        around = node.id
        while around and around not in place:
            around = around.rpartition("/")[0]
        if not around or (around == node.id and not picture.is_overview):
            continue
        text = printable(application(node.kind, circuit.operand_names(node)), DEFINITION)
        rows.setdefault(place[around], []).extend(
            (name, text, slots.value[name], slots.gradient.get(name)) for name in node.names if name in slots.value)
    return rows
