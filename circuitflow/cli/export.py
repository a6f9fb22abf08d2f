"""`circuitflow export`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from circuitflow.cli.arguments import File, Gates, Inputs, Limit, Of, Set, Upstream, Wrt, question
from circuitflow.cli.output import apart, emit
from circuitflow.cli.progress import waiting
from circuitflow.export.python import to_python
from circuitflow.text import printable


class Target(StrEnum):
    """What a circuit can be written as."""

    python = "python"


def command(
    file: File,
    to: Annotated[Target, typer.Option(help="The language.")] = Target.python,
    assignments: Set = [],  # noqa: B006
    inputs: Inputs = None,
    of: Of = [],  # noqa: B006
    wrt: Wrt = [],  # noqa: B006
    upstream: Upstream = [],  # noqa: B006
    forward: Annotated[bool, typer.Option("--forward", help="The values alone, without gradients.")] = False,
    output: Annotated[str | None, typer.Option("--output", "-o", metavar="FILE", show_default=False,
                                               help="Where to write it; standard output by default.")] = None,
    limit: Limit = [],  # noqa: B006
    gates: Gates = None,
) -> None:
    """Staged code that runs without circuitflow: one simple line a stage, forward, then backward.

    Values given become the defaults of its arguments.

    Example: circuitflow export circuits/staged.json -o staged.py
    """
    asked = question(file, assignments, inputs, of, wrt, upstream, limit, gates, forward=forward)
    apart(output, asked.sources)
    with waiting(f"writing {printable(file, 60)} as {to}"):
        text = to_python(asked.circuit, asked.of, () if forward else asked.wrt, inputs=asked.inputs,
                         upstream=asked.upstream)
    emit(output, text)
