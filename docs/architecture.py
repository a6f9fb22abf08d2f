"""Draws the way of a document through the rooms of circuitflow: `python docs/architecture.py`.

The picture is a circuit: its gates are rooms, and its nodes are what passes from room to room.
"""

from __future__ import annotations

import json
from pathlib import Path

import circuitflow as cf

WAY: dict[str, tuple[str, str, list[str]]] = {
    "Document": ("document", "reading", ["bytes"]),
    "Definition": ("graph", "bodies", ["Document"]),
    "TypedBody": ("graph", "typing", ["Definition", "GATES"]),
    "Circuit": ("graph", "circuit", ["TypedBody"]),
    "Plan": ("interpreter", "plan", ["Circuit"]),
    "Result": ("interpreter", "passes", ["Plan"]),
    "gradient": ("transforms", "derivatives", ["Circuit"]),
    "Program": ("engines", "program", ["gradient"]),
    "Staged": ("engines", "staged", ["Program"]),
    "Tape": ("engines", "tape", ["Plan"]),
    "Jitted": ("engines", "xla", ["Plan"]),
    "function": ("executor", "", ["Jitted", "Tape", "Staged"]),
    "FitResult": ("fitting", "", ["function"]),
    "code": ("export", "python", ["Program"]),
    "Explanation": ("explanations", "", ["Result"]),
    "Picture": ("pictures", "", ["Result"]),
    "Findings": ("lsp", "", ["Result"]),
}
"""For what passes: the room that makes it, the part of the room, and what the room makes it of."""

SOURCES = ["bytes", "GATES"]


def way() -> cf.Circuit:
    """The circuit that is drawn."""
    def room(name: str, count: int) -> cf.Gate:
        return cf.Gate(name, f"The room `{name}`.", tuple(f"x{i}" for i in range(count)), lambda *types: types[0],
                       forward=lambda xp, *operands: operands[0], backward=(None,) * count, symbol=name)

    nodes = [{"id": name, "gate": "input"} for name in SOURCES]
    nodes += [{"id": name, "gate": f"make_{name}", "inputs": inputs, **({"label": part} if part else {})}
              for name, (_, part, inputs) in WAY.items()]
    rooms = {f"make_{name}": room(place, len(inputs)) for name, (place, _, inputs) in WAY.items()}
    used = {name for _, _, inputs in WAY.values() for name in inputs}
    outputs = [name for name in WAY if name not in used]
    return cf.loads(json.dumps({"circuitflow": "1.0", "nodes": nodes, "outputs": outputs}), gates=rooms)


if __name__ == "__main__":
    for theme in ("light", "dark"):
        Path(__file__).with_suffix(f".{theme}.svg").write_bytes(cf.draw(way(), theme=theme))
