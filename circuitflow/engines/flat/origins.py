"""What a gradient circuit says of its nodes."""

from __future__ import annotations

from circuitflow.engines.staged.derived import Derived
from circuitflow.text import printable


def origin_of(derived: Derived, name: str) -> str:
    """What the gradient document says of a node: the gate that it goes back through."""
    definition, text = derived.circuit.definition, ""
    for step in name.split("/"):
        site = definition.sites.get(step)
        if site is None:
            return text
        text = site.node.description or text
        definition = site.callee or definition
    return printable(text, 200)
