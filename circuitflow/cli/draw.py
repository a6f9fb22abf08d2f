"""`circuitflow draw`."""

from __future__ import annotations

from typing import Annotated

import typer

from circuitflow.cli.arguments import Options, ThemeName
from circuitflow.cli.output import apart, emit, form_of
from circuitflow.cli.progress import waiting
from circuitflow.cli.watching import watched
from circuitflow.errors import InputError
from circuitflow.pictures.drawing import FORMS, draw


@watched
def command(
    options: Options,
    *,
    output: Annotated[str, typer.Option("--output", "-o", metavar="OUT",
                                        help="File of the picture: .svg, .png, .pdf, .html (a page that computes "
                                             "as you move its values), .dot or .mmd; - writes SVG to standard output."
                                        )] = "-",
    values_only: Annotated[bool, typer.Option("--values-only", "--forward",
                                              help="Only the forward pass, without gradients.")] = False,
    no_values: Annotated[bool, typer.Option("--no-values", help="Only the structure, with the shapes of tensors.")
                         ] = False,
    depth: Annotated[int | None, typer.Option(min=0, metavar="N", show_default=False,
                                              help="Levels of calls to draw open: 0 draws every call closed. By "
                                                   "default, as many as there is room for.")] = None,
    theme: ThemeName = "light",
    walk: Annotated[bool, typer.Option("--walk", help="An SVG that plays the sweep, without a script: values appear "
                                                      "forward, then gradients backward.")] = False,
) -> None:
    """Draw the circuit: values in green, gradients in red.

    Example: circuitflow draw circuits/staged.json -o staged.svg
    """
    form = form_of(output, FORMS, "a picture", "svg")
    request = options.request()
    apart(output, request.sources)
    try:
        subject = request.circuit if no_values else request.run(forward=values_only)
    except InputError as error:
        raise InputError(f"{error}; --no-values draws the structure alone") from None
    with waiting("drawing"):
        content = draw(subject, form, theme=theme, depth=depth, walk=walk)
    emit(output, content)
