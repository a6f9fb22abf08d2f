"""`circuitflow explain`."""

from __future__ import annotations

from typing import Annotated

import typer

from circuitflow.cli.arguments import ForwardOnly, Options, OutputFile
from circuitflow.cli.output import apart, emit
from circuitflow.cli.watching import watched
from circuitflow.explanations.forms import explain


@watched
def command(
    options: Options,
    *,
    forward: ForwardOnly = False,
    form: Annotated[str, typer.Option("--format", metavar="NAME",
                                      help="text, markdown, html, latex or mathml.")] = "text",
    output: OutputFile = None,
) -> None:
    """Explain the staged computation in words and numbers, line by line.

    Example: circuitflow explain circuits/patterns.json
    """
    request = options.request(forward=forward)
    apart(output, request.sources)
    emit(output, explain(request.run(forward=forward), form))
