"""Writes nodes of the primal into a document that is made from it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from circuitflow.document.model import SubcircuitNode, TensorFile
from circuitflow.gates import ArrayType
from circuitflow.graph.bodies import Site
from circuitflow.graph.typed import Node, TypedBody
from circuitflow.transforms.naming import Names
from circuitflow.transforms.writer import Record, Wire, Writer

_NOTES = ("label", "description", "metadata")
_SYNTAX = {"id", "gate", "circuit", "then", "else", "inputs"}


def ids(body: TypedBody) -> dict[str, str]:
    """An id for every node of a typed body: its own, and one without slashes for a node inside a call."""
    names = Names(name for name in body.nodes if "/" not in name)
    return {name: names.unique(name) if "/" in name else name for name in body.nodes}


def site(node: Node) -> Site:
    """Where a node stands in the document."""
    assert node.site is not None  # noqa: S101
    return node.site


def circuits(node: Node) -> Mapping[str, str]:
    """What the document calls the circuits that a node applies, by key."""
    unit = site(node).node
    assert isinstance(unit, SubcircuitNode)  # noqa: S101
    return unit.circuits


def source(writer: Writer, node: Node, name: str, folder: Path | None) -> Wire:
    """Write a source; the paths of its files are relative to a folder."""
    type_, own_folder = node.types[0], site(node).source.folder
    attributes, notes = _split(node)
    if "/" in node.id:
        attributes.pop("shape", None)  # it may name dimensions of the subcircuit
    value = getattr(site(node).node, "value", None)
    if isinstance(value, TensorFile) and own_folder != folder:
        file = (own_folder or Path()) / value.file
        attributes["value"] = attributes["value"] | {"file": Path(os.path.relpath(file, folder or Path())).as_posix()}
    if type_.dtype not in (writer.dtype, "bool") and "dtype" not in attributes and not getattr(value, "dtype", None):
        attributes["dtype"] = type_.dtype
    (wire,) = writer.write(Record(node.kind, {}, attributes, name=name, notes=notes), [type_], _fill(node))
    writer.know(wire)
    return wire


def _fill(node: Node) -> float:
    """The number that a scalar constant is, if a float holds it; else NaN."""
    array = site(node).array
    if node.kind != "constant" or array is None or array.shape:
        return float("nan")
    number = array.item()
    return float(number) if float(number) == number else float("nan")


def port(writer: Writer, node: Node, name: str, *, with_type: bool) -> Wire:
    """Write an input of a subcircuit, with its declared shape and dtype or without."""
    attributes, notes = _split(node)
    declaration = {key: value for key, value in attributes.items() if with_type and key in ("shape", "dtype")}
    return writer.write(Record("input", {}, declaration, name=name, notes=notes), [node.types[0]])[0]


def gate(writer: Writer, node: Node, name: str, operands: Sequence[Wire]) -> tuple[Wire, ...]:
    """Write a gate."""
    attributes, notes = _split(node)
    record = Record(node.kind, dict(enumerate(operands)), attributes, node.outputs, name, name, notes)
    return writer.write(record, node.types, attributes=node.attributes)


def application(writer: Writer, node: Node, name: str, operands: Mapping[str, Wire],
                circuits: Mapping[str, str], outputs: Sequence[str] = (),
                types: Sequence[ArrayType] = ()) -> tuple[Wire, ...]:
    """Write a node that applies circuits, with other names for them and more outputs."""
    attributes, notes = _split(node)
    names = node.outputs or (tuple(node.attributes["circuit"].outputs) if outputs else ())
    record = Record(node.kind, operands, {**circuits, **attributes}, (*names, *outputs), name, name, notes)
    return writer.write(record, [*node.types, *types])


def _split(node: Node) -> tuple[dict[str, Any], dict[str, Any]]:
    """The attributes of a node as the document has them, and its free text; an input that a call gives has neither."""
    document = site(node).node
    if document.gate != node.kind:
        return {}, {}
    values = document.model_dump(mode="python", exclude_unset=True, by_alias=True)
    return ({key: value for key, value in values.items() if key not in _SYNTAX and key not in _NOTES},
            {key: values[key] for key in _NOTES if key in values})
