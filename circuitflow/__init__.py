"""Differentiable computations as documents.

    import circuitflow as cf

    circuit = cf.load("circuits/product.json")
    result = cf.Executor(circuit).run({"x": -2.0})
    result.outputs["f"], result.values["q"], result.gradients["x"], result.contribution("q", "f")

README.md and docs/ tell the rest.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from circuitflow.authoring.builder import Builder, build
    from circuitflow.authoring.expression import new
    from circuitflow.authoring.tracing import trace
    from circuitflow.document.limits import Limits
    from circuitflow.document.model import Document
    from circuitflow.engines.thresholds import Thresholds
    from circuitflow.errors import (
        CircuitflowError,
        DocumentError,
        Fault,
        GateError,
        InputError,
        MissingExtraError,
        UnknownNameError,
        VerificationError,
    )
    from circuitflow.executor import Executor, native
    from circuitflow.explanations.differences import Difference, diff
    from circuitflow.explanations.forms import explain
    from circuitflow.export.c.exporting import to_c
    from circuitflow.export.javascript.exporting import to_javascript
    from circuitflow.export.python import to_python
    from circuitflow.fitting.fit import fit
    from circuitflow.fitting.result import FitResult
    from circuitflow.gates import GATES, ArrayType, AtLeast, Attributes, Facets, Gate, Reads, ShapeError
    from circuitflow.graph.circuit import Circuit, dumps, load, loads
    from circuitflow.interpreter.check import check
    from circuitflow.interpreter.contribution import Contribution
    from circuitflow.interpreter.result import NonFinite, Result
    from circuitflow.interpreter.why import Diagnosis
    from circuitflow.pictures.drawing import draw
    from circuitflow.pictures.widget import widget
    from circuitflow.rows.folders import map_files
    from circuitflow.rows.mapping import map_batches
    from circuitflow.transforms.derivatives import gradient, hessian, hvp, jacobian, jvp, vjp

__all__ = [
    "GATES",
    "ArrayType",
    "AtLeast",
    "Attributes",
    "Builder",
    "Circuit",
    "CircuitflowError",
    "Contribution",
    "Diagnosis",
    "Difference",
    "Document",
    "DocumentError",
    "Executor",
    "Facets",
    "Fault",
    "FitResult",
    "Gate",
    "GateError",
    "InputError",
    "Limits",
    "MissingExtraError",
    "NonFinite",
    "Reads",
    "Result",
    "ShapeError",
    "Thresholds",
    "UnknownNameError",
    "VerificationError",
    "build",
    "check",
    "diff",
    "draw",
    "dumps",
    "explain",
    "fit",
    "gradient",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "load",
    "loads",
    "map_batches",
    "map_files",
    "native",
    "new",
    "to_c",
    "to_javascript",
    "to_python",
    "trace",
    "vjp",
    "widget",
]

__version__ = "0.1.0"

# What the package offers, by module: imported when first used, so that `circuitflow --help` need not wait for it.
_EXPORTS = {
    "circuitflow.authoring.builder": ("Builder", "build"),
    "circuitflow.authoring.expression": ("new",),
    "circuitflow.authoring.tracing": ("trace",),
    "circuitflow.document.limits": ("Limits",),
    "circuitflow.document.model": ("Document",),
    "circuitflow.errors": ("CircuitflowError", "DocumentError", "Fault", "GateError", "InputError",
                           "MissingExtraError", "UnknownNameError", "VerificationError"),
    "circuitflow.interpreter.check": ("check",),
    "circuitflow.executor": ("Executor", "native"),
    "circuitflow.export.c.exporting": ("to_c",),
    "circuitflow.export.javascript.exporting": ("to_javascript",),
    "circuitflow.export.python": ("to_python",),
    "circuitflow.fitting.fit": ("fit",),
    "circuitflow.fitting.result": ("FitResult",),
    "circuitflow.engines.thresholds": ("Thresholds",),
    "circuitflow.interpreter.contribution": ("Contribution",),
    "circuitflow.interpreter.result": ("NonFinite", "Result"),
    "circuitflow.interpreter.why": ("Diagnosis",),
    "circuitflow.explanations.differences": ("Difference", "diff"),
    "circuitflow.explanations.forms": ("explain",),
    "circuitflow.gates": ("GATES", "ArrayType", "AtLeast", "Attributes", "Facets", "Gate", "Reads", "ShapeError"),
    "circuitflow.graph.circuit": ("Circuit", "dumps", "load", "loads"),
    "circuitflow.pictures.drawing": ("draw",),
    "circuitflow.pictures.widget": ("widget",),
    "circuitflow.rows.folders": ("map_files",),
    "circuitflow.rows.mapping": ("map_batches",),
    "circuitflow.transforms.derivatives": ("gradient", "hessian", "hvp", "jacobian", "jvp", "vjp"),
}
_MODULES = {name: module for module, names in _EXPORTS.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'circuitflow' has no attribute '{name}'")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]


if "IPython" in sys.modules and (_shell := sys.modules["IPython"].get_ipython()) is not None:
    import_module("circuitflow.pictures.notebook").register(_shell)
