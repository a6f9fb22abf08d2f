"""A picture as a Mermaid flowchart, for Markdown that renders it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from circuitflow.pictures.picture import Kind, Link, Picture, Sign
from circuitflow.pictures.theme import Theme
from circuitflow.text import printable

_SHAPES = {Kind.GATE: '(("{}"))', Kind.FORK: '(("{}"))', Kind.OUTPUT: '["{}"]', Kind.CIRCUIT: '[["{}"]]',
           Kind.INPUT: '["{}"]', Kind.PARAMETER: '("{}")', Kind.CONSTANT: '["{}"]', Kind.PORT: '("{}")',
           Kind.BAND: '["{}"]'}


def mermaid_text(value: str, limit: int = 200) -> str:
    """Any text for a quoted label: printable, every character but letters, digits and spaces as its code."""
    return re.sub(r"[^\w .,]", lambda match: f"#{ord(match[0])};", printable(value, limit))


def to_mermaid(picture: Picture, theme: Theme) -> Iterator[str]:
    """The lines of a Mermaid file."""
    yield "---"
    yield f'title: "{mermaid_text(picture.title)}"'
    yield "---"
    yield "flowchart LR"
    yield from _vertices(picture, "", "  ")
    for wire in picture.wires:
        label = _label(wire)
        arrow = f'-- "{label}" -->' if label else "-->"
        yield f"  {wire.source} {arrow} {wire.target}"
    t = theme
    yield f"  classDef default fill:{t.gate},stroke:{t.line},color:{t.text}"
    for sign, colour in ((Sign.ADDED, t.added), (Sign.REMOVED, t.removed), (Sign.CHANGED, t.changed)):
        if keys := [vertex.key for vertex in picture.vertices if vertex.sign == sign]:
            yield f"  classDef {sign} stroke:{colour},stroke-width:3px"
            yield f"  class {','.join(keys)} {sign}"


def _vertices(picture: Picture, group: str, indent: str) -> Iterator[str]:
    for vertex in picture.vertices:
        if vertex.group == group:
            lines = "<br/>".join(map(mermaid_text, vertex.lines)) or " "
            yield f"{indent}{vertex.key}{_SHAPES[vertex.kind].format(lines)}"
    for inner in picture.groups:
        if inner.parent == group:
            yield f'{indent}subgraph {inner.key} ["{mermaid_text(inner.title)}"]'
            yield from _vertices(picture, inner.key, indent + "  ")
            yield f"{indent}end"


def _label(wire: Link) -> str:
    """The value above, the gradient below; each on a line of its own."""
    above = " ".join(mermaid_text(part) for part in (wire.name, wire.value.text if wire.value else "") if part)
    below = mermaid_text(wire.gradient.text) if wire.gradient else ""
    return "<br/>".join(part for part in (above, below) if part)
