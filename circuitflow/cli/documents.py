"""Writes new documents to files, with a `$schema` that an editor finds."""

from __future__ import annotations

import json
import os
from pathlib import Path

import circuitflow as cf
from circuitflow.cli.output import emit
from circuitflow.document.base import READABLE
from circuitflow.document.model import Document
from circuitflow.document.output import is_stream, write
from circuitflow.document.writing import dumps

SCHEMA = "circuit.schema.json"


def emit_document(circuit: cf.Circuit, output: str | None) -> None:
    """Write a document to a file, or to standard output for None and "-".

    A document in a file names the nearest schema, in its folder or above it. Where there is none, the schema is written
    beside the document. A URL stays, since it means the same in every folder. On standard output, pipes and devices the
    `$schema` does not change.

    Raises:
        InputError: the file cannot be written.
    """
    document = circuit.document
    if output is None or output == "-" or is_stream(output):
        emit(output, dumps(document))
        return
    schema = None
    if "://" not in (document.schema_ or ""):
        schema = _schema_for(output, document.circuitflow)
        name = schema and os.path.relpath(schema, _folder(output)).replace(os.sep, "/")
        fields = document.model_fields_set - {"schema_"} | ({"schema_"} if name else set())
        document = Document.model_construct(fields, **{**dict(document), "schema_": name})
    emit(output, dumps(document))
    if schema is not None and not os.path.exists(schema):
        from circuitflow.cli.schema import Which, text

        write(schema, text(Which.DOCUMENT))


def _folder(output: str) -> str:
    return os.path.dirname(os.path.realpath(output))


def _schema_for(output: str, version: str) -> str | None:
    """The nearest schema that knows a version; else the path of a new one.

    It lies in the folder of the output, in one above, or in their folders `schemas`. None if there is a file of that
    name, or the output is not a regular file.
    """
    beside = os.path.join(_folder(output), SCHEMA)
    if os.path.realpath(output) == beside or (os.path.exists(output) and not os.path.isfile(output)):
        return None
    is_free = not os.path.lexists(beside) and os.access(_folder(output), os.W_OK)
    places = (os.path.join(place, name) for place in (_folder(output), *map(str, Path(beside).parent.parents))
              for name in (SCHEMA, os.path.join("schemas", SCHEMA)))
    return next((place for place in places if _is_schema(place, version)), beside if is_free else None)


def _is_schema(path: str, version: str) -> bool:
    """Whether the first lines of a file have the identifier of the schema of a version, or of a later one."""
    from circuitflow.document.schema import identifier

    if not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as file:
            beginning = file.read(1000)
    except OSError:
        return False
    return any(json.dumps(identifier("circuit", other)).encode() in beginning
               for other in READABLE[READABLE.index(version) :])
