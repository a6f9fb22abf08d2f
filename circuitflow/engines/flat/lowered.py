"""A circuit lowered: its functions, for a language."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from circuitflow.engines.flat.functions import Builder, Function, Result
from circuitflow.engines.flat.higher import HIGHER, Higher
from circuitflow.engines.flat.language import Language, Unwritable
from circuitflow.engines.flat.rules import RULES
from circuitflow.engines.flat.signature import Signature, dimensions
from circuitflow.engines.program.program import Program, needed_lines
from circuitflow.engines.staged.derived import Derived
from circuitflow.errors import InputError
from circuitflow.graph.circuit import Circuit
from circuitflow.interpreter.interpreter import Interpreter
from circuitflow.interpreter.plan import Plan
from circuitflow.interpreter.question import Question, References
from circuitflow.text import number, printable

DTYPES = ("float64", "float32")


class Asked(NamedTuple):
    """What is to be lowered.

    Attributes:
        derived: the gradient circuit of a question.
        inputs, upstream: defaults of its arguments, and so the sizes of named dimensions.
    """

    derived: Derived
    inputs: Mapping[str, Any]
    upstream: Mapping[str, Any]

    @classmethod
    def of(cls, circuit: Circuit, of: References, wrt: References, inputs: Mapping[str, Any] | None,
           upstream: Mapping[str, Any] | None) -> Asked:
        """A question to a circuit; arguments are those of `to_c`.

        Raises:
            InputError: an unknown reference, or a gradient circuit that cannot be written down.
        """
        question = Question(Interpreter(circuit), of, wrt)
        inputs, upstream = question.arguments(inputs, upstream, {})
        return cls(Derived.taking(question, upstream), inputs, upstream)


class Lowered(NamedTuple):
    """A circuit lowered.

    Attributes:
        asked: what was to be lowered.
        builder: parameters, inputs, tables and refusals.
        functions: the value, the value and gradients, and those of more derivatives.
        higher: the circuits of these.
    """

    asked: Asked
    builder: Builder
    functions: Sequence[Function]
    higher: Sequence[Higher]


def lower(language: Language, new_names: Callable[[], Any], asked: Asked, dtype: str | None, *,
          last: bool = False, more: Sequence[str] = ()) -> Lowered:
    """Lower a circuit, with floats of a dtype or those that it has.

    Args:
        language: how functions are spelled.
        new_names: makes what gives out names.
        asked: what is to be lowered.
        dtype: that of floats; None for those that it has.
        last: whether to leave out the value where there are gradients.
        more: names of functions in `HIGHER`.

    Raises:
        InputError: a named dimension without a size, or a gate that cannot be written down.
    """
    if dtype is not None and dtype not in DTYPES:
        raise InputError(f"dtype '{printable(dtype, 40)}' is not written; expected one of {', '.join(DTYPES)}")
    derived, question = asked.derived, asked.derived.question
    circuit, signature = question.circuit, Signature(*asked)
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
    outputs, slopes, functions = builder.struct("outputs"), builder.struct("gradients"), list[Function]()
    program = builder.program(derived, signature.arrays)
    if not (derived.gradients and last):
        primal = Derived(Question(question.interpreter, question.of, ())) if derived.gradients else derived
        values = forward_part(program, derived, primal.plan)
        if values is None:
            values = builder.program(primal, {primal.inputs[reference]: signature.arrays[id_]
                                              for reference, id_ in derived.inputs.items()
                                              if primal.inputs[reference] in primal.plan.sources})
        ids = {primal.inputs[reference]: id_ for reference, id_ in derived.inputs.items()}
        functions.append(builder.function("value", primal, values, ids, [
            Result(outputs, text, id_) for text, id_ in primal.values.items()]))
    if derived.gradients:
        results = [Result(outputs, text, id_) for text, id_ in derived.values.items()]
        results += [Result(slopes, text, id_, f"the gradient on {text}") for text, id_ in derived.gradients.items()]
        functions.append(builder.function("value_and_grad", derived, program, {id_: id_ for id_ in references},
                                          results))
    if more and not derived.gradients:
        raise InputError(f"{' and '.join(f'--{name}' for name in more)}: there is nothing to differentiate by; name it "
                         "by --wrt")
    higher = [HIGHER[name](derived) for name in more]
    return Lowered(asked, builder, [*functions, *(each.function(builder, signature) for each in higher)], higher)


def forward_part(program: Program, derived: Derived, plan: Plan) -> Program | None:
    """The lines of the forward pass in those of a gradient circuit.

    None where the gradient circuit has other nodes in its place, such as a scan that keeps its carries, or other names
    of inputs.

    Args:
        program: the lines of the gradient circuit.
        derived: the gradient circuit.
        plan: the forward pass of the circuit that it differentiates.
    """
    if plan is derived.plan:
        return program
    twins, names = derived.circuit.nodes, {step.node.id for step in plan.steps}
    for step in plan.steps:
        node, twin = step.node, twins.get(step.node.id)
        if twin is None or node.gate is None or (twin.gate, twin.operands, twin.types, dict(twin.attributes)) != (
                node.gate, node.operands, node.types, dict(node.attributes)):
            return None
    if not program.values.keys() >= {*plan.names} or any(
            derived.inputs.get(name, name) != name for name in plan.sources):
        return None
    inputs = {name: x for name, x in program.inputs.items() if name in plan.sources}
    values = {name: program.values[name] for name in plan.names}
    checks = [(node, check) for node, check in program.checks if node.id in names]
    part = Program(inputs, program.lines, {text: values[plan.names[slot]] for text, slot in plan.of.items()}, values,
                   checks)
    return replace(part, lines=needed_lines(part.lines, part.results))


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
