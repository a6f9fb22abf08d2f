"""SVG by Graphviz, prepared for a page: every part has a title for pointers and screen readers; numbers are centred."""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.etree import ElementTree as ET  # Graphviz wrote what is parsed here

from circuitflow.pictures.dot import to_dot
from circuitflow.pictures.graphviz import render
from circuitflow.pictures.picture import Picture
from circuitflow.pictures.theme import Theme
from circuitflow.text import printable

SVG = "http://www.w3.org/2000/svg"


def to_svg(picture: Picture, theme: Theme) -> str:
    """An SVG file with selectable text."""
    return ET.tostring(svg(picture, theme), encoding="unicode") + "\n"


def svg(picture: Picture, theme: Theme, room: int = 0) -> ET.Element:
    """The element of a picture; its parts have the keys of vertices and wires as ids.

    `room` is the least width of a number on a wire, in points.
    """
    ET.register_namespace("", SVG)
    root = ET.fromstring(render(to_dot(picture, theme, room=room), "svg"))  # noqa: S314
    root.set("role", "img")
    tips = {vertex.key: vertex.tip for vertex in picture.vertices}
    for wire in picture.wires:
        tips[wire.key] = "\n".join(f"{word}: {mark.full}" for word, mark in wire.marks)
    colours = {theme.value: "value", theme.gradient: "gradient", theme.faint: "name"}
    graph = root.find(f"{{{SVG}}}g")
    assert graph is not None  # noqa: S101
    for part in graph.findall(f"{{{SVG}}}g"):
        _unwrap(part)
        _retitle(part, tips)
        if part.find(f"{{{SVG}}}text") is not None and part.get("class", "").startswith("node"):
            _centre(part, colours, theme.line)
    old = graph.find(f"{{{SVG}}}title")
    if old is not None:
        graph.remove(old)
    for i, (name, text) in enumerate((("title", picture.title), ("desc", "\n".join(picture.notes)))):
        if text:
            element = ET.Element(f"{{{SVG}}}{name}")
            element.text = printable(text, 400)
            root.insert(i, element)
    return root


def _unwrap(part: ET.Element) -> None:
    """Move the shapes out of the links that Graphviz makes for tooltips."""
    for wrapper in part.findall(f"{{{SVG}}}g"):
        at = list(part).index(wrapper)
        part.remove(wrapper)
        link = wrapper.find(f"{{{SVG}}}a")
        for child in reversed(list(link if link is not None else ())):
            part.insert(at, child)


def _retitle(part: ET.Element, tips: Mapping[str, str]) -> None:
    """Replace the title of a part, which browsers show, by its tip."""
    title = part.find(f"{{{SVG}}}title")
    if title is None:
        return
    tip = tips.get(part.get("id", ""), "")
    if tip:
        title.text = "\n".join(printable(line, 400) for line in tip.split("\n"))
    else:
        part.remove(title)


def _centre(part: ET.Element, colours: Mapping[str, str], line: str) -> None:
    """Join the texts of a row to one centred text, so that no font can push them apart."""
    rows: dict[str, list[ET.Element]] = {}
    for text in part.findall(f"{{{SVG}}}text"):
        part.remove(text)
        rows.setdefault(text.get("y", ""), []).append(text)
    if "wire" in part.get("class", ""):
        wire = next(shape for shape in part if shape.get("fill") == line)
        centre = _middle(wire)
        for cell in part.findall(f"{{{SVG}}}polygon"):
            if cell is not wire:
                cell.set("class", "value" if _top(cell) < _top(wire) else "gradient")
    else:
        centre = _middle(next(shape for shape in part if shape.tag != f"{{{SVG}}}title"))
    for y, texts in rows.items():
        visible = [text for text in texts if (text.text or "").strip()]
        if not visible:
            continue
        row = ET.SubElement(part, f"{{{SVG}}}text", {
            "text-anchor": "middle", "x": f"{centre:.2f}", "y": y,
            **{name: value for name, value in visible[0].items() if name.startswith("font")}})
        for i, text in enumerate(visible):
            fill = text.get("fill", "")
            span = ET.SubElement(row, f"{{{SVG}}}tspan", {"fill": fill, "class": colours.get(fill, "text")})
            span.text = (" " if i else "") + (text.text or "").replace("\N{NO-BREAK SPACE}", " ").strip()


def _middle(shape: ET.Element) -> float:
    """The middle of an ellipse, a polygon or a path, from left to right."""
    if shape.get("cx"):
        return float(shape.get("cx", ""))
    xs = [float(x) for x in re.findall(r"(-?[\d.]+),", shape.get("points") or shape.get("d") or "")]
    return (min(xs) + max(xs)) / 2


def _top(polygon: ET.Element) -> float:
    return min(float(point.partition(",")[2]) for point in polygon.get("points", "").split())
