"""`circuitflow grad`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

import circuitflow as cf
from circuitflow.cli.arguments import (
    Dims,
    File,
    Gates,
    Limit,
    NewDocument,
    Of,
    Wrt,
    gate_files,
    is_model,
    load_circuit,
    split,
)
from circuitflow.cli.documents import emit_document
from circuitflow.cli.output import apart
from circuitflow.cli.progress import waiting
from circuitflow.document.output import is_stream
from circuitflow.errors import InputError
from circuitflow.text import printable


def command(
    file: File,
    *,
    of: Of,
    wrt: Wrt,
    dims: Dims,
    limit: Limit,
    values: Annotated[bool, typer.Option("--values", help="Add the circuit's outputs before the gradients.")] = False,
    output: NewDocument = None,
    gates: Gates = None,
) -> None:
    """Write the gradient as a circuit document: run it, or differentiate it again.

    Example: circuitflow grad circuits/product.json -o gradient.json
    """
    circuit = load_circuit(file, limit, gates, dims)
    apart(output, [file, *circuit.files, *gate_files(gates)])
    with waiting(f"differentiating {printable(file, 60)}"):
        gradient = cf.gradient(circuit, split(of), split(wrt), values=values)
    if is_model(file) and gradient.files:
        raise InputError(f"'{printable(file)}' has more weights than a document holds; run `circuitflow import` "
                         "first, and take the gradient of the document that it writes")
    folder = circuit.definition.source.folder or Path()
    if output not in (None, "-") and not is_stream(output) and gradient.files and (
            os.path.dirname(os.path.realpath(output)) != os.path.realpath(folder)):
        raise InputError(f"the gradient reads tensor files beside '{printable(file)}'; write it to that folder")
    emit_document(gradient.document, output)
