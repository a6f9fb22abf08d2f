"""`circuitflow explain`."""

from __future__ import annotations

from typing import Annotated

import typer

import circuitflow as cf
from circuitflow.cli.arguments import File, Gates, Inputs, Limit, Of, Set, Upstream, Wrt, question
from circuitflow.cli.output import apart, emit
from circuitflow.cli.progress import track
from circuitflow.explanations.forms import explain


def command(
    file: File,
    assignments: Set = [],  # noqa: B006
    inputs: Inputs = None,
    of: Of = [],  # noqa: B006
    wrt: Wrt = [],  # noqa: B006
    upstream: Upstream = [],  # noqa: B006
    forward: Annotated[bool, typer.Option("--forward", help="The forward pass alone, without gradients.")] = False,
    form: Annotated[str, typer.Option("--format", help="text, markdown or html.")] = "text",
    output: Annotated[str | None, typer.Option("--output", "-o", metavar="OUT", show_default=False,
                                               help="Where to write it; standard output by default.")] = None,
    limit: Limit = [],  # noqa: B006
    gates: Gates = None,
) -> None:
    """The staged computation in words and numbers, line by line.

    Example: circuitflow explain circuits/patterns.json
    """
    asked = question(file, assignments, inputs, of, wrt, upstream, limit, gates, forward=forward)
    apart(output, asked.sources)
    executor = cf.Executor(asked.circuit)
    result = (executor.forward(asked.inputs, of=asked.of, track=track) if forward else
              executor.run(asked.inputs, of=asked.of, wrt=asked.wrt, upstream=asked.upstream, track=track))
    text = explain(result, form)
    emit(output, text)
