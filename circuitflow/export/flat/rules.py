"""The rules of all lines."""

from __future__ import annotations

from circuitflow.export.flat.elements import ELEMENTS
from circuitflow.export.flat.linear import LINEAR
from circuitflow.export.flat.lowering import Rules
from circuitflow.export.flat.reductions import REDUCTIONS
from circuitflow.export.flat.shapes import SHAPES
from circuitflow.export.flat.units import UNITS
from circuitflow.export.flat.writing import WRITING

RULES: Rules = {**ELEMENTS, **REDUCTIONS, **SHAPES, **LINEAR, **WRITING, **UNITS}
