"""`circuitflow export`."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from circuitflow.cli.arguments import Options, OutputFile, with_options
from circuitflow.cli.output import apart, emit
from circuitflow.cli.progress import waiting
from circuitflow.document.output import is_stream, writer
from circuitflow.errors import InputError
from circuitflow.export.targets import TARGETS
from circuitflow.onnx.exporting import Export
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
    beside: Annotated[bool | None, typer.Option("--weights-beside/--weights-inside", show_default=False,
                                                help="Whether a model's weights lie in a file beside it; by default "
                                                     "from 512 MiB on.")] = None,
    forward: Annotated[bool, typer.Option("--forward", help="Only the values, without gradients.")] = False,
    output: OutputFile = None,
) -> None:
    """Write what runs without circuitflow: staged code, one simple line for each stage, or an ONNX model.

    The values of --set and --inputs become the defaults of its arguments.

    Example: circuitflow export circuits/staged.json -o staged.py
    """
    for option, value in (("--opset", opset), ("--weights-beside", beside)):
        if value is not None and to != "onnx":
            raise InputError(f"{option} is of ONNX; it has no meaning beside --to python")
    is_file = output not in (None, "-") and not is_stream(str(output))
    if beside and not is_file:
        raise InputError("weights beside a model need a file for it; name one with -o")
    if to == "onnx" and output in (None, "-") and sys.stdout.isatty():
        raise InputError("a model is no text; name a file for it with -o")
    request = options.request(forward=forward)
    apart(output, request.sources)
    settings = {} if to != "onnx" else {
        "stem": Path(str(output)).stem, "beside": beside if is_file else False,
        **({} if opset is None else {"opset": opset})}
    with waiting(f"writing {printable(options.file, 60)} as {to}"):
        result = TARGETS[to](request.circuit, request.of, () if forward else request.wrt, inputs=request.inputs,
                             upstream=request.upstream, **settings)
    if not isinstance(result, Export):
        emit(output, result)
        return
    if result.tensors is not None:
        with writer(os.path.join(os.path.dirname(os.path.realpath(str(output))), result.file)) as tensors:
            result.tensors.write(tensors)
    emit(output, result.content)
