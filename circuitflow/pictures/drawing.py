"""From a circuit, or what a run of it gave, to a file that people look at."""

from __future__ import annotations

from collections.abc import Callable

from circuitflow.arguments import checked
from circuitflow.errors import InputError, nearest, printable
from circuitflow.executor.result import Result
from circuitflow.graph.circuit import Circuit
from circuitflow.pictures.detail import detail, unit_of
from circuitflow.pictures.dot import to_dot
from circuitflow.pictures.graphviz import render
from circuitflow.pictures.mermaid import to_mermaid
from circuitflow.pictures.overview import overview
from circuitflow.pictures.page import to_page
from circuitflow.pictures.picture import Picture
from circuitflow.pictures.svg import to_svg
from circuitflow.pictures.theme import THEMES, Theme

LIMIT, MOST = 300, 2000
"""Larger pictures, in nodes and closed calls, are drawn where a depth is asked for; and those not even then."""


@checked
def draw(subject: Circuit | Result, form: str = "svg", *, theme: str = "light", depth: int | None = None) -> bytes:
    """The classic picture, left to right: on every wire the value above in green and the gradient below in red.

    Where a value forks, the branches show what each of them contributes to the gradient. Tensors show their shape, the
    norm of their gradient, and a strip of some of their elements. A circuit too large for that is drawn in bands of
    levels.

    Args:
        subject: a circuit, of which the structure is drawn, or the result of a run.
        form: "svg", "png", "pdf", "html" (a page of its own, to walk through the sweep), "dot" or "mmd" (Mermaid).
        theme: "light" or "dark".
        depth: how deep calls are drawn open; by default as deep as there is room for.

    Returns:
        The file's contents; text is UTF-8.

    Raises:
        InputError: there is no such form or theme, or too much to be drawn at that depth.
        MissingExtraError: the form needs pygraphviz, which is not installed.
        CircuitflowError: Graphviz could not draw it.
    """
    return as_file(subject, picture(subject, depth), form, theme)


def as_file(subject: Circuit | Result, made: Picture, form: str, theme: str) -> bytes:
    """A picture of a subject as a file; see `draw`."""
    if form not in FORMS:
        raise InputError(f"there is no form '{printable(form, 20)}' of picture{nearest(form, FORMS)}; there are "
                         f"{', '.join(FORMS)}")
    if theme not in THEMES:
        raise InputError(f"there is no theme '{printable(theme, 20)}'{nearest(theme, THEMES)}; there are "
                         f"{', '.join(THEMES)}")
    return FORMS[form](subject, made, THEMES[theme])


def picture(subject: Circuit | Result, depth: int | None = None) -> Picture:
    """What is drawn of a circuit or a result; see `draw`."""
    circuit, result = (subject.circuit, subject) if isinstance(subject, Result) else (subject, None)
    deepest = max(name.count("/") for name in circuit.nodes)
    for candidate in range(deepest, -1, -1) if depth is None else (depth,):
        count = len({unit_of(name, candidate) for name in circuit.nodes})
        if count <= (LIMIT if depth is None else MOST):
            return detail(circuit, result, candidate)
    if depth is not None:
        raise InputError(f"open to depth {depth} the circuit has {count} nodes and closed calls, which nobody could "
                         f"read: at most {MOST} are drawn one by one; ask for less depth, or leave it out for an "
                         "overview")
    return overview(circuit, result)


Form = Callable[[Circuit | Result, Picture, Theme], bytes]

FORMS: dict[str, Form] = {
    "svg": lambda subject, made, theme: to_svg(made, theme).encode(),
    "png": lambda subject, made, theme: render(to_dot(made, theme, dpi=192), "png"),
    "pdf": lambda subject, made, theme: render(to_dot(made, theme), "pdf"),
    "html": lambda subject, made, theme: to_page(subject, made, theme).encode(),
    "dot": lambda subject, made, theme: to_dot(made, theme).encode(),
    "mmd": lambda subject, made, theme: to_mermaid(made, theme).encode(),
}
