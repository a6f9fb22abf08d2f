"""The operators that need more than the row of a gate says: one table, put together from a file per family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from circuitflow.onnx.calls import Call
from circuitflow.onnx.operators.bits import BITS
from circuitflow.onnx.operators.elementwise import ELEMENTWISE
from circuitflow.onnx.operators.indexing import INDEXING
from circuitflow.onnx.operators.layout import LAYOUT
from circuitflow.onnx.operators.learning import DOMAIN, LEARNING
from circuitflow.onnx.operators.linear import LINEAR
from circuitflow.onnx.operators.normalization import NORMALIZATION
from circuitflow.onnx.operators.quantizing import QUANTIZING
from circuitflow.onnx.operators.recurrent import RECURRENT
from circuitflow.onnx.operators.reductions import REDUCTIONS
from circuitflow.onnx.operators.regions import REGIONS
from circuitflow.onnx.operators.resizing import RESIZING
from circuitflow.onnx.operators.sampling import SAMPLING
from circuitflow.onnx.operators.spectral import SPECTRAL
from circuitflow.onnx.operators.windows import WINDOWS

OPERATORS: Mapping[str, Callable[[Call], Any]] = {
    **ELEMENTWISE, **LAYOUT, **REDUCTIONS, **INDEXING, **WINDOWS, **NORMALIZATION, **LINEAR, **RECURRENT, **RESIZING,
    **QUANTIZING, **SPECTRAL, **SAMPLING, **REGIONS, **BITS,
}
"""Functions that write a node of an operator as gates. They give a wire, a value or a known array, or several."""

KNOWN = frozenset({*BITS, "NonZero", "Unique"})
"""Those that work on values known before a run alone."""

BY_DOMAIN: Mapping[str, Mapping[str, Callable[[Call], Any]]] = {"": OPERATORS, DOMAIN: LEARNING}
"""The same by domain and operator."""
