"""Operators that a row of the gate table maps: read and written by what the row says."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from circuitflow.gates import GATES
from circuitflow.gates.record import AtLeast, Gate, Onnx
from circuitflow.onnx.calls import Call, Refusal

PAIRED = ("pads",)
"""Attributes of [before, after] for every axis, which ONNX writes as all before and all after."""


class Attribute(NamedTuple):
    """An attribute of a gate in ONNX.

    Attributes:
        own: the gate's name.
        operator: the operator's name.
        position: the input that it is in late versions, or None.
    """

    own: str
    operator: str
    position: int | None


@functools.cache
def attributes_of(words: str) -> tuple[Attribute, ...]:
    """The attributes that a row says."""
    result = []
    for word in words.split():
        names, _, position = word.partition("@")
        own, _, other = names.partition("=")
        result.append(Attribute(own, other or own, int(position) if position else None))
    return tuple(result)


@functools.cache
def gates_by_operator() -> Mapping[str, str]:
    """The gate of each operator that a row maps."""
    return {row.facets.note.onnx.operator: name for name, row in GATES.items()
            if isinstance(row.facets.note.onnx, Onnx)}


def read(call: Call) -> Any:
    """The wires of a node whose operator is a gate.

    Raises:
        Refusal: the gate does not say what the node does.
    """
    name = gates_by_operator()[call.node.operator]
    row = GATES[name]
    onnx = mapping(row)
    if call.version < onnx.since:
        raise Refusal(f"is of version {call.version} of the operator; expected {onnx.since} or later")
    attributes = {}
    places = set()
    for attribute in attributes_of(onnx.attributes):
        if attribute.position is None:
            value = call.attribute(attribute.operator)
        else:
            value = call.setting(attribute.operator, attribute.position)
            places.add(attribute.position)
        if value is not None:
            attributes[attribute.own] = from_onnx(row, attribute, value)
    call.expect(**onnx.settings)
    operands = [call[i] for i in range(len(call)) if i not in places and call.has(i)]
    if operands and not any(np.dtype(wire.type.dtype).kind in onnx.dtypes for wire in operands):
        raise Refusal(f"of {operands[0].type.dtype} has no gate")
    return call.w.emit(name, *operands, **attributes)


def mapping(row: Gate) -> Onnx:
    """What a row says of ONNX."""
    onnx = row.facets.note.onnx
    assert isinstance(onnx, Onnx)  # noqa: S101
    return onnx


def from_onnx(row: Gate, attribute: Attribute, value: Any) -> Any:
    """The value of an attribute as the gate has it."""
    if attribute.operator in PAIRED:
        half = len(value) // 2
        return [[before, after] for before, after in zip(value[:half], value[half:], strict=True)]
    if isinstance(row.defaults.get(attribute.own), bool):
        return bool(value)
    return value


def to_onnx(attribute: Attribute, value: Any) -> Any:
    """The value of an attribute as ONNX has it."""
    if attribute.operator in PAIRED:
        return [before for before, _ in value] + [after for _, after in value]
    return int(value) if isinstance(value, bool) else value


def is_variadic(row: Gate) -> bool:
    """Whether a row takes any number of operands."""
    return isinstance(row.operands, AtLeast)
