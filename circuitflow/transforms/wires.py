"""Symbolic values. A backward rule applied to them records the nodes it computes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from circuitflow.gates import ArrayType
from circuitflow.gates.operators import BINARY, COMPARISON, PREFIXES, UNARY
from circuitflow.gates.shapes import Shape
from circuitflow.interpreter.masked import Masked

if TYPE_CHECKING:
    from circuitflow.transforms.writer import Writer


@dataclass(eq=False, slots=True)
class Record:
    """A node under construction.

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
        """How a document refers to it."""
        outputs = self.record.outputs
        return f"{self.record.name}.{outputs[self.position]}" if outputs else str(self.record.name)

    def __bool__(self) -> bool:
        raise TypeError("a backward rule must not branch on a value; select with op.where")

    __hash__ = None  # type: ignore[assignment]

    if TYPE_CHECKING:  # the rest of the operators is known to rules only
        def __add__(self, other: Wire) -> Wire: ...
        def __mul__(self, other: Wire) -> Wire: ...
        def __neg__(self) -> Wire: ...


def _operator(gate: str, *, swapped: bool = False) -> Callable[..., Wire]:
    def apply(self: Wire, *others: Any) -> Any:
        if others and isinstance(others[0], Masked):  # which knows how to be multiplied
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
