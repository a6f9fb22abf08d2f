"""The contents of a pickled circuit: its text, and the contents of the files beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from circuitflow.document.faults import Faults, Source
from circuitflow.document.limits import Limits
from circuitflow.document.model import CircuitFile, Document, TensorFile
from circuitflow.document.reading import Parsed, parse
from circuitflow.document.tensors import Array, Tensor, TensorFiles
from circuitflow.document.writing import dumps
from circuitflow.gates import GATES, Gate, GateTable
from circuitflow.graph.bodies import Definition, place
from circuitflow.graph.reachable import reachable

Tensors = Mapping[tuple[str, str], Array]
"""Tensors by the place of their file and their name."""


class Carried(NamedTuple):
    """A circuit without its graph.

    Attributes:
        text: the document, as it was read or as it is written.
        is_read: whether it was read from a text; else a program made the document.
        name, folder, limits: those of the document.
        files: the texts of subcircuit files, by place; the same number for the same file.
        tensors: the tensors that were loaded.
        rows: for each row of the gate table that is not built in, what differs from the built-in one of that name.
        missing: the built-in rows that the table does not have.
    """

    text: str
    is_read: bool
    name: str
    folder: str | None
    limits: Limits
    files: Mapping[str, tuple[int, str]]
    tensors: Tensors
    rows: Mapping[str, Any]
    missing: Sequence[str]

    def parsed(self) -> Parsed:
        """The document again."""
        folder = Path(self.folder) if self.folder is not None else None
        source = Source(self.name, self.text if self.is_read else None, folder, self.limits)
        faults = Faults()
        parsed = (parse(source, faults) if self.is_read else
                  Parsed(Document.model_validate(json.loads(self.text)), source))  # limits of texts do not apply
        if parsed is None:
            faults.fail()
        return parsed

    def gates(self) -> GateTable:
        """The gate table again."""
        if not self.rows and not self.missing:
            return GATES
        rows = {name: row if isinstance(row, Gate) else replace(GATES[name], **row) for name, row in self.rows.items()}
        return {**{name: gate for name, gate in GATES.items() if name not in self.missing}, **rows}


class LoadedTensors(TensorFiles):
    """Gives tensors that were loaded before, and reads the others from files."""

    def __init__(self, tensors: Tensors, limits: Limits, faults: Faults) -> None:
        super().__init__(limits, faults.nearest)
        self._tensors = tensors

    def tensor(self, folder: Path | None, value: TensorFile) -> Tensor:
        """As `TensorFiles.tensor`."""
        array = self._tensors.get((place(folder, value.file), value.tensor))
        return super().tensor(folder, value) if array is None else Tensor(array.shape, str(array.dtype), lambda: array)


def carry(document: Document, root: Definition, gates: GateTable, tensors: Tensors) -> Carried:
    """The contents of a pickled circuit."""
    source = root.source
    numbers = {id(root): 0}
    files = {where: (numbers.setdefault(id(inner), len(numbers)), inner.source.text or "")
             for where, inner in _files(root)}
    return Carried(dumps(document) if source.text is None else source.text, source.text is not None, source.name,
                   None if source.folder is None else os.fspath(source.folder), source.limits, files, tensors,
                   {name: _difference(name, row) for name, row in gates.items() if GATES.get(name) is not row},
                   [name for name in GATES if name not in gates])


def loaded_tensors(root: Definition, upstream: Mapping[str, Array]) -> dict[tuple[str, str], Array]:
    """The tensors that were loaded from files."""
    tensors: dict[tuple[str, str], Array] = {}
    for definition in _definitions(root):
        for site in definition.sites.values():
            value = getattr(site.node, "value", None)
            if isinstance(value, TensorFile) and site.array is not None:
                tensors[place(definition.source.folder, value.file), value.tensor] = site.array
    for text, value in (root.body.upstream or {}).items():
        if isinstance(value, TensorFile):
            tensors[place(root.source.folder, value.file), value.tensor] = upstream[text]
    return tensors


def files(root: Definition, upstream: Mapping[str, Array]) -> set[str]:
    """The places of the tensor and subcircuit files that were read."""
    return {where for where, _ in loaded_tensors(root, upstream)} | {where for where, _ in _files(root)}


def _difference(name: str, row: Gate) -> Gate | dict[str, Any]:
    """What a row changes of the built-in row of its name; all of it where there is none.

    Built-in functions have no names that a pickle could refer to, so they are left out.
    """
    built_in = GATES.get(name)
    if built_in is None:
        return row
    return {field.name: getattr(row, field.name) for field in fields(row)
            if field.init and getattr(row, field.name) is not getattr(built_in, field.name)}


def _definitions(root: Definition) -> list[Definition]:
    """All bodies, each once, in the order in which they are found."""
    return list(reachable([root], lambda definition: filter(None, definition.scope.maps[0].values())))


def _files(root: Definition) -> Iterator[tuple[str, Definition]]:
    """The place and the definition of every file of subcircuits."""
    for definition in _definitions(root):
        for name, subcircuit in (definition.body.circuits or {}).items():
            inner = definition.scope.maps[0][name]
            if isinstance(subcircuit, CircuitFile) and inner is not None:
                yield place(definition.source.folder, subcircuit.file), inner
