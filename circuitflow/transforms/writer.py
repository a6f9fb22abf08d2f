"""A body under construction: the vocabulary of backward rules that writes nodes down."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from circuitflow.gates import ArrayType, Gate, GateTable
from circuitflow.transforms.simplify import fill_of, simplified
from circuitflow.transforms.wires import Record, Wire

_NUMBERS = {0.0: "zero", 1.0: "one", 2.0: "two", 3.0: "three", 0.5: "half", -1.0: "minus_one"}
"""How constants are called that have a name."""

_TEMPLATES = {"zeros_like", "ones_like", "expand_like", "reshape_like"}
"""Gates that read the shape and dtype of their last operand alone: any node like it will do, best the first."""


class Writer:
    """Writes the nodes of one body; as `op` it is the vocabulary of backward rules.

    What is there already is not written again, and nothing is written that `simplify` knows to be something else.
    """

    def __init__(self, gates: GateTable, dtype: str) -> None:
        self.gates, self.dtype = gates, dtype
        self.records: list[Record] = []
        self.notes: Mapping[str, Any] = {}
        self.stage = ""
        self._made: dict[Any, tuple[Wire, ...]] = {}
        self._templates: dict[ArrayType, Wire] = {}

    def __getattr__(self, name: str) -> Any:
        if name not in self.gates:
            raise AttributeError(f"there is no gate '{name}' in the table")
        return lambda *operands, **attributes: self.emit(name, *operands, **attributes)

    def write(self, record: Record, types: Sequence[ArrayType], fill: float = math.nan, *,
              attributes: Mapping[str, Any] | None = None) -> tuple[Wire, ...]:
        """A node as it is; an equal one that a rule asks for later is this one, if its attributes are known."""
        self.records.append(record)
        wires = tuple(Wire(self, record, i, type_, fill) for i, type_ in enumerate(types))
        for wire in wires:
            self._templates.setdefault(wire.type, wire)
        if attributes is not None:
            given = self._given(self.gates[record.gate], attributes)
            self._made.setdefault(self._key(record.gate, tuple(record.operands.values()), given), wires)
        return wires

    def emit(self, gate: str, *operands: Any, **attributes: Any) -> Any:
        """The output of a gate, or a tuple of them where it has several; numbers among the operands become constants.

        Raises:
            ShapeError: the operands do not fit, as for named dimensions that the gate needs to know.
        """
        row = self.gates[gate]
        wires = self._as_wires(operands)
        if gate in _TEMPLATES:
            wires = (*wires[:-1], self._templates[wires[-1].type])
        known = dict(row.attributes.model_validate(attributes)) if row.attributes.model_fields else {}
        types = row.shape(*(wire.type for wire in wires), **known)
        if isinstance(types, ArrayType):
            for simpler in (self._folded(row, wires, known, types), simplified(self, gate, wires, known, types)):
                if simpler is not None:
                    return simpler
        given = self._given(row, known)
        key = self._key(gate, wires, given)
        if key not in self._made:
            outputs = row.output_names(known)
            record = Record(gate, dict(enumerate(wires)), given, outputs, self.stage, notes=self.notes)
            self._made[key] = self.write(record, [types] if isinstance(types, ArrayType) else types,
                                         fill_of(gate, wires))
        made = self._made[key]
        return made if made[0].record.outputs else made[0]

    def call(self, record: Record, types: Sequence[ArrayType]) -> tuple[Wire, ...]:
        """The application of a subcircuit; the same one is not written twice."""
        key = self._key(record.gate, tuple(record.operands.values()), {**record.attributes, "": list(record.operands)})
        if key not in self._made:
            self._made[key] = self.write(record, types)
        return self._made[key]

    def know(self, wire: Wire) -> None:
        """Use a scalar constant wherever a rule asks for its number."""
        if not (wire.shape or math.isnan(wire.fill)):
            self._made.setdefault(self._number(wire.fill, wire.dtype), (wire,))

    @staticmethod
    def _number(value: Any, dtype: str) -> Any:
        return "constant", dtype, repr(np.asarray(value, dtype)[()])

    def constant(self, value: Any, dtype: str) -> Wire:
        """A number."""
        key = self._number(value, dtype)
        if key not in self._made:
            number = np.asarray(value, dtype)[()].item()
            attributes: dict[str, Any] = {"value": _as_json(number)}
            if dtype not in (self.dtype, "bool"):
                attributes["dtype"] = dtype
            record = Record("constant", {}, attributes, stage=_NUMBERS.get(number, "c") if dtype != "bool" else "c")
            self._made[key] = self.write(record, [ArrayType((), dtype)], float(number))
        return self._made[key][0]

    def _as_wires(self, operands: Sequence[Any]) -> tuple[Wire, ...]:
        """Numbers take the dtype of the wires beside them."""
        dtypes = [x.dtype for x in operands if isinstance(x, Wire)]
        dtype = next((dtype for dtype in dtypes if dtype != "bool"), self.dtype)
        return tuple(x if isinstance(x, Wire) else self.constant(x, "bool" if isinstance(x, bool) else dtype)
                     for x in operands)

    def _folded(self, row: Gate, wires: Sequence[Wire], attributes: Mapping[str, Any], type_: ArrayType) -> Wire | None:
        """The constant that a gate of constants is."""
        if type_.shape or any(wire.shape or math.isnan(wire.fill) for wire in wires):
            return None
        with np.errstate(all="ignore"):
            value = row.forward(np, *(np.asarray(wire.fill, wire.dtype) for wire in wires), **attributes)
        return None if np.isnan(value) else self.constant(value, type_.dtype)

    @staticmethod
    def _given(row: Gate, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """What a document must say: the attributes that are not at their defaults."""
        return {name: value for name, value in attributes.items()
                if name not in row.defaults or value != row.defaults[name]}

    @staticmethod
    def _key(gate: str, wires: Sequence[Wire], attributes: Mapping[str, Any]) -> Any:
        operands = tuple((id(wire.record), wire.position) for wire in wires)
        return gate, operands, json.dumps(attributes, sort_keys=True, default=str)


def _as_json(number: Any) -> Any:
    """A number as a person would write it in a document."""
    if isinstance(number, bool | int):
        return number
    if not math.isfinite(number):
        return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
    whole = number.is_integer() and abs(number) < 2**53 and (number or math.copysign(1, number) > 0)
    return int(number) if whole else number
