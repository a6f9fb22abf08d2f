"""A circuit as a C file with its value and its gradients."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from circuitflow.arguments import checked
from circuitflow.errors import InputError
from circuitflow.export.c.file import CFile
from circuitflow.export.c.names import CNames, identifier
from circuitflow.export.c.steps import STEPS
from circuitflow.export.flat.functions import Builder, Function
from circuitflow.export.flat.identifiers import LONGEST
from circuitflow.export.flat.lowered import lower
from circuitflow.export.flat.vectors import vectors
from circuitflow.graph.circuit import Circuit
from circuitflow.graph.collector import collector_paused
from circuitflow.interpreter.question import References
from circuitflow.text import printable


@checked
def to_c(circuit: Circuit, of: References = None, wrt: References = None, *,
         inputs: Mapping[str, Any] | None = None, upstream: Mapping[str, Any] | None = None,
         name: str | None = None, dtype: str | None = None, tests: bool = False,
         step: str | None = None) -> str:
    """A C99 header with functions of the value and of value and gradients, which a compiler of C++ takes as well.

    It needs nothing but `math.h`: no dynamic memory, no globals, no recursion. Parameters, inputs, outputs and
    gradients are structs; where intermediate results do not fit into local variables, the caller provides a struct for
    them. Members and variables keep the ids of the document. Named dimensions have the sizes of the defaults.

    Args:
        circuit: the circuit.
        of: the outputs to compute and differentiate; all of the document's by default.
        wrt: the nodes to differentiate by, none for `()`; all floating-point inputs and parameters by default.
        inputs: defaults of the arguments, by id, in place of the document's.
        upstream: likewise of the upstream gradients, by output.
        name: what the names of the file begin with; the document's name by default.
        dtype: float64 or float32 for all floats; by default they are as in the document.
        tests: whether the file has a `main` that compares the functions with numbers of the interpreter.
        step: sgd or adam, for a function that moves the parameters against their gradients once.

    Raises:
        InputError: an unknown reference, a named dimension without a size, or a gate that cannot be written down.
    """
    return export(circuit, of, wrt, inputs=inputs, upstream=upstream, name=name, dtype=dtype, tests=tests,
                  step=step).header


class Exported(NamedTuple):
    """An exported circuit.

    Attributes:
        header: the text of the header.
        source: the text of the file of functions; "" where they stand in the header.
        file: its names and its workspace.
        builder: its parameters, inputs and refusals.
        functions: its functions.
    """

    header: str
    source: str
    file: CFile
    builder: Builder
    functions: Sequence[Function]


@collector_paused()
def export(circuit: Circuit, of: References = None, wrt: References = None, *,
           inputs: Mapping[str, Any] | None = None, upstream: Mapping[str, Any] | None = None,
           name: str | None = None, dtype: str | None = None, tests: bool = False,
           step: str | None = None, header: str | None = None) -> Exported:
    """As `to_c`: a header, and where `header` is its name, the file of functions that includes it."""
    if header is not None and not re.fullmatch(r"[\w.+-]+", header, re.ASCII):
        raise InputError(f"'{printable(header, 100)}' cannot stand in an #include; choose a name of letters, digits, "
                         "'.', '+', '-' and '_'")
    if step is not None and step not in STEPS:
        raise InputError(f"step '{printable(step, 40)}' is not written; expected one of {', '.join(STEPS)}")
    document = circuit.document
    file = CFile(identifier((name or document.name or "circuit")[:LONGEST]).rstrip("_"),
                 [document.name or "", document.description or ""])
    low = lower(file.language, partial(CNames, file.prefix), circuit, of, wrt, inputs, upstream, dtype)
    cases = list(vectors(low.derived, low.builder, low.inputs, low.upstream)) if tests else None
    texts = file.texts(low.builder, low.functions, cases, step, header=header)
    return Exported(*texts, file, low.builder, low.functions)
