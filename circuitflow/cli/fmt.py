"""`circuitflow fmt`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import circuitflow as cf
from circuitflow.cli.arguments import Gates, Limit, assignment, is_model, limits_of, table_of
from circuitflow.cli.output import emit
from circuitflow.document.faults import Faults
from circuitflow.document.output import is_stream
from circuitflow.document.reading import parse, read
from circuitflow.document.rewriting import with_edges, with_inputs
from circuitflow.document.versions import with_lowest_version
from circuitflow.document.writing import dumps
from circuitflow.errors import InputError
from circuitflow.text import printable


def command(
    file: Annotated[str, typer.Argument(metavar="FILE", show_default=False,
                                        help="A circuit document; - reads standard input.")],
    *,
    write: Annotated[bool, typer.Option("--write", "-w", help="Replace the file.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit with status 1 if the layout differs.")
                     ] = False,
    edges: Annotated[bool, typer.Option("--edges", help="Rewrite `inputs` of nodes as edges.")] = False,
    inputs: Annotated[bool, typer.Option("--inputs", help="Rewrite edges as `inputs` of nodes.")] = False,
    assignments: Annotated[list[str], typer.Option("--set", metavar="ID=VALUE", default_factory=list,
                                                   show_default=False, help="Store a value of an input, parameter or "
                                                                            "constant.")],
    limit: Limit,
    gates: Gates = None,
) -> None:
    """Write a document in its canonical layout: one node and one edge a line.

    The document then states the lowest version of the format that has all of its keys.

    Example: circuitflow fmt --write circuits/product.json
    """
    if is_model(file):
        raise InputError(f"'{printable(file)}' is an ONNX model; `circuitflow import` writes a document of it")
    if edges and inputs:
        raise InputError("--edges and --inputs exclude one another; give one")
    if write and (file == "-" or is_stream(file)):
        raise InputError("--write needs a file that it can replace; without it the result goes to standard output")
    if assignments and check:
        raise InputError("--check changes nothing; leave out --set")
    limits, table, faults = limits_of(limit), table_of(gates), Faults()
    source = read(file, faults, limits)
    reading = parse(source, faults)
    if faults or reading is None:
        faults.fail()
    document = reading.document
    if assignments:
        entries = (assignment(text, "--set", limits) for text in assignments)
        values = {name: value for name, value, _ in entries}
        circuit = cf.Circuit(document, gates=table, folder=source.folder, limits=limits)
        document = circuit.with_values(values).document
    document = with_edges(document) if edges else with_inputs(document) if inputs else document
    text = dumps(with_lowest_version(document))
    if check:
        if text != source.text:
            print(f"{printable(file)}: not in canonical layout; circuitflow fmt --write mends it", file=sys.stderr)
            raise typer.Exit(1)
    elif not write:
        emit(None, text)
    elif text != source.text:
        emit(file, text)
