"""The gates: one table, put together in plain sight from a file per family."""

from __future__ import annotations

from typing import Any, NoReturn

from circuitflow.gates.activations import ACTIVATIONS
from circuitflow.gates.arithmetic import ARITHMETIC
from circuitflow.gates.convolution import CONVOLUTION
from circuitflow.gates.decompositions import DECOMPOSITIONS
from circuitflow.gates.exponential import EXPONENTIAL
from circuitflow.gates.indexing import INDEXING
from circuitflow.gates.layout import SHAPES, TYPES
from circuitflow.gates.logic import LOGIC
from circuitflow.gates.losses import LOSSES
from circuitflow.gates.neural import NEURAL
from circuitflow.gates.normalization import NORMALIZATION
from circuitflow.gates.parts import PARTS
from circuitflow.gates.pools import POOLS
from circuitflow.gates.products import PRODUCTS
from circuitflow.gates.record import Gate, GateTable
from circuitflow.gates.reductions import REDUCTIONS
from circuitflow.gates.running import RUNNING
from circuitflow.gates.square import SQUARE
from circuitflow.gates.trigonometric import TRIGONOMETRIC

FAMILIES: dict[str, GateTable] = {
    "arithmetic": ARITHMETIC,
    "exponential": EXPONENTIAL,
    "trigonometric": TRIGONOMETRIC,
    "activations": ACTIVATIONS,
    "logic": LOGIC,
    "reductions": REDUCTIONS,
    "running": RUNNING,
    "linear": {**PRODUCTS, **SQUARE, **DECOMPOSITIONS},
    "layout": {**SHAPES, **PARTS, **TYPES},
    "indexing": INDEXING,
    "convolution": {**CONVOLUTION, **POOLS},
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

IDENTITY = "identity"
"""The gate that stands for an input of a call, and that gives a value another name."""
