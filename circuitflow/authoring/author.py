"""A document under construction. It has a node for every gate: nothing is shared or simplified."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, TypeAdapter

from circuitflow.authoring.wires import AuthoredWire, need_unchanged
from circuitflow.document.base import DTYPES, ID, MAX_DEPTH, READABLE
from circuitflow.document.faults import Faults, Source
from circuitflow.document.model import Value
from circuitflow.document.numbers import as_array, as_numpy, native
from circuitflow.document.reading import parse_as, validate
from circuitflow.document.tensors import TensorFiles
from circuitflow.document.values import from_array
from circuitflow.document.versions import with_lowest_version
from circuitflow.document.writing import dumps_value, tidy
from circuitflow.errors import InputError
from circuitflow.gates import ArrayType, AtLeast, Gate, GateTable, ShapeError, of_elements, suggestion
from circuitflow.gates.shapes import Size
from circuitflow.graph.attributes import fit_attributes
from circuitflow.graph.circuit import Circuit
from circuitflow.graph.values import Datum, read_values
from circuitflow.text import nearest, short
from circuitflow.transforms.naming import Names, as_nodes, needed_records, with_name
from circuitflow.transforms.writer import Record, Wire, Writer

LONGEST = 24
"""Longest id made of a gate and its operands, in characters."""


class Author(Writer):
    """Writes the nodes of one document, whose `outputs` are wires."""

    wire = AuthoredWire

    def __init__(self, gates: GateTable, dtype: str, folder: str | os.PathLike[str] | None = None) -> None:
        """Begin without nodes.

        Raises:
            InputError: a document has no such dtype.
        """
        if dtype not in ("float64", "float32"):
            raise InputError(f"the dtype of a circuit is float64 or float32, not {short(dtype)}")
        super().__init__(gates, dtype)
        self.folder = Path(folder) if folder is not None else None
        self.outputs: list[Wire] = []
        self._names: set[str] = set()

    def source(self, kind: str, name: str, value: Any = None, *, shape: Sequence[int | str] | None = None,
               dtype: str | None = None, notes: Mapping[str, Any] | None = None) -> Wire:
        """An input, a parameter or a constant.

        Raises:
            InputError: the name is not an id, or is taken; the dtype, shape or value is not valid.
            DocumentError: a document cannot have the value.
        """
        self.claim(name)
        if dtype is not None and dtype not in DTYPES:
            raise InputError(f"'{name}': there is no dtype {short(dtype)}{nearest(str(dtype), DTYPES)}; there are "
                             f"{', '.join(DTYPES)}")
        attributes: dict[str, Any] = {}
        type_ = ArrayType((), dtype or self.dtype)
        says_dtype = False  # whether the value does
        if value is not None:
            attributes["value"], array = self._value(name, value, dtype)
            says_dtype = ((isinstance(attributes["value"], dict) and "dtype" in attributes["value"])
                          or (str(array.dtype) == "bool" and array.size > 0))
            type_ = ArrayType(tuple(array.shape), str(array.dtype))
        if shape is not None:
            for size in shape:
                if not (isinstance(size, int | np.integer) and not isinstance(size, bool) and size >= 0) and not (
                        isinstance(size, str) and re.fullmatch(ID, size)):
                    raise InputError(f"'{name}': the shape has {short(size)}; expected sizes, 0 or more, or names of "
                                     "dimensions")
            shape = [size if isinstance(size, str) else int(size) for size in shape]
            attributes["shape"] = shape
            sizes = tuple(Size.named(size) if isinstance(size, str) else size for size in shape)
            type_ = ArrayType(sizes, type_.dtype)
        if type_.dtype != self.dtype and not says_dtype:
            attributes["dtype"] = type_.dtype
        (wire,) = self.write(Record(kind, {}, attributes, name=name, notes=notes or {}), [type_])
        return wire

    def _value(self, name: str, value: Any, dtype: str | None) -> tuple[Any, Any]:
        """A value in the form of a document, and its array."""
        if isinstance(value, BaseModel):
            value = value.model_dump(mode="python", exclude_unset=True)
        if not isinstance(value, dict):
            value = native(value, f"'{name}'")
        if isinstance(value, np.ndarray | np.generic):
            array = as_array(value, f"'{name}'") if dtype is None else as_numpy(value, dtype, f"'{name}'")
            return tidy(from_array(array)), array
        value = _as_json(value)
        faults = Faults()
        source = Source(f"value of '{name}'", dumps_value(value), self.folder)
        content: Any = parse_as(TypeAdapter(Value), source, faults)
        faults.raise_if_any()
        own = getattr(content, "dtype", None)
        entries = {name: Datum("", content, None if own else dtype, self.dtype, source, ())}
        arrays = read_values(entries, TensorFiles(), faults)
        if not arrays:
            faults.fail()
        return tidy(value), arrays[name]

    def claim(self, name: str) -> None:
        """Take a name for a node.

        Raises:
            InputError: it is not an id, or it is taken.
        """
        if not isinstance(name, str) or not re.fullmatch(ID, name) or len(name) > 128:
            raise InputError(f"{short(name)} cannot be the name of a node: expected letters, digits and underscores, "
                             "not beginning with a digit, at most 128")
        if name in self._names:
            raise InputError(f"there is a node '{name}' already; give this one another name")
        self._names.add(name)

    def name(self, wire: Wire, name: str) -> Wire:
        """Call the node of a wire so; one that has a name already, or several outputs, gets a node that passes it on.

        Raises:
            InputError: the name is not an id, or it is taken.
        """
        self.claim(name)
        return with_name(self, self.as_wire(wire), name)

    def output(self, wire: Wire, name: str | None = None) -> None:
        """Make a wire an output.

        Raises:
            InputError: the name is not an id, or it is taken by another node.
        """
        if name is not None and name != wire.record.name:
            wire = self.name(wire, name)
        self.outputs += self._as_wires([wire])

    def emit(self, gate: str, *operands: Any, **attributes: Any) -> Any:
        """The output of a gate, or a tuple of them where it has several. Numbers and arrays become constants.

        Raises:
            InputError: there is no such gate, or it does not take such operands or attributes.
        """
        row = self.row(gate)
        wires = self._as_wires(operands)
        _count(gate, row, len(wires), self.gates)
        complete, misfits = fit_attributes(gate, row, {name: _as_json(value) for name, value in attributes.items()})
        if misfits:
            raise InputError("; ".join(misfit.message for misfit in misfits))
        try:
            types = row.shape(*(wire.type for wire in wires), **complete)
        except ShapeError as error:
            raise InputError(f"{gate} {error}") from None
        outputs = row.output_names(complete)
        record = Record(gate, dict(enumerate(wires)), self._changes(row, complete), outputs, notes=self.notes)
        results: Any = self.write(record, [types] if isinstance(types, ArrayType) else types)
        for wire in results if row.facets.view else ():
            wire.buffer = wires[0].buffer
        return results if outputs else results[0]

    def in_dtype(self, x: Any, dtype: str) -> Any:
        """A wire in a dtype, by `cast` where it has another; a number or an array of NumPy as a constant.

        Raises:
            InputError: the dtype cannot hold a number.
        """
        if isinstance(x, Wire):
            wire = self.as_wire(x)
            return wire if wire.type.dtype == dtype else self.emit("cast", wire, dtype=dtype)
        if "bool" in (dtype, getattr(x, "dtype", dtype)):
            x = np.asarray(x).astype(dtype)
        array = as_numpy(x, dtype, "an operand")
        return self._tensor(array) if array.ndim else self.constant(array.item(), dtype)

    def row(self, gate: str) -> Gate:
        """The row of a gate.

        Raises:
            InputError: there is none.
        """
        if gate not in self.gates:
            raise InputError(f"there is no gate {short(gate)}{suggestion(gate, self.gates)}")
        return self.gates[gate]

    def _as_wires(self, operands: Sequence[Any]) -> tuple[Any, ...]:
        """The operands as wires. Numbers take the dtype of the other operands, if that can hold them."""
        beside = [x.type.dtype for x in operands if isinstance(x, Wire)]
        return tuple(self.as_wire(x, beside) for x in operands)

    def as_wire(self, x: Any, beside: Sequence[str] = ()) -> Any:
        """An operand as a wire; numbers and arrays become constants, beside operands of some dtypes."""
        if isinstance(x, Wire):
            if x._writer is not self:
                raise InputError("a wire of another circuit; every wire of a circuit comes from its own builder")
            need_unchanged(x)
            return x
        if not isinstance(x, bool | int | float):
            array = as_array(x, "an operand", "a wire, a number or a rectangular array of them")
            if isinstance(x, list | tuple) and array.dtype.kind == "i" and not any(d in _WHOLE for d in beside):
                array = array.astype(self.dtype)
            if array.ndim:
                return self._tensor(array)
            x = array.item()
        if isinstance(x, bool):
            return self.constant(x, "bool")
        floats = [d for d in beside if d in ("float64", "float32", "float16")]
        whole = [d for d in beside if d in _WHOLE]
        dtype = (whole or [self.dtype])[0] if isinstance(x, int) and not floats else (floats or [self.dtype])[0]
        as_numpy(x, dtype, "an operand")  # refuses what the dtype cannot hold
        return self.constant(x, dtype)

    def _tensor(self, array: Any) -> Wire:
        attributes: dict[str, Any] = {"value": tidy(from_array(array))}
        if str(array.dtype) not in (self.dtype, "bool") or not array.size:
            attributes["dtype"] = str(array.dtype)
        record = Record("constant", {}, attributes, stage="c")
        return self.write(record, [ArrayType(array.shape, str(array.dtype))])[0]

    # The document

    def finish(self, name: str | None = None, description: str | None = None) -> Circuit:
        """The circuit of the named nodes and of all nodes that the outputs need.

        Raises:
            InputError: there is no output.
            DocumentError: the circuit is not valid.
        """
        if not self.outputs:
            raise InputError("a circuit needs an output: c.output(wire, \"f\")")
        names = Names(self._names)
        own = [record for record in self.records if record.name is not None]
        needs = needed_records([*(wire.record for wire in self.outputs), *own])
        records = [record for record in self.records if record in needs]
        for record in records:
            if record.name is None:
                record.name = names.unique(self._name_of(record))
        body = {"circuitflow": READABLE[-1], "name": name, "description": description,
                "dtype": self.dtype if self.dtype != "float64" else None, "nodes": list(as_nodes(records)),
                "outputs": list(dict.fromkeys(wire.reference for wire in self.outputs))}
        document = {key: value for key, value in body.items() if value is not None}
        return Circuit(with_lowest_version(validate(document)), gates=self.gates, folder=self.folder)

    def _name_of(self, record: Record) -> str:
        """An id for a node without one: the gate with its operands if their names are short, else the gate."""
        if record.gate == "constant":
            return record.stage
        long = "_".join([record.gate, *(str(wire.record.name) for wire in record.operands.values())])
        are_named = all(wire.record.name in self._names for wire in record.operands.values())
        return long if are_named and len(long) <= LONGEST else record.gate


_WHOLE = tuple(dtype for dtype in DTYPES if dtype.startswith(("int", "uint")))


def _count(name: str, gate: Gate, operands: int, gates: GateTable) -> None:
    if isinstance(gate.operands, AtLeast):
        if operands >= gate.operands.minimum:
            return
        takes = f"{gate.operands.minimum} operands or more"
    else:
        most = len(gate.operands)
        least = most - gate.optional
        if least <= operands <= most:
            return
        count = str(most) if least == most else f"{least} to {most}"
        takes = f"{count} operand{'s' * (most != 1)} ({', '.join(gate.operands)})"
    raise InputError(f"{name} takes {takes}, not {operands}{of_elements(name, operands, gates)}")


def _as_json(value: Any, depth: int = 0) -> Any:
    """An attribute in the form of a document: tuples and arrays as lists, a dtype as its name.

    Raises:
        InputError: its lists are nested too deep.
    """
    if depth > MAX_DEPTH:
        raise InputError(f"an attribute is nested more than {MAX_DEPTH} deep; expected a flat list")
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, tuple | list):
        return [_as_json(item, depth + 1) for item in value]
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic | float | int | bool)):
        return np.dtype(value).name
    return value
