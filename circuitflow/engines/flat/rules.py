"""The rules of all lines."""

from __future__ import annotations

from circuitflow.engines.flat.elements import ELEMENTS
from circuitflow.engines.flat.linear import LINEAR
from circuitflow.engines.flat.lowering import Rules
from circuitflow.engines.flat.reductions import REDUCTIONS
from circuitflow.engines.flat.shapes import SHAPES
from circuitflow.engines.flat.units import UNITS
from circuitflow.engines.flat.writing import WRITING

RULES: Rules = {**ELEMENTS, **REDUCTIONS, **SHAPES, **LINEAR, **WRITING, **UNITS}
