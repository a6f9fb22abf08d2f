"""A question to a circuit: which outputs and gradients, how arguments are bound, how an answer is packed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from circuitflow.errors import InputError
from circuitflow.gates import ArrayType
from circuitflow.graph.typed import TypedBody
from circuitflow.interpreter.binding import Bound, bind_call, by_output, need_mappings
from circuitflow.interpreter.cache import FrugalPasses
from circuitflow.interpreter.libraries import precise
from circuitflow.interpreter.plan import Plan, references
from circuitflow.interpreter.vocabulary import Vocabulary
from circuitflow.text import printable

if TYPE_CHECKING:
    from circuitflow.interpreter.interpreter import Interpreter

References = str | Iterable[str] | None

Answer = tuple[Sequence[Any], Sequence[Any]]
"""The outputs, and the gradients, each in the order of the question."""


class Question:
    """One choice of outputs and gradients of a circuit.

    Attributes:
        interpreter: the interpreter of the circuit.
        circuit: the circuit.
        of, wrt: the references, in order; None for the default.
        plan: the schedule; its `of` and `wrt` have the references in order.
        sources: shape and dtype of every input, parameter and constant that an answer needs, by id.
        outputs: shape and dtype of every output in `of`, by reference.
        upstream: the document's upstream gradients on them.
        scalar: whether every value is one float64 or truth value, so that answers are Python's numbers.
    """

    def __init__(self, interpreter: Interpreter, of: References = None, wrt: References = None) -> None:
        """Schedule; by default all outputs, and all floating-point inputs and parameters to differentiate by.

        Raises:
            InputError: a reference that the circuit does not have, or a gradient that cannot be.
        """
        of, wrt = references(of, "of"), references(wrt, "wrt")
        self.interpreter, self.circuit, self.of, self.wrt = interpreter, interpreter.circuit, of, wrt
        self.plan = interpreter.plan(of, wrt)
        nodes = self.circuit.nodes
        self.sources = {name: nodes[name].types[0] for name in self.plan.sources}
        self.outputs: Mapping[str, ArrayType] = self.plan.outputs
        self.upstream = {text: self.circuit.upstream[name] for text in self.outputs
                         if (name := self.circuit.upstream_name(text)) is not None}
        for text, type_ in self.outputs.items():
            if self.plan.wrt and of is not None and not type_.is_float:
                raise InputError(f"'{text}' is {type_.dtype}; integers and booleans have no gradient")
        self.scalar = is_scalar(self.circuit, self.plan)

    @cached_property
    def operands(self) -> int:
        """The number of operands of all gates."""
        return sum(len(step.operands) for step in self.plan.steps)

    @cached_property
    def _passes(self) -> FrugalPasses:
        return FrugalPasses(self.plan, "needed")

    def need_scalars(self, remedy: str) -> None:
        """Refuse a circuit that is not one of scalars alone, with a remedy.

        Raises:
            InputError: with the remedy.
        """
        if not self.scalar:
            name = printable(self.circuit.name, 60)
            raise InputError(f"circuit '{name}' has values that are not float64 scalars; {remedy}")

    def arguments(self, inputs: Any, upstream: Any,
                  by_name: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The inputs, and the upstream gradients, of a call `answer(inputs, upstream=…, **by_name)`.

        An output of a call has two names, `h` and `h.y`. Its upstream gradient goes by the one that `of` has.

        Raises:
            InputError: one of the two is no mapping, an input is given twice, or an upstream gradient belongs to no
                output in `of`.
        """
        need_mappings(inputs, upstream)
        inputs, upstream = dict(inputs or {}), dict(upstream or {})
        twice = [name for name in by_name if name in inputs]
        if twice:
            raise InputError(f"'{printable(twice[0], 60)}' is given twice: in the mapping and by name; give it once")
        return inputs | by_name, by_output(self.circuit, self.plan, upstream) if upstream else upstream

    def bind(self, inputs: Mapping[str, Any], upstream: Mapping[str, Any]) -> tuple[Bound, dict[int, Any]]:
        """An array for every source, and the upstream gradients that the sweep begins with, by slot of the plan.

        Raises:
            InputError: an unknown name, a missing value, a wrong shape or dtype.
        """
        _, bound, seeds = bind_call(self.circuit, self.plan, inputs, upstream, explicit=False)
        return bound, seeds

    def interpret(self, bound: Bound, seeds: Mapping[int, Any]) -> Answer:
        """The answer of the reference interpreter.

        Raises:
            GateError: a gate could not be applied to the values that reached it.
        """
        with precise(bound.xp), np.errstate(all="ignore"):
            values, gradients = self._passes.run(bound, Vocabulary(bound.xp, self.circuit.gates), seeds)
        outputs = [values[slot] for slot in self.plan.of.values()]
        slopes = [gradients[slot] for slot in self.plan.wrt.values()]
        if self.scalar:
            return [np.asarray(x).item() for x in outputs], [np.asarray(x).item() for x in slopes]
        return outputs, slopes

    def packed(self, answer: Answer) -> tuple[Any, dict[str, Any]]:
        """The output, or a dictionary where there are several, and the gradients by what they belong to."""
        values, gradients = answer
        return (values[0] if len(self.plan.of) == 1 else dict(zip(self.plan.of, values, strict=True)),
                dict(zip(self.plan.wrt, gradients, strict=True)))

    def __reduce__(self) -> tuple[Any, ...]:
        return Question, (self.interpreter, self.of, self.wrt)


def is_scalar(circuit: TypedBody, plan: Plan) -> bool:
    """Whether every value of a schedule is one float64 or truth value."""
    types = {step.node.types[0] for step in plan.steps}.union(circuit.nodes[name].types[0] for name in plan.sources)
    return (all(type_.shape == () and type_.dtype in ("float64", "bool") for type_ in types)
            and not any(step.outputs for step in plan.steps))
