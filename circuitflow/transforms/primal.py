"""The primal written down again: the forward part of a document that is made from another."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from circuitflow.document.model import TensorFile
from circuitflow.gates import ArrayType
from circuitflow.graph.levels import Level, Written
from circuitflow.graph.node import Node
from circuitflow.transforms.naming import Names
from circuitflow.transforms.wires import Record, Wire
from circuitflow.transforms.writer import Writer

_NOTES = ("label", "description", "metadata")
_SYNTAX = {"id", "gate", "circuit", "then", "else", "inputs"}


def ids(level: Level) -> dict[str, str]:
    """An id for every node of a level: its own, and one without slashes for a node inside a call."""
    names = Names(name for name in level.nodes if "/" not in name)
    return {name: names.unique(name) if "/" in name else name for name in level.nodes}


def source(writer: Writer, level: Level, node: Node, name: str, folder: Path | None) -> Wire:
    """A source as it is written, its files as seen from a folder."""
    written, type_ = level.written[node.id], node.types[0]
    attributes, notes = _split(written)
    if "/" in node.id:
        attributes.pop("shape", None)  # it may name dimensions of the subcircuit
    value = getattr(written.site.node, "value", None)
    if isinstance(value, TensorFile) and written.definition.source.folder != folder:
        file = (written.definition.source.folder or Path()) / value.file
        attributes["value"] = attributes["value"] | {"file": Path(os.path.relpath(file, folder or Path())).as_posix()}
    if type_.dtype not in (writer.dtype, "bool") and "dtype" not in attributes and not getattr(value, "dtype", None):
        attributes["dtype"] = type_.dtype
    (wire,) = writer.write(Record(node.kind, {}, attributes, name=name, notes=notes), [type_], _fill(node, written))
    writer.know(wire)
    return wire


def _fill(node: Node, written: Written) -> float:
    """The number that a scalar constant is, if a float holds it; else NaN."""
    array = written.site.array
    if node.kind != "constant" or array is None or array.shape:
        return float("nan")
    number = array.item()
    return float(number) if float(number) == number else float("nan")


def port(writer: Writer, level: Level, node: Node, name: str, *, declared: bool) -> Wire:
    """An input of a subcircuit, with what it declares of its shape or as the call gives it."""
    attributes, notes = _split(level.written[node.id])
    kept = {key: value for key, value in attributes.items() if declared and key in ("shape", "dtype")}
    return writer.write(Record("input", {}, kept, name=name, notes=notes), [node.types[0]])[0]


def gate(writer: Writer, level: Level, node: Node, name: str, operands: Sequence[Wire]) -> tuple[Wire, ...]:
    """A gate as it is written."""
    attributes, notes = _split(level.written[node.id])
    record = Record(node.kind, dict(enumerate(operands)), attributes, node.outputs, name, name, notes)
    return writer.write(record, node.types, attributes=node.attributes)


def application(writer: Writer, level: Level, node: Node, name: str, operands: Mapping[str, Wire],
                circuits: Mapping[str, str], outputs: Sequence[str] = (),
                types: Sequence[ArrayType] = ()) -> tuple[Wire, ...]:
    """A node that applies circuits as it is written, with other names for them, and with more outputs."""
    attributes, notes = _split(level.written[node.id])
    names = node.outputs or (tuple(node.attributes["circuit"].outputs) if outputs else ())
    record = Record(node.kind, operands, {**circuits, **attributes}, (*names, *outputs), name, name, notes)
    return writer.write(record, [*node.types, *types])


def _split(written: Written) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a node says of itself but for its operands, and its free text."""
    said = written.site.node.model_dump(mode="python", exclude_unset=True, by_alias=True)
    return ({key: value for key, value in said.items() if key not in _SYNTAX and key not in _NOTES},
            {key: said[key] for key in _NOTES if key in said})
