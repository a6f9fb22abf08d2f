"""`circuitflow export`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from circuitflow.cli.arguments import Options, OutputFile, with_options
from circuitflow.cli.output import apart, emit
from circuitflow.cli.progress import waiting
from circuitflow.export.targets import TARGETS
from circuitflow.text import printable

Target = StrEnum("Target", [*TARGETS])  # type: ignore[misc]


@with_options
def command(
    options: Options,
    *,
    to: Annotated[Target, typer.Option(help="The language.")] = Target["python"],
    forward: Annotated[bool, typer.Option("--forward", help="Only the values, without gradients.")] = False,
    output: OutputFile = None,
) -> None:
    """Write staged code that runs without circuitflow: one simple line for each stage, forward, then backward.

    The values of --set and --inputs become the defaults of its arguments.

    Example: circuitflow export circuits/staged.json -o staged.py
    """
    request = options.request(forward=forward)
    apart(output, request.sources)
    with waiting(f"writing {printable(options.file, 60)} as {to}"):
        text = TARGETS[to](request.circuit, request.of, () if forward else request.wrt, inputs=request.inputs,
                           upstream=request.upstream)
    emit(output, text)
