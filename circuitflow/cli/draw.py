"""`circuitflow draw`."""

from __future__ import annotations

from typing import Annotated

import typer

import circuitflow as cf
from circuitflow.cli.arguments import File, Gates, Inputs, Limit, Of, Question, Set, Upstream, Wrt, question
from circuitflow.cli.output import apart, emit, form_of
from circuitflow.cli.progress import track, waiting
from circuitflow.errors import InputError
from circuitflow.pictures.drawing import FORMS, draw


def command(
    file: File,
    output: Annotated[str, typer.Option("--output", "-o", metavar="OUT",
                                        help="Where the picture goes: .svg, .png, .pdf, .html (a page to walk through "
                                             "the sweep), .dot or .mmd; - is SVG on standard output.")] = "-",
    assignments: Set = [],  # noqa: B006
    inputs: Inputs = None,
    of: Of = [],  # noqa: B006
    wrt: Wrt = [],  # noqa: B006
    upstream: Upstream = [],  # noqa: B006
    values_only: Annotated[bool, typer.Option("--values-only", "--forward",
                                              help="The forward pass alone, without gradients.")] = False,
    no_values: Annotated[bool, typer.Option("--no-values", help="The structure alone, with the shapes of tensors.")
                         ] = False,
    depth: Annotated[int | None, typer.Option(min=0, show_default=False,
                                              help="How deep calls are drawn open, 0 for all closed; as deep as there "
                                                   "is room for by default.")] = None,
    theme: Annotated[str, typer.Option(help="light or dark.")] = "light",
    limit: Limit = [],  # noqa: B006
    gates: Gates = None,
) -> None:
    """The circuit as a picture: values in green, gradients in red.

    Example: circuitflow draw circuits/staged.json -o staged.svg
    """
    form = form_of(output, FORMS, "a picture", "svg")
    asked = question(file, assignments, inputs, of, wrt, upstream, limit, gates)
    apart(output, asked.sources)
    subject = asked.circuit if no_values else _run(asked, values_only=values_only)
    with waiting("drawing"):
        content = draw(subject, form, theme=theme, depth=depth)
    emit(output, content)


def _run(asked: Question, *, values_only: bool) -> cf.Result:
    executor = cf.Executor(asked.circuit)
    try:
        if values_only:
            return executor.forward(asked.inputs, of=asked.of, track=track)
        return executor.run(asked.inputs, of=asked.of, wrt=asked.wrt, upstream=asked.upstream, track=track)
    except InputError as error:
        raise InputError(f"{error}; --no-values draws the structure alone") from None
