"""New documents put into files, with a `$schema` that an editor finds."""

from __future__ import annotations

import json
import os
from pathlib import Path

import circuitflow as cf
from circuitflow.cli.output import emit
from circuitflow.document.output import is_stream, write
from circuitflow.document.writing import dumps

SCHEMA = "circuit.schema.json"


def emit_document(circuit: cf.Circuit, output: str | None) -> None:
    """Write a document to a file, or to standard output for None and "-".

    In a file it names the nearest schema, beside the file or above it; where there is none, one is put beside it. A
    document that names a URL keeps it: that leads to the same place from every folder. Standard output, pipes and
    devices have no folder.

    Raises:
        InputError: the file cannot be written.
    """
    document = circuit.document
    if output is None or output == "-" or is_stream(output):
        emit(output, dumps(document))
        return
    path = Path(output)
    folder = path.resolve().parent
    beside = folder / SCHEMA
    is_new = False
    if document.schema_ is None and (path.is_file() or not path.exists()) and path.resolve() != beside:
        schema = _nearest(folder)
        is_new = schema is None and not os.path.lexists(beside)
        if schema or is_new:
            reference = Path(os.path.relpath(schema or beside, folder)).as_posix()
            document = document.model_copy(update={"schema_": reference})
    emit(output, dumps(document))
    if is_new:
        from circuitflow.cli.schema import Which, text

        write(beside, text(Which.DOCUMENT))


def _nearest(folder: Path) -> Path | None:
    """The schema of this format in a folder or above it, there or in its folder `schemas`."""
    places = (place / name for place in (folder, *folder.parents) for name in (SCHEMA, f"schemas/{SCHEMA}"))
    return next(filter(_is_schema, places), None)


def _is_schema(path: Path) -> bool:
    """Whether a file says that it is the schema of this format, in its first lines."""
    from circuitflow.document.schema import identifier

    if not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as file:
            return json.dumps(identifier("circuit")).encode() in file.read(1000)
    except OSError:
        return False
