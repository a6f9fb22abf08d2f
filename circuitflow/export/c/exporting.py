"""A circuit as a C file with its value and its gradients."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from circuitflow.arguments import checked
from circuitflow.engines.c.file import CFile
from circuitflow.engines.c.names import CNames, identifier
from circuitflow.engines.flat.functions import Builder, Function
from circuitflow.engines.flat.identifiers import LONGEST
from circuitflow.engines.flat.lowered import Asked, lower
from circuitflow.engines.flat.vectors import tolerance_of, vectors
from circuitflow.errors import InputError
from circuitflow.export.c.main import main_of
from circuitflow.export.c.reader import reader
from circuitflow.export.c.steps import STEPS
from circuitflow.graph.circuit import Circuit
from circuitflow.graph.collector import collector_paused
from circuitflow.interpreter.question import References
from circuitflow.text import printable


@checked
def to_c(circuit: Circuit, of: References = None, wrt: References = None, *,
         inputs: Mapping[str, Any] | None = None, upstream: Mapping[str, Any] | None = None,
         name: str | None = None, dtype: str | None = None, tests: bool = False,
         step: str | None = None, jacobian: bool = False, hvp: bool = False,
         weights_beside: bool = False, on_stack: bool = False) -> str:
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
        jacobian: whether there is a function of the derivative of every output by every node.
        hvp: whether there is a function of the Hessian, of the sum of the outputs, times a vector.
        weights_beside: whether there is a function that reads the parameters from a safetensors file in memory, and
            their numbers are no constants.
        on_stack: whether functions have their workspace on the stack, and not from the caller.

    Raises:
        InputError: an unknown reference, a named dimension without a size, or a gate that cannot be written down.
    """
    return export(circuit, of, wrt, inputs=inputs, upstream=upstream, name=name, dtype=dtype, tests=tests,
                  step=step, jacobian=jacobian, hvp=hvp, weights_beside=weights_beside,
                  on_stack=on_stack).header


class Exported(NamedTuple):
    """An exported circuit.

    Attributes:
        header: the text of the header.
        source: the text of the file of functions; "" where they stand in the header.
        file: its names and its workspace.
        builder: its parameters, inputs and refusals.
        functions: its functions.
        weights: the numbers of the parameters that have some, by id.
    """

    header: str
    source: str
    file: CFile
    builder: Builder
    functions: Sequence[Function]
    weights: Mapping[str, Any]


@collector_paused()
def export(circuit: Circuit, of: References = None, wrt: References = None, *,
           inputs: Mapping[str, Any] | None = None, upstream: Mapping[str, Any] | None = None,
           name: str | None = None, dtype: str | None = None, tests: bool = False,
           step: str | None = None, jacobian: bool = False, hvp: bool = False, weights_beside: bool = False,
           on_stack: bool = False, header: str | None = None) -> Exported:
    """As `to_c`: a header, and where `header` is its name, the file of functions that includes it."""
    if header is not None and not re.fullmatch(r"[\w.+-]+", header, re.ASCII):
        raise InputError(f"'{printable(header, 100)}' cannot stand in an #include; choose a name of letters, digits, "
                         "'.', '+', '-' and '_'")
    if step is not None and step not in STEPS:
        raise InputError(f"step '{printable(step, 40)}' is not written; expected one of {', '.join(STEPS)}")
    document = circuit.document
    file = CFile(identifier((name or document.name or "circuit")[:LONGEST]).rstrip("_"),
                 [document.name or "", document.description or ""], header=header, on_stack=on_stack)
    low = lower(file.language, partial(CNames, file.prefix), Asked.of(circuit, of, wrt, inputs, upstream), dtype,
                more=["jacobian"] * jacobian + ["hvp"] * hvp)
    builder, functions = low.builder, low.functions
    weights = {member.reference: member.default for member in builder.parameters.members.values()
               if member.default is not None}
    if weights_beside:
        builder.parameters.members = {key: member._replace(default=None)
                                      for key, member in builder.parameters.members.items()}
    file.allot(functions)
    more = [STEPS[step](file.prefix, builder, functions, file.storage)] if step else []
    more += [reader(file.prefix, builder.parameters, file.storage)] if weights_beside else []
    main = main_of(file, builder, functions, list(vectors(low)), tolerance_of(low)) if tests else ""
    return Exported(*file.texts(builder, functions, more, main), file, builder, functions, weights)
