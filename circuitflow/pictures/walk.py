"""An SVG that plays the walk: values appear forward, gate by gate, then gradients backward.

It is animated by style sheets alone, so it also plays where no script may run, as in the image of a page. Who asks the
system for less motion sees the whole picture at rest, and so does a program that knows no animation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from xml.etree import ElementTree as ET  # it writes what this package made

from circuitflow.errors import InputError
from circuitflow.explanations.explanation import explanation
from circuitflow.graph.circuit import Circuit
from circuitflow.interpreter.result import Result
from circuitflow.pictures.dot import FONT
from circuitflow.pictures.picture import Kind, Picture
from circuitflow.pictures.steps import steps
from circuitflow.pictures.svg import SVG, svg
from circuitflow.pictures.theme import Theme
from circuitflow.text import printable

LEAD, PACE, FADE, HOLD = 0.8, 1.0, 0.2, 5.0
"""Seconds: before the first step, of a step, until a mark has appeared, and of the whole picture at the end."""

LONGEST = 60.0
"""The most seconds that all steps take together; many steps are quicker ones."""

LINE = 24
"""Height of the line that tells the step, in points."""

_SOURCES = (Kind.INPUT, Kind.PARAMETER, Kind.CONSTANT)


def to_walk(subject: Circuit | Result, picture: Picture, theme: Theme) -> str:
    """The SVG file.

    Raises:
        InputError: there are no steps, because nothing has run or the picture shows no single gates.
    """
    moments = list(_moments(subject, picture))
    if not moments:
        raise InputError("there is nothing to walk through: a walk needs values, and a circuit that is drawn gate by "
                         "gate")
    pace = min(PACE, LONGEST / len(moments))
    timeline = _Timeline([LEAD + pace * i for i in range(len(moments) + 1)])
    root = svg(picture, theme)
    parts = {part.get("id", ""): part for part in root.iter(f"{{{SVG}}}g")}
    styles: dict[str, str] = {}
    for i, moment in enumerate(moments):
        for kind in ("value", "gradient"):
            for mark in (mark for key in moment.get(f"{kind}s", ()) if key in parts for mark in parts[key].iter()):
                if kind in mark.get("class", "").split():
                    mark.set("class", f"{kind} m{i}")
                    styles[f"m{i}"] = timeline.appearance(i)
        styles[f"t{i}"] = timeline.visits([i], "opacity: 0", "opacity: 1")
    for key in dict.fromkeys(key for moment in moments for key in moment["at"]):
        shape = next(shape for shape in parts[key] if shape.get("stroke"))
        shape.set("class", key)
        rest = f"stroke: {shape.get('stroke')}; stroke-width: {shape.get('stroke-width', '1')}"
        styles[key] = timeline.visits([i for i, moment in enumerate(moments) if key in moment["at"]], rest,
                                      f"stroke: {theme.changed}; stroke-width: 3")
    _tell(root, moments, theme)
    style = ET.Element(f"{{{SVG}}}style")
    style.text = "\n".join(["", "@media (prefers-reduced-motion: no-preference) {",
                            *(f".{name} {{ animation: {name} {timeline.length:g}s linear infinite }}"
                              for name in styles), "}", *(f"@keyframes {name} {{ {frames} }}"
                                                          for name, frames in styles.items()), ""])
    root.insert(0, style)
    return ET.tostring(root, encoding="unicode") + "\n"


def _moments(subject: Circuit | Result, picture: Picture) -> Iterator[dict[str, Any]]:
    """The steps, with all sources in the first."""
    sources = {vertex.key for vertex in picture.vertices if vertex.kind in _SOURCES}
    first: dict[str, Any] = {"phase": "forward pass", "at": [], "lines": [], "values": []}
    rest = []
    for step in steps(explanation(subject), picture) if isinstance(subject, Result) else ():
        if step["phase"] == "forward pass" and sources.issuperset(step["at"]):
            for name in ("at", "lines", "values"):
                first[name] += step[name]
        else:
            rest.append(step)
    if first["lines"]:
        yield first
    yield from rest


class _Timeline:
    """Keyframes of one turn of the walk, which then starts again.

    Attributes:
        times: when each step begins, in seconds, and the end of the last one.
        length: of a turn, in seconds.
    """

    def __init__(self, times: Sequence[float]) -> None:
        self.times = times
        self.length = times[-1] + HOLD

    def _at(self, seconds: float) -> str:
        return f"{100 * seconds / self.length:.4g}%"

    def appearance(self, i: int) -> str:
        """A mark is not there until a step, is bold in it, and then stays."""
        start, end = self.times[i], self.times[i + 1]
        return (f"0%, {self._at(start)} {{ fill-opacity: 0; font-weight: 700 }} "
                f"{self._at(start + FADE)}, {self._at(end)} {{ fill-opacity: 1; font-weight: 700 }} "
                f"{self._at(end + FADE)}, {self._at(self.length - FADE)} {{ fill-opacity: 1; font-weight: 400 }} "
                "100% { fill-opacity: 0; font-weight: 400 }")

    def visits(self, numbers: Sequence[int], rest: str, look: str) -> str:
        """A look in each of some steps, and another one at all other times."""
        frames = [f"0% {{ {rest} }}"]
        for i in numbers:
            start, end = self.times[i], self.times[i + 1]
            frames += [f"{self._at(start)} {{ {rest} }}", f"{self._at(start + FADE / 2)}, "
                       f"{self._at(end - FADE / 2)} {{ {look} }}", f"{self._at(end)} {{ {rest} }}"]
        return " ".join([*frames, f"100% {{ {rest} }}"])


def _tell(root: ET.Element, moments: Sequence[dict[str, Any]], theme: Theme) -> None:
    """Add a line below the picture for each step; at rest none is there."""
    left, top, width, height = map(float, root.get("viewBox", "").split())
    root.set("height", f"{height + LINE:g}pt")
    root.set("viewBox", f"{left:g} {top:g} {width:g} {height + LINE:g}")
    graph = list(root).index(next(part for part in root if part.tag == f"{{{SVG}}}g"))
    root.insert(graph, ET.Element(f"{{{SVG}}}rect", {
        "x": f"{left:g}", "y": f"{top:g}", "width": f"{width:g}", "height": f"{height + LINE:g}",
        "fill": theme.ground}))
    for i, moment in enumerate(moments):
        line = ET.SubElement(root, f"{{{SVG}}}text", {
            "class": f"t{i}", "opacity": "0", "x": f"{left + width / 2:g}", "y": f"{top + height + LINE / 4:g}",
            "text-anchor": "middle", "font-family": FONT, "font-size": "14"})
        phase = ET.SubElement(line, f"{{{SVG}}}tspan", {"fill": theme.faint})
        phase.text = moment["phase"]
        words = ET.SubElement(line, f"{{{SVG}}}tspan", {
            "dx": "12", "fill": theme.value if "values" in moment else theme.gradient})
        words.text = printable(", ".join(text.partition("  # ")[0] for text in moment["lines"]), int(width / 8))
