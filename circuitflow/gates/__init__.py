"""The gates: one table, put together in plain sight from a file per family."""

from __future__ import annotations

from typing import Any, NoReturn

from circuitflow.gates.activations import ACTIVATIONS
from circuitflow.gates.arithmetic import ARITHMETIC
from circuitflow.gates.convolution import CONVOLUTION
from circuitflow.gates.exponential import EXPONENTIAL
from circuitflow.gates.indexing import INDEXING
from circuitflow.gates.layout import LAYOUT
from circuitflow.gates.linear import LINEAR
from circuitflow.gates.logic import LOGIC
from circuitflow.gates.losses import LOSSES
from circuitflow.gates.names import of_elements, suggestion
from circuitflow.gates.neural import NEURAL
from circuitflow.gates.normalization import NORMALIZATION
from circuitflow.gates.notes import NOTES, Note
from circuitflow.gates.record import AtLeast, Attributes, Facets, Gate, GateTable, Reads
from circuitflow.gates.reductions import REDUCTIONS
from circuitflow.gates.running import RUNNING
from circuitflow.gates.shapes import ArrayType, ShapeError, Size
from circuitflow.gates.trigonometric import TRIGONOMETRIC

__all__ = ["FAMILIES", "GATES", "NOTES", "ArrayType", "AtLeast", "Attributes", "Facets", "Gate", "GateTable", "Note",
           "Reads", "ShapeError", "Size", "of_elements", "suggestion"]

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



class _BuiltIn(dict[str, Gate]):
    """The built-in rows: nothing changes them, and in help and errors they are one word."""

    def __repr__(self) -> str:
        return "GATES"

    def __reduce__(self) -> str:
        return "GATES"

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("the built-in gates stay as they are; make a table of your own: {**GATES, \"cube\": Gate(…)}")

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse


GATES: GateTable = _BuiltIn({name: gate for family in FAMILIES.values() for name, gate in family.items()})
"""Every gate that comes with circuitflow. For a table with one of your own: `{**GATES, "cube": Gate(…)}`."""
