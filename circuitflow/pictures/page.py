"""A picture as a page of its own, which computes: move a slider, and every value and gradient follows."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET  # it writes what this package made

from circuitflow.document.writing import dumps_node
from circuitflow.errors import CircuitflowError
from circuitflow.explanations.explanation import Explanation, Stage, explanation, rule
from circuitflow.explanations.forms import fingerprint, hypertext
from circuitflow.graph.circuit import Circuit
from circuitflow.interpreter.result import Result
from circuitflow.pictures.detail import document_node
from circuitflow.pictures.living import ELEMENTS, VALUES, Formulas, Living, Slots, living
from circuitflow.pictures.marks import EVERY, every
from circuitflow.pictures.members import members
from circuitflow.pictures.picture import Kind, Link, Picture
from circuitflow.pictures.steps import steps
from circuitflow.pictures.svg import svg
from circuitflow.pictures.theme import THEMES, Theme
from circuitflow.text import printable

JSON = 2000
"""Longest JSON of a node that is shown, in characters."""

NUMBERS = 200_000
"""The most numbers that a page shows in full, shared evenly by its vertices and wires."""

ROOM = 54
"""The least width of a number on a wire, in points: others take its place."""


class Contents(NamedTuple):
    """What a view is made of, in a page of its own or in an element of a notebook.

    Attributes:
        alive: what it computes with; None if it does not compute.
        data: what the script reads.
        drawing: the picture.
        notes: lines below the title.
    """

    alive: Living | None
    data: Mapping[str, Any]
    style: str
    drawing: str
    notes: tuple[str, ...]


def contents(subject: Circuit | Result, picture: Picture, theme: Theme) -> Contents:
    """The parts of a view. Where JavaScript cannot have the circuit, a note says why, and it replays the run."""
    alive, why = _living(subject, picture)
    drawing = svg(picture, theme, ROOM if alive else 0)
    drawing.set("role", "group")
    drawing.set("aria-label", printable(picture.title, 200))
    _by_name(drawing, theme)
    data: dict[str, Any] = {"title": printable(picture.title, 200), "steps": [],
                            "parts": _parts(subject, picture, alive)}
    if isinstance(subject, Result) and not picture.is_overview:
        content = explanation(subject)
        data["steps"] = list(steps(content, picture))
        if alive:
            lines = _Lines(subject, content, alive)
            data["steps"] = [*map(_without_numbers, steps(content, picture, lines.line))]
            data["places"] = lines.formulas.places
    if isinstance(subject, Result) and alive:
        data |= {"model": alive.model, "nodes": _nodes(subject, picture),
                 "members": members(subject.circuit, picture, alive.slots),
                 "wires": {wire.key: _slots(wire, alive.slots) for wire in picture.wires}}
    return Contents(alive, data, _colours(theme) + part("page.css"),
                    ET.tostring(drawing, encoding="unicode"), (*picture.notes, *([why] if why else [])))


def part(name: str) -> str:
    """A file that comes with this package."""
    return files("circuitflow.pictures").joinpath(name).read_text(encoding="utf-8")


def to_page(subject: Circuit | Result, picture: Picture, theme: Theme) -> str:
    """One file of HTML that loads nothing: under its content security policy only its own script and style count.

    It computes with the code that the circuit is exported to. Where JavaScript cannot have the circuit, the page says
    why and replays the run.
    """
    made = contents(subject, picture, theme)
    code, name = (made.alive.code, "circuitflowModule") if made.alive else ("", "null")
    script = f"{code}{part('page.js')}circuitflowPage.page({name});\n"
    parts = {
        "policy": (f"default-src 'none'; script-src {fingerprint(script)}; style-src {fingerprint(made.style)}; "
                   "base-uri 'none'; form-action 'none'"),
        "theme": "dark" if theme == THEMES["dark"] else "auto",
        "title": hypertext(picture.title),
        "notes": "".join(f"<p>{hypertext(note)}</p>" for note in made.notes),
        "style": made.style,
        "script": script,
        "drawing": made.drawing,
        # Nothing in this JSON can end the script element.
        "data": json.dumps(made.data, separators=(",", ":")).replace("<", "\\u003c"),
    }
    page = part("page.html").replace("{{frame}}", part("frame.html"))
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], page)


def _living(subject: Circuit | Result, picture: Picture) -> tuple[Living | None, str]:
    """What makes the page compute; or None, and why it does not, "" for a structure, which has no numbers."""
    if not isinstance(subject, Result):
        return None, ""
    numbers = sum(value.size for value in subject.values.values())
    if len(subject.values) > VALUES or numbers > ELEMENTS:
        return None, (f"This page does not compute, because the circuit is too large: it has {len(subject.values):,} "
                      f"values with {numbers:,} elements, and a page computes at most {VALUES:,} with {ELEMENTS:,}. "
                      "For other values, draw it again with circuitflow draw --set, or use circuitflow run --set.")
    try:
        return living(subject), ""
    except CircuitflowError as error:
        return None, f"This page replays one run, because JavaScript cannot compute the circuit: {error}"


def _colours(theme: Theme) -> str:
    """The colours of both themes by name. A page drawn in light colours follows the system and its reader's choice."""
    def block(colours: Theme) -> str:
        return "{" + "".join(f"--{name}: {colour};" for name, colour in colours._asdict().items()) + "}"

    light, dark = block(THEMES["light"]), block(THEMES["dark"])
    return (f".page {{ color-scheme: light; }} .page {light}\n"
            f".page[data-theme=dark] {{ color-scheme: dark; }} .page[data-theme=dark] {dark}\n"
            f"@media screen and (prefers-color-scheme: dark) {{ .page[data-theme=auto] {{ color-scheme: dark; }} "
            f".page[data-theme=auto] {dark} }}\n"
            f"@media print {{ .page[data-theme] {light} }}\n")


def _by_name(drawing: ET.Element, theme: Theme) -> None:
    """Name the colours of a drawing, so that the page can change its theme."""
    names = {colour: f"var(--{name})" for name, colour in reversed(theme._asdict().items())}
    for element in drawing.iter():
        for key in ("fill", "stroke"):
            if (name := names.get(element.get(key, ""))) is not None:
                element.set(key, name)


def _nodes(result: Result, picture: Picture) -> dict[str, list[str]]:
    """The names of the values of each vertex, by key; none for what is inside a closed call."""
    nodes = result.circuit.nodes
    return {vertex.key: [*nodes[vertex.node].names] for vertex in picture.vertices
            if vertex.node in nodes and vertex.kind != Kind.FORK}


def _slots(wire: Link, slots: Slots) -> list[Any]:
    """The slots of the value and of the gradient on a wire, None where it has none; of a boundary lists of them."""
    if wire.values:
        return [[kind[name] for name in wire.values if name in kind] for kind in (slots.value, slots.gradient)]
    return [slots.value.get(wire.of) if wire.value else None, slots.of(wire.back)]


def _without_numbers(step: dict[str, Any]) -> dict[str, Any]:
    """A step without the words that hold for the numbers of one run alone."""
    return step | {"words": step["words"].partition("; here ")[0]} if "words" in step else step


class _Lines:
    """The lines of the steps, with slots in place of numbers."""

    def __init__(self, result: Result, content: Explanation, alive: Living) -> None:
        self.formulas = Formulas(content.symbols, alive.slots, result)
        self._gradient_name = result.circuit.gradient_name
        self._slots = alive.slots
        self._sent: Iterator[Any] = iter(result.contributions)
        self._arrivals = Counter(c.source for c in result.contributions) + Counter([*result.upstream])
        self._so_far: dict[str, list[int]] = {}

    def line(self, stage: Stage, node: str) -> Mapping[str, Any]:
        """A stage: what stands left of its number, the number's slot, and the formula."""
        right = f" {stage.right} =" if stage.right else ""
        backward = stage.left == self._gradient_name(stage.of)
        line: dict[str, Any] = {"text": f"{stage.left} {stage.sign}{right}", "remark": stage.remark,
                                "left": self.formulas.left(stage.left), "formula": self.formulas.tree(stage.expression)}
        if not backward:
            return line | {"slot": self._slots.value[stage.of]}
        if not node and not stage.remark:  # the sum at a fork
            return line | {"slot": self._slots.gradient[stage.of], "terms": [*self._so_far.get(stage.of, [])]}
        sent = next(self._sent) if node else None
        slot = (self._slots.contribution[sent.source, sent.target, sent.port] if sent else
                self._slots.upstream[stage.of])
        so_far = self._so_far.setdefault(stage.of, [])
        so_far.append(slot)
        line["slot"] = slot
        if self._arrivals[stage.of] > 1 and node:
            if len(so_far) == self._arrivals[stage.of]:
                line |= {"remark": f"{stage.of} forks, its contributions add up: ",
                         "sum": [self._slots.gradient[stage.of]]}
            elif len(so_far) > 1:
                line |= {"remark": "so far ", "sum": [*so_far]}
        return line


def _parts(subject: Circuit | Result, picture: Picture, alive: Living | None) -> dict[str, Any]:
    """What a pointer shows of each vertex and each wire, by key: pairs of heading and text, or slot."""
    result = subject if isinstance(subject, Result) else None
    circuit = subject.circuit if isinstance(subject, Result) else subject
    parts: dict[str, Any] = {}
    most = min(EVERY, NUMBERS // (len(picture.vertices) + len(picture.wires) + 1))
    for vertex in picture.vertices:
        node = circuit.nodes.get(vertex.node) if vertex.kind != Kind.FORK else None
        entries: list[list[Any]] = [["", vertex.tip]] if vertex.tip else []
        if node is not None:
            if node.gate is not None and node.gate.facets.note.gradient:
                entries.append(["backward rule", rule(circuit, node, formula=False)])
            if result is not None:
                for name in node.names:
                    entries += _numbers(result, name, most, alive, several=bool(node.outputs))
            entries.append(["in the document", printable(dumps_node(document_node(circuit, node.id)), JSON)])
        parts[vertex.key] = entries
    for wire in picture.wires:
        slots = dict(zip(("value", "gradient"), _slots(wire, alive.slots), strict=True)) if alive else {}
        parts[wire.key] = [["wire", wire.of or wire.name]] + [
            [word, slots[word] if slots.get(word) is not None else
             mark.full if mark.array is None else every(mark.array, most)] for word, mark in wire.marks]
    return parts


def _numbers(result: Result, name: str, most: int, alive: Living | None, *, several: bool) -> list[list[Any]]:
    slots = {"value": alive.slots.value, "gradient": alive.slots.gradient} if alive else {}
    return [[f"{word} of {name}" if several else word, slots[word][name] if name in slots.get(word, ()) else
             every(arrays[name], most)]
            for word, arrays in (("value", result.values), ("gradient", result.gradients)) if name in arrays]
