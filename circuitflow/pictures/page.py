"""A picture as a page of its own: pan, zoom, look closer, and walk through the sweep step by step."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Any
from xml.etree import ElementTree as ET  # it writes what this package made

from circuitflow.document.writing import dumps_node
from circuitflow.explanations.explanation import rule
from circuitflow.explanations.forms import fingerprint, hypertext
from circuitflow.graph.circuit import Circuit
from circuitflow.interpreter.result import Result
from circuitflow.pictures.detail import document_node
from circuitflow.pictures.marks import EVERY, every
from circuitflow.pictures.picture import Kind, Picture
from circuitflow.pictures.steps import steps
from circuitflow.pictures.svg import svg
from circuitflow.pictures.theme import Theme
from circuitflow.text import printable

JSON = 2000
"""Longest JSON of a node that is shown, in characters."""

NUMBERS = 200_000
"""The most numbers that a page shows in full, shared evenly by its vertices and wires."""


def to_page(subject: Circuit | Result, picture: Picture, theme: Theme) -> str:
    """One file of HTML that loads nothing: under its content security policy only its own script and style count."""
    here = files("circuitflow.pictures")
    style = ":root {" + "".join(f"--{name}: {colour};" for name, colour in theme._asdict().items()) + "}\n"
    style += here.joinpath("page.css").read_text(encoding="utf-8")
    script = here.joinpath("page.js").read_text(encoding="utf-8")
    drawing = svg(picture, theme)
    drawing.set("role", "group")
    drawing.set("aria-label", printable(picture.title, 200))
    parts = {
        "policy": (f"default-src 'none'; script-src {fingerprint(script)}; style-src {fingerprint(style)}; "
                   "base-uri 'none'; form-action 'none'"),
        "title": hypertext(picture.title),
        "notes": "".join(f"<p>{hypertext(note)}</p>" for note in picture.notes),
        "style": style,
        "script": script,
        "drawing": ET.tostring(drawing, encoding="unicode"),
        # Nothing in this JSON can end the script element.
        "data": json.dumps({"steps": list(steps(subject, picture)), "parts": _parts(subject, picture)}).replace(
            "<", "\\u003c"),
    }
    page = here.joinpath("page.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], page)


def _parts(subject: Circuit | Result, picture: Picture) -> dict[str, Any]:
    """What a pointer shows of each vertex and each wire, by key: pairs of heading and text."""
    result = subject if isinstance(subject, Result) else None
    circuit = subject.circuit if isinstance(subject, Result) else subject
    parts: dict[str, Any] = {}
    most = min(EVERY, NUMBERS // (len(picture.vertices) + len(picture.wires) + 1))
    for vertex in picture.vertices:
        node = circuit.nodes.get(vertex.node) if vertex.kind != Kind.FORK else None
        entries = [["", vertex.tip]] if vertex.tip else []
        if node is not None:
            if node.gate is not None and node.gate.facets.note.gradient:
                entries.append(["backward rule", rule(circuit, node, formula=False)])
            if result is not None:
                for name in node.names:
                    entries += _numbers(result, name, most, several=bool(node.outputs))
            entries.append(["in the document", printable(dumps_node(document_node(circuit, node.id)), JSON)])
        parts[vertex.key] = entries
    for wire in picture.wires:
        parts[wire.key] = [["wire", wire.of or wire.name]] + [
            [word, mark.full if mark.array is None else every(mark.array, most)] for word, mark in wire.marks]
    return parts


def _numbers(result: Result, name: str, most: int, *, several: bool) -> list[list[str]]:
    return [[f"{word} of {name}" if several else word, every(arrays[name], most)]
            for word, arrays in (("value", result.values), ("gradient", result.gradients)) if name in arrays]
