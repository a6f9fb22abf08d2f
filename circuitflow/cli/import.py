"""`circuitflow import`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from circuitflow.cli.arguments import Dims, Limit, NewDocument, assigned_values, assignment, limits_of, sizes_of
from circuitflow.cli.documents import emit_document
from circuitflow.cli.output import apart
from circuitflow.cli.progress import waiting
from circuitflow.cli.text import warn
from circuitflow.document.faults import Faults
from circuitflow.document.output import is_stream, writer
from circuitflow.document.tensors import TensorFiles
from circuitflow.errors import InputError
from circuitflow.graph.values import Datum, read_values
from circuitflow.onnx.importing import import_model
from circuitflow.onnx.reading import Model, read_model
from circuitflow.text import printable


def command(
    file: Annotated[str, typer.Argument(metavar="MODEL", help="An ONNX model.", show_default=False)],
    *,
    dims: Dims,
    assignments: Annotated[list[str], typer.Option("--set", metavar="NAME=VALUE", default_factory=list,
                                                   show_default=False,
                                                   help="Value of an input: a number, JSON, or a file of JSON. The "
                                                        "input becomes a constant. An input that a shape depends on "
                                                        "needs one.")],
    most_steps: Annotated[int | None, typer.Option(metavar="N", min=1, show_default=False,
                                                   help="Most steps of a loop that ends by a condition alone; a run "
                                                        "that needs more is refused.")] = None,
    limit: Limit,
    output: NewDocument = None,
) -> None:
    """Write a document from an ONNX model, and its weights in a safetensors file beside it.

    Example: circuitflow import model.onnx --dim batch=1 -o model.json
    """
    limits = limits_of(limit)
    with waiting(f"reading {printable(file, 60)}"):
        model = read_model(file, limits)
        apart(output, [file, *model.files, *assigned_values(assignments)])
        stem = Path(file if output in (None, "-") else str(output)).stem
        result = import_model(model, stem=stem, dims=sizes_of(dims), values=_values(assignments, model),
                              most_steps=most_steps)
    if result.tensors:
        if output is None or output == "-" or is_stream(output):
            raise InputError("there are more weights than a document holds; write it to a file with -o, and they go "
                             "into a tensor file beside it")
        with writer(os.path.join(os.path.dirname(os.path.realpath(output)), result.file)) as tensors:
            result.content.write(tensors)
    warn(result.notes)
    emit_document(result.document, output)


def _values(assignments: list[str], model: Model) -> dict[str, Any]:
    """The values of options NAME=VALUE, in the dtypes of the model's inputs."""
    dtypes = {port.name: port.dtype for port in model.graph.inputs}
    faults, values = Faults(), dict[str, Any]()
    for text in assignments:
        name, content, source = assignment(text, "--set", model.limits)
        dtype = dtypes.get(name) or "float64"
        datum = Datum(f"'{printable(name, 60)}': ", content, None if getattr(content, "dtype", None) else dtype, dtype,
                      source, ())
        values |= read_values({name: datum}, TensorFiles(model.limits, faults.nearest), faults) or {}
    faults.raise_if_any()
    return values
