"""`circuitflow export`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from circuitflow.cli.arguments import Options, OutputFile, with_options
from circuitflow.cli.output import apart, emit
from circuitflow.cli.progress import waiting
from circuitflow.errors import InputError
from circuitflow.export.c.exporting import export
from circuitflow.export.targets import TARGETS
from circuitflow.text import printable

Target = StrEnum("Target", [*TARGETS])  # type: ignore[misc]


@with_options
def command(
    options: Options,
    *,
    to: Annotated[Target, typer.Option(help="Python, a model for ONNX Runtime, or C99.")] = Target["python"],
    opset: Annotated[int | None, typer.Option(help="Version of ONNX's operators, 18 or later; 21 by default.",
                                              show_default=False)] = None,
    name: Annotated[str | None, typer.Option(help="What the names of a C file begin with; the document's name by "
                                                  "default.", show_default=False)] = None,
    dtype: Annotated[str | None, typer.Option(help="Floats of a C file: float64 or float32; as in the document by "
                                                   "default.", show_default=False)] = None,
    tests: Annotated[bool, typer.Option("--tests", help="Give a C file a main with test vectors.")] = False,
    forward: Annotated[bool, typer.Option("--forward", help="Only the values, without gradients.")] = False,
    output: OutputFile = None,
) -> None:
    """Write what runs without circuitflow: staged code, one simple line for each stage, an ONNX model, or C.

    The values of --set and --inputs become the defaults of its arguments. A file of C is a header, or for -o FILE.c a
    pair with FILE.h beside it.

    Example: circuitflow export circuits/staged.json -o staged.py
    """
    options_of = {"opset": ("onnx", opset), "name": ("c", name), "dtype": ("c", dtype), "tests": ("c", tests or None)}
    more: dict[str, Any] = {option: value for option, (_, value) in options_of.items() if value is not None}
    for option in more:
        if options_of[option][0] != to:
            raise InputError(f"--{option} is of --to {options_of[option][0]}; it has no meaning beside --to {to}")
    if to == "onnx" and output in (None, "-") and sys.stdout.isatty():
        raise InputError("a model is no text; name a file for it with -o")
    request = options.request(forward=forward)
    apart(output, request.sources)
    arguments: dict[str, Any] = {
        "circuit": request.circuit, "of": request.of, "wrt": () if forward else request.wrt, "inputs": request.inputs,
        "upstream": request.upstream, **more}
    with waiting(f"writing {printable(options.file, 60)} as {to}"):
        if to == "c" and output is not None and output.endswith(".c"):
            header = Path(output).with_suffix(".h")
            apart(str(header), request.sources)
            files = export(**arguments, header=header.name)
            emit(str(header), files.header)
            content: str | bytes = files.source
        else:
            content = TARGETS[to](**arguments)
    emit(output, content)
