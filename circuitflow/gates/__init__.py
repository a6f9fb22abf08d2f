"""The gates: one table, put together in plain sight from a file per family."""

from circuitflow.gates.names import of_elements, suggestion
from circuitflow.gates.record import AtLeast, Attributes, Facets, Gate, GateTable, Note, Reads
from circuitflow.gates.shapes import ArrayType, ShapeError, Size
from circuitflow.gates.table import FAMILIES, GATES, IDENTITY

__all__ = ["FAMILIES", "GATES", "IDENTITY", "ArrayType", "AtLeast", "Attributes", "Facets", "Gate", "GateTable", "Note",
           "Reads", "ShapeError", "Size", "of_elements", "suggestion"]
