"""A body under construction: symbolic values, and the writer that records the nodes which backward rules compute."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from circuitflow.document.writing import tidy
from circuitflow.errors import InputError
from circuitflow.gates import GATES, ArrayType, Gate, GateTable
from circuitflow.gates.operators import BINARY, COMPARISON, PREFIXES, UNARY
from circuitflow.gates.shapes import Shape
from circuitflow.interpreter.masked import Masked

_NUMBERS = {0.0: "zero", 1.0: "one", 2.0: "two", 3.0: "three", 0.5: "half", -1.0: "minus_one"}
"""Names of constants, by value."""


@dataclass(eq=False, slots=True)
class Record:
    """A node of a document under construction: rules write it before it has a name.

    Attributes:
        gate: a gate, or "input", "parameter", "constant", "call".
        operands: what the ports read, by port.
        attributes: what else stands in the node, as a document has it.
        outputs: names of the outputs where there are several.
        stage: the node of the primal that it comes from, for its name.
        name: its id; chosen at the end where it is None.
        notes: its free text: label, description, metadata.
    """

    gate: str
    operands: Mapping[Any, Wire]
    attributes: Mapping[str, Any]
    outputs: tuple[str, ...] = ()
    stage: str = ""
    name: str | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


class Wire:
    """One output of a node: a shape and a dtype, but no value.

    Attributes:
        record: the node.
        position: which of its outputs.
        shape, dtype: what is known of it.
        fill: the number that all of its elements are, where that is known; else NaN.
        order: how many wires of the writer are older.
    """

    __slots__ = ("_writer", "dtype", "fill", "ndim", "order", "position", "record", "shape")

    def __init__(self, writer: Writer, record: Record, position: int, type_: ArrayType,
                 fill: float = math.nan) -> None:
        self._writer, self.record, self.position, self.fill = writer, record, position, fill
        self.shape: Shape = type_.shape
        self.dtype, self.ndim = type_.dtype, len(type_.shape)
        self.order = next(writer.numbers)

    @property
    def type(self) -> ArrayType:
        """Shape and dtype."""
        return ArrayType(self.shape, self.dtype)

    @property
    def reference(self) -> str:
        """The reference to it in a document."""
        outputs = self.record.outputs
        return f"{self.record.name}.{outputs[self.position]}" if outputs else str(self.record.name)

    def __bool__(self) -> bool:
        raise TypeError("a backward rule must not branch on a value; select with op.where")

    __hash__ = None  # type: ignore[assignment]

    if TYPE_CHECKING:  # the rest of the operators is known to rules only
        def __add__(self, other: Wire) -> Wire: ...
        def __mul__(self, other: Wire) -> Wire: ...
        def __neg__(self) -> Wire: ...


class Writer:
    """Writes the nodes of one body before they have names; as `op` it is the vocabulary of backward rules.

    It shares common subexpressions and simplifies as it writes.
    """

    wire: type[Wire] = Wire

    def __init__(self, gates: GateTable, dtype: str) -> None:
        self.gates, self.dtype = gates, dtype
        self.records: list[Record] = []
        self.notes: Mapping[str, Any] = {}
        self.carries: Mapping[str, Mapping[str, Wire]] = {}
        self.stage = ""
        self.numbers = itertools.count()
        self._results: dict[Any, tuple[Wire, ...]] = {}
        self._ancestors: dict[ArrayType, dict[Record, Wire | None]] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or (name not in self.gates and name not in GATES):
            raise AttributeError(f"there is no gate '{name}' in the table")
        return lambda *operands, **attributes: self.emit(name, *operands, **attributes)

    def write(self, record: Record, types: Sequence[ArrayType], fill: float = math.nan, *,
              attributes: Mapping[str, Any] | None = None) -> tuple[Wire, ...]:
        """Write a node without simplifying; if its attributes are known, a rule that needs an equal node gets this."""
        self.records.append(record)
        wires = tuple(self.wire(self, record, i, type_, fill) for i, type_ in enumerate(types))
        if attributes is not None:
            changes = self._changes(self.gates[record.gate], attributes)
            self._results.setdefault(self._key(record.gate, tuple(record.operands.values()), changes), wires)
        return wires

    def row(self, gate: str) -> Gate:
        """The row of a gate that a derivative is written with; a rule means the built-in gate where there is one.

        It is an `InputError` if the table has another row of this name, as a document cannot say that.

        Raises:
            InputError: a document cannot say that, because the table has another row of this name.
        """
        row, built_in = self.gates.get(gate), GATES.get(gate)
        if row is not None and (built_in is None or row is built_in or row.facets is built_in.facets):
            return row
        where = f"the gradient of node '{self.stage}'" if self.stage else "the derivative"
        raise InputError(f"{where} needs the built-in gate '{gate}', and the table of gates has "
                         + ("none of that name; begin the table with GATES" if row is None else
                            "a row of its own of that name; give that gate another name, or let it state the facets "
                            "of the built-in gate if it computes the same"))

    def emit(self, gate: str, *operands: Any, **attributes: Any) -> Any:
        """The output of a gate, or a tuple of them where it has several; numbers among the operands become constants.

        Raises:
            InputError: the table has another row under the name of a built-in gate.
            ShapeError: the operands do not fit, as for named dimensions that the gate needs to know.
        """
        row = self.row(gate)
        wires = self._as_wires(operands)
        if row.facets.reads_type:
            wires = (*wires[:-1], self.oldest(wires[-1]))
        settings = dict(row.attributes.model_validate(attributes)) if row.attributes.model_fields else {}
        types = row.shape(*(wire.type for wire in wires), **settings)
        if isinstance(types, ArrayType):
            for simpler in self._simpler(gate, row, wires, settings, types):
                if simpler is not None and simpler.type == types:
                    return simpler
        changes = self._changes(row, settings)
        key = self._key(gate, wires, changes)
        if key not in self._results:
            outputs = row.output_names(settings)
            record = Record(gate, dict(enumerate(wires)), changes, outputs, self.stage, notes=self.notes)
            fill = row.facets.fill(wires[0].fill) if row.facets.fill is not None else math.nan
            self._results[key] = self.write(record, [types] if isinstance(types, ArrayType) else types, fill)
        results = self._results[key]
        return results if results[0].record.outputs else results[0]

    def apply(self, gate: str, operands: Mapping[str, Wire], attributes: Mapping[str, Any], outputs: tuple[str, ...],
              types: Sequence[ArrayType]) -> tuple[Wire, ...]:
        """Apply subcircuits; an equal application is shared."""
        key = self._key(gate, tuple(operands.values()), {**attributes, "": list(operands)})
        if key not in self._results:
            record = Record(gate, operands, attributes, outputs if len(outputs) > 1 else (), self.stage,
                            notes=self.notes)
            self._results[key] = self.write(record, types)
        return self._results[key]

    def closure(self, write: Callable[[], Sequence[Wire]],
                seed: Wire) -> tuple[list[Record], list[Wire], dict[str, Wire]]:
        """Move the nodes that depend on an input, the seed, into a body of their own.

        `write` writes records that begin with the input, and gives what comes of them. The results are the records,
        beginning with their inputs; what comes of them; and what the inputs other than the seed stand for here, by
        name. What does not depend on the seed stays here.
        """
        before, start = dict(self._results), len(self.records)
        results = write()
        depends = {id(seed.record)}
        for record in self.records[start:]:
            if any(id(wire.record) in depends for wire in record.operands.values()):
                depends.add(id(record))
        inside = [record for record in self.records if id(record) in depends and record is not seed.record]
        self.records = [record for record in self.records if id(record) not in depends]
        self._results = {key: wires for key, wires in self._results.items()
                      if key in before or id(wires[0].record) not in depends}
        ports: dict[tuple[int, int], Wire] = {}
        captures: dict[str, Wire] = {}

        def inner(wire: Wire) -> Wire:
            if id(wire.record) in depends:
                return wire
            key = id(wire.record), wire.position
            if key not in ports:
                name = f"given_{len(captures)}"
                ports[key] = Wire(self, Record("input", {}, {}, name=name), 0, wire.type)
                captures[name] = wire
            return ports[key]

        for record in inside:
            record.operands = {port: inner(wire) for port, wire in record.operands.items()}
        results = [inner(wire) for wire in results]
        return [seed.record, *(port.record for port in ports.values()), *inside], list(results), captures

    def port(self, name: str, type_: ArrayType) -> Wire:
        """An input of a subcircuit, which takes its type from the application."""
        return self.write(Record("input", {}, {}, name=name), [type_])[0]

    def know(self, wire: Wire) -> None:
        """Use a scalar constant wherever a rule needs its number."""
        if not (wire.shape or math.isnan(wire.fill)):
            self._results.setdefault(self._number(wire.fill, wire.dtype), (wire,))

    @staticmethod
    def _number(value: Any, dtype: str) -> Any:
        return "constant", dtype, repr(np.asarray(value, dtype)[()])

    def constant(self, value: Any, dtype: str) -> Wire:
        """A number."""
        if dtype == "bfloat16":  # a document has no bfloat16
            wire: Wire = self.cast(self.constant(value, "float32"), dtype=dtype)
            return wire
        key = self._number(value, dtype)
        if key not in self._results:
            number = np.asarray(value, dtype)[()].item()
            attributes: dict[str, Any] = {"value": tidy(number)}
            if dtype not in (self.dtype, "bool"):
                attributes["dtype"] = dtype
            record = Record("constant", {}, attributes, stage=_NUMBERS.get(number, "c") if dtype != "bool" else "c")
            fill = float(number) if float(number) == number else math.nan  # a float may not hold an integer
            self._results[key] = self.write(record, [ArrayType((), dtype)], fill)
        return self._results[key][0]

    def _as_wires(self, operands: Sequence[Any]) -> tuple[Wire, ...]:
        """Numbers take the dtype of the wires beside them."""
        dtypes = [x.dtype for x in operands if isinstance(x, Wire)]
        dtype = next((dtype for dtype in dtypes if dtype != "bool"), self.dtype)
        return tuple(x if isinstance(x, Wire) else self.constant(x, "bool" if isinstance(x, bool) else dtype)
                     for x in operands)

    def oldest(self, wire: Wire) -> Wire:
        """The oldest wire of the same shape and dtype that a wire is computed from; itself where there is none.

        It stands in where only shape and dtype are read. As an ancestor it depends on nothing that the wire does not
        depend on. An output of a call does not depend on every operand, so the search ends there.
        """
        eldest = self._ancestors.setdefault(wire.type, {})
        pending = [wire.record]
        while pending:
            record = pending[-1]
            operands = record.operands.values() if record.gate != "call" else ()
            missing = {x.record: None for x in operands if x.record not in eldest}  # a call is read once, not by output
            pending += missing
            if not missing:
                pending.pop()
                fitting = [x for x in operands if x.type == wire.type]
                fitting += [older for x in operands if (older := eldest[x.record]) is not None]
                eldest[record] = min(fitting, key=lambda x: x.order, default=None)
        oldest = eldest[wire.record]
        return wire if oldest is None else oldest

    def _simpler(self, gate: str, row: Gate, wires: Sequence[Wire], attributes: Mapping[str, Any],
                 type_: ArrayType) -> Iterator[Wire | None]:
        """Algebraic simplifications: wires that have the value of a gate, if they have its shape and dtype.

        The facets of the gate's row say which apply. None changes the result: 0 · x stays, because it is not 0 for
        every x.
        """
        yield self._fold(row, wires, attributes, type_)
        facets = row.facets
        if facets.neutral is not None:
            rest = [x for x in wires if x.fill != facets.neutral]
            if len(rest) < 2:
                yield (rest or wires)[0]
            elif len(rest) < len(wires):
                yield self.emit(gate, *rest)
        if facets.last_neutral is not None and wires[-1].fill == facets.last_neutral:
            yield wires[0]
        if facets.undoes_itself and wires[0].record.gate == gate:
            yield next(iter(wires[0].record.operands.values()))
        if facets.keeps:
            yield wires[0]
        if facets.equal is not None:
            yield facets.equal(self, type_, *wires, **attributes)

    def _fold(self, row: Gate, wires: Sequence[Wire], attributes: Mapping[str, Any], type_: ArrayType) -> Wire | None:
        """The constant that a gate of constants is."""
        if type_.shape or any(wire.shape or math.isnan(wire.fill) for wire in wires):
            return None
        if "bfloat16" in (type_.dtype, *(wire.dtype for wire in wires)):  # NumPy has no bfloat16
            return None
        try:
            with np.errstate(all="ignore"):
                value = row.giving(type_).forward(np, *(np.asarray(wire.fill, wire.dtype) for wire in wires),
                                                  **attributes)
        except (ArithmeticError, ValueError):  # the gate refuses the values; the run says so
            return None
        return None if np.isnan(value) else self.constant(value, type_.dtype)

    @staticmethod
    def _changes(row: Gate, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """The attributes that differ from their defaults."""
        return {name: value for name, value in attributes.items()
                if name not in row.defaults or value != row.defaults[name]}

    @staticmethod
    def _key(gate: str, wires: Sequence[Wire], attributes: Mapping[str, Any]) -> Any:
        operands = tuple((id(wire.record), wire.position) for wire in wires)
        return gate, operands, json.dumps(attributes, sort_keys=True) if attributes else ""


def _operator(gate: str, *, swapped: bool = False) -> Callable[..., Wire]:
    def apply(self: Wire, *others: Any) -> Any:
        if others and isinstance(others[0], Masked):  # it has its own operators
            return NotImplemented
        operands = (self, *others)
        return self._writer.emit(gate, *(reversed(operands) if swapped else operands))

    return apply


for _gate, _method, _binding in (*BINARY.values(), *PREFIXES.values()):
    setattr(Wire, f"__{_method}__", _operator(_gate))
    if _binding not in (COMPARISON, UNARY):
        setattr(Wire, f"__r{_method}__", _operator(_gate, swapped=True))
setattr(Wire, "__abs__", _operator("abs"))  # noqa: B010
setattr(Wire, "__ne__", lambda self, other: ~(self == other))  # noqa: B010
