"""The gates: one table, put together in plain sight from a file per family."""

from __future__ import annotations

from types import MappingProxyType

from circuitflow.gates.activations import ACTIVATIONS
from circuitflow.gates.arithmetic import ARITHMETIC
from circuitflow.gates.convolution import CONVOLUTION
from circuitflow.gates.exponential import EXPONENTIAL
from circuitflow.gates.indexing import INDEXING
from circuitflow.gates.layout import LAYOUT
from circuitflow.gates.linear import LINEAR
from circuitflow.gates.logic import LOGIC
from circuitflow.gates.losses import LOSSES
from circuitflow.gates.names import suggestion
from circuitflow.gates.neural import NEURAL
from circuitflow.gates.normalization import NORMALIZATION
from circuitflow.gates.notes import NOTES, Note
from circuitflow.gates.record import AtLeast, Attributes, Facets, Gate, GateTable, Reads
from circuitflow.gates.reductions import REDUCTIONS
from circuitflow.gates.running import RUNNING
from circuitflow.gates.shapes import ArrayType, ShapeError, Size
from circuitflow.gates.trigonometric import TRIGONOMETRIC

__all__ = ["FAMILIES", "GATES", "NOTES", "ArrayType", "AtLeast", "Attributes", "Facets", "Gate", "GateTable", "Note",
           "Reads", "ShapeError", "Size", "suggestion"]

FAMILIES: dict[str, GateTable] = {
    "arithmetic": ARITHMETIC,
    "exponential": EXPONENTIAL,
    "trigonometric": TRIGONOMETRIC,
    "activations": ACTIVATIONS,
    "logic": LOGIC,
    "reductions": REDUCTIONS,
    "running": RUNNING,
    "linear": LINEAR,
    "layout": LAYOUT,
    "indexing": INDEXING,
    "convolution": CONVOLUTION,
    "normalization": NORMALIZATION,
    "neural": NEURAL,
    "losses": LOSSES,
}

GATES: GateTable = MappingProxyType({name: gate for family in FAMILIES.values() for name, gate in family.items()})
"""Every gate that comes with circuitflow. For a table with one of your own: `{**GATES, "cube": Gate(…)}`."""
