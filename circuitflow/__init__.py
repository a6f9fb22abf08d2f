"""Differentiable computations as documents.

    import circuitflow as cf

    circuit = cf.load("circuits/product.json")
    result = cf.Executor(circuit).run({"x": -2.0})
    result.outputs["f"], result.values["q"], result.gradients["x"], result.contribution("q", "f")
"""

from circuitflow.document.model import Document
from circuitflow.errors import CircuitflowError, DocumentError, Fault, GateError, InputError, MissingExtraError
from circuitflow.executor.executor import Executor
from circuitflow.executor.result import Contribution, NonFinite, Result
from circuitflow.gates import GATES, ArrayType, AtLeast, Attributes, Gate, Reads, ShapeError
from circuitflow.graph.circuit import Circuit, dumps, load, loads

__all__ = [
    "GATES",
    "ArrayType",
    "AtLeast",
    "Attributes",
    "Circuit",
    "CircuitflowError",
    "Contribution",
    "Document",
    "DocumentError",
    "Executor",
    "Fault",
    "Gate",
    "GateError",
    "InputError",
    "MissingExtraError",
    "NonFinite",
    "Reads",
    "Result",
    "ShapeError",
    "dumps",
    "load",
    "loads",
]
__version__ = "0.1.0"
