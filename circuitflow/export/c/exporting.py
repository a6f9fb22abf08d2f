"""A circuit as a C file with its value and its gradients."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from circuitflow.arguments import checked
from circuitflow.engines.staged.derived import Derived
from circuitflow.errors import InputError
from circuitflow.export.c.file import CFile
from circuitflow.export.c.language import TYPES
from circuitflow.export.c.names import CNames, identifier
from circuitflow.export.c.vectors import vectors
from circuitflow.export.flat.functions import Builder, Function
from circuitflow.export.flat.rules import RULES
from circuitflow.export.signature import Signature, dimensions
from circuitflow.graph.circuit import Circuit
from circuitflow.graph.collector import collector_paused
from circuitflow.interpreter.interpreter import Interpreter
from circuitflow.interpreter.question import Question, References
from circuitflow.text import number, printable

DTYPES = ("float64", "float32")


@checked
def to_c(circuit: Circuit, of: References = None, wrt: References = None, *,
         inputs: Mapping[str, Any] | None = None, upstream: Mapping[str, Any] | None = None,
         name: str | None = None, dtype: str | None = None, tests: bool = False) -> str:
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

    Raises:
        InputError: an unknown reference, a named dimension without a size, or a gate that cannot be written down.
    """
    return export(circuit, of, wrt, inputs=inputs, upstream=upstream, name=name, dtype=dtype, tests=tests).header


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
           header: str | None = None) -> Exported:
    """As `to_c`: a header, and where `header` is its name, the file of functions that includes it."""
    if dtype is not None and dtype not in DTYPES:
        raise InputError(f"dtype '{printable(dtype, 40)}' is not written; expected one of {', '.join(DTYPES)}")
    question = Question(Interpreter(circuit), of, wrt)
    inputs, upstream = question.arguments(inputs, upstream, {})
    derived = Derived(question)
    if not derived.takes(upstream):
        derived = Derived(question, seeded=True)
    signature = Signature(derived, inputs, upstream)
    document = circuit.document
    prefix = identifier(name or document.name or "circuit").rstrip("_")
    if header is not None and not re.fullmatch(r"[\w.+-]+", header, re.ASCII):
        raise InputError(f"'{printable(header, 100)}' cannot stand in an #include; choose a name of letters, digits, "
                         "'.', '+', '-' and '_'")
    file = CFile(prefix, [document.name or "", document.description or ""])
    builder = Builder(file.language, RULES, _convert(dtype), CNames)
    references = {id_: reference for reference, id_ in (*derived.inputs.items(), *(
        (f"d{text}", id_) for text, id_ in derived.upstream.items()))}
    kinds = {id_: circuit.nodes[reference].kind for reference, id_ in derived.inputs.items()}
    for argument in signature.arguments(CNames(), as_numbers=True):
        if argument.type.dtype not in TYPES and dtype is None:
            raise InputError(f"'{printable(references[argument.id], 60)}' is {argument.type.dtype}, which C does not "
                             "have; choose --dtype float32 or float64")
        missing = [size for size in dimensions(derived.type_of(argument.id).shape) if size not in signature.sizes]
        if missing:
            raise InputError(f"dimension '{missing[0]}' has no size, and C needs one; give a value to an input that "
                             "has it (--set)")
        builder.add(argument, kinds.get(argument.id, "input"), references[argument.id])
    values = builder.struct("outputs")
    primal = Derived(Question(question.interpreter, question.of, ())) if derived.gradients else derived
    arrays = {primal.inputs[reference]: signature.arrays[id_] for reference, id_ in derived.inputs.items()
              if primal.inputs[reference] in primal.plan.sources}
    ids = {primal.inputs[reference]: id_ for reference, id_ in derived.inputs.items()}
    functions = [builder.function("value", primal, arrays, ids, {"values": values})]
    if derived.gradients:
        functions.append(builder.function("value_and_grad", derived, signature.arrays,
                                          {id_: id_ for id_ in references},
                                          {"values": values, "gradients": builder.struct("gradients")}))
    cases = list(vectors(derived, builder, inputs, upstream)) if tests else None
    return Exported(*file.texts(builder, functions, cases, header=header), file, builder, functions)


def _convert(dtype: str | None) -> Any:
    """Gives arrays of floats a dtype. The largest number of a dtype, and the smallest normal one, become those of it.

    Rules of gradients compare with them, so that nothing overflows.
    """
    def convert(array: Any) -> Any:
        array = np.asarray(array)
        if dtype is None or array.dtype.kind != "f" or array.dtype == dtype:
            return array
        old, new = np.finfo(array.dtype), np.finfo(dtype)
        with np.errstate(all="ignore"):
            out = array.astype(dtype)
            for limit in ("max", "smallest_normal"):
                is_limit = np.abs(array) == getattr(old, limit)
                out = np.where(is_limit, np.copysign(getattr(new, limit), array), out).astype(dtype)
        if np.any(np.isinf(out) & np.isfinite(array)):
            raise InputError(f"{number(array[np.isinf(out) & np.isfinite(array)].flat[0])} does not fit {dtype}; "
                             "choose another --dtype")
        return out

    return convert
