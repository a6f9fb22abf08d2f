"""`circuitflow export`."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from circuitflow.cli.arguments import Options, OutputFile, with_options
from circuitflow.cli.output import apart, emit
from circuitflow.cli.progress import waiting
from circuitflow.errors import InputError
from circuitflow.export.targets import TARGETS
from circuitflow.text import printable

Target = StrEnum("Target", [*TARGETS])  # type: ignore[misc]


@with_options
def command(
    options: Options,
    *,
    to: Annotated[Target, typer.Option(metavar="NAME", help="python, or onnx: a model for ONNX Runtime.")
                  ] = Target["python"],
    opset: Annotated[int | None, typer.Option(metavar="N",
                                              help="Version of ONNX's operators, 18 or later; 21 by default.",
                                              show_default=False)] = None,
    forward: Annotated[bool, typer.Option("--forward", help="Only the values, without gradients.")] = False,
    output: OutputFile = None,
) -> None:
    """Write what runs without circuitflow: staged code, one simple line for each stage, or an ONNX model.

    The values of --set and --inputs become the defaults of its arguments.

    Example: circuitflow export circuits/staged.json -o staged.py
    """
    if opset is not None and to != "onnx":
        raise InputError("--opset is of ONNX; it has no meaning beside --to python")
    if to == "onnx" and output in (None, "-") and sys.stdout.isatty():
        raise InputError("an ONNX model is not text; write it to a file with -o")
    request = options.request(forward=forward)
    apart(output, request.sources)
    with waiting(f"writing {printable(options.file, 60)} as {to}"):
        content = TARGETS[to](request.circuit, request.of, () if forward else request.wrt, inputs=request.inputs,
                              upstream=request.upstream, **({} if opset is None else {"opset": opset}))
    emit(output, content)
