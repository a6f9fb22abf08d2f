"""A circuit lowered: its functions, for a language."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from circuitflow.engines.staged.derived import Derived
from circuitflow.errors import InputError
from circuitflow.export.flat.functions import Builder, Function
from circuitflow.export.flat.language import Language, Unwritable
from circuitflow.export.flat.rules import RULES
from circuitflow.export.signature import Signature, dimensions
from circuitflow.graph.circuit import Circuit
from circuitflow.interpreter.interpreter import Interpreter
from circuitflow.interpreter.question import Question, References
from circuitflow.text import number, printable

DTYPES = ("float64", "float32")


class Lowered(NamedTuple):
    """A circuit lowered.

    Attributes:
        derived: the gradient circuit.
        builder: parameters, inputs, tables and refusals.
        functions: the value, and the value and gradients.
        inputs, upstream: the defaults that were given.
    """

    derived: Derived
    builder: Builder
    functions: Sequence[Function]
    inputs: Mapping[str, Any]
    upstream: Mapping[str, Any]


def lower(language: Language, new_names: Callable[[], Any], circuit: Circuit, of: References, wrt: References,
          inputs: Mapping[str, Any] | None, upstream: Mapping[str, Any] | None, dtype: str | None) -> Lowered:
    """Lower a circuit; arguments are those of `to_c`.

    Raises:
        InputError: an unknown reference, a named dimension without a size, or a gate that cannot be written down.
    """
    if dtype is not None and dtype not in DTYPES:
        raise InputError(f"dtype '{printable(dtype, 40)}' is not written; expected one of {', '.join(DTYPES)}")
    question = Question(Interpreter(circuit), of, wrt)
    inputs, upstream = question.arguments(inputs, upstream, {})
    derived = Derived.taking(question, upstream)
    signature = Signature(derived, inputs, upstream)
    builder = Builder(language, RULES, _convert(dtype), new_names)
    references = {id_: reference for reference, id_ in (*derived.inputs.items(), *(
        (f"d{text}", id_) for text, id_ in derived.upstream.items()))}
    kinds = {id_: circuit.nodes[reference].kind for reference, id_ in derived.inputs.items()}
    for argument in signature.arguments(new_names(), as_numbers=True):
        missing = [size for size in dimensions(derived.type_of(argument.id).shape) if size not in signature.sizes]
        if missing:
            raise InputError(f"dimension '{missing[0]}' has no size, and {language.title} needs one; give a value to "
                             "an input that has it (--set)")
        try:
            builder.add(argument, kinds.get(argument.id, "upstream"), references[argument.id])
        except Unwritable as error:
            raise InputError(f"'{printable(references[argument.id], 60)}' {error}; choose --dtype float32 or "
                             "float64") from None
    values = builder.struct("outputs")
    primal = Derived(Question(question.interpreter, question.of, ())) if derived.gradients else derived
    arrays = {primal.inputs[reference]: signature.arrays[id_] for reference, id_ in derived.inputs.items()
              if primal.inputs[reference] in primal.plan.sources}
    ids = {primal.inputs[reference]: id_ for reference, id_ in derived.inputs.items()}
    functions = [builder.function("value", primal, arrays, ids, {"values": values})]
    if derived.gradients:
        functions.append(builder.function("value_and_grad", derived, signature.arrays, {id_: id_ for id_ in references},
                                          {"values": values, "gradients": builder.struct("gradients")}))
    return Lowered(derived, builder, functions, inputs, upstream)


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
