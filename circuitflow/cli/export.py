"""`circuitflow export`."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from enum import StrEnum
from typing import Annotated

import typer

from circuitflow.cli.arguments import Options, OutputFile, with_options
from circuitflow.cli.output import apart, emit, spare
from circuitflow.cli.progress import waiting
from circuitflow.document.output import is_stream, writer
from circuitflow.errors import InputError
from circuitflow.export.targets import TARGETS
from circuitflow.text import printable

Language = StrEnum("Language", [*TARGETS])  # type: ignore[misc]


@with_options
def command(
    options: Options,
    *,
    to: Annotated[Language, typer.Option(metavar="NAME", help="python: a line for each stage; onnx: a model for "
                                                                  "ONNX Runtime; c: C99; or javascript: an ES "
                                                                  "module.")
                  ] = Language["python"],
    opset: Annotated[int | None, typer.Option(metavar="N",
                                              help="Version of ONNX's operators, 18 or later; 21 by default.",
                                              show_default=False)] = None,
    beside: Annotated[bool | None, typer.Option("--weights-beside/--weights-inside", show_default=False,
                                                help="Whether the weights of a model, or of C, lie in a file beside "
                                                     "it; by default of a model from 512 MiB on.")] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="What the names of a C file begin with; the "
                                                                  "document's name by default.",
                                             show_default=False)] = None,
    dtype: Annotated[str | None, typer.Option(metavar="DTYPE", show_default=False,
                                              help="Floats of C or JavaScript: float64 or float32; as in the document "
                                                   "by default.")] = None,
    tests: Annotated[bool, typer.Option("--tests", help="Give a C file a main with test vectors.")] = False,
    step: Annotated[str | None, typer.Option(metavar="METHOD", help="Give a C file a step of learning: sgd or adam.",
                                             show_default=False)] = None,
    jacobian: Annotated[bool, typer.Option("--jacobian", help="Give C or JavaScript a function of the derivative of "
                                                              "every output by every node.")] = False,
    hvp: Annotated[bool, typer.Option("--hvp", help="Give C or JavaScript a function of the Hessian times a vector."
                                      )] = False,
    on_stack: Annotated[bool, typer.Option("--on-stack", help="Let functions of C have their workspace on the stack, "
                                                              "and not from the caller.")] = False,
    compile_: Annotated[bool, typer.Option("--compile", help="Compile C as a shared library, by `cc` or the compiler "
                                                             "that CC names.")] = False,
    forward: Annotated[bool, typer.Option("--forward", help="Only the values, without gradients.")] = False,
    output: OutputFile = None,
) -> None:
    """Write values and gradients as Python, C, JavaScript or an ONNX model, which run without circuitflow.

    The values of --set and --inputs become the defaults of its arguments.

    Example: circuitflow export circuits/staged.json -o staged.py
    """
    target = TARGETS[to]
    settings = {"opset": opset, "weights_beside": beside, "name": name, "dtype": dtype, "tests": tests or None,
                "step": step, "compile": compile_ or None, "jacobian": jacobian or None, "hvp": hvp or None,
                "on_stack": on_stack or None}
    more = {option: value for option, value in settings.items() if value is not None}
    for option in more:
        if option not in target.options:
            others = ", ".join(other for other, row in TARGETS.items() if option in row.options)
            raise InputError(f"--{option.replace('_', '-')} is of --to {others}; it has no meaning beside --to {to}")
    if to == "onnx" and output in (None, "-") and sys.stdout.isatty():
        raise InputError("an ONNX model is not text; write it to a file with -o")
    request = options.request(forward=forward)
    apart(output, request.sources)
    file = None if output in (None, "-") or is_stream(str(output)) else output
    with waiting(f"writing {printable(options.file, 60)} as {to}"):
        files = target.files(file, circuit=request.circuit, of=request.of, wrt=() if forward else request.wrt,
                             inputs=request.inputs, upstream=request.upstream, **more)
    with ExitStack() as stack:  # no file is replaced before all are written, and the one that names others is the last
        if file is not None:
            content = files.content.encode() if isinstance(files.content, str) else files.content
            stack.enter_context(writer(file)).write(content)
        for other, write in files.beside.items():
            place = os.path.join(os.path.dirname(os.path.realpath(str(file))), other)
            apart(place, request.sources)
            spare(place, str(output), files.mark)
            write(stack.enter_context(writer(place)))
    if file is None:
        emit(output, files.content)
