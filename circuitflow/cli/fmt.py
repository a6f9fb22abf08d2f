"""`circuitflow fmt`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from circuitflow.cli.arguments import File
from circuitflow.cli.output import emit
from circuitflow.document.faults import Faults
from circuitflow.document.reading import parse, read
from circuitflow.document.rewriting import with_edges, with_inputs
from circuitflow.document.writing import dumps
from circuitflow.errors import InputError, printable


def command(
    file: File,
    write: Annotated[bool, typer.Option("--write", "-w", help="Write the file in place.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; status 1 if the layout differs.")] = False,
    edges: Annotated[bool, typer.Option("--edges", help="Rewrite `inputs` of nodes as edges.")] = False,
    inputs: Annotated[bool, typer.Option("--inputs", help="Rewrite edges as `inputs` of nodes.")] = False,
) -> None:
    """The canonical layout of a document: one node and one edge a line.

    Example: circuitflow fmt --write circuits/product.json
    """
    if edges and inputs:
        raise InputError("--edges and --inputs exclude one another; give one")
    if file == "-" and write:
        raise InputError("--write needs a file; standard input is written to standard output")
    faults = Faults()
    source = read(file, faults)
    parsed = parse(source, faults)
    if faults or parsed is None:
        faults.fail()
    document = with_edges(parsed.document) if edges else with_inputs(parsed.document) if inputs else parsed.document
    text = dumps(document)
    if check:
        if text != source.text:
            print(f"{printable(file)}: not in canonical layout; circuitflow fmt --write mends it", file=sys.stderr)
            raise typer.Exit(1)
    elif not write:
        emit(None, text)
    elif text != source.text:
        emit(file, text)
