"""Draws a circuit or a result to a file."""

from __future__ import annotations

from collections.abc import Callable

from circuitflow.arguments import checked, need_choice
from circuitflow.errors import InputError
from circuitflow.graph.circuit import Circuit
from circuitflow.interpreter.result import Result
from circuitflow.pictures.detail import detail, extent
from circuitflow.pictures.dot import to_dot
from circuitflow.pictures.graphviz import render
from circuitflow.pictures.mermaid import to_mermaid
from circuitflow.pictures.overview import overview
from circuitflow.pictures.page import to_page
from circuitflow.pictures.picture import MOST, UNASKED, Picture
from circuitflow.pictures.svg import to_svg
from circuitflow.pictures.theme import THEMES, Theme
from circuitflow.pictures.walk import to_walk


@checked
def draw(subject: Circuit | Result, form: str = "svg", *, theme: str = "light", depth: int | None = None,
         walk: bool = False) -> bytes:
    """The classic picture, left to right: on every wire the value above in green and the gradient below in red.

    Where a value forks, the branches show what each of them contributes to the gradient. Tensors show their shape, the
    norm of their gradient, and a strip of some of their elements. A circuit too large for that is drawn in bands of
    levels.

    Args:
        subject: a circuit, of which the structure is drawn, or the result of a run.
        form: "svg", "png", "pdf", "html" (a page that computes as its values are moved), "dot" or "mmd" (Mermaid).
        theme: "light" or "dark".
        depth: how deep calls are drawn open; by default as deep as there is room for.
        walk: an SVG that plays the sweep: values appear forward, then gradients backward.

    Returns:
        The file's contents; text is UTF-8.

    Raises:
        InputError: there is no such form or theme, too much to be drawn at that depth, or nothing to walk through.
        MissingExtraError: the form needs pygraphviz, which is not installed.
        CircuitflowError: Graphviz could not draw it.
    """
    need_choice("theme", theme, THEMES, limit=20)
    if walk:
        need_choice("form", form, ("svg",), limit=20, of=" of a walk")
        return to_walk(subject, picture(subject, depth), THEMES[theme]).encode()
    return as_file(subject, picture(subject, depth), form, theme)


def as_file(subject: Circuit | Result, image: Picture, form: str, theme: str) -> bytes:
    """A picture of a subject as a file; see `draw`."""
    need_choice("form", form, FORMS, limit=20, of=" of picture")
    need_choice("theme", theme, THEMES, limit=20)
    return FORMS[form](subject, image, THEMES[theme])


def picture(subject: Circuit | Result, depth: int | None = None) -> Picture:
    """The picture of a circuit or a result; see `draw`."""
    circuit, result = (subject.circuit, subject) if isinstance(subject, Result) else (subject, None)
    outputs = len(circuit.outputs if result is None else result.outputs)
    if depth is not None:
        nodes, wires = extent(circuit, depth)
        if not MOST.holds(nodes, wires + outputs):
            raise InputError(f"open to depth {depth} the circuit has {nodes} nodes and closed calls with "
                             f"{wires + outputs} wires, which nobody could read: at most {MOST.nodes} with "
                             f"{MOST.wires} wires are drawn one by one; ask for less depth, or leave it out for an "
                             "overview")
        return detail(circuit, result, depth)
    fitting = None
    for candidate in range(max(name.count("/") for name in circuit.nodes) + 1):
        nodes, wires = extent(circuit, candidate)
        if not UNASKED.holds(nodes, wires + outputs):  # nor is there room for more depth
            break
        fitting = candidate
    return overview(circuit, result) if fitting is None else detail(circuit, result, fitting)


Renderer = Callable[[Circuit | Result, Picture, Theme], bytes]

FORMS: dict[str, Renderer] = {
    "svg": lambda subject, image, theme: to_svg(image, theme).encode(),
    "png": lambda subject, image, theme: render(to_dot(image, theme, dpi=192), "png"),
    "pdf": lambda subject, image, theme: render(to_dot(image, theme), "pdf"),
    "html": lambda subject, image, theme: to_page(subject, image, theme).encode(),
    "dot": lambda subject, image, theme: to_dot(image, theme).encode(),
    "mmd": lambda subject, image, theme: "".join(f"{line}\n" for line in to_mermaid(image, theme)).encode(),
}
