"""`circuitflow export`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from circuitflow.cli.arguments import Options, OutputFile, with_options
from circuitflow.cli.output import apart, emit
from circuitflow.cli.progress import waiting
from circuitflow.errors import InputError
from circuitflow.export.c import exporting as c
from circuitflow.export.javascript import exporting as javascript
from circuitflow.export.targets import TARGETS
from circuitflow.text import printable

Target = StrEnum("Target", [*TARGETS])  # type: ignore[misc]


@with_options
def command(
    options: Options,
    *,
    to: Annotated[Target, typer.Option(help="Python, a model for ONNX Runtime, C99, JavaScript.")] = Target[
        "python"],
    opset: Annotated[int | None, typer.Option(help="Version of ONNX's operators, 18 or later; 21 by default.",
                                              show_default=False)] = None,
    name: Annotated[str | None, typer.Option(help="What the names of a C file begin with; the document's name by "
                                                  "default.", show_default=False)] = None,
    dtype: Annotated[str | None, typer.Option(help="Floats of C and JavaScript: float64 or float32; as in the "
                                                   "document by default.", show_default=False)] = None,
    tests: Annotated[bool, typer.Option("--tests", help="Give a C file a main with test vectors.")] = False,
    forward: Annotated[bool, typer.Option("--forward", help="Only the values, without gradients.")] = False,
    output: OutputFile = None,
) -> None:
    """Write what runs without circuitflow: staged code, a line for each stage, an ONNX model, C, or JavaScript.

    The values of --set and --inputs become the defaults of its arguments. A file of C is a header, or for -o FILE.c a
    pair with FILE.h beside it. A module -o FILE.js has its types beside it in FILE.d.ts.

    Example: circuitflow export circuits/staged.json -o staged.py
    """
    options_of: dict[str, tuple[list[str], Any]] = {
        "opset": (["onnx"], opset), "name": (["c"], name), "dtype": (["c", "javascript"], dtype),
        "tests": (["c"], tests or None)}
    more = {option: value for option, (_, value) in options_of.items() if value is not None}
    for option in more:
        targets = options_of[option][0]
        if to not in targets:
            raise InputError(f"--{option} is of --to {' and --to '.join(targets)}; it has no meaning beside --to {to}")
    if to == "onnx" and output in (None, "-") and sys.stdout.isatty():
        raise InputError("a model is no text; name a file for it with -o")
    request = options.request(forward=forward)
    apart(output, request.sources)
    arguments: dict[str, Any] = {
        "circuit": request.circuit, "of": request.of, "wrt": () if forward else request.wrt, "inputs": request.inputs,
        "upstream": request.upstream, **more}
    content: str | bytes
    with waiting(f"writing {printable(options.file, 60)} as {to}"):
        pair = pair_of(to, output)
        if pair is None:
            content = TARGETS[to](**arguments)
        else:
            other, files = pair
            apart(other, request.sources)
            content, beside = files(arguments, Path(other).name)
            emit(other, beside)
    emit(output, content)


Files = Callable[[Mapping[str, Any], str], tuple[str, str]]
"""Gives the text of a file, and that of the file beside it, which has a name."""


def pair_of(to: str, output: str | None) -> tuple[str, Files] | None:
    """The file that is written beside a file of a target, and what gives both; None where there is none."""
    ending = Path(output or "").suffix
    for target, own, beside, files in PAIRS:
        if to == target and ending == own:
            return str(Path(output or "").with_suffix(beside)), files
    return None


def c_files(arguments: Mapping[str, Any], header: str) -> tuple[str, str]:
    """A file of C, and its header, which has a name."""
    files = c.export(**arguments, header=header)
    return files.source, files.header


def module_files(arguments: Mapping[str, Any], _: str) -> tuple[str, str]:
    """A module, and its declarations."""
    files = javascript.export(**arguments)
    return files.module, files.declarations


PAIRS: list[tuple[str, str, str, Files]] = [
    ("c", ".c", ".h", c_files), ("javascript", ".js", ".d.ts", module_files),
    ("javascript", ".mjs", ".d.mts", module_files)]
"""Targets that write two files: the ending of the file that -o names, that of the other, and what gives both."""
